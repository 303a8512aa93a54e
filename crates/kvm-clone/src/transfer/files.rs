//! Small files and directories on a host, through its helper.

use kvm_core::{Bytes, Error, ErrorKind, Progress, Resource, Result};
use kvm_wire::{
    Access, Block, Compression, Digest, Encoding, Entry, FileRef, FrameKind, GROUP_LEAVES, GroupHasher, Keep,
    LEAF_SIZE, Opening, Reply, Request, What, leaf_digest, root_digest,
};

use super::session::damaged;
use super::{MODE, Session, Watch, failure, unexpected};

/// A file as it lies on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) length: Bytes,
    pub(crate) allocated: Bytes,
}

impl Session {
    /// What is in a directory.
    pub(crate) async fn list(&mut self, directory: FileRef) -> Result<Vec<Entry>> {
        match self.ask(&Request::List { file: directory }).await? {
            Reply::Listing { entries } => Ok(entries),
            other => Err(unexpected(&other)),
        }
    }

    /// How large a file is; `None` when there is none.
    pub(crate) async fn stat(&mut self, file: &FileRef) -> Result<Option<Stored>> {
        match self.ask(&Request::Stat { file: file.clone() }).await {
            Ok(Reply::Stat { length, allocated, .. }) => {
                Ok(Some(Stored { length: Bytes::new(length), allocated: Bytes::new(allocated) }))
            }
            Ok(other) => Err(unexpected(&other)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// How much room there is in a directory.
    pub(crate) async fn space(&mut self, directory: &str) -> Result<Bytes> {
        match self.ask(&Request::Space { root: directory.to_owned() }).await? {
            Reply::Space { free, .. } => Ok(Bytes::new(free)),
            other => Err(unexpected(&other)),
        }
    }

    /// Has something done that has no answer but that it is done.
    pub(crate) async fn have(&mut self, request: Request) -> Result<()> {
        match self.ask(&request).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// The digest of a file and its length. With [`Keep::Forget`] all of it is read.
    pub(crate) async fn digest(
        &mut self,
        file: &FileRef,
        keep: Keep,
        watch: Option<Watch<'_>>,
    ) -> Result<(Digest, Bytes)> {
        let scan = Request::Scan { file: file.clone(), keep, access: Access::Exclusive };
        match self.ask_telling(&scan, watch).await? {
            Reply::Scanned { root, length, .. } => Ok((root, Bytes::new(length))),
            other => Err(unexpected(&other)),
        }
    }

    /// The SHA-256 of a file, of which all is read.
    pub(crate) async fn sum(&mut self, file: &FileRef, watch: Watch<'_>) -> Result<Digest> {
        match self.ask_telling(&Request::Sum { file: file.clone() }, Some(watch)).await? {
            Reply::Summed { sha256 } => Ok(sha256),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks, and tells how far the answer is.
    async fn ask_telling(&mut self, request: &Request, watch: Option<Watch<'_>>) -> Result<Reply> {
        self.output.say(request).await?;
        loop {
            match self.input.frame().await?.as_reply().map_err(damaged)? {
                Reply::Progress { done, total } => {
                    if let Some(watch) = watch {
                        let (title, done, total) = (watch.title.to_owned(), Bytes::new(done), Bytes::new(total));
                        watch.reporter.report(&Progress::Moved { title, done, total });
                    }
                }
                Reply::Error { kind, message, file, cause } => return Err(failure(kind, &message, file, cause)),
                other => return Ok(other),
            }
        }
    }

    /// All of a small file. `InvalidInput` when it is longer than that.
    pub(crate) async fn read(&mut self, file: &FileRef, most: Bytes) -> Result<Vec<u8>> {
        let named = || Resource::File(format!("{}/{}", file.root, file.name));
        let missing = || Error::new(ErrorKind::NotFound, "no such file").on(named());
        let Stored { length, .. } = self.stat(file).await?.ok_or_else(missing)?;
        if length > most {
            return Err(Error::invalid("file", format!("has {length}, {most} are allowed"))
                .with_detail(format!("{}/{}", file.root, file.name)));
        }
        let send = Request::Send {
            file: file.clone(),
            what: What::All,
            compression: Compression::Off,
            keep: Keep::Forget,
            access: Access::Shared,
        };
        self.output.say(&send).await?;
        let mut bytes = vec![0; usize::try_from(length.get()).unwrap_or_default()];
        loop {
            let frame = self.input.frame().await?;
            if frame.kind() == FrameKind::Message {
                match frame.as_reply().map_err(damaged)? {
                    Reply::Progress { .. } => continue,
                    Reply::Sent { length, .. } if length == bytes.len() as u64 => return Ok(bytes),
                    Reply::Sent { .. } => return Err(Error::new(ErrorKind::Busy, "the file changed").on(named())),
                    Reply::Error { kind, message, file, cause } => return Err(failure(kind, &message, file, cause)),
                    other => return Err(unexpected(&other)),
                }
            }
            let block = frame.as_block().map_err(damaged)?;
            if block.encoding() == Encoding::Zeros {
                continue;
            }
            let start = usize::try_from(block.offset()).unwrap_or(usize::MAX);
            let place = bytes.get_mut(start..).and_then(|rest| rest.get_mut(..block.length() as usize));
            match place.filter(|place| place.len() == block.data().len()) {
                Some(place) => place.copy_from_slice(block.data()),
                None => return Err(Error::new(ErrorKind::Corrupt, "a block that does not fit the file").on(named())),
            }
        }
    }

    /// Makes a small file, durably: it gets its name when it is whole.
    pub(crate) async fn write(&mut self, file: &FileRef, bytes: &[u8]) -> Result<()> {
        let length = bytes.len() as u64;
        let create = Request::Create { file: file.clone(), length, mode: MODE, opening: Opening::New };
        match self.ask(&create).await? {
            Reply::Created { .. } => {}
            other => return Err(unexpected(&other)),
        }
        self.output.say(&Request::Receive).await?;
        for (number, leaf) in bytes.chunks(LEAF_SIZE as usize).enumerate() {
            let digest = leaf_digest(leaf);
            if !digest.is_zero() {
                let (offset, length) = (number as u64 * LEAF_SIZE, u32::try_from(leaf.len()).unwrap_or_default());
                let block = Block::frame(offset, length, Encoding::Raw, &[digest], leaf).map_err(damaged)?;
                self.output.pass(&block).await?;
            }
        }
        self.output.say(&Request::End).await?;
        match self.input.reply().await? {
            Reply::Received { .. } => {}
            other => return Err(unexpected(&other)),
        }
        match self.ask(&Request::Finish { root: digest_of(bytes) }).await? {
            Reply::Ready => {}
            other => return Err(unexpected(&other)),
        }
        match self.ask(&Request::Publish).await? {
            Reply::Published => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

/// The digest of a file with these bytes, as a helper computes it.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let leaves: Vec<_> = bytes.chunks(LEAF_SIZE as usize).map(leaf_digest).collect();
    let groups = leaves.chunks(GROUP_LEAVES as usize).map(|leaves| {
        let mut group = GroupHasher::new();
        leaves.iter().for_each(|leaf| group.add(leaf));
        group.finish()
    });
    root_digest(bytes.len() as u64, &groups.collect::<Vec<_>>())
}
