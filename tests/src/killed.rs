//! Processes on one store that handle requests and are killed with SIGKILL at random moments: every request takes effect exactly once.
//!
//! Two kinds of [`Work`]: coins, of which each process has its own, and one guarded counter, for which all of them contend.
//!
//! The `supervisor` hands requests to `worker` processes (the test that runs it, started again), from a queue that delivers at least
//! once: what a killed worker had under way goes to another process, some requests are given to two at once, and some again when they
//! are done. `request` says what a request does, `audit` counts everything from a scan of the store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's own helpers")]

mod audit;
mod queue;
mod request;
mod supervisor;
mod worker;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use aft_core::planted::Planted;
use aft_core::{Aft, Config};
use futures::FutureExt;
use futures::future::LocalBoxFuture;

use crate::OpenNode;

pub use request::Work;

/// What makes a process a worker: its slot, its work, a planted bug, the folder of tokens, the URL of the store.
const WORKER: &str = "AFT_KILLED_WORKER";
const PROCESSES: usize = 8;

/// A run: what is done where, and how hard the processes have it.
#[derive(Debug, Clone)]
pub struct Killed {
    /// The store, new.
    pub url: String,
    /// A new, empty folder, through which tokens go from one process to another.
    pub tokens: PathBuf,
    /// What each request does.
    pub work: Work,
    /// How many requests are handled.
    pub requests: usize,
    /// Chooses how they are delivered. How kills fall among the steps is up to the machine, so a seed does not replay.
    pub seed: u64,
    /// The time between two kills, at random.
    pub pause_ms: Range<u64>,
    /// The arguments under which this program, started again, comes to [`worker()`].
    pub arguments: Vec<String>,
    /// A bug that every worker has, on the thread that handles its requests: to see that the audit finds it.
    pub planted: Option<Planted>,
}

/// Settings under which knowledge spreads within about a second, so that processes often find each other's commits the hard way, too.
#[must_use]
pub fn config() -> Config {
    let half_a_second = Duration::from_millis(500);
    Config { max_staleness: half_a_second, feed_interval: half_a_second, ..Config::default() }
}

/// What this process does if it was started as a worker.
#[must_use]
pub fn worker(open: OpenNode) -> Option<LocalBoxFuture<'static, ()>> {
    let arguments = std::env::var(WORKER).ok()?;
    Some(async move { worker::run(&arguments, open).await }.boxed_local())
}

impl Killed {
    /// What the worker of a slot is started with.
    fn of_worker(&self, slot: usize) -> String {
        let planted = self.planted.map(|bug| format!("{bug:?}")).unwrap_or_default();
        format!("{slot}|{}|{planted}|{}|{}", self.work.word(), self.tokens.display(), self.url)
    }

    /// Lets eight processes handle the requests while they are killed, and counts everything again. Says what the run came to.
    ///
    /// # Panics
    /// Where a request did not take effect exactly once, a worker failed, or nobody was killed.
    pub async fn run(self, open: OpenNode) -> String {
        let run = self.clone();
        let (done, report) =
            tokio::task::spawn_blocking(move || supervisor::run(&run)).await.unwrap().unwrap();
        let aft: Aft = open(self.url).await;
        audit::audit(&aft, self.work, &done).await;
        assert!(report.counts.kills > 0, "nobody was killed");
        report.to_string()
    }
}
