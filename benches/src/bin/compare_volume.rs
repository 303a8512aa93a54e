//! Sends a volume to a host and fetches it again, with `kvmctl` and with `virsh`, interleaved, and prints the medians and
//! their ratio.
//!
//! `compare_volume KVMCTL SOCKET [ROUNDS] [MIB]`: a release build of kvmctl, the socket of a libvirtd with a pool `default`,
//! how many rounds (9), and how much is stored of the volume (512), which has as much again in holes.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring program starts programs and prints")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kvm_benches::quartiles;

const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(kvmctl), Some(socket)) = (args.next(), args.next()) else {
        return Err("usage: compare_volume KVMCTL SOCKET [ROUNDS] [MIB]".into());
    };
    let rounds: usize = args.next().map_or(Ok(9), |n| n.parse())?;
    let stored: u64 = args.next().map_or(Ok(512), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let bench = Bench { kvmctl, uri: format!("qemu+unix:///system?socket={socket}"), socket, state: text(dir.path()) };
    let file = dir.path().join("disk.raw");
    fill(&file, stored)?;
    let (from, ours, theirs) = (text(&file), text(&dir.path().join("ours")), text(&dir.path().join("theirs")));
    let size = format!("{}M", stored * 2);

    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..=rounds {
        let mut took = [Duration::ZERO; 4];
        took[0] = bench.kvmctl(&["vol", "upload", "default/bench-ours.raw", &from])?;
        bench.virsh(&[
            "vol-create-as",
            "default",
            "bench-theirs.raw",
            &size,
            "--allocation",
            "0",
            "--format",
            "raw",
        ])?;
        took[1] = bench.virsh(&["vol-upload", "--sparse", "--pool", "default", "bench-theirs.raw", &from])?;
        took[2] = bench.kvmctl(&["vol", "download", "default/bench-ours.raw", &ours])?;
        took[3] = bench.virsh(&["vol-download", "--sparse", "--pool", "default", "bench-theirs.raw", &theirs])?;
        for volume in ["bench-ours.raw", "bench-theirs.raw"] {
            bench.virsh(&["vol-delete", volume, "--pool", "default"])?;
        }
        if std::fs::read(&ours)? != std::fs::read(&from)? {
            return Err("what came back is something else".into());
        }
        std::fs::remove_file(&ours)?;
        std::fs::remove_file(&theirs)?;
        // The first round only warms caches.
        if round > 0 {
            times.iter_mut().zip(took).for_each(|(times, took)| times.push(took));
        }
    }
    println!("{stored} MiB stored, {stored} MiB of holes; {rounds} interleaved rounds; median [middle half]");
    let [up, their_up, down, their_down] = times.map(quartiles);
    report("upload", up, their_up);
    report("download", down, their_down);
    Ok(())
}

fn report(what: &str, ours: [Duration; 3], theirs: [Duration; 3]) {
    for (who, [low, median, high]) in [("kvmctl", ours), ("virsh", theirs)] {
        println!("  {what:<8} {who:<6} {median:>9.1?}  [{low:.1?} .. {high:.1?}]");
    }
    println!("  {what:<8} speed of kvmctl in that of virsh: {:.2}", theirs[1].as_secs_f64() / ours[1].as_secs_f64());
}

struct Bench {
    kvmctl: String,
    socket: String,
    uri: String,
    state: String,
}

impl Bench {
    fn kvmctl(&self, words: &[&str]) -> Result<Duration, Box<dyn Error>> {
        let globals = [self.kvmctl.as_str(), "-c", "qemu:///system", "--socket", &self.socket];
        self.run(&[&globals[..], words].concat())
    }

    fn virsh(&self, words: &[&str]) -> Result<Duration, Box<dyn Error>> {
        self.run(&[&["virsh", "-q", "-c", &self.uri], words].concat())
    }

    fn run(&self, argv: &[&str]) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).env("XDG_STATE_HOME", &self.state).stdin(Stdio::null()).stdout(Stdio::null());
        let status = command.status()?;
        let took = start.elapsed();
        if status.success() { Ok(took) } else { Err(format!("{} ended with {status}", argv.join(" ")).into()) }
    }
}

/// Data and holes in turn, 8 MiB each, and no two blocks of data alike.
fn fill(path: &Path, stored: u64) -> std::io::Result<()> {
    let file = File::create(path)?;
    let mut state = 1_u64;
    for piece in 0..stored {
        let block: Vec<u8> = (0..MIB / 8)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        file.write_all_at(&block, (piece / 8 * 16 + piece % 8) * MIB)?;
    }
    file.set_len(stored * 2 * MIB)?;
    file.sync_all()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
