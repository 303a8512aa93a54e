//! A conversation with the helper on a host.

use kvm_core::text::printable_within;
use kvm_core::{ByteStream, Error, ErrorKind, Resource, Result, Transport};
use kvm_wire::{Cause, FailureKind, FileRef, Frame, Header, Reply, Request, VERSION, WireError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, ReadHalf, WriteHalf};

use super::stall::{Ear, Heard};

/// The greeting, at which a helper also lets go of all that it held for whoever spoke before.
const HELLO: Request = Request::Hello { version: VERSION };
/// How long the answer to the last greeting is waited for.
const PARTING: std::time::Duration = std::time::Duration::from_secs(5);
/// So much of what a helper says is shown.
const SHOWN: usize = 300;
/// What is read ahead of the stream at most; a block is read in one piece.
const AHEAD: usize = 64 << 10;

/// An open conversation, after the greeting.
pub(crate) struct Session {
    pub(super) input: Input,
    pub(super) output: Output,
}

/// What the helper says.
pub(super) struct Input {
    stream: BufReader<Ear<ReadHalf<Box<dyn ByteStream>>>>,
    pub(super) heard: Heard,
}

/// What the helper hears.
pub(super) struct Output {
    stream: WriteHalf<Box<dyn ByteStream>>,
    heard: Heard,
}

impl Session {
    /// Starts the helper on a host. `Unsupported` when the host has none, or one that speaks another version.
    pub(crate) async fn open(host: &dyn Transport) -> Result<Self> {
        match Self::greet(host.helper().await?, host.stall()).await {
            // A session that was kept may have ended meanwhile. A host that is not reached is not tried again here.
            Err(e) if e.kind() == ErrorKind::Unavailable => Self::greet(host.helper().await?, host.stall()).await,
            greeted => greeted,
        }
    }

    async fn greet(stream: Box<dyn ByteStream>, stall: std::time::Duration) -> Result<Self> {
        let (reader, writer) = tokio::io::split(stream);
        let heard = Heard::now(stall);
        let stream = BufReader::with_capacity(AHEAD, Ear { stream: reader, heard: heard.clone() });
        let input = Input { stream, heard: heard.clone() };
        let mut session = Self { input, output: Output { stream: writer, heard } };
        match session.ask(&HELLO).await? {
            Reply::Hello { version: VERSION, .. } => Ok(session),
            Reply::Hello { version, program, .. } => {
                let program = printable_within(&program, SHOWN).to_string();
                Err(Error::new(ErrorKind::Unsupported, format!("{program} speaks version {version}, not {VERSION}")))
            }
            other => Err(super::unexpected(&other)),
        }
    }

    /// Lets the host keep it for the next one, where nothing is under way: all that was asked was answered. What the helper
    /// held is free when this returns.
    pub(crate) async fn give_back(mut self, host: &dyn Transport) {
        // At a greeting it lets go of everything. All is done by now: nobody waits long for it.
        let is_free = matches!(tokio::time::timeout(PARTING, self.ask(&HELLO)).await, Ok(Ok(Reply::Hello { .. })));
        let Self { input, output } = self;
        if is_free && input.stream.buffer().is_empty() {
            host.keep_helper(input.stream.into_inner().stream.unsplit(output.stream));
        }
    }

    /// Has one question answered.
    pub(crate) async fn ask_once(host: &dyn Transport, request: &Request) -> Result<Reply> {
        let mut session = Self::open(host).await?;
        let reply = session.ask(request).await?;
        session.give_back(host).await;
        Ok(reply)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Reply> {
        self.output.say(request).await?;
        self.input.reply().await
    }
}

impl Input {
    /// The next frame. `Timeout` when nothing comes for too long.
    pub(super) async fn frame(&mut self) -> Result<Frame> {
        let heard = self.heard.clone();
        heard.unless_silent(self.frame_whenever()).await
    }

