//! Sequential transactions over several nodes against a plain map: hundreds of short histories in which hours pass.

#![allow(clippy::print_stdout, reason = "what happened in the runs, for whoever asks")]

use aft_core::planted::Planted;
use aft_tests::{FOUND_BY_THE_MODEL, ModelReport, run_models};

/// `AFT_MODEL_SEEDS` many, from `AFT_MODEL_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("AFT_MODEL_SEED").unwrap_or(0);
    first..first + number("AFT_MODEL_SEEDS").unwrap_or(300)
}

fn show(report: &ModelReport) -> String {
    let last = report.steps.len().saturating_sub(60);
    let steps = report.steps[last..].join("\n  ");
    format!(
        "seed {}: {}\n  {steps}\nreplay: AFT_MODEL_SEEDS=1 AFT_MODEL_SEED={0} cargo test -p aft-tests --test model",
        report.seed,
        report.violation.as_deref().unwrap_or_default()
    )
}

#[test]
fn what_is_read_is_what_a_plain_map_says() {
    let (wrong, counts) = run_models(seeds(), None);
    println!("{counts:#?}");
    assert!(wrong.is_empty(), "{}", wrong.iter().map(show).collect::<Vec<_>>().join("\n"));
    // A model in which something never happens shows nothing about it.
    let happened = |what: &str| counts.iter().find(|(name, _)| **name == what).map_or(0, |(_, times)| *times);
    let runs = seeds().end - seeds().start;
    for what in [
        "deletions purged",
        "resumptions",
        "resumptions that found a newer checkpoint",
        "joins",
        "collections",
        "nodes that died",
        "commits",
    ] {
        assert!(runs < 100 || happened(what) >= runs, "{what} happened {} times", happened(what));
    }
    assert!(happened("expired") * 20 <= happened("transactions"), "few transactions may end early");
}

/// Seeds that found bugs once.
#[test]
fn seeds_that_found_bugs_find_them_no_more() {
    let story = "check missed the decision of a folded commit that somebody had published again";
    for seed in [1553, 1935, 3609] {
        let report = aft_tests::run_model(seed, None);
        assert!(report.violation.is_none(), "{story}: {}", show(&report));
    }
}

#[test]
fn a_seed_run_twice_is_the_same_run() {
    for seed in 0..8 {
        let (first, second) = (aft_tests::run_model(seed, None), aft_tests::run_model(seed, None));
        assert_eq!(first.steps, second.steps, "seed {seed}");
    }
}

#[test]
fn every_planted_bug_of_the_list_is_found() {
    let missed = |bug: &&Planted| run_models(0..200, Some(**bug)).0.is_empty();
    let missed: Vec<_> = FOUND_BY_THE_MODEL.iter().filter(missed).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
