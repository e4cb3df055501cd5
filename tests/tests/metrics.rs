//! What a node tells its monitoring: exactly what it counted, under the names that docs/metrics.md lists.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aft_core::{Aft, Begin, Stats};
use aft_memory::{ErrorKind, Fault, Operation};
use aft_tests::World;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// Names with their labels (that of the store aside), and values. A counter is what was counted since the last snapshot.
type Told = BTreeMap<String, f64>;

fn told(snapshotter: &Snapshotter, store: &str) -> Told {
    let mut told = Told::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let (mut name, mut of) = (key.key().name().to_owned(), None);
        for label in key.key().labels() {
            match label.key() {
                "store" => of = Some(label.value().to_owned()),
                other => name = format!("{name} {other}={}", label.value()),
            }
        }
        assert_eq!(of.as_deref(), store.get(..8), "{name}");
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let value = match value {
            DebugValue::Counter(n) => n as f64,
            DebugValue::Gauge(n) => n.0,
            DebugValue::Histogram(values) => values.len() as f64,
        };
        assert!(told.insert(name, value).is_none());
    }
    told
}

#[allow(clippy::cast_precision_loss, reason = "small")]
fn expected(new: &Stats, old: &Stats) -> Vec<(&'static str, f64)> {
    let requests = new.requests - old.requests;
    let counts = [
        ("aft.requests operation=get", requests.gets),
        ("aft.requests operation=get_range", requests.range_gets),
        ("aft.requests operation=create", requests.creates),
        ("aft.requests operation=list", requests.lists),
        ("aft.requests operation=delete", requests.deletes),
        ("aft.read.bytes", requests.bytes_read),
        ("aft.written.bytes", requests.bytes_written),
        ("aft.begun", new.begun - old.begun),
        ("aft.commits", new.commits - old.commits),
        ("aft.groups", new.groups - old.groups),
        ("aft.direct", new.direct - old.direct),
        ("aft.replays", new.replays - old.replays),
        ("aft.cache.hits kind=value", new.cache_hits - old.cache_hits),
        ("aft.cache.hits kind=index", new.index_hits - old.index_hits),
        ("aft.cache.misses kind=value", new.cache_misses - old.cache_misses),
        ("aft.cache.misses kind=index", new.index_misses - old.index_misses),
        ("aft.refreshes", new.refreshes - old.refreshes),
        ("aft.bundles.read", new.bundles_read - old.bundles_read),
        ("aft.bundles.made", new.bundles_made - old.bundles_made),
        ("aft.published", new.published - old.published),
        ("aft.sweeps", new.sweeps - old.sweeps),
        ("aft.checkpoints", new.checkpoints - old.checkpoints),
        ("aft.checkpoint", new.checkpoint),
        ("aft.recent.commits", new.recent_commits),
        ("aft.recent.keys", new.recent_keys),
        ("aft.unpublished", new.unpublished),
        ("aft.cache.bytes", new.cache_bytes),
    ];
    counts.into_iter().map(|(name, value)| (name, value as f64)).collect()
}

/// Whether what is told since the last call is what was counted since these counts; what is told beside that.
fn check(node: &Aft, snapshotter: &Snapshotter, old: &mut Stats) -> Told {
    node.record_metrics();
    let mut told = told(snapshotter, &node.store_info().store_id);
    let stats = node.stats();
    for (name, value) in expected(&stats, old) {
        assert_eq!(told.remove(name), Some(value), "{name}");
    }
    *old = stats;
    told
}

async fn commit(node: &Aft, begin: Begin) -> Result<aft_core::Commit, aft_core::Error> {
    let mut tx = node.begin_with(begin).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await
}

