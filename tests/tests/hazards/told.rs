//! A decision that is lost, or dated anew, while something else tells that it was a commit: nobody denies it, and nothing runs twice (I10).

use std::cell::Cell;

use aft_core::{
    Aft, Begin, CheckReport, Clock, CommitOutcome, Error, ErrorKind, Outcome, Storage, Transaction, TxnId,
    Unpublished,
};
use aft_memory::{Fault, Operation};
use aft_tests::{World, put};
use bytes::Bytes;
use tokio::time::sleep;

use crate::{die_committing, secs, tell_the_time};

const LONG: u64 = 3_600;

/// Finishes a request; its transaction.
async fn finish(node: &Aft, key: &'static str) -> TxnId {
    let work = async |tx: &mut Transaction| {
        tx.put(key, "done")?;
        Ok(Bytes::from(key))
    };
    let id = node.run(key, work).await.unwrap().receipt.txn_id();
    node.publish().await.unwrap();
    id
}

/// Delivers the request again. Whether its work ran.
async fn again(node: &Aft, key: &'static str) -> (bool, Result<Bytes, Error>) {
    let ran = Cell::new(false);
    let work = async |_: &mut Transaction| {
        ran.set(true);
        Ok(Bytes::from("a second time"))
    };
    let run = node.run_with(Begin::new().request(key), work).await;
    (ran.get(), run.map(|run| run.result))
}

fn path_of(world: &World, folder: &str, name: &str) -> String {
    let found = |path: &String| path.starts_with(folder) && path.contains(name);
    world.memory.paths().into_iter().find(found).unwrap()
}

fn decision_of(world: &World, id: TxnId) -> String {
    path_of(world, "commits/", &id.to_string())
}

fn names(error: &Error, path: &str) -> bool {
    error.kind() == ErrorKind::Corrupt && error.to_string().contains(path)
}

/// Folds everything that was published.
async fn fold(node: &Aft) {
    sleep(secs(LONG)).await;
    tell_the_time(node).await;
    assert!(node.checkpoint().await.unwrap().made);
}

/// Everything that asks for the outcome says what is wrong, and where.
async fn nobody_denies(node: &Aft, id: TxnId, path: &str) {
    let said = [node.outcome(id).await, node.cancel(id).await];
    for outcome in said {
        let error = outcome.expect_err("a commit that the feed tells is not denied");
        assert!(names(&error, path), "{error}");
        assert_eq!(error.txn_id(), Some(id));
    }
    let (ran, result) = again(node, "order").await;
    assert!(!ran, "a finished request does not run again: {result:?}");
    let error = result.unwrap_err();
    assert!(names(&error, path), "{error}");
}

/// The decision alone is deleted, and it was published seconds ago: for whoever knows the feed it is lost, not undecided.
pub(crate) async fn a_lost_decision_is_not_taken_for_undecided() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let id = finish(&node, "order").await;
    let path = decision_of(&world, id);
    let object = world.memory.get(&path).await.unwrap();
    world.memory.delete(std::slice::from_ref(&path)).await.unwrap();
    sleep(secs(6)).await;
    other.refresh().await.unwrap();
    for node in [&node, &other, &world.node().await] {
        nobody_denies(node, id, &path).await;
    }
    // Nor does another attempt commit where it was.
    let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("order", "another").unwrap();
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(world.memory.get(&path).await.is_err(), "and nothing is made in its place");

    // It is put back; the store dates it anew, and only an adoption passes that.
    sleep(secs(LONG)).await;
    world.memory.create(&path, object.bytes).await.unwrap();
    nobody_denies(&node, id, &path).await;
    node.close().await.unwrap();
    other.close().await.unwrap();
    world.builder().adopt(Unpublished::Refuse).await.unwrap();
    let node = world.node().await;
    assert!(matches!(node.outcome(id).await.unwrap(), Outcome::Committed { .. }));
    let (ran, result) = again(&node, "order").await;
    assert_eq!((ran, &result.unwrap()[..]), (false, &b"order"[..]));
}

/// The decision is dated hours later than it was made: by its date it is void, or says nothing at all.
pub(crate) async fn a_decision_that_was_dated_anew_is_not_taken_for_void() {
    for late in [120, LONG] {
        let world = World::new();
        let node = world.node().await;
        let id = finish(&node, "order").await;
        let path = decision_of(&world, id);
        sleep(secs(late)).await;
        assert!(world.memory.redate(&path, world.store_clock.now()));
        tell_the_time(&node).await;
        nobody_denies(&node, id, &path).await;
    }
}

