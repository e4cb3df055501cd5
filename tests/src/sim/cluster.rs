//! Nodes that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aft_core::{Aft, Config, ErrorKind};
use aft_memory::{Process, SimulatedStorage};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::sim::recorder::Client;
use crate::sim::upkeep::{keep, maintenance};
use crate::sim::workload::{Shared, work};
use crate::world::NodeClock;

/// Clients of one node.
const CLIENTS: usize = 2;

/// The machines of a run; on each runs one node after the other.
#[derive(Debug)]
pub(crate) struct Cluster {
    network: SimulatedStorage,
    shared: Arc<Shared>,
    start: Instant,
    config: Config,
    rng: Mutex<StdRng>,
    /// Whether no node may start for now.
    closed: AtomicBool,
    machines: Mutex<Vec<Machine>>,
}

/// A machine: its clock lives on when its node dies.
#[derive(Debug)]
struct Machine {
    clock: Arc<NodeClock>,
    process: Process,
    /// How many nodes ran here.
    generation: u32,
    running: Option<JoinHandle<()>>,
    /// The node that runs here, once it is open.
    aft: Arc<Mutex<Option<Aft>>>,
}

impl Cluster {
    pub(crate) fn new(
        network: SimulatedStorage,
        shared: Arc<Shared>,
        start: Instant,
        config: Config,
        seed: u64,
        machines: usize,
    ) -> Arc<Self> {
        let machine = |n| Machine {
            clock: Arc::new(NodeClock::new(start)),
            process: network.process(&format!("n{n}.0")),
            generation: 0,
            running: None,
            aft: Arc::default(),
        };
        let machines = Mutex::new((0..machines).map(machine).collect());
        let rng = Mutex::new(StdRng::seed_from_u64(seed));
        let closed = AtomicBool::new(false);
        Arc::new(Self { network, shared, start, config, rng, closed, machines })
    }

    pub(crate) fn machines(&self) -> usize {
        self.machines.lock().len()
    }

    /// Starts a node on a machine, with its clients.
    pub(crate) fn start(self: &Arc<Self>, at: usize) {
        // Two kinds of trouble may both want to start a node on this machine.
        self.crash(at);
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let seed = self.rng.lock().next_u64();
        let mut machines = self.machines.lock();
        let machine = &mut machines[at];
        machine.generation += 1;
        let name = format!("n{at}.{}", machine.generation);
        machine.process = self.network.process(&name);
        let (process, clock) = (machine.process.clone(), Arc::clone(&machine.clock));
        machine.aft = Arc::default();
        let (this, open) = (Arc::clone(self), Arc::clone(&machine.aft));
        machine.running =
            Some(tokio::spawn(async move { this.live(name, process, clock, seed, open).await }));
    }

    /// Crashes a node: its clients stop where they are, what it sent may still land.
    pub(crate) fn crash(&self, at: usize) {
        let mut machines = self.machines.lock();
        machines[at].process.crash();
        machines[at].aft.lock().take();
        if let Some(running) = machines[at].running.take() {
            running.abort();
        }
    }

