//! From libvirt's statistics to summaries and measurements.

use std::collections::BTreeMap;
use std::time::Duration;

use kvm_core::{Bytes, DiskStats, NicStats, VmId, VmName, VmState, VmStats};
use virt::sys;

use crate::ffi::stats::Record;
use crate::machine::state_of;

/// What a list needs.
pub(crate) const LIST: sys::virDomainStatsTypes =
    sys::VIR_DOMAIN_STATS_STATE | sys::VIR_DOMAIN_STATS_VCPU | sys::VIR_DOMAIN_STATS_BALLOON;

/// What a measurement needs.
pub(crate) const MEASURE: sys::virDomainStatsTypes =
    LIST | sys::VIR_DOMAIN_STATS_CPU_TOTAL | sys::VIR_DOMAIN_STATS_BLOCK | sys::VIR_DOMAIN_STATS_INTERFACE;

/// Memory as libvirt counts it.
pub(crate) fn kibibytes(n: u64) -> Bytes {
    Bytes::new(n.saturating_mul(1024))
}

/// The power state. `is_saved` is known from elsewhere: to libvirt such a machine is off.
pub(crate) fn state(record: &Record, is_saved: bool) -> VmState {
    let state = record.unsigned("state.state").and_then(|n| u32::try_from(n).ok());
    match state.map_or(VmState::Unknown, state_of) {
        VmState::Off if is_saved => VmState::Saved,
        state => state,
    }
}

/// Virtual CPUs that are plugged in.
pub(crate) fn vcpus(record: &Record) -> Option<u32> {
    record.unsigned("vcpu.current").and_then(|n| u32::try_from(n).ok())
}

/// Memory now, and at most.
pub(crate) fn memory(record: &Record) -> (Option<Bytes>, Option<Bytes>) {
    let field = |field| record.unsigned(field).map(kibibytes);
    (field("balloon.current"), field("balloon.maximum"))
}

/// Everything that a record says.
pub(crate) fn measurement(record: &Record, name: VmName, is_saved: bool) -> VmStats {
    let (memory, max_memory) = memory(record);
    let state = state(record, is_saved);
    // Of a machine that is off, libvirt 11.3 tells what its own daemon has spent, and the test driver a figure.
    let cpu_time = record.unsigned("cpu.time").filter(|_| state.is_active());
    VmStats {
        id: VmId::from(record.uuid),
        name,
        state,
        cpu_time: cpu_time.map(Duration::from_nanos),
        vcpus: vcpus(record),
        memory,
        max_memory,
        resident: record.unsigned("balloon.rss").map(kibibytes),
        guest_unused: record.unsigned("balloon.unused").map(kibibytes),
        disks: disks(record),
        nics: nics(record),
    }
}

/// The numbers of a list's entries. A count that promises more entries than there are fields is not believed.
fn entries(record: &Record, count: &str) -> std::ops::Range<u64> {
    let fields = u64::try_from(record.fields.len()).unwrap_or(u64::MAX);
    0..record.unsigned(count).unwrap_or(0).min(fields)
}

fn disks(record: &Record) -> BTreeMap<String, DiskStats> {
    entries(record, "block.count")
        .filter_map(|i| {
            let count = |field: &str| record.unsigned(&format!("block.{i}.{field}"));
            let name = record.text(&format!("block.{i}.name"))?;
            let disk = DiskStats {
                path: record.text(&format!("block.{i}.path")).map(Into::into),
                read_bytes: count("rd.bytes").map(Bytes::new),
                write_bytes: count("wr.bytes").map(Bytes::new),
                read_requests: count("rd.reqs"),
                write_requests: count("wr.reqs"),
                capacity: count("capacity").map(Bytes::new),
                allocation: count("allocation").map(Bytes::new),
            };
            Some((name.to_owned(), disk))
        })
        .collect()
}

