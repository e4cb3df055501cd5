//! Damage to what a checkpoint is made of: named by its path, and the checkpoint before used in its place where that is safe.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::time::Duration;

use aft_core::{Aft, ErrorKind, GarbageKind, Storage};
use aft_tests::{World, get, write};

const OLD: Duration = Duration::from_secs(3600);

/// Puts other bytes in the place of an object, as no client of a store with create-if-absent could.
/// Near its beginning: further on a small file of a run has its Parquet footer, which aft does not read.
async fn damage(world: &World, path: &str) {
    damage_at(world, path, 8).await;
}

async fn damage_at(world: &World, path: &str, part: usize) {
    let mut bytes = world.memory.get(path).await.unwrap().bytes.to_vec();
    let at = bytes.len() / part;
    bytes[at] ^= 0x55;
    world.memory.delete(&[path.to_owned()]).await.unwrap();
    world.memory.create(path, bytes.into()).await.unwrap();
}

async fn lose(world: &World, path: &str) {
    world.memory.delete(&[path.to_owned()]).await.unwrap();
}

fn only(world: &World, folder: &str, nth: usize) -> String {
    let paths = world.memory.paths();
    paths.into_iter().filter(|path| path.starts_with(folder) && !path.ends_with(".sealed")).nth(nth).unwrap()
}

/// Two checkpoints, the second young, with a run of its own and commits that only its recent file tells.
async fn two_checkpoints() -> (World, Aft) {
    let world = World::new();
    let node = world.node().await;
    for n in 0..50 {
        write(&node, &[(&format!("k{n:02}"), Some("1")), ("a", Some("1"))]).await;
    }
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    assert_eq!(node.checkpoint().await.unwrap().folded, 50);
    write(&node, &[("b", Some("2")), ("a", Some("2"))]).await;
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    write(&node, &[("c", Some("3")), ("k00", None)]).await;
    node.publish().await.unwrap();
    let report = node.checkpoint().await.unwrap();
    assert_eq!((report.number, report.folded, report.recent, report.runs), (2, 1, 1, 2), "{report:?}");
    (world, node)
}

async fn reads_all(node: &Aft) {
    for (key, value) in
        [("a", Some("2")), ("b", Some("2")), ("c", Some("3")), ("k00", None), ("k49", Some("1"))]
    {
        assert_eq!(get(node, key).await.as_deref(), value, "{key}");
    }
    let tx = node.begin().await.unwrap();
    assert_eq!(tx.scan(..).await.unwrap().len(), 52);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_lost_manifest_or_recent_file_is_replaced_by_the_checkpoint_before_while_that_is_whole()
{
    for folder in ["checkpoints/", "recent/"] {
        for lost in [false, true] {
            let (world, old) = two_checkpoints().await;
            let newest = only(&world, folder, 1);
            if lost {
                lose(&world, &newest).await
            } else {
                damage(&world, &newest).await
            }
            let cold = world.node().await;
            assert_eq!(cold.stats().checkpoint, 1, "{newest}");
            reads_all(&cold).await;
            // Who had read it goes on.
            reads_all(&old).await;
            // Nobody builds on a checkpoint while a newer one cannot be read: its files may be garbage to others.
            let refused = cold.checkpoint().await;
            if lost && folder == "checkpoints/" {
                assert!(refused.unwrap().made, "it is as if the second had never been");
            } else if folder == "checkpoints/" {
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                let cause = std::error::Error::source(&error).unwrap().to_string();
                assert!(cause.contains(&newest), "{error}: {cause}");
                // Epochs that are over need nothing.
                let kept = || world.memory.paths().into_iter().filter(|path| !path.starts_with("epochs/"));
                let before: Vec<_> = kept().collect();
                let report = cold.collect_garbage(false).await.unwrap();
                assert!(report.left_out.iter().any(|why| why.contains(&newest)), "{report:?}");
                assert!(kept().eq(before), "what it needs is not known");
            }
        }
    }
}

/// How an object is hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hurt {
    Flipped,
    CutOff,
    Lost,
    /// Another object of its kind is in its place.
    Swapped,
}

