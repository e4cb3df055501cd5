//! Transactions one after the other, on several nodes of one store, against a plain map.
//!
//! Nothing runs beside a transaction but upkeep: so what it must read is known exactly, whichever nodes it travels over. Each begins with
//! `latest` and after the receipts of all that is not published. What the simulator has to wait for happens in every step here:
//! transactions travel between nodes that build on different checkpoints, keys are deleted, and hours pass.

mod branch;

use std::collections::BTreeMap;
use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Aft, Begin, CommitOutcome, Config, Error, ErrorKind, Receipt, Token};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use crate::model::branch::{Branch, OnItsWay, Own};
use crate::world::World;

/// The planted bugs that a few hundred seeds find.
pub const FOUND_BY_THE_MODEL: [Planted; 5] = [
    Planted::ForgetTokenBase,
    Planted::SettleWithoutUnfolded,
    Planted::SettledComesBack,
    Planted::CollectFeedEarly,
    Planted::CollectYoungValues,
];

const NODES: u64 = 3;
const KEYS: u64 = 6;
const ERAS: usize = 6;

/// What a run came to.
#[derive(Debug)]
pub struct ModelReport {
    /// The seed.
    pub seed: u64,
    /// What was not as the map says.
    pub violation: Option<String>,
    /// What was done, step by step.
    pub steps: Vec<String>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
}

/// Runs one seed on a runtime of its own whose time is paused.
///
/// # Panics
/// Where no runtime can be made.
#[must_use]
#[allow(clippy::expect_used, reason = "without a runtime there is no test")]
pub fn run_model(seed: u64, bug: Option<Planted>) -> ModelReport {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    plant(bug);
    let report = runtime.block_on(async {
        let mut model = Model::new(seed);
        let violation = model.run().await.err().map(|Violation(what)| what);
        ModelReport { seed, violation, steps: model.steps, counts: model.counts }
    });
    drop(runtime);
    plant(None);
    report
}

/// What must not be.
struct Violation(String);

/// Why a transaction does not go on.
enum Ended {
    /// It is too old, or its branches do not fit together: nothing came of it.
    Given(ErrorKind),
    Wrong(Violation),
}

impl From<Violation> for Ended {
    fn from(violation: Violation) -> Self {
        Self::Wrong(violation)
    }
}

