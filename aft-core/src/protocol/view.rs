//! The view: commits that are not folded in the base, the manifest that it builds on.
//!
//! The view holds keys, versions and where the values are, never the values. It only ever takes in whole commits: that
//! is what makes every choice from it atomic (the argument is in [`choose`](super::choose)). What the [`Base`] folded is not in
//! it any more: of those commits only the newest version of each key counts, and the index has that.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::format::record::StoredValue;
use crate::format::row::{Row, RowValue};
use crate::key_range::KeyRange;
use crate::protocol::base::Base;
pub use crate::protocol::commit::{Commit, Home, Place};
use crate::protocol::timeliness::{PublishedAt, StoreTime};
use crate::protocol::write_set::ValueRef;
use crate::receipt::Receipt;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// One version of one key.
#[derive(Debug, Clone)]
pub enum Found {
    /// Of a commit that the view told.
    Recent {
        /// The commit.
        commit: Arc<Commit>,
        /// The key's ordinal in its write set.
        ordinal: u32,
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
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Recent { commit, ordinal } => commit.writes.key(*ordinal as usize),
            Self::Folded(folded) => &folded.key,
        }
    }

    /// The key, not copied.
    #[must_use]
    pub fn key_bytes(&self) -> Bytes {
        match self {
            Self::Recent { commit, ordinal } => commit.writes.key_bytes(*ordinal as usize),
            Self::Folded(folded) => folded.key.clone(),
        }
    }

    /// What was written.
    fn written(&self) -> Written<'_> {
        match self {
            Self::Recent { commit, ordinal } => match commit.writes.value(*ordinal as usize) {
                ValueRef::Tombstone => Written::Tombstone,
                ValueRef::Inline { len, .. } => Written::Inline(len),
                ValueRef::Stored(stored) => Written::Stored(stored),
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
            Self::Recent { commit, ordinal } => (commit.version.txn, *ordinal),
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

/// A commit in the order of versions.
#[derive(Debug)]
struct ByVersion(Arc<Commit>);

impl Borrow<Version> for ByVersion {
    fn borrow(&self) -> &Version {
        &self.0.version
    }
}

impl PartialEq for ByVersion {
    fn eq(&self, other: &Self) -> bool {
        self.0.version == other.0.version
    }
}

impl Eq for ByVersion {}

impl PartialOrd for ByVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.version.cmp(&other.0.version)
    }
}

/// When a commit was published, as far as is known.
#[derive(Debug, Clone, Copy)]
struct Dates {
    /// The first time: by which it is folded. The greatest there is where none is known.
    first: StoreTime,
    /// How many seconds before the first time the first date is.
    dated_before: u32,
}

impl Dates {
    fn new(publication: Option<PublishedAt>) -> Self {
        let mut dates = Self { first: StoreTime(u64::MAX), dated_before: 0 };
        dates.note(publication);
        dates
    }

    fn note(&mut self, publication: Option<PublishedAt>) {
        let Some(PublishedAt { at, dated }) = publication else { return };
        let before = self.publication().unwrap_or(PublishedAt { at, dated });
        let (first, dated) = (before.at.min(at), before.dated.min(dated));
        self.first = first;
        self.dated_before = u32::try_from(first.0.saturating_sub(dated.0)).unwrap_or(u32::MAX);
    }

    fn first(&self) -> Option<StoreTime> {
        (self.first != StoreTime(u64::MAX)).then_some(self.first)
    }

    /// When it was first published.
    fn publication(&self) -> Option<PublishedAt> {
        let dated = |first: StoreTime| StoreTime(first.0.saturating_sub(self.dated_before.into()));
        self.first().map(|at| PublishedAt { at, dated: dated(at) })
    }
}

/// Whether the base holds a commit.
fn is_folded(commit: &Commit, dates: &Dates, base: &Base) -> bool {
    base.has_folded(commit.version, dates.first(), commit.restored)
}

/// The versions of one key, oldest first; at least one. In the order of keys, which is that of any of them.
#[derive(Debug)]
enum Versions {
    /// Most keys have one.
    One(Found),
    Many(#[allow(clippy::box_collection, reason = "a key takes 16 bytes and not 24")] Box<Vec<Found>>),
}

impl Versions {
    fn as_slice(&self) -> &[Found] {
        match self {
            Self::One(found) => std::slice::from_ref(found),
            Self::Many(found) => found,
        }
    }

    /// These and another one of the same key.
    fn with(self, found: Found) -> Self {
        let mut versions = match self {
            Self::One(only) => Box::new(vec![only]),
            Self::Many(versions) => versions,
        };
        let at = versions.partition_point(|known| known.version() < found.version());
        versions.insert(at, found);
        Self::Many(versions)
    }

