//! Eight processes on one file store handle requests, are killed with SIGKILL at random moments, and every request takes effect
//! exactly once ([`aft_tests::killed`]): requests of all kinds, and increments of one guarded counter.
//!
//! `AFT_KILLED_REQUESTS=10000` and `AFT_KILLED_SEED` choose a run. The store does not sync its files: SIGKILL takes nothing from the
//! page cache.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test's own helpers")]

use std::panic::AssertUnwindSafe;

use aft_core::Aft;
use aft_core::planted::Planted;
use aft_s3::Options;
use aft_tests::killed::{self, Killed, Work};
use futures::FutureExt;
use futures::future::BoxFuture;
use tempfile::TempDir;

fn open(url: String) -> BoxFuture<'static, Aft> {
    let options = Options { sync: false, ..Options::default() };
    async move { Aft::open(aft_s3::open(&url, options).unwrap(), killed::config()).await.unwrap() }.boxed()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// A run of so many requests by the test of this name, with the folders that it needs.
fn run(test: &str, work: Work, requests: u64) -> (Killed, [TempDir; 2]) {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let killed = Killed {
        url: format!("file://{}", folders[0].path().display()),
        tokens: folders[1].path().to_owned(),
        work,
        requests: requests as usize,
        seed: number("AFT_KILLED_SEED", 1),
        pause_ms: 10..100,
        arguments: ["--exact", test, "--nocapture"].map(str::to_owned).to_vec(),
        planted: None,
    };
    (killed, folders)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_takes_effect_exactly_once() {
    if let Some(worker) = killed::worker(open) {
        return worker.await;
    }
    let requests = number("AFT_KILLED_REQUESTS", 1_500);
    let (run, _folders) = run("every_request_takes_effect_exactly_once", Work::Transfers, requests);
    eprintln!("{}", run.run(open).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_guarded_counter_counts_every_request_once() {
    if let Some(worker) = killed::worker(open) {
        return worker.await;
    }
    let requests = number("AFT_KILLED_REQUESTS", 1_000);
    let (run, _folders) = run("one_guarded_counter_counts_every_request_once", Work::Counter, requests);
    eprintln!("{}", run.run(open).await);
}

/// Workers that do not look who has guarded the counter before them lose updates, and the audit says so.
#[tokio::test]
async fn the_audit_sees_updates_that_broken_guards_lose() {
    if let Some(worker) = killed::worker(open) {
        return worker.await;
    }
    let (run, _folders) = run("the_audit_sees_updates_that_broken_guards_lose", Work::Counter, 100);
    let run = Killed { planted: Some(Planted::FirstGuardIsFree), ..run };
    let failed = AssertUnwindSafe(run.run(open)).catch_unwind().await.unwrap_err();
    let said = failed.downcast::<String>().unwrap();
    assert!(said.contains("updates were lost"), "{said}");
}
