//! Sockets of this machine, and those it can reach.

use std::io;
use std::time::Duration;

use kvm_core::{ByteStream, Dial, Error, ErrorKind, Resource, Result};
use tokio::net::{TcpStream, UnixStream};

/// How long a peer may take to accept; the kernel alone would wait for minutes on one that is switched off.
const ACCEPT: Duration = Duration::from_secs(10);

pub(super) async fn dial(to: &Dial) -> Result<Box<dyn ByteStream>> {
    let (name, connected) = match to {
        Dial::Unix(path) => {
            let stream = in_time(UnixStream::connect(path)).await;
            (path.display().to_string(), stream.map(|s| Box::new(s) as Box<dyn ByteStream>))
        }
        Dial::Tcp { host, port } => {
            let stream = in_time(TcpStream::connect((host.as_str(), port.get()))).await;
            (format!("{host}:{port}"), stream.map(|s| Box::new(s) as Box<dyn ByteStream>))
        }
        other => return Err(Error::new(ErrorKind::Unsupported, format!("no such kind of socket here: {other:?}"))),
    };
    connected.map_err(|e| {
        let kind = match e.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::Denied,
            // Longer than a socket's address may be.
            io::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("cannot connect to {}", kvm_core::text::printable(&name)))
            .on(Resource::Host(name))
            .with_source(e)
    })
}

async fn in_time<T>(connect: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(ACCEPT, connect).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixListener};

    #[tokio::test]
    async fn a_unix_socket_carries_bytes_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let mut here = dial(&Dial::Unix(path)).await.unwrap();
        let (mut there, _) = listener.accept().await.unwrap();
        here.write_all(b"ping").await.unwrap();
        let mut buffer = [0; 4];
        there.read_exact(&mut buffer).await.unwrap();
        there.write_all(b"pong").await.unwrap();
        here.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"pong");
    }

    #[tokio::test]
    async fn nobody_listening_is_unavailable_on_both_kinds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let e = dial(&Dial::Unix(path.clone())).await.err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        drop(UnixListener::bind(&path).unwrap());
        let e = dial(&Dial::Unix(path)).await.err().unwrap();
        assert_eq!(e.kind(), ErrorKind::Unavailable, "a socket file that nobody holds");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        drop(listener);
        let to = Dial::Tcp { host: "127.0.0.1".parse().unwrap(), port: port.parse().unwrap() };
        assert_eq!(dial(&to).await.err().unwrap().kind(), ErrorKind::Unavailable);
    }

    #[tokio::test]
    async fn a_socket_path_that_is_too_long_is_invalid_input() {
        let e = dial(&Dial::Unix(format!("/{}", "x".repeat(200)).into())).await.err().unwrap();
        assert_eq!(e.kind(), ErrorKind::InvalidInput);
    }
}
