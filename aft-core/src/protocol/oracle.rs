//! The read-atomic protocol against its definition (I4).
//!
//! The oracle knows no floors, no fast paths and no order of candidates. It knows what an atomic read set *is*: for each
//! version read, each key that the same commit wrote was read at that version or a newer one, or not at all; absent is
//! version 0. Every choice of the code is compared with the newest one that this sentence allows, found by trying all.

mod anomalies;
mod branches;
mod exhaustive;
mod interleaving;
mod pruning;
mod read_sets;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::format::envelope::checksum;
use crate::format::record::{CommitRecord, Part, StoredValue, Value, Write};
use crate::key_range::KeyRange;
use crate::protocol::choose;
use crate::protocol::read_set::ReadSet;
use crate::protocol::view::{Commit, Found, Home, View};
use crate::protocol::write_set::ValueRef;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// The keys of all worlds, in bytewise order. They are named by their ordinal.
const KEYS: [&[u8]; 5] = [b"a", b"a-b", b"a/b", b"b", b"\xff"];

/// A version as the oracle counts it; 0 is absent.
type Number = u8;

/// What a commit did to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Tombstone,
    Empty,
    Inline,
    Stored,
}

/// The write set of a commit: key ordinals and what was written.
type Writes = BTreeMap<usize, Written>;

/// Key ordinals and the version each was read at.
type Reads = BTreeMap<usize, Number>;

/// A set of commits.
#[derive(Debug, Clone, Default)]
struct History(BTreeMap<Number, Writes>);

impl History {
    /// **The definition** of an atomic read set.
    fn is_atomic(&self, reads: &Reads) -> bool {
        reads.iter().filter(|(_, version)| **version != 0).all(|(key, version)| {
            let commit = &self.0[version];
            assert!(commit.contains_key(key), "{key} was read at {version}, which did not write it");
            commit.keys().all(|cowritten| reads.get(cowritten).is_none_or(|read| read >= version))
        })
    }

    /// The versions of a key, newest first, absent last.
    fn versions(&self, key: usize) -> impl Iterator<Item = Number> {
        let wrote = self.0.iter().rev().filter(move |(_, writes)| writes.contains_key(&key));
        wrote.map(|(version, _)| *version).chain([0])
    }

    /// The newest version of a key; 0 where there is none.
    fn newest(&self, key: usize) -> Number {
        self.versions(key).next().unwrap_or(0)
    }

    /// The newest version of `key` that leaves the reads atomic, by trying every one.
    fn newest_atomic(&self, key: usize, reads: &Reads) -> Option<Number> {
        self.versions(key).find(|version| self.is_atomic(&with(reads, key, *version)))
    }

    /// Whether the reads can go on to every key and stay atomic, by trying every combination.
    fn is_extensible(&self, reads: &Reads) -> bool {
        let Some(key) = (0..KEYS.len()).find(|key| !reads.contains_key(key)) else {
            return self.is_atomic(reads);
        };
        self.is_atomic(reads)
            && self.versions(key).any(|version| self.is_extensible(&with(reads, key, version)))
    }

    fn written(&self, key: usize, version: Number) -> Option<Written> {
        self.0.get(&version).map(|writes| writes[&key])
    }
}

fn with(reads: &Reads, key: usize, version: Number) -> Reads {
    let mut reads = reads.clone();
    reads.insert(key, version);
    reads
}

// ---- from the oracle's world to the code's -------------------------------------------------------------------------

/// Two neighbours share a clock value, so that the transaction id must order them.
fn version(number: Number) -> Version {
    if number == 0 {
        return Version::ABSENT;
    }
    Version::new(Timestamp::from_bits(u64::from(number).div_ceil(2)), TxnId::from_bytes([number; 16]))
}

fn number(version: Version) -> Number {
    version.txn.as_bytes()[0]
}

fn key(ordinal: usize) -> Bytes {
    Bytes::from_static(KEYS[ordinal])
}

fn ordinal(key: &[u8]) -> usize {
    KEYS.iter().position(|known| *known == key).expect("a key of this world")
}

