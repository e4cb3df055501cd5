//! The stored formats as a whole: round trips, damage of every kind, and the golden files of each version.

mod checkpoint;
mod damage;
mod golden;
mod round_trip;
mod suspended;

use bytes::Bytes;
use proptest::prelude::*;

use crate::format::bundle::Bundle;
use crate::format::decision::{Decision, Verdict};
use crate::format::envelope::checksum;
use crate::format::feed::{Entry, EntryHome, Feed};
use crate::format::guard::GuardClaim;
use crate::format::name::{FeedName, ValueName};
use crate::format::record::{CommitRecord, Guard, Part, StoredValue, Value, Write};
use crate::format::request::Claim;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// What was written to a key, with its bytes.
#[derive(Debug, Clone)]
enum Content {
    Tombstone,
    Inline(Bytes),
    Stored(Vec<Part>),
}

/// The value of a write, and `offset` moved past it.
fn value(content: &Content, offset: &mut u64) -> Value {
    match content {
        Content::Tombstone => Value::Tombstone,
        Content::Inline(bytes) => {
            let (at, len) = (*offset, bytes.len() as u64);
            *offset += len;
            Value::Inline { offset: at, len, checksum: checksum(bytes) }
        }
        Content::Stored(parts) => {
            let len = parts.iter().map(|part| part.len).sum();
            Value::Stored(StoredValue { len, checksum: 17, parts: parts.clone() })
        }
    }
}

fn writes(contents: impl IntoIterator<Item = (Bytes, Content)>) -> (Vec<Write>, Vec<Bytes>) {
    let (mut offset, mut payload, mut writes) = (0, Vec::new(), Vec::new());
    for (key, content) in contents {
        writes.push(Write { key, value: value(&content, &mut offset) });
        if let Content::Inline(bytes) = content {
            payload.push(bytes);
        }
    }
    (writes, payload)
}

// ---- any record ----------------------------------------------------------------------------------------------------

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), len).prop_map(Bytes::from)
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => bytes(1..6),
        1 => any::<u8>().prop_map(|byte| Bytes::from(vec![byte; crate::MAX_KEY_BYTES])),
    ]
}

fn txn() -> impl Strategy<Value = TxnId> {
    any::<[u8; 16]>().prop_map(TxnId::from_bytes)
}

fn part() -> impl Strategy<Value = Part> {
    (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>(), any::<u64>()).prop_map(
        |(attempt, n, offset, len, checksum)| Part {
            attempt,
            n,
            offset: offset.into(),
            len: len.into(),
            checksum,
        },
    )
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        2 => Just(Content::Tombstone),
        1 => Just(Content::Inline(Bytes::new())),
        4 => bytes(0..40).prop_map(Content::Inline),
        2 => prop::collection::vec(part(), 1..4).prop_map(Content::Stored),
    ]
}

fn guard() -> impl Strategy<Value = Guard> {
    (key(), any::<u64>(), txn(), any::<u32>()).prop_map(|(key, clock, txn, slot)| {
        let over = Version::new(Timestamp::from_bits(clock), txn);
        Guard { key, over, slot }
    })
}

/// A record and its inline values.
fn record() -> impl Strategy<Value = (CommitRecord, Vec<Bytes>)> {
    let optional = || prop::option::of(bytes(0..20));
    let contents = prop::collection::btree_map(key(), content(), 0..6);
    (txn(), any::<u64>(), optional(), optional(), prop::collection::vec(guard(), 0..3), contents).prop_map(
        |(txn, clock, request_key, result, guards, contents)| {
            let (writes, payload) = writes(contents);
            let clock = Timestamp::from_bits(clock);
            (CommitRecord { txn, clock, request_key, result, guards, writes }, payload)
        },
    )
}

/// A decision and its payload: an abort, one commit or a group.
fn decision() -> impl Strategy<Value = (Decision, Vec<Bytes>)> {
    (txn(), any::<u64>(), prop::collection::vec(record(), 0..4)).prop_map(|(id, attempt, records)| {
        let (records, payloads): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let verdict = if records.is_empty() { Verdict::Abort } else { Verdict::Commit(records) };
        (Decision { id, attempt, verdict }, payloads.concat())
    })
}

/// A feed object and its payload. The offsets of [`EntryHome::Feed`] are 0: they follow from the encoding.
fn feed() -> impl Strategy<Value = (Feed, Vec<Bytes>)> {
    let values = prop::collection::vec((any::<u64>(), any::<u32>()), 0..3);
    let entry = prop_oneof![
        4 => (txn(), prop::option::of(any::<u64>()), any::<bool>(), record()).prop_map(|(decided_by, base, restored, (record, payload))| {
            let home = base.map_or(EntryHome::Feed { inline_offset: 0 }, |inline_offset| EntryHome::Decision { inline_offset });
            let payload = if base.is_none() { payload } else { Vec::new() };
            (Entry::Commit { decided_by, home, restored, record }, payload)
        }),
        1 => (txn(), txn(), values).prop_map(|(decided_by, txn, values)| {
            let values = values.into_iter().map(|(attempt, n)| ValueName { attempt, n }).collect();
            (Entry::Pruned { decided_by, txn, values }, Vec::new())
        }),
    ];
    let name = (0u64..1 << 48, any::<u64>(), any::<u32>());
    let name = name.prop_map(|(time_ms, node, seq)| FeedName { time_ms, node, seq });
    let names = prop::collection::vec(name.clone(), 0..3);
    (name, prop::option::of(any::<u64>()), names, prop::collection::vec(entry, 0..5)).prop_map(
        |(name, swept_through, instead_of, entries)| {
            let (entries, payloads): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
            (Feed { name, swept_through, instead_of, entries }, payloads.concat())
        },
    )
}

fn claim() -> impl Strategy<Value = Claim> {
    (txn(), key(), any::<Option<[u8; 32]>>()).prop_map(|(txn, key, input)| Claim { txn, key, input })
}

fn guard_claim() -> impl Strategy<Value = GuardClaim> {
    (guard(), txn(), any::<u64>(), any::<bool>()).prop_map(
        |(Guard { key, over, slot }, txn, since_ms, writes)| GuardClaim {
            txn,
            since_ms,
            writes,
            over,
            slot,
            key,
        },
    )
}

/// Copies under names in order, whatever they are copies of.
fn bundle() -> impl Strategy<Value = Bundle> {
    let name = (0u64..1 << 48, any::<u64>(), any::<u32>());
    prop::collection::btree_map(name, bytes(0..50), 0..4).prop_map(|copies| {
        let copy = |((time_ms, node, seq), copy)| (FeedName { time_ms, node, seq }, copy);
        Bundle { copies: copies.into_iter().map(copy).collect() }
    })
}

/// The feed without the inline_offsets that decoding filled in.
fn without_offsets(mut feed: Feed) -> Feed {
    for entry in &mut feed.entries {
        if let Entry::Commit { home: EntryHome::Feed { inline_offset }, .. } = entry {
            *inline_offset = 0;
        }
    }
    feed
}
