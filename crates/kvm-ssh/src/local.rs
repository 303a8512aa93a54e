//! This machine as a transport.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{ByteStream, Bytes, Dial, Endpoint, FilePart, Output, Result, Transport};

mod dial;
mod error;
pub(crate) mod file;
mod program;

/// This machine: programs are children of this process, files and sockets its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalTransport;

impl LocalTransport {
    /// This machine.
    #[must_use]
    pub fn new() -> Self {
        Self
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
