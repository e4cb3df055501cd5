//! What a checkpoint folds, and what it tells of beside the index.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::format::manifest::{FileRef, Manifest, SortedRun};
use crate::format::recent::{PrunedCommit, Recent, RecentCommit};
use crate::format::record::CommitRecord;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::protocol::fold::{purge_bound, settled_ms};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::knowledge::feed_state::NOT_DATED;
use crate::protocol::timeliness::{Limits, PublishedAt, StoreTime};
use crate::protocol::view::Commit;
use crate::txn_id::TxnId;
use crate::version::Version;

/// Everything that a checkpoint is made of, from one moment.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) base: Arc<Base>,
    pub(crate) begun: StoreTime,
    /// When the newest was begun that folds.
    full_begun: StoreTime,
    pub(crate) horizon: StoreTime,
    /// The newest date of a feed object that published what it folds, and of what was folded before.
    pub(crate) folded_until: StoreTime,
    pub(crate) basis: StoreTime,
    /// What was swept as everybody is shown who begins from it.
    pub(crate) told_through: StoreTime,
    /// What newer sweeps say, and when the last one was published.
    sweeps: BTreeMap<StoreTime, StoreTime>,
    last_sweep: StoreTime,
    pub(crate) settled_ms: u64,
    /// Commits that stay recent, and that others may take for folded by a date.
    pub(crate) unfolded: BTreeSet<TxnId>,
    /// Tombstones strictly below may leave the index.
    pub(crate) purge_bound: Version,
    pub(crate) fold: Vec<Arc<Commit>>,
    /// Commits whose batch superseded them, and that are as old as the folded ones.
    pub(crate) pruned: Vec<PrunedCommit>,
    pub(crate) recent: Recent,
}

/// What a manifest names beside what its draft says.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) greatest: Version,
    pub(crate) purged: Version,
    pub(crate) runs: Vec<SortedRun>,
    pub(crate) recent: FileRef,
    pub(crate) garbage: Option<FileRef>,
    pub(crate) outcomes: Option<FileRef>,
}

impl Draft {
    /// The manifest that says so, of this store and by this maker.
    pub(crate) fn manifest(&self, number: u64, store_id: String, attempt: u64, named: Named) -> Manifest {
        let Named { greatest, purged, runs, recent, garbage, outcomes } = named;
        Manifest {
            number,
            store_id,
            attempt,
            begun: self.begun.0,
            full_begun: self.full_begun.0,
            horizon: self.horizon.0,
            folded_until: self.folded_until.0,
            basis: self.basis.0,
            swept_through: self.told_through.0,
            last_sweep: self.last_sweep.0,
            sweeps: self.sweeps.iter().map(|(dated, through)| (dated.0, through.0)).collect(),
            settled_ms: self.settled_ms,
            unfolded: self.unfolded.clone(),
            greatest,
            purged,
            runs,
            recent,
            garbage,
            outcomes,
        }
    }
}

/// Why no checkpoint can be made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoDraft {
    /// The store's time is not known yet.
    TimeUnknown,
    /// Commits are to be published again: late feed objects told of them, or own ones that listings never showed.
    ToldLate,
}

/// What a checkpoint is drafted from: all of it is copied at one moment, so that others need not wait while it is sorted.
#[derive(Debug)]
pub(crate) struct Gathered {
    limits: Limits,
    base: Arc<Base>,
    begun: StoreTime,
    /// How far the feed is known: of what came later nobody here knows when it was published.
    known_until: StoreTime,
    basis: StoreTime,
    swept_through: StoreTime,
    told_through: StoreTime,
    sweeps: BTreeMap<StoreTime, StoreTime>,
    last_sweep: StoreTime,
    commits: Vec<(Arc<Commit>, PublishedAt)>,
    pruned: Vec<PrunedCommit>,
    /// What was seen; no commits yet.
    recent: Recent,
}

