//! Clocks that are wrong, and clocks that stop.

use aft_core::{Begin, Config, ErrorKind, Outcome};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::advance;

use crate::{node_with_clock, secs};

/// 10: Both clocks of a machine stop while its decision is under way: the create looks quick, and the decision is void. Where
/// that can happen, every decision must be read back; the second half shows that nothing less finds it.
pub(crate) async fn h10_clocks_that_stop_unnoticed_need_every_decision_read_back() {
    for verify_every_commit in [true, false] {
        let world = World::new();
        let short = Config { commit_deadline: secs(5), verify_every_commit, ..World::config() };
        let clock = world.clock();
        let node = world.builder().config(short).clock(clock.clone()).open().await.unwrap();
        put(&node, "k", "old").await;
        let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
        let mut tx = node.begin().await.unwrap();
        let id = tx.id();
        tx.put("k", "void").unwrap();
        let pause = async {
            held.reached().await;
            advance(secs(20)).await;
            clock.stop_for_ms(20_000);
            held.release().await.unwrap();
        };
        let (commit, ()) = tokio::join!(tx.commit(), pause);
        assert_eq!(
            commit.map_err(|error| error.kind()).err(),
            verify_every_commit.then_some(ErrorKind::Aborted),
            "a void decision is not acknowledged"
        );
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted);
        let other = world.node().await;
        other.sweep().await.unwrap();
        assert_eq!(get(&other, "k").await.as_deref(), Some("old"));
    }
}

/// 14: A fast clock's first decision must not drag every other clock along.
pub(crate) async fn h14_a_clock_an_hour_ahead_cannot_commit_and_drags_nobody_along() {
    let world = World::new();
    let right = world.node().await;
    put(&right, "k", "old").await;
    let clock = world.clock();
    clock.set_skew_ms(3_600_000);
    let fast = world.builder().clock(clock).open().await.unwrap();
    let mut tx = fast.begin().await.unwrap();
    let id = tx.id();
    tx.put("k", "from the future").unwrap();
    let error = tx.commit().await.expect_err("a clock an hour ahead cannot commit");
    assert_eq!(error.kind(), ErrorKind::ClockSkew);
    world.storage.reset();
    let mut tx = fast.begin().await.unwrap();
    tx.put("k", "from the future").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::ClockSkew);
    assert_eq!(world.storage.counts().creates, 0, "it knows its clock and does not even try");

    right.sweep().await.unwrap();
    let before = right.new_txn_id().start_ms();
    let mut tx = right.begin().await.unwrap();
    tx.put("k", "new").unwrap();
    let receipt = tx.commit().await.expect("a right clock commits as before").receipt;
    assert!(receipt.version().clock_ms() < before + 1_000, "{receipt}");
    assert_eq!(right.outcome(id).await.unwrap(), Outcome::Aborted);
    assert_eq!(get(&right, "k").await.as_deref(), Some("new"));
}

/// 14's mirror: a slow clock is told so too, by the dates of other nodes' objects.
pub(crate) async fn h14_a_clock_far_behind_is_told_so() {
    let world = World::new();
    let right = world.node().await;
    put(&right, "k", "old").await;
    right.publish().await.unwrap();
    let clock = world.clock();
    clock.set_skew_ms(-60_000);
    let slow = world.builder().clock(clock.clone()).open().await.unwrap();
    let mut tx = slow.begin().await.unwrap();
    tx.put("k", "late").unwrap();
    let error = tx.commit().await.expect_err("a clock a minute behind cannot commit");
    assert_eq!(error.kind(), ErrorKind::ClockSkew);
    clock.set_skew_ms(-5_000);
    put(&slow, "k", "a little late is fine").await;
    slow.publish().await.unwrap();
    right.refresh().await.unwrap();
    assert_eq!(get(&right, "k").await.as_deref(), Some("a little late is fine"));
}

/// I5 whatever the clocks say: a slow node that read a fast node's commit writes a greater version.
pub(crate) async fn a_slow_node_overwrites_what_it_read_from_a_fast_one() {
    let world = World::new();
    let ((fast, ahead), (slow, behind)) = (node_with_clock(&world).await, node_with_clock(&world).await);
    ahead.set_skew_ms(9_000);
    behind.set_skew_ms(-9_000);
    let first = put(&fast, "k", "first").await;
    let mut tx = slow.begin_with(Begin::new().after(&first)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "first");
    tx.put("k", "second").unwrap();
    let second = tx.commit().await.unwrap().receipt;
    assert!(second.version() > first.version(), "greater than what it read");
    let reader = world.node().await;
    let tx = reader.begin_with(Begin::new().after(&first).after(&second)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "second");
}
