//! One host of the lab, for one test alone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kvm_core::{ConnectOptions, Host, SystemClock, SystemEntropy, Target};
use kvm_libvirt::{Config, Libvirt};
use kvm_ssh::{LocalTransport, NoPrompt, SshOptions, SshTransport};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::kvmctl::Kvmctl;
use crate::lab::Lab;
use crate::program::{Ended, Program};
use crate::wait::eventually;

/// Where the pool `default` of every host has its files.
const IMAGES: &str = "/var/lib/libvirt/images";
/// How long libvirtd may think before it counts as hung.
const ANSWER: Duration = Duration::from_secs(5);
/// Where libvirt and tests put files that belong to a machine.
const PLACES_OF_FILES: [&str; 3] = [IMAGES, "/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/qemu/save"];

/// One host of the lab, for one test alone.
#[derive(Debug)]
pub struct LabHost {
    lab: Lab,
    name: String,
    address: String,
    /// What was there when the test began.
    found: Belongings,
    small_disks: Mutex<Vec<String>>,
    /// Ours until it is dropped.
    _lock: File,
}

impl LabHost {
    pub(crate) fn new(lab: Lab, name: &str, lock: File) -> Self {
        let address = lab.address(name);
        Self {
            lab,
            name: name.to_owned(),
            address,
            found: Belongings::default(),
            small_disks: Mutex::default(),
            _lock: lock,
        }
    }

