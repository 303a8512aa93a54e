//! This machine as a transport.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{ByteStream, Bytes, Dial, Endpoint, Error, ErrorKind, FilePart, Output, Result, Transport};

mod dial;
mod error;
pub(crate) mod file;
mod program;

/// This machine: programs are children of this process, files and sockets its own.
#[derive(Clone, Debug, Default)]
pub struct LocalTransport {
    helper: Option<PathBuf>,
}

impl LocalTransport {
    /// This machine.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This machine, with this program as its helper.
    #[must_use]
    pub fn with_helper(program: impl Into<PathBuf>) -> Self {
        Self { helper: Some(program.into()) }
    }
}

#[async_trait]
impl Transport for LocalTransport {
    fn endpoint(&self) -> &Endpoint {
        &Endpoint::Local
    }

    async fn run(&self, argv: &[&str], timeout: Duration) -> Result<Output> {
        program::run(argv, timeout).await
    }

    async fn dial(&self, to: &Dial) -> Result<Box<dyn ByteStream>> {
        dial::dial(to).await
    }

    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        match &self.helper {
            Some(program) => program::converse(program),
            None => Err(Error::new(ErrorKind::Unsupported, "no helper is configured for this machine")),
        }
    }

    async fn read_file(&self, path: &Path, limit: Bytes) -> Result<Vec<u8>> {
        file::read(path, limit).await
    }

    async fn read_part(&self, path: &Path, offset: u64, length: Bytes) -> Result<FilePart> {
        file::read_part(path, offset, length).await
    }

    /// A symbolic link at `path` is replaced by the file, not followed.
    async fn write_file(&self, path: &Path, data: &[u8], mode: u32) -> Result<()> {
        file::write(path, data, mode).await
    }

    async fn remove_file(&self, path: &Path) -> Result<()> {
        file::remove(path).await
    }
}
