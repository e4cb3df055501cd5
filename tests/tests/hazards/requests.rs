//! Request keys.

use std::collections::BTreeSet;

use aft_core::{Begin, CommitOutcome, ErrorKind, Outcome};
use aft_memory::{ErrorKind as Stored, Fault, Operation};

use super::*;

async fn begin(node: &Aft) -> Transaction {
    node.begin_with(Begin::new().request("order")).await.unwrap()
}

/// HAZARDS 8: a large value that is put before the claim is settled goes up under the id that the claim brings.
pub async fn h08_values_put_before_the_claim_is_settled_are_found() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    begin(&first).await.replay().await.unwrap();
    let mut tx = begin(&second).await;
    tx.put("k", vec![1; 50_000]).unwrap();
    let receipt = tx.commit().await.unwrap().receipt;
    let tx = first.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(
        tx.get("k").await.ok().flatten().map(|value| value.len()),
        Some(50_000),
        "a committed value is there"
    );
}

/// HAZARDS 19: attempts that were given up do not hold their request key, however many they are.
pub async fn h19_an_aborted_attempt_frees_its_request_key() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        let mut tx = begin(&node).await;
        tx.put("k", "given up").unwrap();
        tx.replay().await.unwrap();
        assert!(ids.insert(tx.id()), "an aborted attempt does not hold its request key");
        assert_eq!(tx.abort().await.unwrap(), Outcome::Aborted);
    }
    world.storage.reset();
    let run = other.run("order", async |tx| {
        tx.put("k", "v")?;
        Ok("done".into())
    });
    assert_eq!(run.await.unwrap().outcome, CommitOutcome::Fresh);
    // The first claim is refused, the newest found by one list.
    let counts = world.storage.counts();
    assert_eq!((counts.creates, counts.lists), (3, 1), "however many were given up");
}

/// A request key with another input does not get the result of the first one's, whether that was finished or is still open.
pub async fn a_request_key_answers_one_input_alone() {
    let world = World::new();
    let (one, two) = (world.node().await, world.node().await);
    let of = |input: &str| Begin::new().request("order").input(input);
    let mut open = one.begin_with(of("3 apples")).await.unwrap();
    open.replay().await.unwrap();
    let mut other = two.begin_with(of("9 pears")).await.unwrap();
    let refused = other.replay().await.err().map(|error| (error.kind(), error.txn_id()));
    assert_eq!(refused, Some((ErrorKind::InputMismatch, Some(open.id()))), "while the first is open");
    open.put("k", "3 apples").unwrap();
    open.commit().await.unwrap();
    for input in ["9 pears", ""] {
        let run = two.run_with(of(input), async |_| Ok("ran".into())).await;
        assert_eq!(run.unwrap_err().kind(), ErrorKind::InputMismatch, "{input:?}");
    }
    // The same input, and none, get what there is.
    for begin in [of("3 apples"), Begin::new().request("order")] {
        let run = two.run_with(begin, async |_| Ok("ran".into())).await.unwrap();
        assert_eq!(run.outcome, CommitOutcome::Replayed);
    }
    // A request that was given up was answered to nobody: its key is free.
    let begin = |input: &str| Begin::new().request("given up").input(input);
    one.begin_with(begin("a")).await.unwrap().abort().await.unwrap();
    let run = two.run_with(begin("b"), async |_| Ok("ran".into())).await.unwrap();
    assert_eq!(run.outcome, CommitOutcome::Fresh);
}

/// A closure that leaves another transaction in the place of its own commits neither.
pub async fn run_commits_the_transaction_that_it_gave_to_the_closure() {
    let world = World::new();
    let node = world.node().await;
    let run = node.run("order", async |tx| {
        let mut other = node.begin().await?;
        other.put("k", "of another transaction")?;
        tx.put("k", "v")?;
        std::mem::swap(tx, &mut other);
        Ok("done".into())
    });
    let refused = run.await.err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::InvalidInput), "another transaction is no result of this one");
    let tx = node.begin_with(Begin::new().latest()).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap(), None, "nothing was committed");
    let run = node.run("order", async |tx| {
        tx.put("k", "v")?;
        Ok("done".into())
    });
    assert_eq!(run.await.unwrap().outcome, CommitOutcome::Fresh, "and the request can be run again");
}

/// Two claims of one key: one transaction.
pub async fn a_claim_that_exists_already_is_read() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    let (mut one, mut two) = (begin(&first).await, begin(&second).await);
    one.replay().await.unwrap();
    two.replay().await.unwrap();
    assert_eq!(one.id(), two.id(), "one request is one transaction");
}