    /// The lab that it belongs to.
    #[must_use]
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Its name in the lab: `host1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IP address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A file of the host, as it is found from outside. The host has its own `/etc`, `/root`, `/run`, `/var/log`,
    /// `/var/cache` and `/var/lib/libvirt`.
    #[must_use]
    pub fn file(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.lab.dir().join("hosts").join(&self.name).join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The socket of its libvirtd.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.file("/run/libvirt/libvirt-sock")
    }

    /// Opens it through its socket.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn libvirt(&self, config: Config) -> Arc<Libvirt> {
        let target = Target::parse("qemu:///system").unwrap_or_else(|e| panic!("{e:?}"));
        let options = ConnectOptions { socket: Some(self.socket()), ..ConnectOptions::default() };
        Libvirt::connect(&target, &options, config).await.unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Opens it as engines see a host.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn open(&self) -> Host {
        let libvirt = self.libvirt(Config::default()).await;
        Host {
            hypervisor: libvirt.clone(),
            storage: libvirt.clone(),
            networks: libvirt,
            transport: Arc::new(LocalTransport::new()),
        }
    }

    /// `kvmctl` on this host, for a user who has never used it before.
    #[must_use]
    pub fn kvmctl(&self) -> Kvmctl {
        Kvmctl::new(["-c", "qemu:///system", "--socket", &self.socket().to_string_lossy()])
    }

    /// How root logs in there over SSH, from a user who knows the host.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn login(&self) -> SshOptions {
        let root = "root".parse().unwrap_or_else(|e| panic!("{e}"));
        let mut login = SshOptions::new(self.address.parse().unwrap_or_else(|e| panic!("{e}")), root);
        login.known_hosts = vec![self.lab.dir().join("known_hosts")];
        login.identities = vec![self.lab.dir().join("id_ed25519")];
        login
    }

    /// The host over SSH.
    #[must_use]
    pub fn over_ssh(&self, login: SshOptions) -> Arc<SshTransport> {
        Arc::new(SshTransport::new(login, Arc::new(NoPrompt), Arc::new(SystemClock), Arc::new(SystemEntropy)))
    }

    /// `kvmctl` that logs in there over SSH and trusts the host keys of this file.
    #[must_use]
    pub fn kvmctl_over_ssh(&self, known_hosts: &Path) -> Kvmctl {
        let identity = self.lab.dir().join("id_ed25519");
        let (identity, known_hosts) = (identity.to_string_lossy(), known_hosts.to_string_lossy());
        let target = format!("qemu+ssh://root@{}/system", self.address);
        Kvmctl::new(["-c", &target, "--identity", &identity, "--known-hosts", &known_hosts])
    }

    /// Runs a program in the host.
    pub async fn exec(&self, argv: &[&str]) -> Ended {
        self.script("exec.sh", &[&[self.name.as_str()], argv].concat()).run().await
    }

    /// All that it has heard from others so far, in MiB.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn heard(&self) -> u64 {
        let table = self.exec(&["cat", "/proc/net/dev"]).await.succeeded();
        let lines = table.lines().filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
        lines.filter_map(|(_, counts)| counts.split_whitespace().next()?.parse::<u64>().ok()).sum::<u64>() >> 20
    }

    /// The SHA-256 of a file.
    ///
    /// # Panics
    /// When there is none.
    pub async fn sha256(&self, path: &str) -> String {
        let printed = self.exec(&["sha256sum", path]).await.succeeded();
        printed.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Runs a program in a guest, through its agent; what it printed, or `None` while the agent does not answer.
    ///
    /// # Panics
    /// When the program fails.
    pub async fn exec_in_guest(&self, vm: &str, argv: &[&str]) -> Option<String> {
        let place = format!("{}/{vm}", self.name);
        let ended = self.script("exec.sh", &[&[&*place], argv].concat()).run().await;
        // The script's own status for an agent that does not answer.
        (ended.code != Some(125)).then(|| ended.succeeded())
    }

    /// What a script printed in a guest, once its agent answers.
    ///
    /// # Panics
    /// When the script fails, or the agent does not answer for three minutes: a guest boots in seconds, and in half a
    /// minute on a busy machine without hardware acceleration.
    pub async fn sh_in_guest(&self, vm: &str, script: &str) -> String {
        let answer = async || self.exec_in_guest(vm, &["sh", "-c", script]).await;
        let what = format!("an answer of {vm} on {}", self.name);
        eventually(Duration::from_secs(180), &what, answer).await.0.trim().to_owned()
    }

    /// Breaks the host, or mends it: the words of `fault.sh`, without the host.
    ///
    /// # Panics
    /// When the script fails.
    pub async fn fault(&self, words: &[&str]) {
        let (fault, rest) = words.split_first().unwrap_or_else(|| panic!("which fault?"));
        if *fault == "smalldisk"
            && let [_, place] = rest
        {
            lock(&self.small_disks).push((*place).to_owned());
        }
        self.script("fault.sh", &[&[fault, self.name.as_str()], rest].concat()).run().await.succeeded();
    }

    /// Brings the host up again after it has crashed; what is on its disks is what was.
    ///
    /// # Panics
    /// When that fails.
    pub async fn comes_back(&self) {
        let number = self.name.trim_start_matches(|c: char| !c.is_ascii_digit());
        self.script("up.sh", &[number]).run().await.succeeded();
    }

    /// Runs `virsh` on the host: the second opinion.
    ///
    /// # Panics
    /// When it fails.
    pub async fn virsh(&self, arguments: &[&str]) -> String {
        self.try_virsh(arguments).await.succeeded()
    }

    /// Defines a machine without asking us, as another program would.
    ///
    /// # Panics
    /// When libvirt refuses it.
    pub async fn define_by_hand(&self, document: &str) {
        let file = tempfile::NamedTempFile::new().and_then(|file| fs::write(file.path(), document).map(|()| file));
        let file = file.unwrap_or_else(|e| panic!("no temporary file: {e}"));
        self.virsh(&["define", &file.path().to_string_lossy()]).await;
    }

    async fn try_virsh(&self, arguments: &[&str]) -> Ended {
        let uri = format!("qemu+unix:///system?socket={}", self.socket().display());
        Program::new([&["virsh", "-q", "-c", &uri], arguments].concat()).run().await
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Program {
        let script = Lab::script(name);
        Program::new([&[&*script.to_string_lossy()], arguments].concat())
    }

    /// A name that nothing has.
    #[must_use]
    pub fn unique(&self, stem: &str) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        format!("lab-{stem}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a disk that boots by itself into the pool `default`, and says how `kvmctl` calls it.
    ///
    /// # Panics
    /// When that does not work.
    pub async fn place_boot_disk(&self, machine: &str) -> String {
        let volume = format!("{machine}.qcow2");
        let (from, to) = (self.lab.dir().join("guest/boot.qcow2"), self.file(IMAGES).join(&volume));
        fs::copy(&from, &to).unwrap_or_else(|e| panic!("{} to {}: {e}", from.display(), to.display()));
        self.virsh(&["pool-refresh", "default"]).await;
        format!("default/{volume}")
    }

    /// Mends what an earlier test left broken, and remembers what is there.
    pub(crate) async fn begin(&mut self) {
        self.mend().await;
        self.found = self.belongings().await;
    }

    /// Has libvirtd and sshd run and answer, whatever was done to them.
    ///
    /// libvirtd 11.3 can lock itself out for good when a client dies in the middle of a stream: it closes the connection
    /// while it holds the lock that closing takes (`daemonStreamEvent`).
    ///
    /// # Panics
    /// When one of them cannot be started.
    pub async fn mend(&self) {
        let answers = async || timeout(ANSWER, self.try_virsh(&["uri"])).await.is_ok_and(|ended| ended.code == Some(0));
        let sshd = timeout(ANSWER, TcpStream::connect((self.address.as_str(), 22))).await;
        if !sshd.is_ok_and(|connected| connected.is_ok()) {
            self.fault(&["heal"]).await;
            self.fault(&["start", "sshd"]).await;
        }
        if !answers().await {
            // One that was killed cannot be continued, and is started next.
            let _killed = self.script("fault.sh", &["cont", &self.name, "libvirtd"]).run().await;
            if !answers().await {
                let _gone = self.script("fault.sh", &["kill", &self.name, "libvirtd"]).run().await;
                self.fault(&["start", "libvirtd"]).await;
            }
        }
    }

    /// Mends the host and deletes what the test made: whatever was not there when it began.
    pub(crate) async fn tidy_up(&self) {
        self.mend().await;
        let now = self.belongings().await;
        for uuid in now.machines.difference(&self.found.machines) {
            // One that is off cannot be stopped.
            let _off = self.try_virsh(&["destroy", uuid]).await;
            let everything = ["--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram", "--tpm"];
            self.virsh(&[&["undefine", uuid], &everything[..]].concat()).await;
        }
        for pool in now.pools.difference(&self.found.pools) {
            // What is in it and the directory go with an active one; another one has nothing to show.
            let volumes = self.try_virsh(&["vol-list", pool]).await.stdout;
            for volume in volumes.lines().skip(2).filter_map(|line| line.split_whitespace().next()) {
                let _in_use = self.try_virsh(&["vol-delete", volume, pool]).await;
            }
            let _inactive = self.try_virsh(&["pool-destroy", pool]).await;
            let _not_empty = self.try_virsh(&["pool-delete", pool]).await;
            self.virsh(&["pool-undefine", pool]).await;
        }
        for network in now.networks.difference(&self.found.networks) {
            let _inactive = self.try_virsh(&["net-destroy", network]).await;
            // One that is not persistent went with that.
            let _gone = self.try_virsh(&["net-undefine", network]).await;
        }
        for file in now.files.difference(&self.found.files) {
            match fs::remove_file(file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => panic!("{}: {e}", file.display()),
                _ => {}
            }
        }
        self.virsh(&["pool-refresh", "default"]).await;
        self.end_target().await;
        let small_disks = std::mem::take(&mut *lock(&self.small_disks));
        for place in small_disks {
            self.exec(&["umount", &place]).await.succeeded();
        }
    }

    async fn belongings(&self) -> Belongings {
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect();
        let files = PLACES_OF_FILES.iter().flat_map(|place| fs::read_dir(self.file(place)).into_iter().flatten());
        Belongings {
            machines: words(self.virsh(&["list", "--all", "--uuid"]).await),
            pools: words(self.virsh(&["pool-list", "--all", "--name"]).await),
            networks: words(self.virsh(&["net-list", "--all", "--name"]).await),
            files: files.flatten().map(|entry| entry.path()).collect(),
        }
    }
}

/// What tests make on a host and have to take away.
#[derive(Debug, Default)]
struct Belongings {
    /// By uuid.
    machines: BTreeSet<String>,
    /// By name.
    pools: BTreeSet<String>,
    /// By name.
    networks: BTreeSet<String>,
    files: BTreeSet<PathBuf>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
