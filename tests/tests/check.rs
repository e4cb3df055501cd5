//! Checking a store: a whole one is clean, under load too, and each kind of damage is named by its path and nothing else is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aft_core::{Aft, CheckProblemKind, CheckReport, ErrorKind, Storage};
use aft_tests::{World, get, put};
use bytes::Bytes;
use futures::TryStreamExt;

use CheckProblemKind::{Damaged, Missing};

/// Longer than any window: what was committed before is folded by the next checkpoint.
const OLD: Duration = Duration::from_secs(3600);

/// A store with two checkpoints, of which the newest has a run of large and small values, and with commits since.
async fn store() -> (World, Aft) {
    let world = World::new();
    let node = world.node().await;
    put(&node, "large", &"x".repeat(20_000)).await;
    put(&node, "replaced", &"y".repeat(20_000)).await;
    put(&node, "small", "1").await;
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    put(&node, "replaced", &"z".repeat(20_000)).await;
    let mut tx = node.begin().await.unwrap();
    tx.delete("small").unwrap();
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    put(&node, "middle", "2").await;
    node.publish().await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    node.checkpoint().await.unwrap();
    node.run(b"order", async |tx| {
        tx.put("order", "3")?;
        Ok(Bytes::from("done"))
    })
    .await
    .unwrap();
    put(&node, "young", &"v".repeat(20_000)).await;
    node.publish().await.unwrap();
    (world, node)
}

async fn paths(world: &World, folder: &str) -> Vec<String> {
    let listed: Vec<_> = world.memory.list(folder, None).try_collect().await.unwrap();
    let mut paths: Vec<_> = listed.into_iter().map(|object| object.path).collect();
    paths.retain(|path| !path.ends_with(".sealed"));
    paths.sort();
    paths
}

async fn content(world: &World) -> Vec<(String, Bytes)> {
    let mut content = Vec::new();
    for path in paths(world, "").await {
        content.push((path.clone(), bytes(world, &path).await));
    }
    content
}

async fn bytes(world: &World, path: &str) -> Bytes {
    world.memory.get(path).await.unwrap().bytes
}

async fn delete(world: &World, path: &str) {
    world.memory.delete(&[path.to_owned()]).await.unwrap();
}

async fn replace(world: &World, path: &str, bytes: impl Into<Bytes>) {
    delete(world, path).await;
    world.memory.create(path, bytes.into()).await.unwrap();
}

/// Flips a bit `from_end` bytes before the end.
async fn flip(world: &World, path: &str, from_end: usize) {
    let mut damaged = bytes(world, path).await.to_vec();
    let at = damaged.len() - from_end;
    damaged[at] ^= 4;
    replace(world, path, damaged).await;
}

/// What a check by a node that cannot write, and that need not be able to open the store, says.
async fn check(world: &World) -> CheckReport {
    let before = content(world).await;
    let report = world.builder().check().await.unwrap();
    assert_eq!(content(world).await, before, "a check changes nothing");
    report
}

