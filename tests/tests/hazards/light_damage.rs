//! Light checkpoints where something is damaged, or listings lie: what a fresh reviewer found (decision 0074).

use aft_tests::{HidingStorage, get, write};

use super::*;
use crate::light::{feed_objects, start};
use crate::proof::{replace, under};

/// The planted bugs that these cases find.
pub(crate) const FOUND: [Planted; 4] =
    [Planted::OldestIsProven, Planted::OverDamage, Planted::DamageIsTheirs, Planted::FilesByLightOnes];

const HOUR: Duration = Duration::from_secs(3600);

async fn damage(world: &World, path: &str) {
    replace(world, path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
    })
    .await;
}

/// The checkpoint that settles first is a light one, or a second full one: the files of the one before were never read.
async fn the_first_collection_reads_what_the_first_checkpoint_wrote() {
    for light in [true, false] {
        let world = World::new();
        let node = world.node().await;
        for n in 0..50 {
            put(&node, &format!("k{n}"), "v").await;
        }
        node.publish().await.unwrap();
        sleep(HOUR).await;
        assert_eq!(node.checkpoint().await.unwrap().folded, 50);
        feed_objects(&node).await;
        if light {
            assert_eq!(start(&world).await, 2);
        } else {
            sleep(HOUR).await;
            let second = node.checkpoint().await.unwrap();
            assert_eq!((second.number, second.runs), (2, 2));
        }
        let index = under(&world, "index/");
        damage(&world, &index[0]).await;
        sleep(HOUR).await;
        tell_the_time(&node).await;
        let before = under(&world, "commits/").len();
        let report = world.node().await.collect_garbage(false).await.unwrap();
        assert_eq!(under(&world, "commits/").len(), before, "the last copy of a commit stays");
        assert!(report.left_out.iter().any(|why| why.contains(&index[0])), "{report:?}");
    }
}

/// A file that a checkpoint must merge is damaged, and a light one is made meanwhile: that is no other's success.
async fn damage_is_told_whatever_light_ones_are_made() {
    let world = World::new();
    let node = world.node().await;
    let all = async |value| {
        for n in 0..20 {
            write(&node, &[(&format!("k{n:02}"), Some(value))]).await;
        }
        node.publish().await.unwrap();
        sleep(HOUR).await;
    };
    all("1").await;
    assert_eq!(node.checkpoint().await.unwrap().folded, 20);
    all("2").await;
    feed_objects(&node).await;
    damage(&world, &under(&world, "index/")[0]).await;
    let maker = world.node().await;
    let gate = world.storage.fail(Operation::GetRange, "index/", 1, Fault::Delay);
    let made = tokio::spawn(async move { maker.checkpoint().await });
    gate.reached().await;
    assert_eq!(start(&world).await, 2);
    let _ = gate.release().await;
    assert_eq!(made.await.unwrap().unwrap_err().kind(), ErrorKind::Corrupt);
}

/// A slow maker, a light checkpoint that took its number, and a full one after that, which folded more and is damaged.
async fn a_full_checkpoint_is_not_made_over_one_that_cannot_be_read() {
    let world = World::new();
    let slowly = aft_memory::RecordingStorage::new(Arc::new(world.memory.clone()));
    let slow = Aft::builder(Arc::new(slowly.clone())).config(World::config()).clock(world.clock());
    let (slow, quick) = (slow.open().await.unwrap(), world.node().await);
    put(&slow, "a", "v").await;
    slow.publish().await.unwrap();
    sleep(HOUR).await;
    put(&quick, "b", "v").await;
    quick.publish().await.unwrap();
    sleep(secs(970)).await;
    feed_objects(&quick).await;
    // The store is slow for it for a while.
    let gates: Vec<_> = (0..7).map(|_| slowly.fail(Operation::Create, "recent/", 1, Fault::Delay)).collect();
    let made = tokio::spawn(async move { slow.checkpoint().await });
    sleep(secs(20)).await;
    assert_eq!(start(&world).await, 1);
    sleep(secs(120)).await;
    put(&quick, "c", "v").await;
    quick.publish().await.unwrap();
    let full = quick.checkpoint().await.unwrap();
    assert_eq!((full.number, full.folded), (2, 2));
    let config = aft_core::Config { sweep_interval: secs(60), ..World::config() };
    let reader = world.builder().config(config).open().await.unwrap();
    assert_eq!(get(&reader, "b").await.as_deref(), Some("v"));
    damage(&world, "checkpoints/000000000002.json").await;
    let landed = made.await.unwrap();
    drop(gates);
    sleep(secs(120)).await;
    let _ = reader.refresh().await;
    assert_eq!(get(&reader, "b").await.as_deref(), Some("v"), "what was folded stays folded");
    let error = landed.unwrap_err();
    assert!(error.to_string().contains("mended first"), "{error:?}");
}

