//! The writes of a transaction before it commits.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::format::envelope::checksum;
use crate::format::record::{PART_BYTES, Part, StoredValue, Value, WRITE_OVERHEAD, Write};
use crate::key_range::KeyRange;

/// A buffered write.
#[derive(Debug, Clone)]
struct Pending {
    content: Content,
    /// The attempt that wrote it: this one, or one that was suspended before.
    writer: u64,
}

#[derive(Debug, Clone)]
enum Content {
    Deleted,
    /// A value that travels in the record.
    Inline(Bytes),
    /// A value that goes to the value object with this running number.
    Uploaded(Bytes, u32),
    /// A value that is durable already.
    Stored(StoredValue),
}

/// What the transaction itself wrote to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own<'a> {
    /// A deletion.
    Deleted,
    /// A value that is at hand.
    Held(&'a Bytes),
    /// A value that is durable already.
    Stored(&'a StoredValue),
}

impl Own<'_> {
    /// How long the value is, in bytes; 0 for a deletion.
    #[must_use]
    pub fn value_len(self) -> u64 {
        match self {
            Self::Deleted => 0,
            Self::Held(value) => value.len() as u64,
            Self::Stored(stored) => stored.len,
        }
    }
}

impl Content {
    fn own(&self) -> Own<'_> {
        match self {
            Self::Deleted => Own::Deleted,
            Self::Inline(value) | Self::Uploaded(value, _) => Own::Held(value),
            Self::Stored(stored) => Own::Stored(stored),
        }
    }

    fn held_len(&self) -> u64 {
        if let Own::Held(value) = self.own() { value.len() as u64 } else { 0 }
    }

    fn inline_len(&self) -> u64 {
        if let Self::Inline(value) = self { value.len() as u64 } else { 0 }
    }

    /// A bound for what a record says of it.
    fn meta_len(&self) -> u64 {
        let more =
            if let Self::Stored(stored) = self { stored.parts.len().saturating_sub(1) as u64 } else { 0 };
        WRITE_OVERHEAD + more * PART_BYTES
    }
}

/// The write set of an open transaction: the last write of each key.
#[derive(Debug, Clone, Default)]
pub struct WriteBuffer {
    /// The attempt whose writes these become.
    attempt: u64,
    writes: BTreeMap<Bytes, Pending>,
    sizes: Sizes,
}

/// Sizes of a write set, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Keys and values: what the transaction holds in memory.
    pub held: u64,
    /// A bound for the record without its inline values: what no moving of values can reduce.
    pub meta: u64,
    /// Values that travel in the record.
    pub inline: u64,
}

impl Sizes {
    fn of(key: &[u8], pending: &Pending) -> Self {
        let key = key.len() as u64;
        let content = &pending.content;
        Self { held: key + content.held_len(), meta: key + content.meta_len(), inline: content.inline_len() }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            held: self.held + other.held,
            meta: self.meta + other.meta,
            inline: self.inline + other.inline,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            held: self.held - other.held,
            meta: self.meta - other.meta,
            inline: self.inline - other.inline,
        }
    }
}

impl WriteBuffer {
    /// An empty buffer for what this attempt writes.
    #[must_use]
    pub fn new(attempt: u64) -> Self {
        Self { attempt, ..Self::default() }
    }

    /// Takes a write over that an earlier attempt buffered, with its value where that is an inline one.
    pub fn restore(&mut self, write: Write, writer: u64, inline: Option<Bytes>) {
        let content = match write.value {
            Value::Tombstone => Content::Deleted,
            Value::Inline { .. } => Content::Inline(inline.unwrap_or_default()),
            Value::Stored(stored) => Content::Stored(stored),
        };
        self.insert(write.key, Pending { content, writer });
    }

    fn insert(&mut self, key: Bytes, pending: Pending) {
        self.sizes = self.sizes_with(&key, &pending);
        self.writes.insert(key, pending);
    }

    fn sizes_with(&self, key: &Bytes, pending: &Pending) -> Sizes {
        let old = self.writes.get(key).map_or(Sizes::default(), |old| Sizes::of(key, old));
        self.sizes.minus(old).plus(Sizes::of(key, pending))
    }

