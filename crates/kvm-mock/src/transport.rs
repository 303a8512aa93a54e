//! The simulated host's operating system: its files, scripted programs, and sockets that a test listens on.

use std::path::{Component, Path};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{ByteStream, Bytes, Dial, Endpoint, Error, ErrorKind, FilePart, Output, Resource, Result, Transport};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::fault::Method;
use crate::file::SparseFile;
use crate::helper::Conversation;
use crate::mock::Mock;
use crate::storage::Pool;
use crate::world::World;

/// Directories that a host has although no file of this one lies in them.
const DIRECTORIES: [&str; 13] = [
    "/",
    "/etc",
    "/etc/libvirt/hooks/network.d",
    "/run",
    "/srv",
    "/tmp",
    "/var/lib/libvirt",
    "/var/lib/libvirt/images",
    "/var/lib/libvirt/qemu",
    "/var/lib/libvirt/qemu/nvram",
    "/var/tmp",
    "/proc",
    "/proc/net",
];

/// The most that a program may print on one stream.
const MOST_OUTPUT: usize = 16 << 20;

/// So much of a connection's data waits for its reader.
const SOCKET_BUFFER: usize = 64 * 1024;

/// A program of the simulated host: what it does when it is run with exactly these arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// What it leaves behind.
    pub output: Output,
    /// How long it runs, by the host's clock.
    pub takes: Duration,
}

impl Script {
    /// A program that ends at once, successfully, and prints this.
    #[must_use]
    pub fn printing(argv: &[&str], stdout: &str) -> Self {
        Self {
            argv: argv.iter().map(ToString::to_string).collect(),
            output: Output { status: Some(0), stdout: stdout.into(), stderr: Vec::new() },
            takes: Duration::ZERO,
        }
    }
}

/// The scripts of a host; the latest wins.
#[derive(Debug, Default)]
pub(crate) struct Programs(Mutex<Vec<Script>>);

impl Programs {
    pub(crate) fn new(scripts: Vec<Script>) -> Self {
        Self(Mutex::new(scripts))
    }

    pub(crate) fn add(&self, script: Script) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(script);
    }

    /// The script for these arguments. `NotFound` when no script is of this program.
    fn find(&self, argv: &[&str]) -> Result<Script> {
        let scripts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(program) = argv.first() else {
            return Err(Error::invalid("argv", "an empty argument list names no program"));
        };
        if let Some(script) = scripts.iter().rev().find(|s| s.argv == argv) {
            return Ok(script.clone());
        }
        if *program == "sync" {
            // What is in memory is all that there is of this host's disks.
            return Ok(Script::printing(argv, ""));
        }
        if scripts.iter().any(|s| s.argv.first().is_some_and(|p| p == program)) {
            // As programs do with arguments that they do not know.
            let output = Output { status: Some(2), stdout: Vec::new(), stderr: b"unknown arguments\n".to_vec() };
            return Ok(Script { argv: Vec::new(), output, takes: Duration::ZERO });
        }
        Err(Error::new(ErrorKind::NotFound, "no such program").on(Resource::File((*program).to_owned())))
    }
}

/// The listeners of a host.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<Vec<(Dial, mpsc::UnboundedSender<DuplexStream>)>>);

impl Sockets {
    pub(crate) fn listen(&self, at: Dial) -> Listener {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|(other, sender)| *other != at && !sender.is_closed());
        listeners.push((at, sender));
        Listener(receiver)
    }

    fn dial(&self, to: &Dial) -> Result<DuplexStream> {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (ours, theirs) = tokio::io::duplex(SOCKET_BUFFER);
        let listener = listeners.iter().find(|(at, _)| at == to);
        match listener.map(|(_, sender)| sender.send(theirs)) {
            Some(Ok(())) => Ok(ours),
            _ => Err(Error::new(ErrorKind::Unavailable, "nobody listens there").with_detail(format!("{to:?}"))),
        }
    }
}

