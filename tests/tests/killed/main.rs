//! Eight processes on one file store handle requests, are killed with SIGKILL at random moments, and every request takes effect
//! exactly once.
//!
//! [`supervisor`] hands requests to [`worker`] processes (this test, started again), from a queue that delivers at least once: what a
//! killed worker had under way goes to another process, some requests are given to two at once, and some again when they are
//! done. [`request`] says what a request does, [`audit`] counts everything from a scan of the store.
//!
//! `AFT_KILLED_REQUESTS=10000` and `AFT_KILLED_SEED` choose a run; how kills fall among the steps is up to the machine, so a seed
//! does not replay. The store does not sync its files: SIGKILL takes nothing from the page cache.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test's own helpers")]

mod audit;
mod queue;
mod request;
mod supervisor;
mod worker;

use std::time::Duration;

use aft_core::{Aft, Config};
use aft_s3::Options;

/// What makes this test a worker: the folder and the slot.
const WORKER: &str = "AFT_KILLED_WORKER";
const NAME: &str = "every_request_takes_effect_exactly_once";
const PROCESSES: usize = 8;

/// Knowledge spreads within about a second, so that processes often find each other's commits the hard way, too.
async fn open(url: &str) -> Aft {
    let half_a_second = Duration::from_millis(500);
    let config = Config { max_staleness: half_a_second, feed_interval: half_a_second, ..Config::default() };
    let options = Options { sync: false, ..Options::default() };
    Aft::open(aft_s3::open(url, options).unwrap(), config).await.unwrap()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_takes_effect_exactly_once() {
    if let Ok(arguments) = std::env::var(WORKER) {
        return worker::run(&arguments).await;
    }
    let requests = number("AFT_KILLED_REQUESTS", 1_500) as usize;
    let seed = number("AFT_KILLED_SEED", 1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let (done, report) =
        tokio::task::spawn_blocking(move || supervisor::run(&path, requests, seed)).await.unwrap().unwrap();
    eprintln!("{report}");
    audit::audit(folder.path(), &done).await;
    assert!(report.counts.kills > 0, "nobody was killed");
}