    /// The next frame, however long it takes.
    async fn frame_whenever(&mut self) -> Result<Frame> {
        let mut header = [0; Header::SIZE];
        self.stream.read_exact(&mut header).await.map_err(lost)?;
        let header = Header::decode(header).map_err(damaged)?;
        let mut payload = Vec::with_capacity(header.length());
        (&mut self.stream).take(header.length() as u64).read_to_end(&mut payload).await.map_err(lost)?;
        if payload.len() < header.length() {
            return Err(lost(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Frame::new(header.kind(), payload).map_err(damaged)
    }

    /// The next message that is no progress. An error of the helper is one here. `Timeout` when nothing comes for too long.
    pub(super) async fn reply(&mut self) -> Result<Reply> {
        let heard = self.heard.clone();
        heard.unless_silent(self.reply_whenever()).await
    }

    /// The same, however long it takes: for a helper of which nothing is expected yet.
    pub(super) async fn reply_whenever(&mut self) -> Result<Reply> {
        loop {
            match self.frame_whenever().await?.as_reply().map_err(damaged)? {
                Reply::Progress { .. } => {}
                Reply::Error { kind, message, file, cause } => return Err(failure(kind, &message, file, cause)),
                other => return Ok(other),
            }
        }
    }
}

impl Output {
    pub(super) async fn say(&mut self, request: &Request) -> Result<()> {
        self.pass(&Frame::request(request).map_err(damaged)?).await?;
        self.heard.unless_stuck(self.stream.flush()).await?.map_err(lost)
    }

    /// Passes a frame on as it is. `Timeout` when nothing of it is taken for too long.
    pub(super) async fn pass(&mut self, frame: &Frame) -> Result<()> {
        for mut part in [&frame.header().encode()[..], frame.payload()] {
            while !part.is_empty() {
                let taken = self.heard.unless_stuck(self.stream.write(part)).await?.map_err(lost)?;
                if taken == 0 {
                    return Err(lost(std::io::ErrorKind::WriteZero.into()));
                }
                part = part.get(taken..).unwrap_or_default();
            }
        }
        Ok(())
    }
}

fn lost(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the connection to the helper on the host was lost").with_source(e)
}

pub(super) fn damaged(e: WireError) -> Error {
    Error::new(ErrorKind::Corrupt, "what came from the helper on the host cannot be read").with_source(e)
}

/// An error of the helper as one of ours.
pub(super) fn failure(kind: FailureKind, message: &str, file: Option<FileRef>, cause: Option<Cause>) -> Error {
    let kind = match kind {
        FailureKind::AlreadyExists => ErrorKind::AlreadyExists,
        FailureKind::Busy => ErrorKind::Busy,
        FailureKind::Corrupt => ErrorKind::Corrupt,
        FailureKind::Denied => ErrorKind::Denied,
        FailureKind::Internal => ErrorKind::Internal,
        FailureKind::InvalidInput => ErrorKind::InvalidInput,
        FailureKind::InvalidState => ErrorKind::InvalidState,
        FailureKind::NoSpace => ErrorKind::NoSpace,
        FailureKind::NotFound => ErrorKind::NotFound,
        FailureKind::Unsupported => ErrorKind::Unsupported,
    };
    let error = Error::new(kind, printable_within(message, SHOWN).to_string());
    let error = match file {
        Some(file) if file.name.is_empty() => error.on(Resource::File(file.root)),
        Some(file) => error.on(Resource::File(format!("{}/{}", file.root.trim_end_matches('/'), file.name))),
        None => error,
    };
    match cause {
        Some(Cause::Changed) => error.with_detail("somebody writes to it: shut the VM down, or copy it while it runs"),
        Some(Cause::InUse) => error.with_detail("another process, such as QEMU, has it open for writing"),
        Some(Cause::Block { offset }) => error.with_detail(format!("the block at {offset}")),
        Some(Cause::Differs { expected, found }) => error.with_detail(format!("expected {expected}, found {found}")),
        None => error,
    }
}
