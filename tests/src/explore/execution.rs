//! One execution: the world, its actors, and who goes next.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, Config, TxnId};
use aft_memory::{Faults, MemoryStorage, SimulatedStorage};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::accident::Accident;
use super::actor::{Actor, Told};
use super::audit::{Verdict, audit};
use super::request::{Id, Request};
use super::scenario::Scenario;
use super::stage::{Stage, Staged};
use crate::sim::recorder::{Client, How, Recorder};
use crate::sim::short_windows;
use crate::world::NodeClock;

/// Longer than whatever the runtime does between two requests, shorter than any pause of a node before it tries again.
const SETTLED: Duration = Duration::from_millis(5);
/// How long a node may pause between two requests while others wait.
const PAUSE: Duration = Duration::from_secs(3);
/// A node that sends nothing for so long never will.
const STUCK: Duration = Duration::from_secs(600);

/// How an execution ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Whatever came next would have been explored already.
    Redundant,
    /// It was run to its end and judged.
    Judged(Verdict),
}

/// An execution.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) ended: Ended,
    /// How many requests each actor sent.
    pub(crate) sent: Vec<usize>,
    /// Whether its accident was a crash at a read.
    pub(crate) died_reading: bool,
    pub(crate) log: Vec<String>,
}

/// The settings of every node: the simulator's windows, and nothing happens beside what the programs do.
fn config(cache_bytes: u64) -> Config {
    let (feed_interval, sweep_interval) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    Config { feed_interval, sweep_interval, cache_bytes, background: false, ..short_windows() }
}

/// A store, and what is needed to open nodes on it.
#[derive(Debug)]
pub(crate) struct Theatre {
    memory: MemoryStorage,
    pub(crate) stage: Stage,
    start: Instant,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) told: Told,
    opened: Mutex<usize>,
    /// Where the recorder makes its notes. No request goes this way.
    notes: SimulatedStorage,
}

impl Theatre {
    fn new() -> Self {
        let start = Instant::now();
        let memory = MemoryStorage::with_clock(Arc::new(NodeClock::new(start)));
        let notes = SimulatedStorage::new(Arc::new(memory.clone()), 0, Faults::none());
        let recorder = Recorder::new(notes.clone(), false);
        let (stage, told, opened) = (Stage::default(), Told::default(), Mutex::default());
        Self { memory, stage, start, recorder, told, opened, notes }
    }

    /// Opens a node. Where that fails, there is a problem on record.
    pub(crate) async fn open(&self, name: &str, id: Option<TxnId>) -> Option<Actor> {
        let number = {
            let mut opened = self.opened.lock();
            *opened += 1;
            *opened - 1
        };
        let process = self.notes.process(name);
        let (stage, memory) = (self.stage.clone(), self.memory.clone());
        let staged = Staged { stage, actor: number, process: process.clone(), memory };
        // Actors know the shared id. Others read every value from the store.
        let cache_bytes = if id.is_some() { 1 << 20 } else { 0 };
        let builder = Aft::builder(Arc::new(staged)).config(config(cache_bytes));
        let clock = Arc::new(NodeClock::new(self.start));
        let aft = match builder.clock(clock).rng_seed(1 + number as u64).open().await {
            Ok(aft) => aft,
            Err(error) => {
                self.recorder.problem(format!("{name} could not open the store: {error}"));
                return None;
            }
        };
        let id = id.unwrap_or_else(|| aft.new_txn_id());
        let network = self.notes.clone();
        let client = Client { node: name.to_owned(), session: name.to_owned(), aft, process, network };
        let (recorder, told) = (Arc::clone(&self.recorder), Arc::clone(&self.told));
        Some(Actor { number, client, recorder, stage: self.stage.clone(), id, told })
    }

    /// Writes the keys that are there from the beginning.
    async fn write(&self, first: &Actor, keys: &[&str]) {
        let Some(mut tx) = self.recorder.begin(&first.client, Begin::new(), &How::default()).await else {
            return;
        };
        keys.iter().for_each(|key| tx.put(key, 0));
        tx.commit().await;
        first.publish().await;
    }
}

