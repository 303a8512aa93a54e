//! serde for all elements, through their tables.
//!
//! An element is a map under the keys of its fields, a list is a sequence, a leaf is one scalar, an element that is only
//! there or not is `true`. A value that its field's type does not know is `{"_other": "text"}`; what no field stands for is
//! under `_extra`: `attributes` (a map), `nodes` (XML as text), `written` (spellings by `key` or `key[index]`) and `order`.

mod read;
mod write;

pub(crate) use read::deserialize;
pub(crate) use write::serialize;

/// The key of what no field stands for.
const EXTRA: &str = "_extra";
/// The key of a value that its field's type does not know.
const OTHER: &str = "_other";
/// Stands for the next unknown node in `order`.
const NODE_KEY: &str = "_node";
