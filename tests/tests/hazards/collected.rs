//! What turns up again, or is asked for, after it was folded and collected.

use aft_core::{Aft, Begin, CommitOutcome, Outcome, Storage, Transaction};
use aft_memory::{ErrorKind as Stored, Fault, Gate, Operation};
use aft_tests::{World, get, put, write};
use bytes::Bytes;
use tokio::time::sleep;
use xxhash_rust::xxh3::xxh3_64;

use crate::proof::{an_hour_passes, under};
use crate::{secs, tell_the_time};

/// Longer than any window: what is older is folded by the next checkpoint, and a checkpoint that is older has settled.
const LONG: u64 = 3_600;

/// Folds everything, and collects what that left.
async fn fold_and_collect(world: &World, node: &Aft) {
    for _ in 0..2 {
        sleep(secs(LONG)).await;
        tell_the_time(node).await;
        assert!(node.checkpoint().await.unwrap().made);
    }
    sleep(secs(LONG)).await;
    tell_the_time(node).await;
    node.collect_garbage(false).await.unwrap();
    world.storage.reset();
}

/// 15: the create of a decision was tried twice. Its ghost lands when the decision was folded and collected: it is void, and must not
/// deny what was acknowledged.
pub(crate) async fn h15_the_ghost_of_a_collected_decision_denies_nothing() {
    let world = World::new();
    let node = world.node().await;
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let id = put(&node, "k", "v").await.txn_id();
    node.publish().await.unwrap();
    fold_and_collect(&world, &node).await;
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Forgotten);
    ghost.release().await.unwrap();
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Forgotten, "what was collected is forgotten");
    assert_eq!(node.sweep().await.unwrap().published, 0);
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
}

/// 15, on a node that has not heard for hours how late it is: nobody says of a commit that it is undecided, and may yet come.
pub(crate) async fn h15_a_collected_commit_is_not_undecided() {
    let world = World::new();
    let (node, asleep) = (world.node().await, world.node().await);
    let id = put(&node, "k", "v").await.txn_id();
    node.publish().await.unwrap();
    fold_and_collect(&world, &node).await;
    assert_eq!(asleep.outcome(id).await.unwrap(), Outcome::Forgotten, "a commit is not undecided");
    assert_eq!(asleep.cancel(id).await.unwrap(), Outcome::Forgotten);
    assert_eq!(world.storage.counts().creates, 0, "and no abort is made in its place");
}

/// A token is delivered once more, hours after its transaction committed: what that had read is folded, and a newer version in its
/// place. It is told the outcome all the same.
pub(crate) async fn a_late_retry_of_a_token_learns_the_outcome() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", "1").await;
    let mut tx = node.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    tx.put("l", "1").unwrap();
    let token = tx.suspend().await.unwrap();
    let first = node.resume(&token).await.unwrap().commit().await.unwrap();
    put(&node, "k", "2").await;
    node.publish().await.unwrap();
    sleep(secs(LONG)).await;
    tell_the_time(&node).await;
    node.checkpoint().await.unwrap();
    let cold = world.node().await;
    let again = cold.resume(&token).await.expect("a late retry learns the outcome").commit().await.unwrap();
    assert_eq!((again.outcome, again.receipt), (CommitOutcome::Replayed, first.receipt));
}

