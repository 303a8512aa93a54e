//! Operations: changes of more than one step that survive a crash.
//!
//! An engine makes a [`Plan`]: pure data that can be shown (`Display` *is* the dry run). An [`Executor`] carries it
//! out step by step, and writes to the journal before and after each:
//!
//! ```text
//!            every step done
//!   Running ───────────────▶ Succeeded
//!     │  │ error or cancel before the point of no return
//!     │  └──────────────────▶ Undoing ──▶ Undone | Cancelled
//!     │ error after it           │ an undo went wrong
//!     └────────────▶ NeedsAttention ◀┘        (resume or undo try again)
//!
//!   owner died anywhere ──▶ Interrupted ──▶ undo before the point of no return, resume after it
//! ```
//!
//! After a crash nobody knows whether the step that was under way happened. So each [`Step`] can [`probe`](Step::probe)
//! what is true now, and the journal says what was true before: what existed before a step began is never undone.
//!
//! Steps are done one after the other, except neighbours that say that they may be under way at the same time
//! ([`Step::at_once`]): several images on their way to another host.
//!
//! Locks are held per host and machine for as long as an operation runs. The next changing operation on a machine
//! finds an interrupted one, finishes it one way or the other, and then goes on.

mod executor;
mod journal;
mod lock;
mod memory;
mod pace;
mod peer;
mod plan;
mod replay;
mod step;
mod store;
#[cfg(feature = "test-template")]
pub mod template;

pub use executor::{Direction, Executor, Hook, Moment, Outcome, RunContext, Verdict};
pub use journal::{Entry, ErrorRecord, Header, OpId, Owner, Record, StepRecord};
pub use lock::{LockGuard, LockKey};
pub use memory::MemoryStore;
pub use pace::Pace;
pub use peer::{KnownHosts, Peer, Peers};
pub use plan::{Plan, PlanLine};
pub use replay::{OpStatus, OpView, StepState};
pub use step::{Already, Attempt, Catalogue, Decode, Probe, Step, StepContext};
pub use store::{FileStore, Journal, Store};
