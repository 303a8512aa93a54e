//! Files of a guest, read and written in pieces.

use data_encoding::BASE64;
use kvm_core::{Bytes, Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::bounded::base64;
use super::{Agent, GuestPath, QUICK, SLOW, implausible};

/// How much is read in one piece; in base64 still well below what an agent's answer may have.
const PIECE: usize = 256 << 10;
/// How much is written in one piece; in base64 still below what an agent's command may have.
const WRITTEN: usize = 32 << 10;

/// What an open file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// To read a file that is there.
    Read,
    /// To write from its beginning: what was in it is gone.
    Overwrite,
    /// To write behind its end.
    Append,
}

/// A file of a guest that the agent has open. [`close`](Self::close) it: when it is dropped instead, it is closed in
/// the background, as far as the runtime lives.
#[derive(Debug)]
pub struct GuestFile {
    agent: Agent,
    handle: i64,
    is_open: bool,
}

impl Agent {
    /// Opens a file. `InvalidState` when the guest cannot; its words are the detail.
    pub async fn open(&self, path: &GuestPath, mode: OpenMode) -> Result<GuestFile> {
        let mode = match mode {
            OpenMode::Read => "rb",
            OpenMode::Overwrite => "wb",
            OpenMode::Append => "ab",
        };
        let handle = self.ask("guest-file-open", &json!({ "path": path.as_str(), "mode": mode }), QUICK).await?;
        Ok(GuestFile { agent: self.clone(), handle, is_open: true })
    }

    /// Copies a file out of the guest, and says how long it is.
    ///
    /// A guest can go on for ever: `NoSpace` above `limit`.
    pub async fn read_file(
        &self,
        path: &GuestPath,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        limit: Bytes,
    ) -> Result<Bytes> {
        let mut file = self.open(path, OpenMode::Read).await?;
        let copied = async {
            let mut length = 0;
            while let Some(piece) = file.read(PIECE).await? {
                length += piece.len() as u64;
                if length > limit.get() {
                    return Err(Error::new(
                        ErrorKind::NoSpace,
                        format!("the file of the guest is larger than {limit}"),
                    ));
                }
                to.write_all(&piece).await.map_err(|e| lost("write what the guest's file holds", e))?;
            }
            to.flush().await.map_err(|e| lost("write what the guest's file holds", e))?;
            Ok(Bytes::new(length))
        }
        .await;
        // What was read is read, whatever becomes of the handle.
        let closed = file.close().await;
        copied.and_then(|length| closed.map(|()| length))
    }

    /// Copies into a file of the guest, and says how much. When it fails in the middle, a part is there.
    ///
    /// `NoSpace` above `limit`.
    pub async fn write_file(
        &self,
        path: &GuestPath,
        mode: OpenMode,
        from: &mut (dyn AsyncRead + Send + Unpin),
        limit: Bytes,
    ) -> Result<Bytes> {
        let mut file = self.open(path, mode).await?;
        let copied = async {
            let (mut length, mut buffer) = (0_u64, vec![0; PIECE]);
            loop {
                let piece =
                    fill(from, &mut buffer).await.map_err(|e| lost("read what the guest's file is to hold", e))?;
                if piece == 0 {
                    return Ok(Bytes::new(length));
                }
                length += piece as u64;
                if length > limit.get() {
                    return Err(Error::new(ErrorKind::NoSpace, format!("more than {limit} for a file of the guest")));
                }
                file.write(&buffer[..piece]).await?;
            }
        }
        .await;
        let closed = file.close().await;
        copied.and_then(|length| closed.map(|()| length))
    }
}

impl GuestFile {
    /// Reads the next piece, at most `most` bytes and at most 256 KiB; `None` at the end.
    pub async fn read(&mut self, most: usize) -> Result<Option<Vec<u8>>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Form {
            count: u64,
            #[serde(deserialize_with = "base64")]
            buf_b64: Vec<u8>,
            eof: bool,
        }
        let most = most.clamp(1, PIECE);
        let arguments = json!({ "handle": self.handle, "count": most });
        let Form { count, buf_b64, eof } = self.agent.ask("guest-file-read", &arguments, SLOW).await?;
        if buf_b64.len() > most || buf_b64.len() as u64 != count {
            return Err(implausible("with another number of bytes than it was asked for"));
        }
        match (buf_b64.is_empty(), eof) {
            (false, _) => Ok(Some(buf_b64)),
            (true, true) => Ok(None),
            (true, false) => Err(implausible("with nothing, before the end of the file")),
        }
    }

    /// Writes all of these bytes. `Corrupt` when the guest does not make progress.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        #[derive(Deserialize)]
        struct Form {
            count: u64,
        }
        for piece in bytes.chunks(WRITTEN) {
            let mut rest = piece;
            while !rest.is_empty() {
                let arguments = json!({ "handle": self.handle, "buf-b64": BASE64.encode(rest) });
                let Form { count } = self.agent.ask("guest-file-write", &arguments, SLOW).await?;
                let written = usize::try_from(count).ok().filter(|written| (1..=rest.len()).contains(written));
                rest = &rest[written.ok_or_else(|| implausible("with another number of bytes than it was given"))?..];
            }
        }
        Ok(())
    }

    /// Closes the file; what was written is with the guest's system then.
    pub async fn close(mut self) -> Result<()> {
        self.is_open = false;
        self.agent.tell("guest-file-close", &json!({ "handle": self.handle }), SLOW).await
    }
}

impl Drop for GuestFile {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let (agent, handle) = (self.agent.clone(), self.handle);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // Nobody waits: an agent keeps a handle that is lost until the guest boots again.
            runtime.spawn(async move { agent.tell("guest-file-close", &json!({ "handle": handle }), SLOW).await });
        }
    }
}

/// Reads until the buffer is full or there is no more.
async fn fill(from: &mut (dyn AsyncRead + Send + Unpin), buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match from.read(&mut buffer[length..]).await? {
            0 => break,
            n => length += n,
        }
    }
    Ok(length)
}

fn lost(what: &str, e: std::io::Error) -> Error {
    let kind = if e.kind() == std::io::ErrorKind::StorageFull { ErrorKind::NoSpace } else { ErrorKind::Unavailable };
    Error::new(kind, format!("cannot {what}")).with_source(e)
}
