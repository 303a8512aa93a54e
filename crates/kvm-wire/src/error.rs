//! What can be wrong with bytes.

use crate::MAX_PAYLOAD;

/// Bytes that are no frame, or a frame that is not what it says.
///
/// The stream is of no use any more after one of the first two; the others concern one frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The first byte of a frame is none of the kinds: the peer speaks something else.
    #[error(
        "a frame of unknown kind {0:#04x}; the peer is no helper of this version, or something else prints on its stream"
    )]
    Kind(u8),
    /// A frame announces more than the bound.
    #[error("a frame announces {0} bytes, more than {MAX_PAYLOAD}")]
    TooLong(u64),
    /// A frame of another kind than expected.
    #[error("a frame of kind {found} where {expected} was expected")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A block or a run of digests contradicts itself.
    #[error("a damaged frame: {0}")]
    Damaged(&'static str),
    /// A message that this version does not know.
    #[error("a message that cannot be understood")]
    Message(#[from] serde_json::Error),
}
