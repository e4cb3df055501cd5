//! What follows from what is known of time: how old a transaction is, what is forgotten, what a view has surely seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::planted::{Planted, planted};
use crate::protocol::clock_check::{LeastTime, LocalTime};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;
use crate::txn_id::TxnId;
use crate::version::{HybridClock, Timestamp, Version};

/// Who knows of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KnownBy {
    /// Whoever refreshes from now on.
    WhoRefreshes,
    /// Every node that begins a transaction from now on.
    Everyone,
}

impl Knowledge {
    /// Notes the date of an object of the store.
    pub(crate) fn note_date(&mut self, last_modified: StoreTime, path: &str, now: LocalTime) {
        self.time.note(last_modified, path, now, &self.limits);
    }

    /// Notes how the store dated an object that this node sent, and was answered about, at these times.
    pub(crate) fn measure(&mut self, sent: LocalTime, answered: LocalTime, last_modified: StoreTime) {
        self.time.check.measure(sent, answered, last_modified);
    }

    /// The newest date that was seen, whoever is right: this node's clock, or the store.
    pub(crate) fn newest_date(&self) -> Option<StoreTime> {
        self.time.newest_seen()
    }

    /// The store's clock is at least there.
    pub(crate) fn store_time(&self, now: LocalTime) -> Option<StoreTime> {
        self.time.newest(now, &self.limits)
    }

    /// The newest date that the listings of complete refreshes showed of the feed. Everything named before what they showed was shown,
    /// also where a listing was cut short or came empty: so this, and not the newest date known, says how far the feed is known.
    /// `instead` is planted where any date will do.
    pub(crate) fn shown_time(&self, now: LocalTime, instead: Planted) -> Option<StoreTime> {
        let newest = self.store_time(now);
        if planted(instead) { newest } else { self.feed.shown.min(newest) }
    }

    /// The store's time, as the name of a feed object says it, in milliseconds.
    pub(crate) fn store_now_ms(&self, now: LocalTime) -> u64 {
        self.time.check.store_now_ms(&self.limits, now, self.store_time(now))
    }

    /// Whether a decision that names this time may be in time, made now.
    pub(crate) fn may_name(&self, time_ms: u64, now: LocalTime) -> bool {
        self.time.check.may_name(&self.limits, time_ms, now)
    }

    /// Whether a decision whose create was answered so is in time beyond doubt (I1).
    pub(crate) fn surely_in_time(&self, clock_ms: u64, sent: LocalTime, answered: LocalTime) -> bool {
        self.time.check.surely_in_time(&self.limits, clock_ms, sent, answered)
    }

    /// Whether a feed object whose create was answered so is in time beyond doubt.
    pub(crate) fn feed_surely_in_time(&self, name_ms: u64, sent: LocalTime, answered: LocalTime) -> bool {
        self.time.check.feed_surely_in_time(&self.limits, name_ms, sent, answered)
    }

    /// By how much this node's clock is ahead of the store's, in milliseconds, where that is more than any clock may be; and the path of the
    /// object whose date alone says that it is behind.
    pub(crate) fn skewed(&self, now: LocalTime) -> Option<(i64, Option<&str>)> {
        let by = self.skewed_by(now, self.store_time(now))?;
        let ahead = self.ahead(now).filter(|_| by < 0);
        Some((by, ahead.map(|(_, path)| path)))
    }

    /// By how many milliseconds this node's clock is at least ahead of the store's (negative: behind); 0 where nothing says that it is.
    #[cfg(feature = "metrics")]
    pub(crate) fn clock_off_ms(&self, now: LocalTime) -> i64 {
        let skewed = self.skewed_by(now, self.store_time(now));
        skewed.or_else(|| self.time.check.off_by(&self.limits, now)).unwrap_or(0)
    }

    /// The same, judged by this date.
    pub(crate) fn skewed_by(&self, now: LocalTime, newest: Option<StoreTime>) -> Option<i64> {
        self.time.check.skewed_by(&self.limits, now, newest)
    }

    /// The object whose date this node's clock does not believe, where nothing says which of the two is wrong.
    pub(crate) fn ahead(&self, now: LocalTime) -> Option<(StoreTime, &str)> {
        self.time.ahead(now, &self.limits)
    }

    /// The newest date ahead of this node's clock that it knows, where it writes nothing and so cannot tell which of the two is wrong.
    pub(crate) fn undated(&self, now: LocalTime) -> Option<StoreTime> {
        self.ahead(now).filter(|_| self.time.undated).map(|(date, _)| date)
    }

