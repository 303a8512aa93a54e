//! Blocks from one helper to another.

use kvm_core::op::StepContext;
use kvm_core::{Bytes, Error, ErrorKind, Progress, Result};
use kvm_wire::{Digest, Frame, FrameKind, Reply, Request};
use tokio::sync::mpsc;

use super::session::{Input, Output};
use super::{Pace, Session, failure, unexpected};

/// Blocks on their way between both sides; each has 1 MiB at most.
const UNDER_WAY: usize = 4;
/// How often progress is told, in parts of the whole.
const TELLINGS: u64 = 256;

/// Has one side send and the other receive. Gives the digest of the whole image where the sender knows it.
pub(crate) async fn relay(
    source: &mut Session,
    send: &Request,
    target: &mut Session,
    pace: &mut Pace,
    title: &str,
    length: u64,
    cx: &StepContext<'_>,
) -> Result<Option<Digest>> {
    source.output.say(send).await?;
    target.output.say(&Request::Receive).await?;
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let Session { input, output } = target;
    let work = async {
        let pass = async {
            tokio::try_join!(read(&mut source.input, sender, title, length, cx), write(output, receiver, pace, cx))
        };
        let mut unheard = |_, _| ();
        let answer = input.reply(&mut unheard);
        tokio::pin!(pass, answer);
        // Whoever receives speaks before the end only when something is wrong.
        let root = tokio::select! {
            biased;
            early = &mut answer => return Err(early.map_or_else(|e| e, |reply| unexpected(&reply))),
            passed = &mut pass => passed?.0,
        };
        match answer.await? {
            Reply::Received { .. } => Ok(root),
            other => Err(unexpected(&other)),
        }
    };
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the transfer was cancelled")),
        done = work => done,
    }
}

/// Takes what the sender sends, and tells how far it is.
async fn read(
    input: &mut Input,
    blocks: mpsc::Sender<Frame>,
    title: &str,
    length: u64,
    cx: &StepContext<'_>,
) -> Result<Option<Digest>> {
    // Where in the image the sender is: what is skipped is done as well.
    let (mut reached, mut next) = (0, 0);
    loop {
        let frame = input.frame().await?;
        match frame.kind() {
            FrameKind::Block => {
                let block = frame.as_block().map_err(|e| {
                    Error::new(ErrorKind::Corrupt, "a block that the source sent cannot be read").with_source(e)
                })?;
                reached = reached.max(block.offset() + u64::from(block.length()));
                if reached >= next {
                    next = reached + (length / TELLINGS).max(1 << 20);
                    let (done, total) = (Bytes::new(reached), Bytes::new(length.max(reached)));
                    cx.reporter.report(&Progress::Moved { title: title.to_owned(), done, total });
                }
                if blocks.send(frame).await.is_err() {
                    return Err(Error::internal("nobody takes what the source sends"));
                }
            }
            FrameKind::Message => match frame
                .as_reply()
                .map_err(|e| Error::new(ErrorKind::Corrupt, "what the source says cannot be read").with_source(e))?
            {
                Reply::Progress { .. } => {}
                Reply::Sent { root, .. } => return Ok(root),
                Reply::Error { kind, message, file, cause } => return Err(failure(kind, &message, file, cause)),
                other => return Err(unexpected(&other)),
            },
            FrameKind::Digests => {
                return Err(Error::new(ErrorKind::Corrupt, "the source sent digests instead of blocks"));
            }
        }
    }
}

/// Passes blocks on, no faster than allowed.
async fn write(
    output: &mut Output,
    mut blocks: mpsc::Receiver<Frame>,
    pace: &Pace,
    cx: &StepContext<'_>,
) -> Result<()> {
    while let Some(block) = blocks.recv().await {
        pace.wait(block.payload().len() as u64, cx.clock).await;
        output.pass(&block).await?;
    }
    output.say(&Request::End).await
}
