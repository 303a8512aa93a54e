//! Copies one disk image to another host beside `rsync -S`, `scp` and `ssh cat`, with the same server, interleaved, and
//! prints the medians and their ratio to rsync. Then the same of bringing the copy up to date after 1 % of the image has
//! changed in pieces of 64 KiB, beside `rsync --inplace --no-whole-file`.
//!
//! `compare_clone HELPER [ROUNDS [MIB]]`: the program `kvm-helper`, how many rounds (5), and how large the image is (4096).
//! 40 % of it is allocated, half of that cannot be compressed. Needs `sshd`, `ssh`, `scp`, `rsync` and `ssh-keygen`; the
//! server runs on the loopback interface, as whoever runs this. CPU seconds are those of the whole machine meanwhile,
//! both sides together, so nothing else should run.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring program starts programs and prints")]

use std::error::Error;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_benches::quartiles;
use kvm_clone::{Compress, ImageTransfer, ImageUpdate, Transferred, Updated, Watch};
use kvm_core::op::Pace;
use kvm_core::{DiskPath, Silent, SystemClock, SystemEntropy};
use kvm_ssh::{LocalTransport, NoPrompt, SshOptions, SshTransport};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const MIB: u64 = 1 << 20;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let helper = args.next().ok_or("compare_clone HELPER [ROUNDS [MIB]]")?;
    let rounds: usize = args.next().map_or(Ok(5), |n| n.parse())?;
    let mib: u64 = args.next().map_or(Ok(4096), |n| n.parse())?;
    let bench = Bench::start(&helper, mib).await?;
    println!("{rounds} interleaved rounds of an image of {mib} MiB, 40 % allocated; seconds, median [middle half]");
    let ways = [Way::Ours, Way::Rsync, Way::Scp, Way::Cat];
    let mut times = ways.map(|_| Vec::new());
    let mut cpu = ways.map(|_| Vec::new());
    let mut sent = Transferred::default();
    for round in 0..=rounds {
        for (at, way) in ways.iter().enumerate() {
            bench.clear()?;
            let (begin, busy) = (Instant::now(), busy()?);
            if let Some(took) = bench.copy(*way).await? {
                sent = took;
            }
            // The first round only warms caches.
            if round > 0 {
                times[at].push(begin.elapsed());
                cpu[at].push(busy_since(busy)?);
            }
            bench.check(*way)?;
        }
    }
    let peer = quartiles(times[1].clone())[1].as_secs_f64();
    let peer_cpu = quartiles(cpu[1].clone())[1].as_secs_f64();
    for ((way, times), cpu) in ways.iter().zip(times).zip(cpu) {
        let [low, median, high] = quartiles(times).map(|time| time.as_secs_f64());
        let cpu = quartiles(cpu)[1].as_secs_f64();
        println!(
            "  {:<10} {median:>6.2}  [{low:.2} .. {high:.2}]   of rsync {:.2}   CPU {cpu:.1}, of rsync {:.2}",
            way.name(),
            median / peer,
            cpu / peer_cpu
        );
    }
    println!("  ours sent {} of {} as {} on the way", sent.data, sent.length, sent.wire);
    bench.delta(rounds, mib).await
}

#[derive(Clone, Copy)]
enum Way {
    Ours,
    Rsync,
    Scp,
    Cat,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Ours => "kvm-clone",
            Self::Rsync => "rsync -S",
            Self::Scp => "scp",
            Self::Cat => "ssh cat",
        }
    }
}

/// An image, an SSH server with keys of its own, and a place for copies.
struct Bench {
    dir: TempDir,
    port: u16,
    user: String,
    here: LocalTransport,
    there: SshTransport,
    _sshd: Child,
}

