//! Random sequences of calls, against the model.

use kvm_core::{
    Event, EventStream, Existing, Keep, PowerAction, Result, Title, View, VmFilter, VmId, VmName, VmNotes, VmState,
};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::case::{Failure, Outcome, cases, chain, holds, same};
use crate::cx::Cx;
use crate::model::{Expected, Machine, Milestone, Model, Operation, SLOTS};

/// The longest sequence.
const LONGEST: usize = 40;
/// So often a failing sequence is made simpler, at most.
const SHRINKS: u32 = 200;

cases! { CASES in "model" on Cx;
    /// Whatever is asked in whatever order: states, refusals and events are those of one simple model.
    async fn random_sequences_follow_the_model(cx) {
        // The same sequences each time, for each backend: what one of them shows can be shown again on the others.
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let sequences = proptest::collection::vec(operation(cx.bench().actions()), 1..=LONGEST);
        for round in 0..cx.bench().sequences() {
            let tree = sequences.new_tree(&mut runner);
            let mut tree = tree.map_err(|e| Failure::new(format_args!("no sequence: {e}")))?;
            let Err(mut failure) = follow(cx, &Stage { round, attempt: 0 }, &tree.current()).await else { continue };
            let mut simplest = tree.current();
            let mut more = tree.simplify();
            for attempt in 1..=SHRINKS {
                if !more {
                    break;
                }
                more = match follow(cx, &Stage { round, attempt }, &tree.current()).await {
                    Err(e) => {
                        (failure, simplest) = (e, tree.current());
                        tree.simplify()
                    }
                    Ok(()) => tree.complicate(),
                };
            }
            return Err(failure.about(format_args!("after {simplest:#?}")));
        }
        Ok(())
    }
}

fn operation(actions: Vec<PowerAction>) -> impl Strategy<Value = Operation> {
    let existing =
        prop_oneof![3 => proptest::strategy::Just(Existing::Reject), 1 => proptest::strategy::Just(Existing::Replace)];
    prop_oneof![
        3 => (0..SLOTS, 0..SLOTS, existing).prop_map(|(slot, name, existing)| Operation::Define { slot, name, existing }),
        1 => (0..SLOTS).prop_map(|slot| Operation::Undefine { slot }),
        8 => (0..SLOTS, select(actions)).prop_map(|(slot, action)| Operation::Power { slot, action }),
        1 => (0..SLOTS, 0..SLOTS).prop_map(|(slot, name)| Operation::Rename { slot, name }),
        1 => (0..SLOTS, any::<bool>()).prop_map(|(slot, on)| Operation::Autostart { slot, on }),
        1 => (0..SLOTS, 0..SLOTS).prop_map(|(slot, title)| Operation::Annotate { slot, title }),
    ]
}

/// Which machines and names a sequence uses: its own, as an attempt that failed may have left some behind.
struct Stage {
    round: u32,
    attempt: u32,
}

impl Stage {
    fn id(&self, cx: &Cx, slot: u8) -> VmId {
        cx.id(&format!("m{}-{}-{slot}", self.round, self.attempt))
    }

    fn name(&self, cx: &Cx, name: u8) -> Result<VmName> {
        cx.vm_name(&format!("n{}-{}-{name}", self.round, self.attempt))
    }
}

async fn follow(cx: &Cx, stage: &Stage, operations: &[Operation]) -> Outcome {
    let mut events = cx.hypervisor().events().await?;
    let mut model = Model::default();
    let mut wanted: Vec<Vec<Milestone>> = vec![Vec::new(); SLOTS.into()];
    for operation in operations {
        let before = model.clone();
        let expected = model.apply(*operation);
        if expected == Expected::Open {
            model = before;
            continue;
        }
        let step = async {
            let answer = perform(cx, stage, *operation).await;
            match (expected, answer) {
                (Expected::Done(milestone), Ok(())) => wanted[slot_of(*operation)].extend(milestone),
                (Expected::Refused(kinds), Err(e)) if kinds.contains(&e.kind()) => {}
                (_, Ok(())) => return Err(Failure::new(format_args!("expected {expected:?}, but it succeeded"))),
                (_, Err(e)) => return Err(Failure::new(format_args!("expected {expected:?}, got {}", chain(&e)))),
            }
            compare(cx, stage, &model).await
        };
        step.await.map_err(|e| e.about(format_args!("{operation:?}")))?;
    }
    clean_up(cx, stage, &model, &mut wanted).await?;
    same("milestones heard", heard(cx, stage, &mut events).await?, wanted)
}

