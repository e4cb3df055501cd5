//! Stores that were copied, or whose dates were changed, are made whole by adopting them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aft_core::{Aft, Begin, Clock, CommitOutcome, Config, ErrorKind, Outcome, Storage, TxnId, Unpublished};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, put, write};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3600);

/// Dates everything anew, as a copy does.
fn copy(world: &World) {
    let now = world.store_clock.now();
    for path in world.memory.paths() {
        assert!(world.memory.redate(&path, now));
    }
}

async fn request(node: &Aft, key: &[u8], value: &'static str) -> CommitOutcome {
    let run = node
        .run(key, async move |tx| {
            tx.put("requested", value)?;
            Ok(value.into())
        })
        .await
        .unwrap();
    assert_eq!(run.result, "first", "a finished request has one result");
    run.outcome
}

/// A store with everything in it: folded and young commits, deletions, large values, requests finished and aborted, garbage.
async fn lively(world: &World) -> (TxnId, TxnId) {
    let node = world.node().await;
    write(&node, &[("a", Some("1")), ("gone", Some("1"))]).await;
    put(&node, "large", &"x".repeat(20_000)).await;
    assert_eq!(request(&node, b"order", "first").await, CommitOutcome::Fresh);
    let aborted = node.new_txn_id();
    node.cancel(aborted).await.unwrap();
    write(&node, &[("gone", None)]).await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    put(&node, "other", "1").await;
    node.publish().await.unwrap();
    node.checkpoint().await.unwrap();
    let young = node.new_txn_id();
    let mut tx = node.begin_with(Begin::new().id(young)).await.unwrap();
    tx.put("young", "1").unwrap();
    tx.commit().await.unwrap();
    node.close().await.unwrap();
    sleep(Duration::from_secs(300)).await;
    (young, aborted)
}

