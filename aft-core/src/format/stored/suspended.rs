//! Tokens: any suspended transaction, and tokens that break one rule of the format each.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::damage::parts;
use super::*;
use crate::format::envelope::{FormatError, Kind, seal};
use crate::format::token::{Suspended, SuspendedWrite};
use crate::key_range::{self, KeyRange};
use crate::receipt::Receipt;

// ---- any token -----------------------------------------------------------------------------------------------------

fn version() -> impl Strategy<Value = Version> {
    (1..=u64::MAX, txn()).prop_map(|(clock, txn)| Version::new(Timestamp::from_bits(clock), txn))
}

fn receipts() -> impl Strategy<Value = BTreeMap<Version, Receipt>> {
    let receipt = (version(), prop::option::of(txn())).prop_map(|(version, group)| {
        (version, Receipt::new(version, group.unwrap_or_else(|| version.txn_id())))
    });
    prop::collection::vec(receipt, 0..5).prop_map(|receipts| receipts.into_iter().collect())
}

fn ranges() -> impl Strategy<Value = Vec<KeyRange>> {
    let range = (bytes(0..4), prop::option::of(bytes(0..4)));
    prop::collection::vec(range, 0..4).prop_map(|ranges| {
        let mut sorted = Vec::new();
        ranges
            .into_iter()
            .for_each(|(start, end)| key_range::add(&mut sorted, KeyRange::between(start, end)));
        sorted
    })
}

type Places = BTreeMap<Bytes, prop::sample::Index>;

/// Keys, each with the place of its version.
fn places() -> impl Strategy<Value = Places> {
    prop::collection::btree_map(key(), any::<prop::sample::Index>(), 0..5)
}

/// The versions that the places mean; what is absent is no place of a floor.
fn versioned(places: Places, versions: &[Version]) -> BTreeMap<Bytes, Version> {
    let entry = |(key, place): (Bytes, prop::sample::Index)| (key, *place.get(versions));
    places.into_iter().filter(|_| !versions.is_empty()).map(entry).collect()
}

/// Any suspended transaction.
pub(super) fn suspended() -> impl Strategy<Value = Suspended> {
    let scalars = ("[a-z0-9-]{0,36}", txn(), any::<(u64, u64, u64)>(), any::<(bool, bool, bool)>());
    let optional = || prop::option::of(bytes(0..20));
    let writer = any::<prop::sample::Index>;
    let contents = prop::collection::btree_map(key(), (content(), writer()), 0..6);
    let lineage = prop::collection::btree_set(any::<u64>(), 1..4);
    let written = (lineage, contents, prop::option::of((writer(), bytes(0..20))));
    (scalars, optional(), receipts(), (places(), places(), ranges()), written).prop_map(
        |(
            (store_id, txn, (age_ms, seen_until, base), (latest, publish_before_ack, serializable)),
            request_key,
            receipts,
            read,
            written,
        )| {
            let versions: Vec<_> = receipts.keys().copied().collect();
            let (reads, floors, ranges) = read;
            let (lineage, contents, result) = written;
            let attempts: Vec<_> = lineage.iter().copied().collect();
            let mut offset = 0;
            let suspend = |(key, (content, writer)): (Bytes, (Content, prop::sample::Index))| {
                let inline = if let Content::Inline(bytes) = &content { Some(bytes.clone()) } else { None };
                let (writer, value) = (*writer.get(&attempts), value(&content, &mut offset));
                (key, SuspendedWrite { writer, value, inline })
            };
            let reads = versioned(reads, &[&[Version::ABSENT], &versions[..]].concat());
            Suspended {
                guarded: reads.keys().step_by(2).cloned().collect(),
                serializable,
                store_id,
                txn,
                age_ms,
                seen_until,
                base,
                request_key,
                latest,
                publish_before_ack,
                reads,
                floors: versioned(floors, &versions),
                ranges,
                receipts,
                writes: contents.into_iter().map(suspend).collect(),
                result: result.map(|(writer, result)| (*writer.get(&attempts), result)),
                lineage,
            }
        },
    )
}

