//! A lab host's own SSH server keeps the contract of transports.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kvm_contract::{Arguments, Time, TransportBench, TransportRig};
use kvm_core::Result;
use kvm_lab::{Lab, LabHost};
use tokio::io::{AsyncWriteExt as _, copy, split};
use tokio::net::UnixListener;

fn main() {
    kvm_contract::run_transport(Remote, "", &Arguments::from_args()).exit();
}

struct Remote;

/// A directory of the host; it goes with this.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left goes with the lab.
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

#[async_trait]
impl TransportRig for Remote {
    fn time(&self) -> Time {
        Time::Real
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn bench(&self, _: &'static str) -> Result<TransportBench> {
        let host: LabHost = Lab::open().take_host().await;
        let name = host.unique("transport");
        let (inside, outside) = (Path::new("/run").join(&name), host.file(Path::new("/run").join(&name)));
        std::fs::create_dir_all(outside.join("work")).expect("a directory");
        let listener = UnixListener::bind(outside.join("echo")).expect("a socket");
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut read, mut write) = split(stream);
                copy(&mut read, &mut write).await.expect("an echo");
                write.shutdown().await.expect("an end");
            }
        });
        // Any program that sends back what it gets; its place is this host's own.
        let mut login = host.login();
        login.helper = Some("/bin/cat".into());
        login.helper_directory = Some(inside.join("helper"));
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Ok(TransportBench {
            transport: host.over_ssh(login),
            has_helper: true,
            directory: inside.join("work"),
            failing: words(&["sh", "-c", "echo contract; echo contract >&2; exit 3"]),
            endless: words(&["sleep", "3600"]),
            flood: words(&["head", "-c", "17825792", "/dev/zero"]),
            echo: inside.join("echo"),
            keep: Box::new((Directory(outside), Arc::new(server), host)),
        })
    }
}