async fn is_whole(world: &World, young: TxnId) {
    let node = world.node().await;
    let keys = ["a", "gone", "large", "other", "young", "requested"];
    let mut found = Vec::new();
    for key in keys {
        found.push(get(&node, key).await.map(|value| value.len()));
    }
    assert_eq!(found, [Some(1), None, Some(20_000), Some(1), Some(1), Some(5)]);
    assert_eq!(request(&node, b"order", "second").await, CommitOutcome::Replayed);
    // Once it is folded its decision is collected.
    assert!(matches!(node.outcome(young).await.unwrap(), Outcome::Committed { .. } | Outcome::Forgotten));
    node.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_copy_is_refused_until_it_is_adopted_and_whole_from_then_on() {
    let world = World::new();
    let (young, aborted) = lively(&world).await;
    is_whole(&world, young).await;
    copy(&world);
    assert_eq!(world.builder().open().await.unwrap_err().kind(), ErrorKind::DatesChanged);
    let report = world.builder().adopt(Unpublished::Refuse).await.unwrap();
    assert!(report.adopted && report.unpublished.is_empty(), "{report:?}");
    is_whole(&world, young).await;
    let check = world.builder().check().await.unwrap();
    assert!(check.is_clean(), "{check:?}");
    // It lives on: checkpoints, collections, and an adoption of what was copied again.
    for _ in 0..3 {
        sleep(HOUR).await;
        let node = world.node().await;
        put(&node, "other", "2").await;
        node.publish().await.unwrap();
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
        assert!(!matches!(node.outcome(aborted).await.unwrap(), Outcome::Committed { .. }));
        node.close().await.unwrap();
        is_whole(&world, young).await;
    }
    copy(&world);
    assert!(world.builder().adopt(Unpublished::Refuse).await.unwrap().adopted);
    is_whole(&world, young).await;
}

#[tokio::test(start_paused = true)]
async fn what_nobody_published_is_for_a_person_to_say() {
    for (unpublished, expected) in [(Unpublished::Commit, Some("1")), (Unpublished::Abort, None)] {
        let world = World::new();
        let node = world.node().await;
        put(&node, "k", "0").await;
        node.publish().await.unwrap();
        let id = node.new_txn_id();
        let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
        tx.put("lost", "1").unwrap();
        tx.commit().await.unwrap();
        // Its process dies before it publishes.
        drop(node);
        sleep(Duration::from_secs(300)).await;
        copy(&world);
        let before = world.memory.paths();
        let report = world.builder().adopt(Unpublished::Refuse).await.unwrap();
        assert_eq!((report.adopted, &*report.unpublished), (false, &[id][..]));
        assert_eq!(world.memory.paths(), before);
        assert_eq!(world.builder().open().await.unwrap_err().kind(), ErrorKind::DatesChanged);
        assert!(world.builder().adopt(unpublished).await.unwrap().adopted);
        let node = world.node().await;
        node.sweep().await.unwrap();
        assert_eq!(get(&node, "lost").await.as_deref(), expected);
        assert_eq!(get(&node, "k").await.as_deref(), Some("0"));
        let committed = matches!(node.outcome(id).await.unwrap(), Outcome::Committed { .. });
        assert_eq!(committed, expected.is_some());
    }
}

/// Every request of an adoption may be its last; it can be called again.
#[tokio::test(start_paused = true)]
async fn an_adoption_may_be_interrupted_anywhere() {
    for operation in [Operation::Create, Operation::Delete] {
        for nth in 1..4 {
            let world = World::new();
            let (young, _) = lively(&world).await;
            copy(&world);
            world.storage.fail(operation, "", nth, Fault::Before(aft_memory::ErrorKind::Denied));
            let _ = world.builder().adopt(Unpublished::Refuse).await;
            world.storage.clear_faults();
            if world.memory.get("aft.json").await.is_err() {
                let refused = world.builder().open().await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
            }
            assert!(world.builder().adopt(Unpublished::Refuse).await.unwrap().adopted, "{operation:?} {nth}");
            is_whole(&world, young).await;
        }
    }
}

/// The marker of an adopted store says when it is made, however long that takes.
#[tokio::test(start_paused = true)]
async fn an_adoption_outlasts_an_outage() {
    let world = World::new();
    let two = Duration::from_secs(2);
    let config = Config { max_clock_skew: two, visibility_delay: two, ..World::config() };
    let node = world.builder().config(config.clone()).open().await.unwrap();
    put(&node, "k", "1").await;
    node.close().await.unwrap();
    sleep(HOUR).await;
    copy(&world);
    // The first create is the proof that the store refuses it.
    for _ in 0..13 {
        world.storage.fail(
            Operation::Create,
            "aft.json",
            2,
            Fault::Before(aft_memory::ErrorKind::Unavailable),
        );
    }
    assert!(world.builder().adopt(Unpublished::Refuse).await.unwrap().adopted);
    let node = world.builder().config(config).open().await.expect("it is whole");
    assert_eq!(get(&node, "k").await.as_deref(), Some("1"));
}

/// With aft.json gone no new store is made over what is left of the old one.
#[tokio::test(start_paused = true)]
async fn a_store_without_its_marker_is_not_made_anew() {
    let world = World::new();
    let (young, _) = lively(&world).await;
    // Everything is folded and collected: no decision is left.
    for _ in 0..2 {
        sleep(26 * HOUR).await;
        let node = world.node().await;
        node.sweep().await.unwrap();
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    let marker = world.memory.get("aft.json").await.unwrap();
    for folder in ["", "commits/", "feed/", "checkpoints/"] {
        let gone: Vec<_> = world
            .memory
            .paths()
            .into_iter()
            .filter(|path| !folder.is_empty() && path.starts_with(folder))
            .collect();
        let saved = futures::future::join_all(gone.iter().map(|path| world.memory.get(path))).await;
        world.memory.delete(&gone).await.unwrap();
        world.memory.delete(&["aft.json".to_owned()]).await.unwrap();
        let refused = world.builder().open().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
        for (path, object) in gone.iter().zip(saved) {
            let object = object.unwrap();
            world.memory.create(path, object.bytes).await.unwrap();
            world.memory.redate(path, object.last_modified);
        }
    }
    world.memory.create("aft.json", marker.bytes).await.unwrap();
    assert_eq!(world.builder().open().await.unwrap_err().kind(), ErrorKind::DatesChanged);
    assert!(world.builder().adopt(Unpublished::Refuse).await.unwrap().adopted);
    let node = world.node().await;
    assert_eq!(get(&node, "young").await.as_deref(), Some("1"), "{young}");
}
