//! What is in time, and how far back a listing must look: every rule that compares a node's time with the store's.

use std::time::SystemTime;

use crate::format::marker::SharedSettings;
use crate::planted::{Planted, planted};
use crate::txn_id::unix_ms;

/// A reading of the store's clock, in whole seconds since 1970: the least precise that any store reports, so that all
/// nodes judge alike (`HAZARDS` 13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreTime(pub u64);

/// When a feed object publishes what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedAt {
    /// The moment that counts, the same for everybody: [`Limits::feed_published`].
    pub at: StoreTime,
    /// The date of the object as this node saw it.
    pub dated: StoreTime,
}

impl StoreTime {
    /// The whole second that `last_modified` lies in.
    #[must_use]
    pub fn of(last_modified: SystemTime) -> Self {
        if planted(Planted::RoundDates) {
            return Self((unix_ms(last_modified) + 500) / 1000);
        }
        Self(unix_ms(last_modified) / 1000)
    }

    /// The second's beginning, in milliseconds.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0.saturating_mul(1000)
    }
}

/// Why a commit decision does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Void {
    /// Its version is older than its transaction.
    BeforeStart,
    /// Its version was taken after the transaction's lifetime.
    Expired,
    /// It landed later than the commit deadline after its version was taken.
    Late,
    /// Its version is further ahead of the store's clock than any node's may be.
    ClockAhead,
}

/// The limits that all nodes of a store share, in milliseconds; see [`Config`](crate::Config).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is documented at Config")]
pub struct Limits {
    pub staleness_ms: u64,
    pub lifetime_ms: u64,
    pub deadline_ms: u64,
    pub skew_ms: u64,
    pub publish_ms: u64,
    pub visibility_ms: u64,
    /// What the store dates up to then counts as in time: it was copied, or its date was changed, and whoever adopted the store vouched for it.
    pub adopted_until: Option<StoreTime>,
}

/// Slack for the rounding of the store's clock to whole seconds.
pub(super) const ROUNDING_MS: u64 = 1000;

impl Limits {
    /// The limits in a store's settings.
    #[must_use]
    pub fn new(settings: &SharedSettings) -> Self {
        Self {
            staleness_ms: settings.max_staleness_ms,
            lifetime_ms: settings.transaction_lifetime_ms,
            deadline_ms: settings.commit_deadline_ms,
            skew_ms: settings.max_clock_skew_ms,
            publish_ms: settings.publish_deadline_ms,
            visibility_ms: settings.visibility_delay_ms,
            adopted_until: None,
        }
    }

    /// The same, in a store whose objects up to this date were copied.
    #[must_use]
    pub const fn adopting(self, until: Option<StoreTime>) -> Self {
        Self { adopted_until: until, ..self }
    }

    /// Whether this date says nothing: it is that of a copy, and the store was adopted since.
    #[must_use]
    pub fn is_adopted(&self, date: StoreTime) -> bool {
        self.adopted_until.is_some_and(|until| date <= until) && !planted(Planted::JudgeCopiesByDate)
    }

    /// Whether the store dates its marker when it was made, as far as delays allow: its maker asked the store for its time, and no request
    /// takes effect more than E after it was sent; S is slack. Where it does not, the
    /// marker was copied, or its date was changed, and so were those of everything else (`HAZARDS` 24).
    #[must_use]
    pub fn marker_in_place(&self, made_ms: u64, date: StoreTime) -> bool {
        let window = self.skew_ms + self.visibility_ms + ROUNDING_MS;
        date.ms().abs_diff(made_ms) <= window || planted(Planted::TrustMarkerDate)
    }

    /// The in-time rule (I1): a commit decision counts only if `start <= clock <= start + D` and
    /// `-skew <= last_modified - clock <= C`. `None` means in time.
    #[must_use]
    pub fn void(&self, start_ms: u64, clock_ms: u64, last_modified: StoreTime) -> Option<Void> {
        if clock_ms < start_ms {
            Some(Void::BeforeStart)
        } else if clock_ms - start_ms > self.lifetime_ms {
            Some(Void::Expired)
        } else if self.is_adopted(last_modified) {
            None
        } else if last_modified.ms() > clock_ms.saturating_add(self.deadline_ms) {
            Some(Void::Late)
        } else if clock_ms > last_modified.ms().saturating_add(self.skew_ms) {
            Some(Void::ClockAhead)
        } else {
            None
        }
    }

