//! Points at which this process can be made to die, as if it were killed with `kill -9`: for the proof that whatever
//! comes next completes or takes back what was under way. Compiled with the feature `failpoints` alone.
//!
//! `KVM_FAILPOINT=NAME` has the process die there, `KVM_FAILPOINT_LOG=FILE` writes down each point that it gets to. A
//! name is what happens and, behind `#`, for which time: `journal.intent.transfer-image.after#2`. There are such points
//! before and after each line of a journal, each step, and each question to a helper; and after each block and answer.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use kvm_core::op::{Hook, Moment, Verdict};
use rustix::process::{Signal, getpid, kill_process};

use crate::environment;

mod conversation;
mod journal;

pub(crate) use conversation::watched;
pub(crate) use journal::watched as journal;

/// What was asked for.
struct Asked {
    die_at: Option<String>,
    log: Option<PathBuf>,
    reached: Mutex<BTreeMap<String, usize>>,
}

/// The process gets to a point.
pub(crate) fn at(point: &str) {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    let asked = ASKED.get_or_init(|| Asked {
        die_at: environment::variable("KVM_FAILPOINT"),
        log: environment::variable("KVM_FAILPOINT_LOG").map(PathBuf::from),
        reached: Mutex::default(),
    });
    let mut reached = asked.reached.lock().unwrap_or_else(PoisonError::into_inner);
    let times = reached.entry(point.to_owned()).or_default();
    *times += 1;
    let name = format!("{point}#{times}");
    if let Some(log) = &asked.log
        && let Ok(mut file) = OpenOptions::new().create(true).append(true).open(log)
    {
        // Whoever reads the log sees what is missing in it.
        let _shorter = file.write_all(format!("{name}\n").as_bytes());
    }
    if asked.die_at.as_ref() == Some(&name) {
        // Nothing is tidied up by whoever is killed; the lock is held, so that no other thread gets further.
        let _sent = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

/// The points around steps.
#[derive(Debug)]
pub(crate) struct Steps;

#[async_trait]
impl Hook for Steps {
    async fn at(&self, moment: Moment, _: usize, name: &str) -> Verdict {
        at(&match moment {
            Moment::Before => format!("step.{name}.before"),
            Moment::After => format!("step.{name}.after"),
            Moment::BeforeUndo => format!("undo.{name}.before"),
            Moment::AfterUndo => format!("undo.{name}.after"),
        });
        Verdict::Continue
    }
}
