//! Collection of garbage where dates, listings or files are not what they seem: nothing goes that one copy still holds.

use std::sync::Arc;

use aft_core::{Aft, Builder, Config, ErrorKind, Storage};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{HidingStorage, World, put};
use tokio::time::sleep;

use crate::{secs, tell_the_time};

pub(crate) const HOUR: u64 = 3_600;

pub(crate) fn under(world: &World, folder: &str) -> Vec<String> {
    world.memory.paths().into_iter().filter(|path| path.starts_with(folder)).collect()
}

pub(crate) async fn replace(world: &World, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = world.memory.get(path).await.unwrap().bytes.to_vec();
    change(&mut bytes);
    world.memory.delete(&[path.to_owned()]).await.unwrap();
    world.memory.create(path, bytes.into()).await.unwrap();
}

/// What a transaction reads that begins now; `None` also where it cannot.
pub(crate) async fn read(node: &Aft, key: &str) -> Option<usize> {
    let tx = node.begin().await.unwrap();
    tx.get(key).await.ok().flatten().map(|value| value.len())
}

pub(crate) async fn an_hour_passes(node: &Aft) {
    sleep(secs(HOUR)).await;
    tell_the_time(node).await;
}

/// 25: a bit is turned over in a file of the checkpoint that has just settled; the one before has all that it says.
pub(crate) async fn h25_nothing_goes_before_the_checkpoint_was_read_that_replaces_it() {
    let world = World::new();
    let node = world.node().await;
    for n in 0..20 {
        put(&node, &format!("k{n:02}"), "1").await;
    }
    node.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    node.checkpoint().await.unwrap();
    put(&node, "b", "2").await;
    node.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    assert_eq!(node.checkpoint().await.unwrap().runs, 2);
    an_hour_passes(&node).await;
    let young = under(&world, "index/").pop().unwrap();
    replace(&world, &young, |bytes| {
        // In the rows: half of so small a file is the Parquet footer, which nobody reads.
        let among_the_rows = bytes.len() / 8;
        bytes[among_the_rows] ^= 1;
    })
    .await;
    let collector = world.node().await;
    let report = collector.collect_garbage(false).await.unwrap();
    assert_eq!(read(&world.node().await, "b").await, Some(1), "what the checkpoint before holds is read");
    assert!(report.left_out.iter().any(|why| why.contains(&young)), "{report:?}");
}

/// 25: a feed object was given an old date, by a copy: its name says when it was published.
pub(crate) async fn h25_a_young_feed_object_stays_whatever_its_date() {
    let world = World::new();
    let (node, collector) = (world.node().await, world.node().await);
    put(&node, "old", "v").await;
    node.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    node.checkpoint().await.unwrap();
    an_hour_passes(&node).await;
    put(&node, "k", "v").await;
    node.publish().await.unwrap();
    collector.refresh().await.unwrap();
    let young = under(&world, "feed/").pop().unwrap();
    world.store_clock.set_skew_ms(-7_200_000);
    replace(&world, &young, |_| ()).await;
    world.store_clock.set_skew_ms(0);
    let report = collector.collect_garbage(false).await.unwrap();
    assert!(world.memory.get(&young).await.is_ok(), "what is young stays: {report:?}");
    assert!(report.left_out.is_empty(), "nobody takes it for old: {report:?}");
}

pub(crate) fn hiding(world: &World) -> (HidingStorage, Builder) {
    hiding_over(world, &HidingStorage::new(Arc::new(world.storage.clone())))
}

fn hiding_over(world: &World, storage: &HidingStorage) -> (HidingStorage, Builder) {
    // Reads its decisions back, and so knows what time it is.
    let config = Config { verify_every_commit: true, ..World::config() };
    let builder = Aft::builder(Arc::new(storage.clone())).config(config).clock(world.clock());
    (storage.clone(), builder)
}

/// 26: a proxy answers the listings of decisions with a page of its own, which reads as an empty listing.
pub(crate) async fn h26_a_listing_that_shows_nothing_makes_no_orphans() {
    let world = World::new();
    let node = world.node().await;
    let (storage, builder) = hiding(&world);
    let collector = builder.open().await.unwrap();
    put(&node, "k", &"x".repeat(20_000)).await;
    node.publish().await.unwrap();
    an_hour_passes(&node).await;
    storage.hide(&["commits/"]);
    let collected = collector.collect_garbage(false).await;
    assert_eq!(read(&world.node().await, "k").await, Some(20_000), "a live value is no orphan");
    let error = collected.unwrap_err();
    assert!(error.to_string().contains("does not show"), "{error}");
}

/// 26: the same for every listing that tells of commits, to a node that starts and knows of none.
pub(crate) async fn h26_a_collector_to_which_all_listings_lie_takes_no_committed_value() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", &"x".repeat(20_000)).await;
    node.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    let (storage, builder) = hiding(&world);
    storage.hide(&["commits/", "feed/", "checkpoints/"]);
    // Whether it opens, and collects, is not what this is about.
    if let Ok(collector) = builder.open().await {
        put(&collector, "other", "v").await;
        drop(collector.collect_garbage(false).await);
    }
    assert_eq!(read(&world.node().await, "k").await, Some(20_000), "a live value is no orphan");
}