async fn names(world: &World, path: &str, kind: CheckProblemKind) {
    let report = check(world).await;
    let found: Vec<_> = report.problems.iter().map(|problem| (&*problem.path, problem.kind)).collect();
    assert_eq!(found, [(path, kind)], "{report:#?}");
    assert!(!report.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_whole_store_is_clean_and_everything_in_it_is_counted() {
    let (world, node) = store().await;
    let report = check(&world).await;
    assert!(report.is_clean() && report.orphans.is_empty() && report.left_out.is_empty(), "{report:#?}");
    assert_eq!((report.checkpoint, report.manifests, report.claims), (2, 2, 1));
    assert_eq!(report.commits, 3, "{report:#?}");
    assert!(report.rows >= 3 && report.run_files >= 1 && report.values >= 3 && report.bytes_read > 60_000);
    assert_eq!(node.check().await.unwrap(), report);
    node.collect_garbage(false).await.unwrap();
    assert!(check(&world).await.is_clean());
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    node.collect_garbage(false).await.unwrap();
    let report = check(&world).await;
    assert!(report.is_clean() && report.orphans.is_empty(), "{report:#?}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CheckReport>(&json).unwrap(), report);
}

#[tokio::test(start_paused = true)]
async fn an_empty_store_is_clean_and_none_is_an_error() {
    let world = World::new();
    assert_eq!(world.builder().check().await.unwrap_err().kind(), ErrorKind::NoStore);
    world.node().await;
    let report = check(&world).await;
    assert!(report.is_clean(), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn damage_of_the_index_is_named() {
    let (world, _) = store().await;
    let run = paths(&world, "index/").await.pop().unwrap();
    let whole = bytes(&world, &run).await;
    for (from_end, what) in [(1, "tail"), (whole.len() - 6, "block 0"), (whole.len(), "Parquet")] {
        flip(&world, &run, from_end).await;
        names(&world, &run, Damaged).await;
        assert!(check(&world).await.problems[0].what.contains(what), "{what}");
        replace(&world, &run, whole.clone()).await;
    }
    for len in [0, 1, whole.len() / 2, whole.len() - 1] {
        replace(&world, &run, whole.slice(..len)).await;
        names(&world, &run, Damaged).await;
    }
    replace(&world, &run, [&whole[..], b"more"].concat()).await;
    names(&world, &run, Damaged).await;
    delete(&world, &run).await;
    names(&world, &run, Missing).await;
}

#[tokio::test(start_paused = true)]
async fn damage_of_a_recent_file_is_named() {
    let (world, _) = store().await;
    for recent in paths(&world, "recent/").await {
        let whole = bytes(&world, &recent).await;
        replace(&world, &recent, whole.slice(1..)).await;
        names(&world, &recent, Damaged).await;
        delete(&world, &recent).await;
        names(&world, &recent, Missing).await;
        world.memory.create(&recent, whole).await.unwrap();
    }
    assert!(check(&world).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_damaged_list_of_garbage_a_claim_and_a_feed_object_are_named() {
    let (world, _) = store().await;
    for folder in ["garbage/", "requests/", "feed/"] {
        let path = paths(&world, folder).await.pop().unwrap();
        let whole = bytes(&world, &path).await;
        flip(&world, &path, 1).await;
        names(&world, &path, Damaged).await;
        replace(&world, &path, whole).await;
        assert!(check(&world).await.is_clean());
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_manifest_is_named_and_the_one_before_it_is_checked() {
    for (number, counts) in [(1, 2), (2, 1)] {
        let (world, _) = store().await;
        let manifest = paths(&world, "checkpoints/").await.swap_remove(number - 1);
        flip(&world, &manifest, 20).await;
        names(&world, &manifest, Damaged).await;
        let report = check(&world).await;
        assert_eq!((report.checkpoint, report.manifests), (counts, 1));
        assert!(!report.left_out.is_empty());
    }
    let (world, _) = store().await;
    let manifests = paths(&world, "checkpoints/").await;
    for manifest in &manifests {
        flip(&world, manifest, 20).await;
    }
    let report = check(&world).await;
    assert_eq!(report.problems.len(), 2, "{report:#?}");
    assert!(world.builder().open().await.is_err(), "a check works where opening does not");
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_is_damaged_missing_void_or_an_abort_is_named() {
    let (world, node) = store().await;
    // It does not hear of the commit, and so makes an abort in its place.
    let unaware = world.node().await;
    let young = put(&node, "younger", "5").await;
    node.publish().await.unwrap();
    let hex = young.txn_id().to_string();
    let decision = paths(&world, "commits/").await.into_iter().find(|path| path.ends_with(&hex)).unwrap();
    let whole = bytes(&world, &decision).await;
    flip(&world, &decision, 1).await;
    names(&world, &decision, Damaged).await;
    delete(&world, &decision).await;
    names(&world, &decision, Missing).await;
    unaware.cancel(young.txn_id()).await.unwrap();
    names(&world, &decision, Damaged).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    replace(&world, &decision, whole).await;
    names(&world, &decision, Damaged).await;
}

#[tokio::test(start_paused = true)]
async fn values_that_are_missing_or_damaged_are_named_and_superseded_ones_are_not() {
    let (world, node) = store().await;
    for key in ["large", "replaced", "young"] {
        let tx = node.begin().await.unwrap();
        tx.get(key).await.unwrap();
        let (_, version) = tx.reads().find(|(read, _)| *read == key.as_bytes()).unwrap();
        let txn = version.unwrap().txn_id().to_string();
        let value = paths(&world, "values/").await.into_iter().find(|path| path.contains(&txn)).unwrap();
        let whole = bytes(&world, &value).await;
        flip(&world, &value, 1).await;
        names(&world, &value, Damaged).await;
        replace(&world, &value, whole.slice(1..)).await;
        names(&world, &value, Damaged).await;
        delete(&world, &value).await;
        names(&world, &value, Missing).await;
        world.memory.create(&value, whole).await.unwrap();
    }
    let report = node.collect_garbage(false).await.unwrap();
    assert!(report.objects() > 0);
    assert!(check(&world).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_nothing_names_is_an_orphan_once_it_is_old() {
    let (world, node) = store().await;
    let txn = node.new_txn_id().to_string();
    let shard = txn.chars().next_back().unwrap();
    let value = format!("values/{shard}/{txn}/{:016x}-{:08x}", 7, 0);
    let (run, recent) = (format!("index/{txn}.parquet"), format!("recent/{txn}"));
    for path in [&value, &run, &recent] {
        world.memory.create(path, Bytes::from_static(b"foreign")).await.unwrap();
    }
    world.memory.create("feed/readme.txt", Bytes::from_static(b"foreign")).await.unwrap();
    let report = check(&world).await;
    assert_eq!(
        report.orphans,
        ["feed/readme.txt"],
        "it may be a transaction's, or a checkpoint's, that is under way"
    );
    tokio::time::sleep(OLD).await;
    put(&node, "a", "later").await;
    node.publish().await.unwrap();
    let report = check(&world).await;
    assert_eq!(report.orphans, ["feed/readme.txt", &*run, &*recent, &*value]);
    assert!(report.is_clean(), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn one_damaged_object_hides_no_other() {
    let (world, _) = store().await;
    let folders = ["index/", "recent/", "feed/", "requests/"];
    let mut expected = Vec::new();
    for folder in folders {
        expected.push(paths(&world, folder).await.pop().unwrap());
    }
    // Of commits that are not in the index: what only a damaged file names cannot be verified, and what is folded needs its decision no more.
    for folder in ["commits/", "values/"] {
        let mut young = paths(&world, folder).await;
        young.sort_by_key(|path| path[folder.len() + "0/".len()..].to_owned());
        expected.extend(young.pop());
    }
    for path in &expected {
        flip(&world, path, 1).await;
    }
    expected.sort();
    let report = check(&world).await;
    let found: Vec<_> = report.problems.iter().map(|problem| problem.path.clone()).collect();
    assert_eq!(found, expected, "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_under_load_is_clean() {
    let world = World::new();
    let node = world.node().await;
    let worker = async {
        for n in 0..60u32 {
            let large = "x".repeat(9_000 + n as usize);
            put(&node, &format!("large{}", n % 5), &large).await;
            put(&node, &format!("small{}", n % 7), "small").await;
            node.publish().await.unwrap();
            tokio::time::sleep(Duration::from_secs(300)).await;
            if n % 3 == 0 {
                node.checkpoint().await.unwrap();
                node.collect_garbage(false).await.unwrap();
            }
        }
    };
    let checker = world.builder().open().await.unwrap();
    let checks = async {
        for _ in 0..400 {
            let report = checker.check().await.unwrap();
            assert!(report.is_clean() && report.orphans.is_empty(), "{report:#?}");
            tokio::time::sleep(Duration::from_millis(44_937)).await;
        }
    };
    tokio::join!(worker, checks);
    assert!(get(&node, "small1").await.is_some());
}
