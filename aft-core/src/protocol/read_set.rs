//! What a transaction has read, and what that demands of its further reads (I4).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::key_range::{self, KeyRange};
use crate::planted::{Planted, planted};
use crate::protocol::view::{Commit, Found};
use crate::version::Version;

/// The read set of a transaction (AFT, section 3.2), with absent keys and scanned ranges in it.
#[derive(Debug, Clone, Default)]
pub struct ReadSet {
    /// What was read for each key; `None`: absent.
    reads: BTreeMap<Bytes, Option<Found>>,
    /// Ranges that were scanned: a key in them that is not in `reads` was read as absent. Sorted; no two
    /// overlap or touch.
    ranges: Vec<KeyRange>,
    /// The least version that each key may be read at, because a commit that was read also wrote it; but for the commits in `in_view`.
    floors: BTreeMap<Bytes, Version>,
    /// The commits of several keys that were read.
    commits: BTreeSet<Version>,
    /// Those whose floors are not written down: each of them is in the node's view, whole, as long as no more commits than these have
    /// [left](crate::protocol::view::View::left) it. So the versions of a key that the view knows show what they demand of it.
    in_view: Vec<Arc<Commit>>,
    left: u64,
}

impl ReadSet {
    /// What was read for `key`: nothing yet, or absent, or a version.
    #[must_use]
    pub fn read(&self, key: &[u8]) -> Option<Option<&Found>> {
        match self.reads.get(key) {
            Some(read) => Some(read.as_ref()),
            None => self.scanned(key).then_some(None),
        }
    }

    /// The version that was read for `key`; [`Version::ABSENT`] where it was read as absent.
    #[must_use]
    pub fn version_read(&self, key: &[u8]) -> Option<Version> {
        self.read(key).map(|read| read.map_or(Version::ABSENT, Found::version))
    }

    /// The least version that `key` may be read at, of which a view [knows](Self::is_of) these versions, oldest first.
    #[must_use]
    pub fn floor(&self, key: &[u8], versions: &[Found]) -> Version {
        let shown = if self.in_view.is_empty() {
            None
        } else if versions.len() <= self.commits.len() {
            versions.iter().rev().map(Found::version).find(|version| self.commits.contains(version))
        } else {
            let knows = |version: &&Version| versions.binary_search_by_key(*version, Found::version).is_ok();
            self.commits.iter().rev().find(knows).copied()
        };
        let shown = shown.unwrap_or(Version::ABSENT);
        self.floors.get(key).map_or(shown, |floor| shown.max(*floor))
    }

    /// Says of which moment the versions are that the next reads choose from: of a view which so many commits have left, and whether of one that is no
    /// older than what was read. Where commits that were read may be missing in it, what they demand is written down first.
    pub fn is_of(&mut self, left: u64, newest: bool) {
        if (left != self.left && !planted(Planted::FloorsForgetFolds))
            || (!newest && !planted(Planted::FloorsOfOldViews))
        {
            self.write_floors();
        }
        self.left = left;
    }

    /// The least version that `key` may be read at.
    #[cfg(test)]
    pub fn floor_written(&mut self, key: &[u8]) -> Version {
        self.write_floors();
        self.floor(key, &[])
    }

    /// The floors under keys of the range that were not read, and that the view does not [know](Self::is_of).
    #[must_use]
    pub fn unread_floors_in(&self, range: &KeyRange) -> Vec<(Bytes, Version)> {
        let Some(bounds) = range.bounds() else { return Vec::new() };
        let unread = self.floors.range::<[u8], _>(bounds).filter(|(key, _)| self.read(key).is_none());
        unread.map(|(key, floor)| (key.clone(), *floor)).collect()
    }

    /// Whether reading from `commit` keeps the read set atomic: no key that it also wrote was read at an older version,
    /// absent ones included (AFT, algorithm 1, which forgets the absent ones).
    #[must_use]
    pub fn admits(&self, commit: &Commit) -> bool {
        // A commit that was read stays admissible: its floors hold every later read of its keys at or above it.
        if commit.writes.len() == 1 || self.commits.contains(&commit.version) {
            return true;
        }
        let older = |key: &[u8]| self.version_read(key).is_some_and(|read| read < commit.version);
        if self.ranges.is_empty() && self.reads.len() < commit.writes.len() {
            let wrote = |key: &Bytes| commit.writes.position(key).is_some();
            return !self.reads.iter().any(|(key, read)| {
                read.as_ref().map_or(Version::ABSENT, Found::version) < commit.version && wrote(key)
            });
        }
        !commit.writes.keys().any(older)
    }

    /// Notes that `key` was read as `found` (`None`: absent), with the floors that follow.
    pub fn record(&mut self, key: &Bytes, found: Option<&Found>) {
        if found.is_none() && planted(Planted::ForgetAbsentRead) {
            return;
        }
        if let Some(commit) = found.and_then(Found::commit) {
            self.raise_floors(commit);
        }
        let found = found.filter(|found| !(planted(Planted::TombstoneAsAbsent) && found.is_tombstone()));
        // The commit's own copy of the key: it is held on to in any case.
        let key = found.map_or_else(|| key.clone(), Found::key_bytes);
        self.reads.insert(key, found.cloned());
    }

    fn raise_floors(&mut self, commit: &Arc<Commit>) {
        if commit.writes.len() == 1 || !self.commits.insert(commit.version) {
            return;
        }
        self.in_view.push(Arc::clone(commit));
    }

    /// Writes down what the commits demand that were read, key by key.
    fn write_floors(&mut self) {
        for commit in std::mem::take(&mut self.in_view) {
            for ordinal in 0..commit.writes.len() {
                self.raise_floor(commit.writes.key_bytes(ordinal), commit.version);
            }
        }
    }

    /// Notes that every key of the range was read; those that were not recorded, as absent.
    pub fn record_range(&mut self, range: KeyRange) {
        key_range::add(&mut self.ranges, range);
    }

    fn scanned(&self, key: &[u8]) -> bool {
        self.ranges.iter().any(|range| range.contains(key))
    }

    /// The greatest version that was read: the transaction's own must exceed it (I5).
    #[must_use]
    pub fn greatest(&self) -> Version {
        self.reads.values().flatten().map(Found::version).max().unwrap_or(Version::ABSENT)
    }

    /// Holds later reads of `key` at or above a version.
    pub fn raise_floor(&mut self, key: Bytes, at_least: Version) {
        let floor = self.floors.entry(key).or_insert(Version::ABSENT);
        *floor = (*floor).max(at_least);
    }

    /// The floors under keys that were not read.
    pub fn unread_floors(&mut self) -> impl Iterator<Item = (Bytes, Version)> {
        self.write_floors();
        let unread = self.floors.iter().filter(|(key, _)| self.read(key).is_none());
        unread.map(|(key, floor)| (key.clone(), *floor))
    }

    /// The versions that were read; absent keys left out.
    pub fn found(&self) -> impl Iterator<Item = &Found> {
        self.reads.values().flatten()
    }

    /// The ranges that were scanned.
    pub(crate) fn ranges(&self) -> &[KeyRange] {
        &self.ranges
    }

    /// How many keys [`iter`](Self::iter) tells.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.reads.len()
    }

    /// Every key that was read by name or returned by a scan, with its version; `None`: absent.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<Version>)> {
        self.reads.iter().map(|(key, read)| (key, read.as_ref().map(Found::version)))
    }
}
