//! Makers of checkpoints and collectors of garbage that die at any request: what they left is finished by others, and nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::collections::BTreeMap;
use std::time::Duration;

use aft_core::Aft;
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, write};

const OLD: Duration = Duration::from_secs(3600);
const OPERATIONS: [Operation; 5] =
    [Operation::Get, Operation::GetRange, Operation::Create, Operation::List, Operation::Delete];

/// A store that has much to fold and to collect: two runs, superseded values, deletions, orphans, a pruned commit.
async fn store(world: &World) -> Aft {
    let node = world.node().await;
    let large = "x".repeat(20_000);
    for n in 0..6 {
        write(&node, &[("a", Some(&format!("{large}{n}"))), (&format!("k{n}"), Some("1"))]).await;
        if n != 2 {
            node.publish().await.unwrap();
        }
    }
    write(&node, &[("k0", None), ("k1", Some(&large))]).await;
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    let mut orphan = node.begin().await.unwrap();
    orphan.put("never", large.clone()).unwrap();
    drop(orphan.suspend().await.unwrap());
    write(&node, &[("a", Some("last")), ("k2", None)]).await;
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    write(&node, &[("b", Some("young"))]).await;
    node.publish().await.unwrap();
    node
}

async fn reads_all(node: &Aft) {
    let expected = [
        ("a", Some("last")),
        ("b", Some("young")),
        ("k0", None),
        ("k2", None),
        ("k5", Some("1")),
        ("never", None),
    ];
    for (key, value) in expected {
        assert_eq!(get(node, key).await.as_deref(), value, "{key}");
    }
    assert_eq!(get(node, "k1").await.map(|value| value.len()), Some(20_000));
}

/// Another node sees to it, as often as it takes; how many objects of each kind are left then.
async fn finish(world: &World) -> BTreeMap<String, usize> {
    for _ in 0..4 {
        let node = world.node().await;
        reads_all(&node).await;
        node.checkpoint().await.unwrap();
        reads_all(&node).await;
        tokio::time::sleep(OLD).await;
        node.collect_garbage(false).await.unwrap();
        reads_all(&node).await;
        node.close().await.unwrap();
        let cold = world.node().await;
        reads_all(&cold).await;
        drop(cold);
    }
    let mut left = BTreeMap::new();
    for path in world.memory.paths() {
        let folder = path.split('/').next().unwrap().to_owned();
        *left.entry(folder).or_default() += 1;
    }
    left
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Checkpoint,
    Collect,
}

/// Lets a node die in the middle of its work: at the nth request of a kind, before it is sent or once it took effect. Whether there
/// was such a request.
async fn dies(world: &World, work: Work, operation: Operation, nth: u64, fault: Fault) -> bool {
    let node = world.node().await;
    if work == Work::Collect {
        node.checkpoint().await.unwrap();
        tokio::time::sleep(OLD).await;
    }
    world.storage.reset();
    world.storage.fail(operation, "", nth, fault);
    let done = async {
        match work {
            Work::Checkpoint => drop(node.checkpoint().await),
            Work::Collect => drop(node.collect_garbage(false).await),
        }
    };
    // Whoever waits for a request that is never answered gives up after its own time: until then nothing else happens.
    let died = tokio::time::timeout(Duration::from_secs(20), done).await.is_err();
    world.storage.clear_faults();
    died
}

async fn each_death(work: Work) {
    let undisturbed = {
        let world = World::new();
        store(&world).await;
        finish(&world).await
    };
    // k1's, and one of a's: its row lies in the older run, and has not met the newer one in a merge.
    assert_eq!(undisturbed["values"], 2, "{undisturbed:?}");
    assert!(!undisturbed.contains_key("commits"), "{undisturbed:?}");
    let mut deaths = 0;
    for operation in OPERATIONS {
        for fault in [Fault::Delay, Fault::Late] {
            for nth in 1.. {
                let world = World::new();
                let old = store(&world).await;
                if !dies(&world, work, operation, nth, fault).await {
                    break;
                }
                deaths += 1;
                reads_all(&old).await;
                let left = finish(&world).await;
                for (folder, count) in &left {
                    let expected = undisturbed.get(folder).copied().unwrap_or(0);
                    // Epochs and feeds depend on how often the store was opened.
                    let free = ["epochs", "feed"].contains(&folder.as_str());
                    assert!(
                        free || *count <= expected,
                        "{operation:?} {nth} {fault:?}: {left:?}, not {undisturbed:?}"
                    );
                }
            }
        }
    }
    let least = if work == Work::Checkpoint { 50 } else { 100 };
    assert!(deaths >= least, "only {deaths} deaths");
}

#[tokio::test(start_paused = true)]
async fn a_maker_of_checkpoints_dies_at_each_of_its_requests() {
    each_death(Work::Checkpoint).await;
}

#[tokio::test(start_paused = true)]
async fn a_collector_of_garbage_dies_at_each_of_its_requests() {
    each_death(Work::Collect).await;
}