    /// Buffers a write; `None` deletes the key. `object` is the value object that the value goes to, if any. Refused, with
    /// the sizes that it would lead to, where `admit` says so.
    ///
    /// # Errors
    /// What `admit` returned; nothing was changed.
    pub fn put<E>(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        object: Option<u32>,
        admit: impl FnOnce(Sizes) -> Result<(), E>,
    ) -> Result<(), E> {
        let content = match (value, object) {
            (None, _) => Content::Deleted,
            (Some(value), None) => Content::Inline(value),
            (Some(value), Some(n)) => Content::Uploaded(value, n),
        };
        self.admit(key, content, admit)
    }

    /// Buffers a write whose value is durable already. Refused as by [`put`](Self::put).
    ///
    /// # Errors
    /// What `admit` returned; nothing was changed.
    pub fn put_stored<E>(
        &mut self,
        key: Bytes,
        value: StoredValue,
        admit: impl FnOnce(Sizes) -> Result<(), E>,
    ) -> Result<(), E> {
        self.admit(key, Content::Stored(value), admit)
    }

    fn admit<E>(
        &mut self,
        key: Bytes,
        content: Content,
        admit: impl FnOnce(Sizes) -> Result<(), E>,
    ) -> Result<(), E> {
        let pending = Pending { content, writer: self.attempt };
        admit(self.sizes_with(&key, &pending))?;
        self.insert(key, pending);
        Ok(())
    }

