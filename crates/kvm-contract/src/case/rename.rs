//! New names.

use kvm_core::{ErrorKind, SnapshotSpec, View, VmRef, VmState};

use crate::case::{cases, refused, same};
use crate::cx::Cx;

cases! { CASES in "rename" on Cx;
    /// A machine that is off takes a new name and keeps its uuid; the old name is free.
    async fn a_machine_takes_a_new_name(cx) {
        let id = cx.defined("a").await?;
        cx.hypervisor().rename(&id, &cx.vm_name("b")?).await?;
        same("name", cx.find(&id).await?.name, cx.vm_name("b")?)?;
        let document = cx.hypervisor().definition(&id, View::CONFIG).await?;
        same("name in the document", document.name, cx.document("b")?.name)?;
        refused(cx.hypervisor().find(&VmRef::Name(cx.vm_name("a")?)).await, ErrorKind::NotFound)
    }

    /// A machine that runs, is paused or saved keeps its name.
    async fn only_what_is_off_is_renamed(cx) {
        for state in [VmState::Running, VmState::Paused, VmState::Saved] {
            let id = cx.in_state(state.as_str(), state).await?;
            refused(cx.hypervisor().rename(&id, &cx.vm_name("new")?).await, ErrorKind::InvalidState)?;
            same("name", cx.find(&id).await?.name, cx.vm_name(state.as_str())?)?;
        }
        Ok(())
    }

    /// A machine with snapshot records keeps its name.
    async fn what_has_snapshots_is_not_renamed(cx) {
        let (id, _) = cx.with_disk("a").await?;
        let snapshots = cx.family("snapshots", cx.hypervisor().snapshots())?;
        snapshots.create(&id, &SnapshotSpec::internal(cx.snapshot_name("first")?)).await?;
        refused(cx.hypervisor().rename(&id, &cx.vm_name("b")?).await, ErrorKind::InvalidState)?;
        same("name", cx.find(&id).await?.name, cx.vm_name("a")?)
    }

    /// A name that is taken is refused, the machine's own included.
    async fn a_taken_name_is_refused(cx) {
        let id = cx.defined("a").await?;
        cx.defined("b").await?;
        for word in ["b", "a"] {
            refused(cx.hypervisor().rename(&id, &cx.vm_name(word)?).await, ErrorKind::AlreadyExists)?;
            same("name", cx.find(&id).await?.name, cx.vm_name("a")?)?;
        }
        Ok(())
    }

    /// A machine that is not there takes no name.
    async fn what_is_not_there_is_not_renamed(cx) {
        refused(cx.hypervisor().rename(&cx.id("absent"), &cx.vm_name("b")?).await, ErrorKind::NotFound)
    }
}
