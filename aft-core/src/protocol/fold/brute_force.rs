//! A merge against its definition: of each key the greatest version, and everything else once as lost.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::format::record::{Part, StoredValue};

/// A version that a small number stands for; 0 is absent.
pub(super) fn version(number: u64) -> Version {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Version::new(Timestamp::from_bits(number), TxnId::from_bytes(id))
}

/// The row that a commit wrote: every third a tombstone, every third in a value object of two parts.
pub(super) fn row(key: u8, number: u64) -> Row {
    let part = |offset| Part { attempt: number, n: u32::from(key), offset, len: 4, checksum: 0 };
    let value = match number % 3 {
        0 => RowValue::Tombstone,
        1 => RowValue::Inline(Bytes::from(vec![key; 3])),
        _ => RowValue::Stored(StoredValue { len: 8, checksum: 0, parts: vec![part(0), part(4)] }),
    };
    Row { key: Bytes::from(vec![key]), version: version(number), ordinal: 0, value }
}

/// Everything that a merge did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Merged {
    pub(super) kept: Vec<Row>,
    pub(super) lost: Vec<Row>,
    pub(super) purged: Vec<Row>,
}

/// Merges inputs, each fed in chunks of these many rows in turn, and checks that it asks for no more than it needs.
pub(super) fn merged(inputs: Vec<Vec<Row>>, purge_bound: Option<Version>, chunks: &[usize]) -> Merged {
    let mut merge = Merge::new(inputs.len(), purge_bound);
    let mut inputs: Vec<_> = inputs.into_iter().map(VecDeque::from).collect();
    let mut closed = vec![false; inputs.len()];
    let mut chunks = chunks.iter().cycle();
    let mut merged = Merged::default();
    loop {
        match merge.next() {
            Step::Need(input) => {
                assert!(!closed[input], "a closed input is not asked for");
                let chunk = (*chunks.next().unwrap()).min(inputs[input].len());
                merge.feed(input, inputs[input].drain(..chunk).collect()).unwrap();
                if inputs[input].is_empty() {
                    merge.close(input);
                    closed[input] = true;
                }
            }
            Step::Keep(row) => merged.kept.push(row),
            Step::Superseded(row) => {
                let newest = merged
                    .kept
                    .last()
                    .into_iter()
                    .chain(merged.purged.last())
                    .max_by_key(|row| row.key.clone());
                assert_eq!(newest.map(|newest| &newest.key), Some(&row.key), "lost to nothing");
                merged.lost.push(row);
            }
            Step::Purged(row) => merged.purged.push(row),
            Step::Done => break,
        }
    }
    assert_eq!(merge.next(), Step::Done, "it stays done");
    assert!(closed.iter().all(|closed| *closed) && inputs.iter().all(VecDeque::is_empty));
    merged
}

/// Inputs of few keys and few versions, so that they meet; some rows come in several inputs, and some twice in one.
fn inputs() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let rows = prop::collection::vec((0u8..6, 1u64..12), 0..12);
    prop::collection::vec(rows, 0..5).prop_map(|inputs| {
        let sorted = |rows: Vec<(u8, u64)>| {
            let mut rows: Vec<_> = rows.into_iter().map(|(key, number)| row(key, number)).collect();
            rows.sort_by(order);
            rows
        };
        inputs.into_iter().map(sorted).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_greatest_version_stays_and_each_other_is_lost_once(
        inputs in inputs(), bound in prop::option::of(0u64..14), chunks in prop::collection::vec(0usize..5, 1..5),
    ) {
        prop_assume!(chunks.iter().any(|chunk| *chunk > 0));
        let mut versions = BTreeMap::<u8, BTreeSet<u64>>::new();
        for row in inputs.iter().flatten() {
            versions.entry(row.key[0]).or_default().insert(row.version.clock.bits());
        }
        let mut expected = Merged::default();
        for (key, numbers) in versions {
            let mut newest_first = numbers.into_iter().rev();
            let newest = newest_first.next().unwrap();
            let purged = newest % 3 == 0 && bound.is_some_and(|bound| newest < bound);
            let into = if purged { &mut expected.purged } else { &mut expected.kept };
            into.push(row(key, newest));
            expected.lost.extend(newest_first.map(|number| row(key, number)));
        }
        prop_assert_eq!(merged(inputs, bound.map(version), &chunks), expected);
    }

    #[test]
    fn rows_out_of_order_are_refused(inputs in inputs(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let mut rows = inputs.concat();
        rows.sort_by(order);
        rows.dedup();
        prop_assume!(rows.len() > 1);
        let at = at.index(rows.len() - 1);
        rows.swap(at, at + 1);
        let later = rows.split_off(cut.index(rows.len()));
        let mut merge = Merge::new(2, None);
        let refused = Err(OutOfOrder { input: 1 });
        prop_assert!(merge.feed(1, rows) == refused || merge.feed(1, later) == refused);
    }

    /// Versions of one key belong to different transactions, so nothing that a lost row names is alive; two rows of one
    /// version name the same.
    #[test]
    fn the_garbage_of_a_row_is_each_of_its_objects_once(key in 0u8..3, a in 1u64..30, b in 1u64..30) {
        let (lost, kept) = (row(key, a), row(key, b));
        let object = (lost.version.txn, ValueName { attempt: a, n: u32::from(key) });
        let all = if a % 3 == 2 { vec![object] } else { vec![] };
        prop_assert_eq!(garbage_of(&lost, None), all.clone());
        prop_assert_eq!(garbage_of(&lost, Some(&kept)), if a == b { vec![] } else { all });
    }

    #[test]
    fn what_is_settled_is_the_least_of_both_and_never_goes_back(
        before in 0u64..1 << 48, from in 0u64..1 << 48, starts in prop::collection::vec(0u64..1 << 48, 0..4),
        start in 0u64..1 << 48, late in 0u64..10,
    ) {
        let settled = settled_ms(0, from, starts.iter().copied());
        prop_assert!(starts.iter().all(|start| settled <= *start) && settled <= from);
        prop_assert!(settled == from || starts.contains(&settled));
        prop_assert_eq!(settled_ms(before, from, starts), before.max(settled));
        // Whatever starts in the window has a version that is not below the bound.
        let start = from.max(start);
        let version = Version::new(Timestamp::from_ms(start.saturating_add(late)), TxnId::window_start(start));
        prop_assert!(purge_bound(settled) <= version);
    }
}

#[test]
fn a_merge_of_nothing_is_done() {
    assert_eq!(Merge::new(0, None).next(), Step::Done);
    assert_eq!(merged(vec![vec![], vec![]], None, &[1]), Merged::default());
}

#[test]
fn an_input_may_be_fed_ahead_and_is_asked_for_only_when_empty() {
    let mut merge = Merge::new(2, None);
    merge.feed(0, vec![row(1, 1)]).unwrap();
    merge.feed(0, vec![row(2, 1), row(2, 1)]).unwrap();
    assert_eq!(merge.next(), Step::Need(1));
    merge.close(1);
    assert_eq!(merge.next(), Step::Keep(row(1, 1)));
    assert_eq!(merge.next(), Step::Keep(row(2, 1)));
    assert_eq!(merge.next(), Step::Need(0), "the second of two equal rows is dropped");
    merge.feed(0, vec![row(2, 1)]).unwrap();
    merge.close(0);
    assert_eq!(merge.next(), Step::Done);
}
