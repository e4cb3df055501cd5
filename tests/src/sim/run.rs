//! One seed: the world it makes, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Begin, Config, Outcome};
use aft_memory::{Counts, Event, Faults, MemoryStorage, SimulatedStorage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::checker::{Expectations, FinalRead, Summary, Visibility, check};
use crate::history::{History, Op};
use crate::sim::chaos::{Chaos, heavy};
use crate::sim::cluster::Cluster;
use crate::sim::recorder::{Client, How, Recorder};
use crate::sim::workload::Shared;
use crate::world::NodeClock;

/// What a run is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A bug to plant.
    pub bug: Option<Planted>,
    /// How long clients work amid trouble, of virtual time; default 2 minutes.
    pub trouble: Option<Duration>,
}

/// What a run found.
#[derive(Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What clients saw.
    pub history: History,
    /// What must not be.
    pub violations: Vec<String>,
    /// The transactions that violations are about.
    pub involved: BTreeSet<u128>,
    /// What the checker counted; `None` where it found violations.
    pub summary: Option<Summary>,
    /// Faults of the network, and trouble of the nodes, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Nodes that ran.
    pub nodes: u64,
    /// Requests to the store.
    pub requests: Counts,
    /// Equal for equal executions.
    pub trace_hash: u64,
    /// The last events.
    pub events: Vec<Event>,
}

impl Report {
    /// The kept events that concern the transactions of the violations, and the trouble among them.
    pub fn around(&self) -> impl Iterator<Item = &Event> {
        let ids: Vec<_> = self.involved.iter().map(|id| id_text(*id)).collect();
        let concerns = move |event: &&Event| {
            let what = &event.what;
            ids.iter().any(|id| what.contains(id))
                || ["chaos", "trouble", "PROBLEM"].iter().any(|it| what.starts_with(it))
        };
        self.events.iter().filter(concerns)
    }
}

/// An id as traces show it.
pub(crate) fn id_text(id: u128) -> String {
    let digits = format!("{id:032x}");
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Settings that make a minute as eventful as an hour: every window is short, and values over 64 bytes are large.
pub(crate) fn short_windows() -> Config {
    let secs = Duration::from_secs;
    Config {
        max_staleness: secs(2),
        transaction_lifetime: secs(45),
        commit_deadline: secs(12),
        max_clock_skew: secs(4),
        publish_deadline: secs(5),
        visibility_delay: secs(10),
        request_timeout: secs(9),
        inline_value_bytes: 64,
        ..Config::default()
    }
}

fn config() -> Config {
    let (feed_interval, sweep_interval) = (Duration::from_millis(500), Duration::from_secs(15));
    Config { feed_interval, sweep_interval, parallel_requests: 4, ..short_windows() }
}

/// How long after trouble ends clients go on, so that the auditor sees commits become visible.
const CALM: Duration = Duration::from_secs(75);
/// How soon after its ack a commit must be visible on every node, its own dead or not, where every node is called every 3 s: the last
/// sweep is at most a sweep interval old when a call notices; a node that swept in this epoch waits for the next one, another
/// interval; and then there is the sweep itself, and the reader's staleness.
const VISIBLE_MS: u64 = 40_000;

/// Runs one seed on a runtime of its own.
///
/// # Panics
/// Where no runtime can be made.
#[must_use]
#[allow(clippy::expect_used, reason = "without a runtime there is no test")]
pub fn run(seed: u64, options: &Options) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    plant(options.bug);
    let report = runtime.block_on(simulate(seed, options));
    drop(runtime);
    plant(None);
    report
}

