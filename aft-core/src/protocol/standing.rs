//! What may be said of a commit that nothing carries: neither the feed, nor what a checkpoint says is recent, nor a list of what it folded.

use crate::planted::{Planted, planted};
use crate::protocol::view::Commit;
use crate::protocol::write_set::ValueRef;
use crate::version::Version;

/// What the index says of a commit that nothing carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is folded, or superseded, and nothing of it is lost: a row is its own, or each key that it wrote has a row as new, or is as
    /// absent as it left it.
    Carried,
    /// It is not in the index, and no deletion that left the index can have superseded it: it may be published again.
    Lost,
    /// A key that it wrote is not in the index, and may have been deleted since, by a deletion that left.
    Doubtful,
}

/// What the rows of its keys (the newest of each, in all runs) say of a commit. `purged` is the greatest version of a deletion that ever
/// left those runs.
///
/// A row that is older than the commit proves that no newer deletion of its key ever left: that leaves only in a merge of all
/// runs, which drops every older row, and nothing older than what is settled comes after it but commits that are lost by this very
/// rule.
#[must_use]
pub fn standing(commit: &Commit, purged: Version, row: impl Fn(&[u8]) -> Option<Version>) -> Standing {
    let version = commit.version;
    let rows: Vec<_> = commit.writes.keys().map(row).collect();
    // Folds take whole commits: one row of this version says of all its keys that they were folded.
    let folded = rows.contains(&Some(version));
    let deleted = |value, row: &Option<Version>| row.is_none() && value == ValueRef::Tombstone;
    let superseded = |row: &Option<Version>| row.is_some_and(|row| row >= version);
    if folded || rows.iter().all(superseded) {
        Standing::Carried
    } else if version > purged || rows.iter().all(Option::is_some) || planted(Planted::RestoreDeleted) {
        Standing::Lost
    } else if commit.writes.values().zip(&rows).all(|(value, row)| superseded(row) || deleted(value, row)) {
        // As old as this there is nothing beside the index that its deletions could still hide.
        Standing::Carried
    } else {
        Standing::Doubtful
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::format::record::{CommitRecord, Value, Write};
    use crate::protocol::view::Home;
    use crate::txn_id::TxnId;
    use crate::version::Timestamp;

    fn version(n: u8) -> Version {
        Version::new(Timestamp::from_ms(u64::from(n)), TxnId::from_bytes([n; 16]))
    }

    /// A commit at 5 that wrote `a` and `b`, of which the index has these rows.
    fn of(purged: u8, a: Option<u8>, b: Option<u8>) -> Standing {
        wrote(&Value::Inline { offset: 0, len: 0, checksum: 0 }, purged, a, b)
    }

    fn wrote(value: &Value, purged: u8, a: Option<u8>, b: Option<u8>) -> Standing {
        let write = |key: &'static [u8]| Write { key: Bytes::from_static(key), value: value.clone() };
        let record = CommitRecord {
            txn: version(5).txn,
            clock: version(5).clock,
            request_key: None,
            result: None,
            guards: Vec::new(),
            writes: vec![write(b"a"), write(b"b")],
        };
        let commit = Commit::new(&record, record.txn, Home::Decision { inline_offset: 0 });
        standing(&commit, version(purged), |key| if key == b"a" { a } else { b }.map(version))
    }

    #[test]
    fn what_the_index_has_is_carried_and_what_a_deletion_may_hide_is_doubtful() {
        assert_eq!(of(9, Some(5), Some(7)), Standing::Carried);
        assert_eq!(of(9, Some(4), Some(7)), Standing::Lost, "an older row: no deletion of it has left");
        assert_eq!(of(4, Some(6), None), Standing::Lost, "no deletion as new has left");
        assert_eq!(of(4, None, None), Standing::Lost);
        assert_eq!(of(5, None, None), Standing::Doubtful);
        assert_eq!(of(9, Some(6), None), Standing::Doubtful);
        for purged in [4, 9] {
            assert_eq!(
                of(purged, Some(5), None),
                Standing::Carried,
                "a row is its own: all of it was folded"
            );
        }
        let deleted = |purged, a, b| wrote(&Value::Tombstone, purged, a, b);
        assert_eq!(deleted(9, Some(6), None), Standing::Carried, "as absent as it left it");
        assert_eq!(deleted(9, None, None), Standing::Carried);
        assert_eq!(deleted(4, None, None), Standing::Lost, "it may have to hide what is not folded");
        assert_eq!(deleted(9, Some(4), None), Standing::Doubtful);
        assert_eq!(of(9, Some(4), None), Standing::Doubtful);
    }
}
