//! The decision register, where the answers of the store mislead. `tests/register.rs` has every doubt in one table.

use std::time::UNIX_EPOCH;

use aft_core::{Aft, Begin, CommitOutcome, ErrorKind, Outcome, Storage, Transaction, TxnId};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::{secs, tell_the_time};

async fn transaction(node: &Aft) -> Transaction {
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    tx
}

/// 15: `cancel` and `outcome` after the decision was collected. Whether the id committed is not recorded any more: nobody may say
/// that it did not, and an abort must not be written in the place of a commit.
pub(crate) async fn h15_a_collected_decision_is_forgotten_and_a_cancel_writes_nothing() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let id = put(&node, "k", "v").await.txn_id();
    node.publish().await.unwrap();
    sleep(secs(60 * 60)).await;
    collect(&world).await;
    // Only the store's own clock says how old it is: it must have been seen.
    tell_the_time(&node).await;
    other.refresh().await.unwrap();
    world.storage.reset();
    assert_eq!(other.cancel(id).await.unwrap(), Outcome::Forgotten, "what was collected is forgotten");
    assert_eq!(other.outcome(id).await.unwrap(), Outcome::Forgotten);
    assert_eq!(world.storage.counts().creates, 0);
}

/// 15, on a node that has not heard for an hour how late it is, so that it takes the id for undecided: the abort that it writes is
/// dated by the store, and says how late it was.
pub(crate) async fn h15_a_cancel_that_comes_too_late_to_know_anything_says_so() {
    let world = World::new();
    let (node, asleep) = (world.node().await, world.node().await);
    let id = put(&node, "k", "v").await.txn_id();
    node.publish().await.unwrap();
    sleep(secs(60 * 60)).await;
    collect(&world).await;
    assert_eq!(asleep.cancel(id).await.unwrap(), Outcome::Forgotten, "what was collected is forgotten");
    // The abort is there now, and fools nobody.
    for node in [world.node().await, asleep] {
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Forgotten);
        assert_eq!(node.cancel(id).await.unwrap(), Outcome::Forgotten);
    }
}

/// What garbage collection does to old decisions, and to the feed objects that told of them.
async fn collect(world: &World) {
    let requests = world.storage.requests();
    let tells = |path: &str| path.starts_with("commits/") || path.starts_with("feed/");
    let is_decision = |it: &&aft_memory::Request| it.operation == Operation::Create && tells(&it.path);
    let old: Vec<_> = requests.iter().filter(is_decision).map(|it| it.path.clone()).collect();
    world.memory.delete(&old).await.unwrap();
}

/// 16, for a decision: the client library retries a create inside, and reports "already exists" for its own success: the maker must
/// not think that it lost.
pub(crate) async fn h16_a_commit_that_is_told_it_exists_already_knows_its_own() {
    let world = World::new();
    let node = world.node().await;
    world.storage.fail(Operation::Create, "commits/", 1, Fault::After(Stored::AlreadyExists));
    let commit = transaction(&node).await.commit().await.unwrap();
    assert_eq!(commit.outcome, CommitOutcome::Fresh, "it was this attempt that committed");
}

/// 16's mirror: "already exists", and nothing was written.
pub(crate) async fn h16_a_conflict_without_effect_is_no_success() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(Stored::AlreadyExists));
    let id = transaction(&node).await.commit().await.unwrap().receipt.txn_id();
    let outcome = other.outcome(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }), "what is acknowledged is committed: {outcome:?}");
}

/// 16's sibling, and the reason why "not found" settles nothing: the create lands after its sender was told "unknown" and after
/// the read-back found nothing.
pub(crate) async fn h16_a_decision_that_was_not_found_may_still_land() {
    let world = World::new();
    let node = world.node().await;
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let read_back = world.storage.fail(Operation::Get, "commits/", 1, Fault::After(Stored::NotFound));
    let landing = async {
        read_back.reached().await;
        ghost.release().await.unwrap();
    };
    let (commit, ()) = tokio::join!(transaction(&node).await.commit(), landing);
    assert_eq!(commit.expect("what lands is this attempt's commit").outcome, CommitOutcome::Fresh);
}

/// 16, the other way round: what is there is another attempt's, and one's own writes never happened.
pub(crate) async fn h16_another_attempts_decision_is_not_ones_own() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let id = a.new_txn_id();
    let mut fresh = 0;
    for node in [&a, &b] {
        let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
        tx.put("k", "v").unwrap();
        fresh += u32::from(tx.commit().await.unwrap().outcome == CommitOutcome::Fresh);
    }
    assert_eq!(fresh, 1, "one attempt commits");
}

/// The abort of an id from the far future would stay until its time comes: only it keeps the id from committing then. So none is made.
pub(crate) async fn an_id_of_the_far_future_is_not_cancelled() {
    let world = World::new();
    let node = world.node().await;
    let before = world.memory.len();
    let id = TxnId::for_request(UNIX_EPOCH + secs(281_474_976_710), b"in the year 10889");
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
    let cancelled = node.cancel(id).await.map_err(|error| error.kind());
    assert_eq!(cancelled, Err(ErrorKind::ClockSkew), "an id of the far future is refused");
    assert_eq!(world.memory.len(), before);
    // What begin takes can be cancelled.
    let soon = TxnId::for_request(node.new_txn_id().started_at() + secs(10), b"soon");
    assert_eq!(node.cancel(soon).await.unwrap(), Outcome::Aborted);
}

/// A commit that nobody heard of is asked for, on the node that made it and on another. Found by a soak in front of a real server: the client
/// was told that it had committed, began again on the same node, and read what it had overwritten.
pub(crate) async fn a_commit_that_was_told_shows_on_the_node_that_told_it() {
    for by_cancel in [false, true] {
        let world = World::new();
        let (node, other) = (world.node().await, world.node().await);
        put(&node, "k", "old").await;
        world.storage.fail(Operation::Create, "commits/", 1, Fault::After(Stored::Unknown));
        for _ in 0..1000 {
            world.storage.fail(Operation::Get, "commits/", 1, Fault::Before(Stored::Unavailable));
        }
        let mut tx = node.begin().await.unwrap();
        let id = tx.id();
        tx.put("k", "new").unwrap();
        assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        world.storage.reset();
        for node in [node, other] {
            let told = if by_cancel { node.cancel(id).await } else { node.outcome(id).await };
            assert!(matches!(told, Ok(Outcome::Committed { .. })), "{told:?}");
            assert_eq!(get(&node, "k").await.as_deref(), Some("new"), "what was told to be committed shows");
        }
    }
}
