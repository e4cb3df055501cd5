//! What a node tells its monitoring, through the facade `metrics`.
//!
//! The node counts as it does without this (`Stats`); what was counted since the last call is handed over when somebody asks for it. So an event
//! costs nothing more, and whoever exports decides when (decision 0076). Only the time of a commit is told when it ends: a distribution cannot be
//! made of sums.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Label, SharedString, Unit};

use crate::error::Error;
use crate::node::Node;
use crate::node::handle::Aft;
use crate::node::spans::label;
use crate::node::stats::Stats;
use crate::node::transaction::Transaction;
use crate::node::transaction::commit::{Commit, ended_as};
use crate::protocol::timeliness::StoreTime;

/// A count since the node was opened.
struct Counted {
    name: &'static str,
    label: Option<(&'static str, &'static str)>,
    unit: Unit,
    tells: &'static str,
    of: fn(&Stats) -> u64,
}

/// How things are now.
struct Gauged {
    name: &'static str,
    unit: Unit,
    tells: &'static str,
    of: fn(&Now) -> f64,
}

/// What gauges tell of.
struct Now {
    stats: Stats,
    waited_ms: u64,
    refreshed_ms_ago: u64,
    unfolded_ms: u64,
    clock_off_ms: i64,
}

const fn counted(name: &'static str, tells: &'static str, of: fn(&Stats) -> u64) -> Counted {
    Counted { name, label: None, unit: Unit::Count, tells, of }
}

const fn request(operation: &'static str, of: fn(&Stats) -> u64) -> Counted {
    let label = Some(("operation", operation));
    Counted { label, ..counted("aft.requests", "Requests to the store, by operation.", of) }
}

const fn hit(kind: &'static str, of: fn(&Stats) -> u64) -> Counted {
    let tells = "Reads that the cache answered: values, and parts of the index.";
    Counted { label: Some(("kind", kind)), ..counted("aft.cache.hits", tells, of) }
}

const fn miss(kind: &'static str, of: fn(&Stats) -> u64) -> Counted {
    let tells = "Reads that went to the store: values, and parts of the index.";
    Counted { label: Some(("kind", kind)), ..counted("aft.cache.misses", tells, of) }
}

const fn bytes(name: &'static str, tells: &'static str, of: fn(&Stats) -> u64) -> Counted {
    Counted { unit: Unit::Bytes, ..counted(name, tells, of) }
}

const fn gauge(name: &'static str, unit: Unit, tells: &'static str, of: fn(&Now) -> f64) -> Gauged {
    Gauged { name, unit, tells, of }
}

/// How many counters there are.
const HOW_MANY: usize = 22;

const COUNTERS: [Counted; HOW_MANY] = [
    request("get", |it| it.requests.gets),
    request("get_range", |it| it.requests.range_gets),
    request("create", |it| it.requests.creates),
    request("list", |it| it.requests.lists),
    request("delete", |it| it.requests.deletes),
    bytes("aft.read.bytes", "Bytes that the store sent.", |it| it.requests.bytes_read),
    bytes("aft.written.bytes", "Bytes sent to the store.", |it| it.requests.bytes_written),
    counted("aft.begun", "Transactions that began.", |it| it.begun),
    counted("aft.commits", "Commits that this node made.", |it| it.commits),
    counted("aft.groups", "Decisions that several commits shared.", |it| it.groups),
    counted("aft.direct", "Decisions that needed no feed object beside them.", |it| it.direct),
    counted("aft.replays", "Commits that another attempt had made before.", |it| it.replays),
    hit("value", |it| it.cache_hits),
    hit("index", |it| it.index_hits),
    miss("value", |it| it.cache_misses),
    miss("index", |it| it.index_misses),
    counted("aft.refreshes", "Refreshes that completed.", |it| it.refreshes),
    counted("aft.bundles.read", "Bundles that were read in place of feed objects.", |it| it.bundles_read),
    counted("aft.bundles.made", "Bundles that this node made.", |it| it.bundles_made),
    counted("aft.published", "Feed objects that this node made.", |it| it.published),
    counted("aft.sweeps", "Sweeps that completed.", |it| it.sweeps),
    counted("aft.checkpoints", "Checkpoints that this node made.", |it| it.checkpoints),
];

const GAUGES: [Gauged; 9] = [
    gauge("aft.recent.commits", Unit::Count, "Commits held in memory.", |it| number(it.stats.recent_commits)),
    gauge("aft.recent.keys", Unit::Count, "Keys held in memory, deleted ones included.", |it| {
        number(it.stats.recent_keys)
    }),
    gauge("aft.cache.bytes", Unit::Bytes, "Bytes in the cache.", |it| number(it.stats.cache_bytes)),
    gauge("aft.unpublished", Unit::Count, "Own commits not yet published.", |it| {
        number(it.stats.unpublished)
    }),
    gauge("aft.unpublished.seconds", Unit::Seconds, "How long the oldest of them has waited.", |it| {
        seconds(it.waited_ms)
    }),
    gauge("aft.refresh.age.seconds", Unit::Seconds, "Since the last complete refresh began.", |it| {
        seconds(it.refreshed_ms_ago)
    }),
    gauge("aft.checkpoint", Unit::Count, "The checkpoint that the node builds on; 0 for none.", |it| {
        number(it.stats.checkpoint)
    }),
    gauge("aft.checkpoint.lag.seconds", Unit::Seconds, "How far what is folded lies behind.", |it| {
        seconds(it.unfolded_ms)
    }),
    gauge(
        "aft.clock.ahead.seconds",
        Unit::Seconds,
        "How far the clock is ahead of the store's, at least.",
        |it| {
            let off = seconds(it.clock_off_ms.unsigned_abs());
            if it.clock_off_ms < 0 { -off } else { off }
        },
    ),
];

