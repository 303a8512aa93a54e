//! The lab: its directory, its scripts, its hosts.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::LabHost;
use crate::wait::{PAUSE, moment_passes, within};

/// Where `lab/up.sh` puts a lab that nobody gave a place.
const DEFAULT: &str = "/var/tmp/kvm-manager-lab";
/// How long a test waits for a host that other tests use.
const QUEUE: Duration = Duration::from_secs(600);

/// A lab that is up.
#[derive(Clone, Debug)]
pub struct Lab {
    dir: PathBuf,
    hosts: Vec<String>,
}

impl Lab {
    /// The lab in the directory that the environment variable `KVM_LAB` names, or where `lab/up.sh` puts it.
    ///
    /// # Panics
    /// When no host is up there; with the command that brings one up.
    #[must_use]
    pub fn open() -> Self {
        let dir = environment("KVM_LAB").map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from);
        let hosts = dir.join("hosts");
        let mut hosts: Vec<String> = fs::read_dir(&hosts)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| hosts.join(name).join("run/libvirt/libvirt-sock").exists())
            .collect();
        hosts.sort();
        assert!(
            !hosts.is_empty(),
            "no lab host is up in {0}; as root: KVM_LAB={0} lab/up.sh 2, and when done: KVM_LAB={0} lab/down.sh --purge",
            dir.display()
        );
        Self { dir, hosts }
    }

    /// The directory that holds all of the lab.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of the lab's scripts, such as `exec.sh`.
    #[must_use]
    pub fn script(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
    }

    /// Takes a host that nobody uses, and waits for one when all are in use.
    ///
    /// # Panics
    /// When none becomes free within ten minutes.
    pub async fn take_host(&self) -> LabHost {
        self.take_hosts(1).await.remove(0)
    }

    /// Takes so many hosts that nobody uses, all at once: who waits has none that another one waits for.
    ///
    /// # Panics
    /// When the lab has not so many, or they do not become free within ten minutes.
    pub async fn take_hosts(&self, count: usize) -> Vec<LabHost> {
        let up = self.hosts.len();
        assert!(count <= up, "this needs {count} hosts, and {up} are up; as root: lab/up.sh {count}");
        let mut hosts = within(QUEUE, "free hosts of the lab", self.free_hosts(count)).await;
        for host in &mut hosts {
            host.begin().await;
        }
        hosts
    }

    async fn free_hosts(&self, count: usize) -> Vec<LabHost> {
        loop {
            let hosts: Vec<_> = self.hosts.iter().filter_map(|name| self.try_take_host(name)).take(count).collect();
            if hosts.len() == count {
                return hosts;
            }
            drop(hosts);
            moment_passes(PAUSE).await;
        }
    }

    fn try_take_host(&self, name: &str) -> Option<LabHost> {
        Some(LabHost::new(self.clone(), name, self.try_lock(name)?))
    }

    /// Held by one process at a time; the system gives it back when that process dies.
    fn try_lock(&self, host: &str) -> Option<File> {
        let path = self.dir.join("hosts").join(host).join("test.lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        match file.try_lock() {
            Ok(()) => Some(file),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(e)) => panic!("{}: {e}", path.display()),
        }
    }

    /// The address of a host, as the file of host keys says.
    pub(crate) fn address(&self, host: &str) -> String {
        let path = self.dir.join("known_hosts");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let address = text.lines().find_map(|line| line.strip_prefix(host)?.strip_prefix(',')?.split(' ').next());
        address.unwrap_or_else(|| panic!("{} does not know {host}", path.display())).to_owned()
    }
}

#[expect(clippy::disallowed_methods, reason = "tests are told by their environment where the lab is")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
