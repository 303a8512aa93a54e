//! A way that was cut without a word: noticed by the silence.
//!
//! A link that drops what is sent looks like a host that thinks. The helper says now and then that it is at work, so silence
//! means that nothing gets through any more. How long it may last is the transport's
//! ([`Transport::stall`](kvm_core::Transport::stall)).

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use kvm_core::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout_at};

/// When a helper was last heard. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    last: Arc<Mutex<Instant>>,
    stall: Duration,
}

impl Heard {
    pub(super) fn now(stall: Duration) -> Self {
        Self { last: Arc::new(Mutex::new(Instant::now())), stall }
    }

    fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something that the helper is to say, for as long as anything is heard of it.
    pub(super) async fn unless_silent<T>(&self, expected: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        tokio::pin!(expected);
        loop {
            let due = self.last().max(begun) + self.stall;
            if let Ok(done) = timeout_at(due, &mut expected).await {
                return done;
            }
            if self.last().max(begun) + self.stall <= due {
                return Err(self.silent("said"));
            }
        }
    }

    /// Waits for something to be taken: a part of what is written.
    pub(super) async fn unless_stuck<T>(&self, taken: impl Future<Output = T>) -> Result<T> {
        tokio::time::timeout(self.stall, taken).await.map_err(|_| self.silent("taken"))
    }

    fn silent(&self, what: &str) -> Error {
        let text = format!("the helper on the host has {what} nothing for {:?}; the way there is cut", self.stall);
        Error::new(ErrorKind::Timeout, text)
    }
}

/// A stream that notes when something came.
pub(super) struct Ear<R> {
    pub(super) stream: R,
    pub(super) heard: Heard,
}

impl<R: AsyncRead + Unpin> AsyncRead for Ear<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if polled.is_ready() {
            self.heard.note();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use kvm_core::Clock as _;
    use kvm_mock::TokioClock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const STALL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_wait_and_a_sign_of_life_prolongs_it() {
        let (ours, mut theirs) = duplex(64);
        let heard = Heard::now(STALL);
        let mut ear = Ear { stream: ours, heard: heard.clone() };
        // Whoever was not waited for may have said nothing for a long time.
        let clock = TokioClock::starting_at("2030-01-01T00:00:00Z".parse().unwrap());
        clock.sleep(STALL * 10).await;
        let begun = Instant::now();
        let speaks = async {
            for _ in 0..10 {
                clock.sleep(STALL - Duration::from_secs(1)).await;
                theirs.write_all(b".").await.unwrap();
            }
            std::future::pending::<()>().await;
        };
        let listens = heard.unless_silent(async {
            let mut all = Vec::new();
            ear.read_to_end(&mut all).await.map_err(|e| Error::internal(e.to_string()))
        });
        let ended = tokio::select! {
            () = speaks => unreachable!(),
            ended = listens => ended,
        };
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(begun.elapsed(), (STALL - Duration::from_secs(1)) * 10 + STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_ends_the_wait() {
        let (mut ours, _theirs) = duplex(4);
        let heard = Heard::now(STALL);
        heard.unless_stuck(ours.write(b"1234")).await.unwrap().unwrap();
        let error = heard.unless_stuck(ours.write(b"5")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.message(), "the helper on the host has taken nothing for 30s; the way there is cut");
    }
}
