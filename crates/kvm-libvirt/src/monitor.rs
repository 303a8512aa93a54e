//! QEMU asked directly, past libvirt: for what libvirt itself does not know.
//!
//! libvirt marks a machine for which that was done, and does not notice what changes. So nothing here is for daily use.

use kvm_core::ErrorKind;
use kvm_core::text::printable_within;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::config::Kind;
use crate::error::LibvirtError;
use crate::ffi::migrate;
use crate::machine::Machine;
use crate::task::{Failure, Task};

/// So much of what QEMU says is repeated in an error.
const SHOWN: usize = 300;

/// The monitor of a running machine's process.
pub(crate) struct Monitor<'a> {
    task: &'a Task<'a>,
    machine: &'a Machine,
}

#[derive(Deserialize)]
struct Reply<T> {
    #[serde(rename = "return")]
    returned: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    desc: String,
}

impl<'a> Monitor<'a> {
    /// The monitor of a machine that nobody works on. `Unsupported` without QEMU. `Busy` while libvirt itself is at work on
    /// it: that goes on when its client is gone, and it lets questions through meanwhile.
    pub(crate) fn open(task: &'a Task<'a>, machine: &'a Machine) -> Result<Self, Failure> {
        if task.address().kind() == Kind::Test {
            return Err(task.error(ErrorKind::Unsupported, "the test driver has no processes to ask").into());
        }
        let (job, _) = migrate::job(&machine.domain, 0).map_err(|e| task.unless_off(machine, e))?;
        if job != virt::sys::VIR_DOMAIN_JOB_NONE {
            let message = format!("the hypervisor is at work on {}", task.resource());
            return Err(task.error(ErrorKind::Busy, message).into());
        }
        Ok(Self { task, machine })
    }

    /// Asks for something that needs no arguments.
    pub(crate) fn ask<T: DeserializeOwned>(&self, command: &str) -> Result<T, Failure> {
        self.run(command, &json!({}))
    }

    /// Has QEMU do something that has no answer.
    pub(crate) fn order(&self, command: &str, arguments: &Value) -> Result<(), Failure> {
        self.run::<Value>(command, arguments).map(drop)
    }

    /// Has QEMU do something. `InvalidState`, with QEMU's own words, when it refuses.
    pub(crate) fn run<T: DeserializeOwned>(&self, command: &str, arguments: &Value) -> Result<T, Failure> {
        let request = json!({ "execute": command, "arguments": arguments }).to_string();
        let sent = self.machine.domain.qemu_monitor_command(&request, 0);
        let text = sent.map_err(|e| self.task.unless_off(self.machine, LibvirtError::from(e)))?;
        let nonsense =
            || self.task.error(ErrorKind::Internal, format!("the answer of QEMU to {command} makes no sense"));
        let reply: Reply<T> = serde_json::from_str(&text).map_err(|e| nonsense().with_source(e))?;
        match reply {
            Reply { error: Some(refusal), .. } => {
                let message = format!("QEMU refuses {command} for {}", self.task.resource());
                let detail = printable_within(&refusal.desc, SHOWN).to_string();
                Err(self.task.error(ErrorKind::InvalidState, message).with_detail(detail).into())
            }
            Reply { returned: Some(returned), .. } => Ok(returned),
            Reply { .. } => Err(nonsense().into()),
        }
    }
}
