//! The feed heals itself: objects of it that are late, damaged or gone.

use aft_core::{Aft, CheckProblemKind, Clock, ErrorKind, Storage};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, put, write};
use bytes::Bytes;
use tokio::time::sleep;

use crate::{secs, tell_the_time};

/// Longer than any window.
const HOUR: u64 = 3600;

/// The feed objects, oldest first.
fn feed(world: &World) -> Vec<String> {
    world.memory.paths().into_iter().filter(|path| path.starts_with("feed/")).collect()
}

/// Publishes what a node committed; the feed object that carries it.
async fn published(world: &World, node: &Aft) -> String {
    let before = feed(world);
    node.publish().await.unwrap();
    feed(world).into_iter().find(|path| !before.contains(path)).unwrap()
}

/// An hour later: everything is swept, so that no sweep looks back that far.
async fn an_hour_of_sweeps(node: &Aft) {
    sleep(secs(HOUR)).await;
    tell_the_time(node).await;
    node.sweep().await.unwrap();
    // Others believe it by then.
    sleep(secs(60)).await;
    tell_the_time(node).await;
    sleep(secs(1)).await;
}

async fn delete(world: &World, path: &str) {
    world.memory.delete(&[path.to_owned()]).await.unwrap();
}

/// Other bytes in an object, at its old date.
async fn change(world: &World, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let object = world.memory.get(path).await.unwrap();
    let mut bytes = object.bytes.to_vec();
    change(&mut bytes);
    delete(world, path).await;
    world.memory.create(path, Bytes::from(bytes)).await.unwrap();
    assert!(world.memory.redate(path, object.last_modified));
}

/// The problems that a check names.
async fn problems(world: &World) -> Vec<(String, CheckProblemKind)> {
    let report = world.builder().check().await.unwrap();
    report.problems.into_iter().map(|problem| (problem.path, problem.kind)).collect()
}

fn is_lost(problems: &[(String, CheckProblemKind)]) -> bool {
    matches!(problems, [(path, CheckProblemKind::Unpublished)] if path.starts_with("commits/"))
}

/// 24: the store was restored from a copy, or somebody changed its owner: a feed object is dated long after it was made.
pub(crate) async fn h24_what_a_feed_object_with_a_changed_date_tells_is_seen_and_published_again() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "k", "v").await;
    let told = published(&world, &writer).await;
    an_hour_of_sweeps(&writer).await;
    assert!(world.memory.redate(&told, world.store_clock.now()));
    let reader = world.builder().read_only().open().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a published commit is seen");
    let healer = world.node().await;
    assert_eq!(get(&healer, "k").await.as_deref(), Some("v"), "a published commit is seen");
    world.storage.reset();
    healer.refresh().await.unwrap();
    assert_eq!(world.storage.counts().gets, 0, "it is read once");
    healer.sweep().await.unwrap();
    delete(&world, &told).await;
    let other = world.node().await;
    assert_eq!(get(&other, "k").await.as_deref(), Some("v"), "what was told late is published again");
    assert_eq!(other.sweep().await.unwrap().published, 0, "once");
    assert_eq!(problems(&world).await, []);
    sleep(secs(HOUR)).await;
    other.checkpoint().await.unwrap();
    sleep(secs(HOUR)).await;
    other.collect_garbage(false).await.unwrap();
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"), "and folded");
}

/// 24: a late feed object turns up between the sweep of a checkpoint and the moment that it tells of. Whoever began from that checkpoint would
/// look for it neither in the feed nor among the decisions.
pub(crate) async fn h24_a_checkpoint_waits_for_what_was_told_late() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "k", "v").await;
    sleep(secs(HOUR)).await;
    let told = published(&world, &writer).await;
    tell_the_time(&writer).await;
    writer.sweep().await.unwrap();
    // Others believe it by then.
    sleep(secs(34)).await;
    tell_the_time(&writer).await;
    let object = world.memory.get(&told).await.unwrap();
    delete(&world, &told).await;
    let maker = world.node().await;
    assert_eq!(get(&maker, "k").await, None);
    sleep(secs(15)).await;
    let sweeping = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    let meanwhile = async {
        sweeping.reached().await;
        world.memory.create(&told, object.bytes.clone()).await.unwrap();
        sweeping.release().await.unwrap();
    };
    let (made, ()) = tokio::join!(maker.checkpoint(), meanwhile);
    if let Err(error) = made {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        maker.checkpoint().await.unwrap();
    }
    delete(&world, &told).await;
    drop(maker);
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"), "a published commit is seen");
}