    /// Whether a feed object counts: it landed at most P after the time in its name; and that lies no further ahead of its date than by what clocks, and
    /// what they are measured by, may differ, S + E: what a wrong clock named would count as published when that time has come.
    #[must_use]
    pub fn feed_in_time(&self, name_ms: u64, last_modified: StoreTime) -> bool {
        let ahead = self.skew_ms + self.visibility_ms + ROUNDING_MS;
        let ahead =
            name_ms > last_modified.ms().saturating_add(ahead) && !planted(Planted::NamesFromTheFuture);
        (last_modified.ms() <= name_ms.saturating_add(self.publish_ms) && !ahead)
            || self.is_adopted(last_modified)
    }

    /// Why a decision that lies in the feed does not count, by the rule of the feed; `None` where it does.
    #[must_use]
    pub fn feed_void(&self, name_ms: u64, last_modified: StoreTime) -> Option<Void> {
        if self.feed_in_time(name_ms, last_modified) || planted(Planted::DirectIsNeverLate) {
            None
        } else if last_modified.ms() > name_ms {
            Some(Void::Late)
        } else {
            Some(Void::ClockAhead)
        }
    }

    /// Whether a decision that would lie in the feed under this name, and does not, can never count any more: the store's time was `now` before it was looked for.
    #[must_use]
    pub fn direct_is_forgotten(&self, name_ms: u64, now: StoreTime) -> bool {
        let window = self.publish_ms + self.visibility_ms + ROUNDING_MS;
        now.ms() > name_ms.saturating_add(window)
    }

    /// When what a feed object carries is taken for published: at the last moment at which an object of this name counts.
    ///
    /// The date itself may be changed, and two nodes that saw it at two moments would then disagree on what is folded. By its date goes only what
    /// counts because the store was adopted: it may have been late, and its commits published again under another name.
    #[must_use]
    pub fn feed_published(&self, name_ms: u64, last_modified: StoreTime) -> StoreTime {
        if planted(Planted::PublishedByDate) {
            return last_modified;
        }
        let latest = name_ms.saturating_add(self.publish_ms).div_ceil(1000);
        last_modified.max(StoreTime(latest))
    }

    /// Whether some feed object may publish before `horizon` the commit of a transaction that started at `start_ms`.
    ///
    /// It was made after the start, by a clock that may be S ahead of the store's; the store's own may have gone back by E since. And it publishes
    /// at its date or later ([`feed_published`](Self::feed_published)).
    #[must_use]
    pub fn may_be_published_before(&self, start_ms: u64, horizon: StoreTime) -> bool {
        start_ms < horizon.ms().saturating_add(self.skew_ms + self.visibility_ms + ROUNDING_MS)
    }

    /// The least time in the name of a feed object that may have appeared since a refresh that began when `known` was
    /// the newest `last_modified` known.
    ///
    /// Such an object became visible after `known`, so it is dated `known - E` or later, and is in time only if its
    /// name says `known - E - P` or later. No node's clock is involved (`HAZARDS` 11).
    #[must_use]
    pub fn refresh_from_ms(&self, known: StoreTime) -> u64 {
        if planted(Planted::NoRefreshOverlap) {
            return known.ms();
        }
        if planted(Planted::TightRefreshWindow) {
            return known.ms().saturating_sub(self.visibility_ms + self.publish_ms);
        }
        known.ms().saturating_sub(self.visibility_ms + self.publish_ms + ROUNDING_MS)
    }

    /// Every feed object in time that is dated before this was visible to a refresh that began when the store's time was known to be
    /// `known` already: it became visible at most E after its date.
    #[must_use]
    pub fn seen_until(&self, known: StoreTime) -> StoreTime {
        StoreTime(known.ms().saturating_sub(self.visibility_ms + ROUNDING_MS) / 1000)
    }

    /// The least start of a transaction whose decision a sweep that ended at `swept_through` may have missed.
    ///
    /// Its decision became visible after `swept_through`, so it is dated `swept_through - E` or later, and in time only if
    /// its version was taken at most C before that, and its start lies at most D before its version.
    #[must_use]
    pub fn sweep_window_from_ms(&self, swept_through: StoreTime) -> u64 {
        if planted(Planted::ShortSweepWindow) {
            return swept_through.ms();
        }
        let window = self.visibility_ms + self.deadline_ms + self.lifetime_ms + self.skew_ms + ROUNDING_MS;
        swept_through.ms().saturating_sub(window)
    }

