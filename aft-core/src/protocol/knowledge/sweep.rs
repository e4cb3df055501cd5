//! What a sweep looks at, and what says of a decision that it is a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::format::name::{FeedName, Job};
use crate::planted::{Planted, planted};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::knowledge::feed_state::NOT_DATED;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Home;
use crate::txn_id::TxnId;

/// What tells of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Teller {
    /// This feed object.
    FeedObject(FeedName),
    /// Some feed object.
    Feed,
    /// The node has seen its decision.
    Seen,
    /// The node has published it.
    Published,
}

impl fmt::Display for Teller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FeedObject(name) => write!(out, "the feed object {:?} tells", name.to_string()),
            Self::Feed => out.write_str("the feed tells"),
            Self::Seen => out.write_str("this node has seen"),
            Self::Published => out.write_str("this node has published"),
        }
    }
}

impl Knowledge {
    /// Every commit decided before this is published, as some sweep says.
    pub(crate) fn newest_sweep(&self) -> Option<StoreTime> {
        self.feed.newest_sweep()
    }

    /// Where the next sweep starts listing, in milliseconds. Older decisions were seen by a sweep whose publications this node was shown,
    /// or are settled, and so folded.
    pub(crate) fn sweep_from_ms(&self) -> u64 {
        let swept = self.feed.swept_through.map_or(0, |swept| self.limits.sweep_window_from_ms(swept));
        if planted(Planted::SweepsOutrun) { swept } else { swept.max(self.base().settled_ms()) }
    }

    /// Those of these decisions that neither the feed nor a look at them has told of.
    pub(crate) fn untold(&self, listed: impl IntoIterator<Item = TxnId>) -> Vec<TxnId> {
        let told = |id: &TxnId| self.is_published(*id) || self.is_dead(*id);
        listed.into_iter().filter(|id| !told(id)).collect()
    }

    /// [`untold`](Self::untold), without ids before the window of a sweep as it is *now* (I6): if another sweep ended during the
    /// listing, older ones are done, and this node no longer remembers that they were published.
    pub(crate) fn unswept(&self, listed: Vec<TxnId>) -> Vec<TxnId> {
        let oldest = TxnId::window_start(self.sweep_from_ms());
        // Of the decisions in the feed the youngest are for the next refresh, which lists them again.
        let shown = self.feed.shown.filter(|_| !planted(Planted::LeftToRefreshes)).or(self.feed.basis);
        let next = shown.map_or(0, |shown| self.limits.refresh_from_ms(shown));
        let missed = |id: &TxnId| id.start_ms() < next && !planted(Planted::SweepsSkipDirect);
        let left = |id: &TxnId| !id.is_direct() || missed(id);
        self.untold(listed.into_iter().filter(|id| *id >= oldest && left(id)))
    }

    /// Notes a sweep of this node, which is published now, at this time of its clock.
    pub(crate) fn note_swept(&mut self, through: StoreTime, now_ms: u64) {
        self.feed.swept_through = self.feed.swept_through.max(Some(through));
        // Others may not be shown yet what it published, later than no clock says that it is.
        self.feed.note_sweep(through, StoreTime(now_ms.saturating_add(self.limits.skew_ms) / 1000 + 1));
        self.feed.last_sweep = self.feed.last_sweep.max(Some(StoreTime(now_ms / 1000)));
    }

    /// Whether this node offers to sweep in this epoch: the last sweep, anyone's, is longer ago than this, and it has not offered yet.
    pub(crate) fn offer_sweep(&mut self, now_ms: u64, interval_ms: u64, epoch: u64) -> bool {
        // One that lies further ahead than clocks may differ was noted by a clock that was wrong, and says nothing.
        let ahead = interval_ms.max(self.limits.skew_ms);
        let recent = self.feed.last_sweep.is_some_and(|last| {
            let wrong = last.ms().saturating_sub(now_ms) > ahead && !planted(Planted::TrustSweepsAhead);
            now_ms.saturating_sub(last.ms()) <= interval_ms && !wrong
        });
        !recent && self.offer(Job::Sweep, epoch)
    }

    /// Decisions that late feed objects told and nobody is known to have published, by those objects.
    pub(crate) fn told_late(&self) -> BTreeMap<FeedName, BTreeSet<TxnId>> {
        let mut told: BTreeMap<FeedName, BTreeSet<TxnId>> = BTreeMap::new();
        for (id, name) in &self.feed.found {
            told.entry(*name).or_default().insert(*id);
        }
        told
    }

    /// Notes that what late feed objects told of these decisions is published, or not to be had any more.
    pub(crate) fn forget_told_late(&mut self, ids: &BTreeSet<TxnId>) {
        ids.iter().for_each(|id| {
            self.feed.found.remove(id);
        });
    }

    /// The decisions from an id on that every listing must show which begins now: those of the commits that are not
    /// folded. None of them is ever collected.
    pub(crate) fn decisions_to_show(&self, from: TxnId) -> BTreeSet<TxnId> {
        self.view.recent().map(|(commit, _)| commit.decided_by()).filter(|id| *id >= from).collect()
    }

    /// What says that a decision is a commit whose object must still be there; `None` where nothing does.
    ///
    /// The decision of a commit that is folded says nothing more: it may have been collected.
    pub(crate) fn told(&self, id: TxnId) -> Option<Teller> {
        let published = self.feed.published.get(&id).copied();
        let base = self.base();
        let told = self.view.decided_by(id).find_map(|(commit, dated)| {
            let first = dated.into_iter().chain(published).min();
            if base.has_folded(commit.version, first, commit.restored) {
                return None;
            }
            Some(match commit.home() {
                Home::Feed { name, .. } => Teller::FeedObject(name),
                _ if dated.is_some() => Teller::Feed,
                _ => Teller::Seen,
            })
        });
        // Pruned ones are not in the view.
        let pruned = || {
            let dated = published?;
            let open = dated >= base.horizon() && id.start_ms() >= base.settled_ms();
            open.then_some(if dated == NOT_DATED { Teller::Published } else { Teller::Feed })
        };
        told.or_else(pruned)
    }
}
