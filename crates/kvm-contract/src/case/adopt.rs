//! Machines that somebody else made, under names that nobody may choose.

use kvm_core::inputs::{self, Verdict};
use kvm_core::{ErrorKind, Existing, Keep, PowerAction, Result, View, VmFilter, VmId, VmName, VmNotes, VmRef, VmState};

use crate::case::{cases, holds, refused, same};
use crate::cx::Cx;

/// So many bytes of a name libvirt uses in the names of a running machine's files.
const CUT: usize = 20;

cases! { CASES in "adopt" on Cx, planted hostile_names;
    /// Machines under names that nobody may choose are listed and found like any other.
    async fn hostile_names_are_listed_and_found(cx) {
        let all = cx.hypervisor().list(&VmFilter::all()).await?;
        for name in names(cx)? {
            same(&format!("listed: {name}"), all.iter().filter(|vm| vm.name == name).count(), 1)?;
            let found = cx.hypervisor().find(&VmRef::Name(name.clone())).await?;
            holds("it is the one that is listed", all.contains(&found))?;
            same("its own name", found.name, name)?;
        }
        Ok(())
    }

    /// Their definitions are read with the exact name.
    async fn hostile_names_are_shown_exactly(cx) {
        for (id, name) in machines(cx).await? {
            let document = cx.hypervisor().definition(&id, View::CONFIG).await?;
            same("name in the document", document.name.as_deref(), Some(name.as_str()))?;
        }
        Ok(())
    }

    /// They are started, measured and stopped like any other. One whose name the host cannot bear stays off.
    async fn machines_with_hostile_names_run(cx) {
        for (id, name) in machines(cx).await? {
            if let Err(e) = cx.power(&id, PowerAction::Start).await {
                // libvirt in the C locale cuts long names into the middle of a character, which QEMU refuses.
                if name.as_str().len() <= CUT || name.as_str().is_ascii() {
                    return Err(e.into());
                }
                same("state of what was not started", cx.state(&id).await?, VmState::Off)?;
                continue;
            }
            same("state", cx.state(&id).await?, VmState::Running)?;
            let stats = cx.hypervisor().stats(&VmFilter::active()).await?;
            holds("it is measured", stats.iter().any(|vm| vm.name == name))?;
            cx.power(&id, PowerAction::PowerOff).await?;
            same("state", cx.state(&id).await?, VmState::Off)?;
        }
        Ok(())
    }

    /// They take notes and a new, sane name.
    async fn machines_with_hostile_names_are_mended(cx) {
        for (index, (id, _)) in machines(cx).await?.into_iter().enumerate() {
            let notes = VmNotes { title: Some(kvm_core::Title::parse("found here")?), ..VmNotes::default() };
            cx.hypervisor().set_notes(&id, &notes).await?;
            let name = cx.vm_name(&format!("mended-{index}"))?;
            cx.hypervisor().rename(&id, &name).await?;
            same("name", cx.find(&id).await?.name, name)?;
        }
        Ok(())
    }

    /// They are deleted one by one, and nothing else goes with them.
    async fn machines_with_hostile_names_are_deleted_alone(cx) {
        let bystander = cx.defined("bystander").await?;
        let mut left = machines(cx).await?;
        while let Some((id, _)) = left.pop() {
            cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
            refused(cx.find(&id).await, ErrorKind::NotFound)?;
            same("those that are left", machines(cx).await?, left.clone())?;
        }
        same("state of a bystander", cx.state(&bystander).await?, VmState::Off)
    }

    /// They can be redefined under the name that they have.
    async fn machines_with_hostile_names_are_redefined(cx) {
        for (id, name) in machines(cx).await? {
            let document = cx.bench().machine(&name, &id);
            cx.hypervisor().define(&document, Existing::Replace).await?;
            same("name", cx.find(&id).await?.name, name)?;
        }
        Ok(())
    }
}

/// The names that must not be chosen and may exist.
fn hostile_names() -> Vec<String> {
    let rows = inputs::rows("vm_name").into_iter().filter(|row| row.verdict == Verdict::Adopt);
    rows.filter_map(|row| row.text().map(str::to_owned)).collect()
}

fn names(cx: &Cx) -> Result<Vec<VmName>> {
    cx.planted().iter().map(|name| VmName::adopt(name)).collect()
}

/// The planted machines that are left, sorted by name.
async fn machines(cx: &Cx) -> Result<Vec<(VmId, VmName)>> {
    let names = names(cx)?;
    let all = cx.hypervisor().list(&VmFilter::all()).await?;
    Ok(all.into_iter().filter(|vm| names.contains(&vm.name)).map(|vm| (vm.id, vm.name)).collect())
}
