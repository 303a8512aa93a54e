//! How virtual CPUs and memory of a machine lie together, and on which of the host's nodes.

use std::fmt;
use std::str::FromStr;

use kvm_core::{Bytes, Error, Result, VcpuCount};
use kvm_xml::domain::NumatuneMode;
use kvm_xml::value::CpuSet;
use serde::{Deserialize, Serialize};

use super::pairs;
use crate::text::{choices, memory, refused};

/// The most NUMA cells that a machine may have; Linux counts no more nodes by default.
const CELLS_MAX: usize = 64;

/// A NUMA cell of a machine: `cpus=0-3,memory=4G`, in files `{cpus, memory}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct NumaCell {
    /// Its virtual CPUs.
    pub cpus: CpuSet,
    /// Its memory.
    pub memory: Bytes,
}

/// The form in files.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    cpus: String,
    #[serde(with = "memory")]
    memory: Bytes,
}

impl TryFrom<Form> for NumaCell {
    type Error = Error;

    fn try_from(form: Form) -> Result<Self> {
        Ok(Self { cpus: set("numa", &form.cpus)?, memory: form.memory })
    }
}

impl From<NumaCell> for Form {
    fn from(cell: NumaCell) -> Self {
        Self { cpus: cell.cpus.as_str().to_owned(), memory: cell.memory }
    }
}

impl FromStr for NumaCell {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        pairs::read("numa", text, "cpus")
    }
}

/// From which of the host's NUMA nodes memory comes: `0-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNodes(CpuSet);

impl NumaNodes {
    /// Reads a set of numbers such as `0-1` or `0,2`. `InvalidInput` for an empty one.
    pub fn parse(text: &str) -> Result<Self> {
        set("numa-nodes", text).map(Self)
    }

    /// The numbers.
    #[must_use]
    pub fn as_set(&self) -> &CpuSet {
        &self.0
    }
}

impl fmt::Display for NumaNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.as_str())
    }
}

impl FromStr for NumaNodes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

crate::text::text_serde!(NumaNodes);

/// How many places a machine has for memory modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct MemorySlots(u8);

impl MemorySlots {
    /// Reads a number from 1 to 255; QEMU has 256 at most.
    pub fn parse(text: &str) -> Result<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && *number > 0);
        number.map(Self).ok_or_else(|| refused("memory-slots", text, "is not a number from 1 to 255"))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.into()
    }
}

impl TryFrom<u32> for MemorySlots {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self> {
        Self::parse(&number.to_string())
    }
}

impl From<MemorySlots> for u32 {
    fn from(slots: MemorySlots) -> Self {
        slots.get()
    }
}

