//! Makes a store in steady batches, as a server does over weeks, and measures what each size costs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, CheckpointReport, Cost};
use bytes::Bytes;

use super::files::DatedFiles;
use super::{PER_COMMIT, VALUE_BYTES, config, key, memory};
use crate::data;
use crate::stopwatch::Stopwatch;

/// Commits between two checkpoints.
const PER_CHECKPOINT: u64 = 10;
/// The store's time between two checkpoints: what [`Maintenance`](aft_core::Maintenance) takes by default.
const INTERVAL: Duration = Duration::from_secs(300);
/// Checkpoints between two collections.
const PER_COLLECTION: u64 = 6;
/// What a request takes where rounds are counted: far more than everything else.
const LATENCY: Duration = Duration::from_millis(200);

/// What was spent so far.
#[derive(Default)]
struct Spent {
    commits: u64,
    folded: u64,
    rows: u64,
    checkpoints: u64,
    cost: Cost,
    collections: u64,
    collecting: Cost,
}

/// Makes a store of so many keys in the folder, and prints a line of a table at 10⁴ keys, 10⁵, and so on.
///
/// # Panics
/// Where the store fails.
#[allow(clippy::print_stdout, reason = "a report")]
pub async fn make(folder: &Path, keys: u64) {
    let files = DatedFiles::open(folder);
    let clock = Arc::clone(&files.clock);
    let node = Aft::builder(Arc::new(files.clone())).config(config()).clock(clock);
    let node = node.open().await.expect("the store opens");
    let watch = Stopwatch::start();
    let mut spent = Spent::default();
    let mut next = 10_000;
    println!("{HEADER}");
    while next <= keys {
        let more = spent.commits * PER_COMMIT < keys;
        if more {
            write(&node, &mut spent).await;
        }
        files.clock.advance(INTERVAL);
        let report = checkpoint(&node, &mut spent).await;
        if spent.checkpoints.is_multiple_of(PER_COLLECTION) {
            let before = node.stats().requests;
            node.collect_garbage(false).await.expect("a collection");
            spent.collecting = sum(spent.collecting, node.stats().requests - before);
            spent.collections += 1;
        }
        if spent.folded * PER_COMMIT >= next {
            line(&files, next, &report, &spent).await;
            next *= 10;
        }
    }
    files.save();
    println!("\nmade in {:.0?}; the store has {} MiB", watch.elapsed(), files.bytes().await >> 20);
    println!(
        "a collection of garbage: {} requests on average ({} of them)",
        spent.collecting.requests() / spent.collections.max(1),
        spent.collections
    );
    println!("peak memory of the maker: {} MiB", memory::peak_mib());
}

const HEADER: &str = "\
| keys | requests per checkpoint | per folded commit | KiB written per folded commit | times each row was written | runs | rows in them | cold open and first read: requests | rounds | largest tail, KiB | largest block, KiB |
|---|---|---|---|---|---|---|---|---|---|---|";

async fn write(node: &Aft, spent: &mut Spent) {
    let value: Bytes = data::value(VALUE_BYTES);
    for _ in 0..PER_CHECKPOINT {
        let mut tx = node.begin().await.expect("begin");
        for n in 0..PER_COMMIT {
            tx.put(key(spent.commits * PER_COMMIT + n), value.clone()).expect("put");
        }
        tx.commit().await.expect("commit");
        spent.commits += 1;
    }
    node.publish().await.expect("publish");
}

async fn checkpoint(node: &Aft, spent: &mut Spent) -> CheckpointReport {
    let before = node.stats().requests;
    let report = node.checkpoint().await.expect("a checkpoint");
    spent.cost = sum(spent.cost, node.stats().requests - before);
    spent.checkpoints += 1;
    spent.folded += report.folded;
    spent.rows += report.rows_written;
    report
}

#[allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a report")]
async fn line(files: &DatedFiles, keys: u64, report: &CheckpointReport, spent: &Spent) {
    let slow = files.with_latency(LATENCY);
    let clock = Arc::clone(&files.clock);
    let watch = Stopwatch::start();
    let node = Aft::builder(Arc::new(slow.clone())).config(config()).clock(clock);
    let node = node.open().await.expect("the store opens");
    let tx = node.begin().await.expect("begin");
    assert!(tx.get(key(keys / 3)).await.expect("get").is_some(), "the key is there");
    let rounds = watch.elapsed().as_millis() / LATENCY.as_millis();
    let (mut tail, mut block) = (0, 0);
    let ranges = slow.ranges();
    for (n, (path, range)) in ranges.iter().enumerate() {
        let first = ranges[..n].iter().all(|(other, _)| other != path);
        let largest = if first { &mut tail } else { &mut block };
        *largest = (*largest).max(range.end - range.start);
    }
    let per = |what: u64, of: u64| what as f64 / of.max(1) as f64;
    println!(
        "| {keys} | {:.1} | {:.2} | {:.0} | {:.2} | {} | {} | {} | {rounds} | {} | {} |",
        per(spent.cost.requests(), spent.checkpoints),
        per(spent.cost.requests(), spent.folded),
        per(spent.cost.bytes_written, spent.folded * 1024),
        per(spent.rows, spent.folded * PER_COMMIT),
        report.runs,
        report.rows,
        node.stats().requests.requests(),
        tail / 1024,
        block / 1024,
    );
}

fn sum(a: Cost, b: Cost) -> Cost {
    Cost {
        gets: a.gets + b.gets,
        range_gets: a.range_gets + b.range_gets,
        creates: a.creates + b.creates,
        lists: a.lists + b.lists,
        deletes: a.deletes + b.deletes,
        bytes_read: a.bytes_read + b.bytes_read,
        bytes_written: a.bytes_written + b.bytes_written,
    }
}
