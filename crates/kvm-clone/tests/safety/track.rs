//! What goes over a way, frame by frame.

use kvm_wire::{FrameKind, Header};

/// Where in a stream of frames one is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    head: Vec<u8>,
    /// What is missing of the payload under way.
    left: usize,
    length: usize,
    kind: Option<FrameKind>,
    /// All bytes so far.
    pub(crate) bytes: u64,
    /// Where in the stream each frame that began so far begins, and its kind.
    pub(crate) frames: Vec<(u64, FrameKind)>,
    /// How many frames of blocks are through.
    pub(crate) blocks: u64,
    /// All that went by, where it is kept.
    pub(crate) kept: Vec<u8>,
}

/// A part of a payload: its frame's kind, that frame's number among its kind, where in the payload it begins.
type Part<'a> = (FrameKind, usize, usize, &'a mut [u8]);

impl Track {
    /// Goes over bytes, and shows those of payloads.
    pub(crate) fn walk(&mut self, mut bytes: &mut [u8], mut each: impl FnMut(Part<'_>)) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.left == 0 {
                if self.head.is_empty() {
                    // The kind is known with the header's end.
                    let begin = self.bytes - bytes.len() as u64;
                    self.frames.push((begin, FrameKind::Message));
                }
                let (head, rest) = bytes.split_at_mut(bytes.len().min(Header::SIZE - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let Ok(head) = <[u8; Header::SIZE]>::try_from(&*self.head) {
                    let header = Header::decode(head).unwrap();
                    self.head.clear();
                    (self.left, self.length, self.kind) = (header.length(), header.length(), Some(header.kind()));
                    self.frames.last_mut().unwrap().1 = header.kind();
                }
                continue;
            }
            let (part, rest) = bytes.split_at_mut(bytes.len().min(self.left));
            let (kind, offset) = (self.kind.unwrap(), self.length - self.left);
            let number = self.number_of(kind) - 1;
            self.left -= part.len();
            each((kind, number, offset, part));
            self.blocks += u64::from(self.left == 0 && kind == FrameKind::Block);
            bytes = rest;
        }
    }

    /// How many frames of a kind have begun.
    pub(crate) fn number_of(&self, kind: FrameKind) -> usize {
        self.frames.iter().filter(|(_, of)| *of == kind).count()
    }

    /// The same, without what is kept.
    pub(crate) fn clone_position(&self) -> Self {
        let Self { head, frames, .. } = self;
        Self { head: head.clone(), frames: frames.clone(), kept: Vec::new(), ..*self }
    }

    /// Whether the next byte is the first of this message.
    pub(crate) fn is_before_message(&self, number: usize) -> bool {
        self.left == 0 && self.head.is_empty() && self.number_of(FrameKind::Message) == number
    }
}