// ---- what no token may be ------------------------------------------------------------------------------------------

/// The meta of a token, field by field, as any other writer would make it.
#[derive(Serialize, Clone)]
struct Raw {
    store_id: &'static str,
    age_ms: u64,
    seen_until: u64,
    base: u64,
    latest: bool,
    publish_before_ack: bool,
    serializable: bool,
    lineage: Vec<u64>,
    writers: Vec<u32>,
    receipts: Vec<(u64, [u8; 16], Option<[u8; 16]>)>,
    reads: Vec<(Vec<u8>, u32)>,
    floors: Vec<(Vec<u8>, u32)>,
    ranges: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    // The record.
    txn: [u8; 16],
    clock: u64,
    request_key: Option<Vec<u8>>,
    result: Option<Vec<u8>>,
    guards: Vec<(Vec<u8>, u64, [u8; 16], u32)>,
    writes: Vec<(Vec<u8>, RawValue)>,
}

#[derive(Serialize, Clone)]
enum RawValue {
    Tombstone,
    Inline { len: u64, checksum: u64 },
}

const PAYLOAD: &[u8] = b"value";

impl Raw {
    fn good() -> Self {
        let inline = RawValue::Inline { len: 5, checksum: checksum(PAYLOAD) };
        Self {
            store_id: "store",
            age_ms: 1,
            seen_until: 2,
            base: 3,
            latest: false,
            publish_before_ack: false,
            serializable: false,
            lineage: vec![5, 7],
            writers: vec![0, 1, 1],
            receipts: vec![(1, [1; 16], None), (2, [1; 16], Some([9; 16]))],
            reads: vec![(b"a".to_vec(), 0), (b"b".to_vec(), 2)],
            floors: vec![(b"c".to_vec(), 1), (b"d".to_vec(), 2)],
            ranges: vec![(b"".to_vec(), Some(b"a".to_vec())), (b"x".to_vec(), None)],
            txn: [7; 16],
            clock: 0,
            request_key: None,
            result: Some(b"done".to_vec()),
            guards: Vec::new(),
            writes: vec![(b"a".to_vec(), inline), (b"b".to_vec(), RawValue::Tombstone)],
        }
    }

    fn decode(&self, payload: &[u8]) -> Result<Suspended, FormatError> {
        let meta = postcard::to_stdvec(self).unwrap();
        Suspended::decode(&seal(Kind::Token, &meta, &[Bytes::copy_from_slice(payload)]).unwrap())
    }
}

