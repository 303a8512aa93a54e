//! Arbitrary bytes are an image or are refused, within the limits; the map of what is one covers its disk.
//!
//! The first bytes say where in the file the rest stands, piece by piece, so that tables far behind a header are found.
#![no_main]

use std::cell::Cell;
use std::io;

use kvm_image::{Expect, READ_MAX, ReadAt, check, inspect, qcow2};
use libfuzzer_sys::fuzz_target;

/// A sparse file of up to 4 MiB made of pieces of the input.
struct Pieces<'a> {
    pieces: Vec<(u64, &'a [u8])>,
    length: u64,
    read: Cell<u64>,
}

impl<'a> Pieces<'a> {
    fn new(mut input: &'a [u8]) -> Self {
        let (mut pieces, mut length) = (Vec::new(), 0);
        // A place in units of 512 bytes and a length, then so many bytes.
        while let Some((head, rest)) = input.split_at_checked(4) {
            let (at, size) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
            let (piece, rest) = rest.split_at(rest.len().min(usize::from(size)));
            let at = u64::from(at % 8192) * 512;
            pieces.push((at, piece));
            length = length.max(at + piece.len() as u64);
            input = rest;
        }
        Self { pieces, length, read: Cell::new(0) }
    }
}

impl ReadAt for Pieces<'_> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..length];
        self.read.set(self.read.get() + length as u64);
        buffer.fill(0);
        for &(at, piece) in &self.pieces {
            let (start, end) = (offset.max(at), (offset + length as u64).min(at + piece.len() as u64));
            if start < end {
                let from = &piece[(start - at) as usize..(end - at) as usize];
                buffer[(start - offset) as usize..][..from.len()].copy_from_slice(from);
            }
        }
        Ok(length)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.length)
    }
}

fuzz_target!(|input: &[u8]| {
    let image = Pieces::new(input);
    let seen = inspect(&image).expect("the source can be read");
    assert!(image.read.get() <= READ_MAX);
    if let Err(error) = check(&seen, &Expect::any()) {
        let line = error.to_string();
        assert!(line.len() < 3000 && !line.chars().any(char::is_control), "{line:?}");
    }
    if let Ok(map) = qcow2::Map::open(&image) {
        let (size, mut end, mut failed) = (map.header().virtual_size.get(), 0, false);
        for extent in map {
            match extent {
                Ok(extent) => {
                    assert!(extent.start.get() == end && extent.length.get() > 0);
                    end += extent.length.get();
                }
                Err(_) => failed = true,
            }
        }
        assert!(failed || end == size);
        let _found = qcow2::verify(&image);
    }
});
