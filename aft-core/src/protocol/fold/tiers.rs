//! Which runs are merged: few runs, each row written few times, whatever the sizes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::RngExt;

use super::*;

/// Runs of rows, newest first, and how often each row that is there was written. A row weighs one.
#[derive(Debug, Default)]
struct Store {
    runs: Vec<BTreeMap<u64, u32>>,
    written: u64,
    folded: u64,
}

impl Store {
    fn fold(&mut self, rows: impl IntoIterator<Item = u64>) {
        let new: BTreeMap<_, _> = rows.into_iter().map(|key| (key, 0)).collect();
        self.folded += new.len() as u64;
        self.runs.insert(0, new);
        let weights: Vec<_> = self.runs.iter().map(|run| run.len() as u64).collect();
        let count = merge_plan(&weights);
        let mut merged = BTreeMap::new();
        for run in self.runs.drain(..count).rev() {
            merged.extend(run);
        }
        merged.values_mut().for_each(|times| *times += 1);
        self.written += merged.len() as u64;
        self.runs.insert(0, merged);
        assert_shape(&self.runs.iter().map(|run| run.len() as u64).collect::<Vec<_>>());
    }

    fn rows(&self) -> u64 {
        self.runs.iter().map(|run| run.len() as u64).sum()
    }

    /// Rows written for each row that was folded.
    fn amplification(&self) -> f64 {
        self.written as f64 / self.folded as f64
    }
}

/// Every run weighs at least twice as much as all newer ones, so there are few of them.
fn assert_shape(weights: &[u64]) {
    let mut newer = 0;
    for weight in weights {
        assert!(*weight >= 2 * newer, "{weights:?}");
        newer += weight;
    }
    let (total, smallest) = (newer as f64, *weights.iter().min().unwrap() as f64);
    assert!(weights.len() as f64 <= (total / smallest).log(3.0) + 2.0, "{weights:?}");
    let oldest = weights.last().unwrap();
    assert!(2 * (newer - oldest) <= *oldest, "{weights:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The plan is the least that gives the shape: no fewer runs would do.
    #[test]
    fn the_plan_merges_as_many_as_it_must(weights in prop::collection::vec(1u64..1 << 40, 1..12)) {
        let count = merge_plan(&weights);
        let with = |count: usize| {
            let mut merged = vec![weights[..count].iter().sum::<u64>()];
            merged.extend(&weights[count..]);
            merged
        };
        let has_shape = |weights: &[u64]| (0..weights.len()).all(|n| weights[n] >= 2 * weights[..n].iter().sum::<u64>());
        assert_shape(&with(count));
        for fewer in 1..count {
            prop_assert!(!has_shape(&with(fewer)), "{} would do", fewer);
        }
    }

    /// Folds of any sizes, also of runs that shrink when they are merged, keep the shape.
    #[test]
    fn any_folds_keep_the_shape(folds in prop::collection::vec((1u64..2_000, 1u32..100), 1..200)) {
        let mut runs: Vec<u64> = Vec::new();
        for (weight, percent) in folds {
            runs.insert(0, weight);
            let count = merge_plan(&runs);
            let sum = runs.drain(..count).sum::<u64>();
            let merged = if count == 1 { sum } else { (sum * u64::from(percent) / 100).max(1) };
            runs.insert(0, merged);
            assert_shape(&runs);
        }
    }
}

#[test]
fn nothing_overflows_and_nothing_is_no_run() {
    assert_eq!(merge_plan(&[]), 0);
    assert_eq!(merge_plan(&[7]), 1);
    assert_eq!(merge_plan(&[7, 14]), 1);
    assert_eq!(merge_plan(&[7, 13]), 2);
    assert_eq!(merge_plan(&[u64::MAX, u64::MAX, u64::MAX]), 3);
    assert_eq!(merge_plan(&[1, 1, 100, 150]), 4, "the oldest that is too light takes all newer ones along");
}

/// New keys only, in folds of equal size: a row is written anew as the store grows by half, so log times.
#[test]
fn a_row_is_written_log_times() {
    let mut store = Store::default();
    let mut key = 0..;
    for _ in 0..10_000u64 {
        store.fold(key.by_ref().take(4));
    }
    let growth = (store.rows() / 4) as f64;
    let most = store.runs.iter().flat_map(BTreeMap::values).max().copied().unwrap();
    assert!(f64::from(most) <= growth.log(1.5) + 1.0, "a row was written {most} times");
    assert!(store.amplification() <= 1.5 * growth.log(3.0) + 1.0, "{} on average", store.amplification());
    assert!(store.runs.len() <= 10, "{} runs", store.runs.len());
}

/// Folds of random sizes over four orders of magnitude.
#[test]
fn a_row_is_written_log_times_whatever_the_sizes() {
    let mut store = Store::default();
    let mut rng = crate::rng::seeded(5);
    let mut key = 0..;
    for _ in 0..1_000 {
        let rows = 1 << rng.random_range(0..10);
        store.fold(key.by_ref().take(rows));
    }
    let most = store.runs.iter().flat_map(BTreeMap::values).max().copied().unwrap();
    let growth = store.rows() as f64;
    assert!(f64::from(most) <= growth.log(1.5) + 1.0, "a row was written {most} times");
    assert!(store.amplification() <= 1.5 * growth.log(3.0) + 1.0, "{} on average", store.amplification());
}

/// Overwrites of a fixed set of keys: what a folded row costs does not grow with the number of folds.
#[test]
fn uniform_overwrites_cost_the_same_for_ever() {
    let mut store = Store::default();
    let mut rng = crate::rng::seeded(6);
    let keys = 2_000;
    let mut costs = Vec::new();
    for _ in 0..4 {
        (store.written, store.folded) = (0, 0);
        for _ in 0..1_000 {
            store.fold((0..50).map(|_| rng.random_range(0..keys)));
        }
        costs.push(store.amplification());
        assert!(store.rows() <= keys * 3 / 2, "space is not wasted: {} rows", store.rows());
    }
    let bound = (keys as f64 / 50.0).log(1.5) + 1.0;
    assert!(costs.iter().all(|cost| *cost <= bound), "{costs:?} against {bound}");
    assert!(costs[3] <= costs[0] * 1.2, "{costs:?}");
}

/// Folds that overwrite everything cost one copy each, and leave one run.
#[test]
fn overwriting_everything_costs_a_constant() {
    let mut store = Store::default();
    for _ in 0..1_000 {
        store.fold(0..100);
        assert_eq!(store.runs.len(), 1);
    }
    assert!(store.amplification() <= 1.0, "{}", store.amplification());
}
