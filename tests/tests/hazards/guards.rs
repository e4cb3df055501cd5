//! Guarded keys: executions in which an update would be lost, or a key be stuck.

use std::sync::Arc;
use std::time::Duration;

use aft_core::planted::Planted;
use aft_core::{Aft, Begin, Config, ErrorKind, Storage};
use aft_memory::{Fault, Operation};
use aft_tests::{WaitingStorage, World, add, holds_unless, put};
use tokio::time::{Instant, sleep};

use crate::proof::{an_hour_passes, under};
use crate::{die_committing, secs, tell_the_time};

/// The planted bugs that these cases find.
pub(crate) const FOUND: [Planted; 11] = [
    Planted::AnyAttemptHolds,
    Planted::ReadersSupersede,
    Planted::OneLifeOfAKey,
    Planted::DeletionsHaveGuards,
    Planted::BlindWritesUnguarded,
    Planted::GuardsGoByAge,
    Planted::ReadersOrderReaders,
    Planted::ConflictWithRead,
    Planted::OneVersionAtATime,
    Planted::ReadersPassWriters,
    Planted::NobodyRests,
];

/// 18: one attempt guards k and dies, and another one of the same id commits without it.
async fn h18_what_another_attempt_guarded_is_free() {
    let world = World::new();
    let (node, dying) = (world.node().await, world.node().await);
    let id = node.new_txn_id();
    let mut tx = dying.begin_with(Begin::new().id(id)).await.unwrap();
    tx.get_guarded("k").await.unwrap();
    tx.put("k", "7").unwrap();
    let ghost = die_committing(&world, tx).await;
    let mut again = node.begin_with(Begin::new().id(id)).await.unwrap();
    // It writes the key as well, but guarded nothing.
    again.put("k", "7").unwrap();
    again.commit().await.unwrap();
    let _ = ghost.release().await;
    let other = world.node().await;
    let mut tx = other.begin().await.unwrap();
    assert_eq!(tx.get_guarded("k").await.unwrap(), None, "it is not published yet");
    tx.put("k", "8").unwrap();
    assert!(tx.commit().await.is_ok(), "nobody who guarded it has written it");
}

/// Who only reads a version does not supersede it.
async fn a_reader_lets_a_writer_pass() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "limit", "10").await;
    let mut reader = node.begin().await.unwrap();
    reader.get_guarded("limit").await.unwrap();
    reader.put("order", "1").unwrap();
    reader.commit().await.unwrap();
    assert_eq!(
        add(&node, "limit").await.map_err(|error| error.kind()),
        Ok(11),
        "a writer comes after readers"
    );
}

/// It is created, deleted, and created again: the first life says nothing of the second.
async fn a_key_is_created_again() {
    let world = World::new();
    let node = world.node().await;
    for life in 0..2 {
        let made = add(&node, "k").await.map_err(|error| error.kind());
        assert_eq!(made, Ok(1), "a key can be created again: {life}");
        node.transact(async |tx| {
            tx.get_guarded("k").await?;
            tx.delete("k")
        })
        .await
        .unwrap();
    }
}

/// It is deleted while it is absent: whoever reads that deletion has lost to nobody.
async fn what_is_absent_is_deleted_and_created() {
    let world = World::new();
    let node = world.node().await;
    for _ in 0..2 {
        node.transact(async |tx| {
            tx.get_guarded("k").await?;
            tx.delete("k")
        })
        .await
        .expect("who reads a deletion has not lost to it");
    }
    assert_eq!(add(&node, "k").await.unwrap(), 1);
}

/// One node writes all the time, and publishes little; another one wants to once.
async fn who_is_behind_catches_up() {
    let world = World::new();
    let (busy, late) = (world.node().await, world.node().await);
    for _ in 0..50 {
        add(&busy, "n").await.unwrap();
    }
    world.storage.reset();
    assert_eq!(add(&late, "n").await.unwrap(), 51);
    let creates = world.storage.counts().creates;
    assert!(creates <= 4, "it learns the newest version at once: {creates}");
}

/// 9: for one of two nodes the deletion of a key has left the index, for the other it has not.
async fn h09_absent_and_deleted_are_one() {
    let world = World::new();
    let (old, maker) = (world.node().await, world.node().await);
    put(&maker, "k", "1").await;
    let mut tx = maker.begin().await.unwrap();
    tx.delete("k").unwrap();
    tx.commit().await.unwrap();
    maker.publish().await.unwrap();
    for _ in 0..3 {
        for _ in 0..6 {
            sleep(secs(600)).await;
            tell_the_time(&maker).await;
            old.refresh().await.unwrap();
        }
        maker.checkpoint().await.unwrap();
    }
    let (mut one, mut two) = (old.begin().await.unwrap(), maker.begin().await.unwrap());
    for tx in [&mut one, &mut two] {
        assert_eq!(tx.get_guarded("k").await.unwrap(), None);
        tx.put("k", "1").unwrap();
    }
    let deleted = one.reads().find(|(key, _)| *key == b"k").unwrap().1;
    let absent = two.reads().find(|(key, _)| *key == b"k").unwrap().1;
    assert!(deleted.is_some() && absent.is_none(), "{deleted:?} {absent:?}");
    one.commit().await.unwrap();
    let second = two.commit().await.map_err(|error| error.kind()).map(|_| ());
    assert_eq!(second, Err(ErrorKind::Conflict), "one of the two creates it");
}

/// A serializable transaction guards what it writes, too.
async fn what_is_written_unread_is_guarded() {
    let world = World::new();
    let node = world.node().await;
    node.transact_with(Begin::new().serializable(), async |tx| tx.put("k", "1")).await.unwrap();
    assert_eq!(under(&world, "guards/").len(), 1, "what it writes is guarded");
}

