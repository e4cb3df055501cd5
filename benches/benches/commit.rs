//! Commits of 1, 10 and 100 keys.

use std::cell::LazyCell;
use std::time::Duration;

use aft_benches::data::{self, Keys, Shape};
use aft_benches::place::Backend;
use aft_benches::stopwatch::Stopwatch;
use bytes::Bytes;
use criterion::BenchmarkId;
use criterion::measurement::WallTime;

use crate::bench::Bench;

/// How much goes into one store in memory before the next one: nothing is collected, and memory is finite.
const BYTES_PER_STORE: usize = 64 << 20;
const COMMITS_PER_STORE: usize = 2_000;

pub fn run(bench: &mut Bench<'_>) {
    let (mut group, runtime, backend) = bench.slow_group("commit");
    let keys = Keys::new(10_000);
    for keys_per_commit in [1, 10, 100] {
        for bytes in [100, 1 << 10, 8 << 10] {
            let shape = Shape { keys: keys_per_commit, bytes };
            let value = data::value(bytes);
            aft(&mut group, runtime, backend, (shape, &keys, &value));
            let place = LazyCell::new(|| backend.place());
            group.bench_function(BenchmarkId::new("plain", shape), |b| {
                b.to_async(runtime).iter(|| place.plain.put(keys.paths(shape.keys), &value));
            });
        }
    }
    group.finish();
}

fn aft(
    group: &mut criterion::BenchmarkGroup<'_, WallTime>,
    runtime: &tokio::runtime::Runtime,
    backend: &Backend,
    (shape, keys, value): (Shape, &Keys, &Bytes),
) {
    let id = BenchmarkId::new("aft", shape);
    if backend.waits() {
        // One node all along; its background task publishes once a second, as it does in a program.
        let place = LazyCell::new(|| backend.place());
        let node = LazyCell::new(|| runtime.block_on(first_commit(data::open(place.storage.clone()))));
        group.bench_function(id, |b| {
            LazyCell::force(&node);
            b.to_async(runtime).iter(|| data::commit(&node, keys.names(shape.keys), value));
        });
        return;
    }
    group.bench_function(id, |b| {
        b.to_async(runtime)
            .iter_custom(|iterations| in_new_stores(iterations, backend, (shape, keys, value)));
    });
}

/// Commits to stores in memory, a new one now and then. Its share of publishing is in the time.
async fn in_new_stores(
    iterations: u64,
    backend: &Backend,
    (shape, keys, value): (Shape, &Keys, &Bytes),
) -> Duration {
    let per_store = (BYTES_PER_STORE / (shape.keys * shape.bytes)).min(COMMITS_PER_STORE) as u64;
    let mut elapsed = Duration::ZERO;
    let mut left = iterations;
    while left > 0 {
        let now = left.min(per_store);
        let node = first_commit(data::open(backend.place().storage)).await;
        let watch = Stopwatch::start();
        for _ in 0..now {
            data::commit(&node, keys.names(shape.keys), value).await;
        }
        node.publish().await.expect("publish");
        elapsed += watch.elapsed();
        left -= now;
    }
    elapsed
}

/// A node whose clock is verified: the first commit may be read back.
pub async fn first_commit(opening: impl Future<Output = aft_core::Aft>) -> aft_core::Aft {
    let node = opening.await;
    data::commit(&node, &["first".to_owned()], &Bytes::new()).await;
    node.publish().await.expect("publish");
    node
}