/// A good token, and what makes it bad.
type Rule = (&'static str, fn(&mut Raw));

const RULES: [Rule; 32] = [
    ("attempts unsorted", |raw| raw.lineage.swap(0, 1)),
    ("an attempt twice", |raw| raw.lineage = vec![5, 5]),
    ("a writer out of range", |raw| raw.writers[0] = 2),
    ("no writer that can be", |raw| raw.writers[0] = u32::MAX),
    ("the result's writer out of range", |raw| raw.writers[2] = 2),
    ("no writer for the result", |raw| raw.writers.truncate(2)),
    ("no writer for a write", |raw| raw.writers.clear()),
    ("a writer of nothing", |raw| raw.writers.push(0)),
    ("writers without attempts", |raw| raw.lineage.clear()),
    ("receipts unsorted", |raw| raw.receipts.swap(0, 1)),
    ("a receipt twice", |raw| raw.receipts[1] = raw.receipts[0]),
    ("a receipt of nothing", |raw| raw.receipts[0] = (0, [0; 16], None)),
    ("reads unsorted", |raw| raw.reads.swap(0, 1)),
    ("a read twice", |raw| raw.reads[1] = raw.reads[0].clone()),
    ("a read without a receipt", |raw| raw.reads[1].1 = 3),
    ("a read of an empty key", |raw| raw.reads[0].0.clear()),
    ("a read of a long key", |raw| raw.reads[1].0 = vec![b'k'; crate::MAX_KEY_BYTES + 1]),
    ("floors unsorted", |raw| raw.floors.swap(0, 1)),
    ("a floor without a receipt", |raw| raw.floors[1].1 = u32::MAX),
    ("a floor of nothing", |raw| raw.floors[0].1 = 0),
    ("a floor under an empty key", |raw| raw.floors[0].0.clear()),
    ("ranges unsorted", |raw| raw.ranges.swap(0, 1)),
    ("ranges that touch", |raw| raw.ranges[1].0 = b"a".to_vec()),
    ("a range of nothing", |raw| raw.ranges[0].1 = Some(Vec::new())),
    ("a commit", |raw| raw.clock = 1),
    ("a guard that is made", |raw| raw.guards.push((b"a".to_vec(), 1, [0; 16], 0))),
    ("a guard that has a place", |raw| raw.guards.push((b"a".to_vec(), 0, [0; 16], 1))),
    ("a guard of what was not read", |raw| raw.guards.push((b"z".to_vec(), 0, [0; 16], 0))),
    ("a guard twice", |raw| raw.guards = vec![(b"a".to_vec(), 0, [0; 16], 0); 2]),
    ("writes unsorted", |raw| raw.writes.swap(0, 1)),
    ("a write of an empty key", |raw| raw.writes[0].0.clear()),
    ("a value of 2^64 - 1 bytes", |raw| raw.writes[0].1 = RawValue::Inline { len: u64::MAX, checksum: 0 }),
];

#[test]
fn what_breaks_a_rule_of_a_token() {
    for (rule, bend) in RULES {
        let mut raw = Raw::good();
        bend(&mut raw);
        assert!(matches!(raw.decode(PAYLOAD), Err(FormatError::Malformed(_))), "{rule}");
    }
}

#[test]
fn a_token_field_by_field_and_its_payload() {
    let good = Raw::good();
    let token = good.decode(PAYLOAD).unwrap();
    let [first, second] =
        [1, 2].map(|clock| Version::new(Timestamp::from_bits(clock), TxnId::from_bytes([1; 16])));
    assert_eq!((token.txn, token.age_ms), (TxnId::from_bytes([7; 16]), 1));
    assert!(token.reads.values().eq(&[Version::ABSENT, second]));
    assert!(token.floors.values().eq(&[first, second]));
    assert!(token.writes.values().map(|write| write.writer).eq([5, 7]));
    assert_eq!(token.writes[&b"a"[..]].inline.as_deref(), Some(PAYLOAD));
    assert_eq!(token.result, Some((7, Bytes::from("done"))));
    assert_eq!(token.lineage, BTreeSet::from([5, 7]));
    assert_eq!(token.receipts[&second], Receipt::new(second, TxnId::from_bytes([9; 16])));
    let (meta, payload) = parts(&token.encode().unwrap());
    assert_eq!((&meta[..], &payload[..]), (&postcard::to_stdvec(&good).unwrap()[..], PAYLOAD));

    for payload in [&b""[..], b"valu", b"value "] {
        assert!(matches!(good.decode(payload), Err(FormatError::Malformed(_))), "{payload:?}");
    }
    assert_eq!(good.decode(b"eulav"), Err(FormatError::Checksum));
    let more = [&meta[..], b"x"].concat();
    let object = seal(Kind::Token, &more, &[payload]).unwrap();
    assert!(matches!(Suspended::decode(&object), Err(FormatError::Malformed(_))), "a byte more");
}

#[test]
fn what_has_no_receipt_or_no_attempt_is_not_encoded() {
    let good = Raw::good().decode(PAYLOAD).unwrap();
    let mut without_receipts = good.clone();
    without_receipts.receipts.clear();
    let mut without_attempts = good;
    without_attempts.lineage.clear();
    for bad in [without_receipts, without_attempts] {
        assert!(matches!(bad.encode(), Err(FormatError::Malformed(_))));
    }
}