/// It is folded, and no node holds it any more: a list of outcomes is all that tells that the request was finished.
pub(crate) async fn a_folded_request_whose_decision_is_lost_does_not_run_again() {
    for redate in [false, true] {
        let world = World::new();
        let node = world.node().await;
        let id = finish(&node, "order").await;
        let path = decision_of(&world, id);
        fold(&node).await;
        sleep(secs(LONG)).await;
        if redate {
            assert!(world.memory.redate(&path, world.store_clock.now()));
        } else {
            world.memory.delete(std::slice::from_ref(&path)).await.unwrap();
        }
        for node in [&node, &world.node().await] {
            let (ran, result) = again(node, "order").await;
            assert!(!ran, "a finished request does not run again: {result:?}");
            let error = result.unwrap_err();
            assert!(names(&error, &path) && names(&error, "outcomes/"), "{error}");
        }
        let claims = world.memory.paths().into_iter().filter(|path| path.starts_with("requests/")).count();
        assert_eq!(claims, 1, "and nobody claims it anew");
    }
}

/// A request whose first attempt died before it decided anything, hours ago, runs: no list names that.
pub(crate) async fn a_request_that_died_undecided_runs_after_all() {
    let world = World::new();
    let node = world.node().await;
    finish(&node, "order").await;
    let mut tx = node.begin_with(Begin::new().request("died")).await.unwrap();
    assert!(tx.replay().await.unwrap().is_none());
    drop(tx);
    fold(&node).await;
    sleep(secs(LONG)).await;
    tell_the_time(&node).await;
    // One damaged list does not stop it.
    let list = path_of(&world, "outcomes/", "");
    world.memory.delete(std::slice::from_ref(&list)).await.unwrap();
    world.memory.create(&list, Bytes::from("damage")).await.unwrap();
    let (ran, result) = again(&node, "died").await;
    assert_eq!((ran, &result.unwrap()[..]), (true, &b"a second time"[..]));
    // And once it is finished, nobody looks at the lists any more.
    world.storage.reset();
    let (ran, _) = again(&node, "died").await;
    let lists = world.storage.requests().iter().filter(|it| it.path.starts_with("outcomes/")).count();
    assert_eq!((ran, lists), (false, 0));
}

/// A node that knows a commit sleeps while others fold it and collect its decision: that is no damage.
pub(crate) async fn what_was_collected_while_a_node_slept_is_not_lost() {
    let world = World::new();
    let (node, asleep) = (world.node().await, world.node().await);
    let id = put(&node, "k", "v").await.txn_id();
    node.publish().await.unwrap();
    sleep(secs(6)).await;
    asleep.refresh().await.unwrap();
    assert_eq!(asleep.recent_commits(9).len(), 1, "it knows of the commit");
    fold(&node).await;
    fold(&node).await;
    sleep(secs(LONG)).await;
    tell_the_time(&node).await;
    node.collect_garbage(false).await.unwrap();
    let outcome = asleep.outcome(id).await.expect("what was collected is forgotten");
    assert_eq!(outcome, Outcome::Forgotten);
}

/// A register is asked, and while the answer is on its way another attempt commits: what is told of that is no contradiction.
pub(crate) async fn a_commit_made_while_its_register_was_asked_is_not_lost() {
    let world = World::new();
    let node = world.node().await;
    for asks in ["outcome", "cancel", "replay"] {
        let id = node.new_txn_id();
        let begin = || node.begin_with(Begin::new().id(id));
        let (mut one, mut other) = (begin().await.unwrap(), begin().await.unwrap());
        one.put("k", "1").unwrap();
        let on_its_way = world.storage.fail(Operation::Get, "commits/", 1, Fault::Late);
        let asking = async {
            let outcome = match asks {
                "outcome" => node.outcome(id).await,
                "cancel" => node.cancel(id).await,
                _ => other.replay().await.map(|commit| committed(commit.expect("it is told"))),
            };
            outcome.expect("a commit made meanwhile is not lost")
        };
        let committing = async {
            on_its_way.reached().await;
            let receipt = one.commit().await.unwrap().receipt;
            on_its_way.release().await.unwrap();
            receipt
        };
        let (outcome, receipt) = tokio::join!(asking, committing);
        assert_eq!(outcome, Outcome::Committed { receipt, result: None }, "{asks}");
    }
}

