//! Every execution of a few small scenarios: all orders of requests, each accident at each request.

use aft_core::planted::Planted;
use aft_tests::explore::{Options, Report, explore, scenario};

/// Explores a scenario, and demands that nothing is wrong and that the exploration is about as large as it should be.
#[allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test's own helper")]
fn holds(name: &str, executions: usize, accidents: usize, behaviours: usize) {
    let report = explore(&scenario(name).unwrap(), &Options::default());
    let Report { executions: run, redundant, accidents: struck, .. } = report;
    let seen = report.behaviours.len();
    println!(
        "{name}: {run} executions ({redundant} more were redundant), {struck} accidents, {seen} behaviours"
    );
    let found = report.counterexample.map(|counterexample| counterexample.to_string());
    assert!(found.is_none(), "{name}\n{}", found.unwrap_or_default());
    assert!(run >= executions, "{name}: only {run} executions");
    assert!(struck >= accidents, "{name}: only {struck} accidents");
    assert!(seen >= behaviours, "{name}: {:#?}", report.behaviours);
}

#[test]
fn two_writers_and_a_reader() {
    holds("two writers and a reader", 500, 80, 3);
}

#[test]
fn retry_pair() {
    holds("retry pair", 200, 40, 2);
}

#[test]
fn a_sweep_beside_a_slow_commit() {
    holds("a sweep beside a slow commit", 500, 130, 2);
}

#[test]
fn a_cancel_beside_a_commit() {
    holds("a cancel beside a commit", 300, 20, 4);
}

#[test]
fn two_publishers_and_a_reader() {
    holds("two publishers and a reader", 600, 50, 10);
}

#[test]
fn a_large_value_and_its_retry() {
    holds("a large value and its retry", 200, 90, 2);
}

#[test]
fn a_request_on_two_nodes() {
    holds("a request on two nodes", 100, 40, 2);
}

#[test]
fn a_request_taken_over() {
    holds("a request taken over", 30, 15, 1);
}

#[test]
fn two_guarded_writers() {
    holds("two guarded writers", 1_000, 100, 2);
}

#[test]
fn a_skew_pair() {
    holds("a skew pair", 8_000, 200, 3);
}

/// The search skips orders that nobody can tell apart: then it must see everything that trying all of them shows.
#[test]
fn what_the_search_skips_shows_nothing_new() {
    for name in ["retry pair", "a cancel beside a commit", "a large value and its retry"] {
        let options = Options { no_accidents: true, ..Options::default() };
        let reduced = explore(&scenario(name).unwrap(), &options);
        let all = explore(&scenario(name).unwrap(), &Options { unreduced: true, ..options });
        println!("{name}: {} executions instead of {}", reduced.executions, all.executions);
        assert!(all.executions > 2 * reduced.executions, "{name}");
        assert_eq!(reduced.behaviours, all.behaviours, "{name}");
    }
}

/// Each planted bug, and a scenario that finds it.
const BUGS: [(Planted, &str); 15] = [
    (Planted::TrustNotFound, "retry pair"),
    (Planted::SkipReadBack, "retry pair"),
    (Planted::AcceptForeignDecision, "retry pair"),
    (Planted::CacheBeforeDecision, "retry pair"),
    (Planted::PublishBeforeDecision, "a cancel beside a commit"),
    (Planted::NoInTimeRule, "a sweep beside a slow commit"),
    (Planted::IgnoreReads, "two writers and a reader"),
    (Planted::TrustFeedCreate, "two publishers and a reader"),
    (Planted::AckBeforeUpload, "a large value and its retry"),
    (Planted::TrustClaimConflict, "a request on two nodes"),
    (Planted::TakeOverUnfenced, "a request taken over"),
    (Planted::GuardsIgnoreOpen, "two guarded writers"),
    (Planted::FirstGuardIsFree, "two guarded writers"),
    (Planted::TrustGuardConflict, "two guarded writers"),
    (Planted::ReadersPassWriters, "a skew pair"),
];

#[test]
fn planted_bugs_are_found() {
    for (bug, name) in BUGS {
        let report = explore(&scenario(name).unwrap(), &Options { bug: Some(bug), ..Options::default() });
        println!("{bug:?}: after {} executions of {name}", report.executions);
        assert!(report.counterexample.is_some(), "{bug:?} is not found by {name}");
    }
}