/// A collection comes while a transaction that guards an old version is about to commit.
async fn the_guards_of_what_is_current_stay() {
    let world = World::new();
    let (node, slow) = (world.node().await, world.node().await);
    assert_eq!(add(&node, "n").await.unwrap(), 1);
    node.publish().await.unwrap();
    for _ in 0..3 {
        an_hour_passes(&node).await;
        node.checkpoint().await.unwrap();
    }
    an_hour_passes(&node).await;
    slow.refresh().await.unwrap();
    let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
    let mut tx = slow.begin().await.unwrap();
    assert_eq!(tx.get_guarded("n").await.unwrap().unwrap(), "1");
    tx.put("n", "2").unwrap();
    let commit = tokio::spawn(tx.commit());
    held.reached().await;
    node.collect_garbage(false).await.unwrap();
    assert_eq!(add(&node, "n").await.unwrap(), 2);
    held.release().await.unwrap();
    let second = commit.await.unwrap().map_err(|error| error.kind()).map(|_| ());
    assert_eq!(second, Err(ErrorKind::Conflict), "an update is not lost");
    // What was superseded long ago is gone.
    node.publish().await.unwrap();
    for _ in 0..4 {
        an_hour_passes(&node).await;
        node.checkpoint().await.unwrap();
    }
    an_hour_passes(&node).await;
    node.collect_garbage(false).await.unwrap();
    let left: Vec<_> =
        under(&world, "guards/").into_iter().filter(|path| !path.contains("/0000000000000000-")).collect();
    assert_eq!(left, Vec::<String>::new());
}

/// Somebody who only read the key died before its decision.
async fn readers_do_not_wait_for_readers() {
    let world = World::new();
    let (node, dying) = (world.node().await, world.node().await);
    put(&node, "limit", "10").await;
    node.publish().await.unwrap();
    dying.refresh().await.unwrap();
    let mut tx = dying.begin().await.unwrap();
    tx.get_guarded("limit").await.unwrap();
    tx.put("order/1", "1").unwrap();
    die_committing(&world, tx).await;
    let mut tx = node.begin().await.unwrap();
    tx.get_guarded("limit").await.unwrap();
    tx.put("order/2", "1").unwrap();
    let began = Instant::now();
    tx.commit().await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "a reader waits for no reader");
}

/// It read a key guarded and did not write it; who did write it was first.
async fn a_reader_of_what_was_superseded_comes_second() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    put(&node, "x", "1").await;
    node.publish().await.unwrap();
    other.refresh().await.unwrap();
    let mut tx = other.begin().await.unwrap();
    tx.get_guarded("x").await.unwrap();
    tx.put("y", "1").unwrap();
    add(&node, "x").await.unwrap();
    let error = tx.commit().await.expect_err("what it read was superseded");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

/// Two clients write one key as fast as they can. The node that has it knows each version first: unless it rests, the other one never has its turn.
async fn who_contends_has_its_turn() {
    let world = World::new();
    let storage: Arc<dyn Storage> =
        Arc::new(WaitingStorage::new(Arc::new(world.storage.clone())).taking(Duration::from_millis(30)));
    let client = async |seed: u64| {
        let config = Config { background: true, ..World::config() };
        let builder = Aft::builder(Arc::clone(&storage)).config(config).clock(world.clock());
        let node = builder.rng_seed(seed).open().await.unwrap();
        let (began, mut commits) = (Instant::now(), 0);
        while began.elapsed() < secs(60) {
            add(&node, "n").await.unwrap();
            commits += 1;
        }
        commits
    };
    let (one, two) = tokio::join!(client(1), client(2));
    assert!(one.min(two) > 100, "each has its turn: {one} and {two} commits");
}

#[test]
fn superseded_under_a_reader() {
    let words = "what it read was superseded";
    holds_unless(a_reader_of_what_was_superseded_comes_second, &[(Planted::ReadersPassWriters, words)]);
}

#[test]
fn contended() {
    holds_unless(who_contends_has_its_turn, &[(Planted::NobodyRests, "each has its turn")]);
}

#[test]
fn held_by_the_attempt_that_won() {
    let words = "nobody who guarded it has written it";
    holds_unless(h18_what_another_attempt_guarded_is_free, &[(Planted::AnyAttemptHolds, words)]);
}

#[test]
fn passed_after_readers() {
    holds_unless(a_reader_lets_a_writer_pass, &[(Planted::ReadersSupersede, "a writer comes after readers")]);
}

#[test]
fn created_again() {
    holds_unless(a_key_is_created_again, &[(Planted::OneLifeOfAKey, "a key can be created again")]);
}

#[test]
fn h09_created_once() {
    holds_unless(
        h09_absent_and_deleted_are_one,
        &[(Planted::DeletionsHaveGuards, "one of the two creates it")],
    );
}

#[test]
fn guarded_where_written() {
    holds_unless(
        what_is_written_unread_is_guarded,
        &[(Planted::BlindWritesUnguarded, "what it writes is guarded")],
    );
}

#[test]
fn kept_while_current() {
    holds_unless(the_guards_of_what_is_current_stay, &[(Planted::GuardsGoByAge, "an update is not lost")]);
}

#[test]
fn shared_by_readers() {
    holds_unless(
        readers_do_not_wait_for_readers,
        &[(Planted::ReadersOrderReaders, "a reader waits for no reader")],
    );
}

#[test]
fn deleted_while_absent() {
    let words = "who reads a deletion has not lost to it";
    holds_unless(what_is_absent_is_deleted_and_created, &[(Planted::ConflictWithRead, words)]);
}

#[test]
fn caught_up_at_once() {
    let words = "it learns the newest version at once";
    holds_unless(who_is_behind_catches_up, &[(Planted::OneVersionAtATime, words)]);
}
