//! A commit as a node holds it.

use bytes::Bytes;

use crate::format::envelope::checksum;
use crate::format::name::{FeedName, ObjectName, ValueName};
pub use crate::format::recent::Home;
use crate::format::record::{CommitRecord, Part, StoredValue};
use crate::protocol::write_set::{ValueRef, WriteSet};
use crate::receipt::Receipt;
use crate::txn_id::TxnId;
use crate::version::Version;

/// A commit as the view holds it. There may be a million: what few commits have is in a box of its own, and its [`Home`] lies here
/// field by field, since nested it would take 16 bytes more (decision 0064).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version of everything it wrote.
    pub version: Version,
    /// Whether a request key led to it: then its decision outlives its folding.
    pub keyed: bool,
    /// Whether it was lost and is published again, at an age at which every commit is thought to be folded: only its publication
    /// says then whether it is.
    pub restored: bool,
    /// Whether a feed object holds its inline values, the one that the next three fields name. Else its decision does.
    in_feed: bool,
    feed_seq: u32,
    feed_time_ms: u64,
    feed_node: u64,
    /// Where its inline values begin in that object.
    inline_offset: u64,
    /// The id that its decision is named by, where that is not its own.
    decided_by: Option<Box<TxnId>>,
    /// The write set.
    pub writes: WriteSet,
}

/// Where a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// Nowhere: the key was deleted.
    Tombstone,
    /// A range of the object that carries the commit.
    Inline {
        /// That object.
        object: ObjectName,
        /// Where the value begins in it, in bytes.
        start: u64,
        /// Length in bytes.
        len: u64,
        /// Checksum of the value.
        checksum: u64,
    },
    /// Objects of its own.
    Stored(&'a StoredValue),
}

impl Commit {
    /// The commit that a record tells of. Keys are copied, so that the commit does not hold on to the object that the
    /// record was read from.
    #[must_use]
    pub fn new(record: &CommitRecord, decided_by: TxnId, home: Home) -> Self {
        let (feed, inline_offset) = match home {
            Home::Decision { inline_offset } => (None, inline_offset),
            Home::Feed { name, inline_offset } => (Some(name), inline_offset),
        };
        let FeedName { time_ms, node, seq } = feed.unwrap_or(FeedName { time_ms: 0, node: 0, seq: 0 });
        Self {
            version: record.version(),
            keyed: record.request_key.is_some(),
            restored: false,
            in_feed: feed.is_some(),
            feed_seq: seq,
            feed_time_ms: time_ms,
            feed_node: node,
            inline_offset,
            decided_by: (decided_by != record.txn).then(|| Box::new(decided_by)),
            writes: WriteSet::new(&record.writes),
        }
    }

    /// The id that its decision is named by.
    #[must_use]
    pub fn decided_by(&self) -> TxnId {
        self.decided_by.as_deref().copied().unwrap_or(self.version.txn)
    }

    /// Which object holds its inline values.
    #[must_use]
    pub const fn home(&self) -> Home {
        let inline_offset = self.inline_offset;
        if self.in_feed {
            let name = FeedName { time_ms: self.feed_time_ms, node: self.feed_node, seq: self.feed_seq };
            Home::Feed { name, inline_offset }
        } else {
            Home::Decision { inline_offset }
        }
    }

    /// Where the value of the write with this ordinal is.
    #[must_use]
    pub fn place(&self, ordinal: usize) -> Place<'_> {
        match self.writes.value(ordinal) {
            ValueRef::Tombstone => Place::Tombstone,
            ValueRef::Stored(stored) => Place::Stored(stored),
            ValueRef::Inline { offset, len, checksum } => {
                let object = match self.home() {
                    Home::Decision { .. } => ObjectName::Decision(self.decided_by()),
                    Home::Feed { name, .. } => ObjectName::Feed(name),
                };
                Place::Inline { object, start: self.inline_offset.saturating_add(offset), len, checksum }
            }
        }
    }

    /// The object that holds the value of the write with this ordinal, of several the first; of a deletion its decision.
    #[must_use]
    pub fn object(&self, ordinal: usize) -> ObjectName {
        let decision = ObjectName::Decision(self.decided_by());
        match self.place(ordinal) {
            Place::Inline { object, .. } => object,
            Place::Tombstone => decision,
            Place::Stored(stored) => {
                let first =
                    stored.parts.first().map(|part| ObjectName::Value(self.version.txn, part.object()));
                first.unwrap_or(decision)
            }
        }
    }

    /// The feed object that told of it, as far as the commit itself says: where its inline values lie in one, and where its decision does.
    #[must_use]
    pub fn told_in(&self) -> Option<FeedName> {
        match self.home() {
            Home::Feed { name, .. } => Some(name),
            Home::Decision { .. } => self.decided_by().direct_name(),
        }
    }

    /// Its inline values in order, as slices of the object that holds them. Cut off where the object ends early.
    #[must_use]
    pub fn payload_in(&self, object: &Bytes) -> Vec<Bytes> {
        let slice = |start: u64, len: u64| {
            let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
            object.slice(clamp(start)..clamp(start.saturating_add(len)))
        };
        let inline = |ordinal| match self.place(ordinal) {
            Place::Inline { start, len, .. } => Some(slice(start, len)),
            Place::Tombstone | Place::Stored(_) => None,
        };
        (0..self.writes.len()).filter_map(inline).collect()
    }

    /// Whether these are its inline values, in order.
    #[must_use]
    pub fn is_payload(&self, payload: &[Bytes]) -> bool {
        let mut payload = payload.iter();
        self.writes.values().all(|value| match value {
            ValueRef::Inline { len, checksum: expected, .. } => {
                payload.next().is_some_and(|value| value.len() as u64 == len && checksum(value) == expected)
            }
            ValueRef::Tombstone | ValueRef::Stored(_) => true,
        })
    }

    /// The value objects that the commit names.
    pub fn value_objects(&self) -> impl Iterator<Item = ValueName> {
        self.writes.stored().iter().flat_map(|stored| &stored.parts).map(Part::object)
    }

    /// The commit's receipt.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt::new(self.version, self.decided_by())
    }
}