impl Bench {
    async fn start(helper: &str, mib: u64) -> Outcome<Self> {
        let dir = tempfile::tempdir_in("/var/tmp")?;
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::create_dir(at("to"))?;
        image(&dir.path().join("image.raw"), mib)?;
        for key in ["host_key", "user_key"] {
            done("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]).await?;
        }
        std::fs::copy(at("user_key.pub"), at("authorized_keys"))?;
        let user = done("id", &["-un"]).await?;
        if user == "root" {
            std::fs::create_dir_all("/run/sshd")?;
        }
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let here = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host_key\nStrictModes no\nPermitRootLogin yes\n\
             AuthorizedKeysFile {here}/authorized_keys\nPidFile none\nUsePAM no\nPasswordAuthentication no\n\
             Subsystem sftp internal-sftp\n"
        );
        std::fs::write(at("sshd_config"), config)?;
        let key = std::fs::read_to_string(at("host_key.pub"))?;
        std::fs::write(at("known_hosts"), format!("[127.0.0.1]:{port} {key}"))?;
        let sshd = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &at("sshd_config")])
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut login = SshOptions::new("127.0.0.1".parse()?, user.parse()?);
        login.port = port.to_string().parse()?;
        login.known_hosts = vec![dir.path().join("known_hosts")];
        login.identities = vec![dir.path().join("user_key")];
        login.helper = Some(helper.into());
        login.helper_directory = Some(dir.path().join("helper"));
        let there = SshTransport::new(login, Arc::new(NoPrompt), Arc::new(SystemClock), Arc::new(SystemEntropy));
        Ok(Self { here: LocalTransport::with_helper(helper), there, port, user, _sshd: sshd, dir })
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    async fn copy(&self, way: Way) -> Outcome<Option<Transferred>> {
        self.copy_to(way, &self.at("to/image.raw")).await
    }

    async fn copy_to(&self, way: Way, to: &str) -> Outcome<Option<Transferred>> {
        let (from, to, ssh) = (self.at("image.raw"), to.to_owned(), self.ssh());
        let there = format!("{}@127.0.0.1", self.user);
        match way {
            Way::Ours => {
                let (from, to): (DiskPath, DiskPath) = (from.parse()?, to.parse()?);
                let transfer = ImageTransfer {
                    source: &self.here,
                    from: &from,
                    is_qcow2: false,
                    target: &self.there,
                    to: &to,
                    limit: None,
                    compression: Compress::Auto,
                    resume: false,
                };
                let cancel = CancellationToken::new();
                let watch = Watch {
                    reporter: &Silent,
                    title: "",
                    clock: &SystemClock,
                    cancel: &cancel,
                    pace: &Pace::default(),
                };
                return Ok(Some(transfer.run(watch).await?));
            }
            Way::Rsync => done("rsync", &["-S", "-e", &ssh, &from, &format!("{there}:{to}")]).await?,
            Way::Scp => {
                let words: Vec<_> = ssh.split(' ').skip(1).collect();
                let (options, port) = words.split_at(words.len() - 2);
                let place = format!("{there}:{to}");
                done("scp", &[options, &["-q", "-P", port[1], &from, &place]].concat()).await?
            }
            Way::Cat => {
                let words: Vec<_> = ssh.split(' ').collect();
                let output = Command::new(words[0])
                    .args(&words[1..])
                    .args([&there, &format!("cat > {to}")])
                    .stdin(std::fs::File::open(from)?)
                    .status()
                    .await?;
                if !output.success() {
                    return Err("ssh failed".into());
                }
                String::new()
            }
        };
        Ok(None)
    }

    /// Each way brings a copy of its own up to date, after the same changes.
    async fn delta(&self, rounds: usize, mib: u64) -> Outcome<()> {
        self.clear()?;
        let (ours, peers) = (self.at("to/ours.raw"), self.at("to/rsync.raw"));
        self.copy_to(Way::Ours, &ours).await?;
        self.copy_to(Way::Rsync, &peers).await?;
        let (mut times, mut updated) = ([Vec::new(), Vec::new()], Updated::default());
        for round in 0..=rounds {
            change(&self.dir.path().join("image.raw"), mib, round as u64)?;
            rustix::fs::sync();
            let begin = Instant::now();
            updated = self.update(&ours).await?;
            let mine = begin.elapsed();
            let begin = Instant::now();
            let there = format!("{}@127.0.0.1:{peers}", self.user);
            // Without the last it passes over what has changed within the second of its copy.
            let how = ["--inplace", "--no-whole-file", "--ignore-times", "-e", &self.ssh()];
            done("rsync", &[&how[..], &[&self.at("image.raw"), &there]].concat()).await?;
            // The first round only warms caches.
            if round > 0 {
                times[0].push(mine);
                times[1].push(begin.elapsed());
            }
            for copy in [&ours, &peers] {
                done("cmp", &[copy, &self.at("image.raw")]).await?;
            }
        }
        let [mine, peer] = times.map(|times| quartiles(times).map(|time| time.as_secs_f64()));
        println!("after 1 % of it changed");
        for (name, [low, median, high]) in [("kvm-clone", mine), ("rsync", peer)] {
            println!("  {name:<10} {median:>6.2}  [{low:.2} .. {high:.2}]   of rsync {:.2}", median / peer[1]);
        }
        println!("  ours found {} changed, and sent {}", updated.changed, updated.wire);
        Ok(())
    }

    async fn update(&self, to: &str) -> Outcome<Updated> {
        let (from, to): (DiskPath, DiskPath) = (self.at("image.raw").parse()?, to.parse()?);
        let update = ImageUpdate {
            source: &self.here,
            from: &from,
            is_qcow2: false,
            target: &self.there,
            to: &to,
            limit: None,
            compression: Compress::Auto,
        };
        let cancel = CancellationToken::new();
        Ok(update
            .run(Watch { reporter: &Silent, title: "", clock: &SystemClock, cancel: &cancel, pace: &Pace::default() })
            .await?)
    }

    fn ssh(&self) -> String {
        format!(
            "ssh -F /dev/null -o UserKnownHostsFile={} -o BatchMode=yes -i {} -p {}",
            self.at("known_hosts"),
            self.at("user_key"),
            self.port
        )
    }

    /// Takes the copy away, and has the disk finish what is under way, so that nobody pays for the one before.
    fn clear(&self) -> Outcome<()> {
        for entry in std::fs::read_dir(self.dir.path().join("to"))? {
            std::fs::remove_file(entry?.path())?;
        }
        rustix::fs::sync();
        Ok(())
    }

    /// The copy is as long as the image; whether it is equal its own tests show.
    fn check(&self, way: Way) -> Outcome<()> {
        let length = |name: &str| std::fs::metadata(self.at(name)).map(|about| about.len());
        match length("to/image.raw")? == length("image.raw")? {
            true => Ok(()),
            false => Err(format!("the copy of {} has another length", way.name()).into()),
        }
    }
}

