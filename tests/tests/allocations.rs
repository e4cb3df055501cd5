//! What reads of what is in memory allocate. A program of its own: it counts what the whole process allocates.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use aft_core::{Aft, Config, Transaction};
use aft_memory::MemoryStorage;
use allocation_counter::{AllocationInfo, measure};
use futures::FutureExt;
use tokio::runtime::Runtime;

const KEYS: u64 = 10_000;

fn key(n: u64) -> String {
    format!("customers/{n:08}")
}

/// A node that wrote so many keys at once, and has them in its cache.
async fn node(per_commit: u64) -> Aft {
    let config = Config { background: false, ..Config::default() };
    let node = Aft::open(std::sync::Arc::new(MemoryStorage::new()), config).await.unwrap();
    for from in (0..KEYS).step_by(usize::try_from(per_commit).unwrap()) {
        let mut tx = node.begin().await.unwrap();
        (from..from + per_commit).for_each(|n| tx.put(key(n), "a value of a hundred bytes or so").unwrap());
        tx.commit().await.unwrap();
    }
    node
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// What is allocated for each key.
#[derive(Debug)]
struct Each {
    allocations: f64,
    /// The most bytes that are held at once beyond the result, and what is kept of them by the transaction.
    peak: f64,
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn each(info: &AllocationInfo, keys: u64, result: u64) -> Each {
    let peak = (info.bytes_max.saturating_sub(result)) as f64 / keys as f64;
    Each { allocations: info.count_total as f64 / keys as f64, peak }
}

/// Reads keys of one transaction, one after the other.
fn gets(runtime: &Runtime, node: &Aft, most: u64) -> Each {
    let keys: Vec<_> = (0..most).map(key).collect();
    // The first reader of a value makes it one that can be shared.
    runtime.block_on(async { node.begin().await.unwrap().get_many(&keys).await }).unwrap();
    let tx = runtime.block_on(node.begin()).unwrap();
    let info = measure(|| {
        for key in &keys {
            assert!(tx.get(key).now_or_never().unwrap().unwrap().is_some(), "it waits for nothing");
        }
    });
    each(&info, most, 0)
}

fn once<T>(runtime: &Runtime, node: &Aft, read: impl AsyncFn(&Transaction) -> T) -> AllocationInfo {
    let tx = runtime.block_on(node.begin()).unwrap();
    measure(|| drop(runtime.block_on(read(&tx))))
}

/// Two for each get, its future and its key; and now and then a node of the tree of what was read.
#[test]
fn a_cached_get_allocates_two_times_whatever_else_its_commit_wrote() {
    let runtime = runtime();
    for per_commit in [1, 100] {
        let node = runtime.block_on(node(per_commit));
        // Of few commits: what more than eight of several keys demand of other reads is written down, key by key.
        let each = gets(&runtime, &node, 800);
        println!("get of a key written with {} others: {each:?}", per_commit - 1);
        assert!(each.allocations < 2.6, "{per_commit}: {each:?}");
    }
}

#[test]
fn many_gets_and_scans_hold_little_beside_their_result() {
    let runtime = runtime();
    for per_commit in [1, 100] {
        let node = runtime.block_on(node(per_commit));
        let keys: Vec<_> = (0..KEYS).map(key).collect();
        let info = once(&runtime, &node, async |tx: &Transaction| tx.get_many(&keys).await.unwrap());
        let many = each(&info, KEYS, 0);
        let info =
            once(&runtime, &node, async |tx: &Transaction| tx.scan_prefix("customers/").await.unwrap());
        let scan = each(&info, KEYS, 0);
        println!("written with {} others: get_many {many:?}, scan {scan:?}", per_commit - 1);
        assert!(many.peak < 450.0 && scan.peak < 450.0, "{per_commit}: {many:?} {scan:?}");
    }
}
