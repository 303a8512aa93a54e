//! Listing and finding machines.

use kvm_core::{ErrorKind, Keep, PowerAction, VmFilter, VmId, VmName, VmRef, VmState};
use uuid::Uuid;

use crate::case::{Outcome, cases, holds, refused, same, sorted};
use crate::cx::Cx;

/// How often machines come and go.
const ROUNDS: usize = 20;

cases! { CASES in "list" on Cx;
    /// A list is sorted by name, whatever the order in which machines were defined.
    async fn a_list_is_sorted_by_name(cx) {
        for word in ["b", "a10", "C", "a2", "c"] {
            cx.defined(word).await?;
        }
        let all = cx.hypervisor().list(&VmFilter::all()).await?;
        sorted("names", &all, |vm| vm.name.clone())
    }

    /// A list has every machine once, with what its definition says.
    async fn a_list_says_what_was_defined(cx) {
        let id = cx.defined("a").await?;
        let document = cx.document("a")?;
        let all = cx.list(&VmFilter::all(), &[id]).await?;
        same("how often it is listed", all.len(), 1)?;
        let vm = &all[0];
        same("name", &vm.name, &cx.vm_name("a")?)?;
        same("state", vm.state, VmState::Off)?;
        same("virtual CPUs", vm.vcpus, document.vcpu.and_then(|vcpu| vcpu.value).map(u32::from))?;
        same("memory", vm.max_memory.map(|m| m.get()), document.memory.and_then(|memory| memory.bytes()))?;
        holds("it is persistent", vm.persistent)?;
        holds("it has no saved state", !vm.has_saved_state)
    }

    /// A filter gives the machines in one of its states and no others; an empty one gives all.
    async fn a_filter_gives_only_what_it_wants(cx) {
        let off = cx.defined("off").await?;
        let running = cx.running("running").await?;
        let paused = cx.in_state("paused", VmState::Paused).await?;
        let ours = [off, running, paused];
        for (states, wanted) in [
            (vec![VmState::Off], vec![off]),
            (vec![VmState::Running], vec![running]),
            (vec![VmState::Paused, VmState::Off], vec![off, paused]),
            (vec![VmState::Crashed], vec![]),
            (vec![], vec![off, paused, running]),
        ] {
            let found = cx.list(&VmFilter { states: states.clone() }, &ours).await?;
            same(&format!("machines that are {states:?}"), found.iter().map(|vm| vm.id).collect::<Vec<_>>(), wanted)?;
        }
        let active = cx.list(&VmFilter::active(), &ours).await?;
        same("active machines", active.iter().map(|vm| vm.id).collect::<Vec<_>>(), vec![paused, running])
    }

    /// A saved machine is listed as saved, not as off.
    async fn a_saved_machine_is_listed_as_saved(cx) {
        let id = cx.in_state("a", VmState::Saved).await?;
        same("as saved", cx.list(&VmFilter { states: vec![VmState::Saved] }, &[id]).await?.len(), 1)?;
        same("as off", cx.list(&VmFilter { states: vec![VmState::Off] }, &[id]).await?.len(), 0)
    }

    /// A machine is found by its id and by its name, and both say what the list says.
    async fn finding_says_what_the_list_says(cx) {
        for state in [VmState::Off, VmState::Running, VmState::Paused] {
            let id = cx.in_state(state.as_str(), state).await?;
            let listed = cx.list(&VmFilter::all(), &[id]).await?;
            let by_name = cx.hypervisor().find(&VmRef::Name(cx.vm_name(state.as_str())?)).await?;
            same("found by id", vec![cx.find(&id).await?], listed.clone())?;
            same("found by name", vec![by_name], listed)?;
        }
        Ok(())
    }

    /// A machine that is not there is not found, neither by id nor by name.
    async fn what_is_not_there_is_not_found(cx) {
        refused(cx.find(&cx.id("absent")).await, ErrorKind::NotFound)?;
        refused(cx.hypervisor().find(&VmRef::Name(cx.vm_name("absent")?)).await, ErrorKind::NotFound)
    }

    /// A reference by name that looks like a uuid means the machine of that name if there is one, else the one with
    /// that uuid.
    async fn a_name_like_a_uuid_is_a_name_first(cx) {
        let id = cx.defined("a").await?;
        let twin = VmRef::Name(VmName::adopt(&id.to_string())?);
        same("by uuid", cx.hypervisor().find(&twin).await?.id, id)?;

        let other = VmId::from(Uuid::new_v5(&id.into(), b"other"));
        let mut document = cx.bench().machine(&cx.vm_name("b")?, &other);
        document.name = Some(id.to_string());
        cx.hypervisor().define(&document, kvm_core::Existing::Reject).await?;
        let found = cx.hypervisor().find(&twin).await;
        // By its name, nobody sees that it is this case's.
        cx.hypervisor().undefine(&other, kvm_core::Keep::NOTHING).await?;
        same("by name", found?.id, other)
    }

    /// Machines that come and go while a list is made disturb no list and no measurement.
    async fn machines_may_come_and_go_meanwhile(cx) {
        let churn = async {
            for _ in 0..ROUNDS {
                let id = cx.defined("a").await?;
                cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
            }
            Outcome::Ok(())
        };
        let look = async {
            for _ in 0..ROUNDS {
                cx.hypervisor().list(&VmFilter::all()).await?;
                cx.hypervisor().stats(&VmFilter::all()).await?;
            }
            Outcome::Ok(())
        };
        let (churned, looked) = tokio::join!(churn, look);
        churned.and(looked)
    }

    /// A list follows what happens to machines.
    async fn a_list_follows_what_happens(cx) {
        let id = cx.running("a").await?;
        same("running", cx.list(&VmFilter::all(), &[id]).await?[0].state, VmState::Running)?;
        cx.power(&id, PowerAction::PowerOff).await?;
        same("off", cx.list(&VmFilter::all(), &[id]).await?[0].state, VmState::Off)?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        same("gone", cx.list(&VmFilter::all(), &[id]).await?, vec![])
    }
}
