//! `kvmctl` as a user runs it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::host::LabHost;
use crate::program::{Ended, Program, Running};

/// `kvmctl` with flags that come before every command, and a home of its own.
#[derive(Debug)]
pub struct Kvmctl {
    globals: Vec<OsString>,
    home: TempDir,
    as_nobody: bool,
}

impl Kvmctl {
    /// For a user who has never used it before.
    ///
    /// # Panics
    /// When there is no place for a home.
    pub fn new<A: AsRef<OsStr>>(globals: impl IntoIterator<Item = A>) -> Self {
        let home = tempfile::tempdir().unwrap_or_else(|e| panic!("no temporary directory: {e}"));
        let globals = globals.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        Self { globals, home, as_nobody: false }
    }

    /// A user who logs in at both hosts over SSH, as `one` and `two`; `one` is the host without `-c`.
    ///
    /// # Panics
    /// When there is no place for a home.
    pub fn at_both(one: &LabHost, two: &LabHost) -> Self {
        let kvmctl = Self::new([""; 0]);
        let entry = |alias: &str, host: &LabHost| {
            let (identity, known) = (host.lab().dir().join("id_ed25519"), host.lab().dir().join("known_hosts"));
            let target = format!("qemu+ssh://root@{}/system", host.address());
            let files = format!("identity = '{}'\nknown_hosts = '{}'", identity.display(), known.display());
            format!("[{alias}]\ntarget = '{target}'\n{files}\n")
        };
        kvmctl.give("config/kvm-manager/hosts.toml", entry("one", one) + &entry("two", two));
        kvmctl.give("config/kvm-manager/config.toml", "connect = 'one'\n");
        kvmctl
    }

    /// Run by the user `nobody`, who has no rights on the host.
    ///
    /// # Panics
    /// When the program cannot be copied to where that user finds it.
    #[must_use]
    pub fn as_nobody(mut self) -> Self {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        let (home, copy) = (self.home.path(), self.home.path().join("kvmctl"));
        let given = std::fs::copy(binary(), &copy)
            .and_then(|_| std::fs::set_permissions(home, std::fs::Permissions::from_mode(0o755)))
            .and_then(|()| chown(home, Some(65534), Some(65534)));
        given.unwrap_or_else(|e| panic!("{}: {e}", copy.display()));
        self.as_nobody = true;
        self
    }

    /// Where it keeps operations and locks.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.home.path().join("state/kvm-manager")
    }

    /// A file for it to read, in its home.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn give(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.home.path().join(name);
        let written =
            path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, content));
        written.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        path
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The program with these arguments, not yet run.
    pub fn program<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Program {
        let mut argv: Vec<OsString> = Vec::new();
        if self.as_nobody {
            argv.extend(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"].map(OsString::from));
            argv.push(self.home.path().join("kvmctl").into());
        } else {
            argv.push(binary().into());
        }
        argv.extend(self.globals.iter().cloned());
        argv.extend(arguments.iter().map(|argument| argument.as_ref().to_owned()));
        Program::new(argv).with_environment(self.environment("/usr/sbin:/usr/bin:/sbin:/bin".into()))
    }

    /// `kvm-clone` with these arguments, not yet run, in the same home.
    pub fn kvm_clone<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Program {
        self.beside([OsStr::new("kvm-clone")].into_iter().chain(arguments.iter().map(AsRef::as_ref)))
    }

    /// Another program, such as a shell, that finds `kvmctl` by its name and has its home.
    pub fn beside<A: AsRef<OsStr>>(&self, argv: impl IntoIterator<Item = A>) -> Program {
        let binary = binary();
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", binary.parent().unwrap_or(&binary).display());
        Program::new(argv).with_environment(self.environment(path.into()))
    }

    fn environment(&self, path: OsString) -> [(&'static str, OsString); 8] {
        let home = self.home.path();
        let below = |name: &str| home.join(name).into_os_string();
        [
            ("PATH", path),
            ("LANG", "C.UTF-8".into()),
            ("HOME", home.into()),
            ("XDG_CONFIG_HOME", below("config")),
            ("XDG_DATA_HOME", below("data")),
            ("XDG_STATE_HOME", below("state")),
            ("XDG_CACHE_HOME", below("cache")),
            ("XDG_RUNTIME_DIR", below("run")),
        ]
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it panics, and when it takes longer than two minutes.
    pub async fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ended {
        checked(self.program(arguments).run().await)
    }

    /// Runs a command, which is killed with SIGKILL if it has not ended by then.
    ///
    /// # Panics
    /// When it panics.
    pub async fn killed_after<A: AsRef<OsStr>>(&self, delay: Duration, arguments: &[A]) -> Ended {
        checked(self.program(arguments).run_and_kill_after(delay).await)
    }

    /// Starts a command that runs on.
    pub fn start<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Running {
        self.program(arguments).start()
    }

    /// Runs a command that succeeds, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        self.run(arguments).await.succeeded()
    }

    /// Runs a command that succeeds with `-o json`, and gives what it printed.
    ///
    /// # Panics
    /// When it fails, and when it prints anything but one JSON value.
    pub async fn json<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Value {
        let form: [&OsStr; 2] = ["-o".as_ref(), "json".as_ref()];
        let arguments: Vec<&OsStr> = form.into_iter().chain(arguments.iter().map(AsRef::as_ref)).collect();
        let text = self.ok(&arguments).await;
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"))
    }

    /// The operations that are not finished, the latest first, as `op list` shows them.
    ///
    /// # Panics
    /// When it fails.
    pub async fn open_operations(&self) -> Vec<Value> {
        self.json(&["op", "list", "--open"]).await.as_array().cloned().unwrap_or_default()
    }

    /// Runs a command that fails as every failure has to: with this exit code, one line that says what, and a hint
    /// that says what to do. Both are to contain the given words.
    ///
    /// # Panics
    /// When it does not.
    pub async fn fails<A: AsRef<OsStr>>(&self, arguments: &[A], code: i32, what: &str, hint: &str) -> Ended {
        let ended = self.run(arguments).await;
        assert_eq!(ended.code, Some(code), "{ended}");
        let (errors, others): (Vec<_>, Vec<_>) = ended.stderr.lines().partition(|line| line.starts_with("error: "));
        assert!(matches!(errors[..], [line] if line.contains(what)), "not one line that says {what:?}: {ended}");
        assert!(others.iter().any(|line| line.contains("hint: ")), "no hint: {ended}");
        assert!(others.iter().any(|line| line.contains(hint)), "nothing says {hint:?}: {ended}");
        ended
    }
}

#[track_caller]
fn checked(ended: Ended) -> Ended {
    assert!(ended.code != Some(101) && !ended.stderr.contains("panicked at"), "it panicked: {ended}");
    ended
}

/// The program, which stands beside this one, or above where cargo puts tests.
fn binary() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_else(|e| panic!("no own path: {e}"));
    let dir = here.parent().unwrap_or(&here);
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    let binary = dir.join("kvmctl");
    assert!(binary.is_file(), "{} is missing; first: cargo build --package kvm-cli", binary.display());
    binary
}
