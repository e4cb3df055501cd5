//! Several nodes that know of each other only through the bucket.

use std::collections::BTreeSet;
use std::time::Duration;

use aft_core::{Aft, Begin, Config};
use aft_tests::{get, put};
use futures::future::{join, join_all};

use crate::Failure;
use crate::bucket::{self, Bucket};

/// Nodes as programs run them, that learn of each other within a fraction of a second.
fn lively() -> Config {
    let (max_staleness, feed_interval) = (Duration::from_millis(200), Duration::from_millis(100));
    Config { max_staleness, feed_interval, background: true, ..bucket::config() }
}

/// Polls until the node reads the value, for a minute at most: how long it takes is up to the machine.
async fn wait_for(node: &Aft, key: &str, value: &str) {
    for _ in 0..600 {
        if get(node, key).await.as_deref() == Some(value) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{key} never became {value}");
}

pub async fn commits_spread_by_receipt_and_by_feed(bucket: Bucket) -> Result<(), Failure> {
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(bucket.node_with(lively()).await);
    }
    for (n, writer) in nodes.iter().enumerate() {
        let receipt = put(writer, "last", &n.to_string()).await;
        for node in &nodes {
            let tx = node.begin_with(Begin::new().after(&receipt)).await.unwrap();
            assert_eq!(tx.get("last").await.unwrap().unwrap(), n.to_string(), "by its receipt, at once");
        }
        put(writer, "fed", &n.to_string()).await;
        join_all(nodes.iter().map(|node| wait_for(node, "fed", ["0", "1", "2", "3"][n]))).await;
    }
    let mut tx = nodes[0].begin_with(Begin::new().publish_before_ack()).await.unwrap();
    tx.put("published", "x").unwrap();
    tx.commit().await.unwrap();
    let tx = nodes[1].begin_with(Begin::new().latest()).await.unwrap();
    assert_eq!(tx.get("published").await.unwrap().unwrap(), "x", "without a receipt");
    for node in nodes {
        node.close().await.unwrap();
    }
    bucket.is_clean().await
}

/// Writers write pairs of keys, both with one value of their own; whoever reads one of a pair reads the other as new at least.
pub async fn readers_see_whole_commits_of_all_writers(bucket: Bucket) -> Result<(), Failure> {
    const ROUNDS: u64 = 30;
    let (mut writers, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        writers.push(bucket.node_with(lively()).await);
        readers.push(bucket.node_with(lively()).await);
    }
    let write = async |n: usize, node: &Aft| {
        for round in 0..ROUNDS {
            let mut tx = node.begin().await.unwrap();
            for side in ["left", "right"] {
                tx.put(format!("pair/{side}"), format!("{n}:{round}")).unwrap();
                tx.put(format!("own/{n}/{side}"), format!("{n}:{round}")).unwrap();
            }
            tx.commit().await.unwrap();
        }
    };
    let read = async |node: &Aft| {
        let mut seen = BTreeSet::new();
        for _ in 0..ROUNDS {
            let tx = node.begin().await.unwrap();
            for pair in ["pair", "own/0", "own/1", "own/2"] {
                let right = tx.get(format!("{pair}/right")).await.unwrap();
                let left = tx.get(format!("{pair}/left")).await.unwrap();
                assert_eq!(left, right, "{pair}: a fractured read");
                seen.extend(left);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seen.len()
    };
    let all = (writers.iter().enumerate()).map(|(n, node)| write(n, node));
    let (_, seen) = join(join_all(all), join_all(readers.iter().map(read))).await;
    for (n, reader) in readers.iter().enumerate() {
        for writer in 0..3 {
            let key = format!("own/{writer}/left");
            wait_for(reader, &key, &format!("{writer}:{}", ROUNDS - 1)).await;
        }
        assert!(seen[n] > 0 || ROUNDS == 0, "reader {n} saw nothing");
    }
    let last = join_all(readers.iter().map(|node| get(node, "pair/left"))).await;
    assert!(last.iter().all(|value| *value == last[0]), "one version wins everywhere: {last:?}");
    for node in writers.into_iter().chain(readers) {
        node.close().await.unwrap();
    }
    bucket.is_clean().await
}

pub async fn a_sweep_publishes_what_a_dead_node_left(bucket: Bucket) -> Result<(), Failure> {
    let (dead, sweeper, reader) = (bucket.node().await, bucket.node().await, bucket.node().await);
    put(&dead, "k", "v").await;
    put(&dead, "k", "w").await;
    drop(dead);
    let report = sweeper.sweep().await.unwrap();
    // The first one lies in the feed, and was published when it was decided.
    assert_eq!((report.listed, report.published, report.dead), (2, 1, 0));
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("w"));
    let again = reader.sweep().await.unwrap();
    assert_eq!((again.listed, again.published), (2, 0));
    assert!(again.swept_through >= report.swept_through);
    bucket.is_clean().await
}
