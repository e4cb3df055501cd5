//! Sixteen transactions at once, of one key each.

use std::cell::LazyCell;
use std::sync::Arc;
use std::time::Duration;

use aft_benches::data::{self, Keys, Shape};
use aft_benches::stopwatch::Stopwatch;
use criterion::BenchmarkId;
use futures::future::join_all;

use crate::bench::Bench;
use crate::commit::first_commit;

const TASKS: usize = 16;
/// Rounds on one store in memory.
const ROUNDS_PER_STORE: u64 = 100;

pub fn run(bench: &mut Bench<'_>) {
    let (mut group, runtime, backend) = bench.slow_group("16 commits at once");
    let keys = Arc::new(Keys::new(10_000));
    let shape = Shape { keys: 1, bytes: 1 << 10 };
    let value = data::value(shape.bytes);
    let place = LazyCell::new(|| backend.place());
    let node = LazyCell::new(|| runtime.block_on(first_commit(data::open(place.storage.clone()))));

    let round = |node: &aft_core::Aft| {
        let task = || {
            let (node, keys, value) = (node.clone(), Arc::clone(&keys), value.clone());
            runtime.spawn(async move { data::commit(&node, keys.names(1), &value).await })
        };
        join_all((0..TASKS).map(|_| task()).collect::<Vec<_>>())
    };
    group.bench_function(BenchmarkId::new("aft", shape), |b| {
        if backend.waits() {
            LazyCell::force(&node);
            b.to_async(runtime).iter(|| round(&node));
            return;
        }
        b.to_async(runtime).iter_custom(async |rounds| {
            let (mut left, mut elapsed) = (rounds, Duration::ZERO);
            while left > 0 {
                let now = left.min(ROUNDS_PER_STORE);
                let node = first_commit(data::open(backend.place().storage)).await;
                let watch = Stopwatch::start();
                for _ in 0..now {
                    round(&node).await;
                }
                node.publish().await.expect("publish");
                elapsed += watch.elapsed();
                left -= now;
            }
            elapsed
        });
    });
    group.bench_function(BenchmarkId::new("plain", shape), |b| {
        b.to_async(runtime).iter(|| {
            let task = || {
                let (plain, keys, value) = (place.plain.clone(), Arc::clone(&keys), value.clone());
                runtime.spawn(async move { plain.put(keys.paths(1), &value).await })
            };
            join_all((0..TASKS).map(|_| task()).collect::<Vec<_>>())
        });
    });
    group.finish();
}
