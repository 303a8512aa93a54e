//! The knobs for tests: faults, delays, what guests do by themselves, and what the traits cannot ask.

use std::collections::BTreeMap;
use std::time::Duration;

use kvm_core::{
    Bytes, CheckpointSpec, Dial, Error, ErrorKind, Existing, HostDeviceName, Overlay, PowerAction, Resource, Result,
    SnapshotName, VmId,
};
use kvm_xml::{Document as _, Domain, NodeDevice};

use crate::agent::AgentAnswer;
use crate::fault::{Call, Fault, Method};
use crate::machine::GuestAction;
use crate::migration::Share;
use crate::mock::{Access, Mock, locked};
use crate::transport::{Listener, Script};

/// A file of a simulated host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileInfo {
    /// How long it is.
    pub length: Bytes,
    /// What it takes.
    pub allocated: Bytes,
    /// Permission bits.
    pub mode: u32,
}

impl Mock {
    /// Lets a call fail.
    pub fn inject(&self, fault: Fault) {
        locked(&self.0.faults).inject(fault);
    }

    /// Lets the next call of this method fail before it does anything.
    pub fn fail_next(&self, method: Method, kind: ErrorKind) {
        self.inject(Fault::next(method, kind));
    }

    /// Lets the `n`th call from now fail before it does anything, whichever it is; 1 is the next.
    pub fn fail_at(&self, n: u64, kind: ErrorKind) {
        self.inject(Fault::nth(n, kind));
    }

