//! A target that is full, by a byte or by half: nothing is written where that can be seen, and else all is given back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kvm_core::ErrorKind;
use kvm_wire::{FrameKind, LEAF_SIZE};
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};

use crate::bench::{Extent, LENGTH, Place, noise, told, transfer, update};
use crate::way::Fault;

const PAGE: u64 = 4096;
const STALL: Duration = Duration::from_secs(30);
/// What is missing.
const MISSING: [(&str, u64); 5] =
    [("1 B", 1), ("4 KiB", 4 << 10), ("64 KiB", 64 << 10), ("1 MiB", 1 << 20), ("half", LENGTH / 2)];

/// Mounts a file system in memory, for this thread and those that it starts alone.
fn mount_memory(at: &Path, bytes: u64, inodes: u64) {
    let data = format!("size={bytes},nr_inodes={inodes},mode=700");
    mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(&*data)).unwrap();
}

fn free(at: &Path) -> u64 {
    let of = rustix::fs::statvfs(at).unwrap();
    of.f_bavail * of.f_frsize
}

/// One size that the file system with the images has, and what is expected there.
struct Disk<'a> {
    at: &'a Path,
    image: &'a [u8],
}

impl Disk<'_> {
    fn of(&self, bytes: u64, inodes: u64) -> Arc<Place> {
        let _none = umount(self.at);
        mount_memory(self.at, bytes, inodes);
        Place::with_images(self.at)
    }

    /// The disk is too small from the beginning: not a byte is written.
    async fn is_seen(&self, missing: u64) -> Result<(), String> {
        let (here, there) = (Place::new(), self.of(self.image.len() as u64 - missing, 64));
        here.write("source", self.image);
        let before = free(self.at);
        let to = there.way().recording();
        let error = transfer(&here.way(), &to, false).await.err().ok_or("it went well")?;
        let asked = to.passed().to_helper;
        let is_written = asked.number_of(FrameKind::Block) > 0 || free(self.at) != before || !there.names().is_empty();
        match error.kind() == ErrorKind::NoSpace && !is_written && here.read("source") == self.image {
            true => Ok(()),
            false => Err(format!("{error:?}, {:?}", there.names())),
        }
    }

    /// The room is gone once the work has begun.
    async fn is_noticed(&self, missing: u64) -> Result<(), String> {
        let length = self.image.len() as u64;
        let (here, there) = (Place::new(), self.of(2 * length, 64));
        here.write("source", self.image);
        let before = free(self.at);
        let ballast = there.path("ballast");
        // Pages are given, and nothing smaller.
        let rest = (length - missing) / PAGE * PAGE;
        let fill = move || {
            let file = std::fs::File::create(&ballast).unwrap();
            let taken = free(ballast.parent().unwrap()) - rest;
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, taken).unwrap();
        };
        // After the greeting, how large it is, how much room there is, and the beginning of the file.
        let fault = Fault::Before { message: 3, act: Arc::new(fill) };
        let error = transfer(&here.way(), &there.faulty(fault, STALL), false).await.err().ok_or("it went well")?;
        if error.kind() != ErrorKind::NoSpace || there.names() != ["ballast", "copy.partial"] {
            return Err(format!("{error:?}, {:?}", there.names()));
        }
        // What an undo does.
        there.remove("copy.partial");
        there.remove("ballast");
        if free(self.at) != before || here.read("source") != self.image {
            return Err(format!("{} of {before} bytes are free again", free(self.at)));
        }
        Ok(())
    }

    /// A sync finds no room beside an image that has to stay what it is.
    async fn is_left_alone(&self, missing: u64) -> Result<(), String> {
        let length = self.image.len() as u64;
        let (here, there) = (Place::new(), self.of(2 * length - missing, 64));
        let old = noise(length, 99);
        here.write("source", self.image);
        there.write("copy", &old);
        let error = update(&here.way(), &there.way()).await.err().ok_or("it went well")?;
        there.remove("copy.sync");
        match error.kind() == ErrorKind::NoSpace && there.names() == ["copy"] && there.read("copy") == old {
            true => Ok(()),
            false => Err(format!("{error:?}, {:?}", there.names())),
        }
    }

    /// There is room and no name can be given.
    async fn has_no_names_left(&self) -> Result<(), String> {
        // The directory itself has one.
        let (here, there) = (Place::new(), self.of(4 * self.image.len() as u64, 1));
        here.write("source", self.image);
        let before = free(self.at);
        let error = transfer(&here.way(), &there.way(), false).await.err().ok_or("it went well")?;
        match error.kind() == ErrorKind::NoSpace && free(self.at) == before && there.names().is_empty() {
            true => Ok(()),
            false => Err(format!("{error:?}, {:?}", there.names())),
        }
    }

    async fn all(&self) {
        let (mut seen, mut noticed, mut alone, mut wrong) = (0, 0, 0, Vec::new());
        for (name, missing) in MISSING {
            let mut count = |done: Result<(), String>, total: &mut usize, what: &str| match done {
                Ok(()) => *total += 1,
                Err(why) => wrong.push(format!("{what}, {name} missing: {why}")),
            };
            count(self.is_seen(missing).await, &mut seen, "seen before");
            count(self.is_noticed(missing).await, &mut noticed, "noticed later");
            count(self.is_left_alone(missing).await, &mut alone, "a sync");
        }
        let names = self.has_no_names_left().await;
        umount(self.at).unwrap();
        eprintln!("{}\n{names:?}", wrong.join("\n"));
        told("R9 seen before", seen, MISSING.len(), "sizes refused with nothing written");
        told("R9 noticed later", noticed, MISSING.len(), "sizes said, all room given back, source as it was");
        told("R9 a sync", alone, MISSING.len(), "sizes said, the replica as it was");
        told("R9 no inode", usize::from(names.is_ok()), 1, "refused with nothing written");
    }
}

#[test]
fn a_full_disk_is_seen_before_or_given_back() {
    let extent = Extent::asked_for();
    if !rustix::process::geteuid().is_root() {
        println!("PROOF R9 not run: file systems in memory with a size of their own can only be mounted by root");
        return;
    }
    // In a thread of its own, which sees other mounts than the rest of this program.
    let proof = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let at = tempfile::tempdir().unwrap();
        // It ends within a page, so that one byte makes a difference.
        let image = noise(LENGTH / LEAF_SIZE * LEAF_SIZE + 1, extent.seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(Disk { at: at.path(), image: &image }.all());
    });
    proof.join().unwrap();
}
