//! What comes too late does not count.

use aft_core::{ErrorKind, Outcome};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::{secs, tell_the_time};

/// 4: Expiry was checked, then came a long upload, then the version was taken. Broken, the commit is acknowledged, and void.
pub(crate) async fn h04_a_long_upload_cannot_carry_a_commit_past_its_lifetime() {
    let world = World::new();
    let node = world.node().await;
    let upload = world.storage.fail(Operation::Create, "values/", 1, Fault::Delay);
    // What the opening measured of the clock is too old when it matters; the decision below is read back and measures it anew.
    sleep(secs(20)).await;
    let mut tx = node.begin().await.unwrap();
    let id = tx.id();
    sleep(secs(15 * 60 - 10)).await;
    // Its clock is verified: nothing but the check itself keeps the commit from being acknowledged.
    tell_the_time(&node).await;
    node.refresh().await.unwrap();
    tx.put("k", vec![0; 100_000]).unwrap();
    let late = async {
        upload.reached().await;
        sleep(secs(20)).await;
        upload.release().await.unwrap();
    };
    let (commit, ()) = tokio::join!(tx.commit(), late);
    let error = commit.expect_err("an expired transaction cannot commit");
    assert_eq!(error.kind(), ErrorKind::Expired);
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
}

/// 4, the other half: the version was taken in time, and then the create took too long. Every node must judge it void, its
/// maker too.
pub(crate) async fn h04_a_decision_that_lands_past_the_deadline_is_void_for_everyone() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    put(&node, "k", "old").await;
    // The request is under way for longer than a request may be: its sender hears "unknown", and it lands at 66 s.
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    for _ in 0..1000 {
        world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(Stored::Unavailable));
    }
    let mut tx = node.begin().await.unwrap();
    let id = tx.id();
    tx.put("k", "void").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    world.storage.reset();
    sleep(secs(5)).await;
    ghost.release().await.unwrap();
    for node in [&node, &other] {
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted, "void for every node");
    }
    let report = other.sweep().await.unwrap();
    assert_eq!((report.published, report.dead), (1, 1));
    assert_eq!(get(&other, "k").await.as_deref(), Some("old"));
}
