//! Asks the agents of 100 simulated machines, of which 50 answer what hostile guests would, and prints what that costs the
//! other 50: `hostile_agents [ROUNDS]` (10).
//!
//! With `MALLOC_MMAP_THRESHOLD_=65536` in the environment memory that was given back does not hide what is taken anew.
//!
//! It measures how this project reads answers: bounds, parsing, waiting. The machines are simulated, so that libvirt's part
//! of the way, which has limits of its own, is not in the figures.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a measuring program prints")]

use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_core::{Host, MockWorld, SystemClock, VmFilter, VmId};
use kvm_mock::{AgentAnswer, Mock};
use kvm_vm::guest::Agent;
use tokio::task::JoinSet;

/// Machines of either kind.
const MACHINES: usize = 50;
/// The longest text that libvirt's protocol passes on.
const LONGEST: usize = (4 << 20) - 1024;

/// How long the honest machines' answers took, and how much more memory was used at most while all were awaited.
#[derive(Default)]
struct Figures {
    took: Vec<Duration>,
    peak_kib: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(10), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("world.yaml");
    std::fs::write(&path, world())?;
    let mock = Mock::open(&MockWorld::File(path), None, Arc::new(SystemClock))?;
    let host = mock.host();
    let vms: Vec<VmId> = host.hypervisor.list(&VmFilter::all()).await?.iter().map(|vm| vm.id).collect();
    let (honest, hostile) = vms.split_at(MACHINES);

    println!(
        "{rounds} rounds of each, interleaved; {MACHINES} honest machines, alone among their like and beside as many hostile ones"
    );
    println!("{:<34} {:>11} {:>11} {:>7} {:>12}", "answer", "p99 alone", "p99 beside", "ratio", "memory more");
    for (what, answer) in answers() {
        let (mut alone, mut beside) = (Figures::default(), Figures::default());
        // The first round only warms caches.
        for round in 0..=rounds {
            for (figures, answer) in [(&mut alone, &AgentAnswer::Honest), (&mut beside, &answer)] {
                for vm in hostile {
                    mock.set_agent_answer(vm, answer.clone())?;
                }
                let seen = poll(&host, honest, hostile).await?;
                if round > 0 {
                    figures.took.extend(seen.took);
                    figures.peak_kib = figures.peak_kib.max(seen.peak_kib);
                }
            }
        }
        let [alone_p99, beside_p99] = [p99(alone.took), p99(beside.took)];
        println!(
            "{what:<34} {alone_p99:>11.1?} {beside_p99:>11.1?} {:>7.2} {:>8.1} MiB",
            beside_p99.as_secs_f64() / alone_p99.as_secs_f64(),
            beside.peak_kib as f64 / 1024.0,
        );
    }
    Ok(())
}

/// Asks all machines at once what a poller asks, each by a task of its own.
async fn poll(host: &Host, honest: &[VmId], hostile: &[VmId]) -> Result<Figures, Box<dyn Error>> {
    let before = resident_kib("VmRSS:")?;
    // From here on the peak is counted anew.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let mut tasks = JoinSet::new();
    for (vm, counts) in hostile.iter().map(|vm| (vm, false)).chain(honest.iter().map(|vm| (vm, true))) {
        let agent = Agent::new(host, vm, Arc::new(SystemClock))?;
        tasks.spawn(async move {
            let begin = Instant::now();
            // A guest whose agent fails at one question is asked no other, and is unknown.
            let asked = async {
                agent.host_name().await?;
                agent.interfaces().await?;
                agent.file_systems().await?;
                agent.vcpus().await.map(drop)
            };
            (asked.await.is_ok(), counts.then(|| begin.elapsed()))
        });
    }
    let mut took = Vec::new();
    while let Some(asked) = tasks.join_next().await {
        let (is_known, honest) = asked?;
        if let Some(time) = honest {
            assert!(is_known, "an honest machine is unknown");
            took.push(time);
        }
    }
    Ok(Figures { took, peak_kib: resident_kib("VmHWM:")?.saturating_sub(before) })
}

/// A figure of `/proc/self/status`.
fn resident_kib(field: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took.get(took.len() * 99 / 100).or(took.last()).copied().unwrap_or_default()
}

fn world() -> String {
    let mut world = String::from("host: {name: crowd, cpus: 64, memory: 512GiB}\nmachines:\n");
    for i in 0..2 * MACHINES {
        let _infallible = writeln!(world, "  - {{name: vm-{i:03}, state: running, memory: 1GiB}}");
    }
    world
}

/// What hostile guests say to every question.
fn answers() -> Vec<(&'static str, AgentAnswer)> {
    let says = |text: String| AgentAnswer::Says(text);
    let addresses = r#"{"ip-address":"10.0.0.1","ip-address-type":"ipv4","prefix":8},"#.repeat(100_000);
    vec![
        ("plain", says(r#"{"return":{}}"#.into())),
        ("a string as long as libvirt passes", says(format!(r#"{{"return":"{}"}}"#, "x".repeat(LONGEST)))),
        ("a string just below our bound", says(format!(r#"{{"return":"{}"}}"#, "x".repeat((1 << 20) - 64)))),
        ("none", AgentAnswer::Nothing),
        ("that of another question", says(r#"{"return":{"pid":7},"id":4294967295}"#.into())),
        ("arrays in arrays", says(format!(r#"{{"return":{}{}}}"#, "[".repeat(400_000), "]".repeat(400_000)))),
        ("half a character", says(r#"{"return":{"host-name":"\ud800"}}"#.into())),
        ("markup", says(r#"{"return":{"host-name":"<img src=x onerror=alert(1)>"}}"#.into())),
        ("orders to the terminal", says(r#"{"return":{"host-name":"\u001b]0;mine\u0007"}}"#.into())),
        ("100,000 addresses", says(format!(r#"{{"return":[{{"name":"e","ip-addresses":[{addresses}{{}}]}}]}}"#))),
        (
            "as many as fit our bound",
            says(format!(r#"{{"return":[{{"name":"e","ip-addresses":[{}{{}}]}}]}}"#, &addresses[..62 * 16_000])),
        ),
        (
            "fewer bytes used than none",
            says(r#"{"return":[{"name":"/","mountpoint":"/","type":"x","used-bytes":-1,"disk":[]}]}"#.into()),
        ),
        ("a number beyond all", says(r#"{"return":[{"logical-id":1e308,"online":true}]}"#.into())),
        ("an exit code of 2^63", says(r#"{"return":{"pid":1,"exited":true,"exitcode":9223372036854775808}}"#.into())),
        (
            "more of a file than was asked for",
            says(format!(r#"{{"return":{{"count":1,"buf-b64":"{}"}}}}"#, "QUFB".repeat(200_000))),
        ),
        ("a flood of events", says(r#"{"event":"x"}"#.repeat(75_000))),
        ("another machine's uuid", says(r#"{"return":{"host-name":"8fbf2b8e-3b3c-4b1e-9a51-000000000001"}}"#.into())),
    ]
}
