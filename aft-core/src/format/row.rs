//! One row of the key index: the newest folded version of one key.

use bytes::Bytes;

use crate::format::record::StoredValue;
use crate::version::Version;

/// The newest folded version of a key, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key: 1 to 4096 bytes.
    pub key: Bytes,
    /// The version of the commit that wrote it.
    pub version: Version,
    /// The key's place in that commit's write set, from 0: what tells its values apart in the data cache.
    pub ordinal: u32,
    /// What was written.
    pub value: RowValue,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowValue {
    /// The key was deleted.
    Tombstone,
    /// The value itself.
    Inline(Bytes),
    /// A value in objects of its own.
    Stored(StoredValue),
}