/// 40 % allocated in pieces of 4 MiB, every other one of them incompressible.
fn image(path: &Path, mib: u64) -> Outcome<()> {
    let mut file = std::fs::File::create(path)?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let (mut random, text) = (vec![0; 4 << 20], b"all work and no play makes a dull disk. ".repeat((4 << 20) / 40 + 1));
    for (piece, offset) in (0..mib * MIB).step_by(4 << 20).enumerate() {
        let data = match piece % 5 {
            0 => {
                for bytes in random.chunks_exact_mut(8) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    bytes.copy_from_slice(&state.to_le_bytes());
                }
                &random[..]
            }
            2 => &text[..4 << 20],
            _ => continue,
        };
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)?;
    }
    file.set_len(mib * MIB)?;
    file.sync_all()?;
    Ok(())
}

/// Writes into 1 % of the image, in pieces of 64 KiB: other places and other bytes each round.
fn change(path: &Path, mib: u64, round: u64) -> Outcome<()> {
    const PIECE: u64 = 64 << 10;
    let mut file = std::fs::File::options().write(true).open(path)?;
    let pieces = mib * MIB / PIECE;
    let mut state = 0xd1b5_4a32_d192_ed03_u64 ^ (round + 1);
    let mut bytes = vec![0; PIECE as usize];
    for _ in 0..pieces / 100 {
        for part in bytes.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            part.copy_from_slice(&state.to_le_bytes());
        }
        file.seek(SeekFrom::Start(state % pieces * PIECE))?;
        file.write_all(&bytes)?;
    }
    file.sync_all()?;
    Ok(())
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

async fn done(program: &str, args: &[&str]) -> Outcome<String> {
    let output = Command::new(program).args(args).stderr(Stdio::inherit()).output().await?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?.trim().to_owned()),
        false => {
            Err(format!("{program} {} failed: {}", args.join(" "), String::from_utf8_lossy(&output.stdout)).into())
        }
    }
}
