//! Changes of power state.

use kvm_core::{ErrorKind, PowerAction, VmState};

use crate::case::{Outcome, cases, holds, refused, same};
use crate::cx::Cx;

use PowerAction::{DiscardSaved, PowerOff, Reboot, Reset, Resume, Save, Shutdown, Start, StartPaused, Suspend};

cases! { CASES in "power" on Cx;
    /// Starting a machine that is off has it run.
    async fn start_runs(cx) {
        let id = cx.running("a").await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// A machine that is off can be started paused, and then goes on.
    async fn start_paused_waits_for_resume(cx) {
        let id = cx.defined("a").await?;
        cx.power(&id, StartPaused).await?;
        same("state", cx.state(&id).await?, VmState::Paused)?;
        cx.power(&id, Resume).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// Starting what runs or is paused is an invalid state.
    async fn start_twice_is_invalid_state(cx) {
        for state in [VmState::Running, VmState::Paused] {
            stays(cx, state, &[Start, StartPaused]).await?;
        }
        Ok(())
    }

    /// What is off cannot be stopped, restarted, frozen, resumed or saved.
    async fn what_is_off_cannot_be_stopped(cx) {
        stays(cx, VmState::Off, &[Shutdown, PowerOff, Reboot, Reset, Suspend, Resume, Save]).await
    }

    /// What is saved cannot be stopped, restarted, frozen, resumed or saved.
    async fn what_is_saved_cannot_be_stopped(cx) {
        stays(cx, VmState::Saved, &[Shutdown, PowerOff, Reboot, Reset, Suspend, Resume, Save]).await
    }

    /// Only what is paused can be resumed.
    async fn resuming_what_runs_is_invalid_state(cx) {
        stays(cx, VmState::Running, &[Resume]).await
    }

    /// What is paused cannot be suspended again.
    async fn suspending_what_is_paused_is_invalid_state(cx) {
        stays(cx, VmState::Paused, &[Suspend]).await
    }

    /// A frozen guest cannot be asked to shut down.
    async fn shutting_down_what_is_paused_is_invalid_state(cx) {
        stays(cx, VmState::Paused, &[Shutdown]).await
    }

    /// Without a saved state there is none to discard.
    async fn discarding_nothing_is_invalid_state(cx) {
        stays(cx, VmState::Off, &[DiscardSaved]).await?;
        stays(cx, VmState::Running, &[DiscardSaved]).await
    }

    /// No action finds a machine that is not there.
    async fn what_is_not_there_has_no_power(cx) {
        for action in [Start, StartPaused, Shutdown, PowerOff, Reboot, Reset, Suspend, Resume, Save, DiscardSaved] {
            refused(cx.power(&cx.id("absent"), action).await, ErrorKind::NotFound)?;
        }
        Ok(())
    }

    /// A guest that obeys a shutdown is off after a while.
    async fn a_shutdown_is_obeyed(cx) {
        let id = cx.running("a").await?;
        same("state", cx.shut_down(&id).await?.state, VmState::Off)
    }

    /// Power off stops a machine at once, running or paused.
    async fn power_off_is_at_once(cx) {
        for state in [VmState::Running, VmState::Paused] {
            let id = cx.in_state(state.as_str(), state).await?;
            cx.power(&id, PowerOff).await?;
            same("state", cx.state(&id).await?, VmState::Off)?;
        }
        Ok(())
    }

    /// A machine that was suspended is paused until it is resumed.
    async fn suspend_and_resume(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, Suspend).await?;
        same("state", cx.state(&id).await?, VmState::Paused)?;
        cx.power(&id, Resume).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// A reboot leaves a machine running.
    async fn a_reboot_leaves_it_running(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, Reboot).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// A reset leaves a machine running.
    async fn a_reset_leaves_it_running(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, Reset).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// A machine that was saved has a saved state until the next start, which restores it.
    async fn a_saved_state_is_restored_by_the_next_start(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, Save).await?;
        same("state", cx.state(&id).await?, VmState::Saved)?;
        holds("it has a saved state", cx.find(&id).await?.has_saved_state)?;
        cx.power(&id, Start).await?;
        same("state", cx.state(&id).await?, VmState::Running)?;
        holds("it has none any more", !cx.find(&id).await?.has_saved_state)
    }

    /// A paused machine can be saved, too.
    async fn a_paused_machine_can_be_saved(cx) {
        let id = cx.in_state("a", VmState::Paused).await?;
        cx.power(&id, Save).await?;
        same("state", cx.state(&id).await?, VmState::Saved)?;
        cx.power(&id, Start).await?;
        holds("it is there again", cx.state(&id).await?.is_active())
    }

    /// A saved state can be thrown away; then the machine is off.
    async fn a_saved_state_can_be_discarded(cx) {
        let id = cx.in_state("a", VmState::Saved).await?;
        cx.power(&id, DiscardSaved).await?;
        same("state", cx.state(&id).await?, VmState::Off)?;
        holds("it has no saved state", !cx.find(&id).await?.has_saved_state)?;
        refused(cx.power(&id, DiscardSaved).await, ErrorKind::InvalidState)
    }

    /// A machine can be started again after each way to stop it.
    async fn a_stopped_machine_starts_again(cx) {
        let id = cx.running("a").await?;
        cx.power(&id, PowerOff).await?;
        cx.power(&id, Start).await?;
        same("state", cx.state(&id).await?, VmState::Running)
    }

    /// Setting the autostart shows in the list; setting what is set succeeds.
    async fn autostart_is_set_and_shown(cx) {
        use kvm_core::Autostart;
        let id = cx.defined("a").await?;
        same("at first", cx.find(&id).await?.autostart, Some(false))?;
        for autostart in [Autostart::On, Autostart::On, Autostart::Off, Autostart::Off] {
            cx.hypervisor().set_autostart(&id, autostart).await?;
            same("autostart", cx.find(&id).await?.autostart, Some(autostart == Autostart::On))?;
        }
        refused(cx.hypervisor().set_autostart(&cx.id("absent"), Autostart::On).await, ErrorKind::NotFound)
    }
}

/// Each of the actions is refused in this state, and changes nothing.
async fn stays(cx: &Cx, state: VmState, actions: &[PowerAction]) -> Outcome {
    let id = cx.in_state(state.as_str(), state).await?;
    for action in actions {
        let outcome = refused(cx.power(&id, *action).await, ErrorKind::InvalidState);
        outcome.map_err(|e| e.about(format_args!("{action} of what is {state}")))?;
        same("state afterwards", cx.state(&id).await?, state)?;
    }
    Ok(())
}
