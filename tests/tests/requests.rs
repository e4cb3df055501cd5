//! Request keys: one transaction per key, whoever retries, races, gives up or dies (I10); hazards 8 and 19 are in `hazards`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aft_core::{Aft, Begin, CommitOutcome, Error, ErrorKind, Storage, TxnId};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{DOUBTS, World, get};

async fn begin(node: &Aft, key: &str) -> aft_core::Transaction {
    node.begin_with(Begin::new().request(key)).await.unwrap()
}

/// Adds 1 to the counter, and returns what it then is.
async fn count(node: &Aft, key: &str) -> Result<aft_core::Run, Error> {
    node.run(key, async |tx| {
        let old = tx.get("counter").await?.map_or(0, |value| value[0]);
        tx.put("counter", vec![old + 1])?;
        Ok(vec![old + 1].into())
    })
    .await
}

async fn counter(world: &World) -> u8 {
    let node = world.node().await;
    node.sweep().await.unwrap();
    get(&node, "counter").await.map_or(0, |value| value.as_bytes()[0])
}

#[tokio::test(start_paused = true)]
async fn whatever_the_claim_meets_the_request_happens_once() {
    for doubt in DOUBTS {
        let story = doubt.story;
        let world = World::new();
        let (node, other) = (world.node().await, world.node().await);
        doubt.script(&world.storage, "requests/");
        let first = count(&node, "order").await.unwrap_or_else(|error| panic!("{story}: {error}"));
        assert_eq!((first.outcome, &first.result[..]), (CommitOutcome::Fresh, &[1u8][..]), "{story}");
        let second = count(&other, "order").await.unwrap();
        assert_eq!((second.outcome, &second.result[..]), (CommitOutcome::Replayed, &[1u8][..]), "{story}");
        assert_eq!(second.receipt, first.receipt, "{story}");
        assert_eq!(counter(&world).await, 1, "{story}");
    }
}