    /// These without one, where any are left.
    fn without(self, version: Version) -> Option<Self> {
        match self {
            Self::One(found) => (found.version() != version).then_some(Self::One(found)),
            Self::Many(mut versions) => {
                versions.retain(|found| found.version() != version);
                if versions.len() > 1 { Some(Self::Many(versions)) } else { versions.pop().map(Self::One) }
            }
        }
    }
}

impl Borrow<[u8]> for Versions {
    fn borrow(&self) -> &[u8] {
        match self {
            Self::One(found) => found.key(),
            Self::Many(versions) => versions[0].key(),
        }
    }
}

impl PartialEq for Versions {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Versions {}

impl PartialOrd for Versions {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Versions {
    fn cmp(&self, other: &Self) -> Ordering {
        Borrow::<[u8]>::borrow(self).cmp(other.borrow())
    }
}

/// What a node knows: the base, and the commits beyond it. Neither index holds a version or a key of its own: both point at the
/// commits, and are sorted by what those hold.
#[derive(Debug, Default)]
pub struct View {
    base: Arc<Base>,
    commits: BTreeMap<ByVersion, Dates>,
    keys: BTreeSet<Versions>,
    /// How many commits have left it.
    left: u64,
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
        // What was lost and is restored was folded by nobody, however old it is: also where it was learned before anybody said so.
        let before = if commit.restored { self.take_unrestored(version) } else { None };
        match self.commits.entry(ByVersion(Arc::clone(&commit))) {
            Entry::Occupied(mut known) => {
                known.get_mut().note(publication);
                if is_folded(&known.key().0, known.get(), &self.base) {
                    self.remove(version);
                }
                return false;
            }
            Entry::Vacant(_)
                if self.base.has_folded(version, publication.map(|it| it.at), commit.restored) =>
            {
                return false;
            }
            Entry::Vacant(unknown) => unknown.insert(Dates::new(publication)).note(before),
        }
        for ordinal in (0u32..).take(commit.writes.len()) {
            let found = Found::Recent { commit: Arc::clone(&commit), ordinal };
            if let Some(others) = self.keys.replace(Versions::One(found.clone())) {
                self.keys.replace(others.with(found));
            }
        }
        true
    }

    /// Takes a commit out that is not known to be restored; when it was published, as far as is known.
    fn take_unrestored(&mut self, version: Version) -> Option<PublishedAt> {
        let (_, dates) = self.commits.get_key_value(&version).filter(|(known, _)| !known.0.restored)?;
        let published = dates.publication();
        self.remove(version);
        published
    }

    /// Notes that a feed object which publishes then carries a commit.
    pub fn note_published(&mut self, version: Version, publication: PublishedAt) {
        if let Some((ByVersion(commit), _)) = self.commits.get_key_value(&version) {
            let commit = Arc::clone(commit);
            self.insert_published(commit, Some(publication));
        }
    }

    /// Builds on another base from now on: what it folded leaves the view.
    pub fn rebase(&mut self, base: Arc<Base>) {
        self.base = base;
        let folded = self.commits.iter().filter(|(commit, dates)| is_folded(&commit.0, dates, &self.base));
        let folded: Vec<_> = folded.map(|(commit, _)| commit.0.version).collect();
        folded.into_iter().for_each(|version| self.remove(version));
    }

