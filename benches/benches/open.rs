//! Opening a store, and learning which keys it has: to the plain side that is a list.

use std::cell::LazyCell;

use aft_benches::data::{self, Keys, PREFIX, Shape};
use criterion::BenchmarkId;

use crate::bench::Bench;

/// Commits of ten keys each that one feed object carries.
const COMMITS_PER_FEED_OBJECT: usize = 10;

pub fn run(bench: &mut Bench<'_>) {
    let (mut group, runtime, backend) = bench.slow_group("open");
    for count in [0, 1_000] {
        let shape = Shape { keys: count, bytes: 100 };
        let (keys, value) = (Keys::new(count), data::value(shape.bytes));
        let filled = LazyCell::new(|| {
            runtime.block_on(async {
                let place = backend.place();
                let node = data::open(place.storage.clone()).await;
                let mut commits = keys.all_names().chunks(10);
                while commits.len() > 0 {
                    for names in commits.by_ref().take(COMMITS_PER_FEED_OBJECT) {
                        data::commit(&node, names, &value).await;
                    }
                    node.publish().await.expect("publish");
                }
                place.plain.put(keys.all_paths(), &value).await;
                place
            })
        });
        group.bench_function(BenchmarkId::new("aft", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| data::open(filled.storage.clone()));
        });
        group.bench_function(BenchmarkId::new("plain", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| filled.plain.list(PREFIX));
        });
    }
    group.finish();
}
