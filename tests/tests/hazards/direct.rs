//! Decisions that lie in the feed: each is one object, which decides and publishes at once. Where it is void it is so for all, and where
//! it is all that tells of a commit it is looked for, kept and asked as a decision is.

use aft_core::planted::Planted;
use aft_core::{Aft, Begin, Config, ErrorKind, Outcome, Storage};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, holds_unless, put};
use tokio::time::sleep;

use crate::proof::{an_hour_passes, hiding, under};
use crate::secs;

/// The planted bugs that these cases find.
pub(crate) const FOUND: [Planted; 8] = [
    Planted::DirectIsNeverLate,
    Planted::DirectGoesByAge,
    Planted::SweepsSkipDirect,
    Planted::DirectHasARegister,
    Planted::DirectIsReplaced,
    Planted::LeftToRefreshes,
    Planted::DirectByAnyClock,
    Planted::DirectIsFinal,
];

fn config() -> Config {
    Config { direct_commits: true, feed_interval: secs(1), ..World::config() }
}

async fn open(world: &World) -> Aft {
    world.builder().config(config()).open().await.unwrap()
}

/// The decisions in the feed.
fn direct(world: &World) -> Vec<String> {
    under(world, "feed/").into_iter().filter(|path| path.contains("-8000")).collect()
}

/// Its create took longer than a feed object may: nobody counts it, whoever finds it first and by whichever name.
async fn a_late_one_counts_for_nobody() {
    let world = World::new();
    let (node, other) = (open(&world).await, world.node().await);
    let held = world.storage.fail(Operation::Create, "feed/", 1, Fault::Ghost);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "late").unwrap();
    let commit = tokio::spawn(tx.commit());
    held.reached().await;
    commit.abort();
    sleep(secs(12)).await;
    let _ = held.release().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let path = direct(&world).pop().expect("it landed");
    other.refresh().await.unwrap();
    put(&other, "l", "v").await;
    other.publish().await.unwrap();
    other.sweep().await.unwrap();
    for reader in [&other, &open(&world).await] {
        assert_eq!(get(reader, "k").await, None, "what is void is not read");
    }
    assert!(world.memory.paths().contains(&path), "and nobody has made it anew");
}

/// The maker of a checkpoint was never shown it, nor was whoever collects: it stays, and a look over all decisions brings it back.
async fn one_that_nobody_was_shown_stays() {
    let world = World::new();
    let (node, (hidden, maker)) = (open(&world).await, hiding(&world));
    let maker = maker.config(config()).open().await.unwrap();
    put(&node, "k", "v").await;
    let path = direct(&world).pop().expect("it is in the feed");
    node.close().await.unwrap();
    hidden.hide(&[&path]);
    for _ in 0..4 {
        an_hour_passes(&maker).await;
        assert!(maker.checkpoint().await.unwrap().made);
    }
    // To the collector it is shown, by now.
    hidden.hide(&[]);
    let report = maker.check().await.unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.path == path),
        "a check names what is lost: {report:?}"
    );
    an_hour_passes(&maker).await;
    maker.collect_garbage(false).await.unwrap();
    assert!(world.memory.paths().contains(&path), "the last copy of a commit stays");
    assert_eq!(maker.sweep_all().await.unwrap().published, 1);
    assert_eq!(get(&maker, "k").await.as_deref(), Some("v"));
}

/// A listing lacked it for so long that refreshes list it no more: the next sweep finds it like any decision.
async fn a_sweep_finds_one_that_refreshes_were_not_shown() {
    let world = World::new();
    let (node, (hidden, reader)) = (open(&world).await, hiding(&world));
    let reader = reader.open().await.unwrap();
    put(&node, "k", "v").await;
    hidden.hide(&[&direct(&world).pop().expect("it is in the feed")]);
    for n in 0..3 {
        sleep(secs(60)).await;
        put(&node, &format!("other/{n}"), "v").await;
        reader.refresh().await.unwrap();
    }
    hidden.hide(&[]);
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "k").await, None, "no refresh lists it any more");
    reader.sweep().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a sweep has found it");
}

/// Its node was idle for long, and the first listing after that lacks it; the one of the sweep shows it: what that finds is not left to the next refresh,
/// which may lack it as well.
async fn a_sweep_leaves_nothing_to_a_refresh_that_was_not_shown_it() {
    let world = World::new();
    let (node, (hidden, idle)) = (open(&world).await, hiding(&world));
    let idle = idle.open().await.unwrap();
    put(&node, "before", "v").await;
    idle.refresh().await.unwrap();
    sleep(secs(100)).await;
    put(&node, "k", "v").await;
    let path = direct(&world).pop().expect("it is in the feed");
    for n in 0..30 {
        sleep(secs(100)).await;
        put(&node, &format!("after/{n}"), "v").await;
    }
    hidden.hide(&[&path]);
    let first = world.storage.fail(Operation::List, "feed/", 1, Fault::Delay);
    let sweeping = idle.clone();
    let sweep = tokio::spawn(async move { sweeping.sweep().await });
    first.reached().await;
    hidden.hide(&[]);
    first.release().await.unwrap();
    sweep.await.unwrap().unwrap();
    assert_eq!(get(&idle, "k").await.as_deref(), Some("v"), "the sweep has found it");
}

