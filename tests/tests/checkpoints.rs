//! Checkpoints: what is folded, what is read through them, and what they cost.

use std::collections::BTreeMap;
use std::time::Duration;

use aft_core::{Aft, Begin, Config, Maintenance};
use aft_tests::{World, get, write};

/// Longer than any window: what was committed before is folded by the next checkpoint.
const OLD: Duration = Duration::from_secs(3600);

#[allow(clippy::unwrap_used, reason = "a test's own helper")]
async fn all(node: &Aft) -> BTreeMap<String, String> {
    let tx = node.begin().await.unwrap();
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    tx.scan(..).await.unwrap().into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_folded_is_read_by_every_node_old_and_new() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let large = "x".repeat(20_000);
    write(&a, &[("a", Some("1")), ("b", Some("2")), ("large", Some(&large)), ("gone", Some("3"))]).await;
    write(&a, &[("b", Some("3")), ("gone", None), ("empty", Some(""))]).await;
    a.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    let report = a.checkpoint().await.unwrap();
    assert!(report.made, "{report:?}");
    assert_eq!((report.number, report.folded, report.recent, report.runs), (1, 2, 0, 1), "{report:?}");
    assert_eq!(a.stats().recent_commits, 0);
    write(&a, &[("young", Some("4")), ("a", Some("5"))]).await;
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
        write(&node, &[("a", Some(&format!("{large}{n}"))), ("b", Some("small"))]).await;
        node.publish().await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    for _ in 0..4 {
        tokio::time::sleep(OLD).await;
        write(&node, &[("c", Some("c"))]).await;
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
        write(&node, &[(&format!("k{n:03}"), Some("v"))]).await;
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

#[tokio::test(start_paused = true)]
async fn of_two_makers_one_counts_and_the_other_leaves_nothing_behind() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    write(&a, &[("a", Some("1"))]).await;
    a.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    let (left, right) = tokio::join!(a.checkpoint(), b.checkpoint());
    let (left, right) = (left.unwrap(), right.unwrap());
    assert!(left.made != right.made, "{left:?} {right:?}");
    assert_eq!((left.number, right.number), (1, 1));
    assert_eq!((a.stats().checkpoint, b.stats().checkpoint), (1, 1));
    let paths: Vec<_> = world.memory.paths();
    for (folder, objects) in [("checkpoints/", 2), ("index/", 1), ("recent/", 1), ("garbage/", 1)] {
        assert_eq!(
            paths.iter().filter(|path| path.starts_with(folder)).count(),
            objects,
            "{folder} {paths:?}"
        );
    }
    for node in [&a, &b] {
        assert_eq!(get(node, "a").await.as_deref(), Some("1"));
    }
}

#[tokio::test(start_paused = true)]
async fn other_nodes_drop_what_was_folded_when_they_look_for_a_checkpoint() {
    let world = World::new();
    let maker = world.node().await;
    let config = Config { sweep_interval: Duration::from_secs(60), ..World::config() };
    let other = world.builder().config(config).open().await.unwrap();
    for n in 0..10 {
        write(&maker, &[(&format!("k{n}"), Some("v"))]).await;
    }
    maker.publish().await.unwrap();
    tokio::time::sleep(OLD / 2).await;
    other.refresh().await.unwrap();
    assert_eq!(other.stats().recent_commits, 10);
    tokio::time::sleep(OLD / 2).await;
    maker.checkpoint().await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let before = other.stats().requests;
    assert_eq!(get(&other, "k5").await.as_deref(), Some("v"));
    assert_eq!((other.stats().checkpoint, other.stats().recent_commits), (1, 0));
    let spent = other.stats().requests - before;
    assert_eq!(spent.range_gets, 2, "a tail and a block: {spent:?}");
}

#[tokio::test(start_paused = true)]
async fn with_maintenance_nodes_keep_the_store_small_among_themselves() {
    let world = World::new();
    let minute = Duration::from_secs(60);
    let maintenance = Maintenance {
        checkpoint_interval: 5 * minute,
        checkpoint_commits: 1_000_000,
        collect_interval: 20 * minute,
    };
    let config = Config { background: true, maintenance: Some(maintenance), ..Config::default() };
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(world.builder().config(config.clone()).open().await.unwrap());
    }
    let large = "x".repeat(20_000);
    for n in 0..240u32 {
        let node = &nodes[n as usize % 3];
        write(node, &[("hot", Some(&format!("{large}{n}"))), (&format!("k{}", n % 7), Some(&large))]).await;
        tokio::time::sleep(minute).await;
    }
    let made: u64 = nodes.iter().map(|node| node.stats().checkpoints).sum();
    assert!((20..=240 / 5).contains(&made), "{made} checkpoints in four hours");
    let left = world.memory.paths();
    let values = left.iter().filter(|path| path.starts_with("values/")).count();
    assert!(values < 240, "{values} of 480 values are left");
    assert!(left.len() < 700, "{} objects are left: {left:#?}", left.len());
    for node in &nodes {
        assert_eq!(get(node, "hot").await, Some(format!("{large}239")));
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_and_receipts_of_what_was_folded_are_good_on_a_cold_node() {
    let world = World::new();
    let a = world.node().await;
    write(&a, &[("k", Some("1")), ("l", Some("1"))]).await;
    let mut tx = a.begin().await.unwrap();
    tx.put("k", "2").unwrap();
    let receipt = tx.commit().await.unwrap().receipt;
    write(&a, &[("gone", Some("1"))]).await;
    write(&a, &[("gone", None)]).await;
    a.publish().await.unwrap();
    for _ in 0..2 {
        tokio::time::sleep(OLD).await;
        write(&a, &[("other", Some("o"))]).await;
        a.checkpoint().await.unwrap();
    }
    tokio::time::sleep(OLD).await;
    a.checkpoint().await.unwrap();
    a.collect_garbage(false).await.unwrap();
    assert!(!world.memory.paths().iter().any(|path| path.contains(&receipt.txn_id().to_string())));

    let tx = a.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "2");
    assert_eq!(tx.get("gone").await.unwrap(), None);
    let token = tx.suspend().await.unwrap();
    let cold = world.node().await;
    let tx = cold.resume(&token).await.unwrap();
    let reads: Vec<_> = tx.reads().map(|(key, version)| (key.to_vec(), version)).collect();
    assert_eq!(reads[1], (b"k".to_vec(), Some(receipt.version())));
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "2", "repeatable");
    assert_eq!(tx.get("l").await.unwrap().unwrap(), "1");
    assert_eq!(tx.scan(..).await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_slept_goes_on_where_nothing_was_folded_and_begins_anew_where_something_was() {
    let world = World::new();
    let (writer, sleeper) = (world.node().await, world.node().await);
    for n in 0..30 {
        write(&writer, &[(&format!("k{n}"), Some("1"))]).await;
        writer.publish().await.unwrap();
    }
    sleeper.refresh().await.unwrap();
    let spent = async |node: &Aft, key: &str| {
        let before = node.stats().requests;
        let value = get(node, key).await;
        (value, node.stats().requests - before)
    };
    // No checkpoint was made: nothing can have been collected.
    tokio::time::sleep(OLD).await;
    write(&writer, &[("k0", Some("2"))]).await;
    writer.publish().await.unwrap();
    let (value, cost) = spent(&sleeper, "k0").await;
    assert_eq!((value.as_deref(), cost.lists, cost.gets), (Some("2"), 2, 1), "{cost:?}");

    // While it sleeps everything it knows is folded, overwritten and collected.
    for n in 0..3 {
        write(&writer, &[("k0", Some(&format!("{}", n + 3))), ("k1", None)]).await;
        writer.publish().await.unwrap();
        tokio::time::sleep(OLD).await;
        writer.checkpoint().await.unwrap();
        writer.collect_garbage(false).await.unwrap();
    }
    let (value, cost) = spent(&sleeper, "k0").await;
    assert_eq!(value.as_deref(), Some("5"), "{cost:?}");
    assert_eq!(sleeper.stats().checkpoint, 3);
    assert_eq!(get(&sleeper, "k1").await, None);
    assert_eq!(get(&sleeper, "k7").await.as_deref(), Some("1"));
    assert_eq!(sleeper.stats().recent_commits, 0);
}