async fn simulate(seed: u64, options: &Options) -> Report {
    let mut rng = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let memory = MemoryStorage::with_clock(Arc::new(NodeClock::new(start)));
    let weather = [Faults::none(), Faults::mild(), heavy()][seed as usize % 3].clone();
    let network = SimulatedStorage::new(Arc::new(memory), rng.next_u64(), weather);
    let recorder = Recorder::new(network.clone());
    // Every other seed has requests and tokens too.
    let shared = Shared::new(Arc::clone(&recorder), seed.is_multiple_of(2));
    let machines = 2 + rng.next_u32() as usize % 3;
    let mut config = config();
    // In every fourth seed no node dies and none sweeps: the feed alone must make everything visible.
    let feed_alone = seed % 4 == 3;
    if feed_alone {
        config.sweep_interval = Duration::from_secs(24 * 3600);
    }
    let skew_ms = u64::try_from(config.max_clock_skew.as_millis()).unwrap_or_default();
    let cluster = Cluster::new(network.clone(), shared.clone(), start, config, rng.next_u64(), machines);
    let mut chaos = Chaos::new(rng.next_u64(), Arc::clone(&cluster), network.clone(), skew_ms, !feed_alone);
    chaos.set_clocks();
    (0..machines).for_each(|at| cluster.start(at));
    let mut faults = chaos.rage(options.trouble.unwrap_or(Duration::from_secs(120))).await;
    chaos.heal();
    let faults_stopped_ms = recorder.now_ms();
    network.note("trouble ends");
    tokio::select! {
        biased;
        () = cluster.call_all() => {}
        () = sleep(CALM) => {}
    }
    cluster.stop();
    if feed_alone {
        cluster.publish_all().await;
    }
    let mut problems = cluster.panics().await;
    let (final_reads, outcomes) = audit(&cluster, &shared, feed_alone).await;
    let (history, more) = recorder.history(&outcomes);
    problems.extend(more);
    let final_reads = resolve(final_reads, &history);
    let visibility = Some(Visibility { bound_ms: VISIBLE_MS, faults_stopped_ms });
    let expectations = Expectations { final_reads, visibility, ..Expectations::default() };
    let mut involved = BTreeSet::new();
    let summary = match check(&history, &expectations) {
        Ok(summary) => Some(summary),
        Err(violations) => {
            problems.extend(violations.iter().map(ToString::to_string));
            let ids = violations.iter().flat_map(|violation| &violation.transactions).map(|it| it.id);
            involved.extend(ids);
            None
        }
    };
    for (what, times) in network.injected() {
        *faults.entry(what).or_default() += times;
    }
    Report {
        seed,
        nodes: history.transactions.iter().map(|it| &it.node).collect::<BTreeSet<_>>().len() as u64,
        history,
        violations: problems,
        involved,
        summary,
        faults,
        requests: network.counts(),
        trace_hash: network.trace_hash(),
        events: network.events(),
    }
}

/// Reads everything on two fresh nodes, and asks what became of every id.
async fn audit(
    cluster: &Cluster,
    shared: &Shared,
    feed_alone: bool,
) -> (Vec<FinalRead>, BTreeMap<u128, Outcome>) {
    let (mut reads, mut outcomes) = (Vec::new(), BTreeMap::new());
    let Some(first) = cluster.auditor("auditor").await else { return (reads, outcomes) };
    // Anyone who works with the store is enough for the last commits of dead nodes to be found.
    for _ in 0..VISIBLE_MS / 2_000 {
        sleep(Duration::from_secs(2)).await;
        if let Err(error) = first.aft.begin().await {
            shared.recorder.problem(format!("the auditor could not begin: {error}"));
        }
    }
    reads.extend(read_all(&first, shared).await);
    for id in shared.recorder.ids() {
        match first.aft.outcome(id).await {
            Ok(outcome) => drop(outcomes.insert(id.as_u128(), outcome)),
            Err(error) => shared.recorder.problem(format!("the outcome of {id}: {error}")),
        }
    }
    // A sweep changes what is published, never what is committed.
    match first.aft.sweep().await {
        // Where nobody sweeps, commits whose client never learned of them are published by nobody.
        Ok(report) if report.published > 0 && !feed_alone => {
            shared
                .recorder
                .problem(format!("{} commits were not yet published long after", report.published));
        }
        Ok(_) => {}
        Err(error) => shared.recorder.problem(format!("the last sweep: {error}")),
    }
    if let Some(second) = cluster.auditor("auditor2").await {
        reads.extend(read_all(&second, shared).await);
    }
    (reads, outcomes)
}

async fn read_all(client: &Client, shared: &Shared) -> Vec<FinalRead> {
    let Some(mut tx) = shared.recorder.begin(client, Begin::new(), &How::default()).await else {
        shared.recorder.problem(format!("{} could not begin", client.node));
        return Vec::new();
    };
    if tx.scan("", &shared.universe, None).await.is_none() {
        shared.recorder.problem(format!("{} could not scan", client.node));
    }
    let reads = tx.reads().filter_map(|op| match op {
        Op::Read { key, value, version } => Some(FinalRead {
            node: client.node.clone(),
            key: key.clone(),
            value: value.clone(),
            version: *version,
        }),
        Op::Write { .. } => None,
    });
    let reads = reads.collect();
    tx.commit().await;
    reads
}

/// Final reads of deletes, with the names that the history found for them.
fn resolve(reads: Vec<FinalRead>, history: &History) -> Vec<FinalRead> {
    let mut named = BTreeMap::new();
    for entry in history.transactions.iter().filter(|entry| entry.session.starts_with("auditor")) {
        for op in &entry.ops {
            if let Op::Read { key, value, .. } = op {
                named.insert((entry.node.clone(), key.clone()), value.clone());
            }
        }
    }
    let name = |read: FinalRead| {
        let value = named.get(&(read.node.clone(), read.key.clone())).cloned().flatten();
        FinalRead { value, ..read }
    };
    reads.into_iter().map(name).collect()
}
