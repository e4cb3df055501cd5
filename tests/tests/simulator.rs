//! The simulator, in the short: seeds, planted bugs, determinism. `simulate` runs as many seeds as you like.

use aft_tests::sim::{FOUND_BY_SEEDS, FOUND_WITH_UPKEEP, Options, Report, SEEDS_PER_BUG, run};

fn show(report: &Report) -> String {
    format!("seed {}: {:#?}", report.seed, report.violations.iter().take(3).collect::<Vec<_>>())
}

/// Runs seeds on as many threads as there are cores, and returns those that found something.
fn failing(seeds: std::ops::Range<u64>, options: &Options) -> Vec<String> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let failed = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end || (options.bug.is_some() && !failed.lock().is_empty()) {
                        return;
                    }
                    let report = run(seed, options);
                    if !report.violations.is_empty() {
                        failed.lock().push(show(&report));
                    }
                }
            });
        }
    });
    failed.into_inner()
}

#[test]
fn no_seed_finds_a_violation() {
    let failed = failing(0..200, &Options::default());
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Seeds that found bugs once, and what they found.
#[test]
fn seeds_that_found_bugs_find_them_no_more() {
    for (seed, story) in [
        (223, "a replay was acknowledged, and nobody published the commit"),
        (359, "a later copy of a folded commit was taken for new, and its decision looked for in vain"),
        (394, "a token was read on through a later checkpoint, where the clock was wrong"),
        (514, "a later copy of a folded commit was taken for new, and its decision looked for in vain"),
        (975, "a clock was wrong only while a decision was sent, and the void decision was acknowledged"),
        (1383, "a replay was acknowledged, and nobody published the commit"),
        (14787, "nobody called a node without a background task: a wrong premise of the simulator's"),
        (101824, "reads of a transaction whose clock was ahead: the simulator's own"),
        (21349, "a store that was made in an outage said a time that was too late, and nobody could open it"),
        (22151, "the same, where the store took four seconds to answer"),
        (31729, "a checkpoint was asked for while a refresh was under way, which answered for it"),
        (2715, "a replay of an expired id was acknowledged, and nobody published the commit"),
    ] {
        let report = run(seed, &Options::default());
        assert!(report.violations.is_empty(), "{story}: {}", show(&report));
    }
    for (seed, story) in [
        (56, "a checkpoint was made while a refresh listed the feed, and a token that needed it was refused"),
        (11280, "the clock of a node was behind, and it looked for what an old token had read"),
        (11983, "a node was frozen while it opened, and took what was collected meanwhile for damage"),
        (
            14642,
            "a node stood still for a minute without notice, and missed a version where its transaction had expired",
        ),
    ] {
        let report = run(seed, &Options { upkeep: Some(true), ..Options::default() });
        assert!(report.violations.is_empty(), "{story}: {}", show(&report));
    }
    let mischief =
        Options { upkeep: Some(true), lies: Some(true), redates: Some(true), ..Options::default() };
    for (seed, story) in [
        (13, "an absent read was named after a deletion that no checkpoint had dropped: the simulator's own"),
        (
            82,
            "an own feed object that was dated anew measured its node's clock, and commits were acknowledged that were void",
        ),
        (
            2028,
            "listings never showed a node one of its own publications, and its checkpoint left the commit out",
        ),
    ] {
        let report = run(seed, &mischief);
        assert!(report.violations.is_empty(), "{story}: {}", show(&report));
    }
}

#[test]
fn a_seed_run_twice_is_the_same_execution() {
    for seed in 0..24 {
        let (first, second) = (run(seed, &Options::default()), run(seed, &Options::default()));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.history.transactions.len(), second.history.transactions.len());
    }
}

#[test]
fn every_planted_bug_of_the_list_is_found() {
    let mut missed = Vec::new();
    let anywhere = FOUND_BY_SEEDS.iter().map(|found| (found, None));
    let with_upkeep = FOUND_WITH_UPKEEP.iter().map(|found| (found, Some(true)));
    for ((bug, from), upkeep) in anywhere.chain(with_upkeep) {
        let options = Options { bug: Some(*bug), upkeep, ..Options::default() };
        if failing(*from..from + SEEDS_PER_BUG, &options).is_empty() {
            missed.push(*bug);
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
