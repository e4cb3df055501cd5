//! Closing a node.

use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put};

use super::*;

/// A node is closed while the decision of a commit is on its way. Whoever is told that it committed need not wait for a sweep.
pub async fn a_commit_under_way_while_its_node_is_closed_is_published() {
    for background in [false, true] {
        let world = World::new();
        let config = aft_core::Config { background, ..World::config() };
        let node = world.builder().config(config).open().await.unwrap();
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "v").unwrap();
        let gate = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
        let close = async {
            gate.reached().await;
            node.close().await.unwrap();
            gate.release().await.unwrap();
        };
        let (commit, ()) = tokio::join!(tx.commit(), close);
        commit.unwrap();
        assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"), "an acked commit is published");
    }
}

/// A node is closed while a transaction still uploads: it is not decided any more.
pub async fn a_commit_that_is_not_decided_yet_is_none_once_its_node_is_closed() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    let gate = world.storage.fail(Operation::Create, "values/", 1, Fault::Delay);
    tx.put("k", vec![1; 20_000]).unwrap();
    let id = tx.id();
    let close = async {
        gate.reached().await;
        node.close().await.unwrap();
        gate.release().await.unwrap();
    };
    let (commit, ()) = tokio::join!(tx.commit(), close);
    let refused = commit.map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(ErrorKind::Closed), "nothing is decided on a closed node");
    assert_eq!(world.node().await.outcome(id).await.unwrap(), Outcome::Undecided);
}

/// Closing failed, since the feed could not be written. Closing again publishes what is left.
pub async fn closing_again_publishes_what_is_left() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", "v").await;
    for _ in 0..100 {
        world.storage.fail(Operation::Create, "feed/", 1, Fault::Before(Stored::Unavailable));
    }
    node.close().await.expect_err("the feed cannot be written");
    node.close().await.expect_err("closing again tries again");
    world.storage.clear_faults();
    node.close().await.unwrap();
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"));
}
