//! Names in directories: listed, made, changed and removed; and new files that begin as copies.

use kvm_wire::{Access, Entry, EntryKind, FailureKind, FileRef, Reply};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::failure::{Result, Trouble};
use crate::image::Image;
use crate::partial::lock;
use crate::place::{PARTIAL, Place, open_directory};

/// What is in a directory.
pub(crate) fn list(file: &FileRef) -> Result<Reply> {
    let failed = |e: Errno| Trouble::io("cannot read the directory", e).of(file);
    let directory = open_directory(file)?;
    let mut entries = Vec::new();
    for entry in Dir::read_from(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = match entry.file_name().to_str() {
            Ok(name) if !matches!(name, "." | "..") => name.to_owned(),
            _ => continue,
        };
        let seen = match rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(seen) => seen,
            // It went away meanwhile.
            Err(Errno::NOENT) => continue,
            Err(e) => return Err(failed(e)),
        };
        if entries.len() == Entry::MOST {
            let text = format!("there is more than {} in the directory", Entry::MOST);
            return Err(Trouble::new(FailureKind::Unsupported, text).of(file));
        }
        entries.push(match FileType::from_raw_mode(seen.st_mode) {
            FileType::RegularFile => {
                Entry { name, kind: EntryKind::File, length: u64::try_from(seen.st_size).unwrap_or_default() }
            }
            FileType::Directory => Entry { name, kind: EntryKind::Directory, length: 0 },
            _ => Entry { name, kind: EntryKind::Other, length: 0 },
        });
    }
    Ok(Reply::Listing { entries })
}

/// Makes a directory.
pub(crate) fn make(file: &FileRef, mode: u32) -> Result<Reply> {
    Place::find(file)?.make_directory(mode)?;
    Ok(Reply::Done)
}

/// Gives a file or a directory another name below the same root.
pub(crate) fn rename(file: &FileRef, to: &str) -> Result<Reply> {
    let to = Place::find(&FileRef::new(&file.root, to))?;
    Place::find(file)?.rename_to(&to)?;
    Ok(Reply::Done)
}

/// Removes a file or an empty directory.
pub(crate) fn remove(file: &FileRef) -> Result<Reply> {
    let place = match Place::find(file) {
        Err(Trouble::Failed(failure)) if failure.kind() == FailureKind::NotFound => return Ok(Reply::Done),
        place => place?,
    };
    place.remove_any()?;
    Ok(Reply::Done)
}

/// Begins a file with what another one holds.
pub(crate) fn seed(file: &FileRef, from: &FileRef) -> Result<Reply> {
    let image = Image::open(&Place::find(from)?, Access::Exclusive)?;
    let place = Place::find(file)?;
    let name = place.beside(PARTIAL);
    let opened = place.open(&name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR)?;
    // Nobody goes on with it before it is filled.
    lock(&opened).map_err(|e| e.of(file))?;
    let mut copy = Image::of(opened, file)?;
    let filled = fill(&image, &mut copy);
    if filled.is_err() {
        place.remove(&name)?;
    }
    filled.map(|()| Reply::Done)
}

/// Shares the blocks of one file with another, or copies them where that cannot be; holes stay holes.
fn fill(from: &Image, to: &mut Image) -> Result<()> {
    if !from.is_device() && rustix::fs::ioctl_ficlone(to.file(), from.file()).is_ok() {
        return to.resize(from.length());
    }
    to.resize(from.length())?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while let Some((start, end)) = from.data_from(at)? {
        at = start;
        while at < end {
            let part = &mut buffer[..usize::try_from((end - at).min(1 << 20)).unwrap_or_default()];
            from.read(part, at)?;
            if !kvm_wire::is_zero(part) {
                to.write(part, at)?;
            }
            at += part.len() as u64;
        }
    }
    Ok(())
}
