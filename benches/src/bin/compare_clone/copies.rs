//! Whole copies.

use std::time::{Duration, Instant};

use kvm_benches::sshd::{Outcome, command, done};
use kvm_clone::{Compress, ImageTransfer, Transferred, Watch};
use kvm_core::op::Pace;
use kvm_core::{DiskPath, Silent, SystemClock};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use crate::{Bench, median, print};

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Ours,
    Rsync,
    Scp,
    Cat,
    Convert,
}

const WAYS: [Way; 5] = [Way::Ours, Way::Rsync, Way::Scp, Way::Cat, Way::Convert];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "kvm-clone",
            Self::Rsync => "rsync -S",
            Self::Scp => "scp",
            Self::Cat => "ssh cat",
            Self::Convert => "qemu-img convert, NBD",
        }
    }
}

pub(crate) async fn compare(bench: &Bench, rounds: usize) -> Outcome<()> {
    let (mut times, mut cpu) = (WAYS.map(|_| Vec::new()), WAYS.map(|_| Vec::new()));
    let mut sent = Transferred::default();
    for round in 0..=rounds {
        for (at, way) in WAYS.iter().enumerate() {
            bench.clear()?;
            let (begin, busy) = (Instant::now(), busy()?);
            if let Some(took) = bench.copy(*way, &bench.sshd.at("to/image.raw")).await? {
                sent = took;
            }
            // The first round only warms caches.
            if round > 0 {
                times[at].push(begin.elapsed());
                cpu[at].push(busy_since(busy)?);
            }
            bench.check(*way, round == 0).await?;
        }
    }
    let (peer, peer_cpu) = (median(&times[1]), median(&cpu[1]));
    for ((way, times), cpu) in WAYS.iter().zip(times).zip(cpu) {
        let cpu = median(&cpu);
        print(way.name(), times, peer, &format!("   CPU {cpu:.1}, of rsync {:.2}", cpu / peer_cpu));
    }
    println!("  ours sent {} of {} as {} on the way", sent.data, sent.length, sent.wire);
    Ok(())
}

impl Bench {
    async fn copy(&self, way: Way, to: &str) -> Outcome<Option<Transferred>> {
        let (from, there) = (self.sshd.at("image.raw"), self.sshd.target());
        let (options, port) = (self.sshd.options(), self.sshd.port());
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        match way {
            Way::Ours => return self.send(&from, to).await.map(Some),
            Way::Rsync => done("rsync", &["-S", "-e", &self.ssh(), &from, &format!("{there}:{to}")]).await?,
            Way::Scp => {
                let place = format!("{there}:{to}");
                done("scp", &[&options[..], &["-q", "-P", &port, &from, &place]].concat()).await?
            }
            Way::Cat => {
                let cat = format!("cat > {to}");
                let mut ssh = command("ssh");
                let ssh = ssh.args(options).args(["-p", &port, &there, &cat]).stdin(std::fs::File::open(from)?);
                ended("ssh", ssh.status().await?)?
            }
            Way::Convert => self.convert(&from, to).await?,
        };
        Ok(None)
    }

    pub(crate) async fn send(&self, from: &str, to: &str) -> Outcome<Transferred> {
        let (from, to): (DiskPath, DiskPath) = (from.parse()?, to.parse()?);
        let transfer = ImageTransfer {
            source: &self.here,
            from: &from,
            is_qcow2: from.as_str().ends_with(".qcow2"),
            target: &self.there,
            to: &to,
            limit: None,
            compression: Compress::Auto,
            resume: false,
        };
        let cancel = CancellationToken::new();
        let pace = Pace::default();
        let watch = Watch { reporter: &Silent, title: "", clock: &SystemClock, cancel: &cancel, pace: &pace };
        Ok(transfer.run(watch).await?)
    }

    /// As people do it with QEMU's own tools: a server of blocks on the other host, reached through a socket that SSH
    /// forwards. It takes no room for holes either.
    async fn convert(&self, from: &str, to: &str) -> Outcome<String> {
        let (here, there) = (self.sshd.path("here.sock"), self.sshd.at("there.sock"));
        let forward = format!("{}:{there}", here.display());
        let serve = format!("truncate -s {}M {to} && exec qemu-nbd -f raw -k {there} {to}", self.mib);
        let mut ssh = command("ssh");
        let ssh = ssh.args(self.sshd.options()).args([
            "-o",
            "StreamLocalBindUnlink=yes",
            "-p",
            &self.sshd.port(),
            "-L",
            &forward,
        ]);
        let mut server = ssh.args([&self.sshd.target(), &serve]).kill_on_drop(true).spawn()?;
        // The forwarded socket is there before the server's is.
        while std::fs::metadata(&there).is_err() || UnixStream::connect(&here).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let target = format!("nbd:unix:{}", here.display());
        done("qemu-img", &["convert", "-n", "-W", "-f", "raw", "-O", "raw", "--target-is-zero", from, &target]).await?;
        server.kill().await?;
        std::fs::remove_file(there).or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(e),
        })?;
        Ok(String::new())
    }

    /// The copy is as long as the image, and once it is compared.
    async fn check(&self, way: Way, compare: bool) -> Outcome<()> {
        let (copy, image) = (self.sshd.at("to/image.raw"), self.sshd.at("image.raw"));
        let length = |name: &str| std::fs::metadata(name).map(|about| about.len());
        if length(&copy)? != length(&image)? {
            return Err(format!("the copy of {} has another length", way.name()).into());
        }
        match compare {
            true => done("cmp", &[&copy, &image]).await.map(drop),
            false => Ok(()),
        }
    }
}

fn ended(name: &str, status: std::process::ExitStatus) -> Outcome<String> {
    match status.success() {
        true => Ok(String::new()),
        false => Err(format!("{name} ended with {status}").into()),
    }
}

/// For how long the machine's CPUs were busy since it started, in ticks of 10 ms.
fn busy() -> Outcome<u64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq
    Ok(ticks.iter().take(3).sum::<u64>() + ticks.iter().skip(5).take(2).sum::<u64>())
}

fn busy_since(before: u64) -> Outcome<Duration> {
    Ok(Duration::from_millis((busy()? - before) * 10))
}
