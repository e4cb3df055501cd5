//! The store's clock, as different interfaces tell it.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, Clock, Config, ErrorKind, Outcome, Storage, Unpublished};
use aft_memory::{ErrorKind as Stored, Fault, Faults, Operation, SimulatedStorage};
use aft_tests::{World, get, put, write};
use tokio::time::sleep;

use crate::{die_committing, secs, tell_the_time};

const HOUR: Duration = Duration::from_secs(3600);

/// 13: GET says seconds, LIST says milliseconds, and another interface says milliseconds for both: a decision that lands within
/// the last second that counts is the same for all.
pub(crate) async fn h13_nodes_that_are_told_dates_in_different_precision_judge_alike() {
    let world = World::new();
    let (node, milliseconds) = (world.node().await, world.node().await);
    // Its GET cuts dates to whole seconds.
    let storage = SimulatedStorage::new(Arc::new(world.storage.clone()), 1, Faults::none());
    let seconds = Aft::builder(Arc::new(storage))
        .config(World::config())
        .clock(world.clock())
        .rng_seed(1_000)
        .open()
        .await
        .unwrap();
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    let id = tx.id();
    // The version is taken early in a second, and the decision lands late in the last one that it may.
    let into_second = id.start_ms() % 1000;
    sleep(Duration::from_millis(1_300 - into_second)).await;
    let ghost = die_committing(&world, tx).await;
    sleep(secs(60) + Duration::from_millis(500)).await;
    ghost.release().await.unwrap();
    let outcomes = [seconds.outcome(id).await.unwrap(), milliseconds.outcome(id).await.unwrap()];
    assert_eq!(outcomes[0], outcomes[1], "two nodes judge one decision alike");
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "it landed in the last second that counts");
}

/// Changes every date of the store to now, as `cp` or a copy of each object onto itself does.
fn redate_all(world: &World, folder: &str) {
    let now = world.store_clock.now();
    for path in world.memory.paths().into_iter().filter(|path| path.starts_with(folder)) {
        assert!(world.memory.redate(&path, now));
    }
}

/// 24: all of a store was copied. By its dates nothing counts, and it would look empty.
pub(crate) async fn h24_a_store_whose_dates_were_changed_is_not_taken_for_an_empty_one() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("k", Some("v"))]).await;
    node.publish().await.unwrap();
    sleep(secs(70)).await;
    redate_all(&world, "");
    for builder in [world.builder(), world.builder().read_only()] {
        match builder.open().await {
            Ok(cold) => {
                assert_eq!(get(&cold, "k").await.as_deref(), Some("v"), "what is there is not passed over")
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::DatesChanged, "{error}"),
        }
    }
    let report = world.builder().check().await.unwrap();
    assert!(!report.is_clean(), "a check of it is not clean: {report:?}");
    // A node that was open before it happened notices, too, before it judges by dates.
    for refused in [node.checkpoint().await.map(drop), node.collect_garbage(false).await.map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::DatesChanged);
    }
}

/// 24: a copy was adopted. Nothing in it is judged by the dates of the copying.
pub(crate) async fn h24_an_adopted_copy_reads_like_the_original() {
    let world = World::new();
    let node = world.node().await;
    let key = b"order".as_slice();
    node.run(key, async move |_| Ok("first".into())).await.unwrap();
    write(&node, &[("k", Some("v"))]).await;
    node.publish().await.unwrap();
    drop(node);
    sleep(HOUR).await;
    redate_all(&world, "");
    assert!(world.builder().adopt(Unpublished::Refuse).await.unwrap().adopted);
    let node = world.node().await;
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"), "what was copied is there");
    let run = node.run(key, async move |_| Ok("second".into())).await;
    assert_eq!(
        run.expect("a finished request is not run again").result,
        "first",
        "a finished request is not run again"
    );
}

