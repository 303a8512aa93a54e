//! Reads and writes a directory of libvirt documents beside libxml2, interleaved, and prints the speeds and their ratio.
//!
//! `compare_xml [DIRECTORY [ROUNDS]]`: where the documents are (`testdata/xml`), and how many rounds (30). One thread each;
//! processor time, so that other programs on the machine count as little as they can. libxml2 is driven through Python's
//! lxml, whose own part is small: one call per document.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring program starts programs and prints")]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use kvm_benches::{quartiles, xml};
use rustix::time::{ClockId, clock_gettime};

/// How long a round takes: reading each document, writing each, and reading each and writing it back. Giving the memory
/// back is part of it, on both sides.
type Round = [Duration; 3];

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let directory = args.next().map_or_else(|| xml::testdata().join("xml"), PathBuf::from);
    let rounds: usize = args.next().map_or(Ok(30), |n| n.parse())?;
    let corpus = xml::Corpus::read(&directory)?;
    if corpus.documents.is_empty() {
        return Err(format!("no documents of a known kind in {}", directory.display()).into());
    }
    let megabytes = corpus.documents.iter().map(|document| document.text.len()).sum::<usize>() as f64 / 1e6;
    println!("{} documents, {megabytes:.2} MB; left out: {}", corpus.documents.len(), corpus.left_out);

    let mut peer = match Peer::start(&corpus) {
        Ok(peer) => Some(peer),
        Err(error) => {
            println!("nothing to compare with: {error}");
            None
        }
    };
    let models = corpus.documents.iter().map(xml::Document::parse).collect::<Result<Vec<_>, _>>()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let here = one(&corpus.documents, &models)?;
        let there = peer.as_mut().map(Peer::round).transpose()?;
        // The first round only warms caches.
        if round > 0 {
            ours.push(here);
            theirs.extend(there);
        }
    }
    println!("{rounds} interleaved rounds; MB/s at the fastest, median and slowest quarter");
    show("kvm-xml", megabytes, &ours);
    let Some(peer) = peer else { return Ok(()) };
    show(&peer.name, megabytes, &theirs);
    let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| seconds(b) / seconds(a)).collect();
    let (low, median, high) = spread(ratios);
    println!("\nratio, read and write, round by round: {median:.2} [{low:.2} .. {high:.2}]");
    let best = |rounds: &[Round]| rounds.iter().map(seconds).fold(f64::INFINITY, f64::min);
    println!("ratio of the best rounds: {:.2}", best(&theirs) / best(&ours));
    Ok(())
}

fn one(documents: &[xml::Document], models: &[xml::Model]) -> Result<Round, Box<dyn Error>> {
    let start = processor_time();
    for document in documents {
        black_box(document.parse()?);
    }
    let read = processor_time();
    for model in models {
        black_box(model.to_xml());
    }
    let written = processor_time();
    for document in documents {
        black_box(document.parse()?.to_xml());
    }
    Ok([read - start, written - read, processor_time() - written])
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Reading and writing together.
fn seconds(round: &Round) -> f64 {
    round[2].as_secs_f64()
}

fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values.get(values.len() * quarter / 4).or(values.last()).copied().unwrap_or_default();
    (at(1), at(2), at(3))
}

fn show(name: &str, megabytes: f64, rounds: &[Round]) {
    println!("\n{name}");
    let line = |what: &str, times: Vec<Duration>| {
        let [low, median, high] = quartiles(times).map(|time| megabytes / time.as_secs_f64());
        println!("  {what:<18} {low:>6.0} {median:>6.0} {high:>6.0}");
    };
    for (index, what) in ["read", "write", "read and write"].into_iter().enumerate() {
        line(what, rounds.iter().filter_map(|round| round.get(index).copied()).collect());
    }
}

/// The program that measures libxml2.
struct Peer {
    name: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start(corpus: &xml::Corpus) -> Result<Self, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("lxml_peer.py");
        let mut command = Command::new("python3");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("python3: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("python3 has no input or no output".into());
        };
        let mut peer = Self { name: String::new(), child, input, output: BufReader::new(output) };
        for document in &corpus.documents {
            // A peer that has ended already shows in what it answers.
            let _gone = writeln!(peer.input, "{}", document.path.display());
        }
        peer.name = peer.ask("").map_err(|_| "python3 has no lxml (Debian: python3-lxml)")?;
        Ok(peer)
    }

    fn round(&mut self) -> Result<Round, Box<dyn Error>> {
        let answer = self.ask("round")?;
        let times: Vec<u64> = answer.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let times: [u64; 3] = times.try_into().map_err(|_| format!("an answer of three numbers, not {answer:?}"))?;
        Ok(times.map(Duration::from_nanos))
    }

    fn ask(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        writeln!(self.input, "{line}")?;
        self.input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        if answer.is_empty() { Err("it has ended".into()) } else { Ok(answer.trim().to_owned()) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
