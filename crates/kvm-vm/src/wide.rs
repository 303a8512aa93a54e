//! What a list may show that no bulk call gives: tags, addresses, processor load.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt as _;
use kvm_core::{Clock, GuestAddress, Host, Tag, VmFilter, VmId, VmStats, VmSummary};
use serde::Serialize;

use crate::parallel::{self, within};
use crate::{address, find};

/// How long one cell may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// The time between the two samples of the processor load.
const SAMPLE: Duration = Duration::from_millis(500);

/// Which columns are shown, so that no other is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WideColumns {
    /// One call for each machine.
    pub tags: bool,
    /// Up to three calls for each active machine.
    pub addresses: bool,
    /// Two bulk calls, half a second apart.
    pub cpu: bool,
}

/// The costly columns of one machine; `None` is what was not asked for, is not known, or took too long.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct WideRow {
    /// Its tags.
    pub tags: Option<BTreeSet<Tag>>,
    /// Its addresses, see [`addresses`](crate::addresses).
    pub addresses: Option<Vec<GuestAddress>>,
    /// How much of its virtual CPUs it used, over half a second: 100 is all of all.
    pub cpu_percent: Option<f64>,
}

/// Asks for the costly columns of these machines, in their order. What goes wrong is left out, never an error.
pub async fn wide(host: &Host, vms: &[VmSummary], columns: WideColumns, clock: &dyn Clock) -> Vec<WideRow> {
    let (rows, load) = tokio::join!(
        parallel::for_each(vms, |vm| row(host, vm, columns, clock).boxed()),
        load(host, columns.cpu, clock)
    );
    rows.into_iter().zip(vms).map(|(row, vm)| WideRow { cpu_percent: load.get(&vm.id).copied(), ..row }).collect()
}

async fn row(host: &Host, vm: &VmSummary, columns: WideColumns, clock: &dyn Clock) -> WideRow {
    let mut row = WideRow::default();
    if columns.tags {
        row.tags = within(clock, DEADLINE, find::tags(host, &vm.id)).await.and_then(Result::ok);
    }
    if columns.addresses && vm.state.is_active() {
        let known = within(clock, DEADLINE, address::addresses(host, &vm.id, clock)).await.and_then(Result::ok);
        row.addresses = known.filter(|a| !a.is_empty());
    }
    row
}

async fn load(host: &Host, wanted: bool, clock: &dyn Clock) -> BTreeMap<VmId, f64> {
    if !wanted {
        return BTreeMap::new();
    }
    let samples = async {
        let filter = VmFilter::active();
        let begun = clock.now();
        let first = host.hypervisor.stats(&filter).await?;
        clock.sleep(SAMPLE).await;
        let ended = clock.now();
        let second = host.hypervisor.stats(&filter).await?;
        Ok::<_, kvm_core::Error>(loads(&first, &second, Duration::try_from(ended - begun).unwrap_or_default()))
    };
    within(clock, DEADLINE + SAMPLE, samples).await.and_then(Result::ok).unwrap_or_default()
}

/// The load between two samples; machines that are not in both, or were restarted in between, are left out.
fn loads(first: &[VmStats], second: &[VmStats], elapsed: Duration) -> BTreeMap<VmId, f64> {
    let before: BTreeMap<_, _> = first.iter().filter_map(|s| Some((s.id, s.cpu_time?))).collect();
    let share = |stats: &VmStats| {
        let used = stats.cpu_time?.checked_sub(*before.get(&stats.id)?)?;
        let available = elapsed.as_secs_f64() * f64::from(stats.vcpus.filter(|&n| n > 0)?);
        (available > 0.0).then(|| 100.0 * used.as_secs_f64() / available)
    };
    second.iter().filter_map(|stats| Some((stats.id, share(stats)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvm_core::{VmName, VmState};

    fn sample(millis: Option<u64>, vcpus: Option<u32>) -> VmStats {
        VmStats {
            id: VmId::from_entropy([1; 16]),
            name: VmName::parse("a").unwrap(),
            state: VmState::Running,
            cpu_time: millis.map(Duration::from_millis),
            vcpus,
            memory: None,
            max_memory: None,
            resident: None,
            guest_unused: None,
            disks: BTreeMap::new(),
            nics: BTreeMap::new(),
        }
    }

    fn load_of(first: VmStats, second: VmStats) -> Option<f64> {
        loads(&[first], &[second], Duration::from_millis(500)).into_values().next()
    }

    #[test]
    fn all_cpus_busy_is_a_hundred_percent() {
        assert_eq!(load_of(sample(Some(1000), Some(2)), sample(Some(2000), Some(2))), Some(100.0));
        assert_eq!(load_of(sample(Some(1000), Some(4)), sample(Some(1000), Some(4))), Some(0.0));
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        assert_eq!(load_of(sample(None, Some(2)), sample(Some(2000), Some(2))), None);
        assert_eq!(load_of(sample(Some(1), Some(2)), sample(Some(2), None)), None);
        assert_eq!(load_of(sample(Some(5000), Some(2)), sample(Some(10), Some(2))), None, "restarted in between");
        assert_eq!(loads(&[sample(Some(1), Some(1))], &[sample(Some(2), Some(1))], Duration::ZERO).len(), 0);
    }
}
