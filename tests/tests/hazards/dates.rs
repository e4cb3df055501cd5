//! The store's clock, as different interfaces tell it.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Outcome};
use aft_memory::{Faults, SimulatedStorage};
use aft_tests::World;
use tokio::time::sleep;

use crate::{die_committing, secs};

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
