//! Machines that are stored nowhere.

use kvm_core::{ErrorKind, PowerAction, VmFilter, VmState};

use crate::case::{cases, holds, refused, same};
use crate::cx::Cx;

cases! { CASES in "transient" on Cx;
    /// A machine that is started without being stored is paused at first, and runs when it is let.
    async fn it_is_paused_until_it_is_let_run(cx) {
        let id = cx.hypervisor().start_transient(&cx.document("a")?).await?;
        same("id", id, cx.id("a"))?;
        let vm = cx.find(&id).await?;
        same("state", vm.state, VmState::Paused)?;
        holds("it is not stored", !vm.persistent)?;
        cx.power(&id, PowerAction::Resume).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// One that stops is gone, and its name and uuid are free.
    async fn what_stops_is_gone(cx) {
        let id = cx.hypervisor().start_transient(&cx.document("a")?).await?;
        cx.power(&id, PowerAction::PowerOff).await?;
        refused(cx.find(&id).await, ErrorKind::NotFound)?;
        same("listed", cx.list(&VmFilter::all(), &[id]).await?.len(), 0)?;
        same("defined", cx.defined("a").await?, id)
    }

    /// A name or a uuid that is taken is refused, and the machine that has it stays as it is.
    async fn what_is_taken_is_refused(cx) {
        let id = cx.defined("a").await?;
        refused(cx.hypervisor().start_transient(&cx.document("a")?).await, ErrorKind::AlreadyExists)?;
        let other = cx.bench().machine(&cx.vm_name("a")?, &cx.id("b"));
        refused(cx.hypervisor().start_transient(&other).await, ErrorKind::AlreadyExists)?;
        let vm = cx.find(&id).await?;
        same("state", vm.state, VmState::Off)?;
        holds("it is stored", vm.persistent)?;
        refused(cx.find(&cx.id("b")).await, ErrorKind::NotFound)
    }

    /// A document without a name or without a uuid is invalid, and starts nothing.
    async fn a_document_needs_a_name_and_a_uuid(cx) {
        let mut nameless = cx.document("a")?;
        nameless.name = None;
        let mut anonymous = cx.document("b")?;
        anonymous.uuid = None;
        for document in [nameless, anonymous] {
            refused(cx.hypervisor().start_transient(&document).await, ErrorKind::InvalidInput)?;
        }
        refused(cx.find(&cx.id("a")).await, ErrorKind::NotFound)
    }
}
