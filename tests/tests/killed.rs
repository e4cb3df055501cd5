//! Eight processes on one file store handle requests, are killed with SIGKILL at random moments, and every request takes effect
//! exactly once ([`aft_tests::killed`]).
//!
//! `AFT_KILLED_REQUESTS=10000` and `AFT_KILLED_SEED` choose a run. The store does not sync its files: SIGKILL takes nothing from the
//! page cache.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test's own helpers")]

use aft_core::Aft;
use aft_s3::Options;
use aft_tests::killed::{self, Killed};
use futures::FutureExt;
use futures::future::BoxFuture;

const NAME: &str = "every_request_takes_effect_exactly_once";

fn open(url: String) -> BoxFuture<'static, Aft> {
    let options = Options { sync: false, ..Options::default() };
    async move { Aft::open(aft_s3::open(&url, options).unwrap(), killed::config()).await.unwrap() }.boxed()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_takes_effect_exactly_once() {
    if let Some(worker) = killed::worker(open) {
        return worker.await;
    }
    let (store, tokens) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = Killed {
        url: format!("file://{}", store.path().display()),
        tokens: tokens.path().to_owned(),
        requests: number("AFT_KILLED_REQUESTS", 1_500) as usize,
        seed: number("AFT_KILLED_SEED", 1),
        pause_ms: 10..100,
        arguments: ["--exact", NAME, "--nocapture"].map(str::to_owned).to_vec(),
    };
    eprintln!("{}", run.run(open).await);
}
