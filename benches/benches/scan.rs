//! Scans of everything under a prefix.

use std::cell::LazyCell;

use aft_benches::data::{self, Keys, PREFIX, Shape};
use aft_core::{Aft, Config};
use criterion::BenchmarkId;

use crate::bench::Bench;

async fn scan(node: &Aft) -> usize {
    let mut tx = node.begin().await.expect("begin");
    tx.scan_prefix(PREFIX).await.expect("scan").len()
}

pub fn run(bench: &mut Bench<'_>) {
    let (mut group, runtime, backend) = bench.slow_group("scan");
    for count in [100, 1_000] {
        let shape = Shape { keys: count, bytes: 1 << 10 };
        let (keys, value) = (Keys::new(count), data::value(shape.bytes));
        let filled = LazyCell::new(|| {
            runtime.block_on(async {
                let place = backend.place();
                let cached = data::open(place.storage.clone()).await;
                data::fill(&cached, &keys, &value, 10).await;
                place.plain.put(keys.all_paths(), &value).await;
                let config = Config { cache_bytes: 0, ..Config::default() };
                let uncached = data::open_with(place.storage.clone(), config).await;
                assert_eq!(scan(&uncached).await, place.plain.scan(PREFIX).await.len());
                (place, cached, uncached)
            })
        });
        group.bench_function(BenchmarkId::new("aft cached", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| scan(&filled.1));
        });
        group.bench_function(BenchmarkId::new("aft uncached", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| scan(&filled.2));
        });
        group.bench_function(BenchmarkId::new("plain", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| filled.0.plain.scan(PREFIX));
        });
    }
    group.finish();
}
