//! Measuring machines.

use std::time::Duration;

use kvm_core::{Feature, Result, VmFilter, VmId, VmState, VmStats};

use crate::case::{Failure, cases, holds, same, sorted};
use crate::cx::Cx;

cases! { CASES in "stats" on Cx;
    /// Measurements are of the machines that are wanted, sorted by name, each with the state that the list gives.
    async fn measurements_agree_with_the_list(cx) {
        let ours = [cx.running("b").await?, cx.defined("a").await?, cx.in_state("c", VmState::Saved).await?];
        for filter in [
            VmFilter::all(),
            VmFilter::active(),
            VmFilter { states: vec![VmState::Off] },
            VmFilter { states: vec![VmState::Saved, VmState::Running] },
        ] {
            let all = cx.hypervisor().stats(&filter).await?;
            sorted("names", &all, |vm| vm.name.clone())?;
            let measured: Vec<_> =
                all.into_iter().filter(|vm| ours.contains(&vm.id)).map(|vm| (vm.id, vm.name, vm.state)).collect();
            let listed = cx.list(&filter, &ours).await?;
            same("what is measured", measured, listed.into_iter().map(|vm| (vm.id, vm.name, vm.state)).collect())?;
        }
        Ok(())
    }

    /// Of a machine that is off nothing is measured: what is not known is none, not zero.
    async fn what_is_off_has_no_counters(cx) {
        let id = cx.defined("a").await?;
        let stats = measure(cx, &id).await?;
        same("CPU time", stats.cpu_time, None)?;
        same("resident memory", stats.resident, None)?;
        same("memory that the guest does not use", stats.guest_unused, None)?;
        for disk in stats.disks.values() {
            same("read requests", disk.read_requests, None)?;
        }
        Ok(())
    }

    /// A running machine's counters are there and never go back.
    async fn counters_never_go_back(cx) {
        let features = cx.hypervisor().capabilities().await?.features;
        if !features.contains(&Feature::Statistics) {
            return Err(Failure::new("the host has no statistics"));
        }
        let id = cx.running("a").await?;
        let mut before = measure(cx, &id).await?;
        holds("CPU time is known", before.cpu_time.is_some())?;
        holds("memory is known", before.memory.is_some() && before.max_memory.is_some())?;
        holds("virtual CPUs are known", before.vcpus.is_some())?;
        for _ in 0..3 {
            cx.clock().sleep(Duration::from_millis(500)).await;
            let now = measure(cx, &id).await?;
            holds("CPU time does not go back", now.cpu_time >= before.cpu_time)?;
            for (device, nic) in &now.nics {
                let earlier = before.nics.get(device).and_then(|nic| nic.receive_bytes);
                holds("received bytes do not go back", nic.receive_bytes >= earlier)?;
            }
            before = now;
        }
        Ok(())
    }
}

async fn measure(cx: &Cx, id: &VmId) -> Result<VmStats, Failure> {
    let all = cx.hypervisor().stats(&VmFilter::all()).await?;
    all.into_iter().find(|vm| vm.id == *id).ok_or_else(|| Failure::new("the machine is not measured"))
}
