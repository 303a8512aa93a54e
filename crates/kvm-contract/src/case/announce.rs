//! Events.

use kvm_core::{Event, Existing, Keep, PowerAction, VmChange, VmNotes};

use crate::case::{Failure, Outcome, cases, holds, same};
use crate::cx::Cx;

cases! { CASES in "events" on Cx;
    /// What happens after the subscription stands is heard, in the order in which it happened.
    async fn what_happens_is_heard_in_order(cx) {
        let mut events = cx.hypervisor().events().await?;
        let id = cx.defined("a").await?;
        for action in [PowerAction::Start, PowerAction::Suspend, PowerAction::Resume, PowerAction::PowerOff] {
            cx.power(&id, action).await?;
        }
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        let seen = cx.changes_until(&mut events, &id, VmChange::Undefined).await?;
        in_order(&seen, &[
            VmChange::Defined,
            VmChange::Started,
            VmChange::Suspended,
            VmChange::Resumed,
            VmChange::PoweredOff,
            VmChange::Undefined,
        ])
    }

    /// What happened before the subscription is not heard.
    async fn the_past_is_not_heard(cx) {
        let id = cx.defined("a").await?;
        // What is under way is heard out, by somebody else.
        let mut before = cx.hypervisor().events().await?;
        cx.hypervisor().define(&cx.document("a")?, Existing::Replace).await?;
        cx.changes_until(&mut before, &id, VmChange::Redefined).await?;

        let mut events = cx.hypervisor().events().await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        let seen = cx.changes_until(&mut events, &id, VmChange::Undefined).await?;
        let old = [VmChange::Defined, VmChange::Redefined];
        holds("nothing about its definition", !seen.iter().any(|change| old.contains(change)))
    }

    /// Every subscriber hears everything.
    async fn every_subscriber_hears_everything(cx) {
        let (mut first, mut second) = (cx.hypervisor().events().await?, cx.hypervisor().events().await?);
        let id = cx.defined("a").await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        let heard = cx.changes_until(&mut first, &id, VmChange::Undefined).await?;
        same("what the second hears", cx.changes_until(&mut second, &id, VmChange::Undefined).await?, heard)
    }

    /// A subscriber that leaves disturbs nobody.
    async fn a_subscriber_may_leave(cx) {
        let (mut stays, leaves) = (cx.hypervisor().events().await?, cx.hypervisor().events().await?);
        drop(leaves);
        let id = cx.defined("a").await?;
        cx.changes_until(&mut stays, &id, VmChange::Defined).await?;
        let mut later = cx.hypervisor().events().await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        cx.changes_until(&mut later, &id, VmChange::Undefined).await?;
        Ok(())
    }

    /// An event carries the machine's name at that time; a rename is heard once, under the new name.
    async fn a_rename_is_heard_under_the_new_name(cx) {
        let id = cx.defined("a").await?;
        let mut events = cx.hypervisor().events().await?;
        cx.hypervisor().rename(&id, &cx.vm_name("b")?).await?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|(what, _)| *what != VmChange::Undefined) {
            if let Event::Vm(event) = cx.next_event(&mut events).await?
                && event.vm == id
            {
                seen.push((event.what, event.name));
            }
        }
        let name = cx.vm_name("b")?;
        same("what is heard", seen, vec![(VmChange::Renamed, name.clone()), (VmChange::Undefined, name)])
    }

    /// A new definition is heard as such.
    async fn a_new_definition_is_heard(cx) {
        let id = cx.defined("a").await?;
        let mut events = cx.hypervisor().events().await?;
        cx.hypervisor().define(&cx.document("a")?, Existing::Replace).await?;
        cx.changes_until(&mut events, &id, VmChange::Redefined).await?;
        Ok(())
    }

    /// New notes are heard.
    async fn new_notes_are_heard(cx) {
        let id = cx.defined("a").await?;
        let mut events = cx.hypervisor().events().await?;
        let notes = VmNotes { title: Some(kvm_core::Title::parse("new")?), ..VmNotes::default() };
        cx.hypervisor().set_notes(&id, &notes).await?;
        cx.changes_until(&mut events, &id, VmChange::NotesChanged).await?;
        Ok(())
    }

    /// A guest's own shutdown is told from a power off.
    async fn an_obeyed_shutdown_is_heard_as_stopped(cx) {
        let id = cx.running("a").await?;
        let mut events = cx.hypervisor().events().await?;
        cx.shut_down(&id).await?;
        let seen = cx.changes_until(&mut events, &id, VmChange::Stopped).await?;
        holds("not as a power off", !seen.contains(&VmChange::PoweredOff))
    }

    /// A saved machine is heard as saved, not as stopped.
    async fn saving_is_heard(cx) {
        let id = cx.running("a").await?;
        let mut events = cx.hypervisor().events().await?;
        cx.power(&id, PowerAction::Save).await?;
        let seen = cx.changes_until(&mut events, &id, VmChange::Saved).await?;
        holds("not as stopped", !seen.contains(&VmChange::Stopped))
    }

    /// A machine that comes back from its saved state is heard as restored.
    async fn restoring_is_heard(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, PowerAction::Save).await?;
        let mut events = cx.hypervisor().events().await?;
        cx.power(&id, PowerAction::Start).await?;
        cx.changes_until(&mut events, &id, VmChange::Restored).await?;
        Ok(())
    }

    /// A reset is heard as a reboot.
    async fn a_reset_is_heard(cx) {
        let id = cx.running("a").await?;
        let mut events = cx.hypervisor().events().await?;
        cx.power(&id, PowerAction::Reset).await?;
        cx.changes_until(&mut events, &id, VmChange::Rebooted).await?;
        Ok(())
    }

    /// After the connection broke and came back, the stream says so and goes on; lists are right again.
    async fn a_stream_outlives_its_connection(cx) {
        let id = cx.defined("a").await?;
        let mut events = cx.hypervisor().events().await?;
        cx.bench().interrupt().await?;
        while cx.next_event(&mut events).await? != Event::Resynced {}
        same("found", cx.find(&id).await?.id, id)?;
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        cx.changes_until(&mut events, &id, VmChange::Undefined).await?;
        Ok(())
    }
}

/// All of `wanted` are in `seen`, in that order; others may stand between.
fn in_order(seen: &[VmChange], wanted: &[VmChange]) -> Outcome {
    let mut rest = seen.iter();
    match wanted.iter().find(|what| !rest.any(|change| change == *what)) {
        None => Ok(()),
        Some(missing) => Err(Failure::new(format_args!("{missing:?} is not in its place in {seen:?}"))),
    }
}
