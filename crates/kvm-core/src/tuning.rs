//! How much of the host's CPUs a machine gets, and which of them.

use std::fmt;
use std::time::Duration;

use kvm_xml::Domain;
use kvm_xml::domain::NumatuneMode;
use kvm_xml::value::CpuSet;
use serde::{Deserialize, Serialize};

use crate::text::refused;
use crate::{Error, ErrorKind, NumaNode, Result, Which, parse_duration};

/// A thread of a machine's process, or a group of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VmThread {
    /// The virtual CPU with this number, from 0.
    Vcpu(u32),
    /// The hypervisor's own threads.
    Emulator,
    /// The I/O thread with this number, from 1.
    IoThread(u32),
}

impl VmThread {
    /// Whether the machine's document has this thread.
    #[must_use]
    pub fn is_in(self, document: &Domain) -> bool {
        match self {
            Self::Vcpu(number) => number < document.vcpu.as_ref().and_then(|vcpu| vcpu.value).map_or(1, u32::from),
            Self::Emulator => true,
            Self::IoThread(number) => {
                let listed = document.iothreadids.iter().flat_map(|ids| &ids.iothread);
                let listed: Vec<_> = listed.filter_map(|thread| thread.id).collect();
                let count = document.iothreads.unwrap_or(0) as usize;
                // Those that are counted and not listed have the lowest numbers that are free.
                let mut others = (1..).filter(|n| !listed.contains(n)).take(count.saturating_sub(listed.len()));
                listed.contains(&number) || others.any(|other| other == number)
            }
        }
    }

    /// Refuses what no backend can pin: a thread that the machine's document does not have, and CPUs that a host with
    /// so many does not have. `InvalidInput`.
    pub fn check_pin(self, document: &Domain, cpus: &CpuSet, host_cpus: u32) -> Result<()> {
        if !self.is_in(document) {
            return Err(Error::invalid("thread", format!("the VM has no {self}")));
        }
        match cpus.ranges().last() {
            None => Err(Error::invalid("cpus", "a thread runs on one CPU at least")),
            Some(range) if *range.end() >= host_cpus => {
                let message =
                    format!("the host has no CPU {}, its last is {}", range.end(), host_cpus.saturating_sub(1));
                Err(Error::invalid("cpus", message))
            }
            Some(_) => Ok(()),
        }
    }
}

impl fmt::Display for VmThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcpu(n) => write!(f, "virtual CPU {n}"),
            Self::Emulator => f.write_str("emulator"),
            Self::IoThread(n) => write!(f, "I/O thread {n}"),
        }
    }
}

/// What a machine may use of the host's CPU time. What is left out stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLimits {
    /// Its weight against other machines.
    pub shares: Option<CpuShares>,
    /// Over which time the quota counts.
    pub period: Option<CpuPeriod>,
    /// What each virtual CPU may use in each period.
    pub quota: Option<CpuQuota>,
}

/// A weight against other machines, when all want more than there is: 1 to 262144. A machine without one has 1024 on a
/// host with version 1 of control groups, which takes 2 and more, and 100 with version 2, which takes 10000 at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuShares(u32);

impl CpuShares {
    /// Takes a number. `InvalidInput`.
    pub fn new(shares: u32) -> Result<Self> {
        match shares {
            1..=262_144 => Ok(Self(shares)),
            _ => Err(Error::invalid("cpu_shares", format!("CPU shares are from 1 to 262144, not {shares}"))),
        }
    }

