//! A host whose operating system is out of reach.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use kvm_core::{
    ByteStream, Bytes, Dial, Endpoint, Error, ErrorKind, FilePart, HostName, Output, Resource, Result, Transport,
};

/// A host of which only the hypervisor is reached: every call is `Unsupported`, and says so of the host.
///
/// It stands where a connection to a remote libvirt has no login of its own, so that nothing meant for that host is
/// ever done on this machine instead.
#[derive(Clone, Debug)]
pub struct NoTransport {
    endpoint: Endpoint,
    host: String,
}

impl NoTransport {
    /// The host that is not reached.
    #[must_use]
    pub fn to(host: &HostName) -> Self {
        let endpoint = Endpoint::Ssh { user: None, host: host.clone(), port: None };
        Self { endpoint, host: host.as_str().to_owned() }
    }

    fn refused<T>(&self) -> Result<T> {
        let text = format!("programs, files and sockets of {} are not reached from here", self.host);
        Err(Error::new(ErrorKind::Unsupported, text).on(Resource::Host(self.host.clone())))
    }
}

#[async_trait]
impl Transport for NoTransport {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn run(&self, _: &[&str], _: Duration) -> Result<Output> {
        self.refused()
    }

    async fn dial(&self, _: &Dial) -> Result<Box<dyn ByteStream>> {
        self.refused()
    }

    async fn helper(&self) -> Result<Box<dyn ByteStream>> {
        self.refused()
    }

    async fn read_file(&self, _: &Path, _: Bytes) -> Result<Vec<u8>> {
        self.refused()
    }

    async fn read_part(&self, _: &Path, _: u64, _: Bytes) -> Result<FilePart> {
        self.refused()
    }

    async fn write_file(&self, _: &Path, _: &[u8], _: u32) -> Result<()> {
        self.refused()
    }

    async fn remove_file(&self, _: &Path) -> Result<()> {
        self.refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_meant_for_another_host_is_done_here() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let there = NoTransport::to(&"kvm1".parse().unwrap());
        assert_ne!(there.endpoint(), &Endpoint::Local);
        let e = there.write_file(&file, b"x", 0o600).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported);
        assert!(e.message().contains("kvm1") && !file.exists(), "{e}");
        assert_eq!(there.remove_file(dir.path()).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(there.run(&["true"], Duration::ZERO).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(there.read_file(&file, Bytes::KIB).await.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(there.helper().await.err().unwrap().kind(), ErrorKind::Unsupported);
        assert_eq!(there.dial(&Dial::Unix(file)).await.err().unwrap().kind(), ErrorKind::Unsupported);
    }
}
