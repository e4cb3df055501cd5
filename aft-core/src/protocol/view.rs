//! What a node knows: commits, and for each key the versions that they wrote.
//!
//! The view holds keys, versions and where the values are, never the values. It only ever takes in whole commits: that
//! is what makes every choice from it atomic (the argument is in [`choose`](super::choose)).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::format::name::{FeedName, ObjectName, ValueName};
use crate::format::record::{CommitRecord, StoredValue, Value, Write};
use crate::protocol::key_range::KeyRange;
use crate::receipt::Receipt;
use crate::txn_id::TxnId;
use crate::version::Version;

/// A commit as the view holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version of everything it wrote.
    pub version: Version,
    /// The id that its decision is named by.
    pub decided_by: TxnId,
    /// Which object holds its inline values.
    pub home: Home,
    /// The write set, sorted by key.
    pub writes: Box<[Write]>,
}

/// Which object holds the inline values of a commit, and where the first of them begins in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The decision.
    Decision {
        /// Bytes from the object's start.
        base: u64,
    },
    /// A feed object.
    Feed {
        /// Which one.
        name: FeedName,
        /// Bytes from the object's start.
        base: u64,
    },
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
        let mut keys = BytesMut::with_capacity(record.writes.iter().map(|write| write.key.len()).sum());
        record.writes.iter().for_each(|write| keys.extend_from_slice(&write.key));
        let mut keys = keys.freeze();
        let own = |write: &Write| Write { key: keys.split_to(write.key.len()), value: write.value.clone() };
        let writes = record.writes.iter().map(own).collect();
        Self { version: record.version(), decided_by, home, writes }
    }

    /// The ordinal of `key` in the write set.
    #[must_use]
    pub fn position(&self, key: &[u8]) -> Option<usize> {
        self.writes.binary_search_by(|write| (*write.key).cmp(key)).ok()
    }

    /// Where the value of the write with this ordinal is.
    #[must_use]
    pub fn place(&self, ordinal: usize) -> Place<'_> {
        match &self.writes[ordinal].value {
            Value::Tombstone => Place::Tombstone,
            Value::Stored(stored) => Place::Stored(stored),
            Value::Inline { offset, len, checksum } => {
                let (object, base) = match self.home {
                    Home::Decision { base } => (ObjectName::Decision(self.decided_by), base),
                    Home::Feed { name, base } => (ObjectName::Feed(name), base),
                };
                let start = base.saturating_add(*offset);
                Place::Inline { object, start, len: *len, checksum: *checksum }
            }
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

    /// The value objects that the commit names.
    pub fn value_objects(&self) -> impl Iterator<Item = ValueName> {
        let parts = |write: &Write| match &write.value {
            Value::Stored(stored) => stored.parts.iter().map(|part| part.object()).collect(),
            _ => Vec::new(),
        };
        self.writes.iter().flat_map(parts)
    }

    /// The commit's receipt.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        Receipt::new(self.version, self.decided_by)
    }
}

/// One version of one key: the commit that wrote it, and the key's ordinal in that commit's write set.
#[derive(Debug, Clone)]
pub struct Found {
    /// The commit.
    pub commit: Arc<Commit>,
    /// The ordinal.
    pub ordinal: usize,
}

impl Found {
    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.commit.version
    }

    /// Where the value is.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        self.commit.place(self.ordinal)
    }

    /// Whether this version is a deletion.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        matches!(self.commit.writes[self.ordinal].value, Value::Tombstone)
    }
}

/// The commits a node knows.
#[derive(Debug, Default)]
pub struct View {
    commits: BTreeMap<Version, Arc<Commit>>,
    /// For each key its versions, oldest first.
    keys: BTreeMap<Bytes, Vec<Found>>,
}

impl View {
    /// Takes a commit in. Two records of one version are one: the first stays. Returns whether it was new.
    pub fn insert(&mut self, commit: Arc<Commit>) -> bool {
        if self.commits.contains_key(&commit.version) {
            return false;
        }
        for (ordinal, write) in commit.writes.iter().enumerate() {
            let versions = self.keys.entry(write.key.clone()).or_default();
            let at = versions.partition_point(|found| found.version() < commit.version);
            versions.insert(at, Found { commit: Arc::clone(&commit), ordinal });
        }
        self.commits.insert(commit.version, commit);
        true
    }

    /// Whether the commit of this version is known.
    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        self.commits.contains_key(&version)
    }

    /// The known versions of a key, oldest first.
    #[must_use]
    pub fn versions(&self, key: &[u8]) -> &[Found] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// The keys of a range that any known commit wrote, in order.
    pub fn keys_in<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a Bytes> {
        let bounds = range.bounds();
        bounds.into_iter().flat_map(|bounds| self.keys.range::<[u8], _>(bounds)).map(|(key, _)| key)
    }

    /// The known commits, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Commit>> {
        self.commits.values().rev()
    }

    /// How many commits are known.
    #[must_use]
    pub fn commit_count(&self) -> usize {
        self.commits.len()
    }

    /// How many keys are known, deleted ones included.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }
}
