//! What the contract's cases find at the other end of a transport to this machine.

use std::sync::Arc;

use kvm_contract::TransportBench;
use kvm_core::Transport;
use tokio::io::{AsyncWriteExt as _, copy, split};
use tokio::net::UnixListener;

pub(crate) async fn bench(transport: Arc<dyn Transport>, keep: impl Send + Sync + 'static) -> TransportBench {
    let dir = tempfile::tempdir().expect("a directory");
    let echo = dir.path().join("echo.sock");
    let listener = UnixListener::bind(&echo).expect("a socket");
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (mut read, mut write) = split(stream);
            copy(&mut read, &mut write).await.expect("an echo");
            write.shutdown().await.expect("an end");
        }
    });
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    TransportBench {
        transport,
        has_helper: true,
        directory: dir.path().join("work"),
        failing: words(&["sh", "-c", "echo contract; echo contract >&2; exit 3"]),
        endless: words(&["sleep", "3600"]),
        flood: words(&["head", "-c", "17825792", "/dev/zero"]),
        echo,
        keep: {
            std::fs::create_dir(dir.path().join("work")).expect("a directory");
            Box::new((dir, server, keep))
        },
    }
}
