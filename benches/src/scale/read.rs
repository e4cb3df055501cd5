//! A node that reads random keys of a store that is far larger than its cache.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use aft_core::{Aft, Config};

use super::files::{DatedFiles, Piece};
use super::{config, key, memory};
use crate::stopwatch::Stopwatch;

/// How many keys are read.
const READS: u64 = 10_000;

/// Reads random keys of the store of so many keys in the folder, each in a transaction of its own, and prints what that took.
///
/// # Panics
/// Where the store fails, or a key is not there.
#[allow(clippy::print_stdout, reason = "a report")]
pub async fn read(folder: &Path, keys: u64) {
    let files = DatedFiles::open(folder);
    let config = Config { cache_bytes: 64 << 20, ..config() };
    let node = Aft::builder(Arc::new(files.clone())).config(config).clock(Arc::clone(&files.clock) as _);
    let node = node.open().await.expect("the store opens");
    let opened = node.stats().requests;
    let watch = Stopwatch::start();
    for n in 0..READS {
        // The keys are in no order in the first place; a factor spreads them over all batches.
        let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys;
        let tx = node.begin().await.expect("begin");
        assert!(tx.get(key(n)).await.expect("get").is_some(), "key {n} is there");
    }
    let took = watch.elapsed();
    let cost = node.stats().requests - opened;
    let reads = u32::try_from(READS).expect("few");
    println!("\n{READS} random keys of {keys}, 64 MiB of cache:");
    println!("- {} requests to open", opened.requests());
    println!("- {:.2?}, {:.0?} each", took, took / reads);
    println!("- {} requests, {} MiB", cost.requests(), cost.bytes_read >> 20);
    let (tails, blocks) = loads(&files.ranges());
    println!("- tails: {} of {} loaded again", tails.0 - tails.1, tails.1);
    println!("- blocks: {} loads of {} blocks", blocks.0, blocks.1);
    println!("- {} MiB in the cache at the end", node.stats().cache_bytes >> 20);
    println!("- peak memory: {} MiB", memory::peak_mib());
}

/// Of tails and of blocks: how many loads there were, and of how many different ones. The tail is a file's last piece.
fn loads(ranges: &[Piece]) -> ((usize, usize), (usize, usize)) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for (path, range) in ranges {
        let end = last.entry(path).or_default();
        *end = (*end).max(range.end);
    }
    let (tails, blocks): (Vec<_>, Vec<_>) =
        ranges.iter().partition(|(path, range)| last.get(path.as_str()) == Some(&range.end));
    let different = |ranges: &[&Piece]| {
        ranges.iter().map(|(path, range)| (path, range.start)).collect::<BTreeSet<_>>().len()
    };
    ((tails.len(), different(&tails)), (blocks.len(), different(&blocks)))
}
