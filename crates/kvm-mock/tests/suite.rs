//! The contract suite itself: it runs through decorators, finds broken rules, and keeps lists of skips honest.
#![allow(missing_docs, reason = "tests")]

#[path = "rig/forward.rs"]
mod forward;
#[path = "rig/world.rs"]
mod world;

use forward::forward;
use kvm_contract::{Arguments, Conclusion, run, through};
use kvm_core::PowerAction;
use world::MockRig;

/// The arguments for all cases whose name contains this. What they say of failures that are wanted goes nowhere.
fn only(filter: &str) -> Arguments {
    Arguments { filter: Some(filter.to_owned()), logfile: Some("/dev/null".to_owned()), ..Arguments::default() }
}

fn counts(conclusion: &Conclusion) -> (u64, u64, u64) {
    (conclusion.num_passed, conclusion.num_failed, conclusion.num_ignored)
}

#[test]
fn a_decorator_that_passes_everything_on_keeps_the_contract() {
    let conclusion = run(through(MockRig, forward(|_, answer| answer)), "", &only("::"));
    let (passed, failed, ignored) = counts(&conclusion);
    assert_eq!((failed, ignored), (0, 0));
    assert!(passed > 140, "{passed}");
}

#[test]
fn a_backend_that_breaks_a_rule_fails_its_case() {
    let forgives_second_start = forward(|action, answer| if action == PowerAction::Start { Ok(()) } else { answer });
    let conclusion = run(through(MockRig, forgives_second_start), "", &only("power::start"));
    // Starting and starting paused work as they should.
    assert_eq!(counts(&conclusion), (2, 1, 0));
}

#[test]
fn random_sequences_find_what_single_cases_do_not_look_for() {
    let forgives_all = forward(|_, _| Ok(()));
    let conclusion = run(through(MockRig, forgives_all), "", &only("model::"));
    assert_eq!(counts(&conclusion), (0, 1, 0));
}

#[test]
fn a_skip_that_is_not_needed_or_not_known_fails() {
    let skips = "events::no_such_case # why\npower::start_runs # it does, though\n";
    let conclusion = run(MockRig, skips, &only("s"));
    let (_, failed, ignored) = counts(&conclusion);
    assert_eq!((failed, ignored), (2, 1));
}

#[test]
fn a_skip_that_is_needed_is_ignored() {
    let refuses_resets = forward(|action, answer| match action {
        PowerAction::Reset => Err(kvm_core::Error::new(kvm_core::ErrorKind::Unsupported, "not here")),
        _ => answer,
    });
    let skips = "power::a_reset_leaves_it_running # this backend has no button\n";
    let conclusion = run(through(MockRig, refuses_resets), skips, &only("_it_running"));
    assert_eq!(counts(&conclusion), (1, 0, 1));
    let refuses_resets = forward(|_, answer| answer);
    let conclusion = run(through(MockRig, refuses_resets), skips, &only("skips::every"));
    assert_eq!(counts(&conclusion), (0, 1, 0));
}
