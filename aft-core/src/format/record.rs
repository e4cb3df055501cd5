//! The record of one commit: what it wrote, and where the values are.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::FormatError;
use crate::format::name::ValueName;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// What a decision says of one committed transaction. Inline values follow in the payload of the object that holds
/// the record, in the order of the write set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecord {
    /// The transaction.
    pub txn: TxnId,
    /// The clock part of its version.
    pub clock: Timestamp,
    /// The request key that led to it.
    pub request_key: Option<Bytes>,
    /// The stored result.
    pub result: Option<Bytes>,
    /// The guards it holds.
    pub guards: Vec<Guard>,
    /// The write set, sorted by key.
    pub writes: Vec<Write>,
}

/// A guard that a transaction made before its decision: it alone may supersede `over` of `key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The guarded key.
    pub key: Bytes,
    /// The version that it supersedes.
    pub over: Version,
    /// Which try for that version the guard is.
    pub slot: u32,
}

/// One key of a write set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The key: 1 to 4096 bytes.
    pub key: Bytes,
    /// What was written.
    pub value: Value,
}

/// Where a written value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// The key was deleted.
    Tombstone,
    /// In the payload beside the record: `offset` bytes after the record's first inline value.
    Inline {
        /// Distance from the record's first inline value, in bytes.
        offset: u64,
        /// Length in bytes.
        len: u64,
        /// [`checksum`](crate::format::envelope::checksum) of the value.
        checksum: u64,
    },
    /// In value objects.
    Stored(StoredValue),
}

/// A value that lies in objects of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredValue {
    /// Length in bytes: the sum of its parts'.
    pub len: u64,
    /// Checksum of the whole value.
    pub checksum: u64,
    /// Its parts, in order; at least one.
    pub parts: Vec<Part>,
}

/// A piece of a stored value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The attempt that uploaded the value object.
    pub attempt: u64,
    /// The attempt's running number.
    pub n: u32,
    /// Where in the object the piece begins.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Checksum of the piece.
    pub checksum: u64,
}

impl Part {
    /// The value object that holds the piece.
    #[must_use]
    pub fn object(&self) -> ValueName {
        ValueName { attempt: self.attempt, n: self.n }
    }
}

impl CommitRecord {
    /// The version of everything it wrote.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::new(self.clock, self.txn)
    }

    /// Bytes of its inline values.
    #[must_use]
    pub fn inline_len(&self) -> u64 {
        self.writes.iter().map(|write| write.value.inline_len()).sum()
    }
}

impl Value {
    /// Whether it lies beside the record.
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Self::Inline { .. })
    }

    fn inline_len(&self) -> u64 {
        if let Self::Inline { len, .. } = self { *len } else { 0 }
    }
}

/// A generous bound for what a write adds to a record besides its key and inline bytes: two lengths, two checksums
/// and one part.
pub(crate) const WRITE_OVERHEAD: u64 = 96;
/// A generous bound for each further part.
pub(crate) const PART_BYTES: u64 = 48;

// ---- what is on the wire: postcard, borrowed, so that no value and no key is copied while decoding ---------------

#[derive(Serialize, Deserialize)]
pub(super) struct WireRecord<'a> {
    txn: [u8; 16],
    clock: u64,
    #[serde(borrow)]
    request_key: Option<&'a serde_bytes::Bytes>,
    #[serde(borrow)]
    result: Option<&'a serde_bytes::Bytes>,
    #[serde(borrow)]
    guards: Vec<WireGuard<'a>>,
    #[serde(borrow)]
    writes: Vec<WireWrite<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireGuard<'a> {
    #[serde(borrow)]
    key: &'a serde_bytes::Bytes,
    over_clock: u64,
    over_txn: [u8; 16],
    slot: u32,
}

#[derive(Serialize, Deserialize)]
struct WireWrite<'a> {
    #[serde(borrow)]
    key: &'a serde_bytes::Bytes,
    value: WireValue,
}

#[derive(Serialize, Deserialize)]
enum WireValue {
    Tombstone,
    Inline { len: u64, checksum: u64 },
    Stored(StoredValue),
}

impl<'a> WireRecord<'a> {
    pub(super) fn new(record: &'a CommitRecord) -> Self {
        Self {
            txn: *record.txn.as_bytes(),
            clock: record.clock.bits(),
            request_key: record.request_key.as_deref().map(serde_bytes::Bytes::new),
            result: record.result.as_deref().map(serde_bytes::Bytes::new),
            guards: record.guards.iter().map(WireGuard::new).collect(),
            writes: record.writes.iter().map(WireWrite::new).collect(),
        }
    }

    /// The record whose bytes lie in `meta`, checked against the format's own rules.
    pub(super) fn into_record(self, meta: &Bytes) -> Result<CommitRecord, FormatError> {
        let slice = |bytes: &serde_bytes::Bytes| meta.slice_ref(bytes);
        let mut offset = 0u64;
        let mut writes: Vec<Write> = Vec::with_capacity(self.writes.len());
        for write in self.writes {
            let key = checked_key(slice(write.key))?;
            if writes.last().is_some_and(|last| last.key >= key) {
                return Err(FormatError::Malformed("a write set that is not sorted"));
            }
            let value = match write.value {
                WireValue::Tombstone => Value::Tombstone,
                WireValue::Inline { len, checksum } => {
                    let value = Value::Inline { offset, len, checksum };
                    offset = offset.checked_add(len).ok_or(FormatError::Malformed("an endless payload"))?;
                    value
                }
                WireValue::Stored(stored) => {
                    checked_parts(&stored)?;
                    Value::Stored(stored)
                }
            };
            writes.push(Write { key, value });
        }
        let guards = self.guards.into_iter().map(|guard| {
            let over =
                Version::new(Timestamp::from_bits(guard.over_clock), TxnId::from_bytes(guard.over_txn));
            Ok(Guard { key: checked_key(slice(guard.key))?, over, slot: guard.slot })
        });
        Ok(CommitRecord {
            txn: TxnId::from_bytes(self.txn),
            clock: Timestamp::from_bits(self.clock),
            request_key: self.request_key.map(slice),
            result: self.result.map(slice),
            guards: guards.collect::<Result<_, FormatError>>()?,
            writes,
        })
    }
}

impl<'a> WireGuard<'a> {
    fn new(guard: &'a Guard) -> Self {
        Self {
            key: serde_bytes::Bytes::new(&guard.key),
            over_clock: guard.over.clock.bits(),
            over_txn: *guard.over.txn.as_bytes(),
            slot: guard.slot,
        }
    }
}

impl<'a> WireWrite<'a> {
    fn new(write: &'a Write) -> Self {
        let value = match &write.value {
            Value::Tombstone => WireValue::Tombstone,
            Value::Inline { len, checksum, .. } => WireValue::Inline { len: *len, checksum: *checksum },
            Value::Stored(stored) => WireValue::Stored(stored.clone()),
        };
        Self { key: serde_bytes::Bytes::new(&write.key), value }
    }
}

fn checked_key(key: Bytes) -> Result<Bytes, FormatError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(FormatError::Malformed("a key of an impossible length"));
    }
    Ok(key)
}

/// Nothing, where the parts add up to the value.
pub(super) fn checked_parts(stored: &StoredValue) -> Result<(), FormatError> {
    let ends = |part: &Part| part.offset.checked_add(part.len);
    let sum =
        stored.parts.iter().try_fold(0u64, |sum, part| ends(part).and_then(|_| sum.checked_add(part.len)));
    if stored.parts.is_empty() || sum != Some(stored.len) {
        return Err(FormatError::Malformed("parts that are not the value"));
    }
    Ok(())
}
