//! Programs, files and sockets on a real server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvm_core::{Bytes, Dial, ErrorKind, Port, Transport as _, inputs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::sshd::{Sshd, program};

const LONG: Duration = Duration::from_secs(60);
const LIMIT: Bytes = Bytes::from_mib(64);

#[tokio::test]
async fn hostile_words_reach_a_program_as_they_are_and_its_environment_is_clear() {
    let sshd = Sshd::start("SetEnv EVIL=yes").await;
    let transport = sshd.transport(&sshd.options());
    let output = transport.run(&["env"], LONG).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH"]);
    assert_eq!(transport.run(&["cat"], LONG).await.unwrap().stdout, b"", "no input");

    let rows: Vec<_> = inputs::kinds().into_iter().flat_map(inputs::rows).collect();
    let words = rows.iter().filter_map(inputs::Row::text).filter(|w| !w.contains('\0') && w.len() < 10_000);
    let words: Vec<_> = words.collect();
    for some in words.chunks(100) {
        let argv: Vec<_> = ["printf", r"%s\0"].iter().chain(some).copied().collect();
        let expected: Vec<u8> = some.iter().flat_map(|word| word.bytes().chain([0])).collect();
        assert_eq!(transport.run(&argv, LONG).await.unwrap().stdout, expected);
    }
}

#[tokio::test]
async fn a_program_that_cannot_start_says_why_by_kind_and_a_signal_has_no_status() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    for (argv, kind) in [
        (["no-such-program"], ErrorKind::NotFound),
        (["a=b"], ErrorKind::NotFound),
        (["-x"], ErrorKind::NotFound),
        (["/etc/passwd"], ErrorKind::Denied),
    ] {
        assert_eq!(transport.run(&argv, LONG).await.unwrap_err().kind(), kind, "{argv:?}");
    }
    let output = transport.run(&["sh", "-c", "exit 127"], LONG).await.unwrap();
    assert_eq!(output.status, Some(127));
    assert_eq!(transport.run(&["sh", "-c", "kill -9 $$"], LONG).await.unwrap().status, None);
}

#[tokio::test]
async fn at_the_deadline_a_program_dies_with_its_children() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    let fifo = sshd.path("alive");
    program(&["mkfifo", fifo.to_str().unwrap()]).await;
    // The grandchild holds the only writing end, so the FIFO ends when it is dead.
    let script = format!("(echo up; exec sleep 1000) > '{}' & wait", fifo.display());
    let reader = tokio::task::spawn_blocking(move || std::fs::read(fifo).unwrap());
    let e = transport.run(&["sh", "-c", &script], Duration::from_millis(500)).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Timeout);
    assert_eq!(reader.await.unwrap(), b"up\n");
}

#[tokio::test]
async fn a_program_whose_connection_is_lost_dies_at_its_deadline() {
    let sshd = Sshd::start("").await;
    let mut options = sshd.options();
    options.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    let cut = Arc::new(Notify::new());
    options.port = relay(sshd.port, Arc::clone(&cut)).await;
    let transport = sshd.transport(&options);
    let fifo = sshd.path("alive");
    program(&["mkfifo", fifo.to_str().unwrap()]).await;
    let script = format!("(echo up; exec sleep 1000) > '{}' & wait", fifo.display());
    let (up, is_up) = tokio::sync::oneshot::channel();
    let reader = tokio::task::spawn_blocking(move || {
        let mut fifo = std::fs::File::open(fifo).unwrap();
        let mut line = [0; 3];
        std::io::Read::read_exact(&mut fifo, &mut line).unwrap();
        up.send(()).unwrap();
        std::io::Read::read_to_end(&mut fifo, &mut Vec::new()).unwrap()
    });
    let argv = ["sh", "-c", &script];
    let (ended, ()) = tokio::join!(transport.run(&argv, Duration::from_secs(3)), async {
        is_up.await.unwrap();
        cut.notify_waiters();
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(reader.await.unwrap(), 0);
}

#[tokio::test]
async fn more_output_than_allowed_is_corrupt_and_the_connection_goes_on() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    assert_eq!(transport.run(&["yes"], LONG).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let e = transport.run(&["sh", "-c", "yes >&2"], LONG).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Corrupt);
    let output = transport.run(&["head", "-c", "16777216", "/dev/zero"], LONG).await.unwrap();
    assert_eq!(output.stdout.len(), 16 << 20);
}

#[tokio::test]
async fn files_are_replaced_whole_with_their_mode_and_links_are_not_followed() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    std::fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    transport.write_file(&link, &large, 0o640).await.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
    let written = std::fs::symlink_metadata(&link).unwrap();
    assert!(written.is_file());
    assert_eq!(written.permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::read(&link).unwrap(), large);
    assert_eq!(transport.read_file(&link, LIMIT).await.unwrap(), large);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing unfinished is left");
}