    fn remove(&mut self, version: Version) {
        let Some((ByVersion(commit), _)) = self.commits.remove_entry(&version) else { return };
        self.left += 1;
        for key in commit.writes.keys() {
            if let Some(left) = self.keys.take(key).and_then(|versions| versions.without(version)) {
                self.keys.insert(left);
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

    /// How many commits have left the view: what was in it is there still while this is the same.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// The known versions of a key that are not folded, oldest first.
    #[must_use]
    pub fn versions(&self, key: &[u8]) -> &[Found] {
        self.keys.get(key).map_or(&[], Versions::as_slice)
    }

    /// The versions of each key of a range that any commit of the view wrote, in the order of keys; of each at least one.
    pub fn keys_in<'a>(&'a self, range: &'a KeyRange) -> impl Iterator<Item = &'a [Found]> {
        let bounds = range.bounds();
        let keys = bounds.into_iter().flat_map(|bounds| self.keys.range::<[u8], _>(bounds));
        keys.map(Versions::as_slice)
    }

    /// The commits of the view, newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Arc<Commit>> {
        self.commits.keys().rev().map(|commit| &commit.0)
    }

    /// The commits of the view, oldest first, and when each was published, where that is known.
    pub fn recent(&self) -> impl Iterator<Item = (&Arc<Commit>, Option<PublishedAt>)> {
        self.commits.iter().map(|(commit, dates)| (&commit.0, dates.publication()))
    }

    /// When a commit of the view was published, as far as is known.
    #[must_use]
    pub fn publication(&self, version: Version) -> Option<PublishedAt> {
        self.commits.get(&version).and_then(Dates::publication)
    }

    /// The commits that this decision tells, and when each was published, where that is known. A version's clock is never below its
    /// transaction's start; but the id of a decision in the feed has the time of the feed object's name, which may be later than the versions in it.
    pub fn decided_by(&self, id: TxnId) -> impl Iterator<Item = (&Arc<Commit>, Option<StoreTime>)> {
        let from = if id.is_direct() { 0 } else { id.start_ms() };
        let from = Version::new(Timestamp::from_ms(from), TxnId::from_bytes([0; 16]));
        let commits = self.commits.range(from..).map(|(commit, dates)| (&commit.0, dates.first()));
        commits.filter(move |(commit, _)| commit.decided_by() == id)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::{FileRef, Manifest};
    use crate::format::name::{DIRECT, FeedName, FileId};
    use crate::format::record::{CommitRecord, Value, Write};

    const SETTLED_MS: u64 = 5_000_000;

    /// A checkpoint that takes whatever began before for folded.
    fn base() -> Arc<Base> {
        let id = TxnId::from_parts(1, &mut crate::rng::seeded(1));
        Arc::new(Base::new(Manifest {
            number: 1,
            store_id: String::new(),
            attempt: 1,
            begun: 6_000,
            full_begun: 6_000,
            horizon: 5_000,
            folded_until: 5_000,
            basis: 6_000,
            swept_through: 6_000,
            last_sweep: 6_000,
            sweeps: std::collections::BTreeMap::new(),
            settled_ms: SETTLED_MS,
            unfolded: std::collections::BTreeSet::new(),
            greatest: Version::ABSENT,
            purged: Version::ABSENT,
            runs: Vec::new(),
            recent: FileRef { id: FileId(id), bytes: 0, entries: 0, checksum: 0 },
            garbage: None,
            outcomes: None,
        }))
    }

    fn commit(restored: bool) -> Arc<Commit> {
        let txn = TxnId::from_parts(1_000, &mut crate::rng::seeded(2));
        let writes = vec![Write { key: "k".into(), value: Value::Tombstone }];
        let clock = Timestamp::from_ms(1_000);
        let (request_key, result, guards) = (None, None, Vec::new());
        let record = CommitRecord { txn, clock, request_key, result, guards, writes };
        let mut commit = Commit::new(&record, txn, Home::Decision { inline_offset: 0 });
        commit.restored = restored;
        Arc::new(commit)
    }

    /// A lost commit that somebody asked for is in the view before it is restored; then a checkpoint comes that takes all of its age for folded.
    #[test]
    fn what_was_known_before_it_was_restored_stays() {
        let published = PublishedAt { at: StoreTime(7_000), dated: StoreTime(7_000) };
        let mut view = View::default();
        assert!(view.insert_published(commit(false), None));
        view.insert_published(commit(true), Some(published));
        view.rebase(base());
        assert!(view.holds(commit(true).version), "no run has it");
        // As it is where it was restored first.
        let mut other = View::default();
        other.rebase(base());
        assert!(!other.insert_published(commit(false), None));
        assert!(other.insert_published(commit(true), Some(published)));
        assert_eq!(view.recent().count(), other.recent().count());
        // Whatever copy comes afterwards.
        view.insert_published(commit(false), None);
        assert!(view.holds(commit(true).version));
    }

    /// A clock that was set forward between a commit's version and the name of the feed object that decides it.
    #[test]
    fn what_a_decision_in_the_feed_tells_is_found_whatever_time_its_name_has() {
        let id = TxnId::of_direct(FeedName { time_ms: 60_000, node: 1, seq: DIRECT }).unwrap();
        let of = |decided_by: TxnId| {
            let record = CommitRecord {
                txn: TxnId::from_parts(1_000, &mut crate::rng::seeded(3)),
                clock: Timestamp::from_ms(1_000),
                request_key: None,
                result: None,
                guards: Vec::new(),
                writes: vec![Write { key: "k".into(), value: Value::Tombstone }],
            };
            Arc::new(Commit::new(&record, decided_by, Home::Decision { inline_offset: 0 }))
        };
        let mut view = View::default();
        assert!(view.insert_published(of(id), None));
        assert_eq!(view.decided_by(id).count(), 1);
    }
}
