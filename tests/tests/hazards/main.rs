//! Executions that broke earlier drafts of the design, by their number in the list of hazards.

use std::time::Duration;

use aft_core::{Begin, Config, ErrorKind, Outcome};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::{advance, sleep};

/// 4: Expiry was checked, then came a long upload, then the version was taken.
#[tokio::test(start_paused = true)]
async fn h04_a_long_upload_cannot_carry_a_commit_past_its_lifetime() {
    let world = World::new();
    let node = world.node().await;
    let upload = world.storage.fail(Operation::Create, "values/", 1, Fault::Delay);
    let mut tx = node.begin().await.unwrap();
    let id = tx.id();
    sleep(Duration::from_secs(15 * 60 - 10)).await;
    tx.put("k", vec![0; 100_000]).unwrap();
    let late = async {
        upload.reached().await;
        sleep(Duration::from_secs(20)).await;
        upload.release().await.unwrap();
    };
    let (commit, ()) = tokio::join!(tx.commit(), late);
    assert_eq!(commit.unwrap_err().kind(), ErrorKind::Expired);
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
}

/// 4, the other half: the version was taken in time, and then the create took too long. Every node must judge it void, its
/// maker too.
#[tokio::test(start_paused = true)]
async fn h04_a_decision_that_lands_past_the_deadline_is_void_for_everyone() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    put(&node, "k", "old").await;
    // The request is under way for longer than a request may be: its sender hears "unknown", and it lands at 61 s.
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    for _ in 0..1000 {
        world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(Stored::Unavailable));
    }
    let mut tx = node.begin().await.unwrap();
    let id = tx.id();
    tx.put("k", "void").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    world.storage.reset();
    sleep(Duration::from_secs(5)).await;
    ghost.release().await.unwrap();
    for node in [&node, &other] {
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted);
    }
    let report = other.sweep().await.unwrap();
    assert_eq!((report.published, report.dead), (1, 1));
    assert_eq!(get(&other, "k").await.as_deref(), Some("old"));
}

/// 10: Both clocks of a machine stop while its decision is under way: the create looks quick, and the decision is void. Where
/// that can happen, every decision must be read back; the second half shows that nothing less finds it.
#[tokio::test(start_paused = true)]
async fn h10_clocks_that_stop_unnoticed_need_every_decision_read_back() {
    for verify_every_commit in [true, false] {
        let world = World::new();
        let short =
            Config { commit_deadline: Duration::from_secs(5), verify_every_commit, ..World::config() };
        let clock = world.clock();
        let node = world.builder().config(short).clock(clock.clone()).open().await.unwrap();
        put(&node, "k", "old").await;
        let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
        let mut tx = node.begin().await.unwrap();
        let id = tx.id();
        tx.put("k", "void").unwrap();
        let pause = async {
            held.reached().await;
            advance(Duration::from_secs(20)).await;
            clock.stop_for_ms(20_000);
            held.release().await.unwrap();
        };
        let (commit, ()) = tokio::join!(tx.commit(), pause);
        assert_eq!(
            commit.map_err(|error| error.kind()).err(),
            verify_every_commit.then_some(ErrorKind::Aborted)
        );
        assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted);
        let other = world.node().await;
        other.sweep().await.unwrap();
        assert_eq!(get(&other, "k").await.as_deref(), Some("old"));
    }
}

/// 14: A fast clock's first decision must not drag every other clock along.
#[tokio::test(start_paused = true)]
async fn h14_a_clock_an_hour_ahead_cannot_commit_and_drags_nobody_along() {
    let world = World::new();
    let right = world.node().await;
    put(&right, "k", "old").await;
    let clock = world.clock();
    clock.set_skew_ms(3_600_000);
    let fast = world.builder().clock(clock).open().await.unwrap();
    let mut tx = fast.begin().await.unwrap();
    let id = tx.id();
    tx.put("k", "from the future").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::ClockSkew);
    // Now it knows its clock, and does not even try.
    world.storage.reset();
    let mut tx = fast.begin().await.unwrap();
    tx.put("k", "from the future").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::ClockSkew);
    assert_eq!(world.storage.counts().creates, 0);

    assert_eq!(right.outcome(id).await.unwrap(), Outcome::Aborted);
    right.sweep().await.unwrap();
    let before = right.new_txn_id().start_ms();
    let receipt = put(&right, "k", "new").await;
    assert!(receipt.version().clock_ms() < before + 1_000, "{receipt}");
    assert_eq!(get(&right, "k").await.as_deref(), Some("new"));
}

/// 14's mirror: a slow clock is told so too, by the dates of other nodes' objects.
#[tokio::test(start_paused = true)]
async fn h14_a_clock_far_behind_is_told_so() {
    let world = World::new();
    let right = world.node().await;
    put(&right, "k", "old").await;
    right.publish().await.unwrap();
    let clock = world.clock();
    clock.set_skew_ms(-60_000);
    let slow = world.builder().clock(clock.clone()).open().await.unwrap();
    let mut tx = slow.begin().await.unwrap();
    tx.put("k", "late").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::ClockSkew);
    clock.set_skew_ms(-5_000);
    put(&slow, "k", "a little late is fine").await;
    slow.publish().await.unwrap();
    right.refresh().await.unwrap();
    assert_eq!(get(&right, "k").await.as_deref(), Some("a little late is fine"));
}

