//! Planted bugs that are found elsewhere.

use aft_core::planted::Planted;

pub(crate) const ELSEWHERE: [&[Planted]; 3] = [&FOUND_BY_MODELS, &FOUND_BY_CLONES, &FOUND_BY_NODES];

/// The planted bugs that the models beside the code find: `aft-core/src/protocol/fold/history.rs` the first three, `clock_check.rs` the last,
/// `oracle/anomalies.rs` the two before it, `knowledge/brute_force.rs` those between.
const FOUND_BY_MODELS: [Planted; 10] = [
    Planted::PublishedByDate,
    Planted::KeepOlderVersion,
    Planted::DuplicateIsGarbage,
    Planted::PurgeTooEarly,
    Planted::SweepsOutrun,
    Planted::FoldByCommitTime,
    Planted::LightSettles,
    Planted::FloorsForgetFolds,
    Planted::FloorsOfOldViews,
    Planted::TrustListedDates,
];

/// Those that `tests/tests/clone` finds.
const FOUND_BY_CLONES: [Planted; 8] = [
    Planted::JudgeCopiesByDate,
    Planted::CloneLaterOutcomes,
    Planted::CloneUnswept,
    Planted::CloneVoidAsItIs,
    Planted::CloneClaimsByName,
    Planted::CloneUntold,
    Planted::CloneOverCommits,
    Planted::CloneWithoutValues,
];

const FOUND_BY_NODES: [Planted; 3] =
    [Planted::PublisherStaysGone, Planted::TrustSweepsAhead, Planted::TurnsOfCallers];