    /// Reads a plain decimal number.
    pub fn parse(text: &str) -> Result<Self> {
        let is_plain = text.bytes().all(|b| b.is_ascii_digit()) && !(text.len() > 1 && text.starts_with('0'));
        let number = text.parse().ok().filter(|_| is_plain);
        number
            .ok_or_else(|| refused("cpu_shares", "CPU share", text, "is not a number from 1 to 262144"))
            .and_then(Self::new)
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Over which time a quota counts: 1 ms to 1 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuPeriod(Duration);

impl CpuPeriod {
    /// Takes a time. `InvalidInput`.
    pub fn new(period: Duration) -> Result<Self> {
        match period.as_micros() {
            1_000..=1_000_000 => Ok(Self(period)),
            _ => Err(Error::invalid("cpu_period", "a CPU period is from 1ms to 1s")),
        }
    }

    /// Reads a time such as `100ms`.
    pub fn parse(text: &str) -> Result<Self> {
        parse_duration(text).and_then(Self::new)
    }

    /// The time.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

/// What each virtual CPU may use in each period: nothing but the host's CPUs limits it, or a time of at least 1 ms. Half
/// of the period is half a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuQuota(Option<Duration>);

impl CpuQuota {
    /// No limit.
    pub const NONE: Self = Self(None);

    /// Takes a time. `InvalidInput` below 1 ms and above one day.
    pub fn new(quota: Duration) -> Result<Self> {
        match quota.as_secs() {
            0..=86_400 if quota >= Duration::from_millis(1) => Ok(Self(Some(quota))),
            _ => Err(Error::invalid("cpu_quota", "a CPU quota is none, or a time from 1ms")),
        }
    }

    /// Reads `none`, or a time such as `50ms`.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "none" { Ok(Self::NONE) } else { parse_duration(text).and_then(Self::new) }
    }

    /// The time; `None` without a limit.
    #[must_use]
    pub fn get(self) -> Option<Duration> {
        self.0
    }
}

impl fmt::Display for CpuShares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for CpuPeriod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Display for CpuQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(quota) => write!(f, "{quota:?}"),
            None => f.write_str("none"),
        }
    }
}

/// From which of the host's NUMA nodes a machine's memory comes. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryPlacement {
    /// The nodes.
    pub nodes: Option<CpuSet>,
    /// How strictly; strict where nobody has said.
    pub mode: Option<NumatuneMode>,
}

