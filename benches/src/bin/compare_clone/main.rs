//! Copies one disk image to another host beside `rsync -S`, `scp`, `ssh cat` and `qemu-img convert` into an NBD server behind
//! SSH, with the same SSH server, interleaved, and prints the medians and their ratio to rsync. Then brings copies up to date:
//! after 1 % of the image has changed, with and without a bitmap of QEMU's that says where, and after nothing has.
//!
//! `compare_clone HELPER [ROUNDS [MIB [PART]]]`: the program `kvm-helper`, how many rounds (5), how large the image is (4096),
//! and `copies` or `changes` for one part alone. 40 % of the image is allocated, half of that cannot be compressed. Needs
//! `sshd`, `ssh`, `scp`, `rsync`, `ssh-keygen`, `qemu-img`, `qemu-io` and `qemu-nbd`; the server runs on the loopback
//! interface, as whoever runs this. CPU seconds are those of the whole machine meanwhile, both sides together, so nothing
//! else should run.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a measuring program prints")]

mod changes;
mod copies;
mod image;

use std::time::Duration;

use kvm_benches::quartiles;
use kvm_benches::sshd::{Outcome, Sshd};
use kvm_ssh::{LocalTransport, SshTransport};

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let helper = args.next().ok_or("compare_clone HELPER [ROUNDS [MIB [PART]]]")?;
    let rounds: usize = args.next().map_or(Ok(5), |n| n.parse())?;
    let mib: u64 = args.next().map_or(Ok(4096), |n| n.parse())?;
    let part = args.next();
    let bench = Bench::start(helper, mib).await?;
    println!("{rounds} interleaved rounds of an image of {mib} MiB, 40 % allocated; seconds, median [middle half]");
    let does = |name: &str| part.as_deref().is_none_or(|part| part == name);
    if does("copies") {
        copies::compare(&bench, rounds).await?;
    }
    if does("changes") {
        changes::compare(&bench, rounds).await?;
    }
    Ok(())
}

/// An image, an SSH server, and a directory `to` for copies.
struct Bench {
    sshd: Sshd,
    helper: String,
    mib: u64,
    here: LocalTransport,
    /// Goes on with its connections, as a program that copies several images does.
    there: SshTransport,
}

impl Bench {
    async fn start(helper: String, mib: u64) -> Outcome<Self> {
        let sshd = Sshd::start().await?;
        std::fs::create_dir(sshd.path("to"))?;
        image::make(&sshd.path("image.raw"), mib)?;
        let there = sshd.transport(Some(&helper))?;
        Ok(Self { here: LocalTransport::with_helper(&helper), there, sshd, helper, mib })
    }

    /// `ssh` with all of its options, as rsync takes it.
    fn ssh(&self) -> String {
        format!("ssh {} -p {}", self.sshd.options().join(" "), self.sshd.port())
    }

    /// Takes the copies away, and has the disk finish what is under way, so that nobody pays for the one before.
    fn clear(&self) -> Outcome<()> {
        for entry in std::fs::read_dir(self.sshd.path("to"))? {
            std::fs::remove_file(entry?.path())?;
        }
        rustix::fs::sync();
        Ok(())
    }
}

/// Prints one line of figures; `peer` is the median of rsync.
fn print(name: &str, times: Vec<Duration>, peer: f64, more: &str) {
    let [low, median, high] = quartiles(times).map(|time| time.as_secs_f64());
    println!("  {name:<24} {median:>6.2}  [{low:.2} .. {high:.2}]   of rsync {:.2}{more}", median / peer);
}

fn median(times: &[Duration]) -> f64 {
    quartiles(times.to_vec())[1].as_secs_f64()
}
