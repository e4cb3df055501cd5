//! What happens to nodes and to the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aft_memory::{CrashMoment, Faults, SimulatedStorage};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use crate::sim::cluster::Cluster;
use crate::sim::mischief::Mischief;

/// Makes trouble until it is told to stop.
#[derive(Debug)]
pub(crate) struct Chaos {
    rng: StdRng,
    cluster: Arc<Cluster>,
    network: SimulatedStorage,
    /// The allowed clock skew.
    skew_ms: u64,
    /// The worst weather.
    worst: Faults,
    /// Whether nodes die.
    deadly: bool,
    /// What was done, by kind.
    done: BTreeMap<&'static str, u64>,
    /// Machines whose process is to die at a request, and its name.
    doomed: Vec<(usize, String)>,
    /// What becomes of listings and dates, where anything does.
    pub(crate) mischief: Option<Mischief>,
}

impl Chaos {
    pub(crate) fn new(
        seed: u64,
        cluster: Arc<Cluster>,
        network: SimulatedStorage,
        skew_ms: u64,
        worst: Faults,
        deadly: bool,
    ) -> Self {
        let (rng, done, doomed) = (StdRng::seed_from_u64(seed), BTreeMap::new(), Vec::new());
        Self { rng, cluster, network, skew_ms, worst, deadly, done, doomed, mischief: None }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below
    }

    fn count(&mut self, what: &'static str) {
        self.network.note(&format!("chaos: {what}"));
        *self.done.entry(what).or_default() += 1;
    }

    /// Sets every clock a little wrong, some of them very.
    pub(crate) fn set_clocks(&mut self) {
        for at in 0..self.cluster.machines() {
            self.set_clock(at);
        }
    }

    fn set_clock(&mut self, at: usize) {
        // Mostly within what is allowed, with a second to spare for whole-second dates; sometimes far beyond.
        let most = if self.draw(8) == 0 { 5 * self.skew_ms } else { self.skew_ms - 1000 };
        let skew = i64::try_from(self.draw(2 * most + 1)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
        self.cluster.clock(at).set_skew_ms(skew);
    }

    /// One piece of trouble after the other, for so long.
    pub(crate) async fn rage(&mut self, lasts: Duration) -> BTreeMap<&'static str, u64> {
        let end = tokio::time::Instant::now() + lasts;
        while tokio::time::Instant::now() < end {
            let calm = self.draw(8_000);
            sleep(Duration::from_millis(calm)).await;
            let machines = self.cluster.machines() as u64;
            let at = usize::try_from(self.draw(machines)).unwrap_or(0);
            let more = self.mischief.as_ref().map_or(0, Mischief::weight);
            match self.draw(12 + more) {
                12.. => self.mischief(at).await,
                0..3 if self.deadly => self.crash(at).await,
                3..5 if self.deadly => self.crash_at_request(at),
                5..7 => self.pause(at).await,
                7..9 => {
                    self.count("clock set");
                    self.set_clock(at);
                }
                9 => {
                    self.count("outage");
                    let lasts = self.draw(20_000);
                    self.network.outage(Duration::from_millis(lasts));
                }
                _ => {
                    self.count("weather");
                    let faults = [Faults::none(), Faults::mild(), self.worst.clone()];
                    let which = usize::try_from(self.draw(3)).unwrap_or(0);
                    self.network.set_faults(faults[which].clone());
                }
            }
        }
        std::mem::take(&mut self.done)
    }

    async fn mischief(&mut self, at: usize) {
        let now_ms = self.cluster.now_ms();
        let process = self.cluster.process(at);
        let Some(mischief) = &mut self.mischief else { return };
        let what = mischief.once(now_ms, process.name()).await;
        self.count(what);
    }

    async fn crash(&mut self, at: usize) {
        self.count("crash");
        self.cluster.crash(at);
        let down = self.draw(5_000);
        sleep(Duration::from_millis(down)).await;
        self.cluster.start(at);
    }

    /// The process dies in the middle of one of its next requests; its machine starts another node later on.
    fn crash_at_request(&mut self, at: usize) {
        self.count("crash at a request");
        let process = self.cluster.process(at);
        let nth = process.requests() + 1 + self.draw(20);
        let moment = if self.draw(2) == 0 { CrashMoment::BeforeSending } else { CrashMoment::AfterTheEffect };
        process.crash_at(nth, moment);
        let cluster = Arc::clone(&self.cluster);
        let name = process.name().to_owned();
        self.doomed.push((at, name.clone()));
        tokio::spawn(async move {
            sleep(Duration::from_secs(15)).await;
            if cluster.process(at).name() == name {
                cluster.crash(at);
                cluster.start(at);
            }
        });
    }

    async fn pause(&mut self, at: usize) {
        self.count("pause");
        let process = self.cluster.process(at);
        process.pause();
        let lasts = if self.draw(4) == 0 { self.draw(90_000) } else { self.draw(8_000) };
        tokio::spawn(async move {
            sleep(Duration::from_millis(lasts)).await;
            process.resume();
        });
    }

    /// Ends all trouble: nobody dies any more.
    pub(crate) fn heal(&mut self) {
        self.network.set_faults(Faults::none());
        self.network.outage(Duration::ZERO);
        self.network.tell_the_truth();
        for (at, name) in std::mem::take(&mut self.doomed) {
            if self.cluster.process(at).name() == name {
                self.cluster.start(at);
            }
        }
        for at in 0..self.cluster.machines() {
            self.cluster.process(at).resume();
            self.cluster.clock(at).set_skew_ms(0);
        }
    }
}

/// The worst weather that the simulated store's settings allow for: requests and early dates stay below its visibility delay.
pub(crate) fn heavy() -> Faults {
    Faults {
        slow_delay: Duration::from_secs(8),
        dated_early: Duration::from_secs(9),
        ghost_delay: Duration::from_secs(60),
        ..Faults::heavy()
    }
}
