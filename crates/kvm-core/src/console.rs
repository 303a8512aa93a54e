//! Consoles: bytes of a serial line, pictures of a screen.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Result, VmId};

/// Consoles of a running machine.
#[async_trait]
pub trait Console: fmt::Debug + Send + Sync {
    /// Opens a serial console as a byte stream: what the guest writes is read, what is written the guest reads.
    ///
    /// Bytes that the guest wrote before are not repeated. Dropping the stream closes it.
    /// `InvalidState` when the machine does not run; `NotFound` when it has no such console; `Busy` when another
    /// program has it open and `access` is [`ConsoleAccess::Exclusive`].
    async fn open_serial(&self, id: &VmId, access: ConsoleAccess) -> Result<Box<dyn ByteStream>>;

    /// Takes a picture of a screen (0 is the first). `InvalidState` when the machine does not run, `NotFound` when it
    /// has no such screen.
    async fn screenshot(&self, id: &VmId, screen: u32) -> Result<Screenshot>;
}

/// Whether an open console of somebody else is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsoleAccess {
    /// Refuse when it is in use.
    Exclusive,
    /// Disconnect the other one.
    TakeOver,
}

/// Bytes both ways.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A picture of a screen, in the form in which the hypervisor gave it.
#[derive(Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// How the bytes are to be read.
    pub format: ScreenshotFormat,
    /// The picture.
    pub data: Vec<u8>,
}

impl fmt::Debug for Screenshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Screenshot({:?}, {} bytes)", self.format, self.data.len())
    }
}

/// Forms of pictures that hypervisors give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ScreenshotFormat {
    /// Portable pixmap (`image/x-portable-pixmap`).
    Ppm,
    /// `image/png`.
    Png,
}
