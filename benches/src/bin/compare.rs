//! Runs `kvmctl` beside `virsh` on the same work, interleaved, and prints the medians and their ratio.
//!
//! `compare KVMCTL [ROUNDS]`: the path of a release build of kvmctl, and how many rounds (15).

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring program starts programs and prints")]

use std::error::Error;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kvm_benches::{node_file, quartiles};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let kvmctl = args.next().ok_or("usage: compare KVMCTL [ROUNDS]")?;
    let rounds: usize = args.next().map_or(Ok(15), |n| n.parse())?;
    let dir = tempfile::tempdir()?;
    let node = dir.path().join("node.xml");
    std::fs::write(&node, node_file(1000))?;
    let target = format!("test://{}", node.display());
    let state = dir.path().display().to_string();

    println!("{rounds} interleaved rounds; median [middle half]; peak memory where GNU time is installed");
    compare(
        "list of 1,000 machines",
        rounds,
        &state,
        [&[&kvmctl, "-c", &target, "vm", "list"], &["virsh", "-c", &target, "list", "--all"]],
    )?;
    compare("--version", rounds, &state, [&[&kvmctl, "--version"], &["virsh", "--version"]])
}

fn compare(what: &str, rounds: usize, state: &str, commands: [&[&str]; 2]) -> Result<(), Box<dyn Error>> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (times, argv) in times.iter_mut().zip(commands) {
            let took = run(argv, state)?;
            // The first round only warms caches.
            if round > 0 {
                times.push(took);
            }
        }
    }
    let [ours, theirs] = times.map(quartiles);
    println!("\n{what}");
    for (argv, [low, median, high]) in commands.iter().zip([ours, theirs]) {
        let peak = peak_kib(argv, state).map_or_else(String::new, |kib| format!("   peak {} MiB", kib / 1024));
        println!("  {:<40} {median:>9.1?}  [{low:.1?} .. {high:.1?}]{peak}", short(argv));
    }
    println!("  ratio {:.2}", ours[1].as_secs_f64() / theirs[1].as_secs_f64());
    Ok(())
}

fn run(argv: &[&str], state: &str) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    let status = command(argv, state).status()?;
    let took = start.elapsed();
    if status.success() { Ok(took) } else { Err(format!("{} ended with {status}", argv.join(" ")).into()) }
}

fn command(argv: &[&str], state: &str) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env("XDG_STATE_HOME", state).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn peak_kib(argv: &[&str], state: &str) -> Option<u64> {
    let timed: Vec<&str> = ["/usr/bin/time", "-f", "%M"].into_iter().chain(argv.iter().copied()).collect();
    let output = command(&timed, state).stderr(Stdio::piped()).output().ok()?;
    String::from_utf8(output.stderr).ok()?.lines().last()?.trim().parse().ok()
}

fn short(argv: &[&str]) -> String {
    let name = argv[0].rsplit('/').next().unwrap_or(argv[0]);
    format!("{name} {}", argv[1..].iter().filter(|a| !a.starts_with("test://")).copied().collect::<Vec<_>>().join(" "))
}
