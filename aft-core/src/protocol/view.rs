//! The view: commits that are not folded in the base, the manifest that it builds on.
//!
//! The view holds keys, versions and where the values are, never the values. It only ever takes in whole commits: that
//! is what makes every choice from it atomic (the argument is in [`choose`](super::choose)). What the [`Base`] folded is not in
//! it any more: of those commits only the newest version of each key counts, and the index has that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::format::envelope::checksum;
use crate::format::name::{ObjectName, ValueName};
pub use crate::format::recent::Home;
use crate::format::record::{CommitRecord, StoredValue, Value, Write};
use crate::format::row::{Row, RowValue};
use crate::key_range::KeyRange;
use crate::protocol::base::Base;
use crate::protocol::timeliness::{PublishedAt, StoreTime};
use crate::receipt::Receipt;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// A commit as the view holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The version of everything it wrote.
    pub version: Version,
    /// The id that its decision is named by.
    pub decided_by: TxnId,
    /// Which object holds its inline values.
    pub home: Home,
    /// Whether a request key led to it: then its decision outlives its folding.
    pub keyed: bool,
    /// Whether it was lost and is published again, at an age at which every commit is thought to be folded: only its publication
    /// says then whether it is.
    pub restored: bool,
    /// The write set, sorted by key.
    pub writes: Box<[Write]>,
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
        let keyed = record.request_key.is_some();
        Self { version: record.version(), decided_by, home, keyed, restored: false, writes }
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
                let (object, inline_offset) = match self.home {
                    Home::Decision { inline_offset } => {
                        (ObjectName::Decision(self.decided_by), inline_offset)
                    }
                    Home::Feed { name, inline_offset } => (ObjectName::Feed(name), inline_offset),
                };
                let start = inline_offset.saturating_add(*offset);
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

    /// Whether these are its inline values, in order.
    #[must_use]
    pub fn is_payload(&self, payload: &[Bytes]) -> bool {
        let mut payload = payload.iter();
        self.writes.iter().all(|write| match write.value {
            Value::Inline { len, checksum: expected, .. } => {
                payload.next().is_some_and(|value| value.len() as u64 == len && checksum(value) == expected)
            }
            Value::Tombstone | Value::Stored(_) => true,
        })
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

/// One version of one key.
#[derive(Debug, Clone)]
pub enum Found {
    /// Of a commit that the view told.
    Recent {
        /// The commit.
        commit: Arc<Commit>,
        /// The key's ordinal in its write set.
        ordinal: usize,
    },
    /// Of the index. That is all that is needed of a folded commit: whatever floors it would set, the rows of its other keys are at or above them.
    Folded(Arc<Folded>),
}

/// A version of a key as the index tells it, without its value.
#[derive(Debug)]
pub struct Folded {
    key: Bytes,
    version: Version,
    /// The key's ordinal in the write set.
    ordinal: u32,
    value: FoldedValue,
}

#[derive(Debug)]
enum FoldedValue {
    Tombstone,
    /// In the row, this long.
    Inline(u64),
    Stored(StoredValue),
}

/// What a version holds, wherever that lies.
enum Written<'a> {
    Tombstone,
    /// A value beside the commit or in the row, this long.
    Inline(u64),
    Stored(&'a StoredValue),
}

impl Found {
    /// A row of the index. Its key is copied: a slice would hold on to the whole block.
    #[must_use]
    pub fn from_row(row: &Row) -> Self {
        let value = match &row.value {
            RowValue::Tombstone => FoldedValue::Tombstone,
            RowValue::Inline(value) => FoldedValue::Inline(value.len() as u64),
            RowValue::Stored(stored) => FoldedValue::Stored(stored.clone()),
        };
        let (key, version, ordinal) = (Bytes::copy_from_slice(&row.key), row.version, row.ordinal);
        Self::Folded(Arc::new(Folded { key, version, ordinal, value }))
    }

    /// A deletion that left the index, where only a bound of its version is known.
    #[must_use]
    pub fn purged(key: &Bytes, at_least: Version) -> Self {
        let (key, value) = (key.clone(), FoldedValue::Tombstone);
        Self::Folded(Arc::new(Folded { key, version: at_least, ordinal: 0, value }))
    }

    /// The commit, where the view told it.
    #[must_use]
    pub const fn commit(&self) -> Option<&Arc<Commit>> {
        match self {
            Self::Recent { commit, .. } => Some(commit),
            Self::Folded(_) => None,
        }
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        match self {
            Self::Recent { commit, .. } => commit.version,
            Self::Folded(folded) => folded.version,
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Recent { commit, ordinal } => &commit.writes[*ordinal].key,
            Self::Folded(folded) => &folded.key,
        }
    }

    /// What was written.
    fn written(&self) -> Written<'_> {
        match self {
            Self::Recent { commit, ordinal } => match &commit.writes[*ordinal].value {
                Value::Tombstone => Written::Tombstone,
                Value::Inline { len, .. } => Written::Inline(*len),
                Value::Stored(stored) => Written::Stored(stored),
            },
            Self::Folded(folded) => match &folded.value {
                FoldedValue::Tombstone => Written::Tombstone,
                FoldedValue::Inline(len) => Written::Inline(*len),
                FoldedValue::Stored(stored) => Written::Stored(stored),
            },
        }
    }

    /// The value's objects, where it has objects of its own.
    #[must_use]
    pub fn stored(&self) -> Option<&StoredValue> {
        match self.written() {
            Written::Stored(stored) => Some(stored),
            Written::Tombstone | Written::Inline(_) => None,
        }
    }

    /// How long the value is, in bytes; 0 for a deletion.
    #[must_use]
    pub fn value_len(&self) -> u64 {
        match self.written() {
            Written::Tombstone => 0,
            Written::Inline(len) => len,
            Written::Stored(stored) => stored.len,
        }
    }

    /// The transaction and the ordinal in its write set: they name the value.
    #[must_use]
    pub fn value_id(&self) -> (TxnId, u32) {
        match self {
            Self::Recent { commit, ordinal } => {
                (commit.version.txn, u32::try_from(*ordinal).unwrap_or(u32::MAX))
            }
            Self::Folded(folded) => (folded.version.txn, folded.ordinal),
        }
    }

    /// Whether this version is a deletion.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        matches!(self.written(), Written::Tombstone)
    }

    /// The receipt of its commit.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        match self {
            Self::Recent { commit, .. } => commit.receipt(),
            Self::Folded(folded) => Receipt::new(folded.version, folded.version.txn),
        }
    }
}

