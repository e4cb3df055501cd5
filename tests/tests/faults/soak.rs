//! A share of all requests meets a fault, the server is killed and started again under load, nodes are left and opened anew; and every
//! request takes effect once.
//!
//! [`work`] is what clients do, [`log`] what they saw, [`verdict`] whether that holds: by the register of each transaction, by
//! a model of the final state, and by [`aft_tests::checker`].

mod log;
mod verdict;
mod work;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Aft, Config, Storage};
use aft_tests::proxy::{Fault, nothing, seeded};
use libtest_mimic::Trial;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::retries::retrying;
use crate::server::{Kind, Server};
use crate::{alone, number, run};
use log::Log;
use work::{Queue, Worker};

/// Of so many requests one meets a fault.
const ONE_IN: u64 = 5;
const NODES: usize = 4;
const WORKERS: usize = 6;
const KILLS: usize = 5;
/// Short, so that one outage outlasts it.
const COMMIT_DEADLINE: Duration = Duration::from_secs(5);

/// What a soak does beside the faults.
#[derive(Debug, Clone, Copy)]
struct Settings {
    transactions: usize,
    seed: u64,
    kills: usize,
    /// Whether the clients retry creates inside, as [`aft_s3::open`] does not.
    retries_inside: bool,
}

/// Soaks within which a planted bug must be found.
const SEEDS: u64 = 10;
/// With these bugs planted, and with retries inside the client or without, a soak must fail; and say this.
const FOUND: [(Planted, bool, &str); 4] = [
    (Planted::TrustNotFound, false, "was told Aborted"),
    (Planted::SkipReadBack, false, "was told Committed"),
    (Planted::SkipReadBack, true, "was told Committed"),
    (Planted::AcceptForeignDecision, false, "was told Committed"),
];

pub fn trials(kind: Kind) -> Vec<Trial> {
    let settings = Settings {
        transactions: usize::try_from(number("AFT_FAULTS_TRANSACTIONS", 300)).unwrap(),
        seed: number("AFT_FAULTS_SEED", 1),
        kills: if kind.can_die() { KILLS } else { 0 },
        retries_inside: false,
    };
    let mut trials = Vec::new();
    for (name, retries_inside) in [("soak", false), ("soak with clients that retry creates", true)] {
        let settings = Settings { retries_inside, ..settings };
        let case = move || match alone(kind, || soak(kind, settings, None)) {
            Ok(report) => {
                eprintln!("{kind}::{name}: {report}");
                Ok(())
            }
            Err(problems) => Err(problems.join("\n").into()),
        };
        trials.push(Trial::test(format!("{kind}::{name}"), case).with_ignored_flag(!kind.is_there()));
    }
    if kind == Kind::Origin {
        for (bug, retries_inside, words) in FOUND {
            let case = move || found(bug, retries_inside, words);
            let how = if retries_inside { " and retries inside" } else { "" };
            trials.push(Trial::test(format!("{kind}::soak finds {bug:?}{how}"), case));
        }
    }
    trials
}

/// Soaks until one fails, as it must within [`SEEDS`].
fn found(bug: Planted, retries_inside: bool, words: &str) -> Result<(), libtest_mimic::Failed> {
    for seed in 1..=SEEDS {
        let settings = Settings { transactions: 200, seed, kills: 1, retries_inside };
        let Err(problems) = soak(Kind::Origin, settings, Some(bug)) else { continue };
        let Some(first) = problems.iter().find(|problem| problem.contains(words)) else {
            return Err(format!("{bug:?} shows otherwise:\n{}", problems.join("\n")).into());
        };
        let checker = problems.iter().filter(|problem| problem.starts_with("checker")).count();
        let all = problems.len();
        eprintln!("{bug:?}: seed {seed}, {all} problems, {checker} of them the checker's; such as {first}");
        return Ok(());
    }
    Err(format!("{bug:?} was not found in {SEEDS} soaks").into())
}