    /// Whether an id that has no decision at the store's time `now` can never commit any more: `now` is past
    /// `start + D + C`, and everything dated before that has become visible.
    #[must_use]
    pub fn is_forgotten(&self, start_ms: u64, now: StoreTime) -> bool {
        let window = self.lifetime_ms + self.deadline_ms + self.visibility_ms + self.skew_ms + ROUNDING_MS;
        now.ms() > start_ms.saturating_add(window) && !planted(Planted::NeverForgotten)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn limits() -> Limits {
        Limits::new(&crate::Config::default().shared())
    }

    #[test]
    fn the_in_time_rule_at_its_edges() {
        let limits = limits();
        let (start, second) = (1_000_000, 1_000);
        let void = |clock, modified| limits.void(start, clock, StoreTime(modified));
        assert_eq!(void(start, second), None);
        assert_eq!(void(start - 1, second), Some(Void::BeforeStart));
        assert_eq!(void(start + 900_000, second + 900), None);
        assert_eq!(void(start + 900_001, second + 900), Some(Void::Expired));
        assert_eq!(void(start, second + 60), None);
        assert_eq!(void(start, second + 61), Some(Void::Late));
        assert_eq!(void(start + 10_000, second), None);
        assert_eq!(void(start + 10_001, second), Some(Void::ClockAhead));
    }

    /// Of what was copied the date says nothing, and everything else counts as ever.
    #[test]
    fn what_was_adopted_is_in_time_up_to_the_date() {
        let limits = limits().adopting(Some(StoreTime(5_000)));
        let void = |clock, modified| limits.void(1_000_000, clock, StoreTime(modified));
        assert_eq!((void(1_000_000, 5_000), void(1_000_000, 5_001)), (None, Some(Void::Late)));
        assert_eq!(void(1_500_000, 3), None);
        assert_eq!(void(999_999, 5_000), Some(Void::BeforeStart));
        assert_eq!(void(1_900_001, 5_000), Some(Void::Expired));
        assert!(limits.is_adopted(StoreTime(5_000)) && !limits.is_adopted(StoreTime(5_001)));
        assert!(!super::tests::limits().is_adopted(StoreTime(0)));
    }

    #[test]
    fn one_object_is_judged_alike_whatever_precision_reports_it() {
        let at = |ms| StoreTime::of(std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms));
        assert_eq!(at(1_060_999), at(1_060_000));
        assert_eq!(limits().void(1_000_000, 1_000_000, at(1_060_999)), None);
    }

    /// Anything up to `most`, and often an extreme: a window is only tight where all of its parts are at theirs.
    fn up_to(most: u64) -> impl Strategy<Value = u64> {
        prop_oneof![0..=most, Just(0), Just(most), most - most.min(2_000)..=most]
    }

    proptest! {
        /// No in-time feed object that appears after a refresh began escapes the next refresh (brute force over what the
        /// contract of a store allows).
        #[test]
        fn the_refresh_window_misses_nothing(
            known in 1_000u64..2_000, visible_after in up_to(100_000), early in up_to(30_000), name_lag in up_to(10_000),
        ) {
            let limits = limits();
            let visible_ms = known * 1000 + visible_after;
            let modified = StoreTime((visible_ms - early) / 1000);
            let name_ms = modified.ms().saturating_sub(name_lag);
            if limits.feed_in_time(name_ms, modified) {
                prop_assert!(name_ms >= limits.refresh_from_ms(StoreTime(known)));
            }
        }

        /// Whatever an object that counts is dated, it publishes at one moment, never before its date, and soon after it.
        #[test]
        fn a_changed_date_changes_no_publication(name_ms in up_to(10_000_000), dates in prop::collection::vec(up_to(20_000), 2)) {
            let limits = limits();
            let counts = dates.into_iter().map(StoreTime).filter(|date| limits.feed_in_time(name_ms, *date));
            let published: Vec<_> = counts.map(|date| (date, limits.feed_published(name_ms, date))).collect();
            prop_assert!(published.windows(2).all(|two| two[0].1 == two[1].1));
            for (date, at) in published {
                prop_assert!(at >= date);
                let most = limits.skew_ms + limits.visibility_ms + limits.publish_ms + 2_000;
                prop_assert!(at.ms() <= date.ms() + most);
            }
        }

        /// No in-time decision that appears after a sweep escapes the next one.
        #[test]
        fn the_sweep_window_misses_nothing(
            swept in 10_000u64..20_000, visible_after in up_to(100_000), early in up_to(30_000),
            landing in up_to(70_000), age in up_to(900_000),
        ) {
            let limits = limits();
            let visible_ms = swept * 1000 + visible_after;
            let modified = StoreTime((visible_ms - early) / 1000);
            let clock = (modified.ms() + 10_000).saturating_sub(landing);
            let start = clock.saturating_sub(age);
            if limits.void(start, clock, modified).is_none() {
                prop_assert!(start >= limits.sweep_window_from_ms(StoreTime(swept)));
                prop_assert!(!limits.is_forgotten(start, modified));
            }
        }
    }
}
