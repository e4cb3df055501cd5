//! The decision register under lost, late and lying answers: never a lost ack, never a guess (I1, I2, I10).

use std::time::Duration;

use aft_core::{Begin, CommitOutcome, ErrorKind, Outcome};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{DOUBTS, World, get, put};

/// One line is one scenario: what the create of the decision meets, and what its read-back meets. In all of them the commit
/// must be acknowledged once, and be there.
#[tokio::test(start_paused = true)]
async fn every_doubt_about_a_create_is_settled() {
    for doubt in DOUBTS {
        let story = doubt.story;
        let world = World::new();
        let (node, other) = (world.node().await, world.node().await);
        doubt.script(&world.storage, "commits/");
        let mut tx = node.begin().await.unwrap();
        let id = tx.id();
        tx.put("k", "v").unwrap();
        let commit = tx.commit().await.unwrap_or_else(|error| panic!("{story}: {error}"));
        assert_eq!(commit.outcome, CommitOutcome::Fresh, "{story}");
        assert_eq!(commit.receipt.txn_id(), id, "{story}");
        node.publish().await.unwrap();
        other.refresh().await.unwrap();
        assert_eq!(get(&other, "k").await.as_deref(), Some("v"), "{story}");
        assert!(matches!(other.outcome(id).await.unwrap(), Outcome::Committed { .. }), "{story}");
    }
}

/// HAZARDS 16's sibling, and the reason why "not found" settles nothing: the create lands after its sender was told "unknown" and
/// after the read-back found nothing.
#[tokio::test(start_paused = true)]
async fn a_ghost_that_lands_after_not_found_is_still_this_attempts_commit() {
    let world = World::new();
    let node = world.node().await;
    // The ghost of the first create lands before the second one, or after it.
    for ghost_first in [false, true] {
        let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
        let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
        let mut tx = node.begin().await.unwrap();
        tx.put("k", format!("{ghost_first}")).unwrap();
        let release = async {
            held.reached().await;
            if ghost_first {
                let _ = ghost.release().await;
            }
            held.release().await.unwrap();
        };
        let (commit, ()) = tokio::join!(tx.commit(), release);
        assert_eq!(commit.unwrap().outcome, CommitOutcome::Fresh);
        let _ = ghost.release().await;
        assert_eq!(get(&node, "k").await, Some(format!("{ghost_first}")));
    }
}

#[tokio::test(start_paused = true)]
async fn what_stays_unknown_is_said_to_be_unknown_and_can_be_settled_later() {
    let world = World::new();
    let node = world.node().await;
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    for _ in 0..1000 {
        world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(Stored::Unavailable));
    }
    let mut tx = node.begin().await.unwrap();
    let id = tx.id();
    tx.put("k", "v").unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::OutcomeUnknown, Some(id)));
    world.storage.reset();
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
    assert_eq!(node.cancel(id).await.unwrap(), Outcome::Aborted);
    ghost.release().await.unwrap_err();
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted);
    assert_eq!(get(&node, "k").await, None);
}

#[tokio::test(start_paused = true)]
async fn nothing_written_is_told_apart_from_unknown() {
    let world = World::new();
    let node = world.node().await;
    for (stored, expected) in [
        (Stored::Unavailable, ErrorKind::Unavailable),
        (Stored::Denied, ErrorKind::Denied),
        (Stored::Invalid, ErrorKind::Unsupported),
    ] {
        for _ in 0..100 {
            world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(stored));
        }
        let mut tx = node.begin().await.unwrap();
        let id = tx.id();
        tx.put("k", "v").unwrap();
        let error = tx.commit().await.unwrap_err();
        assert_eq!((error.kind(), error.txn_id()), (expected, Some(id)));
        world.storage.reset();
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
    }
    put(&node, "k", "after").await;
    assert_eq!(get(&node, "k").await.as_deref(), Some("after"));
}

#[tokio::test(start_paused = true)]
async fn one_id_commits_once_whoever_races_and_the_loser_learns_the_winners_result() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let id = a.new_txn_id();
    let attempt = |node: aft_core::Aft, name: &'static str| async move {
        let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
        tx.put("k", name).unwrap();
        tx.put(format!("only-{name}"), vec![1; 20_000]).unwrap();
        tx.set_result(name).unwrap();
        tx.commit().await.unwrap()
    };
    let (first, second) = tokio::join!(attempt(a.clone(), "a"), attempt(b.clone(), "b"));
    let third = attempt(world.node().await, "c").await;
    let fresh: Vec<_> =
        [&first, &second, &third].iter().map(|it| it.outcome == CommitOutcome::Fresh).collect();
    assert_eq!(fresh.iter().filter(|fresh| **fresh).count(), 1);
    assert_eq!((&first.receipt, &first.result), (&second.receipt, &second.result));
    assert_eq!((&first.receipt, &first.result), (&third.receipt, &third.result));
    let winner = String::from_utf8(first.result.unwrap().to_vec()).unwrap();
    let node = world.node().await;
    let tx = node.begin_with(Begin::new().after(&first.receipt)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), winner);
    let rows = tx.scan_prefix("only-").await.unwrap();
    assert_eq!(rows.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(), [format!("only-{winner}")]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_of_a_shared_id_fences_every_other_attempt() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let id = a.new_txn_id();
    let mut slow = b.begin_with(Begin::new().id(id)).await.unwrap();
    slow.put("k", "v").unwrap();
    assert_eq!(a.begin_with(Begin::new().id(id)).await.unwrap().abort().await.unwrap(), Outcome::Aborted);
    assert_eq!(slow.commit().await.unwrap_err().kind(), ErrorKind::Aborted);
    assert_eq!(a.outcome(id).await.unwrap(), Outcome::Aborted);

    // And the other way round: what is committed cannot be given up any more.
    let id = a.new_txn_id();
    let mut tx = a.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    let late = b.begin_with(Begin::new().id(id)).await.unwrap();
    assert!(matches!(late.abort().await.unwrap(), Outcome::Committed { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_expired_id_is_replayed_where_it_committed_and_refused_where_not() {
    let world = World::new();
    let node = world.node().await;
    let (done, never) = (node.new_txn_id(), node.new_txn_id());
    let mut tx = node.begin_with(Begin::new().id(done)).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.set_result("r").unwrap();
    tx.commit().await.unwrap();
    tokio::time::advance(Duration::from_secs(15 * 60 + 1)).await;
    let tx = node.begin_with(Begin::new().id(done)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap_err().kind(), ErrorKind::Expired);
    let commit = tx.commit().await.unwrap();
    assert_eq!((commit.outcome, commit.result.as_deref()), (CommitOutcome::Replayed, Some(&b"r"[..])));
    let error = node.begin_with(Begin::new().id(never)).await.unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::Expired, Some(never)));
}

/// HAZARDS 15: what is asked about an id after it can no longer be known.
#[tokio::test(start_paused = true)]
async fn an_old_undecided_id_is_forgotten_and_a_cancel_writes_nothing() {
    let world = World::new();
    let node = world.node().await;
    let id = node.new_txn_id();
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
    tokio::time::advance(Duration::from_secs(20 * 60)).await;
    // Only the store's own clock says so: it must have been seen.
    put(&node, "k", "v").await;
    node.publish().await.unwrap();
    node.refresh().await.unwrap();
    world.storage.reset();
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Forgotten);
    assert_eq!(node.cancel(id).await.unwrap(), Outcome::Forgotten);
    assert_eq!(world.storage.counts().creates, 0);
}