struct Model {
    rng: StdRng,
    world: World,
    config: Config,
    nodes: Vec<Aft>,
    /// What was committed.
    map: BTreeMap<String, String>,
    /// Commits that are perhaps not published, and by which node.
    unpublished: Vec<(usize, Receipt)>,
    values: u64,
    steps: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        // In most runs nodes look for checkpoints only when they have slept.
        let sweep_interval = [3600 * 24, 60][usize::from(rng.next_u32().is_multiple_of(4))];
        let config = Config {
            sweep_interval: Duration::from_secs(sweep_interval),
            inline_value_bytes: 64,
            ..World::config()
        };
        Self {
            rng,
            world: World::new(),
            config,
            nodes: Vec::new(),
            map: BTreeMap::new(),
            unpublished: Vec::new(),
            values: 0,
            steps: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        let at = usize::try_from(self.draw(of.len() as u64)).unwrap_or(0);
        of[at]
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.draw(NODES)).unwrap_or(0)
    }

    fn note(&mut self, count: &'static str, step: String) {
        *self.counts.entry(count).or_default() += 1;
        self.steps.push(step);
    }

    async fn run(&mut self) -> Result<(), Violation> {
        for _ in 0..NODES {
            let node = self.open().await?;
            self.nodes.push(node);
        }
        for _ in 0..ERAS {
            // Writes that rest for a while; then checkpoints, which some nodes know of and some do not; then reads.
            self.transactions(3, &[1, 8]).await?;
            self.wait(&[20, 120, 600, 1_100, 1_500, 7_200]).await;
            self.tell_the_time().await?;
            self.transactions(2, &[0, 0, 0, 8]).await?;
            for _ in 0..=self.draw(3) {
                self.upkeep(false).await?;
            }
            self.transactions(6, &[0, 0, 0, 1]).await?;
        }
        self.last_look().await
    }

    /// Mostly something is written and published after a pause: a quiet store does not know how late it is.
    async fn tell_the_time(&mut self) -> Result<(), Violation> {
        if self.draw(4) == 0 {
            return Ok(());
        }
        let told = self.write_the_time().await;
        self.settle(told)
    }

    async fn write_the_time(&mut self) -> Result<(), Ended> {
        let mut branch = self.begin().await?;
        let (at, value) = (branch.at, self.value());
        branch.write(self, "time".to_owned(), Some(value))?;
        self.commit(branch).await?;
        Ok(self.publish(at).await?)
    }

    /// Up to so many transactions, and of each how many in ten of its steps are writes.
    async fn transactions(&mut self, most: u64, writes_in_ten: &[u64]) -> Result<(), Violation> {
        for _ in 0..=self.draw(most) {
            let writes = self.one_of(writes_in_ten);
            self.transaction(writes).await?;
            if self.draw(6) == 0 {
                self.wait(&[1, 20, 120]).await;
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Aft, Violation> {
        // Clocks are a little wrong, within what is allowed.
        let clock = self.world.clock();
        clock.set_skew_ms(self.one_of(&[-4_000, -500, 0, 700, 3_000]));
        let cache_bytes = self.one_of(&[0, 8 << 20]);
        let config = Config { cache_bytes, ..self.config.clone() };
        let node = self.world.builder().config(config).clock(clock).open().await;
        node.map_err(|error| Violation(format!("a node cannot open: {error}")))
    }

    async fn wait(&mut self, secs: &[u64]) {
        let secs = self.one_of(secs);
        self.note("pauses", format!("{secs} s pass"));
        sleep(Duration::from_secs(secs)).await;
    }

    /// What nodes do beside the work. `open`: a transaction is open at one of them.
    async fn upkeep(&mut self, open: bool) -> Result<(), Violation> {
        let at = self.node();
        let failed = |what: &str, error: Error| Violation(format!("{what} at node {at}: {error}"));
        match self.draw(12) {
            0..6 => {
                let report =
                    self.nodes[at].checkpoint().await.map_err(|error| failed("checkpoint", error))?;
                *self.counts.entry("deletions purged").or_default() += report.tombstones_purged;
                let (number, purged) = (report.number, report.tombstones_purged);
                self.note(
                    "checkpoints",
                    format!("node {at}: checkpoint {number}, {purged} deletions purged"),
                );
            }
            6 => {
                self.nodes[at].collect_garbage(false).await.map_err(|error| failed("collection", error))?;
                self.note("collections", format!("node {at}: collects"));
            }
            7 => {
                self.nodes[at].sweep().await.map_err(|error| failed("sweep", error))?;
                self.note("sweeps", format!("node {at}: sweeps"));
            }
            8 | 9 => {
                self.nodes[at].refresh().await.map_err(|error| failed("refresh", error))?;
                self.note("refreshes", format!("node {at}: refreshes"));
            }
            // A node dies only where no transaction is open, without a farewell: what it did not publish others find.
            10 if !open => {
                self.nodes[at] = self.open().await?;
                self.unpublished.iter_mut().filter(|(by, _)| *by == at).for_each(|(by, _)| *by = usize::MAX);
                self.note("nodes that died", format!("node {at}: dies, and another opens"));
            }
            _ => self.publish(at).await?,
        }
        Ok(())
    }

    async fn publish(&mut self, at: usize) -> Result<(), Violation> {
        let published = self.nodes[at].publish().await;
        published.map_err(|error| Violation(format!("publish at node {at}: {error}")))?;
        self.unpublished.retain(|(by, _)| *by != at);
        self.note("publications", format!("node {at}: publishes"));
        Ok(())
    }

    async fn transaction(&mut self, writes_in_ten: u64) -> Result<(), Violation> {
        let ended = self.attempt(writes_in_ten).await;
        self.settle(ended)
    }

    fn settle(&mut self, ended: Result<(), Ended>) -> Result<(), Violation> {
        match ended {
            Ok(()) => Ok(()),
            Err(Ended::Given(kind)) => {
                let count = if kind == ErrorKind::Conflict { "branches that do not fit" } else { "expired" };
                self.note(count, format!("it ends: {kind:?}"));
                Ok(())
            }
            Err(Ended::Wrong(violation)) => Err(violation),
        }
    }

    async fn begin(&mut self) -> Result<Branch, Ended> {
        let at = self.node();
        let mut begin = Begin::new().latest();
        for (_, receipt) in &self.unpublished {
            begin = begin.after(receipt);
        }
        let tx = self.nodes[at].begin_with(begin).await.map_err(|error| ended(at, "begin", &error))?;
        self.note(
            "transactions",
            format!("node {at}: begins, with checkpoint {}", self.nodes[at].stats().checkpoint),
        );
        Ok(Branch::new(at, tx))
    }

    async fn attempt(&mut self, writes_in_ten: u64) -> Result<(), Ended> {
        let mut branch = self.begin().await?;
        branch.writes_in_ten = writes_in_ten;
        for _ in 0..=self.draw(6) {
            match self.draw(20) {
                0..12 => branch.step(self, None).await?,
                12..17 => {
                    let on_its_way = branch.suspend(self).await?;
                    self.meanwhile(false).await?;
                    branch = self.resume(on_its_way).await?;
                }
                17 => branch = self.fork(branch).await?,
                _ => self.meanwhile(true).await?,
            }
        }
        match self.draw(12) {
            0 => drop(branch),
            1 => drop(branch.tx.abort().await.map_err(|error| ended(branch.at, "abort", &error))?),
            _ => self.commit(branch).await?,
        }
        Ok(())
    }

    /// In the middle of a transaction, open or suspended: upkeep, and not too much time.
    async fn meanwhile(&mut self, open: bool) -> Result<(), Violation> {
        for _ in 0..self.draw(3) {
            if self.draw(2) == 0 {
                self.upkeep(open).await?;
            } else {
                self.wait(&[1, 10, 60, 180]).await;
            }
        }
        Ok(())
    }

    async fn resume(&mut self, on_its_way: OnItsWay) -> Result<Branch, Ended> {
        let at = self.node();
        let before = self.nodes[at].stats().checkpoint;
        let tx =
            self.nodes[at].resume(&on_its_way.token).await.map_err(|error| ended(at, "resume", &error))?;
        let after = self.nodes[at].stats().checkpoint;
        let found = self.counts.entry("resumptions that found a newer checkpoint").or_default();
        *found += u64::from(before < after);
        self.note("resumptions", format!("node {at}: resumes, with checkpoint {before}, then {after}"));
        Ok(Branch::at(at, tx, on_its_way))
    }

    /// Two branches, each on a node of its own, and joined.
    async fn fork(&mut self, branch: Branch) -> Result<Branch, Ended> {
        let fork = branch.suspend(self).await?;
        let mut tokens = Vec::new();
        let mut joined = fork.clone();
        for half in 0..2 {
            let mut branch = self.resume(fork.clone()).await?;
            for _ in 0..=self.draw(3) {
                branch.step(self, Some(half)).await?;
            }
            self.meanwhile(true).await?;
            let ends = branch.suspend(self).await?;
            tokens.push(ends.token);
            joined.own.extend(ends.own.into_iter().filter(|(key, value)| fork.own.get(key) != Some(value)));
        }
        joined.token = Token::join(tokens).map_err(|error| match error.kind() {
            // A deletion that one of them read as such, and the other no more.
            ErrorKind::Conflict => Ended::Given(ErrorKind::Conflict),
            _ => ended(0, "join", &error),
        })?;
        self.note("joins", "the branches are joined".to_owned());
        self.resume(joined).await
    }

    async fn commit(&mut self, branch: Branch) -> Result<(), Ended> {
        let Branch { at, tx, own, .. } = branch;
        let commit = tx.commit().await.map_err(|error| ended(at, "commit", &error))?;
        if commit.outcome != CommitOutcome::Fresh {
            return Err(Violation(format!("a first commit is {:?}", commit.outcome)).into());
        }
        self.note("commits", format!("node {at}: commits {own:?}"));
        if own.is_empty() {
            return Ok(());
        }
        for (key, value) in own {
            match value {
                Some(value) => drop(self.map.insert(key, value)),
                None => drop(self.map.remove(&key)),
            }
        }
        self.unpublished.push((at, commit.receipt));
        if self.draw(4) != 0 {
            self.publish(at).await?;
        }
        Ok(())
    }

    /// In the end every node reads what the map says, and so does a new one; and the store is whole.
    async fn last_look(&mut self) -> Result<(), Violation> {
        let new = self.open().await?;
        self.nodes.push(new);
        for at in 0..self.nodes.len() {
            let mut begin = Begin::new().latest();
            for (_, receipt) in &self.unpublished {
                begin = begin.after(receipt);
            }
            let failed = |error: Error| Violation(format!("the last look at node {at}: {error}"));
            let tx = self.nodes[at].begin_with(begin).await.map_err(failed)?;
            let rows = tx.scan(..).await.map_err(failed)?;
            branch::compare(at, &rows, &self.map, &Own::new(), "")?;
        }
        let report = self.nodes[0].check().await.map_err(|error| Violation(format!("check: {error}")))?;
        if report.is_clean() { Ok(()) } else { Err(Violation(format!("check: {report:?}"))) }
    }

    fn value(&mut self) -> String {
        self.values += 1;
        // Now and then one of those that are stored by themselves.
        let len = if self.draw(8) == 0 { 100 } else { 0 };
        format!("v{}{}", self.values, ".".repeat(len))
    }
}

/// An error of a transaction: only its age may end one.
fn ended(at: usize, what: &str, error: &Error) -> Ended {
    if error.kind() == ErrorKind::Expired {
        return Ended::Given(ErrorKind::Expired);
    }
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    Ended::Wrong(Violation(format!("{what} at node {at}: {error} {cause}")))
}

/// Runs seeds on two threads; the first reports that found something, and how often what happened.
#[must_use]
pub fn run_models(
    seeds: std::ops::Range<u64>,
    bug: Option<Planted>,
) -> (Vec<ModelReport>, BTreeMap<&'static str, u64>) {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let found = parking_lot::Mutex::new((Vec::new(), BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().0.len() >= 3 {
                        return;
                    }
                    let report = run_model(seed, bug);
                    let mut found = found.lock();
                    for (what, times) in &report.counts {
                        *found.1.entry(*what).or_default() += times;
                    }
                    if report.violation.is_some() {
                        found.0.push(report);
                    }
                }
            });
        }
    });
    found.into_inner()
}