impl Knowledge {
    /// What a checkpoint that is begun now is drafted from.
    pub(crate) fn gather(&self, now: LocalTime) -> Result<Gathered, NoDraft> {
        let known = &self.feed;
        let begun = self.store_time(now).ok_or(NoDraft::TimeUnknown)?;
        // Whoever begins from this checkpoint would not look where they are told.
        if !known.found.is_empty() && !planted(Planted::CheckpointForgetsFound) {
            return Err(NoDraft::ToldLate);
        }
        let commits =
            self.view.recent().filter_map(|(commit, publication)| Some((Arc::clone(commit), publication?)));
        Ok(Gathered {
            limits: self.limits,
            base: Arc::clone(self.base()),
            begun,
            known_until: self.shown_time(now, Planted::HorizonByAnyDate).ok_or(NoDraft::TimeUnknown)?,
            basis: known.basis.ok_or(NoDraft::TimeUnknown)?,
            swept_through: known.swept_through.ok_or(NoDraft::TimeUnknown)?,
            told_through: known.told_through.ok_or(NoDraft::TimeUnknown)?,
            sweeps: known.sweeps.clone(),
            last_sweep: known.last_sweep.unwrap_or(StoreTime(0)),
            commits: commits.collect(),
            pruned: known.pruned.values().cloned().collect(),
            recent: Recent {
                seen: known.seen.iter().copied().collect(),
                published: known.published.iter().map(|(id, dated)| (*id, dated.0)).collect(),
                dead: known.dead.iter().copied().collect(),
                ..Recent::default()
            },
        })
    }
}

impl Gathered {
    /// A checkpoint that folds nothing: what is folded and settled stays as it is, and all commits beyond are recent. It tells whoever begins from it all that
    /// its maker has read of the feed, and claims nothing beside; so it needs no sweep.
    pub(crate) fn light(self) -> Draft {
        let Self {
            limits,
            base,
            begun,
            basis,
            known_until,
            told_through,
            sweeps,
            last_sweep,
            commits,
            pruned,
            mut recent,
            ..
        } = self;
        let (mut horizon, settled_ms) = (base.horizon(), base.settled_ms());
        if planted(Planted::LightSettles) {
            horizon = limits.horizon(begun.min(known_until)).max(horizon);
        }
        let last_sweep = if planted(Planted::LightHasSwept) { begun } else { last_sweep };
        let unsettled_ms = settled_ms.min(limits.sweep_window_from_ms(told_through));
        let mut unfolded = tell(&mut recent, &commits, &limits, horizon, unsettled_ms);
        if planted(Planted::LightForgetsUnfolded) {
            unfolded.clear();
        }
        recent.pruned = pruned;
        Draft {
            begun,
            full_begun: if planted(Planted::LightIsFull) { begun } else { base.full_begun() },
            horizon,
            folded_until: base.folded_until(),
            basis,
            told_through,
            sweeps,
            last_sweep,
            settled_ms,
            unfolded,
            purge_bound: Version::ABSENT,
            fold: Vec::new(),
            pruned: Vec::new(),
            recent,
            base,
        }
    }

