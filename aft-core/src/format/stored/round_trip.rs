//! What was encoded decodes, its values lie where it says, and nothing was copied.

use super::suspended::suspended;
use super::*;
use crate::format::token::Suspended;
use crate::protocol::view::{Commit, Home, Place};

/// Each inline value, where the record says it lies in the object, and as it was handed in.
fn assert_values_lie_there(
    object: &Bytes,
    inline_offset: u64,
    record: &CommitRecord,
    payload: &mut std::slice::Iter<'_, Bytes>,
) {
    let commit = Commit::new(record, record.txn, Home::Decision { inline_offset });
    assert_eq!(commit.writes.to_vec(), record.writes);
    for ordinal in 0..commit.writes.len() {
        let Place::Inline { start, len, checksum: sum, .. } = commit.place(ordinal) else { continue };
        let bytes = object.slice(start as usize..(start + len) as usize);
        assert_eq!(Some(&bytes), payload.next());
        assert_eq!(checksum(&bytes), sum);
    }
}

/// These are slices of the object itself.
fn assert_inside<'a>(object: &Bytes, slices: impl Iterator<Item = &'a Bytes>) {
    let inside = object.as_ptr_range();
    for bytes in slices.filter(|bytes| !bytes.is_empty()) {
        let slice = bytes.as_ptr_range();
        assert!(inside.start <= slice.start && slice.end <= inside.end, "{bytes:?} was copied");
    }
}

/// The keys, the request key and the result are slices of the object itself.
fn assert_nothing_was_copied(object: &Bytes, record: &CommitRecord) {
    let keys =
        record.writes.iter().map(|write| &write.key).chain(record.guards.iter().map(|guard| &guard.key));
    assert_inside(object, keys.chain(&record.request_key).chain(&record.result));
}

proptest! {
    #[test]
    fn decisions((decision, payload) in decision()) {
        let object = decision.encode(&payload).unwrap();
        let decoded = Decision::decode(&object).unwrap();
        prop_assert_eq!(&decoded.decision, &decision);
        let mut payload = payload.iter();
        if let Verdict::Commit(records) = &decoded.decision.verdict {
            prop_assert_eq!(records.len(), decoded.inline_offsets.len());
            for (record, inline_offset) in records.iter().zip(&decoded.inline_offsets) {
                assert_values_lie_there(&object, *inline_offset, record, &mut payload);
                assert_nothing_was_copied(&object, record);
            }
        }
        prop_assert_eq!(payload.next(), None);
    }

    #[test]
    fn feeds((feed, payload) in feed()) {
        let object = feed.encode(&payload).unwrap();
        let decoded = Feed::decode(&object).unwrap();
        prop_assert_eq!(without_offsets(decoded.clone()), feed);
        let mut payload = payload.iter();
        for entry in &decoded.entries {
            if let Entry::Commit { home, record, .. } = entry {
                assert_nothing_was_copied(&object, record);
                if let EntryHome::Feed { inline_offset } = home {
                    assert_values_lie_there(&object, *inline_offset, record, &mut payload);
                }
            }
        }
        prop_assert_eq!(payload.next(), None);
    }

    #[test]
    fn claims(claim in claim()) {
        let object = claim.encode().unwrap();
        let decoded = Claim::decode(&object).unwrap();
        prop_assert_eq!(&decoded, &claim);
        prop_assert!(object.is_unique(), "a claim that is kept does not keep its object");
    }

    #[test]
    fn tokens(suspended in suspended()) {
        let object = suspended.encode().unwrap();
        let decoded = Suspended::decode(&object).unwrap();
        prop_assert_eq!(&decoded, &suspended);
        prop_assert_eq!(decoded.encode().unwrap(), object.clone(), "one state, one token");
        let keys = decoded.reads.keys().chain(decoded.floors.keys()).chain(decoded.writes.keys());
        let values = decoded.writes.values().filter_map(|write| write.inline.as_ref());
        assert_inside(&object, keys.chain(values).chain(&decoded.request_key));
    }

    #[test]
    fn bundles(bundle in bundle()) {
        let object = bundle.encode().unwrap();
        let decoded = Bundle::decode(&object).unwrap();
        prop_assert_eq!(&decoded, &bundle);
        let turned = Bundle { copies: decoded.copies.into_iter().rev().collect() };
        let read = Bundle::decode(&turned.encode().unwrap());
        prop_assert_eq!(read.is_ok(), turned.copies.len() < 2, "in order, or not at all");
    }

    /// A commit does not hold on to the object that it was read from: its keys are its own.
    #[test]
    fn a_commit_keeps_no_object_alive((record, _) in record()) {
        let encoded = Decision { id: record.txn, attempt: 1, verdict: Verdict::Commit(vec![record]) };
        let payload: Vec<_> = match &encoded.verdict {
            Verdict::Commit(records) => vec![Bytes::from(vec![0; records[0].inline_len() as usize])],
            Verdict::Abort => vec![],
        };
        let object = encoded.encode(&payload).unwrap();
        let Verdict::Commit(records) = Decision::decode(&object).unwrap().decision.verdict else { unreachable!() };
        let commit = Commit::new(&records[0], records[0].txn, Home::Decision { inline_offset: 0 });
        drop((encoded, records));
        prop_assert!(object.is_unique());
        drop(commit);
    }
}
