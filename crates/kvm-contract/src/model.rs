//! What every backend does with machines, as a pure state machine: the oracle for random sequences of calls.
//!
//! ```text
//!  absent ──define──▶ off ──start──▶ running ──suspend──▶ paused
//!     ▲                │▲ ◀─shutdown──┘│  ▲ ◀──resume──────┘
//!     └────undefine────┘│              │save
//!                       └─discard── saved ◀┘ ──start──▶ running
//! ```
//!
//! Where the contract leaves open what happens, the model says so, and sequences do without.

use std::collections::BTreeMap;

use kvm_core::{ErrorKind, Existing, PowerAction, VmChange, VmState};

/// Machines are told apart by small numbers, and so are names: with few of each, sequences meet themselves.
pub(crate) const SLOTS: u8 = 3;

/// A call of a random sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `define` of a machine under a name.
    Define { slot: u8, name: u8, existing: Existing },
    /// `undefine`.
    Undefine { slot: u8 },
    /// `power`.
    Power { slot: u8, action: PowerAction },
    /// `rename`.
    Rename { slot: u8, name: u8 },
    /// `set_autostart`.
    Autostart { slot: u8, on: bool },
    /// `set_notes`.
    Annotate { slot: u8, title: u8 },
}

/// What has to become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It succeeds, and this is heard of the machine.
    Done(Option<Milestone>),
    /// It is refused with an error of one of these kinds, and changes nothing. Several, where several things are wrong.
    Refused(&'static [ErrorKind]),
    /// The contract does not say.
    Open,
}

/// The events that every backend gives for what it does; what else it tells may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    Defined,
    Redefined,
    Renamed,
    Undefined,
    Began,
    Stopped,
    PoweredOff,
    Saved,
}

impl Milestone {
    /// What an event says, in these words.
    pub(crate) fn of(change: VmChange) -> Option<Self> {
        Some(match change {
            VmChange::Defined => Self::Defined,
            VmChange::Redefined => Self::Redefined,
            VmChange::Renamed => Self::Renamed,
            VmChange::Undefined => Self::Undefined,
            VmChange::Started | VmChange::Restored => Self::Began,
            VmChange::Stopped => Self::Stopped,
            VmChange::PoweredOff => Self::PoweredOff,
            VmChange::Saved => Self::Saved,
            _ => return None,
        })
    }
}

/// A machine of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) name: u8,
    pub(crate) state: VmState,
    pub(crate) autostart: bool,
    pub(crate) title: Option<u8>,
}

/// All machines of a sequence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model(BTreeMap<u8, Machine>);

const NOT_FOUND: Expected = Expected::Refused(&[ErrorKind::NotFound]);
const EXISTS: Expected = Expected::Refused(&[ErrorKind::AlreadyExists]);
const WRONG_STATE: Expected = Expected::Refused(&[ErrorKind::InvalidState]);
const INVALID: Expected = Expected::Refused(&[ErrorKind::InvalidInput]);
const NOT_FOUND_OR_EXISTS: Expected = Expected::Refused(&[ErrorKind::NotFound, ErrorKind::AlreadyExists]);
const WRONG_STATE_OR_EXISTS: Expected = Expected::Refused(&[ErrorKind::InvalidState, ErrorKind::AlreadyExists]);

impl Model {
    pub(crate) fn machine(&self, slot: u8) -> Option<&Machine> {
        self.0.get(&slot)
    }

    /// Does it, if it may be done, and says what a backend has to answer.
    pub(crate) fn apply(&mut self, operation: Operation) -> Expected {
        match operation {
            Operation::Define { slot, name, existing } => self.define(slot, name, existing),
            Operation::Undefine { slot } => match self.0.get(&slot) {
                None => NOT_FOUND,
                Some(machine) if machine.state.is_active() => WRONG_STATE,
                Some(_) => {
                    self.0.remove(&slot);
                    Expected::Done(Some(Milestone::Undefined))
                }
            },
            Operation::Power { slot, action } => match self.0.get_mut(&slot) {
                None => NOT_FOUND,
                Some(machine) => power(machine, action),
            },
            Operation::Rename { slot, name } => {
                let taken = self.has_name(name);
                match (self.0.get_mut(&slot), taken) {
                    (None, true) => NOT_FOUND_OR_EXISTS,
                    (None, false) => NOT_FOUND,
                    (Some(machine), true) if machine.state != VmState::Off => WRONG_STATE_OR_EXISTS,
                    (Some(machine), false) if machine.state != VmState::Off => WRONG_STATE,
                    (Some(_), true) => EXISTS,
                    (Some(machine), false) => {
                        machine.name = name;
                        Expected::Done(Some(Milestone::Renamed))
                    }
                }
            }
            Operation::Autostart { slot, on } => self.set(slot, |machine| machine.autostart = on),
            Operation::Annotate { slot, title } => self.set(slot, |machine| machine.title = Some(title)),
        }
    }