/// What a damaged feed object told is in the decisions: one node looks there, and says so to all.
pub(crate) async fn a_damaged_feed_object_is_replaced() {
    let world = World::new();
    let (writer, warm) = (world.node().await, world.node().await);
    put(&writer, "k", "v").await;
    write(&writer, &[("gone", Some("v")), ("l", Some("v"))]).await;
    write(&writer, &[("gone", None)]).await;
    let told = published(&world, &writer).await;
    an_hour_of_sweeps(&writer).await;
    change(&world, &told, |bytes| bytes.truncate(40)).await;
    assert_eq!(problems(&world).await, [(told.clone(), CheckProblemKind::Damaged)]);
    let reader = world.builder().read_only().open().await.unwrap();
    let healer = world.node().await;
    for node in [&reader, &healer, &warm] {
        assert_eq!(get(node, "k").await.as_deref(), Some("v"), "a published commit is seen");
        assert_eq!(get(node, "l").await.as_deref(), Some("v"), "a published commit is seen");
        assert_eq!(get(node, "gone").await, None, "and so is a deletion");
    }
    world.storage.reset();
    let other = world.node().await;
    assert_eq!(get(&other, "k").await.as_deref(), Some("v"));
    let looked = world.storage.requests().iter().any(|it| it.path.starts_with("commits/"));
    assert!(!looked, "one node looks, the others need not");
    assert_eq!(problems(&world).await, [], "another object stands for it");
    sleep(secs(HOUR)).await;
    other.checkpoint().await.unwrap();
    assert_eq!(get(&world.node().await, "l").await.as_deref(), Some("v"), "folded");
    sleep(secs(HOUR)).await;
    other.collect_garbage(false).await.unwrap();
    assert_eq!(problems(&world).await, []);
    assert_eq!(get(&world.node().await, "gone").await, None);
}

/// A damaged feed object may have told of a damaged decision: no node goes on as if nothing had been there, unless it is told to.
pub(crate) async fn a_damaged_feed_object_and_a_damaged_decision_are_not_guessed() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "k", "v").await;
    let lost = put(&writer, "l", "v").await.txn_id().to_string();
    let told = published(&world, &writer).await;
    change(&world, &told, |bytes| bytes.truncate(40)).await;
    let decision = world.memory.paths().into_iter().find(|path| path.ends_with(&lost)).unwrap();
    change(&world, &decision, |bytes| bytes.truncate(40)).await;
    let opened = world.builder().open().await;
    let error = opened.map(|_| ()).expect_err("nobody knows what was committed");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let said = error.to_string();
    assert!(said.contains(&told) && said.contains(&decision) && said.contains("aft sweep --all"), "{said}");
    assert_eq!(get(&writer, "k").await.as_deref(), Some("v"), "whoever knew it before goes on");
    let report = world.builder().sweep_all().await.unwrap();
    assert_eq!(report.unreadable, [decision]);
    let node = world.node().await;
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
    assert_eq!(get(&node, "l").await, None);
}

/// Somebody deleted a feed object after its sweep.
pub(crate) async fn a_commit_whose_feed_object_is_gone_is_named_and_published_again() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "k", "v").await;
    let told = published(&world, &writer).await;
    put(&writer, "dead", "v").await;
    an_hour_of_sweeps(&writer).await;
    delete(&world, &told).await;
    let (node, unpublished) = (world.node().await, world.node().await);
    put(&unpublished, "young", "v").await;
    assert_eq!(get(&node, "k").await, None);
    assert!(is_lost(&problems(&world).await), "a lost commit is named");
    let pending = world.builder().check().await.unwrap().unpublished;
    assert_eq!(pending, 1, "a young commit is the next sweep's business");
    let report = node.sweep_all().await.unwrap();
    assert_eq!((report.published, report.restored, report.is_clean()), (2, 0, true), "{report:?}");
    assert_eq!(node.sweep_all().await.unwrap().published, 0);
    let other = world.node().await;
    assert_eq!(get(&other, "k").await.as_deref(), Some("v"), "a lost commit is published again");
    assert_eq!(problems(&world).await, []);
}

/// A store in which the commit of `k` and `l` is lost: its feed object is gone, and nobody who is left knew it.
async fn lost(world: &World) -> Aft {
    let writer = world.node().await;
    put(&writer, "before", "v").await;
    writer.publish().await.unwrap();
    write(&writer, &[("k", Some("lost")), ("l", Some("lost"))]).await;
    let told = published(world, &writer).await;
    an_hour_of_sweeps(&writer).await;
    delete(world, &told).await;
    world.node().await
}

/// The same after a checkpoint that takes everything of its age for folded.
pub(crate) async fn a_commit_older_than_what_is_settled_is_restored() {
    let world = World::new();
    let node = lost(&world).await;
    put(&node, "l", "newer").await;
    node.run(b"order", async |tx| {
        tx.put("order", "v")?;
        Ok(Bytes::new())
    })
    .await
    .unwrap();
    node.publish().await.unwrap();
    an_hour_of_sweeps(&node).await;
    node.checkpoint().await.unwrap();
    assert!(is_lost(&problems(&world).await), "a lost commit is named");
    let (cold, reader) = (world.node().await, world.node().await);
    let report = cold.sweep_all().await.unwrap();
    assert_eq!((report.published, report.restored, report.is_clean()), (1, 1, true), "{report:?}");
    let is_there = async |node: &Aft| {
        node.refresh().await.unwrap();
        assert_eq!(get(node, "k").await.as_deref(), Some("lost"), "a lost commit is restored");
        assert_eq!(get(node, "l").await.as_deref(), Some("newer"), "and nothing newer is lost");
        assert_eq!(get(node, "order").await.as_deref(), Some("v"));
    };
    for node in [&cold, &reader, &node, &world.node().await] {
        is_there(node).await;
    }
    assert_eq!(problems(&world).await, []);
    reader.checkpoint().await.unwrap();
    is_there(&world.node().await).await;
    for _ in 0..2 {
        an_hour_of_sweeps(&node).await;
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
        is_there(&world.node().await).await;
        assert_eq!(problems(&world).await, []);
        assert_eq!(world.node().await.sweep_all().await.unwrap().published, 0);
    }
}