    /// Stops every node, without a farewell, until [`reopen`](Self::reopen).
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.end_all_but(None);
    }

    /// Starts a node on every machine.
    pub(crate) fn reopen(self: &Arc<Self>) {
        self.closed.store(false, Ordering::Relaxed);
        (0..self.machines()).for_each(|at| self.start(at));
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.shared.recorder.now_ms()
    }

    pub(crate) fn process(&self, at: usize) -> Process {
        self.machines.lock()[at].process.clone()
    }

    pub(crate) fn clock(&self, at: usize) -> Arc<NodeClock> {
        Arc::clone(&self.machines.lock()[at].clock)
    }

    /// Calls every open node again and again, as its users would: a node without a background task publishes and sweeps only when it
    /// is called, and all its clients may be in the middle of long transactions.
    pub(crate) async fn call_all(&self) {
        loop {
            for aft in self.open_nodes() {
                // A node that cannot begin now says so to its clients as well.
                drop(aft.begin().await);
            }
            sleep(Duration::from_secs(3)).await;
        }
    }

    fn open_nodes(&self) -> Vec<Aft> {
        self.machines.lock().iter().filter_map(|it| it.aft.lock().clone()).collect()
    }

    /// The nodes that are open now, as the auditor uses them.
    pub(crate) fn survivors(&self) -> Vec<Client> {
        let machines = self.machines.lock();
        let alive = machines.iter().filter(|it| !it.process.is_crashed());
        let survivor = |machine: &Machine| {
            let (aft, process) = (machine.aft.lock().clone()?, machine.process.clone());
            let network = self.network.reached_by(&process);
            let (node, session) = (process.name().to_owned(), format!("auditor/{}", process.name()));
            Some(Client { node, session, aft, process, network })
        };
        alive.filter_map(survivor).collect()
    }

    /// Ends every node but one.
    pub(crate) fn end_all_but(&self, survivor: Option<&Client>) {
        for at in 0..self.machines() {
            if survivor.is_none_or(|survivor| survivor.process.name() != self.process(at).name()) {
                self.crash(at);
            }
        }
    }

    /// Publishes what every open node has not published yet.
    pub(crate) async fn publish_all(&self) {
        for aft in self.open_nodes() {
            if let Err(error) = aft.publish().await {
                self.shared.recorder.problem(format!("a node could not publish: {error}"));
            }
        }
    }

    /// Stops the clients of every machine, between two operations or within one; their nodes stay open.
    pub(crate) fn stop(&self) {
        for machine in self.machines.lock().iter_mut() {
            if let Some(running) = machine.running.take() {
                running.abort();
            }
        }
    }

    /// Whether a client or node panicked.
    pub(crate) async fn panics(&self) -> Vec<String> {
        let running: Vec<_> = self.machines.lock().iter_mut().filter_map(|it| it.running.take()).collect();
        let mut panics = Vec::new();
        for running in running {
            running.abort();
            if let Err(error) = running.await
                && error.is_panic()
            {
                panics.push(format!("{error}"));
            }
        }
        panics
    }

    /// Opens a node for the auditor, with a right clock.
    pub(crate) async fn auditor(&self, name: &str) -> Option<Client> {
        let process = self.network.process(name);
        let seed = self.rng.lock().next_u64();
        let aft = self.open(&process, Arc::new(NodeClock::new(self.start)), seed).await?;
        let network = self.network.reached_by(&process);
        Some(Client { node: name.to_owned(), session: name.to_owned(), aft, process, network })
    }

    async fn live(
        self: Arc<Self>,
        name: String,
        process: Process,
        clock: Arc<NodeClock>,
        seed: u64,
        open: Arc<Mutex<Option<Aft>>>,
    ) {
        let Some(aft) = self.open(&process, clock, seed).await else { return };
        *open.lock() = Some(aft.clone());
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..CLIENTS {
            let session = format!("{name}/c{n}");
            let (aft, process) = (aft.clone(), process.clone());
            let network = self.network.reached_by(&process);
            let client = Client { node: name.clone(), session, aft, process, network };
            clients.spawn(work(client, Arc::clone(&self.shared), seed.wrapping_add(1 + n as u64)));
        }
        if self.shared.upkeep {
            let session = format!("{name}/upkeep");
            let network = self.network.reached_by(&process);
            let client = Client { node: name.clone(), session, aft, process, network };
            clients.spawn(keep(client, Arc::clone(&self.shared), seed));
        }
        while let Some(ended) = clients.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                self.shared.recorder.problem(format!("a client of {name} panicked: {error}"));
            }
        }
    }

    /// Opens the store, again and again while faults keep it from opening.
    async fn open(&self, process: &Process, clock: Arc<NodeClock>, seed: u64) -> Option<Aft> {
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..100 {
            if process.is_crashed() {
                return None;
            }
            let maintenance = (self.shared.upkeep && !self.shared.relays && rng.next_u32().is_multiple_of(3))
                .then(maintenance);
            let config = Config {
                maintenance,
                cache_bytes: if rng.next_u32() % 2 == 0 { 0 } else { 8 << 20 },
                background: rng.next_u32() % 3 != 0,
                verify_every_commit: rng.next_u32() % 8 == 0,
                ..self.config.clone()
            };
            let storage = Arc::new(self.network.reached_by(process));
            let clock = Arc::clone(&clock) as Arc<dyn aft_core::Clock>;
            match Aft::builder(storage).config(config).clock(clock).rng_seed(rng.next_u64()).open().await {
                Ok(aft) => {
                    // A node that opens has nothing to compare listings with.
                    process.deceivable();
                    return Some(aft);
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => {}
                Err(error) if error.kind() == ErrorKind::Denied && process.is_crashed() => return None,
                Err(error) => {
                    self.shared
                        .recorder
                        .problem(format!("{} could not open the store: {error}", process.name()));
                    return None;
                }
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.shared.recorder.problem(format!("{} never got the store open", process.name()));
        None
    }
}