async fn perform(cx: &Cx, stage: &Stage, operation: Operation) -> Result<()> {
    let host = cx.hypervisor();
    match operation {
        Operation::Define { slot, name, existing } => {
            let document = cx.bench().machine(&stage.name(cx, name)?, &stage.id(cx, slot));
            host.define(&document, existing).await.map(drop)
        }
        Operation::Undefine { slot } => host.undefine(&stage.id(cx, slot), Keep::NOTHING).await,
        Operation::Power { slot, action } => {
            let id = stage.id(cx, slot);
            host.power(&id, action).await?;
            if action == PowerAction::Shutdown {
                cx.shut_down(&id).await?;
            }
            Ok(())
        }
        Operation::Rename { slot, name } => host.rename(&stage.id(cx, slot), &stage.name(cx, name)?).await,
        Operation::Autostart { slot, on } => {
            let autostart = if on { kvm_core::Autostart::On } else { kvm_core::Autostart::Off };
            host.set_autostart(&stage.id(cx, slot), autostart).await
        }
        Operation::Annotate { slot, title } => {
            let notes = VmNotes { title: Some(title_of(title)?), ..VmNotes::default() };
            host.set_notes(&stage.id(cx, slot), &notes).await
        }
    }
}

fn slot_of(operation: Operation) -> usize {
    match operation {
        Operation::Define { slot, .. }
        | Operation::Undefine { slot }
        | Operation::Power { slot, .. }
        | Operation::Rename { slot, .. }
        | Operation::Autostart { slot, .. }
        | Operation::Annotate { slot, .. } => slot.into(),
    }
}

fn title_of(number: u8) -> Result<Title> {
    Title::parse(&format!("title {number}"))
}

/// The host has the machines of the model, and they are as the model says.
async fn compare(cx: &Cx, stage: &Stage, model: &Model) -> Outcome {
    let ids: Vec<_> = (0..SLOTS).map(|slot| stage.id(cx, slot)).collect();
    let listed = cx.list(&VmFilter::all(), &ids).await?;
    for (slot, id) in (0..SLOTS).zip(&ids) {
        let vm = listed.iter().find(|vm| vm.id == *id);
        let Some(machine) = model.machine(slot) else {
            holds(&format!("machine {slot} is not there"), vm.is_none())?;
            continue;
        };
        let vm = vm.ok_or_else(|| Failure::new(format_args!("machine {slot} is not there")))?;
        let found = (&vm.name, vm.state, vm.autostart, vm.has_saved_state);
        let wanted =
            (&stage.name(cx, machine.name)?, machine.state, Some(machine.autostart), machine.state == VmState::Saved);
        same(&format!("machine {slot}"), found, wanted)?;
        title(cx, id, machine).await.map_err(|e| e.about(format_args!("machine {slot}")))?;
    }
    Ok(())
}

async fn title(cx: &Cx, id: &VmId, machine: &Machine) -> Outcome {
    let notes = VmNotes::of(&cx.hypervisor().definition(id, View::CONFIG).await?);
    same("title", notes.title, machine.title.map(title_of).transpose()?)
}

/// Removes what is left, as a part of the sequence.
async fn clean_up(cx: &Cx, stage: &Stage, model: &Model, wanted: &mut [Vec<Milestone>]) -> Outcome {
    for slot in 0..SLOTS {
        let Some(machine) = model.machine(slot) else { continue };
        let id = stage.id(cx, slot);
        if machine.state.is_active() {
            cx.power(&id, PowerAction::PowerOff).await?;
            wanted[usize::from(slot)].push(Milestone::PoweredOff);
        }
        cx.hypervisor().undefine(&id, Keep::NOTHING).await?;
        wanted[usize::from(slot)].push(Milestone::Undefined);
    }
    Ok(())
}

/// The milestones of each machine up to now. A last machine comes and goes, so that what is under way is heard out.
async fn heard(cx: &Cx, stage: &Stage, events: &mut EventStream) -> Result<Vec<Vec<Milestone>>, Failure> {
    let last = stage.id(cx, SLOTS);
    let document = cx.bench().machine(&stage.name(cx, SLOTS)?, &last);
    cx.hypervisor().define(&document, Existing::Reject).await?;
    cx.hypervisor().undefine(&last, Keep::NOTHING).await?;
    let ids: Vec<_> = (0..SLOTS).map(|slot| stage.id(cx, slot)).collect();
    let mut heard = vec![Vec::new(); SLOTS.into()];
    loop {
        let Event::Vm(event) = cx.next_event(events).await? else { continue };
        let milestone = Milestone::of(event.what);
        if event.vm == last && milestone == Some(Milestone::Undefined) {
            return Ok(heard);
        }
        if let Some(slot) = ids.iter().position(|id| *id == event.vm) {
            heard[slot].extend(milestone);
        }
    }
}
