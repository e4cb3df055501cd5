//! Checkpoints: what is folded, what is read through them, and what they cost.

use std::collections::BTreeMap;
use std::time::Duration;

use aft_core::Aft;
use aft_tests::{World, get};

/// Longer than any window: what was committed before is folded by the next checkpoint.
const OLD: Duration = Duration::from_secs(3600);

async fn commit(node: &Aft, writes: &[(&str, Option<&str>)]) {
    let mut tx = node.begin().await.unwrap();
    for (key, value) in writes {
        match value {
            Some(value) => tx.put(key, (*value).to_owned()).unwrap(),
            None => tx.delete(key).unwrap(),
        }
    }
    tx.commit().await.unwrap();
}

async fn all(node: &Aft) -> BTreeMap<String, String> {
    let mut tx = node.begin().await.unwrap();
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    tx.scan(..).await.unwrap().into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_folded_is_read_by_every_node_old_and_new() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let large = "x".repeat(20_000);
    commit(&a, &[("a", Some("1")), ("b", Some("2")), ("large", Some(&large)), ("gone", Some("3"))]).await;
    commit(&a, &[("b", Some("3")), ("gone", None), ("empty", Some(""))]).await;
    a.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    let report = a.checkpoint().await.unwrap();
    assert!(report.made, "{report:?}");
    assert_eq!((report.number, report.folded, report.recent, report.runs), (1, 2, 0, 1), "{report:?}");
    assert_eq!(a.stats().recent_commits, 0);
    commit(&a, &[("young", Some("4")), ("a", Some("5"))]).await;
    a.publish().await.unwrap();
    let expected: BTreeMap<String, String> =
        [("a", "5"), ("b", "3"), ("empty", ""), ("large", &large), ("young", "4")]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let cold = world.node().await;
    for node in [&a, &b, &cold] {
        assert_eq!(all(node).await, expected);
        for (key, value) in &expected {
            assert_eq!(get(node, key).await.as_ref(), Some(value), "{key}");
        }
        assert_eq!(get(node, "gone").await, None);
        assert_eq!(get(node, "never").await, None);
    }
    assert_eq!(cold.stats().checkpoint, 1);
    assert_eq!(cold.stats().recent_commits, 1);
}

#[tokio::test(start_paused = true)]
async fn garbage_goes_and_what_is_alive_stays() {
    let world = World::new();
    let node = world.node().await;
    let large = "x".repeat(20_000);
    for n in 0..20 {
        commit(&node, &[("a", Some(&format!("{large}{n}"))), ("b", Some("small"))]).await;
        node.publish().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    for _ in 0..4 {
        tokio::time::sleep(OLD).await;
        commit(&node, &[("c", Some("c"))]).await;
        let report = node.checkpoint().await.unwrap();
        assert!(report.made);
        let would = node.collect_garbage(true).await.unwrap();
        let did = node.collect_garbage(false).await.unwrap();
        assert_eq!(would.classes, did.classes);
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let cold = world.node().await;
    for node in [&node, &cold] {
        assert_eq!(get(node, "a").await, Some(format!("{large}19")));
        assert_eq!(get(node, "b").await.as_deref(), Some("small"));
    }
    let left = world.memory.len();
    assert!(left < 40, "{left} objects are left");
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_and_its_first_read_cost_eight_requests() {
    let world = World::new();
    let node = world.node().await;
    for n in 0..200 {
        commit(&node, &[(&format!("k{n:03}"), Some("v"))]).await;
    }
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    let before = world.storage.requests().len();
    let cold = world.node().await;
    assert_eq!(get(&cold, "k100").await.as_deref(), Some("v"));
    let log = world.storage.requests();
    assert_eq!(log.len() - before, 8);
}
