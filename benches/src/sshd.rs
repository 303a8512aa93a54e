//! An SSH server of our own on the loopback interface, and other programs that measurements start.

use std::error::Error;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use kvm_core::{SystemClock, SystemEntropy};
use kvm_ssh::{NoPrompt, SshOptions, SshTransport};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

/// What a measurement comes to.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A server with keys of its own, which runs as whoever starts it and ends with this, and a directory for what is measured.
#[derive(Debug)]
pub struct Sshd {
    dir: TempDir,
    port: u16,
    user: String,
    _sshd: Child,
}

impl Sshd {
    /// Starts one. Needs `sshd` and `ssh-keygen`.
    pub async fn start() -> Outcome<Self> {
        // Where images are, not where `/tmp` may be memory.
        let dir = tempfile::tempdir_in("/var/tmp")?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host_key", "user_key"] {
            done("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).await?;
        }
        std::fs::copy(at("user_key.pub"), at("authorized_keys"))?;
        let user = done("id", &["-un"]).await?;
        if user == "root" {
            std::fs::create_dir_all("/run/sshd")?;
        }
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let here = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nStrictModes no\nPermitRootLogin yes\n\
             AuthorizedKeysFile {here}/authorized_keys\nPidFile none\nUsePAM no\nPasswordAuthentication no\n\
             Subsystem sftp internal-sftp\n"
        );
        std::fs::write(at("sshd_config"), config)?;
        let key = std::fs::read_to_string(at("host_key.pub"))?;
        std::fs::write(at("known_hosts"), format!("[127.0.0.1]:{port} {key}"))?;
        let sshd = command("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { dir, port, user, _sshd: sshd })
    }

    /// A path in its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same as text.
    #[must_use]
    pub fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Who logs in, and where, as `ssh` takes it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("{}@127.0.0.1", self.user)
    }

    /// The options of `ssh`, all but the port.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let known_hosts = format!("UserKnownHostsFile={}", self.at("known_hosts"));
        let key = self.at("user_key");
        ["-F", "/dev/null", "-o", &known_hosts, "-o", "BatchMode=yes", "-i", &key].map(str::to_owned).to_vec()
    }

    /// The port, as an option takes it.
    #[must_use]
    pub fn port(&self) -> String {
        self.port.to_string()
    }

    /// `kvm-ssh` with the same key; nothing is connected yet.
    pub fn transport(&self, helper: Option<&str>) -> Outcome<SshTransport> {
        let mut login = SshOptions::new("127.0.0.1".parse()?, self.user.parse()?);
        login.port = self.port().parse()?;
        login.known_hosts = vec![self.path("known_hosts")];
        login.identities = vec![self.path("user_key")];
        login.helper = helper.map(Into::into);
        login.helper_directory = Some(self.path("helper"));
        Ok(SshTransport::new(login, Arc::new(NoPrompt), Arc::new(SystemClock), Arc::new(SystemEntropy)))
    }
}

/// A program to start.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "measurements start the programs that people use")]
pub fn command(program: &str) -> Command {
    Command::new(program)
}

/// Runs a program to its end, and gives what it printed.
pub async fn done(program: &str, args: &[&str]) -> Outcome<String> {
    let output = command(program).args(args).stderr(Stdio::inherit()).output().await?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
        false => {
            Err(format!("{program} {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stdout)).into())
        }
    }
}
