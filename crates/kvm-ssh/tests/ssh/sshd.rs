//! A real OpenSSH server on the loopback interface, with keys and a configuration of its own.
#![allow(dead_code, reason = "each of the test programs uses a part of it")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kvm_core::{Clock, Port, SystemClock, SystemEntropy, Transport as _};
use kvm_ssh::{LocalTransport, NoPrompt, Prompt, SshOptions, SshTransport};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(3600);

/// A server that runs until it is dropped. Whoever runs the test may log in with `user_key`.
pub(crate) struct Sshd {
    pub(crate) port: Port,
    dir: TempDir,
    user: String,
    server: JoinHandle<()>,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Sshd {
    /// Starts a server with these lines in its configuration, before all others; `{dir}` stands for its directory.
    pub(crate) async fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for key in ["host_key", "user_key"] {
            keygen(&["-q", "-t", "ed25519", "-N", "", "-f", at(dir.path(), key).to_str().expect("UTF-8")]).await;
        }
        Self::start_in(dir, config).await
    }

    /// The same in a directory with keys that are there already.
    pub(crate) async fn start_in(dir: TempDir, config: &str) -> Self {
        let path = dir.path().to_str().expect("UTF-8").to_owned();
        // Where it runs as root it wants this directory, which a service would have made.
        if program(&["id", "-u"]).await == "0" {
            std::fs::create_dir_all("/run/sshd").expect("a directory");
        }
        let user = program(&["id", "-un"]).await;
        std::fs::copy(at(dir.path(), "user_key.pub"), at(dir.path(), "authorized_keys")).expect("a copy");
        // A port that is free now; should somebody else take it, the server ends and the test says so.
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
        let config = config.replace("{dir}", &path);
        let text = format!(
            "{config}\nPort {free}\nListenAddress 127.0.0.1\nHostKey {path}/host_key\nStrictModes no\n\
             AuthorizedKeysFile {path}/authorized_keys\nPermitRootLogin yes\nPidFile none\nUsePAM no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\n\
             MaxStartups 100\nPrintMotd no\n"
        );
        std::fs::write(at(dir.path(), "sshd_config"), text).expect("a file");
        let file = at(dir.path(), "sshd_config");
        let log = at(dir.path(), "log");
        let server = tokio::spawn(async move {
            let argv =
                ["/usr/sbin/sshd", "-D", "-f", file.to_str().expect("UTF-8"), "-E", log.to_str().expect("UTF-8")];
            let ended = LocalTransport::new().run(&argv, LONG).await;
            panic!("the server ended: {ended:?}");
        });
        let sshd = Self { port: free.to_string().parse().expect("a port"), dir, user, server };
        sshd.wait().await;
        sshd
    }

    /// Waits until it listens.
    async fn wait(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", self.port.get())).await.is_err() {
            assert!(!self.server.is_finished() && tokio::time::Instant::now() < deadline, "{}", self.log());
            SystemClock.sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(at(self.dir.path(), "log")).unwrap_or_default()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        at(self.dir.path(), name)
    }

    /// A login that knows the host and has the key.
    pub(crate) fn options(&self) -> SshOptions {
        let key = std::fs::read_to_string(self.path("host_key.pub")).expect("a key");
        let known = format!("[127.0.0.1]:{} {key}", self.port);
        std::fs::write(self.path("known_hosts"), known).expect("a file");
        let mut options = self.stranger();
        options.known_hosts = vec![self.path("known_hosts")];
        options
    }

    /// A login that has the key, but does not know the host.
    pub(crate) fn stranger(&self) -> SshOptions {
        let mut options =
            SshOptions::new("127.0.0.1".parse().expect("a host"), self.user.parse().expect("a user name"));
        options.port = self.port;
        options.identities = vec![self.path("user_key")];
        options
    }

    pub(crate) fn transport(&self, options: &SshOptions) -> SshTransport {
        self.transport_with(options, Arc::new(NoPrompt))
    }

    pub(crate) fn transport_with(&self, options: &SshOptions, prompt: Arc<dyn Prompt>) -> SshTransport {
        SshTransport::new(options.clone(), prompt, Arc::new(SystemClock), Arc::new(SystemEntropy))
    }
}

pub(crate) fn at(dir: &Path, name: &str) -> PathBuf {
    dir.join(name)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, data: &[u8]) {
    std::fs::write(path, data).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// Runs a program that has to succeed; what it prints.
pub(crate) async fn program(argv: &[&str]) -> String {
    let output = LocalTransport::new().run(argv, Duration::from_secs(60)).await.expect("a program");
    assert!(output.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

pub(crate) async fn keygen(args: &[&str]) {
    program(&[&["ssh-keygen"], args].concat()).await;
}