/// One thread polls everything, so that the recorder of this thread gets it.
#[tokio::test(start_paused = true)]
async fn what_is_told_is_what_was_counted() {
    let recorder = DebuggingRecorder::new();
    let (snapshotter, _local) = (recorder.snapshotter(), metrics::set_default_local_recorder(&recorder));
    let world = World::new();
    let node = world.node().await;
    let mut old = Stats::default();
    check(&node, &snapshotter, &mut old);

    let id = node.new_txn_id();
    for _ in 0..2 {
        commit(&node, Begin::new().id(id)).await.unwrap();
    }
    let tx = node.begin().await.unwrap();
    tx.get("k").await.unwrap();
    // It only read: that decides nothing, and its time tells nothing.
    tx.commit().await.unwrap();
    world.storage.fail(Operation::Create, "commits/", 1, Fault::Before(ErrorKind::Denied));
    tokio::time::advance(Duration::from_secs(2)).await;
    let denied = commit(&node, Begin::new().id(node.new_txn_id())).await;
    assert!(denied.is_err());
    let rest = check(&node, &snapshotter, &mut old);
    let times: Vec<_> = rest.iter().filter(|(name, _)| name.starts_with("aft.commit.seconds")).collect();
    let outcomes = [("denied", 1.0), ("fresh", 1.0), ("replayed", 1.0)];
    let outcomes = outcomes.map(|(outcome, n)| (format!("aft.commit.seconds outcome={outcome}"), n));
    assert_eq!(times, outcomes.iter().map(|(name, n)| (name, n)).collect::<Vec<_>>());

    // Idle, an hour later: nothing is counted twice, and ages grow.
    tokio::time::advance(Duration::from_secs(3600)).await;
    let rest = check(&node, &snapshotter, &mut old);
    for age in ["aft.refresh.age.seconds", "aft.checkpoint.lag.seconds"] {
        assert!((3600.0..3700.0).contains(&rest[age]), "{age} {rest:?}");
    }
    assert!(rest["aft.clock.ahead.seconds"] == 0.0, "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_and_a_wrong_clock_are_told() {
    let recorder = DebuggingRecorder::new();
    let (snapshotter, _local) = (recorder.snapshotter(), metrics::set_default_local_recorder(&recorder));
    let world = World::new();
    let clock = world.clock();
    let node = world.builder().clock(clock.clone()).open().await.unwrap();
    commit(&node, Begin::new()).await.unwrap();
    tokio::time::advance(Duration::from_secs(7)).await;
    let mut old = Stats::default();
    let rest = check(&node, &snapshotter, &mut old);
    assert!((7.0..8.0).contains(&rest["aft.unpublished.seconds"]), "{rest:?}");
    node.publish().await.unwrap();
    assert!(check(&node, &snapshotter, &mut old)["aft.unpublished.seconds"] == 0.0);
    // As far as it may be: nothing fails yet.
    clock.set_skew_ms(4_000);
    commit(&node, Begin::new()).await.unwrap();
    let ahead = check(&node, &snapshotter, &mut old)["aft.clock.ahead.seconds"];
    assert!((2.5..=4.0).contains(&ahead), "{ahead}");
}

/// The page that a scraper gets, and what docs/metrics.md says of it.
#[tokio::test(start_paused = true)]
async fn the_docs_list_every_metric() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (exporter, _local) = (recorder.handle(), metrics::set_default_local_recorder(&recorder));
    let world = World::new();
    let node = world.node().await;
    commit(&node, Begin::new()).await.unwrap();
    node.record_metrics();
    let page = exporter.render();
    let described = |line: &str| {
        let mut words = line.strip_prefix("# TYPE ")?.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?))
    };
    let told: BTreeSet<_> = page.lines().filter_map(described).map(|(name, _)| name).collect();
    let docs = include_str!("../../docs/metrics.md");
    let (docs, _) = docs.split_once("\n## Traces\n").unwrap();
    let listed = |line: &str| Some(line.strip_prefix("| `aft.")?.split(['`', '{']).next()?.replace('.', "_"));
    let listed: BTreeSet<_> = docs.lines().filter_map(listed).map(|name| format!("aft_{name}")).collect();
    assert_eq!(listed, told);
    for name in &told {
        assert!(page.contains(&format!("# HELP {name} ")), "{name} is not described");
    }
}
