//! Processes that share the bucket, and die.

use aft_core::Aft;
use aft_tests::killed::{self, Killed, Work};
use aft_tests::processes;
use futures::FutureExt;
use futures::future::{BoxFuture, LocalBoxFuture};

use crate::Failure;
use crate::bucket::{self, Bucket};

fn open_one_of_eight(url: String) -> BoxFuture<'static, Aft> {
    bucket::open(url, killed::config())
}

fn open_one_of_two(url: String) -> BoxFuture<'static, Aft> {
    bucket::open(url, processes::config())
}

/// What this process does if one of these tests started it.
pub fn started_as_another() -> Option<LocalBoxFuture<'static, ()>> {
    killed::worker(open_one_of_eight).or_else(|| Some(processes::other(open_one_of_two)?.boxed_local()))
}

pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

pub async fn every_request_takes_effect_exactly_once(bucket: Bucket) -> Result<(), Failure> {
    killed(bucket, Work::Transfers, 250).await
}

pub async fn one_guarded_counter_counts_every_request_once(bucket: Bucket) -> Result<(), Failure> {
    killed(bucket, Work::Counter, 200).await
}

async fn killed(bucket: Bucket, work: Work, requests: u64) -> Result<(), Failure> {
    let tokens = tempfile::tempdir().unwrap();
    let run = Killed {
        url: bucket.url().to_owned(),
        tokens: tokens.path().to_owned(),
        work,
        requests: number("AFT_KILLED_REQUESTS", requests) as usize,
        seed: number("AFT_KILLED_SEED", 1),
        // Among eight processes. Each must get so far as to handle a request, through a server that is not as near as files.
        pause_ms: 50..300,
        arguments: Vec::new(),
        planted: None,
    };
    eprintln!("{}", run.run(open_one_of_eight).await);
    bucket.is_clean().await
}

pub async fn two_processes_see_each_others_commits_and_a_dead_ones_last_one_is_swept(
    bucket: Bucket,
) -> Result<(), Failure> {
    processes::meet(bucket.url(), &[], open_one_of_two).await;
    bucket.is_clean().await
}
