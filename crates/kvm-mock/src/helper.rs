//! The helper of a simulated host, which speaks as the real one does about the files of that host.
//!
//! It answers as soon as it is asked, in the middle of the caller's write. It knows no locks of images and applies no
//! updates.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use kvm_wire::{Decoder, Frame, Reply};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::mock::Mock;

mod file;
mod session;
mod tree;

use session::Session;

/// The caller's end of a conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    session: Session,
    decoder: Decoder,
    said: VecDeque<u8>,
    is_over: bool,
    reader: Option<Waker>,
}

impl Conversation {
    pub(crate) fn with(mock: Mock) -> Self {
        Self {
            session: Session::of(mock),
            decoder: Decoder::new(),
            said: VecDeque::new(),
            is_over: false,
            reader: None,
        }
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while !self.is_over {
            let answer = match self.decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(frame)) => self.session.hear(&frame),
                Err(_) => {
                    self.is_over = true;
                    Vec::new()
                }
            };
            answer.iter().for_each(|frame| self.said.extend(frame.to_bytes()));
        }
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl AsyncRead for Conversation {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.said.is_empty() && !self.is_over {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = to.remaining().min(self.said.len());
        let (front, _) = self.said.as_slices();
        let part = &front[..length.min(front.len())];
        to.put_slice(part);
        let length = part.len();
        self.said.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.hear(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_over = true;
        Poll::Ready(Ok(()))
    }
}

/// A reply as a frame; of one that is too long nothing is said.
fn frame(reply: &Reply) -> Vec<Frame> {
    Frame::reply(reply).into_iter().collect()
}
