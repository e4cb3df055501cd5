//! Sequential transactions over several nodes against a plain map: thousands of short histories in which hours pass.

use aft_core::planted::Planted;
use aft_tests::{FOUND_BY_THE_MODEL, ModelReport, run_models};

/// `AFT_MODEL_SEEDS` many, from `AFT_MODEL_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = number("AFT_MODEL_SEED").unwrap_or(0);
    first..first + number("AFT_MODEL_SEEDS").unwrap_or(400)
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
    for what in ["deletions purged", "resumptions", "joins", "collections", "nodes that died", "commits"] {
        assert!(happened(what) >= runs / 4, "{what} happened {} times", happened(what));
    }
    assert!(happened("expired") <= happened("transactions") / 4, "few transactions may end early");
}

#[test]
fn every_planted_bug_of_the_list_is_found() {
    let missed = |bug: &&Planted| {
        let (wrong, counts) = run_models(0..200, Some(**bug));
        println!("{bug:?}: {:?}", counts.get("deletions purged"));
        println!("{:?}", wrong.iter().map(|it| it.seed).collect::<Vec<_>>());
        wrong.is_empty()
    };
    let missed: Vec<_> = FOUND_BY_THE_MODEL.iter().filter(missed).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
