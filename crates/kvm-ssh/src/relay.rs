//! Local ends of sockets on a host, for programs and libraries that cannot speak through a [`Transport`] themselves.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvm_core::{ByteStream, Dial, Error, ErrorKind, Port, Resource, Result, Transport};
use rustix::fs::{Mode, OFlags};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

/// How much is passed on at a time, each way.
const PIECE: usize = 64 << 10;
/// The most connections that are relayed at a time; what is more waits to be accepted.
const MOST: usize = 64;

/// A socket of this process, which leads to one on a host.
///
/// Whoever connects is connected to the host's anew, so that a connection that broke is followed by one that works. The
/// socket and all connections end when this is dropped, and with the process, however that ends: the socket has no name
/// that somebody would have to remove. It has to be made, and lives, in a tokio runtime.
pub struct SocketRelay {
    path: PathBuf,
    task: AbortHandle,
    /// What `path` leads to.
    _socket: OwnedFd,
}

impl SocketRelay {
    /// Connects to the first of these sockets that answers, so that trouble shows at once; whoever comes first takes
    /// that connection over. The socket is made in a directory below `parent` that only this user can enter and that is
    /// gone before this returns; the path of `parent` has to be short, since a socket's is at most 107 bytes long.
    ///
    /// The errors are those of [`Transport::dial`]; `Unavailable` where no socket can be made.
    pub async fn open(transport: Arc<dyn Transport>, to: Vec<Dial>, parent: &Path) -> Result<Self> {
        let way = Way { transport, to };
        let first = way.dial().await?;
        let trouble = |e: io::Error| {
            let text = format!("cannot make a socket below {}", parent.display());
            Error::new(ErrorKind::Unavailable, text).on(Resource::File(parent.display().to_string())).with_source(e)
        };
        let (listener, socket) = nameless(parent).map_err(trouble)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", socket.as_raw_fd()));
        let task = tokio::spawn(serve(listener, way, Some(first))).abort_handle();
        Ok(Self { path, task, _socket: socket })
    }

    /// Where this process finds it, and no other one does.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for SocketRelay {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for SocketRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketRelay").field(&self.path).finish()
    }
}

/// A socket that is listened on, and the descriptor by which it is found once its name is gone.
fn nameless(parent: &Path) -> io::Result<(UnixListener, OwnedFd)> {
    let only_ours = std::fs::Permissions::from_mode(0o700);
    let dir = tempfile::Builder::new().prefix("kvm-").permissions(only_ours).tempdir_in(parent)?;
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path)?;
    let socket = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    // A process that is killed takes nothing away: there must be nothing to take away.
    dir.close()?;
    Ok((listener, socket))
}

/// A port of this machine's loopback interface, which leads to a socket on a host.
///
/// Everybody on this machine can connect to it: whatever listens on the host has to ask for a password of its own, or the
/// machine has to be one user's. It ends when this is dropped, and lives in a tokio runtime.
pub struct PortRelay {
    port: Port,
    task: AbortHandle,
}

impl PortRelay {
    /// Connects once and hangs up again, so that trouble shows at once; the system chooses the port. The errors are those
    /// of [`Transport::dial`].
    pub async fn open(transport: Arc<dyn Transport>, to: Dial) -> Result<Self> {
        let way = Way { transport, to: vec![to] };
        drop(way.dial().await?);
        let trouble = |e: io::Error| Error::new(ErrorKind::Unavailable, "no port can be had here").with_source(e);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(trouble)?;
        let port = listener.local_addr().map_err(trouble)?.port().to_string().parse()?;
        let task = tokio::spawn(serve(listener, way, None)).abort_handle();
        Ok(Self { port, task })
    }

    /// Which port of 127.0.0.1 it is.
    #[must_use]
    pub fn port(&self) -> Port {
        self.port
    }
}

impl Drop for PortRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for PortRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PortRelay").field(&self.port).finish()
    }
}

/// The sockets to connect to, the first that answers.
struct Way {
    transport: Arc<dyn Transport>,
    to: Vec<Dial>,
}

impl Way {
    async fn dial(&self) -> Result<Box<dyn ByteStream>> {
        let mut last = Error::invalid("socket", "no socket to connect to");
        for to in &self.to {
            match self.transport.dial(to).await {
                Ok(stream) => return Ok(stream),
                // Another one can only help where the host was reached.
                Err(e) if e.kind() == ErrorKind::Unavailable => last = e,
                Err(e) => return Err(e),
            }
        }
        Err(last)
    }
}

