//! Gets, cached and uncached, and of many keys at once.

use std::cell::LazyCell;

use aft_benches::data::{self, Keys, Shape};
use aft_benches::place::{Backend, Place};
use aft_core::{Aft, Config};
use bytes::Bytes;
use criterion::BenchmarkId;
use criterion::measurement::WallTime;

use crate::bench::Bench;

/// A place where both sides hold every key.
struct Filled {
    place: Place,
    /// A node that has every value in its cache.
    cached: Aft,
    /// A node without a cache.
    uncached: Aft,
}

async fn filled(backend: &Backend, keys: &Keys, value: &Bytes, per_commit: usize) -> Filled {
    let place = backend.place();
    let cached = data::open(place.storage.clone()).await;
    data::fill(&cached, keys, value, per_commit).await;
    place.plain.put(keys.all_paths(), value).await;
    let config = Config { cache_bytes: 0, ..Config::default() };
    let uncached = data::open_with(place.storage.clone(), config).await;
    Filled { place, cached, uncached }
}

async fn get(node: &Aft, key: &str) -> Bytes {
    let mut tx = node.begin().await.expect("begin");
    tx.get(key).await.expect("get").expect("the key is there")
}

async fn get_many(node: &Aft, keys: &[String]) -> Vec<Option<Bytes>> {
    let mut tx = node.begin().await.expect("begin");
    tx.get_many(keys).await.expect("get_many")
}

pub fn run(bench: &mut Bench<'_>) {
    let (mut group, runtime, backend) = bench.group("get");
    let keys = Keys::new(if backend.waits() { 200 } else { 1_000 });
    for bytes in [100, 1 << 10, 8 << 10] {
        let value = data::value(bytes);
        let fill = || runtime.block_on(filled(backend, &keys, &value, 1));
        let filled = LazyCell::new(fill);
        one(&mut group, runtime, (bytes, &keys), &filled);
        if bytes == 1 << 10 {
            many(&mut group, runtime, (Shape { keys: 100, bytes }, &keys), &filled);
        }
    }
    if !backend.waits() {
        // Reading one key of a commit makes the transaction note what the commit demands of its other keys.
        let shape = Shape { keys: 1, bytes: 1 << 10 };
        let value = data::value(shape.bytes);
        let filled = LazyCell::new(|| runtime.block_on(filled(backend, &keys, &value, 100)));
        group.bench_function(BenchmarkId::new("aft cached, written with 99 others", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| get(&filled.cached, keys.name(keys.far())));
        });
        group.bench_function(BenchmarkId::new("aft begin alone", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| async { drop(filled.cached.begin().await.expect("begin")) });
        });
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, WallTime>;

fn one<F: FnOnce() -> Filled>(
    group: &mut Group<'_>,
    runtime: &tokio::runtime::Runtime,
    (bytes, keys): (usize, &Keys),
    filled: &LazyCell<Filled, F>,
) {
    let shape = Shape { keys: 1, bytes };
    group.bench_function(BenchmarkId::new("aft cached", shape), |b| {
        LazyCell::force(filled);
        b.to_async(runtime).iter(|| get(&filled.cached, keys.name(keys.far())));
    });
    group.bench_function(BenchmarkId::new("aft uncached", shape), |b| {
        LazyCell::force(filled);
        b.to_async(runtime).iter(|| get(&filled.uncached, keys.name(keys.far())));
    });
    group.bench_function(BenchmarkId::new("plain", shape), |b| {
        LazyCell::force(filled);
        b.to_async(runtime).iter(|| filled.place.plain.get(keys.path(keys.far())));
    });
}

fn many<F: FnOnce() -> Filled>(
    group: &mut Group<'_>,
    runtime: &tokio::runtime::Runtime,
    (shape, keys): (Shape, &Keys),
    filled: &LazyCell<Filled, F>,
) {
    group.bench_function(BenchmarkId::new("aft cached", shape), |b| {
        LazyCell::force(filled);
        b.to_async(runtime).iter(|| get_many(&filled.cached, keys.names(shape.keys)));
    });
    group.bench_function(BenchmarkId::new("aft uncached", shape), |b| {
        LazyCell::force(filled);
        b.to_async(runtime).iter(|| get_many(&filled.uncached, keys.names(shape.keys)));
    });
    group.bench_function(BenchmarkId::new("plain", shape), |b| {
        LazyCell::force(filled);
        b.to_async(runtime).iter(|| filled.place.plain.get_many(keys.paths(shape.keys)));
    });
}
