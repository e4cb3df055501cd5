//! What the store tells of one transaction, one request and the time between two versions: what it says, and what it costs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aft_core::{Aft, Begin, ErrorKind, KeyRange, Outcome, Publication};
use aft_tests::{World, put, write};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);

/// How many requests the node has sent so far: lists, gets, ranged gets and what writes.
fn requests(node: &Aft) -> (u64, u64, u64, u64) {
    let requests = node.stats().requests;
    (requests.lists, requests.gets, requests.range_gets, requests.creates + requests.deletes)
}

#[tokio::test(start_paused = true)]
async fn what_a_transaction_costs_to_look_at_does_not_depend_on_how_many_there_are() {
    for commits in [1, 300] {
        let world = World::new();
        let node = world.node().await;
        let run = node.run("order", async |tx| {
            tx.put("k", "v")?;
            Ok("result".into())
        });
        let receipt = run.await.unwrap().receipt;
        for n in 0..commits {
            put(&node, &format!("other/{n}"), "v").await;
        }
        node.publish().await.unwrap();
        let other = world.builder().read_only().open().await.unwrap();
        let before = requests(&other);
        let told = other.transaction(receipt.txn_id()).await.unwrap();
        let after = requests(&other);
        assert_eq!(after, (before.0, before.1 + 2, before.2, before.3), "the outcome, and the decision");
        assert!(matches!(
            told.publication,
            Some(Publication::Published { since: Some(_), node: Some(_), .. })
        ));
        let decision = told.decision.unwrap();
        assert_eq!(decision.request_key.as_deref(), Some(&b"order"[..]));

        let request = other.request("order").await.unwrap().unwrap();
        let last = requests(&other);
        assert_eq!(last, (after.0 + 1, after.1 + 4, after.2, after.3), "a list, two claims, and the same");
        assert_eq!((request.number, request.transaction.txn_id), (0, receipt.txn_id()));
        assert_eq!(other.request("another").await.unwrap(), None);
        assert_eq!(requests(&other), (last.0 + 1, last.1 + 1, last.2, last.3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_folded_and_one_that_nobody_was_told_of_are_told_apart() {
    let world = World::new();
    let node = world.node().await;
    let run = node.run("kept", async |tx| {
        tx.put("k", "v")?;
        tx.put("l", "v")?;
        Ok("".into())
    });
    let folded = run.await.unwrap().receipt;
    node.publish().await.unwrap();
    put(&node, "l", "newer").await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    put(&node, "clock", "tick").await;
    node.checkpoint().await.unwrap();
    let unpublished = put(&node, "k", "newer").await;
    let other = world.builder().read_only().open().await.unwrap();
    // Asked twice: the first time the node learns of the commit.
    for _ in 0..2 {
        let told = other.transaction(folded.txn_id()).await.unwrap();
        assert_eq!(told.publication, Some(Publication::Folded));
        assert_eq!(told.decision.unwrap().writes.len(), 2);
        let told = other.transaction(unpublished.txn_id()).await.unwrap();
        assert_eq!(told.publication, Some(Publication::Unpublished));
    }
    // Its own node knows no more of one that it has just published than that.
    node.publish().await.unwrap();
    let told = node.transaction(unpublished.txn_id()).await.unwrap();
    assert!(matches!(told.publication, Some(Publication::Published { since: None, .. })), "{told:?}");
    // Long after: that it was published is forgotten, and the index says it.
    for _ in 0..3 {
        sleep(HOUR).await;
        put(&node, "clock", "tick").await;
        node.publish().await.unwrap();
        node.checkpoint().await.unwrap();
    }
    let later = world.builder().read_only().open().await.unwrap();
    let before = requests(&later);
    let told = later.transaction(folded.txn_id()).await.unwrap();
    assert_eq!(told.publication, Some(Publication::Folded));
    assert!(requests(&later).2 > before.2, "two keys in the index");
    let never = other.transaction(node.new_txn_id()).await.unwrap();
    assert_eq!((never.outcome, never.decision, never.publication), (Outcome::Undecided, None, None));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_under_way_is_found_by_its_request_key_and_left_alone() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin_with(Begin::new().request("order")).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.get("k").await.unwrap();
    tx.replay().await.unwrap();
    let other = world.builder().read_only().open().await.unwrap();
    let told = other.request("order").await.unwrap().unwrap();
    assert_eq!((told.transaction.outcome, told.kept_until), (Outcome::Undecided, None));
    let commit = tx.commit().await.unwrap();
    assert_eq!(commit.receipt.txn_id(), told.transaction.txn_id);
    assert_eq!(other.request("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_told_since_the_last_fold_and_what_was_before_comes_from_the_index() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("a", Some("one")), ("b", Some("two")), ("c", Some("three"))]).await;
    let folded = put(&node, "a", "eleven").await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    put(&node, "z", "z").await;
    node.checkpoint().await.unwrap();
    let all = KeyRange::prefix("");
    let now = put(&node, "d", "four").await;
    node.publish().await.unwrap();
    write(&node, &[("a", Some("changed")), ("b", None), ("e", None)]).await;
    put(&node, "d", "fourth").await;
    node.publish().await.unwrap();

    let other = world.builder().read_only().open().await.unwrap();
    let newest = other.store_info().newest.unwrap();
    let changes = other.changes(folded.version(), newest, all.clone()).await.unwrap();
    let short: Vec<_> = changes
        .iter()
        .map(|it| {
            let before = it.before.as_ref().map(|before| before.bytes);
            (std::str::from_utf8(&it.key).unwrap(), before, (!it.after.deleted).then_some(it.after.bytes))
        })
        .collect();
    let expected =
        [("a", Some(6), Some(7)), ("b", Some(3), None), ("d", None, Some(6)), ("z", None, Some(1))];
    assert_eq!(short, expected, "{changes:?}");
    let since = other.changes(now.version(), newest, KeyRange::prefix("d")).await.unwrap();
    assert_eq!((since.len(), since[0].before.as_ref().map(|it| it.version)), (1, Some(now.version())));
    assert_eq!(other.changes(newest, newest, all.clone()).await.unwrap(), []);

    // What a fold let go of cannot be told.
    let versions = other.versions("c").await.unwrap();
    let error = other.changes(versions[0].version, newest, all).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::VersionUnavailable);
    assert!(error.to_string().contains(&folded.version().to_string()), "it says since when: {error}");
}

#[tokio::test(start_paused = true)]
async fn the_value_of_an_older_version_is_there_while_the_store_has_it() {
    use futures::TryStreamExt;

    let world = World::new();
    let node = world.node().await;
    let mut written = Vec::new();
    for value in ["folded".into(), vec![7; 100_000], vec![8; 100]] {
        let mut tx = node.begin().await.unwrap();
        tx.put("k", value.clone()).unwrap();
        written.push((tx.commit().await.unwrap().receipt.version(), value));
        node.publish().await.unwrap();
        if written.len() == 1 {
            sleep(HOUR).await;
            put(&node, "clock", "tick").await;
            node.checkpoint().await.unwrap();
        }
    }
    let deleted = write(&node, &[("k", None)]).await;
    node.publish().await.unwrap();
    let other = world.builder().read_only().open().await.unwrap();
    for (version, value) in written {
        let stream = other.value_at("k", version).await.unwrap().unwrap();
        assert_eq!(stream.len(), value.len() as u64);
        assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap().concat(), value);
        let error = other.value_at("other", version).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::VersionUnavailable, "it is one of another key");
    }
    assert!(other.value_at("k", deleted.version()).await.unwrap().is_none());
}
