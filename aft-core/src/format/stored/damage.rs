//! Whatever the bytes are: a decoder says what is wrong, never panics and never reads a value that was not written.
//!
//! **Allocation.** A length field cannot make a decoder allocate: serde reserves at most 1 MiB ahead for a sequence,
//! whatever length it claims, and grows it as elements really come; an element is at most some 60 times larger in memory
//! than on the wire (an empty write: 2 bytes against about 100). The fuzz targets check that with a limit on each allocation.

use super::checkpoint::{garbage, recent};
use super::suspended::suspended;
use super::*;
use crate::format::bundle::Bundle;
use crate::format::envelope::{FormatError, HEADER_LEN, Kind, seal};
use crate::format::garbage::Garbage;
use crate::format::guard::GuardClaim;
use crate::format::manifest::Manifest;
use crate::format::marker::Marker;
use crate::format::recent::Recent;
use crate::format::run::Tail;
use crate::format::token::Suspended;

const KINDS: [Kind; 9] = [
    Kind::Decision,
    Kind::Feed,
    Kind::Request,
    Kind::Guard,
    Kind::Token,
    Kind::Recent,
    Kind::Garbage,
    Kind::Bundle,
    Kind::Run,
];

fn decode(kind: Kind, object: &Bytes) -> Result<(), FormatError> {
    match kind {
        Kind::Decision => Decision::decode(object).map(|_| ()),
        Kind::Feed => Feed::decode(object).map(|_| ()),
        Kind::Request => Claim::decode(object).map(|_| ()),
        Kind::Guard => GuardClaim::decode(object).map(|_| ()),
        Kind::Token => Suspended::decode(object).map(|_| ()),
        Kind::Recent => Recent::decode(object).map(|_| ()),
        Kind::Garbage => Garbage::decode(object).map(|_| ()),
        Kind::Bundle => Bundle::decode(object).map(|_| ()),
        Kind::Run => Tail::decode(object.len() as u64, object).map(|_| ()),
    }
}

/// Decodes; what decodes must be what its own encoding decodes to.
fn decode_and_encode(kind: Kind, object: &Bytes) -> Result<(), FormatError> {
    let payload = |from: usize| [object.slice(object.len() - from..)];
    match kind {
        Kind::Decision => {
            let decoded = Decision::decode(object)?;
            let first = decoded.inline_offsets.first().map_or(object.len(), |base| *base as usize);
            let again = decoded.decision.encode(&payload(object.len() - first)).unwrap();
            assert_eq!(Decision::decode(&again).unwrap().decision, decoded.decision);
        }
        Kind::Feed => {
            let decoded = Feed::decode(object)?;
            let inline_offsets = decoded.entries.iter().filter_map(|entry| match entry {
                Entry::Commit { home: EntryHome::Feed { inline_offset }, .. } => {
                    Some(*inline_offset as usize)
                }
                _ => None,
            });
            let first = inline_offsets.min().unwrap_or(object.len());
            let again = decoded.encode(&payload(object.len() - first)).unwrap();
            assert_eq!(without_offsets(Feed::decode(&again).unwrap()), without_offsets(decoded));
        }
        Kind::Request => {
            let decoded = Claim::decode(object)?;
            assert_eq!(Claim::decode(&decoded.encode().unwrap()).unwrap(), decoded);
        }
        Kind::Guard => {
            let decoded = GuardClaim::decode(object)?;
            assert_eq!(GuardClaim::decode(&decoded.encode().unwrap()).unwrap(), decoded);
        }
        Kind::Token => {
            let decoded = Suspended::decode(object)?;
            assert_eq!(Suspended::decode(&decoded.encode().unwrap()).unwrap(), decoded);
        }
        Kind::Recent => {
            let decoded = Recent::decode(object)?;
            assert_eq!(Recent::decode(&decoded.encode().unwrap()).unwrap(), decoded);
        }
        Kind::Garbage => {
            let decoded = Garbage::decode(object)?;
            assert_eq!(Garbage::decode(&decoded.encode().unwrap()).unwrap(), decoded);
        }
        Kind::Bundle => {
            let decoded = Bundle::decode(object)?;
            assert_eq!(Bundle::decode(&decoded.encode().unwrap()).unwrap(), decoded);
        }
        // Its tests are beside it: `format/run/tests`.
        Kind::Run => decode(kind, object)?,
    }
    Ok(())
}

