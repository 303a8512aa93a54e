//! What is in volumes.

use kvm_core::{
    Blocks, Bytes, Error, ErrorKind, Holes, Piece, PoolName, Resize, Result, VolumeContent, VolumeInfo, VolumeName,
    WipePattern,
};
use kvm_xml::volume::VolumeFormatType;

use crate::case::{Outcome, cases, holds, refused, same};
use crate::cx::{Cx, volume, volume_name};

const MIB: u64 = 1 << 20;
/// How large the volumes are that are written here, and what is written to them from which place on.
const SIZE: u64 = 4 * MIB;
const HEAD: &[u8] = b"contract: the first bytes of a volume";
const MIDDLE: (u64, &[u8]) = (2 * MIB, b"contract: in the middle, behind a hole");

cases! { CASES in "content" on Cx;
    /// What was uploaded is what is downloaded, byte for byte.
    async fn what_was_uploaded_is_downloaded(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Fill).await?;
        for holes in [Holes::Keep, Holes::Fill] {
            same("content", read(cx, &pool, &made.name, holes).await? == content(), true)?;
        }
        Ok(())
    }

    /// Holes that are kept read as zeros and take no space.
    async fn holes_stay_holes(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        cx.storage().refresh_pool(&pool).await?;
        let after = cx.storage().find_volume(&pool, &made.name).await?;
        same("capacity", after.capacity.get(), SIZE)?;
        holds("it takes less than its size", after.allocation.get() < SIZE)?;
        same("content", read(cx, &pool, &made.name, Holes::Fill).await? == content(), true)?;
        let mut reader = facet(cx)?.download(&pool, &made.name, Holes::Keep).await?;
        let (mut holes, mut all) = (0, 0);
        while let Some(piece) = reader.next().await? {
            all += piece.length().get();
            if let Piece::Hole(length) = piece {
                holes += length.get();
            }
        }
        same("length", all, SIZE)?;
        holds("half of it is told as holes", holes >= SIZE / 2)
    }

    /// A reader says how long the volume is, gives no empty piece, none that is too large, and ends once.
    async fn a_reader_gives_bounded_pieces(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Fill).await?;
        let mut reader = facet(cx)?.download(&pool, &made.name, Holes::Fill).await?;
        same("length", reader.length().get(), SIZE)?;
        let mut all = 0;
        while let Some(piece) = reader.next().await? {
            let Piece::Data(data) = &piece else { return holds("no hole is told of", false) };
            holds("a piece is neither empty nor too large", (1..=Piece::DATA_MAX.get()).contains(&(data.len() as u64)))?;
            all += data.len() as u64;
        }
        same("length of all pieces", all, SIZE)?;
        same("after the end", reader.next().await?, None)
    }

    /// A writer takes as much as was promised, and neither more nor less.
    async fn a_writer_holds_to_its_promise(cx) {
        let (pool, made) = raw(cx).await?;
        let facet = facet(cx)?;
        let mut writer = facet.upload(&pool, &made.name, Bytes::new(4), Holes::Fill).await?;
        refused(writer.write(Piece::Data(b"fives".to_vec())).await, ErrorKind::InvalidInput)?;
        let mut writer = facet.upload(&pool, &made.name, Bytes::new(4), Holes::Fill).await?;
        writer.write(Piece::Data(b"two".to_vec())).await?;
        refused(writer.finish().await, ErrorKind::InvalidInput)
    }

    /// A writer that is dropped leaves the volume to others.
    async fn a_writer_that_is_dropped_lets_go(cx) {
        let (pool, made) = raw(cx).await?;
        let mut writer = facet(cx)?.upload(&pool, &made.name, Bytes::new(SIZE), Holes::Fill).await?;
        writer.write(Piece::Data(HEAD.to_vec())).await?;
        drop(writer);
        // The host hears of it a moment later.
        let mut last = ErrorKind::Busy;
        let mut tries = 0..100;
        while last == ErrorKind::Busy && tries.next().is_some() {
            match cx.storage().delete_volume(&pool, &made.name).await {
                Ok(()) => return refused(cx.storage().find_volume(&pool, &made.name).await, ErrorKind::NotFound),
                Err(e) => last = e.kind(),
            }
            cx.clock().sleep(cx.patience() / 1000).await;
        }
        same("why it cannot be deleted", last, ErrorKind::NotFound)
    }

    /// An image with a format is streamed as it is stored, and is what it was at the other end.
    async fn an_image_keeps_its_format_on_the_way(cx) {
        let pool = cx.active_pool("a").await?;
        let image = cx.thin_volume(&pool, "image.qcow2", 64 * MIB).await?;
        let bytes = read(cx, &pool, &image.name, Holes::Fill).await?;
        holds("it begins as such an image does", bytes.starts_with(b"QFI\xfb"))?;
        let length = bytes.len() as u64;
        let document = volume("copy", VolumeFormatType::Raw, length, Some(0));
        let copy = cx.storage().create_volume(&pool, &document).await?;
        let mut writer = facet(cx)?.upload(&pool, &copy.name, Bytes::new(length), Holes::Fill).await?;
        for part in bytes.chunks(MIB as usize) {
            writer.write(Piece::Data(part.to_vec())).await?;
        }
        writer.finish().await?;
        cx.storage().refresh_pool(&pool).await?;
        let after = cx.storage().find_volume(&pool, &copy.name).await?;
        same("format", after.format.as_deref(), Some("qcow2"))?;
        same("capacity", after.capacity, image.capacity)
    }

    /// A volume becomes larger and keeps what is in it; space that is to be allocated is.
    async fn a_volume_grows_and_keeps_its_content(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        let facet = facet(cx)?;
        facet.resize(&pool, &made.name, Bytes::new(2 * SIZE), Resize::Grow).await?;
        let grown = cx.storage().find_volume(&pool, &made.name).await?;
        same("capacity", grown.capacity.get(), 2 * SIZE)?;
        let mut wanted = content();
        wanted.resize(2 * SIZE as usize, 0);
        same("content", read(cx, &pool, &made.name, Holes::Fill).await? == wanted, true)?;
        facet.resize(&pool, &made.name, Bytes::new(4 * SIZE), Resize::Allocate).await?;
        let whole = cx.storage().find_volume(&pool, &made.name).await?;
        same("capacity", whole.capacity.get(), 4 * SIZE)?;
        holds("what is new is allocated", whole.allocation.get() >= 2 * SIZE)
    }

    /// The disk in an image with a format grows as well.
    async fn a_disk_in_an_image_grows(cx) {
        let pool = cx.active_pool("a").await?;
        let image = cx.thin_volume(&pool, "image.qcow2", 8 * MIB).await?;
        facet(cx)?.resize(&pool, &image.name, Bytes::new(16 * MIB), Resize::Grow).await?;
        let grown = cx.storage().find_volume(&pool, &image.name).await?;
        same("capacity", grown.capacity.get(), 16 * MIB)?;
        same("format", grown.format, image.format)
    }

    /// A volume becomes smaller only by that word, and larger only by the other.
    async fn a_volume_shrinks_only_when_told_so(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        let facet = facet(cx)?;
        for how in [Resize::Grow, Resize::Allocate] {
            let smaller = facet.resize(&pool, &made.name, Bytes::new(SIZE / 2), how).await;
            refused(smaller, ErrorKind::InvalidInput)?;
        }
        refused(facet.resize(&pool, &made.name, Bytes::new(SIZE), Resize::Grow).await, ErrorKind::InvalidInput)?;
        refused(facet.resize(&pool, &made.name, Bytes::new(SIZE), Resize::Shrink).await, ErrorKind::InvalidInput)?;
        same("content", read(cx, &pool, &made.name, Holes::Fill).await? == content(), true)?;
        facet.resize(&pool, &made.name, Bytes::new(SIZE / 4), Resize::Shrink).await?;
        same("capacity", cx.storage().find_volume(&pool, &made.name).await?.capacity.get(), SIZE / 4)?;
        let kept = read(cx, &pool, &made.name, Holes::Fill).await?;
        same("content", kept == content()[..SIZE as usize / 4], true)
    }

    /// A volume that takes more space than it is to have does not shrink, and keeps what is in it.
    async fn what_is_allocated_is_not_cut_off(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Fill).await?;
        cx.storage().refresh_pool(&pool).await?;
        let smaller = facet(cx)?.resize(&pool, &made.name, Bytes::new(SIZE / 4), Resize::Shrink).await;
        refused(smaller, ErrorKind::InvalidState)?;
        same("content", read(cx, &pool, &made.name, Holes::Fill).await? == content(), true)
    }

    /// A volume cannot grow beyond the room in its pool, and stays as it is.
    async fn growth_beyond_the_room_is_no_space(cx) {
        let (pool, made) = raw(cx).await?;
        let free = cx.storage().find_pool(&pool).await?.available.unwrap_or_default().get();
        let large = Bytes::new((free + (1 << 40)).next_multiple_of(MIB));
        refused(facet(cx)?.resize(&pool, &made.name, large, Resize::Allocate).await, ErrorKind::NoSpace)?;
        same("capacity", cx.storage().find_volume(&pool, &made.name).await?.capacity.get(), SIZE)
    }

    /// A volume that was wiped with zeros reads as zeros, as long as before.
    async fn a_wiped_volume_reads_as_zeros(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Fill).await?;
        facet(cx)?.wipe(&pool, &made.name, WipePattern::Zero).await?;
        let left = read(cx, &pool, &made.name, Holes::Fill).await?;
        same("length", left.len() as u64, SIZE)?;
        holds("all of it is zeros", left.iter().all(|byte| *byte == 0))
    }

    /// A copy in the same pool has the content of its original and is a volume of its own.
    async fn a_copy_has_the_content_of_its_original(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        let document = volume("copy", VolumeFormatType::Raw, SIZE, Some(0));
        let copy = facet(cx)?.copy((&pool, &made.name), &pool, &document, Blocks::Own).await?;
        same("name", &copy.name, &volume_name("copy")?)?;
        same("capacity", copy.capacity.get(), SIZE)?;
        facet(cx)?.wipe(&pool, &made.name, WipePattern::Zero).await?;
        same("content", read(cx, &pool, &copy.name, Holes::Fill).await? == content(), true)?;
        same("found", cx.storage().find_volume(&pool, &copy.name).await?.path, copy.path)
    }

    /// A copy is listed with the size and the format that were asked for.
    async fn a_copy_is_what_was_asked_for(cx) {
        let pool = cx.active_pool("a").await?;
        let image = cx.thin_volume(&pool, "image.qcow2", 8 * MIB).await?;
        let document = volume("copy.qcow2", VolumeFormatType::Qcow2, 8 * MIB, Some(0));
        let copy = facet(cx)?.copy((&pool, &image.name), &pool, &document, Blocks::Own).await?;
        same("capacity", copy.capacity, image.capacity)?;
        same("format", &copy.format, &image.format)?;
        same("found", cx.storage().find_volume(&pool, &copy.name).await?.path, copy.path)
    }

    /// A copy may go into another pool.
    async fn a_copy_goes_into_another_pool(cx) {
        let (pool, made) = raw(cx).await?;
        let other = cx.active_pool("b").await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        let document = volume("copy", VolumeFormatType::Raw, SIZE, Some(0));
        let copy = facet(cx)?.copy((&pool, &made.name), &other, &document, Blocks::Own).await?;
        same("pool", &copy.pool, &other)?;
        same("content", read(cx, &other, &copy.name, Holes::Fill).await? == content(), true)
    }

    /// A disk that is converted into another format and back is the same.
    async fn a_converted_disk_is_the_same(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        let facet = facet(cx)?;
        let document = volume("image.qcow2", VolumeFormatType::Qcow2, SIZE, Some(0));
        let image = facet.copy((&pool, &made.name), &pool, &document, Blocks::Own).await?;
        same("format", image.format.as_deref(), Some("qcow2"))?;
        same("capacity", image.capacity.get(), SIZE)?;
        holds("its file is such an image", read(cx, &pool, &image.name, Holes::Fill).await?.starts_with(b"QFI\xfb"))?;
        let document = volume("again.raw", VolumeFormatType::Raw, SIZE, Some(0));
        let again = facet.copy((&pool, &image.name), &pool, &document, Blocks::Own).await?;
        same("content", read(cx, &pool, &again.name, Holes::Fill).await? == content(), true)
    }

    /// A copy under a name that is taken is refused, and one of nothing is not found; neither leaves anything.
    async fn a_copy_needs_a_free_name_and_an_original(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk.qcow2", MIB).await?;
        let facet = facet(cx)?;
        let document = volume("disk.qcow2", VolumeFormatType::Qcow2, MIB, Some(0));
        refused(facet.copy((&pool, &made.name), &pool, &document, Blocks::Own).await, ErrorKind::AlreadyExists)?;
        let document = volume("copy", VolumeFormatType::Qcow2, MIB, Some(0));
        let absent = volume_name("absent")?;
        refused(facet.copy((&pool, &absent), &pool, &document, Blocks::Own).await, ErrorKind::NotFound)?;
        same("volumes", cx.storage().volumes(&pool).await?.len(), 1)
    }

    /// Blocks are shared with the original, or the host says that it cannot and leaves no copy.
    async fn blocks_are_shared_or_it_is_unsupported(cx) {
        let (pool, made) = raw(cx).await?;
        fill(cx, &pool, &made.name, Holes::Keep).await?;
        let document = volume("copy", VolumeFormatType::Raw, SIZE, Some(0));
        match facet(cx)?.copy((&pool, &made.name), &pool, &document, Blocks::Shared).await {
            Ok(copy) => same("content", read(cx, &pool, &copy.name, Holes::Fill).await? == content(), true),
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                same("volumes", cx.storage().volumes(&pool).await?.len(), 1)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// An image whose tables are made at once takes more than an empty one, and all of it when that is asked for.
    async fn a_preallocated_image_takes_its_space(cx) {
        let pool = cx.active_pool("a").await?;
        let thin = cx.thin_volume(&pool, "thin.qcow2", 16 * MIB).await?;
        let facet = facet(cx)?;
        let document = volume("tables.qcow2", VolumeFormatType::Qcow2, 16 * MIB, Some(0));
        let tables = facet.create_preallocated(&pool, &document).await?;
        same("capacity", tables.capacity, thin.capacity)?;
        holds("tables take space", tables.allocation > thin.allocation)?;
        let document = volume("full.qcow2", VolumeFormatType::Qcow2, 16 * MIB, Some(16 * MIB));
        let full = facet.create_preallocated(&pool, &document).await?;
        holds("it takes all of it", full.allocation.get() >= 16 * MIB)?;
        refused(facet.create_preallocated(&pool, &document).await, ErrorKind::AlreadyExists)?;
        same("volumes", cx.storage().volumes(&pool).await?.len(), 3)
    }

    /// The document of a volume says what a listing says.
    async fn a_document_says_what_a_listing_says(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk.qcow2", 8 * MIB).await?;
        let document = facet(cx)?.definition(&pool, &made.name).await?;
        same("name", document.name.as_deref(), Some("disk.qcow2"))?;
        same("capacity", document.capacity.and_then(|size| size.bytes()), Some(8 * MIB))?;
        let target = document.target.unwrap_or_default();
        same("path", target.path.as_deref(), Some(made.host_path()?.as_str()))?;
        let format = target.format.and_then(|format| format.r#type);
        same("format", format.map(|format| format.as_str()), made.format.as_deref())
    }

    /// No call finds what is not there, and none reaches into a pool that is stopped.
    async fn what_is_not_there_is_not_found(cx) {
        let pool = cx.active_pool("a").await?;
        let made = cx.thin_volume(&pool, "disk", MIB).await?;
        absent(cx, &pool, &volume_name("absent")?, ErrorKind::NotFound).await?;
        absent(cx, &cx.pool_name("absent")?, &made.name, ErrorKind::NotFound).await?;
        cx.storage().stop_pool(&pool).await?;
        absent(cx, &pool, &made.name, ErrorKind::InvalidState).await
    }
}

/// Every call refuses this volume.
async fn absent(cx: &Cx, pool: &PoolName, name: &VolumeName, kind: ErrorKind) -> Outcome {
    let (facet, size) = (facet(cx)?, Bytes::new(2 * MIB));
    refused(facet.download(pool, name, Holes::Fill).await, kind)?;
    refused(facet.upload(pool, name, size, Holes::Fill).await, kind)?;
    refused(facet.resize(pool, name, size, Resize::Grow).await, kind)?;
    refused(facet.wipe(pool, name, WipePattern::Zero).await, kind)?;
    refused(facet.definition(pool, name).await, kind)
}

fn facet(cx: &Cx) -> Result<&dyn VolumeContent> {
    cx.storage().content().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the backend reaches into no volumes"))
}

/// A raw volume that takes no space, in a pool of its own.
async fn raw(cx: &Cx) -> Result<(PoolName, VolumeInfo)> {
    let pool = cx.active_pool("a").await?;
    let made = cx.storage().create_volume(&pool, &volume("disk.raw", VolumeFormatType::Raw, SIZE, Some(0))).await?;
    Ok((pool, made))
}

/// What [`fill`] writes, as one piece.
fn content() -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    for (at, part) in [(0, HEAD), MIDDLE] {
        bytes[at as usize..at as usize + part.len()].copy_from_slice(part);
    }
    bytes
}

async fn fill(cx: &Cx, pool: &PoolName, name: &VolumeName, holes: Holes) -> Result<()> {
    let mut writer = facet(cx)?.upload(pool, name, Bytes::new(SIZE), holes).await?;
    let mut at = 0;
    for (place, part) in [(0, HEAD), MIDDLE] {
        if place > at {
            writer.write(Piece::Hole(Bytes::new(place - at))).await?;
        }
        writer.write(Piece::Data(part.to_vec())).await?;
        at = place + part.len() as u64;
    }
    writer.write(Piece::Hole(Bytes::new(SIZE - at))).await?;
    writer.finish().await
}

async fn read(cx: &Cx, pool: &PoolName, name: &VolumeName, holes: Holes) -> Result<Vec<u8>> {
    let mut reader = facet(cx)?.download(pool, name, holes).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        match piece {
            Piece::Data(data) => bytes.extend(data),
            Piece::Hole(length) => bytes.resize(bytes.len() + length.get() as usize, 0),
        }
    }
    Ok(bytes)
}