    fn set(&mut self, slot: u8, set: impl FnOnce(&mut Machine)) -> Expected {
        match self.0.get_mut(&slot) {
            None => NOT_FOUND,
            Some(machine) => {
                set(machine);
                Expected::Done(None)
            }
        }
    }

    fn define(&mut self, slot: u8, name: u8, existing: Existing) -> Expected {
        let named = self.has_name(name);
        match (existing, self.0.get_mut(&slot)) {
            (Existing::Reject, Some(_)) => EXISTS,
            (Existing::Reject, None) if named => EXISTS,
            (Existing::Reject, None) => {
                self.0.insert(slot, Machine { name, state: VmState::Off, autostart: false, title: None });
                Expected::Done(Some(Milestone::Defined))
            }
            (Existing::Replace, None) if named => NOT_FOUND_OR_EXISTS,
            (Existing::Replace, None) => NOT_FOUND,
            (Existing::Replace, Some(machine)) if machine.name == name => {
                // The new document says nothing about a title.
                machine.title = None;
                Expected::Done(Some(Milestone::Redefined))
            }
            (Existing::Replace, Some(_)) if named => EXISTS,
            (Existing::Replace, Some(_)) => INVALID,
        }
    }

    fn has_name(&self, name: u8) -> bool {
        self.0.values().any(|machine| machine.name == name)
    }
}

fn power(machine: &mut Machine, action: PowerAction) -> Expected {
    use PowerAction as A;
    use VmState as S;
    let (state, milestone) = match (action, machine.state) {
        (A::Start, S::Off | S::Saved) => (S::Running, Some(Milestone::Began)),
        (A::StartPaused, S::Off | S::Saved) => (S::Paused, Some(Milestone::Began)),
        (A::Shutdown, S::Running) => (S::Off, Some(Milestone::Stopped)),
        (A::PowerOff, S::Running | S::Paused) => (S::Off, Some(Milestone::PoweredOff)),
        (A::Reboot | A::Reset, S::Running) => (S::Running, None),
        (A::Suspend, S::Running) => (S::Paused, None),
        (A::Resume, S::Paused) => (S::Running, None),
        (A::Save, S::Running) => (S::Saved, Some(Milestone::Saved)),
        (A::DiscardSaved, S::Saved) => (S::Off, None),
        // In which state a frozen machine comes back differs.
        (A::Reboot | A::Reset | A::Save, S::Paused) => return Expected::Open,
        _ => return WRONG_STATE,
    };
    machine.state = state;
    Expected::Done(milestone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn power_on(model: &mut Model, action: PowerAction) -> Expected {
        model.apply(Operation::Power { slot: 0, action })
    }

    #[test]
    fn a_machine_goes_round() {
        let mut model = Model::default();
        assert_eq!(power_on(&mut model, PowerAction::Start), NOT_FOUND);
        let define = Operation::Define { slot: 0, name: 0, existing: Existing::Reject };
        assert_eq!(model.apply(define), Expected::Done(Some(Milestone::Defined)));
        assert_eq!(model.apply(define), EXISTS);
        for (action, state) in [
            (PowerAction::Start, VmState::Running),
            (PowerAction::Save, VmState::Saved),
            (PowerAction::StartPaused, VmState::Paused),
            (PowerAction::Resume, VmState::Running),
            (PowerAction::PowerOff, VmState::Off),
        ] {
            assert!(matches!(power_on(&mut model, action), Expected::Done(_)), "{action}");
            assert_eq!(model.machine(0).map(|m| m.state), Some(state), "{action}");
        }
        assert_eq!(model.apply(Operation::Undefine { slot: 0 }), Expected::Done(Some(Milestone::Undefined)));
        assert_eq!(model, Model::default());
    }

    #[test]
    fn what_is_refused_or_open_changes_nothing() {
        let mut model = Model::default();
        for slot in 0..2 {
            model.apply(Operation::Define { slot, name: slot, existing: Existing::Reject });
        }
        power_on(&mut model, PowerAction::StartPaused);
        let before = model.clone();
        for operation in [
            Operation::Undefine { slot: 0 },
            Operation::Rename { slot: 0, name: 2 },
            Operation::Rename { slot: 1, name: 0 },
            Operation::Define { slot: 1, name: 2, existing: Existing::Replace },
            Operation::Power { slot: 0, action: PowerAction::Shutdown },
            Operation::Power { slot: 0, action: PowerAction::Reboot },
            Operation::Power { slot: 1, action: PowerAction::Resume },
        ] {
            assert!(!matches!(model.apply(operation), Expected::Done(_)), "{operation:?}");
            assert_eq!(model, before, "{operation:?}");
        }
    }
}
