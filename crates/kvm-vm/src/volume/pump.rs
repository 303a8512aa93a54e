//! Moves the content of volumes between a host and files of this machine.

use std::path::Path;

use kvm_core::op::StepContext;
use kvm_core::{Bytes, Error, ErrorKind, Holes, Host, Piece, Progress, Result, VolumeReader, VolumeWriter};

use super::digest::ContentDigest;
use super::local::{self, Sink};
use super::{Verify, content, resource};
use crate::spec::VolumeRef;

/// How often progress is told, in parts of the whole.
const TELLINGS: u64 = 256;

/// A volume, a file, and what happens on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) volume: &'a VolumeRef,
    pub(crate) file: &'a Path,
    pub(crate) holes: Holes,
    pub(crate) verify: Verify,
}

impl Way<'_> {
    /// Sends the file, which has this length, into the volume, which holds nothing yet.
    pub(crate) async fn upload(&self, length: Bytes, cx: &StepContext<'_>) -> Result<()> {
        let (writer, holes) = self.open_writer(length, cx).await?;
        let mut told = Told::new(format!("upload {}", self.volume), length, cx);
        let sent = unless_cancelled(cx, self.send(writer, length, holes, &mut told)).await?;
        let Some(sent) = sent else { return Ok(()) };
        let (mut reader, _) = self.open_reader(cx).await?;
        let mut told = Told::new(format!("verify {}", self.volume), length, cx);
        let arrived = unless_cancelled(cx, digest(&mut *reader, length, &mut told)).await?;
        self.compare(sent == arrived)
    }

    async fn send(
        &self,
        mut writer: Box<dyn VolumeWriter>,
        length: Bytes,
        holes: Holes,
        told: &mut Told<'_>,
    ) -> Result<Option<[u8; 32]>> {
        let mut digest = (self.verify == Verify::ReadBack).then(ContentDigest::new);
        let mut pieces = local::read(self.file, length, holes);
        while let Some(piece) = pieces.recv().await {
            let piece = piece?;
            if let Some(digest) = &mut digest {
                digest.add(&piece);
            }
            let length = piece.length();
            writer.write(piece).await?;
            told.more(length);
        }
        writer.finish().await?;
        Ok(digest.map(ContentDigest::finish))
    }

    /// Fetches the volume into the file, which is made for it.
    pub(crate) async fn download(&self, cx: &StepContext<'_>) -> Result<()> {
        let (reader, _) = self.open_reader(cx).await?;
        let mut told = Told::new(format!("download {}", self.volume), reader.length(), cx);
        let (length, fetched) = unless_cancelled(cx, self.fetch(reader, &mut told)).await?;
        let Some(fetched) = fetched else { return Ok(()) };
        let mut told = Told::new(format!("verify {}", self.volume), length, cx);
        let mut digest = ContentDigest::new();
        let read = async {
            let mut pieces = local::read(self.file, length, Holes::Keep);
            while let Some(piece) = pieces.recv().await {
                let piece = piece?;
                digest.add(&piece);
                told.more(piece.length());
            }
            Ok(())
        };
        unless_cancelled(cx, read).await?;
        self.compare(fetched == digest.finish())
    }

    async fn fetch(&self, mut reader: Box<dyn VolumeReader>, told: &mut Told<'_>) -> Result<(Bytes, Option<[u8; 32]>)> {
        let mut digest = (self.verify == Verify::ReadBack).then(ContentDigest::new);
        let (mut sink, mut length) = (Sink::create(self.file).await?, Bytes::ZERO);
        while let Some(piece) = reader.next().await? {
            if let Some(digest) = &mut digest {
                digest.add(&piece);
            }
            length = length.saturating_add(piece.length());
            told.more(piece.length());
            sink.write(piece).await?;
        }
        sink.finish().await?;
        Ok((length, digest.map(ContentDigest::finish)))
    }

    async fn open_reader(&self, cx: &StepContext<'_>) -> Result<(Box<dyn VolumeReader>, Holes)> {
        reader(cx.host, self.volume, self.holes).await
    }

    async fn open_writer(&self, length: Bytes, cx: &StepContext<'_>) -> Result<(Box<dyn VolumeWriter>, Holes)> {
        writer(cx.host, self.volume, length, self.holes).await
    }

    fn compare(&self, equal: bool) -> Result<()> {
        if equal {
            return Ok(());
        }
        let message = format!("volume {} and {} differ after the transfer", self.volume, self.file.display());
        Err(Error::new(ErrorKind::Corrupt, message)
            .on(resource(self.volume))
            .with_detail("somebody writes to one of them, or a disk or its memory is broken"))
    }
}