/// What was lost and restored is older than what is folded, and no row says so: who guards it is not forgotten.
pub(crate) async fn what_was_restored_keeps_its_guards() {
    let world = World::new();
    let node = lost(&world).await;
    put(&node, "l", "newer").await;
    node.publish().await.unwrap();
    an_hour_of_sweeps(&node).await;
    node.checkpoint().await.unwrap();
    sleep(secs(20 * 60)).await;
    node.sweep_all().await.unwrap();
    let mut old = node.begin().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    for tx in [&mut old, &mut tx] {
        assert_eq!(tx.get_guarded("k").await.unwrap().unwrap(), "lost");
        tx.put("k", "after it").unwrap();
    }
    tx.commit().await.unwrap();
    node.collect_garbage(false).await.unwrap();
    let error = old.commit().await.expect_err("an update of what was restored is not lost");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// Checkpoints until no deletion is left in the index: each commit is so much larger than what is there that all is merged.
async fn purge(node: &Aft, keys: usize) {
    for n in 0..keys {
        put(node, &format!("large{n}"), &"x".repeat(8000)).await;
    }
    node.publish().await.unwrap();
    an_hour_of_sweeps(node).await;
    node.checkpoint().await.unwrap();
}

/// 2: a deletion of `k` came after the lost commit, and has left the index.
pub(crate) async fn h02_a_lost_commit_that_may_have_been_deleted_is_only_reported() {
    let world = World::new();
    let node = lost(&world).await;
    write(&node, &[("k", None)]).await;
    node.publish().await.unwrap();
    purge(&node, 1).await;
    purge(&node, 5).await;
    let report = world.node().await.sweep_all().await.unwrap();
    let fresh = world.node().await;
    assert_eq!(get(&fresh, "k").await, None, "a deleted key stays deleted");
    assert_eq!((report.published, report.doubtful.len()), (0, 1), "{report:?}");
    assert_eq!((report.doubtful[0].keys, report.doubtful[0].missing), (2, 2));
    assert!(is_lost(&problems(&world).await));
}

/// 2: a deletion of `k` came after the lost commit, and is settled: the next checkpoint that merges all would let it go, while what is
/// restored is too young for the index.
pub(crate) async fn h02_a_deletion_stays_in_the_index_until_what_it_hides_is_there() {
    let world = World::new();
    let node = lost(&world).await;
    purge(&node, 5).await;
    write(&node, &[("k", None)]).await;
    node.publish().await.unwrap();
    an_hour_of_sweeps(&node).await;
    assert_eq!(node.checkpoint().await.unwrap().tombstones_purged, 0);
    for n in 0..20 {
        put(&node, &format!("larger{n}"), &"x".repeat(8000)).await;
    }
    node.publish().await.unwrap();
    an_hour_of_sweeps(&node).await;
    let report = world.node().await.sweep_all().await.unwrap();
    assert_eq!((report.restored, report.is_clean()), (1, true), "{report:?}");
    for _ in 0..3 {
        assert_eq!(get(&world.node().await, "k").await, None, "a deleted key stays deleted");
        assert_eq!(get(&world.node().await, "l").await.as_deref(), Some("lost"));
        node.checkpoint().await.unwrap();
        assert_eq!(get(&world.node().await, "k").await, None, "a deleted key stays deleted");
        purge(&node, 40).await;
    }
}

/// Whether a lost commit may be published was found out a while ago: a checkpoint may have folded it since and let a deletion go.
pub(crate) async fn a_lost_commit_is_published_at_once_or_not_at_all() {
    let world = World::new();
    let node = lost(&world).await;
    an_hour_of_sweeps(&node).await;
    node.checkpoint().await.unwrap();
    let healer = world.node().await;
    for _ in 0..3 {
        world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    }
    let error = healer.sweep_all().await.expect_err("what was found too long ago is not published");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    world.storage.reset();
    assert_eq!(healer.sweep_all().await.unwrap().restored, 1);
}

/// The feed and the decision both have a small value: where one copy is damaged or gone, the other is read.
pub(crate) async fn a_value_that_the_feed_lost_is_read_from_the_decision() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "k", "v").await;
    let damaged = published(&world, &writer).await;
    put(&writer, "l", "v").await;
    let gone = published(&world, &writer).await;
    change(&world, &damaged, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let reader = world.node().await;
    delete(&world, &gone).await;
    for key in ["k", "l"] {
        assert_eq!(get(&reader, key).await.as_deref(), Some("v"));
    }
    let maker = world.node().await;
    an_hour_of_sweeps(&writer).await;
    maker.checkpoint().await.unwrap();
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"), "the row has it");
}
