//! The points of a conversation with a helper, and of what else is done on a host through its transport.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{ByteStream, Bytes, Dial, Endpoint, FilePart, Host, Output, Result, Transport};
use kvm_wire::{Decoder, FrameKind};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::at;

/// The same host, with points that begin with what it is called.
pub(crate) fn watched(host: Host, label: &str) -> Host {
    let transport = Arc::new(Watched { inner: Arc::clone(&host.transport), label: label.to_owned() });
    Host { transport, ..host }
}

#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Transport>,
    label: String,
}

impl Watched {
    async fn around<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        at(&format!("{}.{what}.before", self.label));
        let done = work.await?;
        at(&format!("{}.{what}.after", self.label));
        Ok(done)
    }
}

#[async_trait]
impl Transport for Watched {
    fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    async fn run(&self, argv: &[&str], timeout: Duration) -> Result<Output> {
        self.inner.run(argv, timeout).await
    }

    async fn dial(&self, to: &Dial) -> Result<Box<dyn ByteStream>> {
        self.inner.dial(to).await
    }

    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        let stream = self.around("helper", self.inner.helper()).await?;
        let (label, asked) = (self.label.clone(), None);
        Ok(Box::new(Conversation { stream, label, asked, said: Decoder::new(), heard: Decoder::new() }))
    }

    fn stall(&self) -> Duration {
        self.inner.stall()
    }

    async fn read_file(&self, path: &Path, limit: Bytes) -> Result<Vec<u8>> {
        self.inner.read_file(path, limit).await
    }

    async fn read_part(&self, path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
        self.inner.read_part(path, offset, length).await
    }

    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> Result<()> {
        self.around("write-file", self.inner.write_file(path, data, mode)).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        self.around("remove-file", self.inner.remove_file(path)).await
    }
}

struct Conversation {
    stream: Box<dyn ByteStream>,
    label: String,
    /// The question of which the first byte is about to be sent.
    asked: Option<String>,
    said: Decoder,
    heard: Decoder,
}

impl Conversation {
    fn saw(&mut self, ours: bool, mut bytes: &[u8]) {
        let decoder = if ours { &mut self.said } else { &mut self.heard };
        while let Ok(Some(frame)) = decoder.next(&mut bytes) {
            let label = &self.label;
            match (frame.kind(), kind(frame.payload()), ours) {
                (FrameKind::Message, Some(asked), true) => at(&format!("{label}.ask.{asked}.after")),
                (FrameKind::Message, Some(reply), false) if reply != "progress" => {
                    at(&format!("{label}.reply.{reply}"));
                }
                (FrameKind::Block, _, true) => at(&format!("{label}.block")),
                _ => {}
            }
        }
    }
}

/// What a message is, where these are all bytes of one.
fn kind(payload: &[u8]) -> Option<String> {
    let message: Value = serde_json::from_slice(payload).ok()?;
    Some(message.get("type")?.as_str()?.to_owned())
}

impl AsyncRead for Conversation {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.saw(false, buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // The header goes out by itself, and then the message in one piece.
        if self.asked.is_none()
            && let Some(asked) = kind(bytes)
        {
            at(&format!("{}.ask.{asked}.before", self.label));
            self.asked = Some(asked);
        }
        let taken = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.asked = None;
        self.saw(true, bytes.get(..taken).unwrap_or_default());
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
