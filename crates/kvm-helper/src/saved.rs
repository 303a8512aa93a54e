//! Digests of images that have not changed since: one file for each image, in a directory of the host.
//!
//! Not beside the images: libvirt lists every file of a directory as a volume, also one whose name begins with a dot. The
//! file is named after the image's device and number there, so that a new image in the same place takes its file over.
//! What is damaged or of another release counts as not there.
//!
//! | at | what |
//! |---|---|
//! | 0 | `KVMDIG1\n`; device, number, length, mtime, ctime of the image and bytes of data, 8 bytes each; root; digest of all before |
//! | 4096 | digests of the groups |
//! | then, from the next multiple of 4096 on | digests of the leaves, with holes where a group is zeros |

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};

use kvm_wire::{Digest, Identity, groups_in, leaf_digest, root_digest};
use rustix::fs::{AtFlags, CWD};
use rustix::io::Errno;

use crate::failure::{Result, Trouble};
use crate::image::{Image, MAX_LENGTH};
use crate::tree::{LeafFile, Tree, group_of};

const PAGE: u64 = 4096;
const MAGIC: &[u8; 8] = b"KVMDIG1\n";
const FIXED: usize = MAGIC.len() + 6 * 8 + Digest::SIZE;

/// Where the digests of leaves begin in the file of an image with so many groups.
pub(crate) fn leaves_at(groups: u64) -> u64 {
    PAGE + (groups * Digest::SIZE as u64).next_multiple_of(PAGE)
}

/// Makes the directory, for its owner alone.
pub(crate) fn make(directory: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|e| Trouble::io(&format!("cannot make {}", directory.display()), e))
}

pub(crate) fn path(directory: &Path, identity: &Identity, end: &str) -> PathBuf {
    directory.join(format!("{:x}-{:x}{end}", identity.dev, identity.ino))
}

/// The digests of an image that has not changed since they were saved; verified.
pub(crate) fn load(directory: &Path, image: &Image) -> Result<Option<Tree>> {
    let Some(identity) = image.identity()? else { return Ok(None) };
    let now = header(&identity, 0, Digest::ZERO);
    Ok(open(directory, &identity).and_then(|file| read(file, &now[..48])))
}

/// The digests that were saved of an image at any time; verified.
pub(crate) fn load_old(directory: &Path, image: &Image) -> Result<Option<Tree>> {
    let Some(identity) = image.identity()? else { return Ok(None) };
    let same = header(&identity, 0, Digest::ZERO);
    Ok(open(directory, &identity).and_then(|file| read(file, &same[..24])))
}

fn open(directory: &Path, identity: &Identity) -> Option<File> {
    File::open(path(directory, identity, "")).ok()
}

/// Digests whose header begins with this.
fn read(file: File, begin: &[u8]) -> Option<Tree> {
    let mut head = [0; FIXED + Digest::SIZE];
    file.read_exact_at(&mut head, 0).ok()?;
    let (fixed, sum) = head.split_at(FIXED);
    if leaf_digest(fixed).as_bytes() != sum || !fixed.starts_with(begin) {
        return None;
    }
    let length = u64::from_le_bytes(*fixed[24..].first_chunk()?);
    let data = u64::from_le_bytes(*fixed[48..].first_chunk()?);
    let root = Digest::from_bytes(*fixed[56..].first_chunk()?);
    let length = Some(length).filter(|length| *length <= MAX_LENGTH)?;
    let mut bytes = vec![0; groups_in(length) as usize * Digest::SIZE];
    file.read_exact_at(&mut bytes, PAGE).ok()?;
    let groups: Vec<Digest> = bytes.as_chunks().0.iter().map(|bytes| Digest::from_bytes(*bytes)).collect();
    let tree = Tree { length, data, root, groups, leaves: LeafFile::of(file, length) };
    let whole = root_digest(length, &tree.groups) == root
        && (0..).zip(&tree.groups).filter(|(_, digest)| !digest.is_zero()).all(|(group, digest)| {
            tree.leaves_of(group).is_ok_and(|leaves| group_of(length, group, &leaves).0 == *digest)
        });
    whole.then_some(tree)
}

fn header(identity: &Identity, data: u64, root: Digest) -> Vec<u8> {
    let Identity { dev, ino, size, mtime, ctime } = *identity;
    let mut head = MAGIC.to_vec();
    for number in [dev, ino, size, mtime.cast_unsigned(), ctime.cast_unsigned(), data] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(root.as_bytes());
    head
}

/// Saves the digests of an image, if it is still what it was, which is durable first: after a power cut the image must
/// not be older than its digests.
pub(crate) fn save(directory: &Path, tree: &Tree, image: &Image, then: Option<Identity>) -> Result<()> {
    let Some(then) = then else { return Ok(()) };
    image.sync()?;
    if image.identity()? != Some(then) {
        return Err(Trouble::changed().of(image.name()));
    }
    let wrong = |e: std::io::Error| Trouble::io("cannot save digests", e);
    let file = &tree.leaves.file;
    let mut head = header(&then, tree.data, tree.root);
    let sum = leaf_digest(&head);
    head.extend_from_slice(sum.as_bytes());
    file.write_all_at(&head, 0).map_err(wrong)?;
    let groups: Vec<u8> = tree.groups.iter().flat_map(|group| *group.as_bytes()).collect();
    file.write_all_at(&groups, PAGE).map_err(wrong)?;
    // Up to the end, where the last groups may be zeros that were never written.
    file.set_len(leaves_at(groups_in(tree.length)) + kvm_wire::leaves_in(tree.length) * Digest::SIZE as u64)
        .map_err(wrong)?;
    name(file, &path(directory, &then, ".new"), &path(directory, &then, "")).map_err(|e| wrong(e.into()))
}

/// Gives a file without a name one, in place of what had it.
fn name(file: &File, by: &Path, path: &Path) -> Result<(), Errno> {
    use std::os::fd::AsRawFd as _;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = || rustix::fs::linkat(CWD, &*unnamed, CWD, by, AtFlags::SYMLINK_FOLLOW);
    match link() {
        Err(Errno::EXIST) => rustix::fs::unlink(by).and_then(|()| link()),
        linked => linked,
    }?;
    rustix::fs::rename(by, path)
}
