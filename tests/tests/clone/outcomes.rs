//! What a clone remembers of requests and transactions.

use aft_core::planted::Planted;
use aft_core::{Begin, CommitOutcome, Outcome};
use aft_memory::{Fault, Operation};
use aft_tests::{holds_unless, write};
use tokio::time::sleep;

use super::*;

/// Finished requests, old and young, are replayed by the clone; so are transactions under a caller's id; what was aborted stays so.
async fn finished_requests_are_replayed() {
    let world = World::new();
    let node = store(&world).await;
    let mut by_id = node.begin().await.unwrap();
    by_id.put("by-id", "1").unwrap();
    let id = by_id.commit().await.unwrap().receipt.txn_id();
    let mut given_up = node.begin_with(Begin::new().request("given up")).await.unwrap();
    given_up.put("never", "1").unwrap();
    given_up.replay().await.unwrap();
    let aborted = given_up.id();
    given_up.abort().await.unwrap();
    let place = Place::new(&world);
    let report = place.clone_of(&node).await;
    assert!(report.claims_copied == 3 && report.left_out.is_empty(), "{report:?}");
    // Long after: by their dates the copies would be late.
    sleep(OLD).await;
    let clone = place.open(&world).await;
    for (key, result) in [("old", "first"), ("young", "second")] {
        let replayed = (CommitOutcome::Replayed, Some(Bytes::from(result)));
        assert_eq!(request(&clone, key, "again").await, replayed, "{key} is finished");
    }
    assert_eq!(clone.outcome(aborted).await.unwrap(), Outcome::Aborted);
    let Outcome::Committed { receipt, .. } = clone.outcome(id).await.unwrap() else {
        panic!("a young transaction's outcome is known");
    };
    assert_eq!(receipt.txn_id(), id);
    assert_eq!(request(&clone, "given up", "now").await.0, CommitOutcome::Fresh);
    // The source knows nothing of that.
    assert_eq!(request(&node, "given up", "later").await.1, Some(Bytes::from("later")));
    assert_eq!(request(&clone, "given up", "again").await.1, Some(Bytes::from("now")));
}

#[test]
fn a_request_that_was_finished_is_replayed_by_a_clone() {
    holds_unless(finished_requests_are_replayed, &[(Planted::JudgeCopiesByDate, "old is finished")]);
}

/// A decision that came too late is void on the source. On a clone, where dates say nothing about copies, it must stay so.
async fn what_is_void_stays_void() {
    let world = World::new();
    let (node, late) = (store(&world).await, world.node().await);
    let mut tx = late.begin().await.unwrap();
    tx.put("late", "1").unwrap();
    let id = tx.id();
    let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let dying = tokio::spawn(tx.commit());
    held.reached().await;
    dying.abort();
    // It takes effect long after its version was taken.
    sleep(Duration::from_secs(200)).await;
    let _ = held.release().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Aborted);
    let place = Place::new(&world);
    place.clone_of(&node).await;
    let clone = place.open(&world).await;
    assert_eq!(clone.outcome(id).await.unwrap(), Outcome::Aborted, "void stays void");
    clone.sweep().await.unwrap();
    assert!(!content(&clone).await.contains_key(&b"late"[..]));
}

#[test]
fn a_void_decision_is_void_in_a_clone() {
    holds_unless(what_is_void_stays_void, &[(Planted::CloneVoidAsItIs, "void stays void")]);
}

/// A request that is finished while the clone is made is either in it with all that it wrote, or not at all.
async fn an_outcome_has_what_it_wrote() {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    // The moment is taken by then, and outcomes are not.
    let gate = place.storage.fail(Operation::List, "commits/", 1, Fault::Delay);
    let cloning = {
        let (node, storage) = (node.clone(), place.storage.clone());
        tokio::spawn(async move { node.clone_to(Arc::new(storage), CloneOptions::default()).await })
    };
    gate.reached().await;
    request(&node, "meanwhile", "done").await;
    let _ = gate.release().await;
    cloning.await.unwrap().unwrap();
    let clone = place.open(&world).await;
    assert!(!content(&clone).await.contains_key(&b"done-meanwhile"[..]));
    assert_eq!(request(&clone, "meanwhile", "anew").await.0, CommitOutcome::Fresh, "it was never done here");
    assert!(content(&clone).await.contains_key(&b"done-meanwhile"[..]));
}

#[test]
fn what_is_finished_meanwhile_is_not_half_in_a_clone() {
    holds_unless(an_outcome_has_what_it_wrote, &[(Planted::CloneLaterOutcomes, "it was never done here")]);
}

/// A request key that was forgotten by the source and claimed anew: the claim has the same name and length, and says something else.
async fn a_request_that_is_new_again() {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    place.clone_of(&node).await;
    for _ in 0..3 {
        sleep(24 * OLD).await;
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    assert!(!world.memory.paths().iter().any(|path| path.starts_with("requests/")));
    assert_eq!(request(&node, "old", "anew").await.0, CommitOutcome::Fresh);
    let report = place.clone_of(&node).await;
    assert!(report.deleted > 0, "{report:?}");
    let clone = place.open(&world).await;
    let replayed = (CommitOutcome::Replayed, Some(Bytes::from("anew")));
    assert_eq!(request(&clone, "old", "?").await, replayed, "the newest run of it");
    assert_eq!(
        request(&clone, "young", "anew").await.0,
        CommitOutcome::Fresh,
        "forgotten there, forgotten here"
    );
    assert_eq!(place.content(&world).await.len(), content(&node).await.len());
}

#[test]
fn a_request_key_that_was_claimed_anew_is_cloned_anew() {
    holds_unless(a_request_that_is_new_again, &[(Planted::CloneClaimsByName, "the newest run of it")]);
}

/// A second clone asks nothing about what is old and there.
#[tokio::test(start_paused = true)]
async fn old_outcomes_are_not_read_again() {
    let world = World::new();
    let node = store(&world).await;
    for n in 0..50 {
        request(&node, &format!("r{n}"), "1").await;
    }
    let place = Place::new(&world);
    let first = place.clone_of(&node).await;
    assert_eq!((first.claims_copied, first.claims_kept), (52, 0));
    sleep(OLD).await;
    write(&node, &[("a", Some("1"))]).await;
    place.clone_of(&node).await;
    sleep(OLD).await;
    world.storage.reset();
    let third = place.clone_of(&node).await;
    assert_eq!((third.claims_copied, third.claims_kept, third.decisions_copied), (0, 52, 0));
    let asked = world.storage.take();
    let asked = asked.iter().filter(|it| it.operation == Operation::Get).count();
    assert!(asked < 12, "{asked} gets");
    let clone = place.open(&world).await;
    assert_eq!(request(&clone, "r7", "again").await.0, CommitOutcome::Replayed);
}
