//! Clocks that are wrong, and clocks that stop.

use aft_core::{Begin, Config, ErrorKind, Outcome, TxnId};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::{advance, sleep};

use crate::{node_with_clock, secs, tell_the_time};

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
        let other = world.node().await;
        assert_eq!(other.outcome(id).await.unwrap(), Outcome::Aborted);
        // Whoever took it for committed does not deny that, and does not take its word for it either.
        let said = node.outcome(id).await.map_err(|error| error.kind());
        let expected = if verify_every_commit { Ok(Outcome::Aborted) } else { Err(ErrorKind::Corrupt) };
        assert_eq!(said, expected);
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

/// 14's sibling, found by a review: one commit tried while the clock was ahead stopped this node's writes until the time had come (an hour
/// ahead: for an hour), since its version was kept before anybody knew whether the clock was right.
pub(crate) async fn h14_a_clock_that_was_set_right_commits_at_once() {
    for ahead_ms in [12_000, 3_600_000] {
        let world = World::new();
        let (node, clock) = node_with_clock(&world).await;
        clock.set_skew_ms(ahead_ms);
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "from the future").unwrap();
        let id = tx.id();
        assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::ClockSkew);
        clock.set_skew_ms(0);
        advance(secs(1)).await;
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "v").unwrap();
        let receipt = tx.commit().await.expect("a clock that was set right commits").receipt;
        assert!(receipt.version().clock_ms() < id.start_ms());
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted);
        assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
    }
}

/// "Never aborted by others": an id from the near future, which begin takes, is its own transaction's affair. What commits under it in time
/// counts, and later commits are above it.
pub(crate) async fn an_id_from_the_near_future_holds_up_nobody() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", "old").await;
    for (ahead_ms, counts) in [(9_999, false), (8_500, true)] {
        let at = node.new_txn_id().started_at() + std::time::Duration::from_millis(ahead_ms);
        let mut tx = node.begin_with(Begin::new().id(TxnId::for_request(at, b"event"))).await.unwrap();
        tx.put("k", "early").unwrap();
        let early = tx.commit().await.map_err(|error| {
            assert!(error.to_string().contains("its id starts in the future"), "{error}");
            error.kind()
        });
        assert_eq!(early.as_ref().err().copied(), (!counts).then_some(ErrorKind::ClockSkew));
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "unrelated").unwrap();
        let receipt = tx.commit().await.expect("an unrelated transaction commits").receipt;
        let above = early.is_ok_and(|early| early.receipt.version() > receipt.version());
        assert!(!above, "a later commit is above what counts");
        assert_eq!(get(&node, "k").await.as_deref(), Some("unrelated"));
    }
}

/// A clock that is an hour ahead commits nothing; but it sweeps, and names its feed objects by that time.
pub(crate) async fn what_a_clock_ahead_publishes_is_folded_like_all_else() {
    let world = World::new();
    let dead = world.node().await;
    put(&dead, "k", "v").await;
    drop(dead);
    let clock = world.clock();
    clock.set_skew_ms(3_600_000);
    let fast = world.builder().clock(clock).open().await.unwrap();
    fast.sweep().await.unwrap();
    drop(fast);
    sleep(secs(1_100)).await;
    let node = world.node().await;
    tell_the_time(&node).await;
    assert!(node.checkpoint().await.unwrap().folded > 0, "a commit is folded when it is old");
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
}