/// An attempt that expired undecided, whose decision is still on its way, is fenced before another takes over.
pub async fn an_expired_attempt_is_taken_over_behind_a_fence() {
    let world = World::new();
    let (slow, next) = (world.node().await, world.node().await);
    let mut tx = begin(&slow).await;
    tx.put("k", "slow").unwrap();
    tx.replay().await.unwrap();
    let id = tx.id();
    tokio::time::advance(slow.config().transaction_lifetime - secs(1)).await;
    tell_the_time(&next).await;
    slow.refresh().await.unwrap();
    let ghost = die_committing(&world, tx).await;
    tokio::time::advance(secs(2)).await;
    let run = next.run("order", async |tx| {
        tx.put("k", "next")?;
        Ok("next".into())
    });
    assert_eq!(run.await.unwrap().outcome, CommitOutcome::Fresh);
    let _ = ghost.release().await;
    assert_eq!(next.outcome(id).await.unwrap(), Outcome::Aborted, "one attempt of a request commits");
}

/// A decision that becomes visible just before its id is forgotten, while the answer "there is none" is still on its way to the node that
/// takes over; and when the answer comes, that node knows that the id is forgotten.
pub async fn a_decision_that_lands_while_its_register_is_read_counts() {
    let world = World::new();
    let (slow, next, other) = (world.node().await, world.node().await, world.node().await);
    let mut tx = begin(&slow).await;
    tx.put("k", "slow").unwrap();
    tx.replay().await.unwrap();
    let id = tx.id();
    tokio::time::sleep(secs(898)).await;
    tell_the_time(&other).await;
    slow.refresh().await.unwrap();
    let ghost = die_committing(&world, tx).await;
    // Dated 957 s after the start, within C; visible 29 s later, within E.
    tokio::time::sleep(secs(88)).await;
    let answer = world.storage.fail(Operation::Get, "commits/", 1, Fault::Late);
    let run = next.run("order", async |tx| {
        tx.put("k", "next")?;
        Ok("next".into())
    });
    let meanwhile = async {
        answer.reached().await;
        world.release_dated(&ghost, secs(29)).await;
        tokio::time::sleep(secs(17)).await;
        tell_the_time(&other).await;
        next.refresh().await.unwrap();
        answer.release().await.unwrap();
    };
    let (run, ()) = tokio::join!(run, meanwhile);
    assert!(matches!(other.outcome(id).await.unwrap(), Outcome::Committed { .. }));
    let run = run.unwrap();
    assert_eq!(
        (run.outcome, run.receipt.txn_id()),
        (CommitOutcome::Replayed, id),
        "one attempt of a request commits"
    );
}

/// What `run` could not learn is settled before it reports another failure.
pub async fn a_failure_is_believed_only_once_an_unknown_outcome_is_settled() {
    let world = World::new();
    let node = world.node().await;
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    (0..300).for_each(|_| {
        drop(world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(Stored::Unavailable)))
    });
    let runs = std::cell::Cell::new(0);
    let run = node.run("order", async |tx| {
        runs.set(runs.get() + 1);
        if runs.get() > 1 {
            world.storage.clear_faults();
            return Err(aft_core::Error::application("changed its mind"));
        }
        tx.put("k", "v")?;
        Ok("first".into())
    });
    let failed = run.await.unwrap_err();
    assert_eq!((failed.kind(), runs.get()), (aft_core::ErrorKind::Application, 2));
    assert!(ghost.release().await.is_err(), "a request that failed leaves nothing");
}

/// The first try's decision becomes visible unheard, the second try fails for good, and from then on no try gets as far as the claim: `run` has
/// learned of the commit and cannot replay it.
pub async fn a_commit_that_run_knows_of_is_not_denied() {
    let world = World::new();
    let node = world.node().await;
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let fail = |path, kind| {
        (0..300).for_each(|_| drop(world.storage.fail(Operation::Create, path, 1, Fault::Before(kind))))
    };
    fail("commits/", Stored::Unavailable);
    let runs = std::cell::Cell::new(0);
    let run = node.run("order", async |tx| {
        runs.set(runs.get() + 1);
        if runs.get() > 1 {
            world.storage.clear_faults();
            // Received within the deadline, and visible only now.
            world.release_dated(&ghost, secs(25)).await;
            fail("requests/", Stored::Denied);
            return Err(aft_core::Error::application("changed its mind"));
        }
        tx.put("k", "v")?;
        Ok("first".into())
    });
    let failed = run.await.unwrap_err();
    assert_eq!(
        failed.kind(),
        aft_core::ErrorKind::OutcomeUnknown,
        "nobody may be told that nothing was committed"
    );
}