/// The same feed object, made at another time.
fn renamed(path: &str, object: &[u8], time_ms: u64) -> (String, Bytes) {
    let varint = |mut n: u64| {
        let mut bytes = Vec::new();
        while n > 0x7f {
            bytes.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    let (time, rest) = path.strip_prefix("feed/").unwrap().split_once('-').unwrap();
    let (old, new) = (varint(u64::from_str_radix(time, 16).unwrap()), varint(time_ms));
    assert!(object[32..].starts_with(&old) && old.len() == new.len());
    let mut object = object.to_vec();
    object[32..32 + new.len()].copy_from_slice(&new);
    let meta = 32 + u32::from_le_bytes(object[8..12].try_into().unwrap()) as usize;
    let sum = xxh3_64(&[&object[..24], &object[32..meta]].concat());
    object[24..32].copy_from_slice(&sum.to_le_bytes());
    (format!("feed/{time_ms:012x}-{rest}"), object.into())
}

/// 20: a commit is published twice, the second time after it was folded, while a transaction that began before it keeps the
/// checkpoint from settling. It stays folded, for whoever saw the first copy and for whoever begins from the checkpoint.
pub(crate) async fn h20_a_copy_of_a_folded_commit_does_not_come_back() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let mut long = node.begin().await.unwrap();
    long.put("long", "v").unwrap();
    sleep(secs(10)).await;
    put(&node, "k", "v").await;
    node.publish().await.unwrap();
    let requests = world.storage.requests();
    let feed = |it: &&aft_memory::Request| it.operation == Operation::Create && it.path.starts_with("feed/");
    let carried = requests.iter().rfind(feed).unwrap().path.clone();
    let copy = world.memory.get(&carried).await.unwrap().bytes;
    sleep(secs(850)).await;
    long.commit().await.unwrap();
    node.publish().await.unwrap();
    sleep(secs(400)).await;
    tell_the_time(&other).await;
    assert_eq!(other.checkpoint().await.unwrap().folded, 1);

    // As a sweep would name it that was slow to publish what it had found.
    let now = other.new_txn_id().start_ms();
    let (path, copy) = renamed(&carried, &copy, now);
    world.memory.create(&path, copy).await.unwrap();
    tell_the_time(&other).await;
    let cold = world.node().await;
    for warm in [&node, &other, &cold] {
        warm.checkpoint().await.unwrap();
        let recent = warm.recent_commits(10);
        let holds = recent.iter().flat_map(|it| &it.writes).any(|(key, _)| key == "k");
        assert!(!holds, "what is folded stays folded: {recent:?}");
    }
    assert_eq!(get(&cold, "k").await.as_deref(), Some("v"));
}

/// A manifest lands so late that the files it names were taken for nobody's: it counts for nobody either.
pub(crate) async fn a_manifest_that_lands_too_late_counts_for_nobody() {
    let world = World::new();
    let (maker, collector) = (world.node().await, world.node().await);
    put(&maker, "k", "v").await;
    maker.publish().await.unwrap();
    sleep(secs(LONG)).await;
    tell_the_time(&collector).await;
    let ghost = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Ghost);
    for _ in 0..100 {
        world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Before(Stored::Unavailable));
    }
    maker.checkpoint().await.expect_err("its manifest does not land");
    world.storage.reset();
    world.storage.clear_faults();
    sleep(secs(LONG)).await;
    tell_the_time(&collector).await;
    collector.collect_garbage(false).await.unwrap();
    ghost.release().await.unwrap();
    let cold = world.node().await;
    assert_eq!(get(&cold, "k").await.as_deref(), Some("v"), "a manifest that is late counts for nobody");
    assert_eq!(cold.stats().checkpoint, 0, "a manifest that is late counts for nobody");
    assert!(collector.checkpoint().await.unwrap().made, "and its number stays taken");
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"));
}

/// 7: an attempt has found that the first claim of its key is an aborted one's, and is about to look for later claims, when all of
/// them are collected, a day after the commit. Another attempt claims the key anew. They must not both commit.
pub(crate) async fn h07_a_claim_is_not_built_on_one_that_was_collected() {
    let world = World::new();
    let (node, slow, quick) = (world.node().await, world.node().await, world.node().await);
    let request = || Begin::new().request("r");
    let mut aborted = node.begin_with(request()).await.unwrap();
    aborted.replay().await.unwrap();
    aborted.abort().await.unwrap();
    let mut tx = node.begin_with(request()).await.unwrap();
    tx.put("k", "1").unwrap();
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    fold_and_collect(&world, &node).await;
    sleep(secs(24 * 3600)).await;
    tell_the_time(&node).await;
    slow.refresh().await.unwrap();
    quick.refresh().await.unwrap();

    let list = world.storage.fail(Operation::List, "requests/", 1, Fault::Delay);
    let collected = async {
        list.reached().await;
        let report = node.collect_garbage(false).await.unwrap();
        assert_eq!(report.classes[&aft_core::GarbageKind::Claims].objects, 2);
        let mut other = quick.begin_with(request()).await.unwrap();
        assert!(other.replay().await.unwrap().is_none(), "a day later it is a new request");
        list.release().await.unwrap();
        other
    };
    let attempt = async {
        let mut tx = slow.begin_with(request()).await.unwrap();
        let claimed = tx.replay().await;
        (tx, claimed)
    };
    let ((mut one, claimed), mut other) = tokio::join!(attempt, collected);
    one.put("k", "2").unwrap();
    other.put("k", "3").unwrap();
    let committed = [one.commit().await.is_ok() && claimed.is_ok(), other.commit().await.is_ok()];
    assert!(committed != [true, true], "one attempt of a request commits");
    assert!(committed[1]);
}