fn nics(record: &Record) -> BTreeMap<String, NicStats> {
    entries(record, "net.count")
        .map(|i| {
            let count = |field: &str| record.unsigned(&format!("net.{i}.{field}"));
            let faults = ["rx.errs", "rx.drop", "tx.errs", "tx.drop"].map(count);
            let nic = NicStats {
                receive_bytes: count("rx.bytes").map(Bytes::new),
                transmit_bytes: count("tx.bytes").map(Bytes::new),
                receive_packets: count("rx.pkts"),
                transmit_packets: count("tx.pkts"),
                // Unknown only when none of them is known.
                errors: faults.into_iter().flatten().reduce(u64::saturating_add),
            };
            let name = record.text(&format!("net.{i}.name"));
            (name.map_or_else(|| i.to_string(), Into::into), nic)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::ffi::stats::Value;

    fn record(fields: &[(&str, Value)]) -> Record {
        Record {
            uuid: Uuid::from_u128(1),
            name: "a".into(),
            fields: fields.iter().map(|(field, value)| ((*field).to_owned(), value.clone())).collect(),
        }
    }

    fn measured(fields: &[(&str, Value)]) -> VmStats {
        measurement(&record(fields), VmName::parse("a").unwrap(), false)
    }

    #[test]
    fn units_are_those_of_libvirt() {
        let stats = measured(&[
            ("state.state", Value::Signed(1)),
            ("cpu.time", Value::Unsigned(1_500_000_000)),
            ("vcpu.current", Value::Unsigned(2)),
            ("balloon.current", Value::Unsigned(1024)),
            ("balloon.maximum", Value::Unsigned(2048)),
            ("balloon.rss", Value::Unsigned(512)),
        ]);
        assert_eq!(stats.state, VmState::Running);
        assert_eq!(stats.cpu_time, Some(Duration::from_millis(1500)));
        assert_eq!(stats.vcpus, Some(2));
        assert_eq!(stats.memory, Some(Bytes::new(1 << 20)));
        assert_eq!(stats.max_memory, Some(Bytes::new(2 << 20)));
        assert_eq!(stats.resident, Some(Bytes::new(512 << 10)));
    }

    #[test]
    fn what_is_missing_is_unknown_and_not_zero() {
        let stats = measured(&[("net.count", Value::Unsigned(1))]);
        assert_eq!(stats.state, VmState::Unknown);
        assert_eq!((stats.cpu_time, stats.memory, stats.guest_unused), (None, None, None));
        assert_eq!(stats.nics["0"], NicStats::default());
        assert!(stats.disks.is_empty());
    }

    #[test]
    fn disks_and_nics_go_by_their_names() {
        let stats = measured(&[
            ("block.count", Value::Unsigned(2)),
            ("block.0.name", Value::Text("vda".into())),
            ("block.0.path", Value::Text("/a.qcow2".into())),
            ("block.0.rd.bytes", Value::Unsigned(10)),
            ("block.0.wr.reqs", Value::Unsigned(3)),
            ("block.1.name", Value::Text("sda".into())),
            ("net.count", Value::Unsigned(1)),
            ("net.0.name", Value::Text("vnet0".into())),
            ("net.0.rx.bytes", Value::Unsigned(7)),
            ("net.0.rx.errs", Value::Unsigned(1)),
            ("net.0.tx.drop", Value::Unsigned(2)),
        ]);
        let vda = &stats.disks["vda"];
        assert_eq!((vda.path.as_deref(), vda.read_bytes), (Some("/a.qcow2"), Some(Bytes::new(10))));
        assert_eq!((vda.write_requests, vda.write_bytes), (Some(3), None));
        assert_eq!(stats.disks["sda"], DiskStats::default());
        assert_eq!((stats.nics["vnet0"].receive_bytes, stats.nics["vnet0"].errors), (Some(Bytes::new(7)), Some(3)));
    }

    #[test]
    fn a_saved_machine_is_off_to_libvirt_only() {
        let off = record(&[("state.state", Value::Signed(5))]);
        assert_eq!((state(&off, false), state(&off, true)), (VmState::Off, VmState::Saved));
        let running = record(&[("state.state", Value::Signed(1))]);
        assert_eq!(state(&running, true), VmState::Running);
    }

    #[test]
    fn a_count_that_lies_costs_nothing() {
        let stats = measured(&[("block.count", Value::Unsigned(u64::MAX)), ("net.count", Value::Unsigned(u64::MAX))]);
        assert!(stats.disks.is_empty());
        assert_eq!(stats.nics.len(), 2);
    }
}
