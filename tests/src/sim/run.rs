//! One seed: the world it makes, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Clock, Config};
use aft_memory::{Counts, Event, Faults, MemoryStorage, SimulatedStorage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::checker::{Expectations, Summary, Visibility, check};
use crate::history::History;
use crate::sim::adoption::Operator;
use crate::sim::archive::Archive;
use crate::sim::audit::{Audit, final_reads};
use crate::sim::chaos::{Chaos, heavy};
use crate::sim::cluster::Cluster;
use crate::sim::mischief::{Kinds, Mischief};
use crate::sim::recorder::Recorder;
use crate::sim::truth::{Truth, Windows, unix_ms};
use crate::sim::upkeep::{heavy_but_shorter, leftovers, shorter_windows};
use crate::sim::workload::Shared;
use crate::world::NodeClock;

/// What a run is to be.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A bug to plant.
    pub bug: Option<Planted>,
    /// How long clients work amid trouble, of virtual time; default 2 minutes, and 5 with upkeep.
    pub trouble: Option<Duration>,
    /// Whether nodes make checkpoints and collect garbage; by default in every fifth seed.
    pub upkeep: Option<bool>,
    /// Whether listings lie; by default they do not.
    pub lies: Option<bool>,
    /// Whether objects, and in the middle of a run the whole store, are dated anew; by default they are not.
    pub redates: Option<bool>,
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
    /// What makers of checkpoints and collectors of garbage did, by kind.
    pub upkeep: BTreeMap<String, u64>,
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
        stream_part_bytes: 100,
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
pub(crate) const VISIBLE_MS: u64 = 40_000;

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

/// What a seed is about.
struct Plan {
    /// In every fourth seed no node dies and none sweeps: the feed alone must make everything visible.
    feed_alone: bool,
    /// In every fourth seed with upkeep transactions travel between nodes that seldom look for checkpoints, and no node dies.
    relays: bool,
    /// In every fifth seed nodes make checkpoints and collect garbage, under windows so short that there is some.
    upkeep: bool,
    /// In every seventh seed values go up and come down as streams, in parts so small that each has some.
    streams: bool,
    /// Whether listings lie, and objects are dated anew.
    mischief: Kinds,
    trouble: Duration,
    worst: Faults,
    config: Config,
}

impl Plan {
    fn new(seed: u64, options: &Options) -> Self {
        let upkeep = options.upkeep.unwrap_or(seed % 5 == 4);
        let relays = upkeep && seed % 4 == 1;
        let feed_alone = (seed % 4 == 3 && !upkeep) || relays;
        let mut config = config();
        if feed_alone {
            config.sweep_interval = Duration::from_secs(24 * 3600);
        }
        let (mut worst, mut trouble) = (heavy(), Duration::from_secs(120));
        if upkeep {
            (config, worst, trouble) =
                (shorter_windows(config), heavy_but_shorter(), Duration::from_secs(300));
        }
        // Of two seeds in three each node decides one at a time: then commits share decisions.
        config.decisions_in_flight = if seed.is_multiple_of(3) { 4 } else { 1 };
        // And of two in three decisions may lie in the feed.
        config.direct_commits = seed % 9 < 6;
        // And of four in two nodes that start tell those who start next what they had to read.
        config.reads_at_start = if (seed / 2).is_multiple_of(2) { 4 } else { 0 };
        let streams = seed % 7 == 1;
        let mischief =
            Kinds { lies: options.lies.unwrap_or(false), redates: options.redates.unwrap_or(false) };
        Self {
            mischief,
            feed_alone,
            relays,
            upkeep,
            streams,
            trouble: options.trouble.unwrap_or(trouble),
            worst,
            config,
        }
    }
}

async fn simulate(seed: u64, options: &Options) -> Report {
    let mut rng = StdRng::seed_from_u64(seed);
    let start = Instant::now();
    let plan = Plan::new(seed, options);
    if plan.upkeep {
        // Epochs begin at fixed times, and a run anywhere in one.
        sleep(Duration::from_secs(seed.wrapping_mul(37) % 600)).await;
    }
    let clock = Arc::new(NodeClock::new(start));
    let epoch_ms = unix_ms(clock.now());
    let archive = Archive::new(MemoryStorage::with_clock(Arc::clone(&clock) as Arc<dyn Clock>));
    let weather = [Faults::none(), Faults::mild(), plan.worst.clone()][seed as usize % 3].clone();
    let network = SimulatedStorage::new(Arc::new(archive.clone()), rng.next_u64(), weather);
    let recorder = Recorder::new(network.clone(), plan.streams);
    // Every other seed has requests and tokens too.
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or_default();
    let (lifetime_ms, skew_ms) = (ms(plan.config.transaction_lifetime), ms(plan.config.max_clock_skew));
    let upkeep = (plan.upkeep, plan.relays, plan.mischief.lies || plan.mischief.redates);
    let shared = Shared::new(Arc::clone(&recorder), seed.is_multiple_of(2), upkeep, lifetime_ms);
    let machines = 2 + rng.next_u32() as usize % 3;
    let cluster =
        Cluster::new(network.clone(), shared.clone(), start, plan.config.clone(), rng.next_u64(), machines);
    let mut chaos = Chaos::new(
        rng.next_u64(),
        Arc::clone(&cluster),
        network.clone(),
        skew_ms,
        plan.worst.clone(),
        !plan.feed_alone,
    );
    chaos.mischief = mischief(seed, &plan, &network, &archive, clock, &recorder);
    chaos.set_clocks();
    (0..machines).for_each(|at| cluster.start(at));
    let operator =
        Operator { cluster: &cluster, network: &network, archive: &archive, recorder: &recorder, start };
    let mut faults = trouble(&mut chaos, &plan, &operator).await;
    chaos.heal();
    let faults_stopped_ms = recorder.now_ms();
    network.note("trouble ends");
    calm(&cluster, plan.feed_alone).await;
    let mut problems = cluster.panics().await;
    let audit = Audit { cluster: &cluster, shared: &shared, feed_alone: plan.feed_alone };
    let nodes = audit.read().await;
    let (mut events, read_ms) = (network.events(), recorder.now_ms());
    let truth;
    if plan.upkeep {
        let reads = audit.settle(&nodes).await;
        truth = Truth::read(&archive, &network, &recorder, epoch_ms, Windows::of(&plan.config)).await;
        leftovers(&archive, &reads, &truth, &shared).await;
        events.extend(network.events().into_iter().filter(|event| event.what.starts_with("PROBLEM")));
    } else {
        truth = Truth::told(&archive, &network, &recorder).await;
    }
    let (history, more) = recorder.history(&truth);
    problems.extend(more);
    let (summary, involved) =
        judge_all(&history, plan.upkeep.then_some(read_ms), faults_stopped_ms, &mut problems);
    network.injected().into_iter().for_each(|(what, times)| *faults.entry(what).or_default() += times);
    Report {
        seed,
        nodes: history.transactions.iter().map(|it| &it.node).collect::<BTreeSet<_>>().len() as u64,
        history,
        violations: problems,
        involved,
        summary,
        faults,
        upkeep: shared.done(),
        requests: network.counts(),
        trace_hash: network.trace_hash(),
        events,
    }
}

/// What lies about objects and their dates, where that is asked for.
fn mischief(
    seed: u64,
    plan: &Plan,
    network: &SimulatedStorage,
    archive: &Archive,
    clock: Arc<NodeClock>,
    recorder: &Recorder,
) -> Option<Mischief> {
    if !plan.mischief.lies && !plan.mischief.redates {
        return None;
    }
    let lied = Arc::clone(&recorder.lied_until_ms);
    let (network, archive, deadly) = (network.clone(), archive.clone(), !plan.feed_alone);
    Some(Mischief::new(plan.mischief, seed, network, archive, clock, deadly, lied))
}

/// All the trouble of a run. Where dates are changed and nodes may stop, the whole store is dated anew in the middle.
async fn trouble(chaos: &mut Chaos, plan: &Plan, operator: &Operator<'_>) -> BTreeMap<&'static str, u64> {
    if !plan.mischief.redates || plan.feed_alone {
        return chaos.rage(plan.trouble).await;
    }
    let mut faults = chaos.rage(plan.trouble / 2).await;
    chaos.heal();
    faults.extend(operator.redate_and_adopt().await);
    chaos.set_clocks();
    for (what, times) in chaos.rage(plan.trouble / 2).await {
        *faults.entry(what).or_default() += times;
    }
    faults
}

/// Goes on without trouble, and stops.
async fn calm(cluster: &Cluster, feed_alone: bool) {
    tokio::select! {
        biased;
        () = cluster.call_all() => {}
        () = sleep(CALM) => {}
    }
    cluster.stop();
    if feed_alone {
        cluster.publish_all().await;
    }
}

/// Judges a run; one that was settled at the end also as if it had ended at `read_ms`, before everything was overwritten.
fn judge_all(
    history: &History,
    read_ms: Option<u64>,
    faults_stopped_ms: u64,
    problems: &mut Vec<String>,
) -> (Option<Summary>, BTreeSet<u128>) {
    let visibility = Some(Visibility { bound_ms: VISIBLE_MS, faults_stopped_ms });
    let expect = |history: &History, from_ms| Expectations {
        final_reads: final_reads(history, from_ms),
        visibility,
        ..Expectations::default()
    };
    if let Some(read_ms) = read_ms {
        let until = history.transactions.iter().filter(|it| it.began_ms < read_ms).cloned().collect();
        let until = History { transactions: until };
        let (_, involved) = judge(&until, &expect(&until, 0), problems);
        if !involved.is_empty() {
            return (None, involved);
        }
    }
    judge(history, &expect(history, read_ms.unwrap_or(0)), problems)
}

fn judge(
    history: &History,
    expectations: &Expectations,
    problems: &mut Vec<String>,
) -> (Option<Summary>, BTreeSet<u128>) {
    match check(history, expectations) {
        Ok(summary) => (Some(summary), BTreeSet::new()),
        Err(violations) => {
            problems.extend(violations.iter().map(ToString::to_string));
            (None, violations.iter().flat_map(|it| &it.transactions).map(|it| it.id).collect())
        }
    }
}
