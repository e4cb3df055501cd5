//! Files of a run as a whole: round trips, what the tail says, and damage.

mod damage;
mod layout;
mod round_trip;
mod sizes;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::record::{Part, StoredValue};
use crate::format::row::{Row, RowValue};
use crate::key_range::KeyRange;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};
use bytes::Bytes;

/// Rows by their keys.
type Rows = BTreeMap<Bytes, Row>;

fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff)], len).prop_map(Bytes::from)
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        16 => bytes(1..6),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(byte, last)| {
            let mut key = vec![byte; crate::MAX_KEY_BYTES];
            key[crate::MAX_KEY_BYTES - 1] = last;
            key.into()
        }),
    ]
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

fn value() -> impl Strategy<Value = RowValue> {
    prop_oneof![
        2 => Just(RowValue::Tombstone),
        1 => Just(RowValue::Inline(Bytes::new())),
        4 => bytes(0..40).prop_map(RowValue::Inline),
        1 => (any::<u8>(), 0usize..100_000).prop_map(|(byte, len)| RowValue::Inline(vec![byte; len].into())),
        2 => (any::<u64>(), prop::collection::vec(part(), 1..4)).prop_map(|(checksum, parts)| {
            RowValue::Stored(StoredValue { len: parts.iter().map(|part| part.len).sum(), checksum, parts })
        }),
    ]
}

fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Rows> {
    let row = (any::<u64>(), any::<[u8; 16]>(), any::<u32>(), value());
    prop::collection::btree_map(key(), row, count).prop_map(|rows| {
        let row = |(key, (clock, txn, ordinal, value)): (Bytes, _)| {
            let version = Version::new(Timestamp::from_bits(clock), TxnId::from_bytes(txn));
            (key.clone(), Row { key, version, ordinal, value })
        };
        rows.into_iter().map(row).collect()
    })
}

fn write<'a>(rows: impl IntoIterator<Item = &'a Row>) -> RunFileContent {
    let mut writer = RunWriter::new().unwrap();
    for row in rows {
        writer.push(row).unwrap();
    }
    writer.finish().unwrap()
}

/// The piece of the file that its tail is.
fn tail_of(file: &RunFileContent) -> Bytes {
    file.bytes.slice(file.bytes.len() - file.tail_len as usize..)
}

fn open(file: &RunFileContent) -> Tail {
    Tail::decode(file.bytes.len() as u64, &tail_of(file)).unwrap()
}

fn piece(file: &RunFileContent, range: std::ops::Range<u64>) -> Bytes {
    file.bytes.slice(range.start as usize..range.end as usize)
}

fn block(file: &RunFileContent, tail: &Tail, n: usize) -> Block {
    Block::decode(tail, n, &piece(file, tail.block_range(n))).unwrap()
}

/// Every row of a file, in order.
fn all_rows(file: &RunFileContent) -> Vec<Row> {
    let tail = open(file);
    let blocks = (0..tail.blocks()).map(|n| block(file, &tail, n));
    blocks.flat_map(|block| (0..block.rows()).map(|n| block.row(n)).collect::<Vec<_>>()).collect()
}

/// The row that says what it is for: `n` in its key, its version and its value.
fn plain(n: u64) -> Row {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Row {
        key: Bytes::from(format!("user/{n:015}")),
        version: Version::new(
            Timestamp::from_ms(1_756_000_000_000 + n * 7919 % 1_000_003),
            TxnId::from_bytes(id),
        ),
        ordinal: (n % 5) as u32,
        value: RowValue::Inline(Bytes::from(format!("{n:0100}"))),
    }
}
