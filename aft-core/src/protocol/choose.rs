//! Which version a transaction reads: the read-atomic protocol.
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

use crate::planted::{Planted, planted};
use crate::protocol::key_range::KeyRange;
use crate::protocol::read_set::ReadSet;
use crate::protocol::view::{Found, View};
use crate::version::Version;

/// A version that must be read is not in the view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the version {floor} or a newer one of the key must be read, and the node does not know it")]
pub struct Unsatisfiable {
    /// The least version that may be read.
    pub floor: Version,
}

/// The version of `key` that the transaction reads: the newest that keeps its read set atomic; `None`: absent. A key that
/// was read before gives the same answer.
///
/// # Errors
/// [`Unsatisfiable`] where the view lacks what the reads so far demand.
pub fn choose(key: &[u8], reads: &ReadSet, view: &View) -> Result<Option<Found>, Unsatisfiable> {
    if let Some(read) = reads.read(key) {
        return Ok(read.cloned());
    }
    if planted(Planted::IgnoreFloor) {
        return Ok(view
            .versions(key)
            .iter()
            .rev()
            .filter(|found| reads.admits(&found.commit))
            .take(2)
            .last()
            .cloned());
    }
    let floor = reads.floor(key);
    let candidates = view.versions(key).iter().rev().take_while(|found| found.version() >= floor);
    match candidates.into_iter().find(|found| planted(Planted::IgnoreReads) || reads.admits(&found.commit)) {
        Some(found) => Ok(Some(found.clone())),
        None if floor.is_absent() => Ok(None),
        None => Err(Unsatisfiable { floor }),
    }
}

/// [`choose`], and notes the read.
///
/// # Errors
/// As [`choose`]; the read set is unchanged then.
pub fn read(key: &Bytes, reads: &mut ReadSet, view: &View) -> Result<Option<Found>, Unsatisfiable> {
    let found = choose(key, reads, view)?;
    reads.record(key, found.as_ref());
    Ok(found)
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

/// Reads every key of a range, absent ones included, up to `limit` keys (at least one) that any commit wrote.
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
    view: &View,
) -> Result<ScanPage, Unsatisfiable> {
    let mut rows = Vec::new();
    let mut last = None;
    let mut keys = view.keys_in(&range);
    for key in keys.by_ref().take(limit.max(1)) {
        let found =
            if planted(Planted::ForgetScan) { choose(key, reads, view)? } else { read(key, reads, view)? };
        if let Some(found) = found.filter(|found| !found.is_tombstone()) {
            rows.push((key.clone(), found));
        }
        last = Some(key.clone());
    }
    let more = keys.next().is_some();
    drop(keys);
    let (covered, rest) = match last {
        Some(last) if more => {
            let (covered, rest) = range.split_after(&last);
            (covered, Some(rest))
        }
        _ => (range, None),
    };
    // A key that the view does not hold at all is passed over above: read as absent, which a floor may forbid.
    if let Some(floor) = reads.unread_floor(&covered) {
        return Err(Unsatisfiable { floor });
    }
    if !planted(Planted::ForgetScannedRange) && !planted(Planted::ForgetScan) {
        reads.record_range(covered.clone());
    }
    Ok(ScanPage { rows, covered, rest })
}
