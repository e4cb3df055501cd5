//! The branches of a transaction, tokens of it that went to several functions side by side: joining them, and going on.
//!
//! The joined transaction has read what any branch read and written what any branch wrote. That is a transaction only if the
//! reads together are an atomic read set (AFT, section 3.2) and no key was written by two branches.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use crate::format::record::Value;
use crate::format::token::{Suspended, SuspendedWrite};
use crate::key_range;
use crate::planted::{Planted, planted};
use crate::protocol::read_set::ReadSet;
use crate::protocol::view::{Found, View};
use crate::version::Version;

/// Why branches are not one transaction.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unjoinable {
    /// They belong to different stores, transactions or requests.
    #[error("the tokens are of different transactions")]
    Foreign,
    /// They read a key at two versions, or together read a commit in part.
    #[error("the branches read the key {0:?} at versions that are not one atomic read set")]
    Reads(Bytes),
    /// Both wrote a key.
    #[error("two branches wrote the key {0:?}")]
    Writes(Bytes),
    /// Both set a result.
    #[error("two branches set the result")]
    Results,
}

/// Joins two branches.
///
/// # Errors
/// [`Unjoinable`].
pub fn join(a: Suspended, b: Suspended) -> Result<Suspended, Unjoinable> {
    if (&a.store_id, a.txn, &a.request_key) != (&b.store_id, b.txn, &b.request_key) {
        return Err(Unjoinable::Foreign);
    }
    let mut reads = a.reads.clone();
    for (key, version) in &b.reads {
        if *reads.entry(key.clone()).or_insert(*version) != *version {
            return Err(Unjoinable::Reads(key.clone()));
        }
    }
    let winner = Lineages { a: &a, b: &b };
    let mut writes = a.writes.clone();
    for (key, theirs) in &b.writes {
        match writes.entry(key.clone()) {
            Entry::Vacant(free) => drop(free.insert(theirs.clone())),
            Entry::Occupied(mut taken) => {
                let newer = winner.newer(taken.get().writer, theirs.writer);
                if newer.ok_or_else(|| Unjoinable::Writes(key.clone()))? == theirs.writer {
                    taken.insert(theirs.clone());
                }
            }
        }
    }
    let result = match (&a.result, &b.result) {
        (Some(ours), Some(theirs)) => {
            let newer = winner.newer(ours.0, theirs.0).ok_or(Unjoinable::Results)?;
            Some(if newer == ours.0 { ours.clone() } else { theirs.clone() })
        }
        (ours, theirs) => ours.clone().or_else(|| theirs.clone()),
    };
    let mut floors = a.floors.clone();
    for (key, floor) in &b.floors {
        let merged = floors.entry(key.clone()).or_insert(*floor);
        *merged = (*merged).max(*floor);
    }
    check_atomic(&reads, &floors, &a, &b)?;
    floors.retain(|key, _| !reads.contains_key(key));
    lay_out(&mut writes);
    let mut joined = a;
    b.ranges.into_iter().for_each(|range| key_range::add(&mut joined.ranges, range));
    joined.receipts.extend(b.receipts);
    joined.lineage.extend(b.lineage);
    joined.age_ms = joined.age_ms.max(b.age_ms);
    joined.seen_until = joined.seen_until.min(b.seen_until);
    joined.base = joined.base.max(b.base);
    joined.latest |= b.latest;
    joined.publish_before_ack |= b.publish_before_ack;
    joined.serializable |= b.serializable;
    joined.guarded.extend(b.guarded);
    if joined.serializable {
        joined.guarded.extend(reads.keys().cloned());
    }
    Ok(Suspended { reads, writes, result, floors, ..joined })
}

/// Gives each inline value its place: they follow each other in the order of the keys.
fn lay_out(writes: &mut BTreeMap<Bytes, SuspendedWrite>) {
    let mut next = 0;
    for write in writes.values_mut() {
        if let Value::Inline { offset, len, .. } = &mut write.value {
            *offset = next;
            next += *len;
        }
    }
}

/// Which attempts came before which.
struct Lineages<'a> {
    a: &'a Suspended,
    b: &'a Suspended,
}

impl Lineages<'_> {
    /// Of two writes of one key, one in each branch, that of the attempt which came after the other; `None` where neither did.
    fn newer(&self, in_a: u64, in_b: u64) -> Option<u64> {
        // A branch that overwrote what both inherited wins over the branch that did not touch it.
        if self.b.lineage.contains(&in_a) {
            Some(in_b)
        } else {
            self.a.lineage.contains(&in_b).then_some(in_a)
        }
    }
}

/// No key was read below a floor that the other branch's reads set, keys of scanned ranges included.
fn check_atomic(
    reads: &BTreeMap<Bytes, Version>,
    floors: &BTreeMap<Bytes, Version>,
    a: &Suspended,
    b: &Suspended,
) -> Result<(), Unjoinable> {
    for (key, floor) in floors {
        if reads.get(key).is_some_and(|read| read < floor) {
            return Err(Unjoinable::Reads(key.clone()));
        }
    }
    for branch in [a, b] {
        for range in &branch.ranges {
            let in_range = |key: &&Bytes| range.contains(key) && !branch.reads.contains_key(*key);
            // What the branch did not find in its range, it read as absent.
            let seen = reads.iter().filter(|(_, version)| !version.is_absent()).map(|(key, _)| key);
            if let Some(key) = seen.chain(floors.keys()).find(in_range) {
                return Err(Unjoinable::Reads(key.clone()));
            }
        }
    }
    Ok(())
}

/// A version that was read is not in the view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the version {0}, which the transaction has read, is not known here")]
pub struct Lost(pub Version);

/// The reads of a suspended transaction whose commits the view does not hold: their keys' rows are needed to go on.
pub fn reads_beyond<'a>(state: &'a Suspended, view: &'a View) -> impl Iterator<Item = &'a Bytes> {
    let beyond =
        |(key, version): &(&Bytes, &Version)| !version.is_absent() && in_view(view, key, **version).is_none();
    state.reads.iter().filter(beyond).map(|(key, _)| key)
}

fn in_view<'a>(view: &'a View, key: &[u8], version: Version) -> Option<&'a Found> {
    view.versions(key).iter().find(|found| found.version() == version)
}

/// What a suspended transaction has read, as the read set of one that goes on with this view and these rows of the index.
///
/// # Errors
/// [`Lost`], where neither has a version that was read.
pub fn restore_reads(state: &Suspended, view: &View, rows: &BTreeMap<Bytes, Found>) -> Result<ReadSet, Lost> {
    let mut reads = ReadSet::default();
    reads.is_of(view.left(), true);
    for (key, version) in &state.reads {
        let row = rows.get(key);
        let found = in_view(view, key, *version).or(row.filter(|row| row.version() == *version)).cloned();
        // A deletion that was read may have left the index since.
        let purged = || row.is_none() && view.base().is_settled(*version);
        let found = match found {
            None if !version.is_absent() && purged() => Some(Found::purged(key, *version)),
            None if !version.is_absent() && !planted(Planted::ForgetTokenReads) => {
                return Err(Lost(*version));
            }
            found => found,
        };
        reads.record(key, found.as_ref());
    }
    state.ranges.iter().for_each(|range| reads.record_range(range.clone()));
    if !planted(Planted::ForgetTokenReads) {
        state.floors.iter().for_each(|(key, floor)| reads.raise_floor(key.clone(), *floor));
    }
    Ok(reads)
}
