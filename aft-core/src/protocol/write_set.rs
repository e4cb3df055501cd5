//! The write set of a commit, as the view holds it.
//!
//! A node holds all commits of some twenty minutes. As a list of writes, each with a key of its own, a write took 72 bytes beside its key. So
//! a write set is one buffer, in three parts:
//!
//! | part | bytes of it |
//! |---|---|
//! | where each key begins in the buffer, and where the last one ends | 4 each |
//! | the keys, one after the other | |
//! | for each write what was written (1), how far the inline values up to this one reach (8), and the checksum of an inline value or the ordinal of a stored one (8) | 17 each |
//!
//! All numbers are little-endian. What few commits have, values that lie in objects of their own, is in a list beside it.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use crate::format::record::{StoredValue, Value, Write};

/// Bytes of the place of a key.
const PLACE: usize = 4;
/// Bytes of what was written.
const WRITTEN: usize = 17;

const TOMBSTONE: u8 = 0;
const INLINE: u8 = 1;
const STORED: u8 = 2;

/// What a commit wrote, sorted by key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteSet {
    /// The first key begins where the places of keys end: that says how many there are. Empty, where there are none.
    buffer: Bytes,
    stored: Option<Box<Stored>>,
}

/// In a box of its own, so that who has none pays for one pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored(Vec<StoredValue>);

/// A [`Value`] of a write set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// The key was deleted.
    Tombstone,
    /// Beside the record: `offset` bytes after the record's first inline value.
    Inline {
        /// Distance from the record's first inline value, in bytes.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// Checksum of the value.
        checksum: u64,
    },
    /// In value objects.
    Stored(&'a StoredValue),
}

impl WriteSet {
    /// The write set of a record: sorted, with inline values in the order of keys. (The keys of a record take less than 4 GiB, as its object
    /// does.)
    #[must_use]
    pub fn new(writes: &[Write]) -> Self {
        if writes.is_empty() {
            return Self { buffer: Bytes::new(), stored: None };
        }
        let places = (writes.len() + 1) * PLACE;
        let keys: usize = writes.iter().map(|write| write.key.len()).sum();
        let mut buffer = Vec::with_capacity(places + keys + writes.len() * WRITTEN);
        let mut place = places;
        buffer.put_u32_le(place_of(place));
        for write in writes {
            place += write.key.len();
            buffer.put_u32_le(place_of(place));
        }
        writes.iter().for_each(|write| buffer.put_slice(&write.key));
        let (mut inline_end, mut stored) = (0u64, Vec::new());
        for write in writes {
            let (kind, word) = match &write.value {
                Value::Tombstone => (TOMBSTONE, 0),
                Value::Inline { offset, len, checksum } => {
                    debug_assert_eq!(*offset, inline_end, "inline values lie in the order of keys");
                    inline_end = inline_end.saturating_add(*len);
                    (INLINE, *checksum)
                }
                Value::Stored(value) => {
                    stored.push(value.clone());
                    (STORED, stored.len() as u64 - 1)
                }
            };
            buffer.put_u8(kind);
            buffer.put_u64_le(inline_end);
            buffer.put_u64_le(word);
        }
        stored.shrink_to_fit();
        let stored = (!stored.is_empty()).then(|| Box::new(Stored(stored)));
        Self { buffer: buffer.into(), stored }
    }