/// Opens a volume. Where holes cannot be told apart on the way they are zeros like any other.
pub(super) async fn reader(host: &Host, at: &VolumeRef, holes: Holes) -> Result<(Box<dyn VolumeReader>, Holes)> {
    let (content, VolumeRef { pool, volume }) = (content(host)?, at);
    match content.download(pool, volume, holes).await {
        Err(e) if e.kind() == ErrorKind::Unsupported && holes == Holes::Keep => {
            Ok((content.download(pool, volume, Holes::Fill).await?, Holes::Fill))
        }
        opened => Ok((opened?, holes)),
    }
}

/// The same to write.
pub(super) async fn writer(
    host: &Host,
    at: &VolumeRef,
    length: Bytes,
    holes: Holes,
) -> Result<(Box<dyn VolumeWriter>, Holes)> {
    let (content, VolumeRef { pool, volume }) = (content(host)?, at);
    match content.upload(pool, volume, length, holes).await {
        Err(e) if e.kind() == ErrorKind::Unsupported && holes == Holes::Keep => {
            Ok((content.upload(pool, volume, length, Holes::Fill).await?, Holes::Fill))
        }
        opened => Ok((opened?, holes)),
    }
}

/// The digest of so much from the beginning on: a device is made in units of its own, so there may be more behind it.
pub(super) async fn digest(reader: &mut dyn VolumeReader, length: Bytes, told: &mut Told<'_>) -> Result<[u8; 32]> {
    let (mut digest, mut left) = (ContentDigest::new(), length);
    while left > Bytes::ZERO
        && let Some(piece) = reader.next().await?
    {
        let piece = cut(piece, left);
        digest.add(&piece);
        left = left.saturating_sub(piece.length());
        told.more(piece.length());
    }
    Ok(digest.finish())
}

/// As much of the piece as is wanted.
fn cut(piece: Piece, most: Bytes) -> Piece {
    match piece {
        Piece::Hole(length) => Piece::Hole(length.min(most)),
        Piece::Data(mut data) => {
            data.truncate(usize::try_from(most.get()).unwrap_or(usize::MAX));
            Piece::Data(data)
        }
    }
}

/// Stops in the middle of a transfer that nobody wants any longer; what is dropped ends it on the other side.
pub(crate) async fn unless_cancelled<T>(cx: &StepContext<'_>, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, "the transfer was cancelled")),
        done = work => done,
    }
}

/// Tells of progress now and then.
pub(crate) struct Told<'a> {
    title: String,
    done: Bytes,
    total: Bytes,
    /// What is told next.
    next: u64,
    cx: &'a StepContext<'a>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(title: String, total: Bytes, cx: &'a StepContext<'a>) -> Self {
        Self { title, done: Bytes::ZERO, total, next: 0, cx }
    }

    pub(crate) fn more(&mut self, length: Bytes) {
        self.done = self.done.saturating_add(length);
        if self.done.get() < self.next && self.done < self.total {
            return;
        }
        self.next = self.done.get() + (self.total.get() / TELLINGS).max(Piece::DATA_MAX.get());
        let (title, total) = (self.title.clone(), self.total.max(self.done));
        self.cx.reporter.report(&Progress::Moved { title, done: self.done, total });
    }
}