/// Takes the connections to a socket of the simulated host; dropping it closes the socket.
#[derive(Debug)]
pub struct Listener(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener {
    /// Waits for the next connection, and gives the far end of it. `None` when another listener took the place.
    pub async fn accept(&mut self) -> Option<DuplexStream> {
        self.0.recv().await
    }
}

#[async_trait]
impl Transport for Mock {
    fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }

    async fn run(&self, argv: &[&str], timeout: Duration) -> Result<Output> {
        let script = self.read(Method::Run, argv.join(" "), |_, _| self.0.programs.find(argv)).await?;
        self.0.clock().sleep(script.takes.min(timeout)).await;
        if script.takes > timeout {
            return Err(Error::new(ErrorKind::Timeout, "the program has not ended in time"));
        }
        if script.output.stdout.len().max(script.output.stderr.len()) > MOST_OUTPUT {
            return Err(Error::new(ErrorKind::Corrupt, "the program printed more than 16 MiB"));
        }
        Ok(script.output)
    }

    async fn dial(&self, to: &Dial) -> Result<Box<dyn ByteStream>> {
        let stream = self.read(Method::Dial, format!("{to:?}"), |_, _| self.0.sockets.dial(to)).await?;
        Ok(Box::new(stream))
    }

    /// The simulated host runs no programs but those that a test scripts, and a helper where it is told to have one.
    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        self.read(Method::Helper, "", |world, _| match world.host.helper {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Unsupported, "a simulated host runs no helper")),
        })
        .await?;
        Ok(Box::new(Conversation::with(self.clone())))
    }

    async fn read_file(&self, path: &Path, limit: Bytes) -> Result<Vec<u8>> {
        self.read(Method::ReadFile, path.display(), |world, _| {
            let file = world.files.get(&text(path)?).ok_or_else(|| no_such_file(path))?;
            if file.len() > limit.get() {
                return Err(Error::invalid("file", "is larger than allowed").with_detail(format!(
                    "{} bytes, allowed are {}",
                    file.len(),
                    limit.get()
                )));
            }
            let length = usize::try_from(file.len()).map_err(|_| Error::invalid("file", "does not fit into memory"))?;
            Ok(file.read(0, length))
        })
        .await
    }

    async fn read_part(&self, path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
        self.read(Method::ReadPart, path.display(), |world, _| {
            if length > FilePart::MAX {
                return Err(Error::invalid("length", format!("is {} at most", FilePart::MAX)));
            }
            let file = world.files.get(&text(path)?).ok_or_else(|| no_such_file(path))?;
            let data = file.read(offset, usize::try_from(length.get()).unwrap_or(usize::MAX));
            Ok(FilePart { data, length: Bytes::new(file.len()) })
        })
        .await
    }

    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> Result<()> {
        self.change(Method::WriteFile, path.display(), |world, _| {
            let name = text(path)?;
            if !path.parent().is_some_and(|parent| is_directory(world, parent)) {
                return Err(no_such_file(path));
            }
            if is_directory(world, path) {
                return Err(Error::new(ErrorKind::Denied, "is a directory").on(Resource::File(name)));
            }
            world.files.insert(name, SparseFile::of(data, mode));
            Ok(())
        })
        .await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        self.change(Method::RemoveFile, path.display(), |world, _| {
            if is_directory(world, path) {
                return Err(Error::invalid("path", "is a directory").on(Resource::File(text(path)?)));
            }
            world.files.remove(&text(path)?).map(drop).ok_or_else(|| no_such_file(path))
        })
        .await
    }
}

/// The path as the world's files are named.
fn text(path: &Path) -> Result<String> {
    let plain = path.is_absolute() && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    match path.to_str() {
        Some(text) if plain => Ok(text.to_owned()),
        _ => Err(Error::invalid("path", "must be absolute, normalised and UTF-8 on a simulated host")),
    }
}

fn no_such_file(path: &Path) -> Error {
    Error::new(ErrorKind::NotFound, "no such file or directory").on(Resource::File(path.display().to_string()))
}

pub(crate) fn is_directory(world: &World, path: &Path) -> bool {
    DIRECTORIES.iter().any(|dir| Path::new(dir) == path)
        || world.directories.iter().any(|dir| Path::new(dir) == path)
        || world.pools.values().filter_map(Pool::directory).any(|dir| dir.as_path().starts_with(path))
        || world.files.keys().any(|file| Path::new(file).parent().is_some_and(|dir| dir.starts_with(path)))
}