fn record(version_number: Number, writes: &Writes) -> CommitRecord {
    let mut offset = 0;
    let mut inline = |len| {
        let value = Value::Inline { offset, len, checksum: checksum(&vec![b'v'; len as usize]) };
        offset += len;
        value
    };
    let writes = writes.iter().map(|(ordinal, written)| {
        let value = match written {
            Written::Tombstone => Value::Tombstone,
            Written::Empty => inline(0),
            Written::Inline => inline(u64::from(version_number)),
            Written::Stored => {
                let part = Part { attempt: 1, n: *ordinal as u32, offset: 0, len: 9, checksum: 0 };
                Value::Stored(StoredValue { len: 9, checksum: 0, parts: vec![part] })
            }
        };
        Write { key: key(*ordinal), value }
    });
    let Version { clock, txn } = version(version_number);
    let writes = writes.collect();
    CommitRecord { txn, clock, request_key: None, result: None, guards: Vec::new(), writes }
}

fn commit(number: Number, writes: &Writes) -> Arc<Commit> {
    let record = record(number, writes);
    Arc::new(Commit::new(&record, record.txn, Home::Decision { inline_offset: 32 }))
}

// ---- a transaction in both worlds ----------------------------------------------------------------------------------

/// A transaction that reads from a growing view, checked after every step.
#[derive(Debug, Default)]
struct Reader {
    view: View,
    reads: ReadSet,
    /// What the view holds.
    history: History,
    /// What the view held when the transaction began.
    begun: History,
    /// What was read, absent keys and every key of the scanned ranges included.
    model: Reads,
}

impl Reader {
    /// A transaction that begins when these commits are known.
    fn begin<'a>(known: impl IntoIterator<Item = (Number, &'a Writes)>) -> Self {
        let mut reader = Self::default();
        for (number, writes) in known {
            reader.arrive(number, writes);
        }
        reader.begun = reader.history.clone();
        reader
    }

    /// A commit becomes known; one that is known already changes nothing.
    fn arrive(&mut self, number: Number, writes: &Writes) {
        let new = self.history.0.insert(number, writes.clone()).is_none();
        assert_eq!(self.view.insert(commit(number, writes)), new, "two records of one version are one");
        assert_eq!(self.view.commit_count(), self.history.0.len());
    }

    /// What reading this key must give.
    fn expected(&self, key: usize) -> Number {
        let again = self.model.get(&key).copied();
        again.unwrap_or_else(|| self.history.newest_atomic(key, &self.model).expect("a choice always exists"))
    }

    /// Reads a key by name.
    fn read(&mut self, ordinal: usize) -> Number {
        let expected = self.expected(ordinal);
        let found =
            choose::read(&key(ordinal), &mut self.reads, self.view.versions(KEYS[ordinal]), self.view.base())
                .expect("a choice always exists");
        let read = self.number_of(ordinal, found.as_ref());
        assert_eq!(read, expected, "key {ordinal} after {:?}", self.model);
        self.model.insert(ordinal, read);
        self.check();
        read
    }

    /// The version that was found, checked to be what the commit wrote.
    fn number_of(&self, ordinal: usize, found: Option<&Found>) -> Number {
        let Some(found) = found else { return 0 };
        let number = number(found.version());
        let written = self.history.written(ordinal, number).expect("a version of this history");
        let Found::Recent { commit, ordinal: at } = found else { panic!("a view has no rows") };
        let (key, value) = (commit.writes.key(*at as usize), commit.writes.value(*at as usize));
        let as_written = match value {
            ValueRef::Tombstone => Written::Tombstone,
            ValueRef::Inline { len: 0, .. } => Written::Empty,
            ValueRef::Inline { .. } => Written::Inline,
            ValueRef::Stored(_) => Written::Stored,
        };
        assert_eq!((key, as_written), (KEYS[ordinal], written));
        assert_eq!(found.is_tombstone(), written == Written::Tombstone);
        number
    }

    /// Scans one page; returns its rows and what is left.
    fn page(&mut self, range: &KeyRange, limit: usize) -> (Vec<(usize, Number)>, Option<KeyRange>) {
        let known = |ordinal: &usize| range.contains(KEYS[*ordinal]) && self.history.newest(*ordinal) != 0;
        let known: Vec<_> = (0..KEYS.len()).filter(known).collect();
        let last = (known.len() > limit).then(|| known[limit - 1]);
        let covers =
            |ordinal: &usize| range.contains(KEYS[*ordinal]) && last.is_none_or(|last| *ordinal <= last);
        let mut expected_rows = Vec::new();
        let mut model = self.model.clone();
        for ordinal in (0..KEYS.len()).filter(covers) {
            let again = model.get(&ordinal).copied();
            let number = again
                .or_else(|| self.history.newest_atomic(ordinal, &model))
                .expect("a choice always exists");
            model.insert(ordinal, number);
            if number != 0 && self.history.written(ordinal, number) != Some(Written::Tombstone) {
                expected_rows.push((ordinal, number));
            }
        }
        let page = choose::scan_view(range.clone(), limit, &mut self.reads, &self.view)
            .expect("a choice always exists");
        let row = |(key, found): &(Bytes, Found)| (ordinal(key), self.number_of(ordinal(key), Some(found)));
        let rows: Vec<_> = page.rows.iter().map(row).collect();
        assert_eq!(rows, expected_rows, "{range:?} after {:?}", self.model);
        for (ordinal, name) in KEYS.iter().enumerate() {
            assert_eq!(page.covered.contains(name), covers(&ordinal), "the page covers {ordinal}");
            let left = range.contains(name) && !covers(&ordinal);
            assert_eq!(page.rest.as_ref().is_some_and(|rest| rest.contains(name)), left, "{ordinal} is left");
        }
        self.model = model;
        self.check();
        (rows, page.rest)
    }

    /// What must hold after every step.
    fn check(&self) {
        assert!(self.history.is_atomic(&self.model), "torn: {:?}", self.model);
        assert!(self.history.is_extensible(&self.model), "a dead end: {:?}", self.model);
        for (ordinal, name) in KEYS.iter().enumerate() {
            let read = self.model.get(&ordinal).copied();
            assert_eq!(
                self.reads.version_read(name),
                read.map(version),
                "what the read set says of {ordinal}"
            );
            assert!(
                read.is_none_or(|read| read >= self.begun.newest(ordinal)),
                "{ordinal} below the view at begin"
            );
        }
        let greatest = self.model.values().copied().max().unwrap_or(0);
        assert_eq!(
            self.reads.greatest(),
            version(greatest),
            "the transaction's own version must exceed it (I5)"
        );
    }
}

