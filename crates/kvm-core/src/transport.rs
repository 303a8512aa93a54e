//! The contract of reaching a host as an operating system: its programs, sockets and files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

use crate::{ByteStream, Bytes, HostName, Port, Result, SshUser};

/// The silence after which a way is taken for cut, where nothing else was set.
const STALL: Duration = Duration::from_secs(30);

/// A way to a host's operating system: this machine itself, or over SSH.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Says where this leads.
    fn endpoint(&self) -> &Endpoint;

    /// Runs a program with an argument list, no shell, no terminal, empty standard input and a cleared environment
    /// (`PATH` and `LANG=C` only), and waits for it.
    ///
    /// A non-zero exit is not an error: it stands in the output. `NotFound` when there is no such program; `Timeout`
    /// when it has not ended in time, after it was killed with its process group; `Corrupt` when it prints more than
    /// 16 MiB on one stream.
    async fn run(&self, argv: &[&str], timeout: Duration) -> Result<Output>;

    /// Connects to a socket on the host. `Unavailable` when nobody listens, `Denied`.
    async fn dial(&self, to: &Dial) -> Result<Box<dyn ByteStream>>;

    /// Begins a session with the helper, the program of this project that reads and writes disk images on the host; what is
    /// said to it is described by `kvm-wire`. Each session has a connection and a process of its own, which end with
    /// the stream, unless it is [given back](Self::keep_helper). `Unsupported` when no helper is configured or none can run there; then there are slower ways.
    async fn helper(&self) -> Result<Box<dyn ByteStream>>;

    /// Takes a session with the helper back on which nothing is under way and for which the helper holds nothing, so that
    /// [`helper`](Self::helper) can give it out again and the host need not start another program. Whoever gets it greets
    /// anew. It may end meanwhile; without a place to keep it, it ends now.
    fn keep_helper(&self, session: Box<dyn ByteStream>) {
        drop(session);
    }

    /// How long the other side of a conversation may say nothing, and take nothing, while something is expected of it: then
    /// the way there is taken for cut. The helper says every 5 seconds that it is at work. 30 seconds, unless it was set.
    fn stall(&self) -> Duration {
        STALL
    }

    /// Reads a whole file. `NotFound`, `Denied`; `InvalidInput` when it is larger than `limit`.
    async fn read_file(&self, path: &Path, limit: Bytes) -> Result<Vec<u8>>;

    /// Reads up to `length` bytes of a file or block device from `offset` on; fewer only at the end, and none behind it.
    /// `NotFound`, `Denied`; `InvalidInput` for what is neither, and for more than [`FilePart::MAX`] at once.
    async fn read_part(&self, path: &Path, offset: u64, length: Bytes) -> Result<FilePart>;

    /// Writes a whole file durably, so that after a power cut the path holds the old content or the new one, never a
    /// part. `mode` is the Unix permission bits of the new file. `Denied`, `NoSpace`, `NotFound` when the directory
    /// does not exist.
    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> Result<()>;

    /// Removes a file durably; of a symbolic link the link alone. `NotFound`, `Denied`; `InvalidInput` for a directory.
    async fn remove_file(&self, path: &Path) -> Result<()>;
}

/// A part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// What stands there.
    pub data: Vec<u8>,
    /// How long the whole file is.
    pub length: Bytes,
}

impl FilePart {
    /// The most that is read at once.
    pub const MAX: Bytes = Bytes::from_mib(1);
}

/// Where a [`Transport`] leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// This machine.
    Local,
    /// Another machine, over SSH.
    Ssh {
        /// Who logs in; `None` is the present user.
        user: Option<SshUser>,
        /// Where.
        host: HostName,
        /// `None` is the configured or default one.
        port: Option<Port>,
    },
}

/// A socket on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dial {
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A TCP port, as seen from the host.
    Tcp {
        /// A name or address that the host can reach.
        host: HostName,
        /// The port.
        port: Port,
    },
}

/// What a program left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it exited with zero.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
}
