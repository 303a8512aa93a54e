//! What a host holds, to compare before and after.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use kvm_core::{Host, Result};
use kvm_vm::Inventory;

use crate::host::LabHost;
use crate::program::Program;
use crate::wait::eventually;

/// What belongs to machines, pools and networks in the host's file system.
const PLACES: [&str; 10] = [
    "/etc/libvirt/qemu",
    "/etc/libvirt/storage",
    "/var/lib/libvirt/boot",
    "/var/lib/libvirt/images",
    "/var/lib/libvirt/qemu/checkpoint",
    "/var/lib/libvirt/qemu/dump",
    "/var/lib/libvirt/qemu/nvram",
    "/var/lib/libvirt/qemu/save",
    "/var/lib/libvirt/qemu/snapshot",
    "/var/lib/libvirt/swtpm",
];
/// Programs that a machine consists of, and our own. Daemons have children that come and go.
const PROCESSES: [&str; 5] = ["qemu-", "swtpm", "virtiofsd", "passt", "helper-"];
/// How long a host may take to be as it was: processes end a moment after they were killed.
const SETTLING: Duration = Duration::from_secs(10);

/// What a host holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// As the library sees it.
    inventory: Inventory,
    /// Files with their digests, links with where they lead.
    files: BTreeMap<String, String>,
    /// How many there are of each program.
    processes: BTreeMap<String, usize>,
}

impl Stock {
    /// What is different afterwards, one line each.
    #[must_use]
    pub fn diff(&self, after: &Self) -> Vec<String> {
        let mut lines = self.inventory.diff(&after.inventory);
        lines.extend(diff("file", &self.files, &after.files));
        lines.extend(diff("process", &self.processes, &after.processes));
        lines
    }
}

fn diff<V: PartialEq + std::fmt::Debug>(
    what: &str,
    before: &BTreeMap<String, V>,
    after: &BTreeMap<String, V>,
) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let differs = names.filter(|name| before.get(*name) != after.get(*name));
    differs.map(|name| format!("{what} {name}: {:?} is now {:?}", before.get(name), after.get(name))).collect()
}

impl LabHost {
    /// Takes stock.
    ///
    /// # Panics
    /// When the host does not answer.
    pub async fn stock(&self) -> Stock {
        let host = self.open().await;
        self.try_stock(&host).await.unwrap_or_else(|e| panic!("{e:?}"))
    }

    /// Fails unless the host holds what it held before.
    ///
    /// # Panics
    /// With what is different, when it stays so for ten seconds.
    pub async fn assert_as(&self, before: &Stock) {
        self.assert_as_one_of(&[before]).await;
    }

    /// Fails unless the host holds what one of these says; gives which.
    ///
    /// # Panics
    /// With what is different, when it stays so for ten seconds.
    pub async fn assert_as_one_of(&self, stocks: &[&Stock]) -> usize {
        let host = self.open().await;
        let mut differences = String::new();
        let look = async || {
            // A machine may go between being listed and being looked at.
            let now = self.try_stock(&host).await.ok()?;
            let found = stocks.iter().position(|stock| **stock == now);
            differences = stocks.iter().map(|stock| stock.diff(&now).join("\n")).collect::<Vec<_>>().join("\nor\n");
            found
        };
        let limit = tokio::time::timeout(SETTLING, eventually(SETTLING * 2, "the same stock", look)).await;
        match limit {
            Ok((which, _)) => which,
            Err(_) => panic!("the host is different:\n{differences}"),
        }
    }

    async fn try_stock(&self, host: &Host) -> Result<Stock> {
        Ok(Stock { inventory: kvm_vm::inventory(host).await?, files: self.files().await, processes: self.processes() })
    }

    async fn files(&self) -> BTreeMap<String, String> {
        let places = PLACES.map(|place| self.file(place)).into_iter().filter(|place| place.exists());
        let places: Vec<String> = places.map(|place| place.to_string_lossy().into_owned()).collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let find = |what: &[&str]| Program::new([&["find"], &places[..], what].concat());
        let digests = find(&["-type", "f", "-exec", "sha256sum", "--zero", "{}", "+"]).run().await;
        let links = find(&["-type", "l", "-printf", "%l  %p\\0"]).run().await;
        // A file that goes between being found and being read is gone.
        let lines = format!("{}{}", digests.stdout, links.stdout);
        let entries = lines.split_terminator('\0').filter_map(|line| line.split_once("  "));
        entries.map(|(digest, path)| (path.to_owned(), digest.to_owned())).collect()
    }

    /// Counts the processes in the host's namespace.
    fn processes(&self) -> BTreeMap<String, usize> {
        let init = fs::read_to_string(self.file("init.pid")).unwrap_or_default();
        let init = init.split_whitespace().next().unwrap_or_default().to_owned();
        let namespace = |pid: &Path| fs::metadata(pid.join("ns/pid")).ok().map(|ns| (ns.dev(), ns.ino()));
        let ours = namespace(&Path::new("/proc").join(&init));
        assert!(ours.is_some(), "no process {init:?}: is the host up?");
        let mut count = BTreeMap::new();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path()) {
            if namespace(&process) == ours
                && let Ok(name) = fs::read_to_string(process.join("comm"))
                && PROCESSES.iter().any(|program| name.starts_with(program))
            {
                *count.entry(name.trim_end().to_owned()).or_default() += 1;
            }
        }
        count
    }
}