#[tokio::test]
async fn what_is_no_regular_file_is_refused_without_waiting_and_leaves_nothing() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    program(&["mkfifo", fifo.to_str().unwrap()]).await;
    for path in [dir.path(), &fifo, Path::new("/dev/zero"), Path::new("relative")] {
        let e = transport.read_file(path, LIMIT).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{}", path.display());
    }
    let sub = dir.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    for path in [&sub, Path::new("/"), &dir.path().join("new/")] {
        let e = transport.write_file(path, b"x", 0o600).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidInput, "{}", path.display());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let status = transport.read_file(Path::new("/proc/self/status"), LIMIT).await.unwrap();
    assert!(status.starts_with(b"Name:"), "a file that says it is empty");
}

#[tokio::test]
async fn tcp_ports_are_reached_as_the_host_sees_them_and_silent_ones_are_unavailable() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
    let to = Dial::Tcp { host: "127.0.0.1".parse().unwrap(), port };
    let mut here = transport.dial(&to).await.unwrap();
    let (mut there, _) = listener.accept().await.unwrap();
    // More than fits into all buffers between, both ways at once.
    let data = vec![7; 8 << 20];
    let send = async {
        here.write_all(&data).await.unwrap();
        here.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    tokio::join!(send, async { there.read_to_end(&mut back).await.unwrap() });
    assert_eq!(back.len(), data.len());
    there.write_all(b"bye").await.unwrap();
    drop((there, listener));
    let mut rest = Vec::new();
    here.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"bye");
    assert_eq!(transport.dial(&to).await.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn what_the_server_forbids_is_denied() {
    let sshd = Sshd::start("AllowTcpForwarding no\nAllowStreamLocalForwarding no\nForceCommand /bin/false").await;
    let transport = sshd.transport(&sshd.options());
    let to = Dial::Tcp { host: "127.0.0.1".parse().unwrap(), port: sshd.port };
    assert_eq!(transport.dial(&to).await.err().unwrap().kind(), ErrorKind::Denied);
    // Of Unix sockets the server says no more than that it did not connect.
    let socket = sshd.path("socket");
    let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
    assert_eq!(transport.dial(&Dial::Unix(socket)).await.err().unwrap().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_nothing_else() {
    let sshd = Sshd::start("").await;
    let transport = sshd.transport(&sshd.options());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
    let stalled = transport.dial(&Dial::Tcp { host: "127.0.0.1".parse().unwrap(), port }).await.unwrap();
    let (mut there, _) = listener.accept().await.unwrap();
    let flood = tokio::spawn(async move { while there.write_all(&[0; 65536]).await.is_ok() {} });
    for _ in 0..20 {
        assert!(transport.run(&["true"], LONG).await.unwrap().success());
    }
    drop(stalled);
    flood.await.unwrap();
}

/// Passes bytes on until it is told to cut all connections; then takes new ones.
async fn relay(to: Port, cut: Arc<Notify>) -> Port {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string().parse().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut here, _) = listener.accept().await.unwrap();
            let mut there = TcpStream::connect(("127.0.0.1", to.get())).await.unwrap();
            let cut = Arc::clone(&cut);
            tokio::spawn(async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut here, &mut there) => {}
                    () = cut.notified() => {}
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_connection_that_broke_is_an_error_once_and_opened_again() {
    let sshd = Sshd::start("").await;
    let mut options = sshd.options();
    options.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    let cut = Arc::new(Notify::new());
    options.port = relay(sshd.port, Arc::clone(&cut)).await;
    let transport = sshd.transport(&options);
    transport.connect().await.unwrap();
    let fifo = sshd.path("alive");
    program(&["mkfifo", fifo.to_str().unwrap()]).await;
    let started = tokio::task::spawn_blocking({
        let fifo = fifo.clone();
        move || std::fs::read(fifo).unwrap()
    });
    let script = format!("echo up > '{}'; sleep 1000", fifo.display());
    let argv = ["sh", "-c", &script];
    let (ended, ()) = tokio::join!(transport.run(&argv, LONG), async {
        assert_eq!(started.await.unwrap(), b"up\n");
        cut.notify_waiters();
    });
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(transport.run(&["echo", "again"], LONG).await.unwrap().stdout, b"again\n");
}

#[tokio::test]
async fn a_host_behind_another_is_reached_through_it() {
    let (outer, inner) = (Sshd::start("").await, Sshd::start("").await);
    let mut options = inner.options();
    options.jump = Some(Box::new(outer.options()));
    let output = inner.transport(&options).run(&["echo", "inside"], LONG).await.unwrap();
    assert_eq!(output.stdout, b"inside\n");
    // A jump host is judged as any other.
    options.jump = Some(Box::new(outer.stranger()));
    assert_eq!(inner.transport(&options).connect().await.unwrap_err().kind(), ErrorKind::Denied);
}
