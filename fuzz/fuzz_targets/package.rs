//! Arbitrary bytes are a package or are refused: an archive, a bundle, an OVF document, or the disk of one.
//!
//! The first byte says which. Archives are made of members, so that what is behind the first header is reached, too.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};

use kvm_archive::{Package, read_ovf, unwatched, write_ovf};
use kvm_image::{Disk, Format};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FILE: RefCell<tempfile::NamedTempFile> = RefCell::new(tempfile::NamedTempFile::new().expect("a file"));
}

/// A tar archive whose members have names, kinds and lengths of the input.
fn archive(mut input: &[u8]) -> Vec<u8> {
    let mut archive = Vec::new();
    while let Some((head, rest)) = input.split_at_checked(5) {
        let (name, rest) = rest.split_at(rest.len().min(usize::from(head[0] % 100)));
        let (data, rest) = rest.split_at(rest.len().min(usize::from(u16::from_le_bytes([head[1], head[2]]))));
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        // Mostly plain files of the length that they have.
        header.as_old_mut().linkflag = [if head[3] < 200 { b'0' } else { head[3] }];
        header.set_size(data.len() as u64 + u64::from(head[4] / 250));
        header.set_mode(0o644);
        header.set_cksum();
        archive.extend(header.as_bytes());
        archive.extend(data);
        archive.resize(archive.len().next_multiple_of(512), 0);
        input = rest;
    }
    archive.extend([0; 1024]);
    archive
}

fn open(bytes: &[u8]) {
    FILE.with_borrow_mut(|file| {
        file.as_file_mut().set_len(0).expect("a file");
        file.seek(SeekFrom::Start(0)).expect("a file");
        file.write_all(bytes).expect("a file");
        if let Err(error) = Package::open(file.path(), &std::env::temp_dir(), &mut unwatched) {
            let line = error.to_string();
            assert!(line.len() < 3000 && !line.chars().any(char::is_control), "{line:?}");
        }
    });
}

fn read(bytes: &[u8], format: Format) {
    let source = bytes.to_vec();
    if let Ok(mut disk) = Disk::open(&source, format) {
        let mut piece = vec![0; 70_000];
        let size = disk.size().get();
        for offset in [0, 1, 65_535, size / 2, size.saturating_sub(1), size] {
            let _damaged = disk.read(offset, &mut piece);
            if let Ok(hole) = disk.hole(offset, u64::MAX) {
                assert!(hole <= size.saturating_sub(offset));
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 6 {
        0 => open(rest),
        1 => open(&archive(rest)),
        2 => open(&zstd::encode_all(archive(rest).as_slice(), 1).expect("memory")),
        3 => {
            if let Ok(appliance) = std::str::from_utf8(rest).map_err(drop).and_then(|text| read_ovf(text).map_err(drop))
            {
                read_ovf(&write_ovf(&appliance)).expect("what is written can be read");
            }
        }
        4 => read(rest, Format::Vmdk),
        _ => read(rest, Format::Qcow2),
    }
});