/// A commit of the view, and when it was published, as far as is known.
#[derive(Debug)]
struct Recent {
    commit: Arc<Commit>,
    /// The first time: by which it is folded.
    published: Option<StoreTime>,
    /// The first date.
    dated: Option<StoreTime>,
    /// The last time: whoever published it again may not have known of the first, and made a checkpoint without it.
    again: Option<StoreTime>,
    /// Whether the base lacks it although it was first published before the horizon.
    left_out: bool,
}

impl Recent {
    fn note(&mut self, publication: Option<PublishedAt>) {
        let (at, dated) = (publication.map(|it| it.at), publication.map(|it| it.dated));
        self.published = self.published.into_iter().chain(at).min();
        self.dated = self.dated.into_iter().chain(dated).min();
        self.again = self.again.max(at);
    }

    /// When it was first published.
    fn publication(&self) -> Option<PublishedAt> {
        Some(PublishedAt { at: self.published?, dated: self.dated? })
    }

    /// Whether the base holds it.
    fn is_folded(&self, base: &Base) -> bool {
        let published = self.published.filter(|_| !self.left_out);
        base.has_folded(self.commit.version, published, self.commit.restored)
    }

    /// Whether a base may lack it although its first date lies before the horizon. (What is settled it has. A restored one is not settled: only
    /// the first date keeps what was deleted from coming back.)
    fn is_doubtful(&self, base: &Base) -> bool {
        let again = self.again.is_some_and(|again| again >= base.horizon());
        again
            && !self.commit.restored
            && base.has_folded(self.commit.version, self.published, false)
            && !base.has_folded(self.commit.version, self.again, false)
    }
}

/// What a node knows: the base, and the commits beyond it.
#[derive(Debug, Default)]
pub struct View {
    base: Arc<Base>,
    commits: BTreeMap<Version, Recent>,
    /// For each key its versions, oldest first.
    keys: BTreeMap<Bytes, Vec<Found>>,
}

impl View {
    /// For the tests against the definition, which know of no dates.
    #[cfg(test)]
    pub fn insert(&mut self, commit: Arc<Commit>) -> bool {
        self.insert_published(commit, None)
    }