/// 24: the dates of the checkpoints were changed, and of nothing else: they were sealed when they were young.
pub(crate) async fn h24_a_sealed_checkpoint_counts_whatever_its_date() {
    let world = World::new();
    let node = world.node().await;
    for value in ["1", "2", "3"] {
        write(&node, &[("k", Some(value)), (value, Some(value))]).await;
        node.publish().await.unwrap();
        sleep(HOUR).await;
        tell_the_time(&node).await;
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    sleep(HOUR).await;
    redate_all(&world, "checkpoints/");
    let cold = world.builder().open().await.expect("a sealed checkpoint counts");
    let found = (get(&cold, "k").await, get(&cold, "1").await);
    assert_eq!(found, (Some("3".to_owned()), Some("1".to_owned())), "a sealed checkpoint counts");
}

/// 24: the store reported a conflict when the seal was made, and there was none (16's mirror). The next refresh makes it.
pub(crate) async fn h24_a_conflict_without_effect_leaves_no_checkpoint_unsealed() {
    let world = World::new();
    let node = world.node().await;
    let conflict = Fault::Before(Stored::AlreadyExists);
    world.storage.fail(Operation::Create, "checkpoints/000000000001.sealed", 1, conflict);
    write(&node, &[("k", Some("1"))]).await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    tell_the_time(&node).await;
    assert_eq!(node.checkpoint().await.unwrap().folded, 1);
    node.refresh().await.unwrap();
    sleep(HOUR).await;
    tell_the_time(&node).await;
    // What it folded goes.
    node.collect_garbage(false).await.unwrap();
    redate_all(&world, "checkpoints/");
    let cold = world.builder().open().await.expect("a checkpoint that was built on counts");
    assert_eq!(get(&cold, "k").await.as_deref(), Some("1"), "a checkpoint that was built on counts");
}

/// 27: an object dated an hour ahead is not the store's time, for a node that dated its own clock.
pub(crate) async fn h27_one_object_from_the_future_makes_nothing_else_old() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("k", Some("v"))]).await;
    node.publish().await.unwrap();
    let feed = world.memory.paths().into_iter().find(|path| path.starts_with("feed/")).unwrap();
    let ahead = world.store_clock.now() + HOUR;
    assert!(world.memory.redate(&feed, ahead));
    let cold = world.node().await;
    let mut tx = cold.begin().await.unwrap();
    tx.get("other").await.expect("a young transaction is young");
    tx.put("l", "v").unwrap();
    tx.commit().await.expect("a young transaction is young");
    // Who may write nothing cannot date its clock. But what it knew when a transaction began makes that no older.
    let reader = world.builder().read_only().clock(world.clock()).open().await.unwrap();
    let mut tx = reader.begin().await.unwrap();
    tx.get("other").await.expect("a young transaction is young");
    // The second refresh is the first one that goes on from what the one before knew.
    for _ in 0..2 {
        sleep(secs(60)).await;
        reader.refresh().await.unwrap();
    }
    // Nor is the id of a transaction forgotten that is still open.
    let open = reader.outcome(node.new_txn_id()).await.unwrap();
    assert_eq!(open, Outcome::Undecided, "what is young is not forgotten");
    write(&node, &[("m", Some("1"))]).await;
    node.publish().await.unwrap();
    let latest = reader.begin_with(Begin::new().latest()).await.unwrap();
    assert_eq!(latest.get("m").await.unwrap().as_deref(), Some(&b"1"[..]), "what is newer is seen");
    drop(latest);
    tx = reader.begin().await.unwrap();
    // A date that comes later may be the store's time: then it says which object it is.
    cold.publish().await.unwrap();
    let newer = world.memory.paths().into_iter().rfind(|path| path.starts_with("feed/")).unwrap();
    assert!(newer != feed && world.memory.redate(&newer, ahead + HOUR));
    sleep(secs(6)).await;
    let next = reader.begin_with(Begin::new().latest()).await.unwrap();
    let error = tx.get("another").await.expect_err("it may be too old");
    assert!(error.kind() == ErrorKind::ClockSkew && error.to_string().contains(&newer), "{error}");
    next.get("another").await.expect("a young transaction is young");
    sleep(HOUR).await;
    let error = next.get("a third").await.expect_err("it is too old by this node's own clock");
    assert_eq!(error.kind(), ErrorKind::Expired);
}

/// An object that is longer than any of its kind can be is not read, though what is in it could be understood.
pub(crate) async fn no_object_is_read_further_than_its_kind_can_be_long() {
    let world = World::new();
    drop(world.node().await);
    let marker = world.memory.get("aft.json").await.unwrap();
    let longer = [&marker.bytes[..], " ".repeat(1 << 20).as_bytes()].concat();
    world.memory.delete(&["aft.json".into()]).await.unwrap();
    world.memory.create("aft.json", longer.into()).await.unwrap();
    assert!(world.memory.redate("aft.json", marker.last_modified));
    let refused = world.builder().open().await.expect_err("what is too long is not read");
    assert!(refused.kind() == ErrorKind::Corrupt && refused.to_string().contains("65536"), "{refused}");
}

/// 29: create-if-absent is switched off under a node that is open.
pub(crate) async fn h29_a_store_that_begins_to_overwrite_is_found_out() {
    let world = World::new();
    let config = Config { sweep_interval: secs(60), ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    write(&node, &[("k", Some("1"))]).await;
    world.memory.overwrite();
    for _ in 0..4 {
        sleep(secs(61)).await;
        node.refresh().await.unwrap();
        sleep(secs(1)).await;
    }
    let mut tx = node.begin().await.unwrap();
    let refused = match tx.put("k", "2") {
        Ok(()) => tx.commit().await.map(drop),
        Err(error) => Err(error),
    };
    let refused = refused.expect_err("a store that overwrites is written to no more");
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("versioning"), "{refused}");
}

/// 24: a store that is made while its place answers to nothing for long dates its marker by a question that was answered.
pub(crate) async fn h24_a_store_that_is_made_in_an_outage_can_be_opened() {
    let world = World::new();
    let config = Config { max_clock_skew: secs(2), visibility_delay: secs(2), ..World::config() };
    for folder in ["epochs/clock/", "aft.json"] {
        for _ in 0..if folder == "aft.json" { 7 } else { 13 } {
            world.storage.fail(Operation::Create, folder, 1, Fault::Before(Stored::Unavailable));
        }
    }
    let made = world.builder().config(config.clone()).open().await.expect("the outage ends");
    put(&made, "k", "1").await;
    world.builder().config(config).open().await.expect("it is a store like any other");
}

/// A node's own feed object is dated anew before a refresh shows it: that says nothing of the node's clock.
pub(crate) async fn a_late_feed_object_of_ones_own_measures_no_clock() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", "1").await;
    node.publish().await.unwrap();
    let path = world.memory.paths().into_iter().rfind(|path| path.starts_with("feed/")).unwrap();
    assert!(world.memory.redate(&path, world.store_clock.now() + secs(40)));
    // It doubts the date, and cannot ask the store for its time now.
    world.storage.fail(Operation::Create, "epochs/clock/", 1, Fault::Before(Stored::Unavailable));
    node.refresh().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "2").unwrap();
    tx.commit().await.expect("its clock is as right as before");
    node.publish().await.unwrap();
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("2"));
}