/// The one answer that tells a maker whose manifest is there comes with a bit turned over.
async fn a_maker_that_cannot_read_a_manifest_deletes_none_of_its_files() {
    let flip = Fault::Corrupt(aft_memory::Corruption::Flip(40));
    for full in [true, false] {
        let world = World::new();
        let node = world.node().await;
        put(&node, "k", "v").await;
        feed_objects(&node).await;
        sleep(HOUR).await;
        tell_the_time(&node).await;
        let _gate = world.storage.fail(Operation::Get, "checkpoints/000000000001", 1, flip);
        if full {
            let _ = node.checkpoint().await;
        } else {
            start(&world).await;
        }
        let cold = world.builder().open().await.expect("a store opens whose checkpoint is whole");
        assert_eq!(get(&cold, "k").await.as_deref(), Some("v"));
    }
}

/// A full checkpoint takes a later number than it began with, and a listing hides it: its files are older than the light one that is shown.
async fn files_of_a_hidden_checkpoint_stay() {
    let world = World::new();
    let slow = aft_memory::RecordingStorage::new(Arc::new(world.memory.clone()));
    let maker = Aft::builder(Arc::new(slow.clone())).config(World::config()).clock(world.clock());
    let maker = maker.open().await.unwrap();
    put(&maker, "a", "v").await;
    maker.publish().await.unwrap();
    sleep(HOUR).await;
    feed_objects(&maker).await;
    let gates: Vec<_> =
        (0..10).map(|_| slow.fail(Operation::Create, "checkpoints/", 1, Fault::Delay)).collect();
    let made = tokio::spawn(async move { maker.checkpoint().await });
    sleep(secs(200)).await;
    let other = world.node().await;
    feed_objects(&other).await;
    assert_eq!(start(&world).await, 1);
    let hiding = HidingStorage::new(Arc::new(world.memory.clone()));
    let collector = Aft::builder(Arc::new(hiding.clone())).config(World::config()).clock(world.clock());
    let collector = collector.open().await.unwrap();
    hiding.hide(&["checkpoints/000000000002"]);
    let report = made.await.unwrap().unwrap();
    assert!(report.made && report.number == 2, "{report:?}");
    drop(gates);
    sleep(secs(760)).await;
    tell_the_time(&other).await;
    let _ = collector.collect_garbage(false).await;
    hiding.hide(&[]);
    assert_eq!(under(&world, "index/").len(), 1, "its files stay");
    assert!(world.node().await.checkpoint().await.unwrap().made);
}

/// A listing lacks the light checkpoint that has the next number.
async fn a_maker_that_is_shown_too_little_gives_up() {
    let world = World::new();
    let hiding = HidingStorage::new(Arc::new(world.storage.clone()));
    let maker = Aft::builder(Arc::new(hiding.clone())).config(World::config()).clock(world.clock());
    let maker = maker.open().await.unwrap();
    put(&maker, "a", "v").await;
    maker.publish().await.unwrap();
    sleep(HOUR).await;
    feed_objects(&maker).await;
    let gate = world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::Delay);
    let made = tokio::spawn(async move { maker.checkpoint().await });
    gate.reached().await;
    assert_eq!(start(&world).await, 1);
    sleep(secs(10)).await;
    feed_objects(&world.node().await).await;
    assert_eq!(start(&world).await, 2);
    hiding.hide(&["checkpoints/000000000002"]);
    let _ = gate.release().await;
    assert!(made.await.unwrap().is_ok_and(|report| !report.made), "the number is another's");
}

#[test]
fn damage_beside_light_checkpoints() {
    let proven = [(Planted::OldestIsProven, "the last copy of a commit stays")];
    holds_unless(the_first_collection_reads_what_the_first_checkpoint_wrote, &proven);
    holds_unless(damage_is_told_whatever_light_ones_are_made, &[]);
    let over = [(Planted::OverDamage, "what was folded stays folded")];
    holds_unless(a_full_checkpoint_is_not_made_over_one_that_cannot_be_read, &over);
    let theirs = [(Planted::DamageIsTheirs, "a store opens whose checkpoint is whole")];
    holds_unless(a_maker_that_cannot_read_a_manifest_deletes_none_of_its_files, &theirs);
}

#[test]
fn listings_that_lie_beside_light_checkpoints() {
    holds_unless(files_of_a_hidden_checkpoint_stay, &[(Planted::FilesByLightOnes, "its files stay")]);
    holds_unless(a_maker_that_is_shown_too_little_gives_up, &[]);
}
