//! Which commits of a batch need not be told in full (AFT, algorithm 2).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::planted::{Planted, planted};
use crate::protocol::view::Commit;
use crate::version::Version;

/// For each commit of a batch, whether every key it wrote was overwritten by another commit of the batch.
///
/// All of them must be decided and in time: a superseder that turned out void would have erased a commit (`HAZARDS`
/// 20). A commit that wrote nothing is pruned too: only its id is worth telling. One that a request key led to is not: its decision
/// must outlive its folding, and only its record says so.
#[must_use]
pub fn superseded(batch: &[Arc<Commit>]) -> Vec<bool> {
    let mut newest: BTreeMap<&[u8], Version> = BTreeMap::new();
    for commit in batch {
        for key in commit.writes.keys() {
            let version = newest.entry(key).or_insert(commit.version);
            *version = (*version).max(commit.version);
        }
    }
    let overwritten = |commit: &Commit| {
        if planted(Planted::PruneTooMuch) {
            return commit.writes.keys().any(|key| newest[key] > commit.version);
        }
        !commit.keyed && commit.writes.keys().all(|key| newest[key] > commit.version)
    };
    batch.iter().map(|commit| overwritten(commit)).collect()
}