/// I5 whatever the clocks say: a slow node that read a fast node's commit writes a greater version.
#[tokio::test(start_paused = true)]
async fn a_slow_node_overwrites_what_it_read_from_a_fast_one() {
    let world = World::new();
    let clocks = [9_000, -9_000].map(|skew| {
        let clock = world.clock();
        clock.set_skew_ms(skew);
        clock
    });
    let fast = world.builder().clock(clocks[0].clone()).open().await.unwrap();
    let slow = world.builder().clock(clocks[1].clone()).open().await.unwrap();
    let first = put(&fast, "k", "first").await;
    let mut tx = slow.begin_with(Begin::new().after(&first)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "first");
    tx.put("k", "second").unwrap();
    let second = tx.commit().await.unwrap().receipt;
    assert!(second.version() > first.version());
    let reader = world.node().await;
    let mut tx = reader.begin_with(Begin::new().after(&first).after(&second)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "second");
}

/// 20: A superseder that turned out void must not have pruned what it would have overwritten.
#[tokio::test(start_paused = true)]
async fn h20_a_void_commit_prunes_nothing() {
    let world = World::new();
    let clock = world.clock();
    let node = world.builder().clock(clock.clone()).open().await.unwrap();
    put(&node, "k", "good").await;
    clock.set_skew_ms(3_600_000);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "void").unwrap();
    tx.commit().await.unwrap_err();
    clock.set_skew_ms(0);
    node.publish().await.unwrap();
    let other = world.node().await;
    assert_eq!(get(&other, "k").await.as_deref(), Some("good"));
}

/// 20: a commit carried twice, by its maker and by a sweep, is one.
#[tokio::test(start_paused = true)]
async fn h20_a_commit_carried_twice_is_one() {
    let world = World::new();
    let (a, b, c) = (world.node().await, world.node().await, world.node().await);
    put(&a, "k", "v").await;
    assert_eq!(b.sweep().await.unwrap().published, 1);
    a.publish().await.unwrap();
    c.refresh().await.unwrap();
    assert_eq!(c.stats().recent_commits, 1);
    assert_eq!(get(&c, "k").await.as_deref(), Some("v"));
}

/// 21: what is decided while a sweep lists is not claimed to have been swept.
#[tokio::test(start_paused = true)]
async fn h21_a_commit_made_while_a_sweep_lists_is_found_by_the_next() {
    let world = World::new();
    let (sweeper, dying) = (world.node().await, world.node().await);
    put(&sweeper, "other", "v").await;
    sleep(Duration::from_secs(2)).await;
    let mut held = Vec::new();
    for shard in 0..16 {
        held.push(world.storage.fail(Operation::List, &format!("commits/{shard:x}/"), 1, Fault::Delay));
    }
    let meanwhile = async {
        for gate in &held {
            gate.reached().await;
        }
        // Whether a listing shows it is its own matter; that one of two sweeps does is ours.
        let put = put(&dying, "k", "v").await;
        for gate in &held {
            gate.release().await.unwrap();
        }
        put
    };
    let (report, _) = tokio::join!(sweeper.sweep(), meanwhile);
    let report = report.unwrap();
    drop(dying);
    sleep(Duration::from_secs(20 * 60)).await;
    put(&sweeper, "other", "w").await;
    let second = sweeper.sweep().await.unwrap();
    assert_eq!(report.published + second.published, 1, "found by the one or the other, never by neither");
    let reader = world.node().await;
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"));
}

/// 22, through a node: what arrives between two reads cannot tear them.
#[tokio::test(start_paused = true)]
async fn h22_commits_that_arrive_between_reads_tear_nothing() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let both = |value: &'static str| {
        let writer = writer.clone();
        async move {
            let mut tx = writer.begin().await.unwrap();
            tx.put("k", value).unwrap();
            tx.put("l", value).unwrap();
            tx.commit().await.unwrap();
            writer.publish().await.unwrap();
        }
    };
    let mut absent = reader.begin().await.unwrap();
    assert_eq!(absent.get("k").await.unwrap(), None);
    let mut scanned = reader.begin().await.unwrap();
    assert!(scanned.scan("j".."kz").await.unwrap().is_empty());
    both("1").await;
    reader.refresh().await.unwrap();
    assert_eq!(absent.get("l").await.unwrap(), None, "k was read absent");
    assert_eq!(scanned.get("l").await.unwrap(), None, "k was scanned absent");

    let mut own = reader.begin().await.unwrap();
    assert_eq!(own.get("k").await.unwrap().unwrap(), "1");
    own.put("k", "mine").unwrap();
    both("2").await;
    reader.refresh().await.unwrap();
    assert_eq!(own.get("k").await.unwrap().unwrap(), "mine");
    assert_eq!(own.get("l").await.unwrap().unwrap(), "1", "k was read at the first commit");
}
