//! Sweeps: no commit of a dead node stays unpublished.

use std::time::Duration;

use aft_core::{Aft, Outcome, TxnId};
use aft_memory::{Fault, Gate, Operation};
use aft_tests::{World, get};
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::{die_committing, secs, tell_the_time};

/// A transaction as old as any that commits: it lives for all of D, and its process dies while its decision is on its way.
async fn oldest_transaction(world: &World) -> (TxnId, Gate) {
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    let id = tx.id();
    sleep(node.config().transaction_lifetime).await;
    (id, die_committing(world, tx).await)
}

/// The transaction committed, so another node's next sweep must publish it.
async fn found_by_the_next_sweep(world: &World, id: TxnId, sweeper: &Aft) {
    let outcome = world.node().await.outcome(id).await.unwrap();
    assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    sleep(secs(60)).await;
    sweeper.sweep().await.unwrap();
    let reader = world.node().await;
    let found = get(&reader, "k").await;
    assert_eq!(found.as_deref(), Some("v"), "a committed transaction is found by the next sweep");
}

/// 5, for a decision: it is received at the last moment that counts, C after its version, and visible almost E later, when a sweep
/// has just claimed to know everything up to now.
pub(crate) async fn h05_a_decision_that_becomes_visible_behind_a_sweep_is_found_by_the_next() {
    let world = World::new();
    let (sweeper, other) = (world.node().await, world.node().await);
    let (id, ghost) = oldest_transaction(&world).await;
    let hidden = Duration::from_millis(29_900);
    sleep(secs(60) + hidden).await;
    tell_the_time(&other).await;
    let report = sweeper.sweep().await.unwrap();
    assert_eq!((report.published, report.dead), (0, 0));
    world.release_dated(&ghost, hidden).await;
    found_by_the_next_sweep(&world, id, &sweeper).await;
}

/// 21: `swept_through` taken after the LIST. A decision lands at the last moment that counts, right after a sweep listed its shard;
/// the list of another shard is stuck for a minute of time-outs, and the sweeper hears meanwhile how late it is. Were that
/// claimed, the window of the next sweep would begin after the transaction's start.
pub(crate) async fn h21_what_is_decided_while_a_sweep_lists_is_found_by_the_next() {
    let world = World::new();
    let (sweeper, other) = (world.node().await, world.node().await);
    let (id, ghost) = oldest_transaction(&world).await;
    sleep(secs(58)).await;
    tell_the_time(&other).await;
    sleep(secs(2)).await;

    let shard = id.to_string().pop().unwrap();
    let stuck = format!("commits/{}/", if shard == '0' { '1' } else { '0' });
    let timed_out = [1, 2].map(|_| world.storage.fail(Operation::List, &stuck, 1, Fault::Delay));
    let meanwhile = async {
        timed_out[0].reached().await;
        while !is_listed(&world, &format!("commits/{shard}/")) {
            yield_now().await;
        }
        ghost.release().await.unwrap();
        sleep(secs(55)).await;
        assert!(timed_out[1].is_reached(), "the list is tried again");
        tell_the_time(&other).await;
        sweeper.refresh().await.unwrap();
    };
    let (report, ()) = tokio::join!(sweeper.sweep(), meanwhile);
    assert_eq!(report.unwrap().published, 0, "it landed behind the list of its shard");
    found_by_the_next_sweep(&world, id, &sweeper).await;
}

fn is_listed(world: &World, folder: &str) -> bool {
    let requests = world.storage.requests();
    requests.iter().any(|it| it.operation == Operation::List && it.path == folder && it.result.is_some())
}