/// 26: a node starts, is shown no checkpoint, and collects files that no checkpoint names.
pub(crate) async fn h26_checkpoints_that_are_not_listed_keep_their_files() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", "v").await;
    node.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    node.checkpoint().await.unwrap();
    an_hour_passes(&node).await;
    let (storage, builder) = hiding(&world);
    let warm = builder.open().await.unwrap();
    let (_, builder) = hiding_over(&world, &storage);
    storage.hide(&["checkpoints/"]);
    if let Ok(collector) = builder.open().await {
        drop(collector.collect_garbage(false).await);
    }
    let cold = world.builder().open().await.expect("what a checkpoint names is there");
    assert_eq!(read(&cold, "k").await, Some(1), "what a checkpoint names is there");
    // Who knows of the checkpoint, or of what lies on the feed, is not deceived.
    for hidden in ["checkpoints/", "feed/"] {
        storage.hide(&[hidden]);
        let before = world.memory.paths();
        let error = warm.collect_garbage(false).await.unwrap_err().to_string();
        assert!(error.contains("does not show") && error.contains(hidden), "{error}");
        assert_eq!(world.memory.paths(), before, "nothing was deleted");
    }
}

/// 27: one object is dated an hour ahead, and everything seems an hour old.
pub(crate) async fn h27_one_object_from_the_future_makes_nothing_old() {
    let world = World::new();
    let (node, collector) = (world.node().await, world.node().await);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "x".repeat(20_000)).unwrap();
    sleep(secs(20)).await;
    world.store_clock.set_skew_ms(3_600_000);
    let ahead = "feed/none-of-afts".to_owned();
    world.memory.create(&ahead, "none of aft's".into()).await.unwrap();
    world.store_clock.set_skew_ms(0);
    // A node that could date its own clock would not believe that date.
    for nth in 1..4 {
        world.storage.fail(Operation::Create, "epochs/clock/", nth, Fault::Before(Stored::Denied));
    }
    let collected = collector.collect_garbage(false).await;
    world.storage.clear_faults();
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    world.memory.delete(&[ahead]).await.unwrap();
    let read = read(&world.node().await, "k").await;
    assert_eq!(read, Some(20_000), "a value of an open transaction stays");
    assert_eq!(collected.unwrap_err().kind(), ErrorKind::ClockSkew);
}

/// The feed object that carried a commit is lost before anybody folded it; its decision is a day old.
pub(crate) async fn an_outcome_that_no_checkpoint_folded_stays() {
    let world = World::new();
    let (node, sweeper) = (world.node().await, world.node().await);
    let lost = put(&node, "k", "v").await.txn_id().to_string();
    node.publish().await.unwrap();
    let carried = under(&world, "feed/");
    sleep(secs(HOUR)).await;
    tell_the_time(&sweeper).await;
    sweeper.sweep().await.unwrap();
    world.memory.delete(&carried).await.unwrap();
    drop((node, sweeper));
    // It commits in the caller's own task: the sweep beside it comes later, and does not find the commit.
    let alone = Config { decisions_in_flight: 0, ..World::config() };
    let cold = world.builder().config(alone).open().await.unwrap();
    // An abort, beside it, that may go.
    let aborted = cold.new_txn_id();
    cold.cancel(aborted).await.unwrap();
    for _ in 0..2 {
        sleep(secs(26 * HOUR)).await;
        tell_the_time(&cold).await;
        assert!(cold.checkpoint().await.unwrap().made);
    }
    let report = cold.collect_garbage(false).await.unwrap();
    let decisions = under(&world, "commits/");
    let has = |id: &str| decisions.iter().any(|path| path.ends_with(id));
    assert!(has(&lost), "the last copy of a commit stays: {report:?}");
    assert!(!has(&aborted.to_string()), "{report:?}");
    assert!(report.left_out.iter().any(|why| why.contains(&lost) && why.contains("sweep")), "{report:?}");
}

/// A manifest landed too late to count. As long as it is there, so is what it names.
pub(crate) async fn what_a_void_manifest_names_stays_while_it_is_there() {
    let world = World::new();
    let (maker, collector) = (world.node().await, world.node().await);
    put(&maker, "k", "v").await;
    maker.publish().await.unwrap();
    an_hour_passes(&collector).await;
    let ghost = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Ghost);
    for _ in 0..100 {
        world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Before(Stored::Unavailable));
    }
    maker.checkpoint().await.expect_err("its manifest does not land");
    world.storage.reset();
    world.storage.clear_faults();
    an_hour_passes(&collector).await;
    ghost.release().await.unwrap();
    let named: Vec<_> = [under(&world, "recent/"), under(&world, "index/")].concat();
    assert_eq!(collector.checkpoint().await.unwrap().number, 2);
    tell_the_time(&collector).await;
    collector.collect_garbage(false).await.unwrap();
    let left = world.memory.paths();
    assert!(named.iter().all(|path| left.contains(path)), "what a manifest names is there");
    for _ in 0..2 {
        an_hour_passes(&collector).await;
        collector.checkpoint().await.unwrap();
        collector.collect_garbage(false).await.unwrap();
    }
    let left = world.memory.paths();
    assert!(!named.iter().any(|path| left.contains(path)), "{left:?}");
}
