//! What a file holds: the formats of disk images that the simulated host makes and recognises.

use crate::file::SparseFile;

const QCOW2_MAGIC: [u8; 4] = *b"QFI\xfb";
const QCOW2_HEADER: usize = 104;
/// The extension that names the format of the image below, and the end of all extensions.
const EXTENSIONS: usize = 24;
const BACKING_FORMAT: u32 = 0xe279_2aca;
/// Where the header says how large the disk is.
const QCOW2_CAPACITY: u64 = 24;
/// Where the header says how it is encrypted, and that it is by LUKS.
const QCOW2_ENCRYPTION: u64 = 32;
const LUKS: u32 = 2;
const REFCOUNT_ORDER: u32 = 4;
pub(crate) const CLUSTER_BITS: u32 = 16;
/// Where an ISO 9660 file system says that it is one.
const ISO_MARK: (u64, &[u8]) = (32_769, b"CD001");

/// What a host says of an image when it looks at the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) format: &'static str,
    /// The size that a guest sees.
    pub(crate) capacity: u64,
    pub(crate) backing: Option<String>,
}

/// What stands behind the header of an overlay: the format of its base, and its name. Whoever makes an overlay here says the
/// format by the name.
fn reference(backing: &str) -> Vec<u8> {
    if backing.is_empty() {
        return Vec::new();
    }
    let format = if backing.ends_with(".qcow2") { &b"qcow2"[..] } else { b"raw" };
    let mut bytes = BACKING_FORMAT.to_be_bytes().to_vec();
    bytes.extend((format.len() as u32).to_be_bytes());
    bytes.extend(format);
    bytes.resize(EXTENSIONS, 0);
    bytes.extend(backing.bytes());
    bytes
}

/// A new qcow2 image: header and, if it is an overlay, the path of the image below.
pub(crate) fn qcow2(capacity: u64, backing: Option<&str>) -> SparseFile {
    let backing = backing.unwrap_or_default();
    let offset = if backing.is_empty() { 0 } else { (QCOW2_HEADER + EXTENSIONS) as u64 };
    let mut header = Vec::with_capacity(QCOW2_HEADER + EXTENSIONS + backing.len());
    header.extend(QCOW2_MAGIC);
    header.extend(3u32.to_be_bytes());
    header.extend(offset.to_be_bytes());
    header.extend((backing.len() as u32).to_be_bytes());
    header.extend(CLUSTER_BITS.to_be_bytes());
    header.extend(capacity.to_be_bytes());
    header.extend(0u32.to_be_bytes());
    // The tables as QEMU places them: reference counts behind the header, then the first level.
    let cluster = 1_u64 << CLUSTER_BITS;
    header.extend((capacity.div_ceil(cluster).div_ceil(cluster / 8) as u32).to_be_bytes());
    header.extend((3 * cluster).to_be_bytes());
    header.extend(cluster.to_be_bytes());
    header.extend(1u32.to_be_bytes());
    header.resize(QCOW2_HEADER - 8, 0);
    header.extend(REFCOUNT_ORDER.to_be_bytes());
    header.extend((QCOW2_HEADER as u32).to_be_bytes());
    header.extend(reference(backing));
    let mut file = SparseFile::of(&header, 0o600);
    file.lengthen(4 * cluster);
    file
}

/// The same image with the mark of one that is encrypted.
pub(crate) fn encrypted(mut file: SparseFile) -> SparseFile {
    file.write(QCOW2_ENCRYPTION, &LUKS.to_be_bytes());
    file
}

/// Whether nobody reads an image without its passphrase.
pub(crate) fn is_encrypted(file: &SparseFile) -> bool {
    probe(file).format == "qcow2" && file.read(QCOW2_ENCRYPTION, 4) == LUKS.to_be_bytes()
}

/// Writes what an overlay holds into the image below.
pub(crate) fn commit(overlay: &SparseFile, base: &mut SparseFile) {
    let (above, below) = (probe(overlay).capacity, probe(base).capacity);
    if above > below {
        grow(base, above);
    }
    for (offset, data) in overlay.data() {
        base.write(offset, &data);
    }
}

/// An ISO image of this length.
pub(crate) fn iso(length: u64) -> SparseFile {
    let mut file = SparseFile::hole(length);
    file.write(ISO_MARK.0, ISO_MARK.1);
    file
}

/// Looks at what is in a file. What is nothing else is raw.
pub(crate) fn probe(file: &SparseFile) -> Image {
    let head = file.read(0, QCOW2_HEADER);
    let number = |at: usize| head.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_be_bytes);
    if head.starts_with(&QCOW2_MAGIC)
        && let (Some(offset), Some(capacity)) = (number(8), number(24))
    {
        let length = head.get(16..20).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
        let backing = (offset > 0).then(|| file.read(offset, length as usize));
        let backing = backing.and_then(|path| String::from_utf8(path).ok());
        return Image { format: "qcow2", capacity, backing };
    }
    let format = if file.read(ISO_MARK.0, ISO_MARK.1.len()) == ISO_MARK.1 { "iso" } else { "raw" };
    Image { format, capacity: file.len(), backing: None }
}

/// Lets a qcow2 image lie upon another one, or upon none.
pub(crate) fn rebase(file: &mut SparseFile, backing: Option<&str>) {
    let image = probe(file);
    if image.format == "qcow2" {
        let name = backing.unwrap_or_default();
        let offset = if name.is_empty() { 0 } else { (QCOW2_HEADER + EXTENSIONS) as u64 };
        let (mut bytes, before) = (reference(name), reference(&image.backing.unwrap_or_default()));
        bytes.resize(bytes.len().max(before.len()), 0);
        file.write(QCOW2_HEADER as u64, &bytes);
        file.write(8, &offset.to_be_bytes());
        file.write(16, &(name.len() as u32).to_be_bytes());
    }
}

/// The header of a qcow2 image that has nothing below it.
pub(crate) fn header(file: &SparseFile) -> Vec<u8> {
    file.read(0, QCOW2_HEADER)
}

/// Makes the disk in a file larger.
pub(crate) fn grow(file: &mut SparseFile, capacity: u64) {
    match probe(file).format {
        "qcow2" => file.write(QCOW2_CAPACITY, &capacity.to_be_bytes()),
        _ => file.lengthen(capacity),
    }
}

/// Makes the disk in a file smaller.
pub(crate) fn shrink(file: &mut SparseFile, capacity: u64) {
    match probe(file).format {
        "qcow2" => file.write(QCOW2_CAPACITY, &capacity.to_be_bytes()),
        _ => file.truncate(capacity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_recognised_by_its_content() {
        let overlay = probe(&qcow2(1 << 40, Some("/images/base.qcow2")));
        assert_eq!(overlay, Image { format: "qcow2", capacity: 1 << 40, backing: Some("/images/base.qcow2".into()) });
        assert_eq!(probe(&qcow2(512, None)), Image { format: "qcow2", capacity: 512, backing: None });
        let mut rebased = qcow2(512, Some("/a/long/name.qcow2"));
        rebase(&mut rebased, Some("/b"));
        assert_eq!(probe(&rebased).backing.as_deref(), Some("/b"));
        rebase(&mut rebased, None);
        assert_eq!(rebased.read(0, 4096), qcow2(512, None).read(0, 4096));
        assert_eq!(probe(&iso(1 << 20)).format, "iso");
        assert_eq!(probe(&SparseFile::hole(7)), Image { format: "raw", capacity: 7, backing: None });
        assert_eq!(probe(&SparseFile::of(&QCOW2_MAGIC, 0o600)).format, "raw");
    }
}