impl FromStr for MemorySlots {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

choices! {
    /// How strictly memory comes from the nodes that were named.
    NumaMode: "numa-mode" {
        /// From these or not at all.
        Strict = "strict",
        /// From this one, as long as it has some.
        Preferred = "preferred",
        /// From all of these in turn.
        Interleave = "interleave",
        /// From these, as control groups have it: they can be changed while the machine runs.
        Restrictive = "restrictive",
    }
}

impl From<NumaMode> for NumatuneMode {
    fn from(mode: NumaMode) -> Self {
        match mode {
            NumaMode::Strict => Self::Strict,
            NumaMode::Preferred => Self::Preferred,
            NumaMode::Interleave => Self::Interleave,
            NumaMode::Restrictive => Self::Restrictive,
        }
    }
}

fn set(field: &str, text: &str) -> Result<CpuSet> {
    let set: CpuSet = text.parse().map_err(|_| refused(field, text, "is not a set of numbers such as 0-3"))?;
    match set.ranges().last() {
        None => Err(refused(field, text, "is an empty set")),
        Some(last) if *last.end() >= VcpuCount::MAX => Err(refused(field, text, "has numbers that nothing has")),
        Some(_) => Ok(set),
    }
}

/// The cell of a machine whose memory and virtual CPUs all lie together.
pub(crate) fn all_in_one(vcpus: VcpuCount, memory: Bytes) -> Result<NumaCell> {
    Ok(NumaCell { cpus: set("numa", &format!("0-{}", vcpus.get().saturating_sub(1)))?, memory })
}

/// Refuses cells that leave a virtual CPU or memory out, or have one twice. `InvalidInput`.
pub(crate) fn check_cells(cells: &[NumaCell], vcpus: VcpuCount, memory: Bytes) -> Result<()> {
    if cells.is_empty() {
        return Ok(());
    }
    if cells.len() > CELLS_MAX {
        return Err(Error::invalid("numa", format!("a VM has {CELLS_MAX} NUMA cells at most, not {}", cells.len())));
    }
    for vcpu in 0..vcpus.get() {
        match cells.iter().filter(|cell| cell.cpus.contains(vcpu)).count() {
            1 => {}
            0 => return Err(Error::invalid("numa", format!("virtual CPU {vcpu} is in no cell"))),
            _ => return Err(Error::invalid("numa", format!("virtual CPU {vcpu} is in several cells"))),
        }
    }
    let last = cells.iter().filter_map(|cell| cell.cpus.ranges().last().map(|range| *range.end())).max();
    if let Some(last) = last.filter(|last| *last >= vcpus.get()) {
        let message = format!("there is no virtual CPU {last}: there are {vcpus} at most, from 0");
        return Err(Error::invalid("numa", message));
    }
    let sum = cells.iter().fold(Bytes::ZERO, |sum, cell| sum.saturating_add(cell.memory));
    if sum != memory {
        let message = format!("the cells have {sum} of memory together, and the VM has {memory} at most");
        return Err(Error::invalid("numa", message).with_detail("give the VM as much memory as its cells"));
    }
    Ok(())
}

/// Refuses nodes that do not fit the mode, and a mode without nodes. `InvalidInput`.
pub(crate) fn check_nodes(nodes: Option<&NumaNodes>, mode: Option<NumaMode>) -> Result<()> {
    match (nodes, mode) {
        (None, Some(_)) => Err(Error::invalid("numa-mode", "it says how nodes are used; name them with numa-nodes")),
        (Some(nodes), Some(NumaMode::Preferred)) => {
            let ranges = nodes.0.ranges();
            let is_one = matches!(ranges.as_slice(), [range] if range.start() == range.end());
            is_one.then_some(()).ok_or_else(|| refused("numa-nodes", nodes.0.as_str(), "are several; one is preferred"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(texts: &[&str]) -> Vec<NumaCell> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn check(texts: &[&str], vcpus: u32, memory: u64) -> Result<()> {
        check_cells(&cells(texts), VcpuCount::new(vcpus).unwrap(), Bytes::from_gib(memory))
    }

    #[test]
    fn every_virtual_cpu_is_in_one_cell_and_all_memory_in_some() {
        check(&["cpus=0-1,memory=1G", "cpus=2-3,,^2,,2,memory=3G"], 4, 4).unwrap();
        check(&[], 4, 4).unwrap();
        for (texts, vcpus, memory) in [
            (&["cpus=0-1,memory=2G", "cpus=1-3,memory=2G"], 4, 4),
            (&["cpus=0-1,memory=2G", "cpus=3,memory=2G"], 4, 4),
            (&["cpus=0-1,memory=2G", "cpus=2-4,memory=2G"], 4, 4),
            (&["cpus=0-1,memory=2G", "cpus=2-3,memory=1G"], 4, 4),
        ] {
            let e = check(texts, vcpus, memory).unwrap_err();
            assert_eq!(e.kind(), kvm_core::ErrorKind::InvalidInput, "{texts:?}");
        }
    }

    #[test]
    fn a_cell_has_cpus_and_memory() {
        for text in [
            "",
            "cpus=0",
            "memory=1G",
            "cpus=x,memory=1G",
            "cpus=^0,memory=1G",
            "cpus=0,memory=0",
            "cpus=0,memory=1G,x=1",
            "cpus=0-4294967295,memory=1G",
            "cpus=99999999999999999999,memory=1G",
        ] {
            assert!(text.parse::<NumaCell>().is_err(), "{text}");
        }
        let cell: NumaCell = "0-3,memory=4096".parse().unwrap();
        assert_eq!(cell.memory, Bytes::from_gib(4));
        assert_eq!(serde_json::to_string(&cell).unwrap(), r#"{"cpus":"0-3","memory":"4GiB"}"#);
    }

    #[test]
    fn only_one_node_is_preferred_and_a_mode_needs_nodes() {
        let nodes = |text: &str| NumaNodes::parse(text).unwrap();
        check_nodes(Some(&nodes("1")), Some(NumaMode::Preferred)).unwrap();
        check_nodes(Some(&nodes("0-3")), Some(NumaMode::Interleave)).unwrap();
        check_nodes(Some(&nodes("0-3")), None).unwrap();
        assert!(check_nodes(Some(&nodes("0-1")), Some(NumaMode::Preferred)).is_err());
        assert!(check_nodes(None, Some(NumaMode::Strict)).is_err());
        for text in ["", "-1", "a", "0-", "^1", "1.5"] {
            assert!(NumaNodes::parse(text).is_err(), "{text}");
        }
    }
}