/// Hurts the file of this folder that only the second checkpoint needs.
async fn hurt(world: &World, folder: &str, how: Hurt) -> String {
    let (old, path) = (only(world, folder, 0), only(world, folder, 1));
    let whole = world.memory.get(&path).await.unwrap().bytes;
    match how {
        Hurt::Flipped => damage(world, &path).await,
        Hurt::Lost => lose(world, &path).await,
        Hurt::CutOff | Hurt::Swapped => {
            let other = world.memory.get(&old).await.unwrap().bytes;
            lose(world, &path).await;
            let bytes = if how == Hurt::CutOff { whole.slice(..whole.len() / 8) } else { other };
            world.memory.create(&path, bytes).await.unwrap();
        }
    }
    path
}

/// Issue 11: the newest checkpoint settles, and one of its files is damaged. Everything is still to be had through the one before,
/// before a collection and after it; and once the damage is mended, the collection does all that it left out.
#[tokio::test(start_paused = true)]
async fn what_stands_in_for_a_damaged_checkpoint_is_not_collected() {
    for folder in ["index/", "recent/"] {
        for how in [Hurt::Flipped, Hurt::CutOff, Hurt::Lost, Hurt::Swapped] {
            let (world, node) = two_checkpoints().await;
            tokio::time::sleep(OLD).await;
            write(&node, &[("young", Some("4"))]).await;
            node.publish().await.unwrap();
            let path = only(&world, folder, 1);
            let whole = world.memory.get(&path).await.unwrap().bytes;
            assert_eq!(hurt(&world, folder, how).await, path);
            let collector = world.node().await;
            for _ in 0..2 {
                let report = collector.collect_garbage(false).await.unwrap();
                assert!(report.left_out.iter().any(|why| why.contains(&path)), "{how:?} {report:?}");
                assert_eq!(get(&world.node().await, "b").await.as_deref(), Some("2"), "{folder} {how:?}");
            }
            let cold = world.node().await;
            for n in 1..50 {
                assert_eq!(get(&cold, &format!("k{n:02}")).await.as_deref(), Some("1"), "{folder} {how:?}");
            }
            for (key, value) in [("a", "2"), ("b", "2"), ("c", "3"), ("young", "4")] {
                assert_eq!(get(&cold, key).await.as_deref(), Some(value), "{folder} {how:?}");
            }
            assert_eq!(cold.stats().checkpoint, 1, "{folder} {how:?}");
            lose(&world, &path).await;
            world.memory.create(&path, whole).await.unwrap();
            let report = world.node().await.collect_garbage(false).await.unwrap();
            assert!(report.left_out.is_empty() && report.settled_checkpoint == Some(2), "{report:?}");
            assert_eq!(
                world
                    .memory
                    .paths()
                    .iter()
                    .filter(|path| path.ends_with(".json") && path.starts_with("checkpoints/"))
                    .count(),
                1
            );
            assert_eq!(get(&world.node().await, "k49").await.as_deref(), Some("1"));
        }
    }
}

/// Issue 11: two checkpoints' recent files are swapped. Each is known by its checksum, so neither is taken for the other.
#[tokio::test(start_paused = true)]
async fn recent_files_that_were_swapped_are_noticed() {
    let (world, _) = two_checkpoints().await;
    let [one, two] = [only(&world, "recent/", 0), only(&world, "recent/", 1)];
    let [first, second] =
        [world.memory.get(&one).await.unwrap().bytes, world.memory.get(&two).await.unwrap().bytes];
    assert_ne!(first, second);
    world.memory.delete(&[one.clone(), two.clone()]).await.unwrap();
    world.memory.create(&one, second).await.unwrap();
    world.memory.create(&two, first).await.unwrap();
    let error = world.builder().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("recent/"), "{error}");
}

/// One request's claim is damaged: it stays, and the other one's goes.
#[tokio::test(start_paused = true)]
async fn one_damaged_claim_does_not_stop_the_collection() {
    let (world, node) = two_checkpoints().await;
    for request in ["one", "two"] {
        node.run(request, async |tx| {
            tx.put("r", "v")?;
            Ok("done".into())
        })
        .await
        .unwrap();
    }
    node.publish().await.unwrap();
    tokio::time::sleep(26 * OLD).await;
    write(&node, &[("c", Some("4"))]).await;
    assert!(node.checkpoint().await.unwrap().made);
    let claim = only(&world, "requests/", 0);
    damage(&world, &claim).await;
    // What is put there anew is as young as that: it has to grow old again.
    tokio::time::sleep(26 * OLD).await;
    write(&node, &[("c", Some("5"))]).await;
    node.publish().await.unwrap();
    let report = node.collect_garbage(false).await.unwrap();
    assert!(report.left_out.iter().any(|why| why.contains(&claim)), "{report:?}");
    let class = report.classes[&GarbageKind::Claims];
    assert_eq!((class.objects, class.kept), (1, 1), "{report:?}");
    assert!(report.classes[&GarbageKind::Outcomes].objects > 0, "{report:?}");
}