/// The first checkpoint is collected; its manifest lands again, and goes; its list of outcomes stays.
async fn the_first_manifest_lands_again(world: &World, node: &Aft, ghost: &Gate) {
    node.collect_garbage(false).await.unwrap();
    let outcomes = under(world, "outcomes/000000000001-");
    assert_eq!(outcomes.len(), 1);
    ghost.release().await.unwrap();
    node.collect_garbage(false).await.unwrap();
    let checkpoints = under(world, "checkpoints/");
    assert!(!checkpoints.iter().any(|path| path.contains("000000000001")), "{checkpoints:?}");
    assert_eq!(under(world, "outcomes/000000000001-"), outcomes, "a list that counts stays");
}

/// The manifest of a checkpoint was sent twice. The second one lands when the first has gone, as checkpoints do, and it is void: the file of
/// outcomes that bears its number is that of the first, which counted.
pub(crate) async fn a_manifest_that_lands_again_takes_no_list_with_it() {
    let world = World::new();
    let node = world.node().await;
    node.run("request", async |tx: &mut Transaction| {
        tx.put("r", "1")?;
        Ok("done".into())
    })
    .await
    .unwrap();
    node.publish().await.unwrap();
    sleep(secs(LONG)).await;
    tell_the_time(&node).await;
    let ghost = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Ghost);
    for _ in 0..3 {
        assert!(node.checkpoint().await.unwrap().made);
        an_hour_passes(&node).await;
    }
    the_first_manifest_lands_again(&world, &node, &ghost).await;
}

/// The same, where the commit's keys were written anew and one of them deleted since, and the deletion has left the index: nothing in it tells
/// that the commit was folded. But the list of garbage of that checkpoint was worked off.
pub(crate) async fn a_manifest_that_lands_again_takes_no_list_with_it_of_what_was_purged() {
    let world = World::new();
    let node = world.node().await;
    node.run("request", async |tx: &mut Transaction| {
        tx.put("r", "1")?;
        tx.put("s", "1")?;
        Ok("done".into())
    })
    .await
    .unwrap();
    // Without a request key: its decision is garbage once it is folded.
    write(&node, &[("k", Some("1"))]).await;
    node.publish().await.unwrap();
    an_hour_passes(&node).await;
    let ghost = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Ghost);
    assert!(node.checkpoint().await.unwrap().made);
    write(&node, &[("r", None), ("s", Some("22222222222222222222222222222222222222222222"))]).await;
    node.publish().await.unwrap();
    an_hour_passes(&node).await;
    let mut purged = 0;
    for _ in 0..2 {
        purged += node.checkpoint().await.unwrap().tombstones_purged;
        an_hour_passes(&node).await;
    }
    assert_eq!(purged, 1);
    the_first_manifest_lands_again(&world, &node, &ghost).await;
    // So its decision goes in the end, and nothing is reported.
    sleep(secs(26 * LONG)).await;
    an_hour_passes(&node).await;
    for _ in 0..2 {
        let report = node.collect_garbage(false).await.unwrap();
        assert!(report.left_out.is_empty(), "{report:?}");
    }
    assert_eq!(under(&world, "outcomes/000000000001-"), Vec::<String>::new());
}