/// An actor that runs its program.
struct Running {
    actor: Actor,
    program: JoinHandle<()>,
    dead: bool,
}

/// What is to go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Plan {
    pub(crate) accident: Option<Accident>,
    /// Whether an execution in which an actor dies at a read is of no interest.
    pub(crate) skip_reads: bool,
}

/// Runs a scenario once; `choose` says which of the waiting requests is next.
pub(crate) async fn execute(
    scenario: &Scenario,
    plan: Plan,
    mut choose: impl FnMut(&[Request]) -> Option<Id>,
) -> Execution {
    let theatre = Theatre::new();
    let stage = theatre.stage.clone();
    let end =
        |ended| Execution { ended, sent: stage.sent(), died_reading: stage.died_reading(), log: stage.log() };
    let Some(mut actors) = set_up(&theatre, scenario).await else {
        return end(Ended::Judged(audit(&theatre, scenario, &[]).await));
    };
    let Some(last) = actors.pop() else { return end(Ended::Redundant) };
    stage.close(plan.accident, last.number);
    let programs = scenario.actors.iter().map(|(_, program)| program);
    let mut running: Vec<Running> = actors
        .into_iter()
        .zip(programs)
        .map(|(actor, program)| Running { program: tokio::spawn(program(actor.clone())), actor, dead: false })
        .collect();
    let mut last = Some(last);
    loop {
        let ended = settle(&theatre, &mut running).await;
        if plan.skip_reads && stage.died_reading() {
            return end(Ended::Redundant);
        }
        if ended && let Some(actor) = last.take() {
            let program = tokio::spawn((scenario.recovery)(actor.clone()));
            running.push(Running { program, actor, dead: false });
            continue;
        }
        let waiting = stage.waiting();
        if waiting.is_empty() {
            break;
        }
        let Some(id) = choose(&waiting) else { return end(Ended::Redundant) };
        stage.release(id).await;
    }
    if plan.accident.is_some() && !stage.struck() {
        return end(Ended::Redundant);
    }
    for it in &mut running {
        if !it.dead && !it.program.is_finished() {
            theatre.recorder.problem(format!("{} is stuck", it.actor.client.session));
            it.program.abort();
        }
        if let Err(error) = (&mut it.program).await
            && error.is_panic()
        {
            theatre.recorder.problem(format!("{} panicked: {error}", it.actor.client.session));
        }
    }
    let alive: Vec<Actor> = running.into_iter().filter(|it| !it.dead).map(|it| it.actor).collect();
    end(Ended::Judged(audit(&theatre, scenario, &alive).await))
}

/// Opens a node for each actor, and last the one that recovers. All know what is there from the beginning.
async fn set_up(theatre: &Theatre, scenario: &Scenario) -> Option<Vec<Actor>> {
    let first = theatre.open("setup", None).await?;
    theatre.write(&first, scenario.written).await;
    let mut actors = Vec::new();
    for name in scenario.actors.iter().map(|(name, _)| *name).chain(["recovery"]) {
        actors.push(theatre.open(name, Some(first.id)).await?);
    }
    Some(actors)
}

/// Lets everybody run until each waits for the answer to a request, or has ended; buries the dead. Whether all have ended.
async fn settle(theatre: &Theatre, running: &mut [Running]) -> bool {
    let mut paused = Duration::ZERO;
    loop {
        sleep(SETTLED).await;
        paused += SETTLED;
        for it in running.iter_mut().filter(|it| !it.dead && it.actor.client.process.is_crashed()) {
            it.dead = true;
            it.program.abort();
            theatre.stage.bury(it.actor.number);
        }
        let ended = |it: &Running| it.dead || it.program.is_finished();
        let waits = |it: &Running| ended(it) || theatre.stage.is_waiting(it.actor.number);
        let most = if theatre.stage.waiting().is_empty() { STUCK } else { PAUSE };
        if running.iter().all(waits) || paused > most {
            return running.iter().all(ended);
        }
    }
}