fn committed(commit: aft_core::Commit) -> Outcome {
    Outcome::Committed { receipt: commit.receipt, result: commit.result }
}

/// A request is delivered twice at once. The second delivery looks at the first one's register, which is empty yet, and refreshes; by then
/// the first is finished and published.
pub(crate) async fn a_request_finished_while_another_delivery_refreshed_is_not_lost() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let mut first = node.begin_with(Begin::new().request("order")).await.unwrap();
    first.put("order", "done").unwrap();
    first.set_result("order").unwrap();
    assert!(first.replay().await.unwrap().is_none());
    sleep(secs(6)).await;
    let on_its_way = world.storage.fail(Operation::Get, "commits/", 1, Fault::Late);
    let finishing = async {
        on_its_way.reached().await;
        first.commit().await.unwrap();
        node.publish().await.unwrap();
        other.refresh().await.unwrap();
        on_its_way.release().await.unwrap();
    };
    let ((ran, result), ()) = tokio::join!(again(&other, "order"), finishing);
    let result = result.expect("a request finished meanwhile is not lost");
    assert_eq!((ran, &result[..]), (false, &b"order"[..]));
}

/// The work of an attempt that died while its decision was on its way is not taken for lost: nothing tells of it.
pub(crate) async fn what_nothing_tells_of_is_undecided_as_ever() {
    let world = World::new();
    let node = world.node().await;
    let id = node.new_txn_id();
    let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "v").unwrap();
    let _lost = die_committing(&world, tx).await;
    assert_eq!(node.outcome(id).await.unwrap(), Outcome::Undecided);
    assert_eq!(node.cancel(id).await.unwrap(), Outcome::Aborted);
}

async fn check(world: &World) -> CheckReport {
    world.builder().check().await.unwrap()
}

/// Nothing that is read needs an old decision or a claim, so only a check can miss them.
pub(crate) async fn a_check_misses_what_leads_to_an_outcome() {
    let world = World::new();
    let node = world.node().await;
    let id = finish(&node, "order").await;
    let (decision, claim) = (decision_of(&world, id), path_of(&world, "requests/", ""));
    for folded in [false, true] {
        if folded {
            fold(&node).await;
            sleep(secs(LONG)).await;
            tell_the_time(&node).await;
        }
        let clean = check(&world).await;
        assert!(clean.is_clean(), "{clean:#?}");
        for path in [&decision, &claim] {
            let object = world.memory.get(path).await.unwrap();
            world.memory.delete(std::slice::from_ref(path)).await.unwrap();
            let report = check(&world).await;
            let named: Vec<_> = report.problems.iter().map(|problem| &problem.path).collect();
            let what = if *path == claim { "a lost claim is named" } else { "a lost decision is named" };
            assert_eq!(named, [path], "{what}: {report:#?}");
            world.memory.create(path, object.bytes).await.unwrap();
            let late = check(&world).await;
            // A claim has no date; a decision that was put back is dated too late.
            assert_eq!(
                late.is_clean(),
                *path == claim || !folded,
                "a decision dated anew is named: {late:#?}"
            );
            world.memory.redate(path, object.last_modified);
        }
    }
    let retry = again(&node, "order").await;
    assert_eq!((retry.0, &retry.1.unwrap()[..]), (false, &b"order"[..]));
    // Once all is old enough to be collected, nothing is missed.
    for _ in 0..30 {
        fold(&node).await;
    }
    sleep(secs(LONG)).await;
    tell_the_time(&node).await;
    node.collect_garbage(false).await.unwrap();
    sleep(secs(LONG)).await;
    node.collect_garbage(false).await.unwrap();
    assert!(world.memory.get(&decision).await.is_err() && world.memory.get(&claim).await.is_err());
    let clean = check(&world).await;
    assert!(clean.is_clean(), "{clean:#?}");
    let run = node.run("order", async |_| Ok("anew".into())).await.unwrap();
    assert_eq!(run.outcome, CommitOutcome::Fresh, "and it is forgotten, as promised");
}
