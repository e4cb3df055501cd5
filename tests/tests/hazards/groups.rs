//! Commits that share a decision (HAZARDS 6): nobody takes a member for undecided, and a group stays whole.

use aft_core::{Aft, Config, Outcome, Transaction};
use aft_memory::{ErrorKind, Fault, Operation};
use aft_tests::{World, commit_together, get, put};

use crate::proof::an_hour_passes;

async fn open(world: &World) -> Aft {
    let config = Config { decisions_in_flight: 1, ..World::config() };
    world.builder().config(config).open().await.unwrap()
}

async fn writer(node: &Aft, key: &str, value: &str) -> Transaction {
    let mut tx = node.begin().await.unwrap();
    tx.put(key, value.to_owned()).unwrap();
    tx
}

/// 6: it has no register of its own. Whoever asks for it, or cancels it, is not told that it did not commit.
pub(crate) async fn h06_a_member_of_a_group_is_not_cancelled() {
    let world = World::new();
    let (node, other) = (open(&world).await, world.node().await);
    let txs = vec![writer(&node, "k", "v").await, writer(&node, "l", "v").await];
    let mut commits = commit_together(&world, &node, txs).await;
    let receipt = commits.pop().unwrap().unwrap().receipt;
    for asked in [&node, &other] {
        let told = [asked.outcome(receipt.txn_id()).await, asked.cancel(receipt.txn_id()).await];
        for outcome in told.into_iter().flatten() {
            assert!(matches!(outcome, Outcome::Committed { .. }), "a commit is not denied: {outcome:?}");
        }
    }
    let told = other.cancel(receipt.decided_by()).await.unwrap();
    assert!(matches!(told, Outcome::Committed { .. }), "its group's id says that it committed");
}

/// 6: its id was asked for, so somebody may ask what became of it: it has a decision of its own.
pub(crate) async fn h06_who_was_asked_for_its_id_commits_alone() {
    let world = World::new();
    let (node, other) = (open(&world).await, world.node().await);
    let txs =
        vec![writer(&node, "k", "v").await, writer(&node, "l", "v").await, writer(&node, "m", "v").await];
    let id = txs[1].id();
    for commit in commit_together(&world, &node, txs).await {
        commit.unwrap();
    }
    let outcome = other.outcome(id).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Committed { .. }),
        "whoever was told the id is told what became of it"
    );
}

/// 6: an orphan search asks for the decision of the id that names a value.
pub(crate) async fn h06_values_of_their_own_need_a_decision_of_their_own() {
    let world = World::new();
    let node = open(&world).await;
    let large = "x".repeat(20_000);
    let mut streamed = node.begin().await.unwrap();
    let chunk = bytes::Bytes::from(large.clone());
    streamed.put_stream("m", futures::stream::iter([Ok::<_, std::io::Error>(chunk)])).await.unwrap();
    let txs = vec![writer(&node, "k", &large).await, writer(&node, "l", &large).await, streamed];
    for commit in commit_together(&world, &node, txs).await {
        commit.unwrap();
    }
    node.publish().await.unwrap();
    an_hour_passes(&node).await;
    node.collect_garbage(false).await.unwrap();
    let tx = world.node().await.begin().await.unwrap();
    for key in ["k", "l", "m"] {
        let read = tx.get(key).await;
        assert!(matches!(&read, Ok(Some(_))), "a value that was committed is there: {read:?}");
    }
}

/// A group that does not fit into the rest of a feed object: its node dies after that one, and a sweep takes a decision that any feed object
/// carries for published.
pub(crate) async fn a_group_lies_in_one_feed_object() {
    let world = World::new();
    let node = open(&world).await;
    // Nearly eight MiB that wait.
    for n in 0..32 {
        let mut tx = node.begin().await.unwrap();
        for part in 0..62 {
            tx.put(format!("filler-{n:02}-{part:02}"), vec![b'x'; 4_000]).unwrap();
        }
        tx.commit().await.unwrap();
    }
    let mut txs = Vec::new();
    for n in 0..4 {
        let mut tx = node.begin().await.unwrap();
        for part in 0..25 {
            tx.put(format!("group-{n}-{part}"), vec![b'x'; 4_000]).unwrap();
        }
        txs.push(tx);
    }
    for commit in commit_together(&world, &node, txs).await {
        assert!(commit.unwrap().receipt.txn_id().is_in_group());
    }
    put(&node, "last", "v").await;
    world.storage.fail(Operation::Create, "feed/", 2, Fault::Before(ErrorKind::Denied));
    drop(node.publish().await);
    drop(node);
    world.storage.clear_faults();
    let sweeper = world.node().await;
    sweeper.sweep().await.unwrap();
    let cold = world.node().await;
    for n in 0..4 {
        let read = get(&cold, &format!("group-{n}-24")).await;
        assert!(read.is_some(), "every member of a group is published");
    }
}
