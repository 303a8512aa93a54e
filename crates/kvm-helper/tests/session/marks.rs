//! Scans of qcow2 images in which a bitmap says what has changed. The images are made here, by the specification.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use kvm_wire::*;

use crate::peer::{Host, noise};

const CLUSTER: u64 = 64 << 10;
const NAME: &str = "kvm-manager-track-1";
/// Clusters of data on the disk, which has no others.
const COUNT: u64 = 100;

// Where the parts are, in clusters.
const REFCOUNT_TABLE: u64 = 1;
const L1: u64 = 2;
const L2: u64 = 3;
const BITMAPS: u64 = 4;
const TABLE: u64 = 5;
const BITS: u64 = 6;
const DATA: u64 = 7;

struct Image<'a>(&'a Host);

impl Image<'_> {
    /// A disk of noise, and a bitmap that marks nothing.
    fn new(host: &Host) -> Image<'_> {
        host.image("source", (DATA + COUNT) * CLUSTER, &[(DATA * CLUSTER, &noise((COUNT * CLUSTER) as usize, 1))]);
        let image = Image(host);
        let word = |at: u64, value: u32| image.put(at, &value.to_be_bytes());
        let long = |at: u64, value: u64| image.put(at, &value.to_be_bytes());
        image.put(0, b"QFI\xfb");
        word(4, 3);
        word(20, 16);
        long(24, COUNT * CLUSTER);
        word(36, 1);
        long(40, L1 * CLUSTER);
        long(48, REFCOUNT_TABLE * CLUSTER);
        word(56, 1);
        // What bitmaps say holds.
        long(88, 1);
        word(96, 4);
        word(100, 104);
        // The extension that names them: one, in a list of so many bytes.
        word(104, 0x2385_2875);
        word(108, 24);
        word(112, 1);
        long(120, 24 + NAME.len().next_multiple_of(8) as u64);
        long(128, BITMAPS * CLUSTER);
        long(L1 * CLUSTER, (L2 * CLUSTER) | (1 << 63));
        (0..COUNT).for_each(|guest| long(L2 * CLUSTER + guest * 8, ((DATA + guest) * CLUSTER) | (1 << 63)));
        long(BITMAPS * CLUSTER, TABLE * CLUSTER);
        word(BITMAPS * CLUSTER + 8, 1);
        image.flags(2);
        image.put(BITMAPS * CLUSTER + 16, &[1, 16]);
        image.put(BITMAPS * CLUSTER + 18, &(NAME.len() as u16).to_be_bytes());
        image.put(BITMAPS * CLUSTER + 24, NAME.as_bytes());
        long(TABLE * CLUSTER, BITS * CLUSTER);
        image
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.0.path("source")).unwrap();
        file.write_all_at(bytes, at).unwrap();
    }

    /// Of the bitmap: 2 records, 1 was not closed.
    fn flags(&self, flags: u32) {
        self.put(BITMAPS * CLUSTER + 12, &flags.to_be_bytes());
    }

    /// Writes to the disk as QEMU does: the cluster, and its mark.
    fn write(&self, guest: u64, seed: u64) {
        self.put((DATA + guest) * CLUSTER, &noise(CLUSTER as usize, seed));
        let at = BITS * CLUSTER + guest / 8;
        let byte = std::fs::read(self.0.path("source")).unwrap()[at as usize];
        self.put(at, &[byte | (1 << (guest % 8))]);
    }

    /// The root of a scan that keeps this, and how much was not read. The root has to be that of a reading of all.
    fn scan(&self, keep: Keep) -> u64 {
        let scan = |keep| {
            let file = self.0.file("source");
            match self.0.session().ask(&Request::Scan { file, keep, access: Access::Exclusive }) {
                Reply::Scanned { root, spared, .. } => (root, spared),
                other => panic!("{other:?}"),
            }
        };
        let ((root, spared), (all, nothing)) = (scan(keep), scan(Keep::Forget));
        assert_eq!((root, nothing), (all, 0));
        spared
    }
}

#[test]
fn what_was_marked_neither_then_nor_now_is_not_read() {
    let host = Host::new();
    let image = Image::new(&host);
    image.write(1, 2);
    assert_eq!(image.scan(Keep::Track), 0, "there was nothing to go by");
    image.write(5, 3);
    image.write(6, 4);
    assert_eq!(image.scan(Keep::Track), (COUNT - 3) * CLUSTER);
    // What was saved by that serves as well.
    image.write(99, 5);
    assert_eq!(image.scan(Keep::Track), (COUNT - 4) * CLUSTER);
}

#[test]
fn an_image_that_was_put_back_is_not_taken_for_what_came_after_it() {
    let host = Host::new();
    let image = Image::new(&host);
    let then = std::fs::read(host.path("source")).unwrap();
    image.write(10, 2);
    image.scan(Keep::Track);
    // Its bitmap says nothing of what was written in the meantime, and is gone now.
    image.put(0, &then);
    image.write(20, 3);
    assert_eq!(image.scan(Keep::Track), (COUNT - 2) * CLUSTER);
}

#[test]
fn all_is_read_where_nothing_can_be_believed() {
    type Change = fn(&Image<'_>);
    let changes: [(&str, Keep, Change); 5] = [
        ("the caller does not know that it is qcow2", Keep::Remember, |_| {}),
        ("the bitmap was not closed", Keep::Track, |image| image.flags(3)),
        ("it records no more", Keep::Track, |image| image.flags(0)),
        ("somebody wrote who knows no bitmaps", Keep::Track, |image| image.put(88, &[0; 8])),
        ("it is not one of ours", Keep::Track, |image| image.put(BITMAPS * CLUSTER + 24, b"x")),
    ];
    for (what, keep, change) in changes {
        let host = Host::new();
        let image = Image::new(&host);
        image.scan(keep);
        image.write(5, 3);
        change(&image);
        assert_eq!(image.scan(keep), 0, "{what}");
    }
}
