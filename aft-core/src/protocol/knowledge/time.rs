//! What a node knows of time: its own clocks, and the store's as dates tell it.

use crate::planted::{Planted, planted};
use crate::protocol::clock_check::{ClockCheck, LeastTime, LocalTime};
use crate::protocol::timeliness::{Limits, StoreTime};
use crate::version::HybridClock;

/// What a node knows of time.
#[derive(Debug, Default)]
pub(super) struct NodeTime {
    pub(super) hybrid: HybridClock,
    pub(super) check: ClockCheck,
    /// By every date that this node's clock can believe.
    pub(super) least: LeastTime,
    /// The newest `last_modified` seen that this node's clock can believe.
    plausible: Option<StoreTime>,
    /// The newest that lies further ahead of this node's clock than any clock may be behind, and whose it is: either this clock is
    /// wrong, or that object is dated in the future.
    ahead: Option<(StoreTime, String)>,
    /// Whether this node writes nothing, so that it can never tell which of the two is wrong.
    pub(super) undated: bool,
}

impl NodeTime {
    /// Nothing yet. `undated`: of a node that writes nothing.
    pub(super) fn new(undated: bool) -> Self {
        Self { undated, ..Self::default() }
    }

    pub(super) fn note(&mut self, last_modified: StoreTime, path: &str, now: LocalTime, limits: &Limits) {
        if last_modified.ms() <= now.wall_ms.saturating_add(limits.skew_ms) {
            self.plausible = self.plausible.max(Some(last_modified));
            self.least.note(last_modified, now);
        } else if self.ahead.as_ref().is_none_or(|(newest, _)| *newest < last_modified) {
            self.ahead = Some((last_modified, path.to_owned()));
        }
    }

    /// The newest `last_modified` seen, believed or not.
    pub(super) fn newest_seen(&self) -> Option<StoreTime> {
        self.plausible.max(self.ahead.as_ref().map(|(date, _)| *date))
    }

    /// The newest `last_modified` seen: the store's clock is at least there. What is dated later than the store's clock can be, by a
    /// clock that was checked, is left out: one object dated in the future must not make everything else too old (`HAZARDS` 27). A node
    /// that cannot check its clock leaves out all that is ahead of it: a refresh then looks back further, and an id is forgotten later.
    pub(super) fn newest(&self, now: LocalTime, limits: &Limits) -> Option<StoreTime> {
        if self.undated && !planted(Planted::BelieveUndated) {
            return self.plausible;
        }
        self.plausible.max(self.ahead(now, limits).map(|(date, _)| date))
    }

    /// The same without a date ahead of this node's clock that is no later than `before`.
    pub(super) fn newest_beside(
        &self,
        before: Option<StoreTime>,
        now: LocalTime,
        limits: &Limits,
    ) -> Option<StoreTime> {
        let ahead = self.ahead(now, limits).map(|(date, _)| date).filter(|date| Some(*date) > before);
        self.plausible.max(ahead)
    }

    /// The object whose date this node's clock does not believe, where nothing says which of the two is wrong.
    pub(super) fn ahead(&self, now: LocalTime, limits: &Limits) -> Option<(StoreTime, &str)> {
        let (date, path) = self.ahead.as_ref()?;
        let believed = self.check.may_be_now(*date, now, limits) || planted(Planted::BelieveFutureDates);
        believed.then_some((*date, path))
    }
}