const COMMIT_SECONDS: &str = "aft.commit.seconds";

/// What was handed to the recorder, of each counter. Calls side by side hand everything over once.
#[derive(Debug)]
pub(crate) struct Recorded([AtomicU64; HOW_MANY]);

impl Default for Recorded {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53")]
fn number(n: u64) -> f64 {
    n as f64
}

fn seconds(ms: u64) -> f64 {
    number(ms) / 1000.0
}

impl Aft {
    /// Hands what the node counted since the last call, and how things are now, to the recorder of the `metrics` crate (feature `metrics`). To be called before
    /// each export, or every few seconds; nothing else calls it. No request, no wait: some dozens of calls of the recorder.
    ///
    /// All names begin with `aft.`, and all have a label `store`, the first eight characters of the store's id: docs/metrics.md has the list.
    /// Of two nodes of one store in a process counts add up, and gauges tell of the one that was asked last. Install the
    /// recorder first: what is handed over before goes nowhere. The time of each commit, `aft.commit.seconds`, is recorded when it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let exporter = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "v")?;
    /// tx.commit().await?;
    ///
    /// aft.record_metrics();
    /// let page = exporter.render(); // what a scraper gets
    /// assert!(page.contains("aft_commits{store="), "{page}");
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn record_metrics(&self) {
        let (node, now) = (self.node(), self.metrics_now());
        describe();
        let store = node.store_label();
        for (counter, recorded) in COUNTERS.iter().zip(&node.recorded.0) {
            let count = (counter.of)(&now.stats);
            let new = count.saturating_sub(recorded.fetch_max(count, Ordering::Relaxed));
            let more = counter.label.map(|(key, value)| Label::from_static_parts(key, value));
            let labels: Vec<_> = [store.clone()].into_iter().chain(more).collect();
            metrics::counter!(counter.name, labels).increment(new);
        }
        for gauge in &GAUGES {
            metrics::gauge!(gauge.name, vec![store.clone()]).set((gauge.of)(&now));
        }
    }

    fn metrics_now(&self) -> Now {
        let node = self.node();
        let now = node.now();
        let waited_ms = node.feed.lock().waited_ms(now).unwrap_or(0);
        let made: StoreTime = node.marker_dated;
        let (refreshed_ms_ago, unfolded_ms, clock_off_ms) = node.known.read(|known| {
            let folded = known.base().horizon().max(made);
            let unfolded_ms = known.store_now_ms(now).saturating_sub(folded.ms());
            (known.refreshed_ms_ago(now).unwrap_or(0), unfolded_ms, known.clock_off_ms(now))
        });
        Now { stats: self.stats(), waited_ms, refreshed_ms_ago, unfolded_ms, clock_off_ms }
    }
}

/// Says what everything is: the recorder may have been installed just now.
fn describe() {
    for counter in &COUNTERS {
        metrics::describe_counter!(counter.name, counter.unit, counter.tells);
    }
    for gauge in &GAUGES {
        metrics::describe_gauge!(gauge.name, gauge.unit, gauge.tells);
    }
    let tells = "How long commits took that asked the store for a decision, by outcome.";
    metrics::describe_histogram!(COMMIT_SECONDS, Unit::Seconds, tells);
}

impl Node {
    /// So that the stores of one process can be told apart.
    fn store_label(&self) -> Label {
        let id: SharedString = self.marker.store_id.chars().take(8).collect::<String>().into();
        Label::new("store", id)
    }
}

/// A commit whose time is taken.
pub(crate) struct TimedCommit {
    node: Arc<Node>,
    began: Duration,
}

impl TimedCommit {
    /// Begins now; `None` for a transaction that only read, which decides nothing.
    pub(crate) fn begin(tx: &mut Transaction) -> Option<Self> {
        let decides = !tx.only_reads();
        decides.then(|| Self { node: Arc::clone(&tx.node), began: tx.node.clock.monotonic() })
    }

    pub(crate) fn end(self, result: &Result<Commit, Error>) {
        let took = self.node.clock.monotonic().saturating_sub(self.began);
        let outcome = match result {
            Ok(commit) => Label::from_static_parts("outcome", ended_as(commit)),
            Err(error) => Label::new("outcome", label(error)),
        };
        metrics::histogram!(COMMIT_SECONDS, vec![self.node.store_label(), outcome]).record(took);
    }
}
