//! Digests of disk images: a tree of three levels.
//!
//! - A *leaf* is [`LEAF_SIZE`] bytes of the image, fewer at its end. Its digest is BLAKE3 of these bytes.
//! - A *group* is [`GROUP_LEAVES`] leaves, fewer at the end. Its digest is BLAKE3 over the digests of its leaves.
//! - The *root* is BLAKE3 over the length of the image (u64, little endian) and the digests of its groups.
//!
//! What is all zeros has the constant digest [`Digest::ZERO`], leaf or group, however long: holes are known without being
//! read, and a large image that is nearly empty costs next to nothing. The length in the root fixes the shape of the tree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::WireError;

/// The bytes of a leaf, the smallest part of an image that is compared and sent: 64 KiB.
pub const LEAF_SIZE: u64 = 64 << 10;
/// The leaves of a group.
pub const GROUP_LEAVES: u64 = 256;
/// The bytes of a group: 16 MiB.
pub const GROUP_SIZE: u64 = LEAF_SIZE * GROUP_LEAVES;

/// A BLAKE3 digest, or [`Digest::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; Self::SIZE]);

impl Digest {
    /// The bytes of a digest.
    pub const SIZE: usize = 32;

    /// The digest of a leaf or a group that is all zeros. No bytes have it as their BLAKE3 digest, as far as anybody
    /// knows.
    pub const ZERO: Self = Self([0; Self::SIZE]);

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// Whether it stands for zeros.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The digests that stand in these bytes, one after the other; what is left over at the end is left out.
    pub(crate) fn all_in(bytes: &[u8]) -> impl ExactSizeIterator<Item = Self> + '_ {
        bytes.as_chunks().0.iter().map(|bytes| Self(*bytes))
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        let wrong = || WireError::Damaged("a digest is written as 64 hexadecimal digits");
        let digits = text.as_bytes();
        let mut bytes = [0; Self::SIZE];
        if digits.len() != 2 * Self::SIZE {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
            let (high, low) = high.zip(low).ok_or_else(wrong)?;
            *byte = u8::try_from(high << 4 | low).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether these bytes are all zeros.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    // Blocks, so that the compiler uses wide registers and stops soon at what is not zero.
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| block.iter().fold(0, |all, byte| all | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// The digest of a leaf with these bytes.
#[must_use]
pub fn leaf_digest(bytes: &[u8]) -> Digest {
    match is_zero(bytes) {
        true => Digest::ZERO,
        false => Digest(*blake3::hash(bytes).as_bytes()),
    }
}

/// Computes the digest of a group from those of its leaves, in their order.
#[derive(Clone, Debug, Default)]
pub struct GroupHasher {
    hasher: blake3::Hasher,
    has_data: bool,
}

impl GroupHasher {
    /// A group without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next leaf.
    pub fn add(&mut self, leaf: &Digest) {
        self.has_data |= !leaf.is_zero();
        self.hasher.update(&leaf.0);
    }

    /// The digest of the group.
    #[must_use]
    pub fn finish(&self) -> Digest {
        match self.has_data {
            true => Digest(*self.hasher.finalize().as_bytes()),
            false => Digest::ZERO,
        }
    }
}

/// The digest of an image of `length` bytes with these groups.
#[must_use]
pub fn root_digest<'a>(length: u64, groups: impl IntoIterator<Item = &'a Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&length.to_le_bytes());
    for group in groups {
        hasher.update(&group.0);
    }
    Digest(*hasher.finalize().as_bytes())
}

/// How many leaves an image of `length` bytes has.
#[must_use]
pub const fn leaves_in(length: u64) -> u64 {
    length.div_ceil(LEAF_SIZE)
}

/// How many groups an image of `length` bytes has.
#[must_use]
pub const fn groups_in(length: u64) -> u64 {
    length.div_ceil(GROUP_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_constant_digest_however_many() {
        for length in [0, 1, 63, 64, 65, 4096, 65536] {
            let mut bytes = vec![0; length];
            assert_eq!(leaf_digest(&bytes), Digest::ZERO, "{length}");
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                assert_ne!(leaf_digest(&bytes), Digest::ZERO, "{length}");
            }
        }
    }

    #[test]
    fn a_group_of_zeros_is_zero_and_one_leaf_makes_the_difference() {
        let mut group = GroupHasher::new();
        (0..GROUP_LEAVES - 1).for_each(|_| group.add(&Digest::ZERO));
        assert_eq!(group.finish(), Digest::ZERO);
        group.add(&leaf_digest(b"x"));
        assert_ne!(group.finish(), Digest::ZERO);
    }

    #[test]
    fn images_of_zeros_differ_by_their_length() {
        assert_ne!(root_digest(1, [&Digest::ZERO]), root_digest(2, [&Digest::ZERO]));
    }

    #[test]
    fn a_digest_reads_as_it_is_written() {
        let digest = leaf_digest(b"disk");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for wrong in ["", "00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_tree_is_what_its_page_says() {
        assert_eq!(
            leaf_digest(b"abc").to_string(),
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85" // BLAKE3 of "abc"
        );
        assert_eq!((leaves_in(0), groups_in(0)), (0, 0));
        assert_eq!((leaves_in(LEAF_SIZE + 1), groups_in(GROUP_SIZE + 1)), (2, 2));
    }
}
