//! Light checkpoints: what they hand over is whole, and full ones are made all the same.

use aft_core::{Builder, Config, Maintenance};
use aft_tests::get;

use super::*;

/// The planted bugs that these cases find.
pub(crate) const FOUND: [Planted; 5] = [
    Planted::LoseToLight,
    Planted::OverAnyCheckpoint,
    Planted::LightHasSwept,
    Planted::LightIsFull,
    Planted::LightBeforeProof,
];

#[test]
fn light_checkpoints() {
    holds_unless(a_light_checkpoint_hands_over_all_that_it_does_not_fold, &[]);
    holds_unless(what_is_left_of_a_light_checkpoint_counts_for_nothing, &[]);
}

#[test]
fn full_checkpoints_beside_light_ones() {
    let all_the_same = [(Planted::LoseToLight, "a full checkpoint is made all the same")];
    holds_unless(a_full_checkpoint_goes_on_over_light_ones, &all_the_same);
    let over = [(Planted::OverAnyCheckpoint, "only what was built on is built upon")];
    holds_unless(a_full_checkpoint_is_not_made_over_one_that_folded, &over);
    let due = [(Planted::LightIsFull, "what is old is folded")];
    holds_unless(full_checkpoints_are_made_however_many_light_ones_are, &due);
}

#[test]
fn what_a_light_checkpoint_does_not_do() {
    let found = [(Planted::LightHasSwept, "the commit of a dead node is found")];
    holds_unless(a_light_checkpoint_is_no_sweep, &found);
    let proof = [(Planted::LightBeforeProof, "no checkpoint is made before the proof")];
    holds_unless(nothing_is_made_before_the_store_is_proven, &proof);
}

const HOUR: Duration = Duration::from_secs(3600);

/// A node that makes a light checkpoint beside its work where it has eight feed objects to read when it starts.
fn starter(world: &World) -> Builder {
    world.builder().config(Config { reads_at_start: 1, ..World::config() })
}

/// So many that whoever starts makes a light checkpoint.
pub(crate) async fn feed_objects(node: &Aft) {
    for n in 0..8 {
        put(node, &format!("feed/{n}"), "v").await;
        node.publish().await.unwrap();
    }
}

/// Starts, and makes a light checkpoint; its number.
pub(crate) async fn start(world: &World) -> u64 {
    let node = starter(world).open().await.unwrap();
    node.close().await.unwrap();
    node.stats().checkpoint
}

fn manifests(world: &World) -> usize {
    let of = |path: &String| path.starts_with("checkpoints/") && path.ends_with(".json");
    world.memory.paths().iter().filter(|path| of(path)).count()
}

/// What is old enough to be folded is not, and is read by whoever begins from it.
async fn a_light_checkpoint_hands_over_all_that_it_does_not_fold() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "old", "v").await;
    writer.publish().await.unwrap();
    sleep(HOUR).await;
    feed_objects(&writer).await;
    assert_eq!(start(&world).await, 1);
    world.storage.reset();
    let cold = world.node().await;
    assert_eq!(get(&cold, "old").await.as_deref(), Some("v"), "an old commit is handed over");
    let gets = world.storage.counts().gets;
    assert!(gets <= 3, "the feed is not read again: {gets} gets");
    assert_eq!(cold.checkpoint().await.unwrap().folded, 1);
    assert_eq!(get(&world.node().await, "old").await.as_deref(), Some("v"), "an old commit is folded");
}

/// A full checkpoint takes minutes, and those who start meanwhile make light ones.
async fn a_full_checkpoint_goes_on_over_light_ones() {
    let world = World::new();
    let maker = world.node().await;
    put(&maker, "old", "v").await;
    let keyed = maker.run("order", async |tx| {
        tx.put("paid", "5")?;
        Ok("receipt".into())
    });
    let keyed = keyed.await.unwrap().receipt.txn_id();
    maker.publish().await.unwrap();
    sleep(HOUR).await;
    feed_objects(&maker).await;
    let gate = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Delay);
    let made = tokio::spawn({
        let maker = maker.clone();
        async move { maker.checkpoint().await }
    });
    gate.reached().await;
    assert_eq!(start(&world).await, 1);
    let _ = gate.release().await;
    let report = made.await.unwrap().unwrap();
    assert!(report.made && report.folded == 2, "a full checkpoint is made all the same: {report:?}");
    assert_eq!(report.number, 2);
    let outcomes: Vec<_> =
        world.memory.paths().into_iter().filter(|it| it.starts_with("outcomes/")).collect();
    assert!(matches!(&outcomes[..], [one] if one.starts_with("outcomes/000000000002-")), "{outcomes:?}");
    sleep(HOUR).await;
    tell_the_time(&maker).await;
    maker.collect_garbage(false).await.unwrap();
    let cold = world.node().await;
    assert_eq!(get(&cold, "old").await.as_deref(), Some("v"));
    assert!(matches!(cold.outcome(keyed).await.unwrap(), Outcome::Committed { .. }));
}

