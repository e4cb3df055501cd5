//! Commits that share a decision (decision 0068): what they cost, and that each of them is a commit like any other.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::sync::Arc;
use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Aft, Begin, Commit, Config, ErrorKind, Outcome, Receipt, Transaction};
use aft_memory::{ErrorKind as Stored, Fault, Faults, Latency, Operation, SimulatedStorage};
use aft_tests::{World, commit_together, get, put};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

fn one_at_a_time() -> Config {
    Config { decisions_in_flight: 1, ..World::config() }
}

async fn open(world: &World) -> Aft {
    world.builder().config(one_at_a_time()).open().await.unwrap()
}

/// Transactions that write a key each.
async fn writers(node: &Aft, keys: &[&str]) -> Vec<Transaction> {
    let mut all = Vec::new();
    for key in keys {
        let mut tx = node.begin().await.unwrap();
        tx.put(key, "v").unwrap();
        all.push(tx);
    }
    all
}

fn receipts(commits: Vec<Result<Commit, aft_core::Error>>) -> Vec<Receipt> {
    commits.into_iter().map(|commit| commit.unwrap().receipt).collect()
}

fn decisions(world: &World) -> usize {
    world.memory.paths().iter().filter(|path| path.starts_with("commits/")).count()
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_share_the_next_decision() {
    let world = World::new();
    let (node, other) = (open(&world).await, world.node().await);
    let txs = writers(&node, &["a", "b", "c"]).await;
    world.storage.reset();
    let receipts = receipts(commit_together(&world, &node, txs).await);
    assert_eq!(world.storage.counts().creates, 2, "one alone, and three together");
    assert_eq!(node.stats().groups, 1);
    let group = receipts[0].decided_by();
    for receipt in &receipts {
        assert!(receipt.txn_id().is_in_group() && !group.is_in_group());
        assert_eq!(receipt.decided_by(), group);
        assert_eq!(&receipt.to_string().parse::<Receipt>().unwrap(), receipt);
        // It is told by its receipt, by its group's id, and by its own where it is known.
        let Outcome::Committed { receipt: told, .. } = node.outcome(receipt.txn_id()).await.unwrap() else {
            panic!("it committed")
        };
        assert_eq!(told, *receipt);
    }
    // Whoever begins after one sees at least that one; after what the group's id tells, all of them.
    let Outcome::Committed { receipt, .. } = other.outcome(group).await.unwrap() else {
        panic!("it committed")
    };
    let tx = other.begin_with(Begin::new().after(&receipt)).await.unwrap();
    for key in ["a", "b", "c"] {
        assert_eq!(tx.get(key).await.unwrap().unwrap(), "v");
    }
    node.publish().await.unwrap();
    let cold = world.node().await;
    assert_eq!(cold.stats().recent_commits, 4);
    assert_eq!(get(&cold, "b").await.as_deref(), Some("v"));
}

/// Its node dies: a sweep finds the decision, and all that it decided.
#[tokio::test(start_paused = true)]
async fn a_sweep_publishes_the_whole_group() {
    let world = World::new();
    let node = open(&world).await;
    let txs = writers(&node, &["a", "b", "c"]).await;
    receipts(commit_together(&world, &node, txs).await);
    drop(node);
    let other = world.node().await;
    assert_eq!(other.sweep().await.unwrap().published, 4);
    for key in ["first", "a", "b", "c"] {
        assert!(get(&world.node().await, key).await.is_some(), "{key}");
    }
}

/// Folded, collected, and read from the index; nothing is left of the decisions, and a check is content.
#[tokio::test(start_paused = true)]
async fn a_group_is_folded_and_collected_like_any_commit() {
    let world = World::new();
    let node = open(&world).await;
    let txs = writers(&node, &["a", "b", "c"]).await;
    let receipts = receipts(commit_together(&world, &node, txs).await);
    node.publish().await.unwrap();
    let report = node.check().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    for _ in 0..3 {
        sleep(Duration::from_secs(3_600)).await;
        put(&node, "tick", "t").await;
        node.publish().await.unwrap();
        assert!(node.checkpoint().await.unwrap().made);
    }
    sleep(Duration::from_secs(3_600)).await;
    put(&node, "tick", "t").await;
    node.publish().await.unwrap();
    let report = node.collect_garbage(false).await.unwrap();
    assert!(report.left_out.is_empty(), "{report:?}");
    assert!(decisions(&world) <= 2, "only what was committed since is left");
    let cold = world.node().await;
    for key in ["a", "b", "c"] {
        assert_eq!(get(&cold, key).await.as_deref(), Some("v"));
    }
    // A receipt that old asks for nothing any more.
    cold.begin_with(Begin::new().after(&receipts[1])).await.unwrap().abort().await.unwrap();
    let report = cold.check().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// What others may ask for has a decision of its own: a caller's id, a request key, a token, an id that was asked for, values with objects of
/// their own.
#[tokio::test(start_paused = true)]
async fn what_others_may_ask_for_is_decided_alone() {
    let world = World::new();
    let (node, other) = (open(&world).await, world.node().await);
    let id = node.new_txn_id();
    let mut txs = vec![
        node.begin_with(Begin::new().id(id)).await.unwrap(),
        node.begin_with(Begin::new().request("order-1")).await.unwrap(),
        node.begin().await.unwrap(),
    ];
    for (n, tx) in txs.iter_mut().enumerate() {
        tx.put(format!("k{n}"), "v").unwrap();
    }
    let asked = txs[2].id();
    // An error named it.
    let mut named = node.begin().await.unwrap();
    let error = named.get_range("k", std::ops::Range { start: 5, end: 3 }).await.unwrap_err();
    let named_id = error.txn_id().unwrap();
    named.put("named", "v").unwrap();
    txs.push(named);
    let mut with_result = node.begin().await.unwrap();
    with_result.set_result("done").unwrap();
    with_result.put("result", "v").unwrap();
    txs.push(with_result);
    let token = writers(&node, &["travels"]).await.pop().unwrap().suspend().await.unwrap();
    txs.push(node.resume(&token).await.unwrap());
    let mut large = node.begin().await.unwrap();
    large.put("large", vec![b'x'; 1 << 20]).unwrap();
    txs.push(large);
    let receipts = receipts(commit_together(&world, &node, txs).await);
    assert_eq!(node.stats().groups, 0);
    for receipt in receipts {
        assert_eq!(receipt.decided_by(), receipt.txn_id());
    }
    for id in [id, asked, named_id] {
        assert!(matches!(other.outcome(id).await.unwrap(), Outcome::Committed { .. }));
    }
    // Nothing begins under the id of a member.
    let group = commit_together(&world, &node, writers(&node, &["a", "b"]).await).await;
    let member = group[0].as_ref().unwrap().receipt.txn_id();
    let refused = other.begin_with(Begin::new().id(member)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}

/// Who gives up while it waits commits nothing; who gives up once it is decided takes nobody along.
#[tokio::test(start_paused = true)]
async fn whoever_drops_its_call_takes_nobody_along() {
    let world = World::new();
    let node = open(&world).await;
    let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
    let mut txs =
        writers(&node, &["first", "a", "b", "c", "d"]).await.into_iter().map(|tx| tokio::spawn(tx.commit()));
    let first = txs.next().unwrap();
    held.reached().await;
    let waiting: Vec<_> = txs.collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // The one that would decide for the others, and one of those.
    waiting[0].abort();
    waiting[2].abort();
    let group = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
    held.release().await.unwrap();
    first.await.unwrap().unwrap();
    group.reached().await;
    // It decides for the others by now.
    waiting[1].abort();
    group.release().await.unwrap();
    let last = waiting.into_iter().next_back().unwrap().await.unwrap().unwrap();
    assert!(last.receipt.txn_id().is_in_group());
    for (key, there) in [("a", false), ("b", true), ("c", false), ("d", true)] {
        assert_eq!(get(&node, key).await.is_some(), there, "{key}");
    }
    // Nobody waits for a turn that nobody gives back.
    put(&node, "e", "v").await;
}

/// A commit that nobody polls holds up no other.
#[tokio::test(start_paused = true)]
async fn a_commit_that_nobody_polls_holds_up_no_other() {
    let waits = async || {
        let world = World::new();
        let node = open(&world).await;
        let mut idle = writers(&node, &["idle"]).await.pop().unwrap().commit();
        let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
        assert!(futures::poll!(&mut idle).is_pending());
        held.reached().await;
        held.release().await.unwrap();
        let other = writers(&node, &["other"]).await.pop().unwrap().commit();
        let committed = tokio::time::timeout(Duration::from_secs(1), other).await;
        drop(idle);
        committed.is_err()
    };
    assert!(!waits().await);
    plant(Some(Planted::TurnsOfCallers));
    let found = waits().await;
    plant(None);
    assert!(found, "it waits for the one that nobody polls");
}

/// All publish at once what each must have published before it is acknowledged.
#[tokio::test(start_paused = true)]
async fn a_group_is_published_once_before_it_is_acknowledged() {
    let world = World::new();
    let node = open(&world).await;
    let mut txs = Vec::new();
    for key in ["a", "b", "c"] {
        let mut tx = node.begin_with(Begin::new().publish_before_ack()).await.unwrap();
        tx.put(key, "v").unwrap();
        txs.push(tx);
    }
    world.storage.reset();
    receipts(commit_together(&world, &node, txs).await);
    assert_eq!(world.storage.counts().creates, 3, "two decisions and a feed object");
    assert_eq!(node.stats().unpublished, 0);
}

/// One that has become too old is told so; the others commit.
#[tokio::test(start_paused = true)]
async fn one_that_cannot_commit_any_more_takes_nobody_along() {
    let world = World::new();
    let node = open(&world).await;
    let mut txs = writers(&node, &["old"]).await;
    sleep(node.config().transaction_lifetime - Duration::from_secs(5)).await;
    txs.extend(writers(&node, &["a", "b"]).await);
    let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
    let first = tokio::spawn(writers(&node, &["first"]).await.pop().unwrap().commit());
    held.reached().await;
    let waiting: Vec<_> = txs.into_iter().map(|tx| tokio::spawn(tx.commit())).collect();
    sleep(Duration::from_secs(10)).await;
    held.release().await.unwrap();
    first.await.unwrap().unwrap();
    let kinds: Vec<_> = join_all(waiting)
        .await
        .into_iter()
        .map(|commit| commit.unwrap().map(drop).map_err(|it| it.kind()))
        .collect();
    assert_eq!(kinds, [Err(ErrorKind::Expired), Ok(()), Ok(())]);
}

/// A decision has an end: a thousand commits, or 1 MiB.
#[tokio::test(start_paused = true)]
async fn a_decision_is_shared_by_so_many_at_most() {
    let world = World::new();
    let node = open(&world).await;
    let keys: Vec<_> = (0..1_500).map(|n| format!("key-{n}")).collect();
    let txs = writers(&node, &keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    receipts(commit_together(&world, &node, txs).await);
    assert_eq!(decisions(&world), 3, "one alone, a thousand, and the rest");
    let mut txs = Vec::new();
    for n in 0..3 {
        let mut tx = node.begin().await.unwrap();
        for part in 0..100 {
            tx.put(format!("large-{n}-{part}"), vec![b'x'; 4_000]).unwrap();
        }
        txs.push(tx);
    }
    receipts(commit_together(&world, &node, txs).await);
    assert_eq!(decisions(&world), 3 + 3, "one alone, two of 400 KB together, and the third");
}

/// Who has waited for as long as a decision may take is told so, and commits nothing, whatever becomes of those before it.
#[tokio::test(start_paused = true)]
async fn whoever_waits_too_long_commits_nothing() {
    let world = World::new();
    let node = open(&world).await;
    let stuck: Vec<_> =
        (1..=20).map(|nth| world.storage.fail(Operation::Create, "commits/", nth, Fault::Delay)).collect();
    let first = tokio::spawn(writers(&node, &["first"]).await.pop().unwrap().commit());
    stuck[0].reached().await;
    let late = writers(&node, &["late"]).await.pop().unwrap().commit();
    let bound = node.config().commit_deadline + Duration::from_secs(1);
    let error = tokio::time::timeout(bound, late).await.expect("it waits no longer").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    for held in &stuck {
        held.release().await.unwrap();
    }
    drop(first.await.unwrap());
    assert_eq!(get(&node, "late").await, None);
    put(&node, "next", "v").await;
}

/// The store does not say what became of the decision: each is told the group's id, and that id tells.
#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_names_the_group() {
    let world = World::new();
    let (node, other) = (open(&world).await, world.node().await);
    for (fault, committed) in [(Fault::After(Stored::Denied), true), (Fault::Before(Stored::Denied), false)] {
        let txs = writers(&node, &["a", "b"]).await;
        world.storage.fail(Operation::Create, "commits/", 2, fault);
        let errors: Vec<_> =
            commit_together(&world, &node, txs).await.into_iter().map(|commit| commit.unwrap_err()).collect();
        let group = errors[0].txn_id().unwrap();
        assert!(errors.iter().all(|error| error.txn_id() == Some(group) && error.kind() == errors[0].kind()));
        let outcome = other.outcome(group).await.unwrap();
        assert_eq!(matches!(outcome, Outcome::Committed { .. }), committed, "{outcome:?}");
        if !committed {
            assert_eq!(other.cancel(group).await.unwrap(), Outcome::Aborted);
        }
    }
}

/// Ten thousand transactions a second on a store that takes 30 ms for a create: a few creates for all, and nobody waits for long.
#[tokio::test(start_paused = true)]
async fn ten_thousand_commits_a_second_share_a_few_decisions() {
    const TRANSACTIONS: u32 = 10_000;
    let world = World::new();
    let exact = Latency { median_ms: 30.0, sigma: 0.0 };
    let faults = Faults { read: exact, write: exact, ..Faults::none() };
    let network = SimulatedStorage::new(Arc::new(world.storage.clone()), 1, faults);
    let reached = network.reached_by(&network.process("node"));
    let node = Aft::builder(Arc::new(reached)).config(Config { background: true, ..Config::default() });
    let node = node.clock(world.clock()).rng_seed(1).open().await.unwrap();
    put(&node, "warm", "v").await;
    world.storage.reset();
    let start = Instant::now();
    let commits = (0..TRANSACTIONS).map(|n| {
        let node = node.clone();
        async move {
            sleep(Duration::from_millis(u64::from(n) / 10)).await;
            let began = Instant::now();
            let mut tx = node.begin().await.unwrap();
            tx.put(format!("key-{n}"), "v").unwrap();
            tx.commit().await.unwrap();
            began.elapsed()
        }
    });
    let mut took = join_all(commits).await;
    let all = start.elapsed();
    took.sort_unstable();
    let creates = world.storage.counts().creates;
    let [median, most] = [took[took.len() / 2], took[took.len() - 1]];
    println!("{creates} creates, median {median:?}, most {most:?}, all in {all:?}");
    assert!(creates * 50 <= u64::from(TRANSACTIONS), "{creates} creates");
    assert!(median <= Duration::from_millis(60), "{median:?}");
}