/// A damaged list: what it names stays, and everything else goes.
#[tokio::test(start_paused = true)]
async fn one_damaged_list_does_not_stop_the_collection() {
    let (world, node) = two_checkpoints().await;
    tokio::time::sleep(OLD).await;
    write(&node, &[("c", Some("4"))]).await;
    assert!(node.checkpoint().await.unwrap().made);
    let lists: Vec<_> = world.memory.paths().into_iter().filter(|it| it.starts_with("garbage/")).collect();
    damage(&world, &lists[0]).await;
    let report = node.collect_garbage(false).await.unwrap();
    assert!(report.left_out.iter().any(|why| why.contains(&lists[0])), "{report:?}");
    assert!(report.classes[&GarbageKind::Manifests].objects > 0, "{report:?}");
    assert!(report.classes[&GarbageKind::FoldedDecisions].objects > 0, "{report:?}");
    assert_eq!(get(&world.node().await, "k49").await.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_manifest_is_named_where_the_one_before_is_gone() {
    let (world, node) = two_checkpoints().await;
    for _ in 0..2 {
        tokio::time::sleep(OLD).await;
        write(&node, &[("c", Some("3"))]).await;
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    // The third is still there: it is older than any transaction, and the fourth is not.
    assert_eq!(
        world
            .memory
            .paths()
            .iter()
            .filter(|path| path.ends_with(".json") && path.starts_with("checkpoints/"))
            .count(),
        2
    );
    damage(&world, &only(&world, "checkpoints/", 1)).await;
    reads_all(&world.node().await).await;
    lose(&world, &only(&world, "checkpoints/", 0)).await;
    let error = world.builder().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&only(&world, "checkpoints/", 0)), "{error}");
    reads_all(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_lost_file_of_a_run_is_named_and_the_checkpoint_before_is_used_while_that_is_whole() {
    for lost in [false, true] {
        let (world, _) = two_checkpoints().await;
        let young = only(&world, "index/", 1);
        if lost {
            lose(&world, &young).await
        } else {
            damage(&world, &young).await
        }
        let cold = world.node().await;
        assert_eq!(cold.stats().checkpoint, 2, "nothing of the run was read yet");
        reads_all(&cold).await;
        assert_eq!(cold.stats().checkpoint, 1);

        // The older run is in both checkpoints: what needs it fails, and says so; the rest goes on.
        let (world, node) = two_checkpoints().await;
        let old = only(&world, "index/", 0);
        if lost {
            lose(&world, &old).await
        } else {
            damage(&world, &old).await
        }
        for node in [world.node().await, node] {
            assert_eq!(get(&node, "c").await.as_deref(), Some("3"));
            let tx = node.begin().await.unwrap();
            let error = tx.get("k25").await.unwrap_err();
            let kind = if lost { ErrorKind::VersionUnavailable } else { ErrorKind::Corrupt };
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(&old), "{error}");
            assert_eq!(tx.get("c").await.unwrap().unwrap(), "3");
            // Damage does not go away by asking again, and does not pile up either.
            assert!(tx.get("k26").await.is_err() && tx.get("k25").await.is_err());
        }
    }
}

/// What only other programs read: every read goes on, a check names it, and a collection proves nothing by it.
#[tokio::test(start_paused = true)]
async fn a_damaged_parquet_footer_hurts_no_read_and_is_named() {
    let (world, _) = two_checkpoints().await;
    let path = only(&world, "index/", 1);
    damage_at(&world, &path, 2).await;
    let cold = world.node().await;
    reads_all(&cold).await;
    assert_eq!(cold.stats().checkpoint, 2);
    let report = cold.check().await.unwrap();
    assert!(report.problems.iter().any(|problem| problem.path == path), "{report:?}");
}
