//! Damage to what a checkpoint is made of: named by its path, and the checkpoint before used in its place where that is safe.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::time::Duration;

use aft_core::{Aft, ErrorKind, Storage};
use aft_tests::{World, get, write};

const OLD: Duration = Duration::from_secs(3600);

/// Puts other bytes in the place of an object, as no client of a store with create-if-absent could.
async fn damage(world: &World, path: &str) {
    let mut bytes = world.memory.get(path).await.unwrap().bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    world.memory.delete(&[path.to_owned()]).await.unwrap();
    world.memory.create(path, bytes.into()).await.unwrap();
}

async fn lose(world: &World, path: &str) {
    world.memory.delete(&[path.to_owned()]).await.unwrap();
}

fn only(world: &World, folder: &str, nth: usize) -> String {
    let paths = world.memory.paths();
    paths.into_iter().filter(|path| path.starts_with(folder)).nth(nth).unwrap()
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
    let mut tx = node.begin().await.unwrap();
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
                let error = cold.collect_garbage(false).await.unwrap_err();
                assert!(error.to_string().contains("nothing was collected"), "{error}");
            }
        }
    }
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
    assert_eq!(world.memory.paths().iter().filter(|path| path.starts_with("checkpoints/")).count(), 2);
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
            let mut tx = node.begin().await.unwrap();
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