    /// Takes a commit in. Two records of one version are one: the first stays, and so do both dates. One that the base
    /// folded stays out: its key may have been deleted since, and the deletion have left the index. Returns whether it was new.
    pub fn insert_published(&mut self, commit: Arc<Commit>, publication: Option<PublishedAt>) -> bool {
        let version = commit.version;
        if let Some(known) = self.commits.get_mut(&version) {
            known.note(publication);
            if known.is_folded(&self.base) {
                self.remove(version);
            }
            return false;
        }
        if self.base.has_folded(version, publication.map(|it| it.at), commit.restored) {
            return false;
        }
        for (ordinal, write) in commit.writes.iter().enumerate() {
            let versions = self.keys.entry(write.key.clone()).or_default();
            let at = versions.partition_point(|found| found.version() < version);
            versions.insert(at, Found::Recent { commit: Arc::clone(&commit), ordinal });
        }
        let mut recent = Recent { commit, published: None, dated: None, again: None, left_out: false };
        recent.note(publication);
        self.commits.insert(version, recent);
        true
    }

    /// Notes that a feed object which publishes then carries a commit.
    pub fn note_published(&mut self, version: Version, publication: PublishedAt) {
        if let Some(recent) = self.commits.get(&version) {
            let commit = Arc::clone(&recent.commit);
            self.insert_published(commit, Some(publication));
        }
    }

    /// The commits that this base folded by their first date, and that were published again after its horizon: its maker may have known of that alone,
    /// and only the index says whether it has them (decision 0057).
    #[must_use]
    pub fn doubtful(&self, base: &Base) -> Vec<Arc<Commit>> {
        let doubtful = self.commits.values().filter(|recent| recent.is_doubtful(base));
        doubtful.map(|recent| Arc::clone(&recent.commit)).collect()
    }

    /// Builds on another base from now on: what it folded leaves the view, and not what it left out.
    pub fn rebase(&mut self, base: Arc<Base>, left_out: &BTreeSet<Version>) {
        for (version, recent) in &mut self.commits {
            recent.left_out = left_out.contains(version);
        }
        self.base = base;
        let folded = self.commits.iter().filter(|(_, recent)| recent.is_folded(&self.base));
        let folded: Vec<_> = folded.map(|(version, _)| *version).collect();
        folded.into_iter().for_each(|version| self.remove(version));
    }

    fn remove(&mut self, version: Version) {
        let Some(Recent { commit, .. }) = self.commits.remove(&version) else { return };
        for write in &commit.writes {
            if let Some(versions) = self.keys.get_mut(&write.key) {
                versions.retain(|found| found.version() != version);
                if versions.is_empty() {
                    self.keys.remove(&write.key);
                }
            }
        }
    }

    /// What the view builds on.
    #[must_use]
    pub fn base(&self) -> &Arc<Base> {
        &self.base
    }

    /// Whether everything that this version's commit wrote can be read: it is known, or surely folded.
    #[must_use]
    pub fn contains(&self, version: Version) -> bool {
        self.commits.contains_key(&version) || self.base.has_folded(version, None, false)
    }

    /// Whether this commit is in the view: known, and not folded as far as is known.
    #[must_use]
    pub fn holds(&self, version: Version) -> bool {
        self.commits.contains_key(&version)
    }

    /// The known versions of a key that are not folded, oldest first.
    #[must_use]
    pub fn versions(&self, key: &[u8]) -> &[Found] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    /// The keys of a range that any commit of the view wrote, in order, with their versions.
    pub fn keys_in<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = (&'a Bytes, &'a [Found])> {
        let bounds = range.bounds();
        let keys = bounds.into_iter().flat_map(|bounds| self.keys.range::<[u8], _>(bounds));
        keys.map(|(key, versions)| (key, &**versions))
    }

    /// The commits of the view, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Commit>> {
        self.commits.values().rev().map(|recent| &recent.commit)
    }

    /// The commits of the view, oldest first, and when each was published, where that is known.
    pub fn recent(&self) -> impl Iterator<Item = (&Arc<Commit>, Option<PublishedAt>)> {
        self.commits.values().map(|recent| (&recent.commit, recent.publication()))
    }

    /// The commits that this decision tells, and when each was published, where that is known. A version's clock is never below its
    /// transaction's start.
    pub fn decided_by(&self, id: TxnId) -> impl Iterator<Item = (&Arc<Commit>, Option<StoreTime>)> {
        let from = Version::new(Timestamp::from_ms(id.start_ms()), TxnId::from_bytes([0; 16]));
        let commits = self.commits.range(from..).map(|(_, recent)| recent);
        let of = commits.filter(move |recent| recent.commit.decided_by == id);
        of.map(|recent| (&recent.commit, recent.published))
    }

    /// How many commits are in the view.
    #[must_use]
    pub fn commit_count(&self) -> usize {
        self.commits.len()
    }

    /// How many keys they wrote, deleted ones included.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }
}
