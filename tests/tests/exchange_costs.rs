//! What the exchange between nodes costs, in requests: for functions that start, and for nodes that stay.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the counts are for the benchmarks page")]

use std::time::Duration;

use aft_core::{Aft, Config};
use aft_memory::Counts;
use aft_tests::{World, put};
use tokio::time::sleep;

/// One function's life: it opens the store, reads two old keys, commits two keys, and closes.
async fn function(world: &World, n: u64) -> Counts {
    world.storage.reset();
    let aft = world.node().await;
    let mut tx = aft.begin().await.unwrap();
    for key in ["old/1", "old/2"] {
        assert!(tx.get(key).await.unwrap().is_some());
    }
    tx.put(format!("a/{n}"), "1").unwrap();
    tx.put(format!("b/{n}"), "1").unwrap();
    tx.commit().await.unwrap();
    aft.close().await.unwrap();
    // What it left to do beside its work.
    sleep(Duration::from_millis(100)).await;
    world.storage.counts()
}

/// Functions that run one after the other after a checkpoint: how many requests the next one costs.
#[tokio::test(start_paused = true)]
async fn a_function_does_not_pay_for_each_that_ran_before() {
    let world = World::new();
    let maker = world.node().await;
    put(&maker, "old/1", "1").await;
    put(&maker, "old/2", "1").await;
    maker.publish().await.unwrap();
    sleep(Duration::from_secs(3_600)).await;
    put(&maker, "recent", "1").await;
    maker.publish().await.unwrap();
    maker.checkpoint().await.unwrap();
    let (mut spent, mut most) = (0, 0);
    for n in 1..=1_000 {
        let counts = function(&world, n).await;
        spent += counts.requests();
        most = most.max(counts.requests());
        if [1, 10, 100, 1_000].contains(&n) {
            println!("function {n}: {counts:?}; at most {most}, {} in the mean", spent / n);
        }
    }
    assert!(most <= 35, "at most {most} requests");
    assert!(spent / 1_000 <= 24, "{} in the mean", spent / 1_000);
}

/// `nodes` nodes that commit once a second each, and begin a transaction for it: requests of one node in a second.
async fn busy(nodes: usize) -> f64 {
    const SECONDS: u64 = 60;
    let world = World::new();
    let config = Config { background: true, feed_interval: Duration::from_secs(1), ..World::config() };
    let mut all: Vec<Aft> = Vec::new();
    for n in 0..nodes {
        // Nobody does everything at the same moment as everybody.
        sleep(Duration::from_millis(1_000 / nodes as u64)).await;
        all.push(world.builder().config(config.clone()).open().await.unwrap());
        put(all.last().unwrap(), &format!("k{n}"), "0").await;
    }
    let run = |seconds: u64| {
        let all = all.clone();
        async move {
            for second in 0..seconds {
                for (n, node) in all.iter().enumerate() {
                    put(node, &format!("k{n}"), &second.to_string()).await;
                    sleep(Duration::from_micros(1_000_000 / nodes as u64)).await;
                }
            }
        }
    };
    run(20).await;
    world.storage.reset();
    run(SECONDS).await;
    let counts = world.storage.counts();
    let each = counts.requests() as f64 / (nodes as f64 * SECONDS as f64);
    println!("{nodes} nodes: {each:.2} requests a node-second; {counts:?}");
    each
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_pay_for_each_that_commits_beside_it() {
    for (nodes, most) in [(1, 2.2), (2, 3.2), (4, 4.2), (16, 4.8), (64, 6.9)] {
        let each = busy(nodes).await;
        assert!(each <= most, "{nodes} nodes: {each} requests a node-second");
    }
}

/// Functions that start at the same moment bundle the same; those who come next do not pay for each of these bundles.
#[tokio::test(start_paused = true)]
async fn functions_that_start_at_once_do_not_pay_for_each_other_either() {
    const WAVE: u64 = 20;
    let world = World::new();
    put(&world.node().await, "old", "1").await;
    for wave in 0..20 {
        world.storage.reset();
        let run = |n: u64| {
            let builder = world.builder();
            async move {
                let aft = builder.open().await.unwrap();
                // All of them have listed before any of them makes a bundle.
                sleep(Duration::from_millis(20)).await;
                put(&aft, &format!("k{n}"), "1").await;
                sleep(Duration::from_millis(20)).await;
                aft.close().await.unwrap();
            }
        };
        futures::future::join_all((0..WAVE).map(run)).await;
        let counts = world.storage.counts();
        let each = counts.requests() / WAVE;
        println!("wave {wave}: {each} requests each; {counts:?}");
        assert!(each <= 39, "{each} requests each");
        sleep(Duration::from_secs(1)).await;
    }
}
