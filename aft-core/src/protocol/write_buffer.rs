//! The writes of a transaction before it commits.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::format::envelope::checksum;
use crate::format::record::{Part, StoredValue, Value, WRITE_OVERHEAD, Write};
use crate::protocol::key_range::KeyRange;

/// A buffered write.
#[derive(Debug, Clone)]
struct Pending {
    /// The value; `None` deletes the key.
    value: Option<Bytes>,
    /// The running number of the value object that the value goes to; `None`: it travels in the record.
    object: Option<u32>,
}

impl Pending {
    fn value_len(&self) -> u64 {
        self.value.as_ref().map_or(0, |value| value.len() as u64)
    }

    fn inline_len(&self) -> u64 {
        if self.object.is_some() { 0 } else { self.value_len() }
    }
}

/// The write set of an open transaction: the last write of each key.
#[derive(Debug, Clone, Default)]
pub struct WriteBuffer {
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
        Self { held: key + pending.value_len(), meta: key + WRITE_OVERHEAD, inline: pending.inline_len() }
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
        let pending = Pending { value, object };
        let old = self.writes.get(&key).map_or(Sizes::default(), |old| Sizes::of(&key, old));
        let sizes = self.sizes.minus(old).plus(Sizes::of(&key, &pending));
        admit(sizes)?;
        self.sizes = sizes;
        self.writes.insert(key, pending);
        Ok(())
    }

    /// The transaction's own write of `key`: `Some(None)` where it deleted the key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&Bytes>> {
        self.writes.get(key).map(|pending| pending.value.as_ref())
    }

    /// The own writes in a range, in order.
    pub fn range<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = (&'a Bytes, Option<&'a Bytes>)> {
        let bounds = range.bounds();
        let writes = bounds.into_iter().flat_map(|bounds| self.writes.range::<[u8], _>(bounds));
        writes.map(|(key, pending)| (key, pending.value.as_ref()))
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

    /// Moves the largest inline values to value objects until the record is at most `max_record_bytes`; `name` gives each
    /// object's running number. Returns what is to be uploaded.
    pub fn spill(&mut self, max_record_bytes: u64, mut name: impl FnMut() -> u32) -> Vec<(u32, Bytes)> {
        let mut excess = (self.sizes.meta + self.sizes.inline).saturating_sub(max_record_bytes);
        if excess == 0 {
            return Vec::new();
        }
        let mut inline: Vec<_> =
            self.writes.values_mut().filter(|pending| pending.inline_len() > 0).collect();
        inline.sort_by_key(|pending| std::cmp::Reverse(pending.inline_len()));
        let mut moved = Vec::new();
        for pending in inline {
            if excess == 0 {
                break;
            }
            if let Some(value) = &pending.value {
                let n = name();
                self.sizes.inline -= value.len() as u64;
                excess = excess.saturating_sub(value.len() as u64);
                moved.push((n, value.clone()));
                pending.object = Some(n);
            }
        }
        moved
    }

    /// The running numbers of the value objects that the write set needs.
    pub fn objects(&self) -> impl Iterator<Item = u32> {
        self.writes.values().filter_map(|pending| pending.object)
    }

    /// The write set of the record that `attempt` writes, and its inline values in order.
    #[must_use]
    pub fn write_set(&self, attempt: u64) -> (Vec<Write>, Vec<Bytes>) {
        let mut payload = Vec::new();
        let mut offset = 0;
        let mut writes = Vec::with_capacity(self.writes.len());
        for (key, pending) in &self.writes {
            let value = match (&pending.value, pending.object) {
                (None, _) => Value::Tombstone,
                (Some(value), Some(n)) => {
                    let (len, checksum) = (value.len() as u64, checksum(value));
                    let parts = vec![Part { attempt, n, offset: 0, len, checksum }];
                    Value::Stored(StoredValue { len, checksum, parts })
                }
                (Some(value), None) => {
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

    /// The values in the order of the write set; `None` for deletions.
    pub fn values(&self) -> impl Iterator<Item = Option<&Bytes>> {
        self.writes.values().map(|pending| pending.value.as_ref())
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
        assert_eq!(buffer.get(b"c"), Some(None));
        let (writes, payload) = buffer.write_set(9);
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
