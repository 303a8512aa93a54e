//! Blocks from one helper to another.

use kvm_core::{Bytes, Error, ErrorKind, Progress, Result};
use kvm_wire::{Digest, Frame, FrameKind, Reply, Request};
use tokio::sync::mpsc;

use super::session::{Input, Output};
use super::{Session, Watch, failure, unexpected};

/// Blocks on their way between both sides; each has 1 MiB at most.
const UNDER_WAY: usize = 4;
/// How often progress is told, in parts of the whole.
const TELLINGS: u64 = 256;

/// How blocks are passed on.
#[derive(Clone, Copy)]
pub(super) struct Relay<'a> {
    /// Most bytes per second.
    pub(super) limit: Option<Bytes>,
    /// How long the image is.
    pub(super) length: u64,
    pub(super) watch: Watch<'a>,
}

/// What the sender said in the end.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    /// The digest of the whole image, where the sender knows it.
    pub(super) root: Option<Digest>,
    pub(super) data: u64,
    pub(super) wire: u64,
}

/// Has one side send and the other receive.
pub(super) async fn relay(source: &mut Session, send: &Request, target: &mut Session, way: Relay<'_>) -> Result<Sent> {
    source.output.say(send).await?;
    target.output.say(&Request::Receive).await?;
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let Session { input, output } = target;
    let pass = async { tokio::try_join!(way.read(&mut source.input, sender), way.write(output, receiver)) };
    // As long as blocks come it has nothing to say; only then its silence means something.
    let heard = input.heard.clone();
    let answer = input.reply_whenever();
    tokio::pin!(pass, answer);
    // Whoever receives speaks before the end only when something is wrong.
    let sent = tokio::select! {
        biased;
        early = &mut answer => return Err(early.map_or_else(|e| e, |reply| unexpected(&reply))),
        passed = &mut pass => passed?.0,
    };
    match heard.unless_silent(answer).await? {
        Reply::Received { .. } => Ok(sent),
        other => Err(unexpected(&other)),
    }
}

impl Relay<'_> {
    /// Takes what the sender sends, and tells how far it is.
    async fn read(&self, input: &mut Input, blocks: mpsc::Sender<Frame>) -> Result<Sent> {
        // Where in the image the sender is: what is skipped is done as well.
        let (mut reached, mut next) = (0, 0);
        loop {
            let frame = input.frame().await?;
            match frame.kind() {
                FrameKind::Block => {
                    let block = frame.as_block().map_err(unreadable)?;
                    reached = reached.max(block.offset() + u64::from(block.length()));
                    if reached >= next {
                        next = reached + (self.length / TELLINGS).max(1 << 20);
                        self.tell(reached);
                    }
                    if blocks.send(frame).await.is_err() {
                        return Err(Error::internal("nobody takes what the source sends"));
                    }
                }
                FrameKind::Message => match frame.as_reply().map_err(unreadable)? {
                    Reply::Progress { .. } => {}
                    Reply::Sent { root, data, wire, .. } => {
                        self.tell(self.length);
                        return Ok(Sent { root, data, wire });
                    }
                    Reply::Error { kind, message, file, cause } => return Err(failure(kind, &message, file, cause)),
                    other => return Err(unexpected(&other)),
                },
                FrameKind::Digests => {
                    return Err(Error::new(ErrorKind::Corrupt, "the source sent digests instead of blocks"));
                }
            }
        }
    }

    fn tell(&self, reached: u64) {
        let (title, total) = (self.watch.title.to_owned(), Bytes::new(self.length.max(reached)));
        self.watch.reporter.report(&Progress::Moved { title, done: Bytes::new(reached), total });
    }

    /// Passes blocks on, no faster than allowed.
    async fn write(&self, output: &mut Output, mut blocks: mpsc::Receiver<Frame>) -> Result<()> {
        while let Some(block) = blocks.recv().await {
            let Watch { pace, clock, .. } = self.watch;
            pace.wait(self.limit, block.payload().len() as u64, clock).await;
            output.pass(&block).await?;
        }
        output.say(&Request::End).await
    }
}

fn unreadable(e: kvm_wire::WireError) -> Error {
    Error::new(ErrorKind::Corrupt, "what the source sent cannot be read").with_source(e)
}
