//! What the index costs in requests: exact, on the recording store.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Config, GarbageKind};
use aft_memory::{Counts, Operation};
use aft_tests::{WaitingStorage, World, rounds_since};
use futures::FutureExt;
use tokio::time::Instant;

/// Longer than any window: what was published before is folded by the next checkpoint.
const OLD: Duration = Duration::from_secs(3600);
/// Keys that one transaction writes.
const PER_COMMIT: usize = 50_000;

fn key(n: usize) -> String {
    format!("key-{n:08}")
}

/// Commits these keys, a few transactions for all, and folds them into a run of their own or into what it is merged with.
async fn fold(node: &Aft, keys: impl Iterator<Item = usize>) {
    let keys: Vec<_> = keys.collect();
    for keys in keys.chunks(PER_COMMIT) {
        let mut tx = node.begin().await.unwrap();
        for n in keys {
            tx.put(key(*n), format!("value {n}")).unwrap();
        }
        tx.commit().await.unwrap();
    }
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    assert!(node.checkpoint().await.unwrap().made);
}

/// A store of so many keys, all of them in one run.
async fn store_of(keys: usize) -> (World, Aft) {
    let world = World::new();
    let config = Config { max_record_bytes: 64 << 20, cache_bytes: 0, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    fold(&node, 0..keys).await;
    (world, node)
}

/// The requests since the last call: gets, range gets, creates, lists, deletes.
fn spent(world: &World) -> [u64; 5] {
    let Counts { gets, range_gets, creates, lists, deletes, .. } = world.storage.counts();
    world.storage.reset();
    [gets, range_gets, creates, lists, deletes]
}

async fn get(node: &Aft, key: &str) -> Option<String> {
    aft_tests::get(node, key).await
}

/// The requests of a node that starts and reads one key, and in how many rounds they went.
async fn cold_read(world: &World, n: usize) -> ([u64; 5], u64) {
    spent(world);
    let storage = WaitingStorage::new(Arc::new(world.storage.clone()));
    let start = Instant::now();
    let node =
        Aft::builder(Arc::new(storage)).config(World::config()).clock(world.clock()).open().await.unwrap();
    assert_eq!(get(&node, &key(n)).await, Some(format!("value {n}")));
    (spent(world), rounds_since(start))
}

#[tokio::test(start_paused = true)]
async fn a_store_of_a_million_keys_costs_what_one_of_ten_thousand_costs() {
    for keys in [10_000, 1_000_000] {
        let (world, _node) = store_of(keys).await;
        // Gets: the marker, the manifest, the commits beside the index. Range gets: a tail, a block. The create is the marker's, which is
        // refused. Lists: the checkpoints, the feed.
        assert_eq!(cold_read(&world, keys / 3).await, ([3, 2, 1, 2, 0], 5), "{keys} keys");
        missing_keys_cost_nearly_nothing(&world, keys).await;
    }
}

/// A key that is not there costs a block only where a Bloom filter errs.
async fn missing_keys_cost_nearly_nothing(world: &World, keys: usize) {
    const ASKED: u64 = 10_000;
    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    // One after the other: together, those that meet in a block that has to be loaded would share that.
    assert_eq!(tx.get(key(keys / 2)).await.unwrap().unwrap(), format!("value {}", keys / 2));
    let before = node.stats();
    for n in 0..ASKED {
        let n = usize::try_from(n).unwrap() * 7_919 % (keys - 1);
        assert_eq!(tx.get(key(n) + "x").await.unwrap(), None);
    }
    let after = node.stats();
    // Of hits, each key has one: that of the tail. Everything else was a block.
    let lookups = after.index_hits + after.index_misses - before.index_hits - before.index_misses;
    let blocks = lookups - ASKED;
    assert!(blocks * 100 <= 3 * ASKED, "{blocks} of {ASKED} missing keys needed a block");
    assert_eq!(after.cache_misses, before.cache_misses, "no value");
    assert_eq!(after.requests.gets, before.requests.gets, "no value");
    spent(world);
}

#[tokio::test(start_paused = true)]
async fn each_further_run_adds_two_requests_and_each_unseen_feed_object_one_side_by_side() {
    let (world, node) = store_of(9_000).await;
    assert_eq!(cold_read(&world, 300).await, ([3, 2, 1, 2, 0], 5));
    // Runs of a tenth each, so that none is merged.
    fold(&node, (0..9_000).step_by(10)).await;
    assert_eq!(cold_read(&world, 300).await, ([3, 4, 1, 2, 0], 5));
    assert_eq!(cold_read(&world, 301).await, ([3, 3, 1, 2, 0], 5), "a Bloom filter rules the second run out");
    fold(&node, (0..9_000).step_by(100)).await;
    assert_eq!(cold_read(&world, 300).await, ([3, 6, 1, 2, 0], 5));
    // Feed objects are found by a listing: their round is one more, however many they are.
    for unseen in 1..=10 {
        aft_tests::put(&node, "young", "v").await;
        node.publish().await.unwrap();
        assert_eq!(cold_read(&world, 300).await, ([3 + unseen, 6, 1, 2, 0], 6), "{unseen} unseen");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_looked_up_before_costs_nothing_and_a_block_one_range_get() {
    let (world, _node) = store_of(10_000).await;
    let node = world.node().await;
    assert_eq!(get(&node, &key(0)).await.as_deref(), Some("value 0"));
    spent(&world);
    for n in [0, 1, 1_538] {
        assert_eq!(get(&node, &key(n)).await, Some(format!("value {n}")));
        assert_eq!(spent(&world), [0; 5], "its block is here");
    }
    assert_eq!(get(&node, &key(1_539)).await.as_deref(), Some("value 1539"));
    assert_eq!(spent(&world), [0, 1, 0, 0, 0], "the next block");

    let tx = node.begin().await.unwrap();
    let many = tx.get_many((8_192..8_292).map(key)).await.unwrap();
    assert!(many.iter().all(Option::is_some));
    assert_eq!(spent(&world), [0, 1, 0, 0, 0], "a hundred keys of one block");

    let node = world.node().await;
    spent(&world);
    let read = (0..64).map(|n| get(&node, "key-00000000").map(move |_| n));
    futures::future::join_all(read).await;
    assert_eq!(spent(&world), [0, 2, 0, 0, 0], "at once by many: one tail, one block");
    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    spent(&world);
    let rows = tx.scan(key(4_000)..key(8_193)).await.unwrap();
    assert_eq!(rows.len(), 4_193);
    assert_eq!(
        spent(&world),
        [0, 1 + 1, 0, 0, 0],
        "a tail, and the four blocks that the range touches, which lie side by side"
    );
    let rows = tx.scan(key(4_000)..key(8_193)).await.unwrap();
    assert_eq!((rows.len(), spent(&world)), (4_193, [0; 5]));
}

/// Whatever the order of the keys: a maker that read the commits once for each part of the keys would read, and hold, everything that
/// is folded several times over.
#[tokio::test(start_paused = true)]
async fn a_checkpoint_reads_each_commit_once_however_many_it_folds() {
    const COMMITS: usize = 40;
    let world = World::new();
    let config =
        Config { cache_bytes: 0, inline_value_bytes: 1 << 20, max_record_bytes: 64 << 20, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    for n in 0..COMMITS {
        let mut tx = node.begin().await.unwrap();
        (0..4).for_each(|m| tx.put(key(n + m * COMMITS), vec![7; 1 << 20]).unwrap());
        tx.commit().await.unwrap();
    }
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.refresh().await.unwrap();
    spent(&world);
    let report = node.checkpoint().await.unwrap();
    assert_eq!((report.folded, report.rows), (40, 160), "{report:?}");
    let decisions =
        world.storage.requests().into_iter().filter(|request| request.path.starts_with("commits/"));
    let gets = decisions.filter(|request| request.operation == Operation::Get).count();
    assert_eq!(gets, COMMITS);
}

/// A folder that is spread over shards is listed by a request for each.
const SHARDS: u64 = 16;

/// Commits a large value and a small one, overwrites both, publishes, and waits until all of it is old.
async fn overwrite(node: &Aft) {
    for n in 0..2 {
        aft_tests::put(node, "large", &"x".repeat(20_000)).await;
        aft_tests::put(node, "small", &n.to_string()).await;
    }
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.refresh().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_checkpoint_costs() {
    let world = World::new();
    let node = world.node().await;
    // Gets: the marker, whether its date is what it was; the manifest is read back. Creates: the sweep's feed object; a file of the run,
    // the commits beside the index, the garbage, the manifest, its seal. Lists: a refresh, with a look for checkpoints; the sweep; its feed object's date; a refresh; the checkpoints.
    let plain = [2, 0, 6, 2 + SHARDS + 1 + 3, 0];
    overwrite(&node).await;
    spent(&world);
    let report = node.checkpoint().await.unwrap();
    assert_eq!(spent(&world), plain);
    assert_eq!((report.folded, report.rows_written, report.runs), (4, 2, 1), "{report:?}");
    assert_eq!(report.garbage, 4 + 1, "four decisions and a large value: each once");
    overwrite(&node).await;
    spent(&world);
    let report = node.checkpoint().await.unwrap();
    assert_eq!((report.rows_written, report.runs_merged), (2, 1), "{report:?}");
    assert_eq!(
        spent(&world),
        [2, 2, 6, 2 + SHARDS + 1 + 3, 0],
        "of the run that is merged: a tail, and 4 MiB at a time"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_collection_costs() {
    let world = World::new();
    let node = world.node().await;
    // A refresh, with a look for checkpoints; the checkpoints, garbage, outcomes, feed, commits beside indexes, files of runs, epochs;
    // claims, decisions and values by shards.
    let lists = 2 + 7 + 3 * SHARDS;
    overwrite(&node).await;
    node.checkpoint().await.unwrap();
    spent(&world);
    node.collect_garbage(false).await.unwrap();
    let what = "the marker's date, a manifest; nothing has settled, but the epoch in which the store was made is over";
    assert_eq!(spent(&world), [2, 0, 0, lists, 1], "{what}");
    overwrite(&node).await;
    node.checkpoint().await.unwrap();
    spent(&world);
    let report = node.collect_garbage(false).await.unwrap();
    // The marker's date, two manifests, a garbage file, and what the settled checkpoint needs: its commits beside the index, and of its file a tail and 4 MiB
    // at a time. Values without a decision are looked up in the index: in the tails of the second checkpoint's
    // one file and of the first one's, which the merge has read; and only after one more refresh. Deletes: decisions, values, the
    // garbage file, feed objects. And the bundles and the guards are listed.
    assert_eq!(spent(&world), [5, 2 + 1, 0, lists + 4, 4], "{report:?}");
    let gone = |kind| report.classes.get(&kind).map_or(0, |class| class.objects);
    assert_eq!((gone(GarbageKind::FoldedDecisions), gone(GarbageKind::SupersededValues)), (4, 1));
    // The first checkpoint's large value lost in the second, and goes when that has settled: the first manifest is there and names it.
    assert_eq!(gone(GarbageKind::OrphanValues), 0, "{report:?}");
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    let report = node.collect_garbage(false).await.unwrap();
    let gone = |kind| report.classes.get(&kind).map_or(0, |class| class.objects);
    assert_eq!(
        (gone(GarbageKind::FoldedDecisions), gone(GarbageKind::SupersededValues)),
        (4, 2),
        "{report:?}"
    );
    assert_eq!(gone(GarbageKind::OrphanValues), 0, "{report:?}");
}

/// Cold scans ask for many blocks at once, and pages for more and more ahead.
#[tokio::test(start_paused = true)]
async fn a_scan_reads_a_mebibyte_with_each_request_and_pages_ahead() {
    const KEYS: usize = 30_000;
    let (world, _node) = store_of(KEYS).await;
    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    spent(&world);
    assert_eq!(tx.scan(..).await.unwrap().len(), KEYS);
    assert_eq!(spent(&world), [0, 1 + 2, 0, 0, 0], "a tail, and 1.5 MB of blocks");
    let cold = node.stats();
    assert_eq!(tx.scan(..).await.unwrap().len(), KEYS);
    let warm = node.stats();
    assert_eq!(
        (warm.index_misses, warm.index_hits),
        (cold.index_misses, cold.index_hits + cold.index_misses)
    );

    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    spent(&world);
    let (mut pages, mut requests) = (tx.scan_pages(.., 1_000), Vec::new());
    let mut found = 0;
    while let Some(page) = pages.next_page().await.unwrap() {
        found += page.len();
        requests.push(spent(&world)[1]);
    }
    assert_eq!(found, KEYS);
    assert_eq!(requests.len(), 30, "{requests:?}");
    // Of a thousand rows, of two, four, eight and sixteen thousand.
    assert!(requests.iter().sum::<u64>() <= 1 + 8, "{requests:?}");
    // A short scan reads what it needs.
    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    spent(&world);
    let mut pages = tx.scan_pages(key(15_000).., 10);
    assert_eq!(pages.next_page().await.unwrap().unwrap().len(), 10);
    let read = world.storage.counts().bytes_read;
    assert!(read < 150_000, "{read} bytes");
}