/// A measurement of its clock was wide, since the store was slow: it makes no name that lies too far ahead for a version.
async fn a_wide_measurement_makes_no_void_decision() {
    let world = World::new();
    // Whoever made the store has its clock measured.
    let (_maker, node) = (open(&world).await, open(&world).await);
    for nth in 1..18 {
        world.storage.fail(Operation::Create, "commits/", nth, Fault::Before(Stored::Unavailable));
    }
    let mut tx = node.begin_with(Begin::new().id(node.new_txn_id())).await.unwrap();
    tx.put("slow", "v").unwrap();
    tx.commit().await.unwrap();
    world.storage.clear_faults();
    node.publish().await.unwrap();
    sleep(secs(8)).await;
    let made = direct(&world).len();
    put(&node, "k", "v").await;
    for path in direct(&world).split_off(made) {
        let name_ms = u64::from_str_radix(&path[5..17], 16).unwrap();
        let dated = world.memory.get(&path).await.unwrap().last_modified;
        let dated_ms = dated.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!(name_ms <= dated_ms + 10_000, "it is named by a time that is near");
    }
    node.publish().await.unwrap();
    assert_eq!(get(&open(&world).await, "k").await.as_deref(), Some("v"));
}

/// Its create took longer than a feed object may, and it is read back: it is decided once more, among the others.
async fn one_that_was_too_slow_is_decided_among_the_others() {
    let world = World::new();
    let node = open(&world).await;
    let held = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    let commit = tokio::spawn(tx.commit());
    held.reached().await;
    sleep(secs(12)).await;
    held.release().await.unwrap();
    let receipt = commit.await.unwrap().expect("a slow store makes no commit fail").receipt;
    assert!(!receipt.decided_by().is_direct());
    node.publish().await.unwrap();
    let cold = open(&world).await;
    assert_eq!((get(&cold, "k").await.as_deref(), cold.stats().recent_commits), (Some("v"), 1));
}

/// 6: whoever has its id from an error asks the object in the feed, and what is fenced stays so.
async fn h06_one_that_was_cancelled_never_counts() {
    let world = World::new();
    let (node, other) = (open(&world).await, open(&world).await);
    let held = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    let commit = tokio::spawn(tx.commit());
    held.reached().await;
    let path = world.storage.requests().pop().unwrap().path;
    let id = decision_at(&path);
    assert_eq!(other.outcome(id).await.unwrap(), Outcome::Undecided);
    assert_eq!(other.cancel(id).await.unwrap(), Outcome::Aborted);
    held.release().await.unwrap();
    let error = commit.await.unwrap().expect_err("it was cancelled, and is told so");
    assert_eq!(error.kind(), ErrorKind::Aborted);
    for asked in [&node, &other] {
        assert_eq!(asked.outcome(id).await.unwrap(), Outcome::Aborted);
        asked.refresh().await.unwrap();
        assert_eq!(get(asked, "k").await, None, "what was cancelled is not read");
    }
}

/// Nothing else tells what it committed: nobody begins as if there was nothing, until somebody says so.
async fn a_damaged_one_is_not_passed_over() {
    let world = World::new();
    let node = open(&world).await;
    put(&node, "k", "v").await;
    let path = direct(&world).pop().expect("it is in the feed");
    world.memory.delete(std::slice::from_ref(&path)).await.unwrap();
    world.memory.create(&path, "aft damage".into()).await.unwrap();
    let begun = world.builder().config(config()).open().await;
    let error = begun.expect_err("a commit may be missing");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&path), "{error}");
    // Whoever knows it goes on.
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
}

/// The id of the decision at this path of the feed.
pub(crate) fn decision_at(path: &str) -> aft_core::TxnId {
    let mut parts =
        path.strip_prefix("feed/").unwrap().split('-').map(|part| u128::from_str_radix(part, 16).unwrap());
    let (time, node, seq) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let id = time << 80 | (0x8800 | (seq & 0x7ff)) << 64 | 1 << 63 | node;
    aft_core::TxnId::try_from(id.to_be_bytes()).unwrap()
}

#[test]
fn void_for_all() {
    holds_unless(a_late_one_counts_for_nobody, &[(Planted::DirectIsNeverLate, "what is void is not read")]);
}

#[test]
fn kept_like_a_decision() {
    holds_unless(
        one_that_nobody_was_shown_stays,
        &[(Planted::DirectGoesByAge, "the last copy of a commit stays")],
    );
}

#[test]
fn looked_for_like_a_decision() {
    holds_unless(
        a_sweep_finds_one_that_refreshes_were_not_shown,
        &[(Planted::SweepsSkipDirect, "a sweep has found it")],
    );
}

#[test]
fn asked_like_a_decision() {
    holds_unless(
        h06_one_that_was_cancelled_never_counts,
        &[(Planted::DirectHasARegister, "it was cancelled, and is told so")],
    );
}

#[test]
fn missed_like_a_decision() {
    holds_unless(a_damaged_one_is_not_passed_over, &[(Planted::DirectIsReplaced, "a commit may be missing")]);
}

#[test]
fn not_left_to_a_refresh() {
    holds_unless(
        a_sweep_leaves_nothing_to_a_refresh_that_was_not_shown_it,
        &[(Planted::LeftToRefreshes, "the sweep has found it")],
    );
}

#[test]
fn named_by_a_near_time() {
    holds_unless(
        a_wide_measurement_makes_no_void_decision,
        &[(Planted::DirectByAnyClock, "it is named by a time that is near")],
    );
}

#[test]
fn decided_once_more() {
    holds_unless(
        one_that_was_too_slow_is_decided_among_the_others,
        &[(Planted::DirectIsFinal, "a slow store makes no commit fail")],
    );
}