#[tokio::test(start_paused = true)]
async fn racing_runs_of_one_key_all_return_the_winners_result() {
    let world = World::new();
    let nodes = [world.node().await, world.node().await, world.node().await];
    let run = |n: usize| {
        let node = &nodes[n];
        async move {
            let run = node.run("order", async |tx| {
                tokio::time::sleep(Duration::from_millis(10)).await;
                tx.put(format!("winner/{n}"), "x")?;
                Ok(vec![n as u8].into())
            });
            run.await.unwrap()
        }
    };
    let (a, b, c) = tokio::join!(run(0), run(1), run(2));
    assert!(a.result == b.result && b.result == c.result);
    assert_eq!([a, b, c].iter().filter(|run| run.outcome == CommitOutcome::Fresh).count(), 1);
    let node = world.node().await;
    node.sweep().await.unwrap();
    assert_eq!(node.begin().await.unwrap().scan_prefix("winner/").await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_leaves_nothing_and_can_be_run_again() {
    let world = World::new();
    let node = world.node().await;
    let failed = node
        .run("order", async |tx| {
            tx.put("k", vec![7; 100_000])?;
            Err(Error::application(std::io::Error::other("card declined")))
        })
        .await
        .unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Application);
    assert_eq!(get(&node, "k").await, None);
    assert_eq!(count(&node, "order").await.unwrap().outcome, CommitOutcome::Fresh);
    assert_eq!(counter(&world).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_adopts_the_first_ones_id_and_one_of_them_wins() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    let (mut one, mut two) = (begin(&first, "order").await, begin(&second, "order").await);
    assert!(one.replay().await.unwrap().is_none() && two.replay().await.unwrap().is_none());
    assert_eq!(one.id(), two.id());
    // Large values: uploaded under the adopted id, each attempt's its own (HAZARDS 8).
    one.put("k", vec![1; 50_000]).unwrap();
    two.put("k", vec![2; 50_000]).unwrap();
    two.set_result("two").unwrap();
    let (winner, loser) = (two.commit().await.unwrap(), one.commit().await.unwrap());
    assert_eq!((winner.outcome, loser.outcome), (CommitOutcome::Fresh, CommitOutcome::Replayed));
    assert_eq!(loser.result.as_deref(), Some(&b"two"[..]));
    let tx = first.begin_with(Begin::new().after(&loser.receipt)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), vec![2; 50_000]);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_run_could_not_learn_is_settled_before_another_failure_is_believed() {
    let world = World::new();
    let node = world.node().await;
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    for _ in 0..300 {
        world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(Stored::Unavailable));
    }
    let runs = std::cell::Cell::new(0);
    let run = node.run("order", async |tx| {
        runs.set(runs.get() + 1);
        if runs.get() > 1 {
            world.storage.clear_faults();
            return Err(Error::application(std::io::Error::other("changed its mind")));
        }
        tx.put("k", "v")?;
        Ok("first".into())
    });
    let failed = run.await.unwrap_err();
    assert_eq!((failed.kind(), runs.get()), (ErrorKind::Application, 2));
    // What was believed must stay true: the first run's decision is fenced.
    assert!(ghost.release().await.is_err());
    assert_eq!(get(&node, "k").await, None);
}

#[tokio::test(start_paused = true)]
async fn an_event_makes_its_own_id() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let issued_at = node.new_txn_id().started_at();
    for (who, outcome) in [(&node, CommitOutcome::Fresh), (&other, CommitOutcome::Replayed)] {
        let id = TxnId::for_request(issued_at, b"message-17");
        let mut tx = who.begin_with(Begin::new().id(id)).await.unwrap();
        assert_eq!(tx.replay().await.unwrap().is_some(), outcome == CommitOutcome::Replayed);
        tx.put("k", "v").unwrap();
        assert_eq!(tx.commit().await.unwrap().outcome, outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_runs_after_a_receipt_and_under_a_callers_id() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let first = count(&node, "first").await.unwrap();
    let id = node.new_txn_id();
    let begins =
        [Begin::new().request("second").after(&first.receipt), Begin::new().id(id).after(&first.receipt)];
    for (begin, nth) in begins.into_iter().zip(2u8..) {
        for outcome in [CommitOutcome::Fresh, CommitOutcome::Replayed] {
            let run = other.run_with(begin.clone(), async |tx| {
                let old = tx.get("counter").await?.map_or(0, |value| value[0]);
                tx.put("counter", vec![old + 1])?;
                Ok(vec![old + 1].into())
            });
            let run = run.await.unwrap();
            assert_eq!((run.outcome, &run.result[..]), (outcome, &[nth][..]));
        }
    }
    let dead = node.new_txn_id();
    node.cancel(dead).await.unwrap();
    let run = async |begin| other.run_with(begin, async |_| Ok("".into())).await.unwrap_err().kind();
    assert_eq!(run(Begin::new().id(dead)).await, ErrorKind::Aborted);
    assert_eq!(run(Begin::new()).await, ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn impossible_requests_are_refused() {
    let world = World::new();
    let node = world.node().await;
    let kind = async |begin| node.begin_with(begin).await.unwrap_err().kind();
    assert_eq!(kind(Begin::new().request("")).await, ErrorKind::InvalidInput);
    assert_eq!(kind(Begin::new().request(vec![0; 4097])).await, ErrorKind::InvalidInput);
    assert_eq!(kind(Begin::new().request("k").id(node.new_txn_id())).await, ErrorKind::InvalidInput);
    assert_eq!(kind(Begin::new().input("i")).await, ErrorKind::InvalidInput);
    let read_only = world.builder().read_only().open().await.unwrap();
    let refused = read_only.begin_with(Begin::new().request("k")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_claim_is_reported_and_never_guessed() {
    let world = World::new();
    let node = world.node().await;
    count(&node, "order").await.unwrap();
    let path =
        world.storage.requests().iter().find(|it| it.path.starts_with("requests/")).unwrap().path.clone();
    let mut bytes = world.memory.get(&path).await.unwrap().bytes.to_vec();
    bytes[40] ^= 1;
    world.memory.delete(std::slice::from_ref(&path)).await.unwrap();
    world.memory.create(&path, bytes.into()).await.unwrap();
    let error = count(&node, "order").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&path), "{error}");
}

/// A handler with an error of its own, which does not say that the store is to blame: the transaction remembers.
#[tokio::test(start_paused = true)]
async fn a_handler_that_failed_for_the_stores_sake_runs_again() {
    #[derive(Debug, PartialEq)]
    struct Own(&'static str);
    impl From<Error> for Own {
        fn from(_: Error) -> Self {
            Self("the store")
        }
    }
    let world = World::new();
    let (writer, node) = (world.node().await, world.node().await);
    let mut tx = writer.begin().await.unwrap();
    tx.put("large", vec![7; 100_000]).unwrap();
    tx.put("stock", "0").unwrap();
    tx.commit().await.unwrap();
    writer.publish().await.unwrap();
    node.refresh().await.unwrap();
    // As often as one read tries: the first run fails.
    for nth in 1..=10 {
        world.storage.fail(Operation::Get, "values/", nth, Fault::Before(Stored::Unavailable));
    }
    let runs = &AtomicU32::new(0);
    let count = || runs.fetch_add(1, Ordering::Relaxed);
    let run = node.handle(Begin::new().request("order"), async |tx| {
        count();
        tx.get("large").await?;
        Ok::<_, Own>("read".into())
    });
    assert_eq!(run.await.unwrap().result, "read");
    assert_eq!(runs.swap(0, Ordering::Relaxed), 2, "once more after the store had failed");
    let run = node.handle(Begin::new().request("another"), async |tx| {
        count();
        tx.get("stock").await?;
        Err(Own("sold out"))
    });
    assert_eq!(run.await.unwrap_err(), Own("sold out"));
    assert_eq!(runs.load(Ordering::Relaxed), 1, "its own error is final");
    // Whoever keeps the transaction beyond the run has not finished.
    let kept = &parking_lot::Mutex::new(None);
    let run = node.handle(Begin::new().request("kept"), async |tx| {
        kept.lock().replace(tx);
        Ok::<_, Error>("done".into())
    });
    assert_eq!(run.await.unwrap_err().kind(), ErrorKind::InvalidInput);
}
