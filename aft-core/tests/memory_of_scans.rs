//! What a scan and a read of many keys hold beside their answer does not grow with the number of keys. A program of its own: it counts what the
//! whole process allocates.

use std::sync::Arc;

use aft_core::{Aft, Config};
use aft_memory::MemoryStorage;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const KEYS: usize = 20_000;
/// A key of 20 bytes, an empty value and what stands for both, a few times over: in the chosen rows, in the answers, in what was read.
const MOST_PER_KEY: usize = 1_500;

/// The most that is allocated at once during `work`, beyond what was before, by key.
async fn per_key<T>(work: impl Future<Output = T>) -> (T, usize) {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    let done = work.await;
    (done, ALLOCATED.peak_usage().saturating_sub(before) / KEYS)
}

#[tokio::test]
async fn many_keys_are_fetched_with_bounded_memory() {
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await.unwrap();
    let keys: Vec<_> = (0..KEYS).map(|n| format!("customers/{n:010}")).collect();
    let mut tx = aft.begin().await.unwrap();
    for key in &keys {
        tx.put(key, key).unwrap();
    }
    tx.commit().await.unwrap();
    let tx = aft.begin().await.unwrap();
    let (rows, scan) = per_key(tx.scan(..)).await;
    assert_eq!(rows.unwrap().len(), KEYS);
    let tx = aft.begin().await.unwrap();
    let (values, many) = per_key(tx.get_many(&keys)).await;
    assert_eq!(values.unwrap().len(), KEYS);
    let tx = aft.begin().await.unwrap();
    let (streams, streams_many) = per_key(tx.get_streams(&keys)).await;
    assert_eq!(streams.unwrap().len(), KEYS);
    let found = [scan, many, streams_many];
    assert!(
        found.iter().all(|&bytes| bytes < MOST_PER_KEY),
        "bytes per key: scan, get_many, get_streams: {found:?}"
    );
}
