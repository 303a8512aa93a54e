//! Figures of a machine that look like those of a real one: a function of how long it has run and of its uuid, so that
//! the same moment always gives the same figures, counters never go back, and no two machines look alike.

use std::f64::consts::TAU;
use std::time::Duration;

use jiff::Timestamp;
use kvm_core::{Bytes, DiskStats, NicStats, VmId, VmStats};

use crate::document;
use crate::image;
use crate::machine::Machine;
use crate::world::World;

/// Memory of the emulator itself.
const OVERHEAD: f64 = 96.0 * 1024.0 * 1024.0;
/// What a boot reads from the first disk.
const BOOT_READS: f64 = 180.0 * 1024.0 * 1024.0;
/// Bytes of an average request, and of an average packet.
const REQUEST: f64 = 16.0 * 1024.0;
const PACKET: f64 = 900.0;

pub(crate) fn measure(world: &World, id: &VmId, machine: &Machine, now: Timestamp) -> VmStats {
    let document = machine.current();
    let (vcpus, memory, max_memory) =
        (document::vcpus(document), document::memory(document), document::max_memory(document));
    let ran = machine.ran(now).map(|ran| ran.as_secs_f64());
    let character = Character::of(id);
    let busy = machine.guest.load * f64::from(vcpus.unwrap_or(1));

    let disks = document::disks(document).into_iter().enumerate().map(|(index, disk)| {
        let file = world.file_behind(&disk).and_then(|file| world.files.get(&file));
        let counters = ran.map(|t| {
            let boot = if index == 0 { BOOT_READS * (1.0 - (-t / 20.0).exp()) } else { 0.0 };
            let writes = if disk.read_only { 0.0 } else { character.worked(t, busy * 400_000.0) };
            (boot + character.worked(t, busy * 900_000.0), writes)
        });
        let stats = DiskStats {
            capacity: file.map(|f| Bytes::new(image::probe(f).capacity)),
            allocation: file.map(|f| Bytes::new(f.allocated())),
            path: disk.path,
            read_bytes: counters.map(|(reads, _)| bytes(reads)),
            write_bytes: counters.map(|(_, writes)| bytes(writes)),
            read_requests: counters.map(|(reads, _)| (reads / REQUEST) as u64),
            write_requests: counters.map(|(_, writes)| (writes / REQUEST) as u64),
        };
        (disk.target, stats)
    });
    let nics = document::nics(document).into_iter().enumerate().map(|(index, nic)| {
        let counters = ran.map(|t| (character.worked(t, busy * 150_000.0), character.worked(t, busy * 60_000.0)));
        let stats = NicStats {
            receive_bytes: counters.map(|(received, _)| bytes(received)),
            transmit_bytes: counters.map(|(_, sent)| bytes(sent)),
            receive_packets: counters.map(|(received, _)| (received / PACKET) as u64),
            transmit_packets: counters.map(|(_, sent)| (sent / PACKET) as u64),
            errors: counters.map(|_| 0),
        };
        (nic.device.unwrap_or_else(|| index.to_string()), stats)
    });
    let used = |part: f64| memory.map(|m| m.get() as f64 * part);
    let filled = ran.map(|t| 0.25 + 0.5 * (1.0 - (-t / 300.0).exp()));

    VmStats {
        id: *id,
        name: machine.name.clone(),
        state: machine.state(),
        cpu_time: ran.map(|t| Duration::from_secs_f64(character.worked(t, busy))),
        vcpus,
        memory,
        max_memory,
        resident: filled.and_then(|part| used(part + 0.1)).map(|used| bytes(used + OVERHEAD)),
        guest_unused: machine.has_booted(now).then(|| used(1.0 - filled.unwrap_or_default()).map(bytes)).flatten(),
        disks: disks.collect(),
        nics: nics.collect(),
    }
}

fn bytes(count: f64) -> Bytes {
    Bytes::new(count as u64)
}

/// How a machine's load moves: around its mean, up and down by half of it, with a period and a phase of its own.
struct Character {
    period: f64,
    phase: f64,
}

impl Character {
    fn of(id: &VmId) -> Self {
        let [.., a, b] = *id.as_bytes();
        Self { period: 45.0 + f64::from(a), phase: TAU * f64::from(b) / 256.0 }
    }

    /// What a machine with this mean rate per second has done after so many seconds: the integral of
    /// `rate · (1 + sin(2πt / period + phase) / 2)`.
    fn worked(&self, seconds: f64, rate: f64) -> f64 {
        let angle = TAU * seconds / self.period + self.phase;
        let wave = self.period / (2.0 * TAU) * (self.phase.cos() - angle.cos());
        (rate * (seconds + wave)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_never_goes_back_and_follows_the_mean() {
        let character = Character::of(&VmId::parse("8fbf2b8e-3b3c-4b1e-9a51-0000000000c7").unwrap());
        let series: Vec<f64> = (0..4000).map(|second| character.worked(f64::from(second), 0.5)).collect();
        assert_eq!(series[0], 0.0);
        assert!(series.windows(2).all(|pair| pair[0] < pair[1]));
        assert!((series[3999] / 3999.0 - 0.5).abs() < 0.02);
    }
}
