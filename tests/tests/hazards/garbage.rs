//! Collection of garbage: nothing goes that anybody can still reach (I8).

use aft_core::{Begin, CommitOutcome, Storage};
use aft_memory::{Fault, Operation};
use aft_tests::{get, write};

use super::checkpoints::Frozen;
use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn large() -> String {
    "x".repeat(20_000)
}

async fn is_alive(node: &Aft, key: &str, words: &str) {
    let tx = node.begin().await.unwrap();
    assert_eq!(tx.get(key).await.ok().flatten().map(|value| value.len()), Some(20_000), "{words}");
}

/// 1: while a collector lists decisions, a commit is folded and its decision collected: its value looks like nobody's.
pub(crate) async fn h01_a_value_whose_decision_was_folded_and_collected_meanwhile_is_no_orphan() {
    let mut frozen = Frozen::new();
    let (maker, collector) = (frozen.node(0).await, frozen.node(0).await);
    write(&maker, &[("k", Some(&large()))]).await;
    maker.publish().await.unwrap();
    frozen.an_hour_passes();
    tell_the_time(&maker).await;
    let gate = frozen.world.storage.fail(Operation::List, "commits/", 1, Fault::Delay);
    let collecting = tokio::spawn(async move { collector.collect_garbage(false).await });
    gate.reached().await;
    maker.checkpoint().await.unwrap();
    frozen.an_hour_passes();
    tell_the_time(&maker).await;
    maker.collect_garbage(false).await.unwrap();
    let _ = gate.release().await;
    // It was frozen for an hour: it may give up, but must not take the value.
    drop(collecting.await.unwrap());
    let reader = frozen.node(0).await;
    is_alive(&reader, "k", "a live value is no orphan").await;
}

/// A value that only a row names, its decision long collected.
pub(crate) async fn a_value_that_a_row_names_is_no_orphan() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("k", Some(&large()))]).await;
    node.publish().await.unwrap();
    for _ in 0..3 {
        sleep(HOUR).await;
        tell_the_time(&node).await;
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    is_alive(&world.node().await, "k", "a live value is no orphan").await;
}

/// A value goes up long before its commit.
pub(crate) async fn a_value_of_an_open_transaction_stays() {
    let world = World::new();
    let (node, collector) = (world.node().await, world.node().await);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", large()).unwrap();
    sleep(secs(800)).await;
    tell_the_time(&collector).await;
    collector.collect_garbage(false).await.unwrap();
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    is_alive(&world.node().await, "k", "a value of an open transaction stays").await;
}

/// Values of young commits lie in feed objects.
pub(crate) async fn the_feed_stays_until_what_it_carries_is_folded() {
    let world = World::new();
    let (writer, maker) = (world.node().await, world.node().await);
    write(&writer, &[("k", Some("v"))]).await;
    writer.publish().await.unwrap();
    let feed = || world.memory.paths().into_iter().find(|path| path.starts_with("feed/"));
    let told = feed();
    sleep(secs(20)).await;
    tell_the_time(&writer).await;
    sleep(secs(10)).await;
    maker.checkpoint().await.unwrap();
    maker.collect_garbage(false).await.unwrap();
    let cold = world.node().await;
    let value = cold.begin().await.unwrap().get("k").await.expect("a young value is there");
    assert_eq!(value.unwrap(), "v");
    // Its decision has the value too; but then each read costs more.
    assert_eq!(feed(), told, "a young value is there");
}

/// The files of a checkpoint that is under way are named by no manifest yet.
pub(crate) async fn the_files_of_a_checkpoint_under_way_stay() {
    let world = World::new();
    let (maker, collector) = (world.node().await, world.node().await);
    write(&maker, &[("k", Some("v"))]).await;
    maker.publish().await.unwrap();
    sleep(HOUR).await;
    let gate = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Delay);
    let making = tokio::spawn(async move { maker.checkpoint().await });
    gate.reached().await;
    collector.collect_garbage(false).await.unwrap();
    let _ = gate.release().await;
    making.await.unwrap().unwrap();
    let cold = world.builder().open().await.expect("what a manifest names is there");
    let value = cold.begin().await.unwrap().get("k").await.expect("what a manifest names is there");
    assert_eq!(value.unwrap(), "v");
}

/// What the newest checkpoint found to be garbage is still read through the one before, should the newest be damaged.
pub(crate) async fn garbage_waits_until_no_older_checkpoint_is_read_through() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("a", Some("v"))]).await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    node.checkpoint().await.unwrap();
    // More than travels in the feed: these values stay in the decision.
    let mut tx = node.begin().await.unwrap();
    for n in 0..60 {
        tx.put(format!("b{n}"), vec![7; 8_000]).unwrap();
    }
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    sleep(HOUR).await;
    assert_eq!(node.checkpoint().await.unwrap().number, 2);
    node.collect_garbage(false).await.unwrap();
    let newest = world
        .memory
        .paths()
        .into_iter()
        .filter(|path| path.ends_with(".json") && path.starts_with("checkpoints/"))
        .nth(1)
        .unwrap();
    world.memory.delete(&[newest]).await.unwrap();
    let cold = world.node().await;
    assert_eq!(cold.stats().checkpoint, 1);
    let value = cold.begin().await.unwrap().get("b7").await;
    assert_eq!(value.expect("the checkpoint before is whole").unwrap().len(), 8_000);
}

/// 7: claim 0 is a day old and its transaction aborted; claim 1 is the one that committed, an hour ago.
pub(crate) async fn h07_an_old_claim_stays_as_long_as_the_one_that_committed() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let tx = node.begin_with(Begin::new().request("order")).await.unwrap();
    tx.abort().await.unwrap();
    sleep(26 * HOUR).await;
    let run = async |node: &Aft| {
        let run = node.run("order", async |tx| {
            tx.put("k", "v")?;
            Ok("done".into())
        });
        run.await.unwrap().outcome
    };
    assert_eq!(run(&node).await, CommitOutcome::Fresh);
    node.publish().await.unwrap();
    node.checkpoint().await.unwrap();
    node.collect_garbage(false).await.unwrap();
    assert_eq!(run(&other).await, CommitOutcome::Replayed, "one request is one transaction");
    assert_eq!(get(&other, "k").await.as_deref(), Some("v"));
}