/// Of two full ones the second is none, also where a light one was made between.
async fn a_full_checkpoint_is_not_made_over_one_that_folded() {
    let world = World::new();
    let (slow, quick) = (world.node().await, world.node().await);
    put(&slow, "a", "v").await;
    slow.publish().await.unwrap();
    sleep(HOUR).await;
    feed_objects(&quick).await;
    let gate = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Delay);
    let lost = tokio::spawn(async move { slow.checkpoint().await });
    gate.reached().await;
    sleep(secs(30)).await;
    put(&quick, "b", "v").await;
    quick.publish().await.unwrap();
    assert_eq!(quick.checkpoint().await.unwrap().folded, 1);
    feed_objects(&quick).await;
    assert_eq!(start(&world).await, 2);
    let _ = gate.release().await;
    let report = lost.await.unwrap().unwrap();
    assert!(!report.made, "only what was built on is built upon: {report:?}");
}

/// A node died before it published; those who start begin from light checkpoints, whose makers sweep nothing.
async fn a_light_checkpoint_is_no_sweep() {
    let world = World::new();
    let writer = world.node().await;
    let dead = world.node().await;
    put(&dead, "k", "v").await;
    drop(dead);
    for _ in 0..20 {
        feed_objects(&writer).await;
        let config = Config { reads_at_start: 1, sweep_interval: secs(60), ..World::config() };
        let node = world.builder().config(config).open().await.unwrap();
        node.close().await.unwrap();
        sleep(secs(10)).await;
    }
    assert!(manifests(&world) > 10, "light checkpoints were made: {}", manifests(&world));
    writer.refresh().await.unwrap();
    assert_eq!(get(&writer, "k").await.as_deref(), Some("v"), "the commit of a dead node is found");
}

/// Makers of full checkpoints go by when the last of these was made.
async fn full_checkpoints_are_made_however_many_light_ones_are() {
    let world = World::new();
    let maintenance = Some(Maintenance { checkpoint_interval: secs(60), ..Maintenance::default() });
    let config = Config { maintenance, reads_at_start: 0, ..World::config() };
    let keeper = world.builder().config(config).open().await.unwrap();
    let writer = world.node().await;
    for _ in 0..200 {
        feed_objects(&writer).await;
        start(&world).await;
        sleep(secs(10)).await;
    }
    assert!(manifests(&world) > 100, "light checkpoints were made: {}", manifests(&world));
    keeper.refresh().await.unwrap();
    let cold = world.node().await;
    let commits = cold.stats().recent_commits;
    assert!(commits < 1_300, "what is old is folded: {commits} of 1,600 commits are in the view");
}

/// A number may be another node's: nothing is written under it before the store is known to refuse that.
async fn nothing_is_made_before_the_store_is_proven() {
    let world = World::new();
    let writer = world.node().await;
    feed_objects(&writer).await;
    let gate = world.storage.fail(Operation::Create, "aft.json", 1, Fault::Delay);
    let opening = tokio::spawn(starter(&world).open());
    gate.reached().await;
    sleep(secs(5)).await;
    assert_eq!(manifests(&world), 0, "no checkpoint is made before the proof");
    let _ = gate.release().await;
    let node = opening.await.unwrap().unwrap();
    node.close().await.unwrap();
    assert_eq!(manifests(&world), 1);
}

/// Whoever makes one dies before its manifest; the next who starts makes one, and what was left goes.
async fn what_is_left_of_a_light_checkpoint_counts_for_nothing() {
    let world = World::new();
    let writer = world.node().await;
    put(&writer, "k", "v").await;
    feed_objects(&writer).await;
    let gate = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Delay);
    let dead = starter(&world).open().await.unwrap();
    gate.reached().await;
    drop(dead);
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"));
    sleep(secs(10)).await;
    assert_eq!(start(&world).await, 1);
    // What the dead one sent lands now, and is refused.
    let _ = gate.release().await;
    for _ in 0..3 {
        sleep(HOUR).await;
        tell_the_time(&writer).await;
        writer.checkpoint().await.unwrap();
        writer.collect_garbage(false).await.unwrap();
    }
    let recent: Vec<_> = world.memory.paths().into_iter().filter(|it| it.starts_with("recent/")).collect();
    assert!(recent.len() <= 2, "{recent:?}");
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"));
}
