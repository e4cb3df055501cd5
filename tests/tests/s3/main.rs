//! aft on a real server that speaks S3, one of `tests/servers/server.sh` or any bucket:
//!
//! ```console
//! $ AFT_TEST_S3_URL=s3://bucket/prefix cargo test -p aft-tests --test s3      # endpoint and keys in the usual AWS_ variables
//! $ tests/servers/server.sh run rgw cargo test -p aft-tests --test s3
//! ```
//!
//! Each run works below a random prefix of its own, and empties it at the end. Without `AFT_TEST_S3_URL` every test is reported as
//! ignored: that is what the harness is for (`docs/decisions/0032`).
//!
//! - `AFT_TEST_S3_LACKS=list_order_of_marks` names, by commas, what this server is known not to do and aft does not need
//!   ([`LACKABLE`]). Such a test must fail, for that reason; it fails if the server does it after all.
//! - `AFT_TEST_S3_ROUNDS` sets the rounds of each conformance race (default 20), `AFT_KILLED_REQUESTS` how many requests the processes
//!   handle that are killed (default 250, and 200 increments of one counter), `AFT_KILLED_SEED` how they are delivered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test's own helpers"
)]

mod bucket;
mod conformance;
mod nodes;
mod processes;
mod refusals;
mod transactions;
mod upkeep;

use std::process::ExitCode;
use std::time::Duration;

use aft_core::conformance::{CHECKS, NOT_NEEDED};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

use bucket::Bucket;

const URL: &str = "AFT_TEST_S3_URL";
const LACKS: &str = "AFT_TEST_S3_LACKS";
/// A test that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(10 * 60);
/// Most tests wait for the server, or for windows to pass.
const THREADS: usize = 4;

/// Tests of what aft does not need, beside [`NOT_NEEDED`]: clear errors.
const LACKABLE: [&str; 2] = ["a_wrong_bucket_is_invalid", "wrong_credentials_are_denied"];

/// Why a test failed.
#[derive(Debug)]
enum Failure {
    /// The server does something else than was expected.
    Differs(String),
    /// The test could not be run to its end.
    Broken(String),
}

type Test = Box<dyn FnOnce(Bucket) -> LocalBoxFuture<'static, Result<(), Failure>> + Send>;

macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        vec![$((
            concat!(stringify!($module), "::", stringify!($name)).to_owned(),
            Box::new(|bucket: Bucket| $module::$name(bucket).boxed_local()) as Test,
        )),*]
    };
}

/// All tests; those that wait longest first.
fn tests() -> Vec<(String, Test)> {
    let mut tests = tests![
        upkeep::a_store_is_folded_collected_and_started_from_cold,
        processes::every_request_takes_effect_exactly_once,
        processes::one_guarded_counter_counts_every_request_once,
        processes::two_processes_see_each_others_commits_and_a_dead_ones_last_one_is_swept,
        transactions::what_is_committed_is_read_on_every_node,
        transactions::scans_and_deletes,
        transactions::of_all_attempts_under_one_id_one_commits,
        transactions::requests_that_are_delivered_often_run_once,
        transactions::transactions_travel_and_branches_join,
        transactions::what_was_given_up_never_commits,
        nodes::commits_spread_by_receipt_and_by_feed,
        nodes::readers_see_whole_commits_of_all_writers,
        nodes::a_sweep_publishes_what_a_dead_node_left,
        refusals::a_wrong_bucket_is_invalid,
        refusals::wrong_credentials_are_denied,
    ];
    tests.extend(CHECKS.iter().map(|&check| {
        let test: Test = Box::new(move |bucket| conformance::check(bucket, check).boxed_local());
        (format!("conformance::{check}"), test)
    }));
    tests
}

/// What the environment says that this server lacks.
fn lacking() -> Result<Vec<String>, String> {
    let named = std::env::var(LACKS).unwrap_or_default();
    let named: Vec<String> =
        named.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let known: Vec<&str> = NOT_NEEDED.iter().chain(&LACKABLE).copied().collect();
    match named.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            Err(format!("{LACKS} may name only what aft does not need ({}): not {name:?}", known.join(", ")))
        }
        None => Ok(named),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn run(test: Test, bucket: Bucket, lacks: bool) -> Result<(), Failed> {
    let name = bucket.name().to_owned();
    // Of processes that are killed somebody may have asked for more requests.
    let limit = LIMIT + Duration::from_millis(500) * processes::number("AFT_KILLED_REQUESTS", 0) as u32;
    let outcome = runtime().block_on(async { tokio::time::timeout(limit, test(bucket)).await });
    match (outcome, lacks) {
        (Err(_), _) => Err(format!("not done within {limit:?}").into()),
        (Ok(Err(Failure::Broken(why))), _) | (Ok(Err(Failure::Differs(why))), false) => Err(why.into()),
        (Ok(Err(Failure::Differs(why))), true) => {
            eprintln!("LACKS {name}: {why}");
            Ok(())
        }
        (Ok(Ok(())), true) => Err(format!("{LACKS} names it, but the server does it").into()),
        (Ok(Ok(())), false) => Ok(()),
    }
}

fn trial(name: String, test: Test, bucket: Option<&Bucket>, lacking: &[String]) -> Trial {
    let short = name.rsplit("::").next().unwrap_or(&name).to_owned();
    let lacks = lacking.contains(&short);
    let bucket = bucket.map(|bucket| bucket.below(&short));
    let trial = Trial::ignorable_test(name, move || match bucket {
        None => Ok(Completion::ignored_with(format!("{URL} names no bucket"))),
        Some(bucket) => run(test, bucket, lacks).map(|()| Completion::Completed),
    });
    // Seen in the output: `test [lacks] conformance::… ok` did not pass but was expected to fail.
    if lacks { trial.with_kind("lacks") } else { trial }
}

fn main() -> ExitCode {
    if let Some(other) = processes::started_as_another() {
        runtime().block_on(other);
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let lacking = match lacking() {
        Ok(lacking) => lacking,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let bucket = std::env::var(URL).ok().filter(|url| !url.is_empty()).map(|url| Bucket::new(&url));
    let trials =
        tests().into_iter().map(|(name, test)| trial(name, test, bucket.as_ref(), &lacking)).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Some(bucket) = bucket.filter(|_| !arguments.list)
        && let Err(error) = runtime()
            .block_on(async { tokio::time::timeout(LIMIT, bucket.empty()).await })
            .map_err(|_| "no end".to_owned())
            .flatten()
    {
        eprintln!("{} could not be emptied: {error}", bucket.url());
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}
