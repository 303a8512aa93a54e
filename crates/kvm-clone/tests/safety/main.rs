//! The proofs of safety of what moves images: the engine as it is, the real helper on both sides in this process, and
//! between them a way that flips bits and breaks at any byte.
//!
//! `docs/safety.md` says what each of them proves. Each prints its total; `scripts/prove-safety.sh` runs the long forms and
//! collects them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what was found is for people, and for a script")]

mod bench;
mod cuts;
mod flips;
mod full;
mod track;
mod way;
