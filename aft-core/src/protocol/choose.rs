//! Which version a transaction reads: the read-atomic protocol (I4).
//!
//! An *atomic read set* (AFT, section 3.2; RAMP, section 3) holds, for every version read, each key written by the
//! same commit either not at all or at that version or a newer one. Absent counts as version 0.
//!
//! **Why the obvious way fails.** "The newest version of each key" tears: between two reads a commit may arrive that
//! wrote both keys. "The newest version that is not below the floor of what was read" tears too: a floor only says
//! what the *earlier* reads demand of this one. A new version may also demand something of the earlier reads, which cannot be
//! changed any more; such a version must not be chosen.
//!
//! **Why a choice always exists.** Let V be the set of commits that the view held when the transaction began. Every read is at
//! or above the newest version of its key in V: by induction, the newest version in V is admissible (it would not be
//! only if a key that its commit also wrote had been read below it, but that key's newest version in V is at least
//! that commit's), unless a floor demands a newer one; and a version that gives a floor is admissible itself, since its
//! commit was read. So where a floor is set and nothing is found, the view has lost something: that is an error, never "absent".

use bytes::Bytes;

use crate::key_range::KeyRange;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::read_set::ReadSet;
use crate::protocol::view::Found;
#[cfg(test)]
use crate::protocol::view::View;
use crate::version::Version;

/// A version that must be read is not in the view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the version {floor} or a newer one of the key must be read, and the node does not know it")]
pub struct Unsatisfiable {
    /// The least version that may be read.
    pub floor: Version,
}

/// The version of `key` that the transaction reads: the newest that keeps its read set atomic; `None`: absent. A key that
/// was read before gives the same answer. `versions`: every version that may be read, oldest first: those of the view, and the
/// index's where that can hold one that counts.
///
/// # Errors
/// [`Unsatisfiable`] where what the reads so far demand is not there.
pub fn choose(
    key: &Bytes,
    reads: &ReadSet,
    versions: &[Found],
    base: &Base,
) -> Result<Option<Found>, Unsatisfiable> {
    if let Some(read) = reads.read(key) {
        return Ok(read.cloned());
    }
    if planted(Planted::IgnoreFloor) {
        let admitted = versions.iter().rev().filter(|found| admits(reads, found));
        return Ok(admitted.take(2).last().cloned());
    }
    let floor = reads.floor(key, versions);
    let candidates = versions.iter().rev().take_while(|found| found.version() >= floor);
    match candidates.into_iter().find(|found| planted(Planted::IgnoreReads) || admits(reads, found)) {
        Some(found) => Ok(Some(found.clone())),
        None if floor.is_absent() => Ok(None),
        // What must be read at or above the floor was a deletion that left the index.
        None if base.is_settled(floor) => Ok(Some(Found::purged(key, floor))),
        None => Err(Unsatisfiable { floor }),
    }
}

/// Of a folded commit this is the only key that counts.
fn admits(reads: &ReadSet, found: &Found) -> bool {
    found.commit().is_none_or(|commit| reads.admits(commit))
}

/// [`choose`], and notes the read.
///
/// # Errors
/// As [`choose`]; the read set is unchanged then.
pub fn read(
    key: &Bytes,
    reads: &mut ReadSet,
    versions: &[Found],
    base: &Base,
) -> Result<Option<Found>, Unsatisfiable> {
    let found = choose(key, reads, versions, base)?;
    reads.record(key, found.as_ref());
    Ok(found)
}

/// Whether the choice for `key` may depend on the index: not where it was read before, nor where the versions of the view alone give one
/// above everything in the runs.
#[must_use]
pub fn needs_index(key: &Bytes, reads: &ReadSet, versions: &[Found], base: &Base) -> bool {
    if base.manifest().is_none_or(|manifest| manifest.runs.is_empty()) || reads.read(key).is_some() {
        return false;
    }
    let chosen = choose(key, reads, versions, base);
    !matches!(chosen, Ok(Some(found)) if found.version() > base.greatest())
}

/// The versions of one key: those of the view and, in its place, the index's. The index may hold one that the view still holds.
#[must_use]
pub fn with_row(view: &[Found], row: Option<Found>) -> Vec<Found> {
    let mut versions = view.to_vec();
    if let Some(row) = row
        && let Err(at) = versions.binary_search_by_key(&row.version(), Found::version)
    {
        versions.insert(at, row);
    }
    versions
}

/// A page of a scan.
#[derive(Debug)]
pub struct ScanPage {
    /// The keys that are there, in order, tombstones left out.
    pub rows: Vec<(Bytes, Found)>,
    /// What the page covers of the range.
    pub covered: KeyRange,
    /// What is left to scan.
    pub rest: Option<KeyRange>,
}

/// Reads every key of a range, absent ones included, up to `limit` keys (at least one) that any commit wrote. `keys`: those keys
/// in order, at least one more than the limit where there are more, each with its [versions](choose).
///
/// Keys are chosen one after the other from one view, which is as atomic as reading them by name; then the range
/// itself is noted, so that a key which a later commit creates in it counts as read absent: no phantom tears the scan.
///
/// # Errors
/// As [`choose`]; what was noted up to there stays noted, which is safe.
pub fn scan(
    range: KeyRange,
    limit: usize,
    reads: &mut ReadSet,
    keys: impl IntoIterator<Item = (Bytes, Vec<Found>)>,
    base: &Base,
) -> Result<ScanPage, Unsatisfiable> {
    let mut rows = Vec::new();
    let mut last = None;
    let mut keys = keys.into_iter();
    for (key, versions) in keys.by_ref().take(limit.max(1)) {
        let found = if planted(Planted::ForgetScan) {
            choose(&key, reads, &versions, base)?
        } else {
            read(&key, reads, &versions, base)?
        };
        if let Some(found) = found.filter(|found| !found.is_tombstone()) {
            rows.push((key.clone(), found));
        }
        last = Some(key);
    }
    let more = keys.next().is_some();
    let (covered, rest) = match last {
        Some(last) if more => {
            let (covered, rest) = range.split_after(&last);
            (covered, Some(rest))
        }
        _ => (range, None),
    };
    // A key that is not there at all is passed over above: read as absent, which a floor may forbid, unless it was deleted so long ago
    // that the deletion left the index.
    for (key, floor) in reads.unread_floors_in(&covered) {
        if !base.is_settled(floor) {
            return Err(Unsatisfiable { floor });
        }
        reads.record(&key, Some(&Found::purged(&key, floor)));
    }
    if !planted(Planted::ForgetScannedRange) && !planted(Planted::ForgetScan) {
        reads.record_range(covered.clone());
    }
    Ok(ScanPage { rows, covered, rest })
}

/// [`choose`] from a view that builds on no runs, for the tests against the definition.
#[cfg(test)]
pub fn choose_in(key: &[u8], reads: &ReadSet, view: &View) -> Result<Option<Found>, Unsatisfiable> {
    choose(&Bytes::copy_from_slice(key), reads, view.versions(key), view.base())
}

/// [`scan`] of a view that builds on no runs, for the tests against the definition.
#[cfg(test)]
pub fn scan_view(
    range: KeyRange,
    limit: usize,
    reads: &mut ReadSet,
    view: &View,
) -> Result<ScanPage, Unsatisfiable> {
    let within = range.clone();
    let keys: Vec<_> = view.keys_in(&within).map(|found| (found[0].key_bytes(), found.to_vec())).collect();
    scan(range, limit, reads, keys, view.base())
}