    /// How many keys were written.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        if self.buffer.is_empty() { 0 } else { self.place(0) / PLACE - 1 }
    }

    fn place(&self, ordinal: usize) -> usize {
        (&self.buffer[ordinal * PLACE..]).get_u32_le() as usize
    }

    fn key_range(&self, ordinal: usize) -> Range<usize> {
        self.place(ordinal)..self.place(ordinal + 1)
    }

    /// What was written, how far inline values reach, and the checksum or the ordinal.
    fn written(&self, ordinal: usize) -> (u8, u64, u64) {
        let at = self.place(self.len()) + ordinal * WRITTEN;
        let mut written = &self.buffer[at..];
        (written.get_u8(), written.get_u64_le(), written.get_u64_le())
    }

    /// The key of the write with this ordinal.
    #[must_use]
    pub fn key(&self, ordinal: usize) -> &[u8] {
        &self.buffer[self.key_range(ordinal)]
    }

    /// The key of the write with this ordinal: a slice of the buffer, not a copy.
    #[must_use]
    pub fn key_bytes(&self, ordinal: usize) -> Bytes {
        self.buffer.slice(self.key_range(ordinal))
    }

    /// What the write with this ordinal wrote.
    #[must_use]
    pub fn value(&self, ordinal: usize) -> ValueRef<'_> {
        match self.written(ordinal) {
            (TOMBSTONE, ..) => ValueRef::Tombstone,
            (INLINE, end, checksum) => {
                let offset = if ordinal == 0 { 0 } else { self.written(ordinal - 1).1 };
                ValueRef::Inline { offset, len: end - offset, checksum }
            }
            (_, _, at) => ValueRef::Stored(&self.stored()[at as usize]),
        }
    }

    /// The ordinal of a key.
    #[must_use]
    pub fn position(&self, key: &[u8]) -> Option<usize> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = usize::midpoint(from, to);
            match self.key(middle).cmp(key) {
                Ordering::Equal => return Some(middle),
                Ordering::Less => from = middle + 1,
                Ordering::Greater => to = middle,
            }
        }
        None
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|ordinal| self.key(ordinal))
    }

    /// What was written, in the order of keys.
    pub fn values(&self) -> impl ExactSizeIterator<Item = ValueRef<'_>> {
        (0..self.len()).map(|ordinal| self.value(ordinal))
    }

    /// Keys and what was written, in the order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], ValueRef<'_>)> {
        (0..self.len()).map(|ordinal| (self.key(ordinal), self.value(ordinal)))
    }

    /// The values that lie in objects of their own, in the order of keys.
    #[must_use]
    pub fn stored(&self) -> &[StoredValue] {
        self.stored.as_ref().map_or(&[], |stored| &stored.0)
    }

    /// As a record has it. Keys are slices of the buffer.
    #[must_use]
    pub fn to_vec(&self) -> Vec<Write> {
        let write = |ordinal| {
            let value = match self.value(ordinal) {
                ValueRef::Tombstone => Value::Tombstone,
                ValueRef::Inline { offset, len, checksum } => Value::Inline { offset, len, checksum },
                ValueRef::Stored(stored) => Value::Stored(stored.clone()),
            };
            Write { key: self.key_bytes(ordinal), value }
        };
        (0..self.len()).map(write).collect()
    }
}

fn place_of(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::format::record::Part;

    fn stored(n: u32) -> StoredValue {
        let part = Part { attempt: 7, n, offset: 0, len: 3, checksum: u64::from(n) };
        StoredValue { len: 3, checksum: 5, parts: vec![part] }
    }

    /// The writes of a record: for each key, none where it was deleted, a length where it is inline, else stored.
    fn writes(keys: BTreeMap<Vec<u8>, Option<Result<u64, u32>>>) -> Vec<Write> {
        let mut offset = 0;
        let write = |(key, value): (Vec<u8>, _)| {
            let value = match value {
                None => Value::Tombstone,
                Some(Err(n)) => Value::Stored(stored(n)),
                Some(Ok(len)) => {
                    offset += len;
                    Value::Inline { offset: offset - len, len, checksum: !len }
                }
            };
            Write { key: key.into(), value }
        };
        keys.into_iter().map(write).collect()
    }

    fn any_writes() -> impl Strategy<Value = Vec<Write>> {
        let key = prop::collection::vec(any::<u8>(), 1..6);
        let value = prop::option::of(prop::result::maybe_err(0u64..1 << 40, any::<u32>()));
        prop::collection::btree_map(key, value, 0..12).prop_map(writes)
    }

    proptest! {
        #[test]
        fn a_write_set_is_what_the_record_said(writes in any_writes(), other in prop::collection::vec(any::<u8>(), 0..6)) {
            let set = WriteSet::new(&writes);
            prop_assert_eq!(set.to_vec(), &writes[..]);
            prop_assert_eq!(set.len(), writes.len());
            prop_assert!(set.keys().eq(writes.iter().map(|write| &write.key[..])));
            let values = writes.iter().map(|write| &write.value);
            let stored = values.filter_map(|value| if let Value::Stored(it) = value { Some(it) } else { None });
            prop_assert!(set.stored().iter().eq(stored));
            for key in writes.iter().map(|write| &write.key[..]).chain([&other[..]]) {
                prop_assert_eq!(set.position(key), writes.iter().position(|write| write.key == key));
            }
        }
    }
}