fn is_length(decoded: Result<(), FormatError>) -> bool {
    matches!(decoded, Err(FormatError::Length { .. }))
}

fn objects() -> impl Strategy<Value = (Kind, Bytes)> {
    prop_oneof![
        decision().prop_map(|(decision, payload)| (Kind::Decision, decision.encode(&payload).unwrap())),
        feed().prop_map(|(feed, payload)| (Kind::Feed, feed.encode(&payload).unwrap())),
        claim().prop_map(|claim| (Kind::Request, claim.encode().unwrap())),
        guard_claim().prop_map(|guard| (Kind::Guard, guard.encode().unwrap())),
        suspended().prop_map(|suspended| (Kind::Token, suspended.encode().unwrap())),
        recent().prop_map(|recent| (Kind::Recent, recent.encode().unwrap())),
        garbage().prop_map(|garbage| (Kind::Garbage, garbage.encode().unwrap())),
        bundle().prop_map(|bundle| (Kind::Bundle, bundle.encode().unwrap())),
    ]
}

/// The meta of an object, and its payload.
pub(super) fn parts(object: &Bytes) -> (Bytes, Bytes) {
    let len = u32::from_le_bytes(object[8..12].try_into().unwrap()) as usize;
    (object.slice(HEADER_LEN..HEADER_LEN + len), object.slice(HEADER_LEN + len..))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes(bytes in bytes(0..200)) {
        for kind in KINDS {
            prop_assert!(decode(kind, &bytes).is_err());
        }
        prop_assert!(Marker::decode(&bytes).is_err());
        prop_assert!(Manifest::decode(&bytes).is_err());
    }

    #[test]
    fn any_text_as_a_marker(text in "\\{(\"(format|store_id|settings|checksum|shards)\": ?(1|2|\"[a-f0-9]*\"|\\{|\\}|\\[|-1e999),? ?){0,6}\\}?") {
        prop_assert!(Marker::decode(text.as_bytes()).is_err());
        prop_assert!(Manifest::decode(text.as_bytes()).is_err());
    }

    #[test]
    fn a_cut_or_a_byte_more((kind, object) in objects(), cut in any::<prop::sample::Index>()) {
        let cut = object.slice(..cut.index(object.len()));
        prop_assert!(is_length(decode(kind, &cut)));
        let more = [&object[..], b"x"].concat().into();
        prop_assert!(is_length(decode(kind, &more)));
        let other = KINDS.into_iter().find(|other| *other != kind).unwrap();
        prop_assert!(decode(other, &object).is_err(), "a record of another kind");
    }

    /// A flipped bit of header or meta is found; one of the payload leaves the record as it was, and only the checksum of
    /// the value it lies in fails.
    #[test]
    fn a_flipped_bit((decision, payload) in decision(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let object = decision.encode(&payload).unwrap();
        let at = at.index(object.len());
        let mut damaged = object.to_vec();
        damaged[at] ^= 1u8 << bit;
        let damaged = Bytes::from(damaged);
        let (meta, _) = parts(&object);
        if at < HEADER_LEN + meta.len() {
            prop_assert!(Decision::decode(&damaged).is_err(), "byte {}", at);
        } else {
            let decoded = Decision::decode(&damaged).unwrap();
            prop_assert_eq!(&decoded.decision, &decision);
            let Verdict::Commit(records) = decoded.decision.verdict else { unreachable!() };
            let mut hit = 0;
            for (record, base) in records.iter().zip(decoded.inline_offsets) {
                for write in &record.writes {
                    if let Value::Inline { offset, len, checksum: sum } = write.value {
                        let (start, end) = ((base + offset) as usize, (base + offset + len) as usize);
                        let found = checksum(&damaged[start..end]) != sum;
                        prop_assert_eq!(found, (start..end).contains(&at));
                        hit += usize::from(found);
                    }
                }
            }
            prop_assert_eq!(hit, 1);
        }
    }

    /// What travels as a whole is checked as a whole: a flipped bit is found wherever it is.
    #[test]
    fn a_flipped_bit_of_what_is_read_as_a_whole(
        claim in claim(), guard in guard_claim(), suspended in suspended(), recent in recent(), garbage in garbage(),
        at in any::<prop::sample::Index>(), bit in 0..8,
    ) {
        let objects = [
            (Kind::Request, claim.encode()), (Kind::Token, suspended.encode()),
            (Kind::Recent, recent.encode()), (Kind::Garbage, garbage.encode()), (Kind::Guard, guard.encode()),
        ];
        for (kind, object) in objects.map(|(kind, object)| (kind, object.unwrap())) {
            let at = at.index(object.len());
            let mut damaged = object.to_vec();
            damaged[at] ^= 1u8 << bit;
            prop_assert!(decode(kind, &damaged.into()).is_err(), "byte {} of {:?}", at, kind);
        }
    }

    #[test]
    fn garbage_in_a_valid_envelope(meta in bytes(0..120), payload in bytes(0..20)) {
        for kind in KINDS {
            let object = seal(kind, &meta, std::slice::from_ref(&payload)).unwrap();
            let _ = decode_and_encode(kind, &object);
        }
    }

    /// A record whose meta was changed under a right checksum: what a wrong writer would make.
    #[test]
    fn a_changed_meta_in_a_valid_envelope(
        (kind, object) in objects(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (meta, payload) = parts(&object);
        let mut meta = meta.to_vec();
        for (at, byte) in changes {
            let at = at.index(meta.len());
            meta[at] = byte;
        }
        if let Some(cut) = cut {
            meta.truncate(cut.index(meta.len()));
        }
        let _ = decode_and_encode(kind, &seal(kind, &meta, &[payload]).unwrap());
    }

    /// Every place of a meta taken for a length, and that length made huge.
    #[test]
    fn a_huge_length_anywhere((kind, object) in objects(), at in any::<prop::sample::Index>(), bits in 24u32..=64) {
        let (meta, payload) = parts(&object);
        let at = at.index(meta.len());
        let huge = varint(u64::MAX >> (64 - bits));
        let meta = [&meta[..at], &huge, &meta[at + 1..]].concat();
        let _ = decode_and_encode(kind, &seal(kind, &meta, &[payload]).unwrap());
    }
}

fn varint(value: u64) -> Vec<u8> {
    postcard::to_stdvec(&value).unwrap()
}

#[test]
fn huge_lengths_allocate_nothing() {
    // More than any machine has: had the decoder believed it, the process would be gone.
    for bits in 20..=64u32 {
        let huge = varint(u64::MAX >> (64 - bits));
        let id = [[7u8; 16].as_slice(), &[1]].concat();
        let record = [[7u8; 16].as_slice(), &[1]].concat();
        let none = [0u8, 0].as_slice();
        let decisions: [&[&[u8]]; 7] = [
            &[&id, &[0], &huge],                                              // records
            &[&id, &[0, 1], &record, &[1], &huge],                            // request key
            &[&id, &[0, 1], &record, &[0, 1], &huge],                         // result
            &[&id, &[0, 1], &record, none, &huge],                            // guards
            &[&id, &[0, 1], &record, none, &[0], &huge],                      // writes
            &[&id, &[0, 1], &record, none, &[0, 1], &huge],                   // key
            &[&id, &[0, 1], &record, none, &[0, 1, 1, b'k', 2, 9, 9], &huge], // parts
        ];
        for meta in decisions {
            let object = seal(Kind::Decision, &meta.concat(), &[]).unwrap();
            assert!(decode(Kind::Decision, &object).is_err(), "{meta:?}");
        }
        let ids = [7u8; 32];
        let feeds: [&[&[u8]]; 2] = [&[&[0], &huge], &[&[0, 1, 1], &ids, &huge]];
        for meta in feeds {
            let object = seal(Kind::Feed, &meta.concat(), &[]).unwrap();
            assert!(decode(Kind::Feed, &object).is_err(), "{meta:?}");
        }
        let lists =
            [(Kind::Recent, 4), (Kind::Garbage, 2)].map(|(kind, lists)| (0..lists).map(move |n| (kind, n)));
        for (kind, before) in lists.into_iter().flatten() {
            let object = seal(kind, &[&vec![0; before], &huge[..]].concat(), &[]).unwrap();
            assert!(decode(kind, &object).is_err(), "{before} of {kind:?}");
        }
        let claim = [&[7; 16], &huge[..]].concat();
        assert!(decode(Kind::Request, &seal(Kind::Request, &claim, &[]).unwrap()).is_err());
        // Each field of a token in turn, the others empty, and then each field of its entries.
        let fields = [0, 4, 5, 6, 7, 8, 9].map(|before| vec![0u8; before]);
        let entries = [(7, [1].as_slice()), (8, &[1]), (9, &[1]), (9, &[1, 0, 1])];
        let entries = entries.map(|(before, entry)| [&vec![0; before], entry].concat());
        let of_record = [&[1u8][..], &[0, 1], &[0, 0], &[0, 0, 0], &[0, 0, 0, 1]];
        let of_record = of_record.map(|field| [&[0; 10][..], &[7; 16], &[0], field].concat());
        for before in fields.iter().chain(&entries).chain(&of_record) {
            let object = seal(Kind::Token, &[before, &huge[..]].concat(), &[]).unwrap();
            assert!(decode(Kind::Token, &object).is_err(), "{before:?}");
        }
    }
}

#[test]
fn huge_inline_values_overflow_nothing() {
    // Two inline values of 2^64 - 1 bytes; one of them in each of two records.
    let inline = [[1u8].as_slice(), &varint(u64::MAX), &varint(5)].concat();
    let record = |writes: &[u8], count: u8| [&[7u8; 17], [0, 0, 0, count].as_slice(), writes].concat();
    let write = |key: u8| [[1, key].as_slice(), &inline].concat();
    let both = record(&[write(b'a'), write(b'b')].concat(), 2);
    let one = record(&write(b'a'), 1);
    for records in [[[1u8].as_slice(), &both].concat(), [[2u8].as_slice(), &one, &one].concat()] {
        let meta = [[7u8; 17].as_slice(), &[0], &records].concat();
        let object = seal(Kind::Decision, &meta, &[]).unwrap();
        assert!(matches!(Decision::decode(&object), Err(FormatError::Malformed(_))));
    }
    let token = [&[0; 4][..], &[1, 1, 2, 0, 0, 0, 0, 0, 0], &both].concat();
    let object = seal(Kind::Token, &token, &[]).unwrap();
    assert!(matches!(Suspended::decode(&object), Err(FormatError::Malformed(_))));
    let meta = [[0u8, 0, 0, 0, 0, 1, 0].as_slice(), &[7; 16], &[0, 0], &one].concat();
    let object = seal(Kind::Feed, &meta, &[]).unwrap();
    assert_eq!(Feed::decode(&object), Err(FormatError::Malformed("a payload that is not its values")));
}

#[test]
fn a_header_that_uses_what_is_reserved() {
    use xxhash_rust::xxh3::xxh3_64;
    let object =
        Decision { id: TxnId::from_bytes([7; 16]), attempt: 1, verdict: Verdict::Abort }.encode(&[]).unwrap();
    for reserved in [6, 7, 12, 15] {
        let mut bytes = object.to_vec();
        bytes[reserved] = 1;
        let sum = xxh3_64(&[&bytes[..24], &bytes[HEADER_LEN..]].concat());
        bytes[24..32].copy_from_slice(&sum.to_le_bytes());
        assert!(Decision::decode(&bytes.into()).is_err(), "byte {reserved} means nothing in this version");
    }
}

#[test]
fn what_breaks_a_rule_of_a_claim() {
    let claim =
        |key: &[u8]| Claim { txn: TxnId::from_bytes([7; 16]), key: Bytes::copy_from_slice(key), input: None };
    let good = claim(b"order").encode().unwrap();
    let (meta, _) = parts(&good);
    let bad = [
        ("empty key", claim(b"").encode().unwrap()),
        ("long key", claim(&[b'k'; crate::MAX_KEY_BYTES + 1]).encode().unwrap()),
        ("a byte more", seal(Kind::Request, &[&meta[..], b"x"].concat(), &[]).unwrap()),
        ("an input hash too long", seal(Kind::Request, &[&meta[..], &[0; 33]].concat(), &[]).unwrap()),
        ("a payload", seal(Kind::Request, &meta, &[Bytes::from_static(b"x")]).unwrap()),
        ("a longer id than the meta", seal(Kind::Request, &[7; 15], &[]).unwrap()),
    ];
    for (rule, object) in bad {
        assert!(matches!(Claim::decode(&object), Err(FormatError::Malformed(_))), "{rule}");
    }
    let longest = claim(&[b'k'; crate::MAX_KEY_BYTES]);
    assert_eq!(Claim::decode(&longest.encode().unwrap()), Ok(longest));
}

#[test]
fn what_breaks_a_rule_of_the_record() {
    let good = |writes| CommitRecord {
        txn: TxnId::from_bytes([7; 16]),
        clock: Timestamp::from_bits(1),
        request_key: None,
        result: None,
        guards: Vec::new(),
        writes,
    };
    let deletion = |key: &[u8]| Write { key: Bytes::copy_from_slice(key), value: Value::Tombstone };
    let stored = |len, parts| Write {
        key: Bytes::from_static(b"k"),
        value: Value::Stored(StoredValue { len, checksum: 0, parts }),
    };
    let part = |offset, len| Part { attempt: 1, n: 1, offset, len, checksum: 0 };
    let long = vec![b'k'; crate::MAX_KEY_BYTES + 1];
    let bad = [
        ("unsorted", vec![deletion(b"b"), deletion(b"a")]),
        ("twice", vec![deletion(b"a"), deletion(b"a")]),
        ("empty key", vec![deletion(b"")]),
        ("long key", vec![deletion(&long)]),
        ("no parts", vec![stored(0, vec![])]),
        ("parts too short", vec![stored(9, vec![part(0, 8)])]),
        ("parts overflow", vec![stored(1, vec![part(0, u64::MAX), part(0, 2)])]),
        ("a part past the end of all objects", vec![stored(2, vec![part(u64::MAX, 2)])]),
        (
            "a value that is not in the payload",
            vec![Write {
                key: Bytes::from_static(b"k"),
                value: Value::Inline { offset: 0, len: 1, checksum: 0 },
            }],
        ),
    ];
    let decision = |verdict| Decision { id: TxnId::from_bytes([7; 16]), attempt: 1, verdict };
    for (rule, writes) in bad {
        let object = decision(Verdict::Commit(vec![good(writes)])).encode(&[]).unwrap();
        assert!(matches!(Decision::decode(&object), Err(FormatError::Malformed(_))), "{rule}");
    }
    let object = decision(Verdict::Commit(vec![])).encode(&[]).unwrap();
    assert!(matches!(Decision::decode(&object), Err(FormatError::Malformed(_))), "a commit of nothing");
    let object = decision(Verdict::Abort).encode(&[Bytes::from_static(b"x")]).unwrap();
    assert!(matches!(Decision::decode(&object), Err(FormatError::Malformed(_))), "an abort with a payload");
}