/// A soak on a runtime of its own, with a bug planted or not: its report, or what is wrong.
fn soak(kind: Kind, settings: Settings, bug: Option<Planted>) -> Result<String, Vec<String>> {
    let limit = Duration::from_secs(300) + Duration::from_millis(200) * settings.transactions as u32;
    plant(bug);
    let ended = run(limit, attempt(kind, settings));
    plant(None);
    ended
}

/// The four nodes, each of which may be left and opened anew.
struct Nodes {
    open: Mutex<Vec<Node>>,
}

#[derive(Clone)]
struct Node {
    aft: Aft,
    name: String,
}

impl Nodes {
    fn pick(&self, draw: usize) -> Node {
        let open = self.open.lock();
        open[draw % open.len()].clone()
    }

    /// A node ends without a farewell, and another takes its place.
    async fn replace(&self, at: usize, generation: usize, storage: Arc<dyn Storage>) {
        let fresh = open(storage, format!("n{at}.{generation}")).await;
        self.open.lock()[at] = fresh;
    }
}

fn config() -> Config {
    let half_a_second = Duration::from_millis(500);
    Config {
        max_staleness: half_a_second,
        feed_interval: half_a_second,
        sweep_interval: Duration::from_secs(5),
        commit_deadline: COMMIT_DEADLINE,
        inline_value_bytes: 200,
        ..Config::default()
    }
}

/// A node, however often it takes.
async fn open(storage: Arc<dyn Storage>, name: String) -> Node {
    loop {
        match Aft::open(Arc::clone(&storage), config()).await {
            Ok(aft) => return Node { aft, name },
            Err(error) if error.kind() == aft_core::ErrorKind::Unavailable => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn attempt(kind: Kind, settings: Settings) -> Result<String, Vec<String>> {
    let began = Instant::now();
    let mut server = Server::start(kind, seeded(settings.seed, ONE_IN)).await;
    let client = |server: &Server| if settings.retries_inside { retrying(server) } else { server.storage() };
    let mut nodes = Vec::new();
    for at in 0..NODES {
        nodes.push(open(client(&server), format!("n{at}.0")).await);
    }
    let nodes = Arc::new(Nodes { open: Mutex::new(nodes) });
    let log = Log::new();
    let queue = Arc::new(Queue::new(settings.transactions));
    let mut workers = JoinSet::new();
    for number in 0..WORKERS * NODES {
        let worker =
            Worker::new(number, settings.seed, Arc::clone(&nodes), Arc::clone(&log), Arc::clone(&queue));
        workers.spawn(worker.work());
    }
    for kill in 1..=settings.kills {
        while queue.done() < settings.transactions * kill / (settings.kills + 1) {
            sleep(Duration::from_millis(10)).await;
        }
        server.kill().await;
        // Once for longer than a commit may take: its outcome is then unknown.
        let outage = if kill == 2 { 2 * COMMIT_DEADLINE } else { Duration::from_millis(300) };
        sleep(outage).await;
        server.restart().await;
        nodes.replace(kill % NODES, kill, client(&server)).await;
    }
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
    let worked = began.elapsed();
    let counts = server.proxy.counts();
    server.proxy.set_plan(nothing());
    server.proxy.settled().await;
    for fault in Fault::KINDS {
        // Of a hundred requests only a few are lists.
        let enough = if matches!(fault, Fault::Instead(_)) { 2_000 } else { 300 };
        assert!(
            counts.of(fault) > 0 || settings.transactions < enough,
            "{} never happened: {counts}",
            fault.name()
        );
    }
    let verdict = verdict::verdict(&log, &nodes, server.direct()).await?;
    let mut report = format!(
        "{} requests, seed {}, {} kills of the server, {:.1} s and {:.1} s for the verdict\n",
        settings.transactions,
        settings.seed,
        settings.kills,
        worked.as_secs_f64(),
        (began.elapsed() - worked).as_secs_f64(),
    );
    write!(report, "{counts}\n{verdict}").unwrap();
    Ok(report)
}
