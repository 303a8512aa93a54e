//! How much of the host's CPUs a machine gets, and which of them.

use std::fmt;
use std::time::Duration;

use kvm_xml::Domain;
use kvm_xml::value::CpuSet;
use serde::{Deserialize, Serialize};

use crate::text::refused;
use crate::{Error, Result, parse_duration};

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

#[cfg(test)]
mod tests {
    use super::*;

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
