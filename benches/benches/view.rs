//! What a large view costs a get.

use std::cell::LazyCell;

use aft_benches::data::{self, Keys, Shape};
use aft_core::Aft;
use bytes::Bytes;
use criterion::BenchmarkId;

use crate::bench::Bench;

async fn get(node: &Aft, key: &str) -> Bytes {
    let mut tx = node.begin().await.expect("begin");
    tx.get(key).await.expect("get").expect("the key is there")
}

pub fn run(bench: &mut Bench<'_>) {
    if bench.backend.waits() {
        return;
    }
    let (mut group, runtime, backend) = bench.group("get with so many keys in the view");
    for count in [1, 100_000] {
        let shape = Shape { keys: count, bytes: 100 };
        let (keys, value) = (Keys::new(count), data::value(shape.bytes));
        let filled = LazyCell::new(|| {
            runtime.block_on(async {
                let place = backend.place();
                let node = data::open(place.storage.clone()).await;
                data::fill(&node, &keys, &value, 1).await;
                place.plain.put(keys.all_paths(), &value).await;
                (place, node)
            })
        });
        group.bench_function(BenchmarkId::new("aft cached", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| get(&filled.1, keys.name(keys.far())));
        });
        group.bench_function(BenchmarkId::new("plain", shape), |b| {
            LazyCell::force(&filled);
            b.to_async(runtime).iter(|| filled.0.plain.get(keys.path(keys.far())));
        });
    }
    group.finish();
}
