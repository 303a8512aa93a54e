//! Builders of images, by the specifications and not by the code under test.

use std::cell::Cell;
use std::io;

use kvm_image::ReadAt;

pub(crate) const CLUSTER: usize = 64 << 10;

/// A qcow2 image with clusters of 64 KiB and one second-level table.
#[derive(Clone)]
pub(crate) struct Qcow2 {
    pub(crate) version: u32,
    pub(crate) size: u64,
    pub(crate) incompatible: u64,
    pub(crate) compatible: u64,
    pub(crate) autoclear: u64,
    pub(crate) encryption: u32,
    pub(crate) compression: u8,
    pub(crate) l1_entries: u32,
    pub(crate) backing: Option<(String, Option<&'static str>)>,
    pub(crate) data_file: Option<&'static str>,
    pub(crate) snapshots: Vec<&'static str>,
    pub(crate) bitmaps: Vec<(&'static str, u32)>,
    /// Clusters of the disk that have data, in the order in which they stand in the file.
    pub(crate) data: Vec<usize>,
    /// Clusters of the disk that are zero.
    pub(crate) zero: Vec<usize>,
}

impl Default for Qcow2 {
    fn default() -> Self {
        Self {
            version: 3,
            size: 64 << 20,
            incompatible: 0,
            compatible: 0,
            autoclear: 0,
            encryption: 0,
            compression: 0,
            l1_entries: 1,
            backing: None,
            data_file: None,
            snapshots: Vec::new(),
            bitmaps: Vec::new(),
            data: vec![0, 1, 5],
            zero: vec![6],
        }
    }
}

/// Where the parts are, in clusters.
pub(crate) const REFCOUNT_TABLE: usize = 1;
pub(crate) const REFCOUNT_BLOCK: usize = 2;
pub(crate) const L1: usize = 3;
pub(crate) const L2: usize = 4;
const SNAPSHOTS: usize = 5;
pub(crate) const BITMAPS: usize = 6;
pub(crate) const DATA: usize = 7;

pub(crate) fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

impl Qcow2 {
    pub(crate) fn backed(name: &str, format: Option<&'static str>) -> Self {
        Self { backing: Some((name.to_owned(), format)), ..Self::default() }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut image = vec![0; CLUSTER * (DATA + self.data.len())];
        put(&mut image, 0, b"QFI\xfb");
        let word = |image: &mut [u8], at, value: u32| put(image, at, &value.to_be_bytes());
        let long = |image: &mut [u8], at, value: u64| put(image, at, &value.to_be_bytes());
        let offset = |cluster: usize| (cluster * CLUSTER) as u64;
        word(&mut image, 4, self.version);
        word(&mut image, 20, 16);
        long(&mut image, 24, self.size);
        word(&mut image, 32, self.encryption);
        word(&mut image, 36, self.l1_entries);
        long(&mut image, 40, offset(L1));
        long(&mut image, 48, offset(REFCOUNT_TABLE));
        word(&mut image, 56, 1);
        word(&mut image, 60, self.snapshots.len() as u32);
        long(&mut image, 64, offset(SNAPSHOTS));
        let mut at = 72;
        if self.version == 3 {
            long(&mut image, 72, self.incompatible);
            long(&mut image, 80, self.compatible);
            long(&mut image, 88, self.autoclear);
            word(&mut image, 96, 4);
            word(&mut image, 100, 112);
            image[104] = self.compression;
            at = 112;
        }
        let mut extensions: Vec<(u32, Vec<u8>)> = Vec::new();
        if let Some((_, Some(format))) = &self.backing {
            extensions.push((0xe279_2aca, format.as_bytes().to_vec()));
        }
        extensions.extend(self.data_file.map(|name| (0x4441_5441, name.as_bytes().to_vec())));
        if !self.bitmaps.is_empty() {
            let mut data = (self.bitmaps.len() as u32).to_be_bytes().to_vec();
            data.extend([0; 4]);
            data.extend(1024_u64.to_be_bytes());
            data.extend(offset(BITMAPS).to_be_bytes());
            extensions.push((0x2385_2875, data));
        }
        for (kind, data) in extensions {
            word(&mut image, at, kind);
            word(&mut image, at + 4, data.len() as u32);
            put(&mut image, at + 8, &data);
            at += 8 + data.len().next_multiple_of(8);
        }
        at += 8;
        if let Some((name, _)) = &self.backing {
            long(&mut image, 8, at as u64);
            word(&mut image, 16, name.len() as u32);
            put(&mut image, at, name.as_bytes());
        }
        self.tables(&mut image);
        self.lists(&mut image);
        image
    }

    fn tables(&self, image: &mut [u8]) {
        let copied = 1_u64 << 63;
        let entry = |cluster: usize| ((cluster * CLUSTER) as u64 | copied).to_be_bytes();
        put(image, REFCOUNT_TABLE * CLUSTER, &((REFCOUNT_BLOCK * CLUSTER) as u64).to_be_bytes());
        for cluster in 0..DATA + self.data.len() {
            put(image, REFCOUNT_BLOCK * CLUSTER + cluster * 2, &[0, 1]);
        }
        put(image, L1 * CLUSTER, &entry(L2));
        for (i, guest) in self.data.iter().enumerate() {
            put(image, L2 * CLUSTER + guest * 8, &entry(DATA + i));
            image[(DATA + i) * CLUSTER..][..CLUSTER].fill(*guest as u8 + 1);
        }
        for guest in &self.zero {
            put(image, L2 * CLUSTER + guest * 8, &1_u64.to_be_bytes());
        }
    }

    fn lists(&self, image: &mut [u8]) {
        let mut at = SNAPSHOTS * CLUSTER;
        for (i, name) in self.snapshots.iter().enumerate() {
            let id = (i + 1).to_string();
            put(image, at + 12, &(id.len() as u16).to_be_bytes());
            put(image, at + 14, &(name.len() as u16).to_be_bytes());
            put(image, at + 36, &16_u32.to_be_bytes());
            put(image, at + 40, &4096_u64.to_be_bytes());
            put(image, at + 56, id.as_bytes());
            put(image, at + 56 + id.len(), name.as_bytes());
            at += (56 + id.len() + name.len()).next_multiple_of(8);
        }
        let mut at = BITMAPS * CLUSTER;
        for (name, flags) in &self.bitmaps {
            put(image, at + 12, &flags.to_be_bytes());
            put(image, at + 16, &[1, 16]);
            put(image, at + 18, &(name.len() as u16).to_be_bytes());
            put(image, at + 24, name.as_bytes());
            at += (24 + name.len()).next_multiple_of(8);
        }
    }
}

/// A VMDK extent with its descriptor inside.
pub(crate) fn vmdk(capacity: u64, descriptor: &str, compressed: bool) -> Vec<u8> {
    let mut image = vec![0; 1 << 16];
    let mut head = vec![0; 512];
    put(&mut head, 0, b"KDMV");
    put(&mut head, 4, &3_u32.to_le_bytes());
    put(&mut head, 12, &capacity.to_le_bytes());
    put(&mut head, 20, &128_u64.to_le_bytes());
    put(&mut head, 28, &1_u64.to_le_bytes());
    put(&mut head, 36, &20_u64.to_le_bytes());
    put(&mut head, 44, &512_u32.to_le_bytes());
    put(&mut head, 56, &(if compressed { u64::MAX } else { 21 }).to_le_bytes());
    put(&mut image, 0, &head);
    put(&mut image, 512, descriptor.as_bytes());
    if compressed {
        // The footer has the place of the table that the header has not.
        put(&mut head, 56, &64_u64.to_le_bytes());
        let at = image.len() - 1024;
        put(&mut image, at, &head);
    }
    image
}

pub(crate) fn vmdk_descriptor(kind: &str, extent: &str) -> String {
    format!("# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"{kind}\"\n\n{extent}\n")
}

/// A bootable disc called TEST.
pub(crate) fn iso() -> Vec<u8> {
    let mut image = vec![0; 128 << 10];
    let mut descriptor = |sector: usize, kind: u8| {
        put(&mut image, sector * 2048, &[kind]);
        put(&mut image, sector * 2048 + 1, b"CD001\x01");
    };
    descriptor(16, 1);
    descriptor(17, 0);
    descriptor(18, 255);
    put(&mut image, 17 * 2048 + 7, b"EL TORITO SPECIFICATION");
    put(&mut image, 16 * 2048 + 40, b"TEST                            ");
    image
}

/// A partition table with one entry.
pub(crate) fn mbr(image: &mut [u8]) {
    put(image, 446, &[0x80, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]);
    put(image, 510, &[0x55, 0xaa]);
}

pub(crate) fn luks() -> Vec<u8> {
    let mut image = vec![0; 1 << 20];
    put(&mut image, 0, b"LUKS\xba\xbe\x00\x01");
    put(&mut image, 8, b"aes");
    put(&mut image, 40, b"xts-plain64");
    put(&mut image, 168, b"0a1b2c3d-0000-4000-8000-000000000001");
    image
}

/// CRC-32C by a table, so that it is not the code under test.
fn crc32c(bytes: &[u8]) -> u32 {
    let table: Vec<u32> =
        (0..256_u32).map(|n| (0..8).fold(n, |c, _| if c & 1 == 1 { 0x82f6_3b78 ^ (c >> 1) } else { c >> 1 })).collect();
    !bytes.iter().fold(!0_u32, |crc, byte| table[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

/// A VHDX image of 1 GiB; with a log to replay or a parent where asked for.
pub(crate) fn vhdx(has_log: bool, parent: Option<&str>) -> Vec<u8> {
    let mut image = vec![0; 1 << 20];
    put(&mut image, 0, b"vhdxfile");
    let seal = |image: &mut [u8], at: usize, length: usize| {
        let sum = crc32c(&image[at..at + length]);
        put(image, at + 4, &sum.to_le_bytes());
    };
    for (at, sequence) in [(64 << 10, 1_u64), (128 << 10, 2)] {
        put(&mut image, at, b"head");
        put(&mut image, at + 8, &sequence.to_le_bytes());
        if has_log && sequence == 2 {
            put(&mut image, at + 48, &[7; 16]);
        }
        seal(&mut image, at, 4096);
    }
    let metadata = 512 << 10;
    put(&mut image, 192 << 10, b"regi");
    put(&mut image, (192 << 10) + 8, &1_u32.to_le_bytes());
    let id = [0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e];
    put(&mut image, (192 << 10) + 16, &id);
    put(&mut image, (192 << 10) + 32, &(metadata as u64).to_le_bytes());
    seal(&mut image, 192 << 10, 64 << 10);
    put(&mut image, metadata, b"metadata");
    let parameters = [0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b];
    let size = [0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8];
    let locator = [0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c];
    let items = [(parameters, 64 << 10, 8_u32), (size, (64 << 10) + 8, 8), (locator, (64 << 10) + 16, 512)];
    let count = if parent.is_some() { 3 } else { 2 };
    put(&mut image, metadata + 10, &(count as u16).to_le_bytes());
    for (i, (id, offset, length)) in items.into_iter().take(count).enumerate() {
        let at = metadata + 32 + i * 32;
        put(&mut image, at, &id);
        put(&mut image, at + 16, &(offset as u32).to_le_bytes());
        put(&mut image, at + 20, &length.to_le_bytes());
        put(&mut image, at + 24, &4_u32.to_le_bytes());
    }
    let data = metadata + (64 << 10);
    put(&mut image, data, &(32_u32 << 20).to_le_bytes());
    put(&mut image, data + 4, &[if parent.is_some() { 2 } else { 0 }]);
    put(&mut image, data + 8, &(1_u64 << 30).to_le_bytes());
    if let Some(parent) = parent {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
        let (key, value) = (utf16("relative_path"), utf16(parent));
        let at = data + 16;
        put(&mut image, at + 18, &[1]);
        put(&mut image, at + 20, &40_u32.to_le_bytes());
        put(&mut image, at + 24, &(40 + key.len() as u32).to_le_bytes());
        put(&mut image, at + 28, &(key.len() as u16).to_le_bytes());
        put(&mut image, at + 30, &(value.len() as u16).to_le_bytes());
        put(&mut image, at + 40, &key);
        put(&mut image, at + 40 + key.len(), &value);
    }
    image
}

/// A source that counts what is read of it, and may claim to be longer than it is.
pub(crate) struct Counting<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) length: u64,
    pub(crate) read: Cell<u64>,
}

impl<'a> Counting<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len() as u64, read: Cell::new(0) }
    }
}

impl ReadAt for Counting<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.set(self.read.get() + buffer.len() as u64);
        let available = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..available];
        buffer.fill(0);
        self.bytes.read_at(offset, buffer)?;
        Ok(available)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}
