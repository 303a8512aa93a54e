//! Receives blocks, checks them in several threads and hands them on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

use kvm_wire::{Block, Frame, FrameKind, Reply, Request};

use crate::block::Unpacker;
use crate::failure::{Result, Trouble};
use crate::pass::threads;
use crate::peer::{Peer, locked};

/// Where blocks go that are what their digests say.
pub(crate) trait Sink: Sync {
    /// How long the image is, or becomes.
    fn length(&self) -> u64;

    /// Takes a block: the frame as it came, and its bytes, `None` for zeros.
    fn put(&self, frame: &Frame, block: &Block<'_>, bytes: Option<&[u8]>) -> Result<()>;

    /// Has the disk take what was put so far, so that there is less to wait for in the end.
    fn settle(&self) -> Result<()>;
}

/// After so much more the disk begins to take it.
const UNSETTLED: u64 = 64 << 20;

/// Receives blocks up to the end, and answers.
pub(crate) fn receive(peer: &Peer, sink: &dyn Sink) -> Result<()> {
    let (blocks, data) = (AtomicU64::new(0), AtomicU64::new(0));
    let failed = AtomicBool::new(false);
    let (sender, receiver) = sync_channel::<Frame>(1);
    let receiver = Mutex::new(receiver);
    // The first failure is told at once, so that nobody sends the rest in vain.
    let fail = |trouble: Trouble| match (failed.swap(true, Ordering::Relaxed), trouble) {
        (false, Trouble::Failed(failure)) => peer.reply(&failure.into_reply()),
        (true, Trouble::Failed(_)) => Ok(()),
        (_, Trouble::Gone) => Err(Trouble::Gone),
    };
    let work = |due: SyncSender<()>| -> Result<()> {
        let mut unpacker = Unpacker::new()?;
        loop {
            let Ok(frame) = locked(&receiver).recv() else { return Ok(()) };
            // Frames are taken also when nothing can be done with them, or who sends them would wait for ever.
            if failed.load(Ordering::Relaxed) {
                continue;
            }
            let put = frame.as_block().map_err(|e| Trouble::invalid(e.to_string())).and_then(|block| {
                let bytes = unpacker.unpack(&block, sink.length())?;
                sink.put(&frame, &block, bytes)?;
                let length = u64::from(block.length());
                let before = data.fetch_add(length, Ordering::Relaxed);
                if before / UNSETTLED != (before + length) / UNSETTLED {
                    // Where the disk is still at it, it gets to this later.
                    let _asked = due.try_send(());
                }
                blocks.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
            put.or_else(fail)?;
            peer.recycle(frame);
        }
    };
    std::thread::scope(|scope| {
        let (due, is_due) = sync_channel(1);
        let (work, fail) = (&work, &fail);
        let settle = scope.spawn(move || is_due.into_iter().try_for_each(|()| sink.settle().or_else(fail)));
        let mut threads: Vec<_> =
            (0..threads()).map(|_| due.clone()).map(|due| scope.spawn(move || work(due))).collect();
        threads.push(settle);
        drop(due);
        let feed = feed(peer, &sender);
        drop(sender);
        // A thread that could not answer means that nobody listens.
        let worked = threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Err(Trouble::Gone)));
        feed.and(worked)
    })?;
    match failed.into_inner() {
        true => Ok(()),
        false => peer.reply(&Reply::Received { blocks: blocks.into_inner(), data: data.into_inner() }),
    }
}

fn feed(peer: &Peer, to: &std::sync::mpsc::SyncSender<Frame>) -> Result<()> {
    loop {
        let frame = peer.next_of_same()?;
        if frame.kind() == FrameKind::Block {
            // All threads are gone only when nobody listens.
            to.send(frame).map_err(|_| Trouble::Gone)?;
        } else if frame.as_request().is_ok_and(|request| request == Request::End) {
            return Ok(());
        } else {
            return Err(Trouble::invalid("only blocks may come before their end"));
        }
    }
}