impl MemoryPlacement {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_none() && self.mode.is_none()
    }

    /// Refuses what no backend can do to this document of a machine.
    ///
    /// `InvalidInput` for no nodes, nodes that the host does not have ([`check_nodes`](Self::check_nodes)), and several in
    /// the mode `preferred`; `InvalidState` for a running machine, whose mode stays, and whose nodes change in the
    /// mode `restrictive` alone.
    pub fn check(&self, document: &Domain, which: Which, host: &[NumaNode]) -> Result<()> {
        let present = document.numatune.as_ref().and_then(|tune| tune.memory.as_ref());
        let mode_now = present.and_then(|memory| memory.mode).unwrap_or(NumatuneMode::Strict);
        let mode = self.mode.unwrap_or(mode_now);
        if which == Which::Live {
            let refuse = |why: String| Err(Error::new(ErrorKind::InvalidState, why));
            if mode != mode_now {
                return refuse(format!("the memory of a running VM stays {mode_now}"));
            }
            if mode != NumatuneMode::Restrictive {
                return refuse(format!("the nodes of a running VM change where its memory is restrictive, not {mode}"));
            }
        }
        let Some(nodes) = self.nodes.as_ref().or(present.and_then(|memory| memory.nodeset.as_ref())) else {
            return Err(Error::invalid("numa-mode", "it says how nodes are used; name them with numa-nodes"));
        };
        if mode == NumatuneMode::Preferred && nodes.ranges().into_iter().flatten().nth(1).is_some() {
            return Err(Error::invalid("numa-nodes", format!("{} are several; one is preferred", nodes.as_str())));
        }
        self.nodes.as_ref().map_or(Ok(()), |nodes| Self::check_nodes(nodes, host))
    }

    /// Refuses an empty set, and nodes that a host does not have which says what it has. `InvalidInput` names those.
    pub fn check_nodes(nodes: &CpuSet, host: &[NumaNode]) -> Result<()> {
        let mut numbers = nodes.ranges().into_iter().flatten().peekable();
        if numbers.peek().is_none() {
            return Err(Error::invalid("numa-nodes", "memory comes from one node at least"));
        }
        let missing = numbers.find(|number| !host.iter().any(|node| node.number == *number));
        let Some(missing) = missing.filter(|_| !host.is_empty()) else { return Ok(()) };
        let has: CpuSet = host.iter().map(|node| node.number).collect();
        let has = match host {
            [only] => format!("its only one is {}", only.number),
            _ => format!("it has {}", has.as_str()),
        };
        Err(Error::invalid("numa-nodes", format!("the host has no NUMA node {missing}: {has}")))
    }

    /// Writes it into a document.
    pub fn put_into(&self, document: &mut Domain) {
        let memory = document.numatune.get_or_insert_default().memory.get_or_insert_default();
        if let Some(nodes) = &self.nodes {
            memory.nodeset = Some(nodes.clone());
            memory.placement = None;
        }
        memory.mode = Some(self.mode.or(memory.mode).unwrap_or(NumatuneMode::Strict));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn only_threads_and_cpus_that_are_there_can_be_pinned() {
        use kvm_xml::Document as _;
        let xml = "<domain><vcpu>2</vcpu><iothreads>1</iothreads></domain>";
        let document = Domain::from_xml(xml).unwrap();
        let check = |thread: VmThread, cpus: &str| thread.check_pin(&document, &cpus.parse().unwrap(), 4).is_ok();
        assert!(
            check(VmThread::Vcpu(1), "0-3") && check(VmThread::IoThread(1), "3") && check(VmThread::Emulator, "0,2")
        );
        assert!(
            !check(VmThread::Vcpu(2), "0") && !check(VmThread::IoThread(0), "0") && !check(VmThread::IoThread(2), "0")
        );
        assert!(!check(VmThread::Emulator, "4") && !check(VmThread::Emulator, "0-4294967295"));
        assert!(!check(VmThread::Emulator, "1,^1"));
    }

    #[test]
    fn memory_is_placed_on_nodes_that_the_host_has() {
        use kvm_xml::Document as _;
        let node = |number| NumaNode { number, memory: None, cpus: CpuSet::from_iter([]), distances: BTreeMap::new() };
        let (two, silent) = ([node(0), node(2)], []);
        let check = |xml: &str, nodes: &str, mode, which, host: &[NumaNode]| {
            let nodes = (!nodes.is_empty()).then(|| nodes.parse().unwrap());
            let document = Domain::from_xml(&format!("<domain>{xml}</domain>")).unwrap();
            MemoryPlacement { nodes, mode }.check(&document, which, host).map_err(|e| e.kind())
        };
        let (config, live) = (Which::Config, Which::Live);
        let (invalid, state) = (Err(ErrorKind::InvalidInput), Err(ErrorKind::InvalidState));
        let (strict, preferred) = (Some(NumatuneMode::Strict), Some(NumatuneMode::Preferred));
        let interleaved = "<numatune><memory mode='interleave' nodeset='0,2'/></numatune>";
        let movable = "<numatune><memory mode='restrictive' nodeset='2'/></numatune>";
        for (xml, nodes, mode, which, host, expected) in [
            ("", "0,2", None, config, &two[..], Ok(())),
            ("", "0-2", None, config, &two, invalid),
            ("", "0-4294967295", None, config, &two, invalid),
            ("", "0,^0", None, config, &two, invalid),
            ("", "0,^0", None, config, &silent, invalid),
            ("", "7", None, config, &silent, Ok(())),
            ("", "2", preferred, config, &two, Ok(())),
            ("", "0,2", preferred, config, &two, invalid),
            ("", "", strict, config, &two, invalid),
            (interleaved, "", strict, config, &two, Ok(())),
            (interleaved, "", preferred, config, &two, invalid),
            ("", "0", None, live, &two, state),
            (movable, "0", None, live, &two, Ok(())),
            (movable, "1", None, live, &two, invalid),
            (movable, "0", strict, live, &two, state),
            ("", "0", preferred, live, &two, state),
            (interleaved, "0", None, live, &two, state),
        ] {
            assert_eq!(check(xml, nodes, mode, which, host), expected, "{xml} {nodes} {mode:?} {which:?}");
        }
    }

    #[test]
    fn shares_are_within_what_any_host_takes() {
        for (text, ok) in [
            ("1", true),
            ("262144", true),
            ("0", false),
            ("262145", false),
            ("-1", false),
            ("01", false),
            ("1k", false),
        ] {
            assert_eq!(CpuShares::parse(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn periods_and_quotas_are_times() {
        assert_eq!(CpuPeriod::parse("100ms").unwrap().get(), Duration::from_millis(100));
        assert_eq!(CpuQuota::parse("50ms").unwrap().get(), Some(Duration::from_millis(50)));
        assert_eq!(CpuQuota::parse("none").unwrap(), CpuQuota::NONE);
        for text in ["0s", "2s", "100", "-1ms", ""] {
            assert!(CpuPeriod::parse(text).is_err(), "{text}");
        }
        for text in ["0s", "-1", "100", "2000h", ""] {
            assert!(CpuQuota::parse(text).is_err(), "{text}");
        }
    }
}
