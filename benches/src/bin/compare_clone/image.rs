//! The image, and changes of it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use kvm_benches::sshd::{Outcome, done};

const MIB: u64 = 1 << 20;
/// What changes at a time.
const PIECE: u64 = 64 << 10;

/// Bytes that cannot be compressed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&self.next().to_le_bytes()));
    }
}

/// 40 % allocated in pieces of 4 MiB, every other one of them incompressible.
pub(crate) fn make(path: &Path, mib: u64) -> Outcome<()> {
    let mut file = std::fs::File::create(path)?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (mut random, text) = (vec![0; 4 << 20], b"all work and no play makes a dull disk. ".repeat((4 << 20) / 40 + 1));
    for (piece, offset) in (0..mib * MIB).step_by(4 << 20).enumerate() {
        let data = match piece % 5 {
            0 => {
                noise.fill(&mut random);
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

/// The same as qcow2, with a bitmap that marks what is written to it from then on.
pub(crate) async fn make_qcow2(from: &str, to: &str, bitmap: &str) -> Outcome<()> {
    done("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", from, to]).await?;
    done("qemu-img", &["bitmap", "--add", to, bitmap]).await.map(drop)
}

/// Where 1 % of the image changes, in pieces of 64 KiB: other places each round.
fn places(mib: u64, round: u64) -> impl Iterator<Item = u64> {
    let (pieces, mut noise) = (mib * MIB / PIECE, Noise(0xd1b5_4a32_d192_ed03 ^ (round + 1)));
    (0..pieces / 100).map(move |_| noise.next() % pieces * PIECE)
}

/// Writes into 1 % of the image, other bytes each round.
pub(crate) fn change(path: &Path, mib: u64, round: u64) -> Outcome<()> {
    let mut file = std::fs::File::options().write(true).open(path)?;
    let (mut noise, mut bytes) = (Noise(round + 1), vec![0; PIECE as usize]);
    for place in places(mib, round) {
        noise.fill(&mut bytes);
        file.seek(SeekFrom::Start(place))?;
        file.write_all(&bytes)?;
    }
    file.sync_all()?;
    Ok(())
}

/// The same of the disk in a qcow2 image, by QEMU, which keeps its bitmaps meanwhile.
pub(crate) async fn change_qcow2(path: &str, mib: u64, round: u64) -> Outcome<()> {
    let (noise, mut bytes) = (format!("{path}.noise"), vec![0; PIECE as usize]);
    Noise(round + 1).fill(&mut bytes);
    std::fs::write(&noise, bytes)?;
    let commands = places(mib, round).map(|place| format!("write -s {noise} {place} {PIECE}"));
    let args: Vec<_> = commands.flat_map(|command| ["-c".to_owned(), command]).collect();
    let args: Vec<_> = ["-f", "qcow2"].into_iter().chain(args.iter().map(String::as_str)).chain([path]).collect();
    done("qemu-io", &args).await.map(drop)
}
