//! What the exchange between nodes costs, in requests: for functions that start, and for nodes that stay.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the counts are for the benchmarks page")]

use std::time::Duration;

use aft_core::{Aft, Config};
use aft_memory::Counts;
use aft_tests::{World, put};
use tokio::time::sleep;

/// One function's life: it opens the store, reads two old keys, commits two keys, and closes.
async fn function(world: &World, n: u64, reads_at_start: u64) -> Counts {
    world.storage.reset();
    let config = Config::function(Duration::from_secs(30));
    // Sweeps are another story.
    let config = Config { reads_at_start, sweep_interval: World::config().sweep_interval, ..config };
    let aft = world.builder().config(config).open().await.unwrap();
    let mut tx = aft.begin().await.unwrap();
    for key in ["old/1", "old/2"] {
        assert!(tx.get(key).await.unwrap().is_some());
    }
    tx.put(format!("a/{n}"), "1").unwrap();
    tx.put(format!("b/{n}"), "1").unwrap();
    tx.commit().await.unwrap();
    aft.close().await.unwrap();
    // What it left to do beside its work, and the time until the next one.
    sleep(Duration::from_millis(50)).await;
    world.storage.counts()
}

/// A store with a checkpoint that holds two old keys.
async fn with_old_keys() -> World {
    let world = World::new();
    let maker = world.node().await;
    put(&maker, "old/1", "1").await;
    put(&maker, "old/2", "1").await;
    maker.publish().await.unwrap();
    sleep(Duration::from_secs(3_600)).await;
    put(&maker, "recent", "1").await;
    maker.publish().await.unwrap();
    maker.checkpoint().await.unwrap();
    world
}

/// The default of `Config::reads_at_start`.
fn enough() -> u64 {
    Config::default().reads_at_start
}

/// Functions that run one after the other after a checkpoint: how many requests each costs.
#[tokio::test(start_paused = true)]
async fn a_function_does_not_pay_for_each_that_ran_before() {
    const FUNCTIONS: u64 = 1_000;
    let world = with_old_keys().await;
    let (mut spent, mut most, mut lightened) = (0, 0, 0);
    for n in 1..=FUNCTIONS {
        let counts = function(&world, n, enough()).await;
        spent += counts.requests();
        // The proof, the commit, and bundles; but for the one that makes a light checkpoint.
        if counts.creates > 4 {
            lightened += 1;
            assert!(counts.requests() <= 36, "{counts:?}");
        } else {
            most = most.max(counts.requests());
        }
        if [1, 10, 100, FUNCTIONS].contains(&n) {
            println!("function {n}: {counts:?}; at most {most}, {} in the mean", spent / n);
        }
    }
    assert!(most <= 29, "at most {most} requests");
    assert!(spent / FUNCTIONS <= 21, "{} in the mean", spent / FUNCTIONS);
    assert!(lightened <= FUNCTIONS / enough(), "{lightened} made a checkpoint");
}

/// However many ran since the newest full checkpoint: light ones keep what the next one reads small. `AFT_FUNCTIONS` says how many, 100,000 say.
#[tokio::test(start_paused = true)]
async fn a_function_does_not_pay_for_all_that_ran_since_the_newest_full_checkpoint() {
    const EACH: Duration = Duration::from_millis(50);
    /// Most of them are stood in for by four nodes that stay, which read less. One in so many is a function, and does what one of these would do.
    const SPARSE: u64 = 128;
    let most = std::env::var("AFT_FUNCTIONS").map_or(10_000, |it| it.parse().unwrap());
    let world = with_old_keys().await;
    // Each commit of these is a feed object of its own, as that of a function is.
    let config = Config { feed_interval: EACH, direct_commits: true, reads_at_start: 0, ..World::config() };
    let mut busy = Vec::new();
    for _ in 0..4 {
        busy.push(world.builder().config(config.clone()).open().await.unwrap());
    }
    for n in 1..=most {
        if [10, 1_000, 10_000, 100_000].contains(&n) {
            // What four nodes wrote nobody has bundled: functions do that.
            for it in 0..40 {
                function(&world, n + it, enough()).await;
            }
            let mut requests = Vec::new();
            for it in 0..8 {
                let counts = function(&world, n + it, enough()).await;
                assert!(counts.requests() <= 29, "after {n}: {counts:?}");
                requests.push(counts.requests());
                if it == 7 {
                    println!("after {n}: {requests:?} requests, the last {counts:?}");
                }
            }
        } else if n % SPARSE == 0 {
            function(&world, n, SPARSE / 10).await;
        } else {
            put(&busy[n as usize % busy.len()], &format!("a/{n}"), "1").await;
            sleep(EACH).await;
        }
    }
}

/// `nodes` nodes that commit once a second each, and begin a transaction for it: requests of one node in a second.
async fn busy(nodes: usize) -> f64 {
    const SECONDS: u64 = 60;
    let world = World::new();
    let config = Config {
        background: true,
        feed_interval: Duration::from_secs(1),
        direct_commits: true,
        ..World::config()
    };
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
    for (nodes, most) in [(1, 1.2), (2, 2.2), (4, 3.3), (16, 3.8), (64, 4.7)] {
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
