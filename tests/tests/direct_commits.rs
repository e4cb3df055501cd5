//! Commits whose decision lies in the feed: what they cost, and that each of them is a commit like any other.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::time::Duration;

use aft_core::{Aft, Begin, Clock, Commit, Config, Error, ErrorKind, Outcome, Receipt, Unpublished};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{DOUBTS, World, get, put};
use tokio::time::sleep;

fn config() -> Config {
    Config { direct_commits: true, feed_interval: Duration::from_secs(1), ..World::config() }
}

async fn open(world: &World) -> Aft {
    world.builder().config(config()).open().await.unwrap()
}

async fn commit(node: &Aft, key: &str) -> Result<Commit, Error> {
    let mut tx = node.begin().await.unwrap();
    tx.put(key, "v").unwrap();
    tx.commit().await
}

fn under(world: &World, folder: &str) -> usize {
    world.memory.paths().iter().filter(|path| path.starts_with(folder)).count()
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_one_create_and_published() {
    let world = World::new();
    let (node, other) = (open(&world).await, open(&world).await);
    commit(&node, "first").await.unwrap();
    sleep(Duration::from_secs(5)).await;
    world.storage.reset();
    let receipt = commit(&node, "k").await.unwrap().receipt;
    let counts = world.storage.counts();
    assert_eq!((counts.creates, counts.requests() - counts.lists), (1, 1), "{counts:?}");
    assert_eq!((node.stats().unpublished, node.stats().direct, node.stats().groups), (0, 2, 0));
    assert_eq!(under(&world, "commits/"), 0);
    world.storage.reset();
    node.close().await.unwrap();
    assert_eq!(world.storage.counts().requests(), 0, "nothing is left to be published");
    other.refresh().await.unwrap();
    assert_eq!(get(&other, "k").await.as_deref(), Some("v"));
    // It is known by its own id, and by that of its decision.
    let decision = receipt.decided_by();
    assert!(decision.is_direct() && receipt.txn_id().is_in_group());
    assert_eq!(receipt.to_string().parse::<Receipt>().unwrap(), receipt);
    for id in [decision, receipt.txn_id()] {
        for told in [other.outcome(id).await.unwrap(), other.cancel(id).await.unwrap()] {
            assert_eq!(told, Outcome::Committed { receipt: receipt.clone(), result: None });
        }
    }
    let refused = other.begin_with(Begin::new().id(decision)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

/// Each is an object that every node reads: a node that commits often has its commits published together.
#[tokio::test(start_paused = true)]
async fn a_busy_node_makes_few() {
    let world = World::new();
    let (node, other) = (open(&world).await, open(&world).await);
    for n in 0..100 {
        commit(&node, &format!("k{n}")).await.unwrap();
        sleep(Duration::from_millis(100)).await;
    }
    node.publish().await.unwrap();
    let stats = node.stats();
    assert!(stats.direct + stats.published <= 12, "as many objects as there were intervals: {stats:?}");
    other.refresh().await.unwrap();
    assert_eq!(get(&other, "k99").await.as_deref(), Some("v"));
    for n in 0..10 {
        sleep(Duration::from_millis(600)).await;
        commit(&node, &format!("slow/{n}")).await.unwrap();
    }
    assert_eq!(node.stats().direct, stats.direct + 10);
}

/// Where a commit waits for its publication anyhow, it is one create in place of two.
#[tokio::test(start_paused = true)]
async fn who_waits_for_publication_saves_an_object() {
    let world = World::new();
    let config = Config { publish_before_ack: true, ..config() };
    let node = world.builder().config(config).open().await.unwrap();
    commit(&node, "first").await.unwrap();
    world.storage.reset();
    for n in 0..10 {
        commit(&node, &format!("k{n}")).await.unwrap();
    }
    assert_eq!((world.storage.counts().creates, node.stats().direct), (10, 11));
}

/// The proof of the store, and the commit.
#[tokio::test(start_paused = true)]
async fn a_function_makes_two_objects_at_most() {
    let world = World::new();
    put(&world.node().await, "old", "v").await;
    world.storage.reset();
    let settings = Config {
        direct_commits: true,
        sweep_interval: Duration::from_secs(24 * 3600),
        ..Config::function(Duration::from_secs(10))
    };
    let node = world.builder().config(settings).open().await.unwrap();
    commit(&node, "k").await.unwrap();
    node.close().await.unwrap();
    let counts = world.storage.counts();
    assert_eq!(counts.creates, 2, "{counts:?}");
}

/// What needs a decision under an id of its own, or more room, has one.
#[tokio::test(start_paused = true)]
async fn what_others_may_know_or_is_large_is_decided_elsewhere() {
    let world = World::new();
    let node = open(&world).await;
    let direct = |commit: Commit| commit.receipt.decided_by().is_direct();
    let mut all = Vec::new();
    let id = node.new_txn_id();
    for begin in [Begin::new().id(id), Begin::new().request("key")] {
        let mut tx = node.begin_with(begin).await.unwrap();
        tx.put("k", "v").unwrap();
        all.push(tx);
    }
    let mut asked = node.begin().await.unwrap();
    asked.put("k", "v").unwrap();
    let _ = asked.id();
    let mut large = node.begin().await.unwrap();
    for n in 0..70 {
        large.put(format!("k{n}"), vec![b'x'; 4_000]).unwrap();
    }
    let mut stored = node.begin().await.unwrap();
    stored.put("k", vec![b'x'; 20_000]).unwrap();
    let mut result = node.begin().await.unwrap();
    result.put("k", "v").unwrap();
    result.set_result("r").unwrap();
    all.extend([asked, large, stored, result]);
    for tx in all {
        sleep(Duration::from_secs(5)).await;
        assert!(!direct(tx.commit().await.unwrap()));
    }
    sleep(Duration::from_secs(5)).await;
    assert!(direct(commit(&node, "k").await.unwrap()));
    let off = Config { direct_commits: false, ..config() };
    let node = world.builder().config(off).open().await.unwrap();
    assert!(!direct(commit(&node, "k").await.unwrap()));
    let alone = Config { decisions_in_flight: 0, ..config() };
    let node = world.builder().config(alone).open().await.unwrap();
    assert!(direct(commit(&node, "k").await.unwrap()), "one switch does not turn the other off");
}

#[tokio::test(start_paused = true)]
async fn every_doubt_is_settled_and_nothing_happens_twice() {
    for doubt in &DOUBTS {
        let world = World::new();
        let (node, other) = (open(&world).await, open(&world).await);
        doubt.script(&world.storage, "feed/");
        let receipt = commit(&node, "k").await.unwrap_or_else(|error| panic!("{doubt:?}: {error}")).receipt;
        world.storage.clear_faults();
        assert!(receipt.decided_by().is_direct());
        other.refresh().await.unwrap();
        assert_eq!(get(&other, "k").await.as_deref(), Some("v"), "{doubt:?}");
        assert_eq!((under(&world, "feed/"), other.stats().recent_commits), (1, 1), "{doubt:?}");
    }
}

/// Nobody says whether it was made: the error names it, and whoever asks settles it.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_settled_by_the_id_in_the_error() {
    let world = World::new();
    let (node, other) = (open(&world).await, open(&world).await);
    for nth in 1..200 {
        world.storage.fail(Operation::Create, "feed/", nth, Fault::Before(Stored::Unknown));
    }
    let error = commit(&node, "k").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error}");
    let id = error.txn_id().unwrap();
    assert!(id.is_direct());
    world.storage.clear_faults();
    // So late nothing that lands counts any more, as soon as a date tells how late it is.
    let told = other.outcome(id).await.unwrap();
    assert!(matches!(told, Outcome::Undecided | Outcome::Forgotten), "{told:?}");
    commit(&other, "l").await.unwrap();
    assert_eq!(other.cancel(id).await.unwrap(), Outcome::Forgotten);
    node.refresh().await.unwrap();
    assert_eq!(node.cancel(id).await.unwrap(), Outcome::Forgotten);
    assert_eq!(under(&world, "feed/"), 1, "and nothing is written for that");
    let report = other.check().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Folded, collected, and read from the index; nothing is left of it, and a check is content.
#[tokio::test(start_paused = true)]
async fn it_is_folded_and_collected_like_any_commit() {
    let world = World::new();
    let node = open(&world).await;
    let receipt = commit(&node, "k").await.unwrap().receipt;
    let report = node.check().await.unwrap();
    assert!(report.is_clean() && report.decisions == 1, "{report:?}");
    for _ in 0..4 {
        sleep(Duration::from_secs(3_600)).await;
        commit(&node, "tick").await.unwrap();
        assert!(node.checkpoint().await.unwrap().made);
    }
    sleep(Duration::from_secs(3_600)).await;
    commit(&node, "tick").await.unwrap();
    let report = node.collect_garbage(false).await.unwrap();
    assert!(report.left_out.is_empty(), "{report:?}");
    assert!(under(&world, "feed/") <= 3, "{:?}", world.memory.paths());
    let cold = open(&world).await;
    assert_eq!(get(&cold, "k").await.as_deref(), Some("v"));
    cold.begin_with(Begin::new().after(&receipt)).await.unwrap().abort().await.unwrap();
    assert_eq!(cold.outcome(receipt.decided_by()).await.unwrap(), Outcome::Forgotten);
    let report = cold.check().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(cold.sweep_all().await.unwrap().doubtful, []);
}

/// Where all dates were changed, nothing tells whether one landed in time that no checkpoint knows: a person has to say.
#[tokio::test(start_paused = true)]
async fn an_adoption_asks_about_those_that_no_checkpoint_knows() {
    for unpublished in [Unpublished::Commit, Unpublished::Abort] {
        let world = World::new();
        let node = open(&world).await;
        commit(&node, "known").await.unwrap();
        sleep(Duration::from_secs(60)).await;
        node.checkpoint().await.unwrap();
        let asked = commit(&node, "asked").await.unwrap().receipt.decided_by();
        node.close().await.unwrap();
        sleep(Duration::from_secs(7_200)).await;
        for path in world.memory.paths() {
            world.memory.redate(&path, world.clock().now());
        }
        let adopt = |unpublished| world.builder().config(config()).adopt(unpublished);
        let report = adopt(Unpublished::Refuse).await.unwrap();
        assert_eq!((report.adopted, report.unpublished), (false, vec![asked]));
        assert!(adopt(unpublished).await.unwrap().adopted);
        let node = open(&world).await;
        assert_eq!(get(&node, "known").await.as_deref(), Some("v"));
        assert_eq!(get(&node, "asked").await.is_some(), unpublished == Unpublished::Commit);
        let outcome = node.outcome(asked).await.unwrap();
        assert_eq!(outcome == Outcome::Aborted, unpublished == Unpublished::Abort, "{outcome:?}");
        let report = node.check().await.unwrap();
        assert!(report.is_clean(), "{report:?}");
    }
}

/// A sweep has nothing to do, where it was seen.
#[tokio::test(start_paused = true)]
async fn a_sweep_reads_none_that_refreshes_show() {
    let world = World::new();
    let (node, other) = (open(&world).await, open(&world).await);
    for n in 0..5 {
        commit(&node, &format!("k{n}")).await.unwrap();
        sleep(Duration::from_secs(2)).await;
    }
    let report = other.sweep().await.unwrap();
    assert_eq!((report.listed, report.published), (5, 0));
    let report = node.sweep().await.unwrap();
    assert_eq!((report.listed, report.published), (5, 0));
}

/// One node commits in the feed, another does not; each sees the other's.
#[tokio::test(start_paused = true)]
async fn nodes_with_and_without_it_share_a_store() {
    let world = World::new();
    let (with, without) = (open(&world).await, world.node().await);
    commit(&with, "with").await.unwrap();
    put(&without, "without", "v").await;
    without.publish().await.unwrap();
    for node in [&with, &without] {
        node.refresh().await.unwrap();
        for key in ["with", "without"] {
            assert_eq!(get(node, key).await.as_deref(), Some("v"));
        }
    }
}