    /// The calls so far, oldest first; at most the latest ten thousand.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.0.faults).calls()
    }

    /// Begins a new record of calls.
    pub fn forget_calls(&self) {
        locked(&self.0.faults).forget_calls();
    }

    /// Makes every call take so long, by the host's clock.
    pub fn set_latency(&self, latency: Duration) {
        *locked(&self.0.latency) = latency;
    }

    /// Lets the host run a helper, or none any more.
    pub fn run_helper(&self, runs: bool) -> Result<()> {
        self.0.with(Access::Change, |world, _| {
            world.host.helper = runs;
            Ok(())
        })
    }

    /// Directories that somebody made.
    pub fn directories(&self) -> Result<Vec<String>> {
        self.0.with(Access::Read, |world, _| Ok(world.directories.iter().cloned().collect()))
    }

    /// Holds an action back until [`release`](Self::release): a shutdown that is asked for begins and does not end
    /// (`shutting-down`), any other call of this action does not return.
    pub fn hold(&self, action: PowerAction) {
        self.0.held.send_modify(|held| {
            held.insert(action);
        });
    }

    /// Lets everything that is held happen.
    pub fn release(&self) -> Result<()> {
        self.0.held.send_modify(std::collections::HashSet::clear);
        self.0.with(Access::Change, |world, now| {
            let ids: Vec<_> = world.machines.keys().copied().collect();
            for id in ids {
                let changes = world.machine_mut(&id)?.release();
                if !changes.is_empty() {
                    world.happened(&id, changes, now);
                }
            }
            Ok(())
        })
    }

    /// Holds migrations from this host back shortly before their end, until [`let_migrate`](Self::let_migrate) or until
    /// they are cancelled.
    pub fn hold_migrations(&self) {
        self.0.traffic.send_modify(|traffic| traffic.held = true);
    }

    /// Lets migrations go on that were held.
    pub fn let_migrate(&self) {
        self.0.traffic.send_modify(|traffic| traffic.held = false);
    }

    /// Has this host lack a CPU model.
    pub fn lack_cpu(&self, model: &str) {
        self.0.traffic.send_modify(|traffic| {
            traffic.lacking.insert(model.to_owned());
        });
    }

    /// Lets another host see a directory of this one as its own, in place of what it has there. Only for hosts that are
    /// kept in no state file.
    pub fn share_directory(&self, with: &Self, directory: &str) -> Result<()> {
        let share = self.0.with(Access::Read, |world, _| Ok(Share::new(directory, world)))?;
        for mock in [self, with] {
            locked(&mock.0.shares).push(share.clone());
        }
        Ok(())
    }

    /// Loses the connection: subscribers get `Disconnected`, and every call is `Unavailable` until
    /// [`reconnect`](Self::reconnect). Machines go on.
    pub fn disconnect(&self) -> Result<()> {
        self.0.with(Access::Change, |world, _| {
            world.events.set_connected(false);
            Ok(())
        })
    }

    /// Gains the connection again: subscribers get `Resynced`, and nothing of what happened in between.
    pub fn reconnect(&self) -> Result<()> {
        self.0.with(Access::Change, |world, _| {
            world.events.set_connected(true);
            Ok(())
        })
    }

    /// Lets a guest do something by itself. `NotFound`, `InvalidState` when it does not run.
    pub fn act(&self, id: &VmId, action: GuestAction) -> Result<()> {
        self.0.guest_acts(id, action)
    }

    /// How long a guest takes to obey a request to shut down or reboot (2 s unless told otherwise); `None` for one
    /// that does not listen. `NotFound`.
    pub fn set_obedience(&self, id: &VmId, obeys_in: Option<Duration>) -> Result<()> {
        self.0.with(Access::Change, |world, _| {
            world.machine_mut(id)?.guest.obeys_in = obeys_in;
            Ok(())
        })
    }

    /// What a guest's agent answers: the truth unless told otherwise. `NotFound`.
    pub fn set_agent_answer(&self, id: &VmId, answer: AgentAnswer) -> Result<()> {
        self.0.with(Access::Change, |world, _| {
            world.machine_mut(id)?.guest.answer = answer;
            Ok(())
        })
    }

    /// Defines a machine as somebody else would: with a name that this program would refuse for a new one. `AlreadyExists`,
    /// `InvalidInput`.
    pub fn plant(&self, xml: &str) -> Result<VmId> {
        let document = Domain::from_xml(xml).map_err(|e| Error::invalid("xml", "is no domain").with_source(e))?;
        self.0.with(Access::Change, |world, _| world.define(&document, Existing::Reject).map(|(id, _)| id))
    }

    /// Puts a device into the host, or in the place of the one that has its name. `InvalidInput`.
    pub fn plant_device(&self, xml: &str) -> Result<HostDeviceName> {
        let document = NodeDevice::from_xml(xml).map_err(|e| Error::invalid("xml", "is no device").with_source(e))?;
        self.0.with(Access::Change, |world, _| world.plant_device(document))
    }

    /// Adds a checkpoint record after the others. `NotFound`.
    pub fn plant_checkpoint(&self, id: &VmId, name: &SnapshotName) -> Result<()> {
        self.0.with(Access::Change, |world, now| world.checkpoint(id, &CheckpointSpec::new(name.clone()), now))
    }

    /// Has a running machine go on in a new overlay that its documents do not name, as when a hypervisor dies in the middle
    /// of a snapshot. `NotFound`, `InvalidState` when it is off.
    pub fn stray(&self, id: &VmId, into: &Overlay) -> Result<()> {
        self.0.with(Access::Change, |world, _| world.stray(id, into))
    }

    /// Merges the overlay that a running machine is in and has it go on in the image below, which its documents do not say,
    /// as when a hypervisor dies at the end of a merge. `NotFound`, `InvalidState` when it is off.
    pub fn leave_unnoticed(&self, id: &VmId, overlay: &Overlay) -> Result<()> {
        self.0.with(Access::Change, |world, _| world.leave_unnoticed(id, overlay))
    }

    /// All files of the host, by path: volumes, firmware variables, TPM states, saved states and what was written
    /// there. For comparing what a host held before and after.
    pub fn files(&self) -> Result<BTreeMap<String, FileInfo>> {
        self.0.with(Access::Read, |world, _| {
            let info = |file: &crate::file::SparseFile| FileInfo {
                length: Bytes::new(file.len()),
                allocated: Bytes::new(file.allocated()),
                mode: file.mode(),
            };
            Ok(world.files.iter().map(|(path, file)| (path.clone(), info(file))).collect())
        })
    }

    /// Reads a part of a file, as much as there is. `NotFound`.
    pub fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.0.with(Access::Read, |world, _| {
            world.files.get(path).map(|file| file.read(offset, length)).ok_or_else(|| no_such_file(path))
        })
    }

    /// Writes into a file, as a guest writes to its disk. `NotFound`.
    pub fn write_at(&self, path: &str, offset: u64, data: &[u8]) -> Result<()> {
        self.0.with(Access::Change, |world, _| {
            world.files.get_mut(path).map(|file| file.write(offset, data)).ok_or_else(|| no_such_file(path))
        })
    }

    /// Gives the host a program.
    pub fn add_program(&self, script: Script) {
        self.0.programs.add(script);
    }

    /// Listens on a socket of the host; a listener that was there before is replaced.
    pub fn listen(&self, at: Dial) -> Listener {
        self.0.sockets.listen(at)
    }
}

fn no_such_file(path: &str) -> Error {
    Error::new(ErrorKind::NotFound, "no such file").on(Resource::File(path.to_owned()))
}