// ---- generated worlds ----------------------------------------------------------------------------------------------

fn written() -> impl Strategy<Value = Written> {
    prop_oneof![
        2 => Just(Written::Tombstone),
        1 => Just(Written::Empty),
        4 => Just(Written::Inline),
        1 => Just(Written::Stored),
    ]
}

/// Commits in the order of their arrival, their versions in any other order.
fn arrivals(most: Number) -> impl Strategy<Value = Vec<(Number, Writes)>> {
    let versions = (1..=most).prop_flat_map(|count| Just((1..=count).collect::<Vec<_>>()).prop_shuffle());
    versions.prop_flat_map(move |versions| {
        let count = versions.len();
        let writes = prop::collection::btree_map(0..KEYS.len(), written(), 0..=4);
        let writes = prop::collection::vec(writes, count);
        writes.prop_map(move |writes| versions.iter().copied().zip(writes).collect())
    })
}

/// A range over the keys; some are empty, some hold no key at all.
fn range() -> impl Strategy<Value = KeyRange> {
    let bound = || 0..KEYS.len();
    prop_oneof![
        (bound(), bound()).prop_map(|(from, to)| KeyRange::from(KEYS[from]..KEYS[to])),
        (bound(), bound()).prop_map(|(from, to)| KeyRange::from(KEYS[from]..=KEYS[to])),
        bound().prop_map(|from| KeyRange::from(KEYS[from]..)),
        bound().prop_map(|to| KeyRange::from(..KEYS[to])),
        bound().prop_map(|prefix| KeyRange::prefix(KEYS[prefix])),
        Just(KeyRange::all()),
    ]
}