    /// The transaction's own write of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Own<'_>> {
        self.writes.get(key).map(|pending| pending.content.own())
    }

    /// The own writes in a range, in order.
    pub fn range<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = (&'a Bytes, Own<'a>)> {
        let bounds = range.bounds();
        let writes = bounds.into_iter().flat_map(|bounds| self.writes.range::<[u8], _>(bounds));
        writes.map(|(key, pending)| (key, pending.content.own()))
    }

    /// The keys that were written, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.writes.keys()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    #[cfg(test)]
    fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// About how long its record is, with its inline values.
    pub const fn record_bytes(&self) -> u64 {
        self.sizes.meta + self.sizes.inline
    }

    /// Moves the largest inline values to value objects until the record is at most `max_record_bytes`; `name` gives each
    /// object's running number. Returns what is to be uploaded.
    pub fn spill(&mut self, max_record_bytes: u64, name: impl FnMut() -> u32) -> Vec<(u32, Bytes)> {
        let excess = self.record_bytes().saturating_sub(max_record_bytes);
        self.spill_inline(excess, name)
    }

    /// As [`spill`](Self::spill), until the inline values come to at most `max_inline_bytes`.
    pub fn spill_to(&mut self, max_inline_bytes: u64, name: impl FnMut() -> u32) -> Vec<(u32, Bytes)> {
        self.spill_inline(self.sizes.inline.saturating_sub(max_inline_bytes), name)
    }

    fn spill_inline(&mut self, mut excess: u64, mut name: impl FnMut() -> u32) -> Vec<(u32, Bytes)> {
        if excess == 0 {
            return Vec::new();
        }
        let mut inline: Vec<_> =
            self.writes.values_mut().filter(|pending| pending.content.inline_len() > 0).collect();
        inline.sort_by_key(|pending| std::cmp::Reverse(pending.content.inline_len()));
        let mut moved = Vec::new();
        for pending in inline {
            if excess == 0 {
                break;
            }
            if let Content::Inline(value) = &pending.content {
                let (n, value) = (name(), value.clone());
                self.sizes.inline -= value.len() as u64;
                excess = excess.saturating_sub(value.len() as u64);
                moved.push((n, value.clone()));
                pending.content = Content::Uploaded(value, n);
            }
        }
        moved
    }

    /// The running numbers of the value objects that the write set needs and that this attempt makes.
    pub fn objects(&self) -> impl Iterator<Item = u32> {
        self.writes.values().filter_map(|pending| match pending.content {
            Content::Uploaded(_, n) => Some(n),
            _ => None,
        })
    }

    /// Whether any of its values has objects of its own, whoever made them.
    pub fn has_objects(&self) -> bool {
        self.writes
            .values()
            .any(|pending| matches!(pending.content, Content::Uploaded(..) | Content::Stored(..)))
    }

    /// Which attempt wrote each key, in the order of the write set.
    pub fn writers(&self) -> impl Iterator<Item = u64> {
        self.writes.values().map(|pending| pending.writer)
    }

    /// The write set of the record, and its inline values in order.
    #[must_use]
    pub fn write_set(&self) -> (Vec<Write>, Vec<Bytes>) {
        let mut payload = Vec::new();
        let mut offset = 0;
        let mut writes = Vec::with_capacity(self.writes.len());
        for (key, pending) in &self.writes {
            let value = match &pending.content {
                Content::Deleted => Value::Tombstone,
                Content::Stored(stored) => Value::Stored(stored.clone()),
                Content::Uploaded(value, n) => {
                    let (len, checksum) = (value.len() as u64, checksum(value));
                    let parts = vec![Part { attempt: self.attempt, n: *n, offset: 0, len, checksum }];
                    Value::Stored(StoredValue { len, checksum, parts })
                }
                Content::Inline(value) => {
                    let len = value.len() as u64;
                    payload.push(value.clone());
                    let at = offset;
                    offset += len;
                    Value::Inline { offset: at, len, checksum: checksum(value) }
                }
            };
            writes.push(Write { key: key.clone(), value });
        }
        (writes, payload)
    }

    /// The values at hand, in the order of the write set; `None` for deletions and for values that are stored already.
    pub fn values(&self) -> impl Iterator<Item = Option<&Bytes>> {
        self.writes.values().map(|pending| match pending.content.own() {
            Own::Held(value) => Some(value),
            Own::Deleted | Own::Stored(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(buffer: &mut WriteBuffer, key: &'static str, value: Option<&'static str>, object: Option<u32>) {
        let admit = |_| Ok::<(), ()>(());
        buffer.put(Bytes::from(key), value.map(Bytes::from), object, admit).unwrap();
    }

    #[test]
    fn the_last_write_of_a_key_counts_and_sizes_follow() {
        let mut buffer = WriteBuffer::default();
        put(&mut buffer, "b", Some("12345"), None);
        put(&mut buffer, "a", Some("123"), None);
        put(&mut buffer, "b", Some("1"), Some(4));
        put(&mut buffer, "c", None, None);
        assert_eq!(buffer.sizes(), Sizes { held: 7, meta: 3 + 3 * WRITE_OVERHEAD, inline: 3 });
        assert_eq!(buffer.get(b"c"), Some(Own::Deleted));
        let (writes, payload) = buffer.write_set();
        assert_eq!(payload, [Bytes::from("123")]);
        assert_eq!(writes.iter().map(|write| &write.key[..]).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        assert!(
            matches!(&writes[1].value, Value::Stored(stored) if stored.parts[0].n == 4 && stored.len == 1)
        );
        assert_eq!(buffer.objects().collect::<Vec<_>>(), [4]);
        let refused = buffer.put(Bytes::from("d"), Some(Bytes::from("x")), None, |sizes| Err(sizes.held));
        assert_eq!((refused, buffer.sizes().held), (Err(9), 7));
    }

    #[test]
    fn the_largest_values_leave_a_record_that_is_too_large() {
        let mut buffer = WriteBuffer::default();
        put(&mut buffer, "a", Some("333"), None);
        put(&mut buffer, "b", Some("55555"), None);
        put(&mut buffer, "c", Some("4444"), None);
        let room = buffer.sizes().meta + 5;
        let mut n = 0;
        let moved = buffer.spill(room, || {
            n += 1;
            n
        });
        assert_eq!(moved, [(1, Bytes::from("55555")), (2, Bytes::from("4444"))]);
        assert_eq!(buffer.sizes().inline, 3);
        assert!(buffer.spill(room, || unreachable!()).is_empty());
    }
}
