//! The cases: a rule in one sentence, and a function that fails when a backend breaks it.

use std::fmt;
use std::panic::Location;

use futures_util::future::LocalBoxFuture;
use kvm_core::{Error, ErrorKind};

mod adopt;
mod announce;
mod block_job;
mod capability;
mod checkpoint;
mod console;
mod content;
mod define;
mod definition;
mod device;
mod filter;
mod guest;
mod host_device;
mod list;
mod migration;
mod name;
mod network;
mod network_entry;
mod note;
mod numa;
mod pool;
mod power;
mod random;
mod rename;
mod secret;
mod setup;
mod snapshot;
mod stats;
mod transient;
mod transport;
mod undefine;
mod volume;

use crate::cx::Cx;
use crate::rig::TransportBench;

/// One rule of the contract.
pub(crate) struct Case<C: 'static = Cx> {
    /// What part of the contract it belongs to.
    pub group: &'static str,
    /// The rule as a name.
    pub name: &'static str,
    /// The rule as a sentence.
    pub rule: &'static str,
    /// Names of machines that have to be there before.
    pub(crate) planted: fn() -> Vec<String>,
    /// Fails when the rule is broken.
    pub(crate) run: for<'a> fn(&'a C) -> LocalBoxFuture<'a, Outcome>,
}

impl<C> Case<C> {
    /// The name under which it is run and skipped: `group::name`.
    #[must_use]
    pub(crate) fn full_name(&self) -> String {
        format!("{}::{}", self.group, self.name)
    }
}

impl<C> fmt::Debug for Case<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("group", &self.group).field("name", &self.name).finish_non_exhaustive()
    }
}

/// What became of a case.
pub(crate) type Outcome = Result<(), Failure>;

/// Why a case failed, in words for whoever wrote the backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure(String);

impl Failure {
    #[track_caller]
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        let place = Location::caller();
        Self(format!("{message}\n  at {}:{}", place.file(), place.line()))
    }

    /// Says what it was about.
    pub(crate) fn about(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {self}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    #[track_caller]
    fn from(e: Error) -> Self {
        Self::new(format_args!("unexpected error: {}", chain(&e)))
    }
}

impl From<kvm_xml::XmlError> for Failure {
    #[track_caller]
    fn from(e: kvm_xml::XmlError) -> Self {
        Self::new(format_args!("unexpected error: {e}"))
    }
}

/// An error with its kind and all its causes.
pub(crate) fn chain(e: &Error) -> String {
    let mut text = format!("{}: {e}", e.kind());
    let mut cause = std::error::Error::source(e);
    while let Some(e) = cause {
        text += &format!("; because: {e}");
        cause = e.source();
    }
    text
}

/// Passes when a call was refused with this kind of error.
#[track_caller]
pub(crate) fn refused<T>(result: kvm_core::Result<T>, kind: ErrorKind) -> Outcome {
    match result {
        Err(e) if e.kind() == kind => Ok(()),
        Err(e) => Err(Failure::new(format_args!("expected {kind}, got {}", chain(&e)))),
        Ok(_) => Err(Failure::new(format_args!("expected {kind}, but it succeeded"))),
    }
}

/// Passes when both are equal.
#[track_caller]
pub(crate) fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted {
        Ok(())
    } else {
        Err(Failure::new(format_args!("{what}: expected {wanted:?}, found {found:?}")))
    }
}

/// Passes when the condition holds.
#[track_caller]
pub(crate) fn holds(what: &str, condition: bool) -> Outcome {
    if condition { Ok(()) } else { Err(Failure::new(format_args!("does not hold: {what}"))) }
}

/// Passes when the list is sorted by its key and has no key twice.
#[track_caller]
pub(crate) fn sorted<T, K: Ord + fmt::Debug>(what: &str, list: &[T], key: impl Fn(&T) -> K) -> Outcome {
    match list.windows(2).find(|pair| key(&pair[0]) >= key(&pair[1])) {
        None => Ok(()),
        Some(pair) => {
            let (first, second) = (key(&pair[0]), key(&pair[1]));
            Err(Failure::new(format_args!("{what}: {first:?} stands before {second:?}")))
        }
    }
}

/// Declares the cases of a group. The doc comment of a case is its rule.
macro_rules! cases {
    (
        $table:ident in $group:literal on $context:ty, planted $planted:expr;
        $($(#[doc = $rule:literal])+ async fn $name:ident($cx:ident) $body:block)+
    ) => {
        $(
            $(#[doc = $rule])+
            async fn $name($cx: &$context) -> $crate::case::Outcome $body
        )+

        pub(crate) const $table: &[$crate::case::Case<$context>] = &[$($crate::case::Case {
            group: $group,
            name: stringify!($name),
            rule: concat!($($rule),+),
            planted: $planted,
            run: |cx| Box::pin($name(cx)),
        }),+];
    };
    (
        $table:ident in $group:literal on $context:ty;
        $($rest:tt)+
    ) => {
        $crate::case::cases! { $table in $group on $context, planted Vec::new; $($rest)+ }
    };
}
pub(crate) use cases;

/// All cases about hosts, group by group.
pub(crate) fn host_cases() -> impl Iterator<Item = &'static Case> {
    [
        capability::CASES,
        list::CASES,
        definition::CASES,
        define::CASES,
        undefine::CASES,
        transient::CASES,
        power::CASES,
        rename::CASES,
        note::CASES,
        numa::CASES,
        stats::CASES,
        announce::CASES,
        device::attach::CASES,
        device::kind::CASES,
        device::resource::CASES,
        device::screen::CASES,
        block_job::CASES,
        guest::CASES,
        console::CASES,
        snapshot::CASES,
        checkpoint::CASES,
        migration::CASES,
        pool::CASES,
        volume::CASES,
        content::CASES,
        setup::CASES,
        secret::CASES,
        network::CASES,
        network_entry::CASES,
        filter::CASES,
        host_device::CASES,
        name::CASES,
        adopt::CASES,
        random::CASES,
    ]
    .into_iter()
    .flatten()
}

/// All cases about transports.
pub(crate) fn transport_cases() -> impl Iterator<Item = &'static Case<TransportBench>> {
    transport::CASES.iter()
}