    /// Which commits are folded, and what is settled then.
    pub(crate) fn draft(self) -> Draft {
        let Self {
            limits,
            base,
            begun,
            known_until,
            basis,
            sweeps,
            last_sweep,
            commits,
            pruned,
            mut recent,
            ..
        } = self;
        let (swept_through, told_through) = (self.swept_through, self.told_through);
        let told_through = if planted(Planted::SweepsOutrun) { swept_through } else { told_through };
        let restored = commits.iter().filter(|(commit, _)| commit.restored).map(|(commit, _)| commit.version);
        let restored = restored.min().filter(|_| !planted(Planted::PurgeAboveRestored));
        let horizon = limits.horizon(begun.min(known_until)).max(base.horizon());
        let (fold, young): (Vec<_>, Vec<_>) = commits.into_iter().partition(|(commit, publication)| {
            let by_clock = planted(Planted::FoldByCommitTime);
            if by_clock { commit.version.clock_ms() < horizon.ms() } else { publication.at < horizon }
        });
        // Below the horizon, also where what is planted folds more.
        let newest = fold.iter().map(|(_, it)| StoreTime(it.dated.0.min(horizon.0.saturating_sub(1))));
        let folded_until = newest.max().max(Some(base.folded_until())).unwrap_or(StoreTime(0));
        let (pruned, young_pruned): (Vec<_>, Vec<_>) =
            pruned.into_iter().partition(|it| StoreTime(it.published) < horizon);
        let open = young.iter().map(|(commit, _)| commit.version.txn);
        // A member of a group may have begun long before the decision's id.
        let open = open.chain(young_pruned.iter().map(|it| it.txn));
        let open = open.chain(recent.published.iter().filter(|it| it.1 >= horizon.0).map(|it| it.0));
        let window_from_ms = limits.sweep_window_from_ms(swept_through);
        let mut settled_ms = settled_ms(base.settled_ms(), window_from_ms, open.map(TxnId::start_ms));
        if planted(Planted::SettleTooMuch) {
            settled_ms = begun.ms();
        } else if planted(Planted::SettleWithoutUnfolded) {
            settled_ms = base.settled_ms().max(window_from_ms);
        }
        let unsettled_ms = settled_ms.min(limits.sweep_window_from_ms(told_through));
        let unfolded = tell(&mut recent, &young, &limits, horizon, unsettled_ms);
        recent.pruned = young_pruned;
        let fold = fold.into_iter().map(|(commit, _)| commit).collect();
        // What is restored is older than what is settled: a deletion that hides it stays until both lie in the runs.
        let purge_bound = restored.into_iter().fold(purge_bound(settled_ms), Version::min);
        Draft {
            base,
            begun,
            full_begun: begun,
            horizon,
            folded_until,
            basis,
            told_through,
            sweeps,
            // Its maker has just swept.
            last_sweep: last_sweep.max(begun),
            settled_ms,
            unfolded,
            purge_bound,
            fold,
            pruned,
            recent,
        }
    }
}

/// Tells in a recent file of these commits, and of what was published only what is not folded, or whose id starts at `unsettled_ms` or later. Which of the commits
/// others may take for folded by a date.
fn tell(
    recent: &mut Recent,
    young: &[(Arc<Commit>, PublishedAt)],
    limits: &Limits,
    horizon: StoreTime,
    unsettled_ms: u64,
) -> BTreeSet<TxnId> {
    recent.published.retain(|(id, dated)| {
        *dated != NOT_DATED.0 && (*dated >= horizon.0 || id.start_ms() >= unsettled_ms)
    });
    recent.commits = young.iter().map(|(commit, publication)| recent_of(commit, *publication)).collect();
    let txns = young.iter().map(|(commit, _)| commit.version.txn);
    txns.filter(|txn| limits.may_be_published_before(txn.start_ms(), horizon)).collect()
}

/// A commit as a recent file tells it.
fn recent_of(commit: &Commit, publication: PublishedAt) -> RecentCommit {
    let record = CommitRecord {
        txn: commit.version.txn,
        clock: commit.version.clock,
        request_key: None,
        result: None,
        guards: Vec::new(),
        writes: commit.writes.to_vec(),
    };
    let Commit { keyed, restored, .. } = *commit;
    let (decided_by, home) = (commit.decided_by(), commit.home());
    let (published, dated) = (publication.at.0, publication.dated.0);
    RecentCommit { published, dated, decided_by, keyed, restored, home, record }
}

/// A commit of a recent file, as the view holds it, and when it was published.
pub(crate) fn recent_commit(recent: &RecentCommit) -> (Arc<Commit>, PublishedAt) {
    let mut commit = Commit::new(&recent.record, recent.decided_by, recent.home);
    (commit.keyed, commit.restored) = (recent.keyed, recent.restored);
    let publication = PublishedAt { at: StoreTime(recent.published), dated: StoreTime(recent.dated) };
    (Arc::new(commit), publication)
}