/// What is listened on.
trait Listener: Send {
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    fn take(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn take(&self) -> io::Result<UnixStream> {
        Ok(self.accept().await?.0)
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn take(&self) -> io::Result<TcpStream> {
        let (stream, _) = self.accept().await?;
        // Keys and pointer movements are not held back; without it they only come later.
        let _later = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Takes connections until it is aborted, and all that it took with it.
async fn serve(listener: impl Listener, way: Way, mut first: Option<Box<dyn ByteStream>>) {
    let way = Arc::new(way);
    let mut relayed = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = relayed.join_next() => {}
            taken = listener.take(), if relayed.len() < MOST => match taken {
                Ok(here) => drop(relayed.spawn(relay(here, first.take(), Arc::clone(&way)))),
                // No descriptors are left: one that ends gives some back.
                Err(e) => {
                    tracing::warn!(error = %e, "a connection to a relay was not taken");
                    if relayed.join_next().await.is_none() {
                        return;
                    }
                }
            }
        }
    }
}

/// Passes bytes on both ways until both sides have ended or one is lost. What is not connected is closed again: whoever
/// is there cannot be told more.
async fn relay(mut here: impl AsyncRead + AsyncWrite + Unpin, there: Option<Box<dyn ByteStream>>, way: Arc<Way>) {
    let there = match there {
        Some(there) => Ok(there),
        None => way.dial().await,
    };
    match there {
        Ok(mut there) => {
            if let Err(e) = copy_bidirectional_with_sizes(&mut here, &mut there, PIECE, PIECE).await {
                tracing::debug!(error = %e, "a relayed connection broke");
            }
        }
        Err(e) => tracing::warn!(error = %e, detail = e.detail(), "a connection is not relayed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalTransport;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// A host's socket that answers each line with the number of its connection.
    async fn numbered(listener: UnixListener) {
        for number in 1_u8.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&[number]).await.is_ok() {}
            });
        }
    }

    async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> u8 {
        stream.write_all(b"?").await.unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        byte[0]
    }

    #[tokio::test]
    async fn the_first_takes_over_what_was_dialled_and_each_other_has_a_connection_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        tokio::spawn(numbered(UnixListener::bind(&there).unwrap()));
        let to = vec![Dial::Unix(dir.path().join("nobody")), Dial::Unix(there)];
        let relay = SocketRelay::open(Arc::new(LocalTransport::new()), to, dir.path()).await.unwrap();
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["there"], "a relay has no name that could be left behind");
        let mut first = UnixStream::connect(relay.path()).await.unwrap();
        let mut second = UnixStream::connect(relay.path()).await.unwrap();
        assert_eq!((ask(&mut first).await, ask(&mut second).await), (1, 2));
        drop(first);
        let mut third = UnixStream::connect(relay.path()).await.unwrap();
        assert_eq!((ask(&mut third).await, ask(&mut second).await), (3, 2));

        let path = relay.path().to_owned();
        drop(relay);
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0, "what was relayed ends with the relay");
        // The number of its descriptor may be another file's by now, of a test beside this one.
        assert!(UnixStream::connect(path).await.is_err());
    }

    #[tokio::test]
    async fn where_nobody_listens_there_is_no_relay_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let to = Dial::Unix(dir.path().join("nobody"));
        let here: Arc<dyn Transport> = Arc::new(LocalTransport::new());
        let e = SocketRelay::open(Arc::clone(&here), vec![to.clone()], dir.path()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unavailable);
        assert_eq!(PortRelay::open(here, to).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_connection_whose_host_is_gone_is_closed_and_the_next_one_works_again() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        let server = tokio::spawn(numbered(UnixListener::bind(&there).unwrap()));
        let relay = PortRelay::open(Arc::new(LocalTransport::new()), Dial::Unix(there.clone())).await.unwrap();
        let connect = || TcpStream::connect(("127.0.0.1", relay.port().get()));
        assert_eq!(ask(&mut connect().await.unwrap()).await, 2, "the first one was only a try");
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
        assert_eq!(connect().await.unwrap().read(&mut [0]).await.unwrap_or(0), 0);
        std::fs::remove_file(&there).unwrap();
        tokio::spawn(numbered(UnixListener::bind(&there).unwrap()));
        assert_eq!(ask(&mut connect().await.unwrap()).await, 1);
    }
}