    /// When each commit happened that is not folded and is at least so young, by the clock of its node, in milliseconds: the clock of its version, or
    /// the start of one that is known by its id alone.
    pub(crate) fn commits_since(&self, since_ms: u64) -> Vec<u64> {
        let commits = self.view.newest_first().map(|commit| commit.version.clock_ms());
        let pruned = self.feed.pruned.keys().rev().map(|txn| txn.start_ms());
        let young = |ms: &u64| *ms >= since_ms;
        let mut moments: Vec<u64> = commits.take_while(young).chain(pruned.filter(young)).collect();
        moments.sort_unstable();
        moments
    }

    /// The clock of a version that is taken now, of a transaction that started and has read so (I5).
    pub(crate) fn reading(&self, now: LocalTime, start_ms: u64, read: Timestamp) -> Timestamp {
        if planted(Planted::WallClockVersion) {
            return HybridClock::default().reading(now.wall_ms, start_ms, Timestamp::default());
        }
        self.time.hybrid.reading(now.wall_ms, start_ms, read)
    }

    /// For the planted bug: a version that was taken pushes those after it.
    pub(crate) fn keep_reading(&mut self, clock: Timestamp) {
        self.time.hybrid.observe(clock);
    }

    /// How old a transaction is, by the greater of what this node's clock and the store's say: a node whose own clock is wrong must not
    /// go on with a transaction from elsewhere through a checkpoint that folded what it needs. Where the store's clock had passed `before`
    /// already when the transaction began, what it had passed then does not make it any older (decision 0047).
    pub(crate) fn age_ms(&self, id: TxnId, before: Option<StoreTime>, now: LocalTime) -> u64 {
        let known = self.time.newest_beside(before, now, &self.limits);
        let known = known.filter(|_| !planted(Planted::AgeByOwnClock));
        let by_store = known.map_or(0, |known| known.ms().saturating_sub(self.limits.skew_ms));
        now.wall_ms.max(by_store).saturating_sub(id.start_ms())
    }

    /// Whether an id that had no decision can never commit any more (I10). `known`: the store's time before its register was asked.
    pub(crate) fn is_forgotten(&self, id: TxnId, known: Option<StoreTime>, now: LocalTime) -> bool {
        let known = if planted(Planted::ForgottenByLaterTime) { self.store_time(now) } else { known };
        known.is_some_and(|now| self.limits.is_forgotten(id.start_ms(), now))
    }

    /// What was published before this is in the view, or in what the view builds on, as far as listings showed the feed: of what was not visible
    /// yet when they did, the transaction's age tells.
    pub(crate) fn shown_until(&self) -> StoreTime {
        let folded = self.base().horizon();
        self.feed.shown_until.map_or(folded, |shown| shown.max(folded))
    }

    /// What was published before this is in the view, or in what the view builds on: what was visible when the last refresh began. The
    /// store's time then is bounded by every date that was known before, and the time that has passed since.
    pub(crate) fn seen_until(&self) -> StoreTime {
        let folded = self.base().horizon();
        let mut least = self.time.least;
        if planted(Planted::SeenByLastDate) {
            least = LeastTime::default();
        }
        let by_clock = self.feed.began.and_then(|began| {
            if planted(Planted::SeenByWallClock) {
                Some(StoreTime(began.wall_ms / 1000))
            } else {
                least.at(began)
            }
        });
        self.feed.basis.max(by_clock).map_or(folded, |known| self.limits.seen_until(known).max(folded))
    }

    /// Those commits that others may not know, oldest first, each with the id under which its decision lies.
    pub(crate) fn not_known<'a>(
        &self,
        commits: impl Iterator<Item = &'a Arc<Commit>>,
        by: KnownBy,
        now: LocalTime,
    ) -> BTreeMap<Version, TxnId> {
        // What was visible when any refresh began that is not older than a refresh may be.
        let seen = self.time.least.at(now).map_or(StoreTime(0), |now| {
            self.limits.seen_until(StoreTime((now.ms().saturating_sub(self.limits.staleness_ms)) / 1000))
        });
        let is_known = |commit: &Commit| match self.feed.published.get(&commit.decided_by()) {
            Some(dated) => by == KnownBy::WhoRefreshes || *dated < seen,
            None => false,
        };
        // What was read and has left the view is folded.
        let unknown = commits.filter(|commit| !is_known(commit) && self.view.holds(commit.version));
        unknown.map(|commit| (commit.version, commit.decided_by())).collect()
    }
}
