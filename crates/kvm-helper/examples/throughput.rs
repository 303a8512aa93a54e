//! Measures a copy through two helpers in one process, without a network: `throughput DIRECTORY [GIB]`.
//!
//! The image is raw, 40 % allocated, half of that incompressible. It is made in DIRECTORY when it is not there. Reported
//! are wall time, CPU seconds of both sides together with what carries the bytes between them, and the peak of memory.

#![allow(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _, pipe};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use kvm_helper::{Settings, serve};
use kvm_wire::*;

const MIB: u64 = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: throughput DIRECTORY [GIB]")?;
    let length = arguments.next().map_or(Ok(4), |text| text.parse::<u64>())? << 30;
    let directory = fs::canonicalize(directory)?;
    make(&directory.join("source"), length)?;
    // Into the page cache.
    io::copy(&mut File::open(directory.join("source"))?, &mut io::sink())?;
    let file = |name: &str| FileRef::new(directory.to_string_lossy(), name);
    for compression in [Compression::Zstd, Compression::Off] {
        let (mut source, mut target) = (Session::start(&directory)?, Session::start(&directory)?);
        let (start, cpu) = (Instant::now(), seconds()?);
        target.ask(&Request::Create { file: file("copy"), length, mode: 0o600, opening: Opening::New })?;
        target.tell(&Request::Receive)?;
        let (file, what, keep) = (file("source"), What::All, Keep::Forget);
        source.tell(&Request::Send { file, what, compression, keep, access: Access::Exclusive })?;
        let sent = source.pass_on(&mut target)?;
        let Reply::Sent { root: Some(root), data, wire, .. } = sent else { return Err(format!("{sent:?}").into()) };
        target.ask(&Request::End)?;
        let received = start.elapsed();
        target.ask(&Request::Finish { root })?;
        target.ask(&Request::Publish)?;
        println!(
            "{compression:?}: {:.2} s to receive, {:.2} s in all, {:.2} CPU s, {} MiB of data, {} MiB sent, {} MiB memory",
            received.as_secs_f64(),
            start.elapsed().as_secs_f64(),
            seconds()? - cpu,
            data / MIB,
            wire / MIB,
            peak()? / MIB,
        );
        fs::remove_file(directory.join("copy"))?;
    }
    Ok(())
}

/// 1 MiB in 5 of text, 1 in 5 of noise, holes between.
fn make(path: &Path, length: u64) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let file = File::create(path)?;
    file.set_len(length)?;
    let mut state = 1_u64;
    for at in (0..length).step_by((20 * MIB) as usize) {
        let noise: Vec<u8> = (0..4 * MIB / 8)
            .flat_map(|_| {
                // xorshift64*
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes()
            })
            .collect();
        let text: Vec<u8> = (0..4 * MIB / 64).flat_map(|n| format!("{:<63}\n", n * at).into_bytes()).collect();
        for (at, bytes) in [(at, &noise), (at + 4 * MIB, &text)] {
            let room = length.saturating_sub(at).min(bytes.len() as u64);
            file.write_all_at(&bytes[..room as usize], at)?;
        }
    }
    Ok(())
}

struct Session {
    input: PipeReader,
    output: PipeWriter,
}

impl Session {
    fn start(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let ((theirs, output), (input, ours)) = (pipe()?, pipe()?);
        for end in [&output, &ours] {
            rustix::pipe::fcntl_setpipe_size(end, 1 << 20)?;
        }
        let settings = Settings::new(directory.join("digests"));
        std::thread::spawn(move || serve(settings, theirs, ours));
        let mut session = Self { input, output };
        session.ask(&Request::Hello { version: VERSION })?;
        Ok(session)
    }

    fn tell(&mut self, request: &Request) -> Result<(), Box<dyn Error>> {
        Ok(self.output.write_all(&Frame::request(request)?.to_bytes())?)
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, Box<dyn Error>> {
        self.tell(request)?;
        self.reply(|_, _| Ok(()))
    }

    /// Hands all blocks to another session.
    fn pass_on(&mut self, to: &mut Self) -> Result<Reply, Box<dyn Error>> {
        self.reply(|head, payload| {
            to.output.write_all(head)?;
            to.output.write_all(payload)
        })
    }

    fn reply(&mut self, mut each: impl FnMut(&[u8], &[u8]) -> io::Result<()>) -> Result<Reply, Box<dyn Error>> {
        let mut payload = Vec::new();
        loop {
            let mut head = [0; Header::SIZE];
            self.input.read_exact(&mut head)?;
            let header = Header::decode(head)?;
            payload.resize(header.length(), 0);
            self.input.read_exact(&mut payload)?;
            if header.kind() != FrameKind::Message {
                each(&head, &payload)?;
                continue;
            }
            match Frame::new(header.kind(), std::mem::take(&mut payload))?.as_reply()? {
                Reply::Progress { .. } => {}
                Reply::Error { message, .. } => return Err(message.into()),
                reply => return Ok(reply),
            }
        }
    }
}

/// The processor time of this process so far.
fn seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [fields.get(11), fields.get(12)].into_iter().flatten().filter_map(|n| n.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

/// The most memory of this process so far.
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}
