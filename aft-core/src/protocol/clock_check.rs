//! How far this node's clock is from the store's, measured on the node's own objects.
//!
//! An object that was sent at `t0` and answered at `t1` by the node's clock was dated by the store in between; so
//! `store - node` lies in `[dated - t1, dated + 1 s - t0]`. That is all a node needs to know that a decision it just made
//! is in time without asking the store again, and to refuse to commit when its clock is off.

use crate::planted::{Planted, planted};
use crate::protocol::timeliness::{Limits, StoreTime};

/// One reading of a node's two clocks, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalTime {
    /// The wall clock, since 1970: may jump both ways.
    pub wall_ms: u64,
    /// The monotonic clock: may stand still while the machine sleeps.
    pub monotonic_ms: u64,
}

impl LocalTime {
    /// Time since `earlier`: the greater of what both clocks say.
    #[must_use]
    pub fn elapsed_since(self, earlier: Self) -> u64 {
        let wall = self.wall_ms.saturating_sub(earlier.wall_ms);
        wall.max(self.monotonic_ms.saturating_sub(earlier.monotonic_ms))
    }

    /// Whether the two clocks moved apart since `earlier`: one was set, or the machine slept.
    fn stepped_since(self, earlier: Self) -> bool {
        let wall = i128::from(self.wall_ms) - i128::from(earlier.wall_ms);
        let monotonic = i128::from(self.monotonic_ms) - i128::from(earlier.monotonic_ms);
        (wall - monotonic).abs() > i128::from(MARGIN_MS)
    }
}

/// For the drift of clocks between two measurements and the unevenness of a store's own clock.
const MARGIN_MS: u64 = 1000;

/// How long a narrow measurement is kept although wider, newer ones come.
const KEEP_MS: u64 = 60_000;

/// Dates to remember by: each new one is a better bound, and a second's rounding makes few of them.
const DATES: usize = 8;

/// What the store's clock says at least, at any moment: a date that is known, and the time since it became known. The wall clock has no
/// say; the monotonic one may stand still, which makes the bound lower, but does not run ahead.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeastTime {
    /// Dates, and what the monotonic clock said when each became known; oldest first, each a better bound than those before.
    dates: [Option<(StoreTime, u64)>; DATES],
}

impl LeastTime {
    /// Notes that an object dated so is known now.
    pub fn note(&mut self, date: StoreTime, now: LocalTime) {
        let noted = now.monotonic_ms;
        let better = self.dates.iter().flatten().all(|known| bound(*known, noted) < date.ms());
        if !better {
            return;
        }
        // One listing brings many dates at one moment: the last is as good as all of them.
        let of_now = |known: &&mut Option<(StoreTime, u64)>| known.is_none_or(|(_, at)| at == noted);
        match self.dates.iter_mut().find(of_now) {
            Some(place) => *place = Some((date, noted)),
            None => {
                self.dates.rotate_left(1);
                self.dates[DATES - 1] = Some((date, noted));
            }
        }
    }

    /// The store's clock at that moment, at least; `None` where nothing was known then.
    #[must_use]
    pub fn at(&self, then: LocalTime) -> Option<StoreTime> {
        // Of the same reading nobody knows which came first: the clock may have stood still in between.
        let known = self.dates.iter().flatten().filter(|(_, noted)| *noted < then.monotonic_ms);
        known.map(|known| bound(*known, then.monotonic_ms)).max().map(|ms| StoreTime(ms / 1000))
    }
}

/// The store's clock at a later reading of the monotonic clock, at least, in milliseconds. A thousandth is for clocks that drift.
fn bound((date, noted): (StoreTime, u64), then: u64) -> u64 {
    let since = then.saturating_sub(noted);
    date.ms().saturating_add(since - since / 1000)
}

/// The bounds of `store clock - node clock`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    low: i64,
    high: i64,
}

/// What a node knows of its clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClockCheck {
    measured: Option<(Offset, LocalTime)>,
}

impl ClockCheck {
    /// Notes that an object, sent and answered at these times, was dated `last_modified`.
    pub fn measure(&mut self, sent: LocalTime, answered: LocalTime, last_modified: StoreTime) {
        if answered.stepped_since(sent) {
            return;
        }
        let dated = signed(last_modified.ms());
        let offset =
            Offset { low: dated - signed(answered.wall_ms), high: dated + 1000 - signed(sent.wall_ms) };
        // A wide measurement (a slow request) does not replace a narrow one that it agrees with.
        let better = self.measured.is_none_or(|(old, at)| {
            let agrees = old.low <= offset.high && offset.low <= old.high && !answered.stepped_since(at);
            let fresh = answered.elapsed_since(at) < KEEP_MS;
            !(agrees && fresh && old.high - old.low < offset.high - offset.low)
        });
        if better {
            self.measured = Some((offset, answered));
        }
    }

    /// The same of an object that was listed later: somebody may have dated it anew since. Where that agrees with what is known, it changes nothing; where it
    /// does not, one of the two is wrong, and nothing is known until a decision is read back.
    pub fn measure_listed(
        &mut self,
        limits: &Limits,
        sent: LocalTime,
        answered: LocalTime,
        last_modified: StoreTime,
    ) {
        let mut listed = Self::default();
        listed.measure(sent, answered, last_modified);
        let known = self.verified(answered, limits).filter(|_| !planted(Planted::TrustListedDates));
        match known.zip(listed.measured) {
            None => self.measure(sent, answered, last_modified),
            Some((known, (new, _))) if known.low <= new.high && new.low <= known.high => {}
            Some(_) => self.measured = None,
        }
    }

    /// The offset, where it was measured within the last transaction lifetime and neither clock was set since.
    fn verified(&self, now: LocalTime, limits: &Limits) -> Option<Offset> {
        let (offset, at) = self.measured?;
        (now.elapsed_since(at) <= limits.lifetime_ms && !now.stepped_since(at)).then_some(offset)
    }

    /// The offset, where it held both when a request was sent and when it was answered: a clock that was set wrong and set right
    /// again in between looks right in the end, and the request was sent in between.
    fn verified_between(&self, sent: LocalTime, answered: LocalTime, limits: &Limits) -> Option<Offset> {
        self.verified(sent, limits)?;
        self.verified(answered, limits)
    }

    /// Whether a decision with version clock `clock_ms`, created between `sent` and `answered`, is in time beyond doubt. Where
    /// it is not, the decision must be read back before it is acknowledged (`HAZARDS` 4).
    #[must_use]
    pub fn surely_in_time(
        &self,
        limits: &Limits,
        clock_ms: u64,
        sent: LocalTime,
        answered: LocalTime,
    ) -> bool {
        let Some(offset) = self.verified_between(sent, answered, limits) else { return false };
        let (earliest, latest) = dated_between(offset, sent, answered);
        let clock = signed(clock_ms);
        earliest - clock >= -signed(limits.skew_ms) && latest - clock <= signed(limits.deadline_ms)
    }

    /// Whether a decision that names this time, and is made now, may be in time: a clock that was measured widely names a time that lies far ahead.
    #[must_use]
    pub fn may_name(&self, limits: &Limits, time_ms: u64, now: LocalTime) -> bool {
        self.verified(now, limits).is_none() || self.surely_in_time(limits, time_ms, now, now)
    }

    /// Whether a feed object with `name_ms` in its name, created between `sent` and `answered`, is in time beyond doubt.
    #[must_use]
    pub fn feed_surely_in_time(
        &self,
        limits: &Limits,
        name_ms: u64,
        sent: LocalTime,
        answered: LocalTime,
    ) -> bool {
        let Some(offset) = self.verified_between(sent, answered, limits) else { return false };
        dated_between(offset, sent, answered).1 - signed(name_ms) <= signed(limits.publish_ms)
    }

    /// By how many milliseconds the node's clock is at least ahead of the store's (negative: behind), where that was measured; 0 where it may be right.
    #[must_use]
    pub fn off_by(&self, limits: &Limits, now: LocalTime) -> Option<i64> {
        let offset = self.verified(now, limits)?;
        Some(if offset.low > 0 { -offset.low } else { (-offset.high).max(0) })
    }

    /// By how many milliseconds the node's clock is certainly ahead of the store's (negative: behind), where that is more
    /// than the allowed skew. `newest` is the newest `last_modified` known: the store's clock is at least there.
    #[must_use]
    pub fn skewed_by(&self, limits: &Limits, now: LocalTime, newest: Option<StoreTime>) -> Option<i64> {
        let skew = signed(limits.skew_ms);
        let measured = self.off_by(limits, now).filter(|by| by.abs() > skew);
        if measured.is_some() {
            return measured;
        }
        let behind = signed(newest?.ms()) - signed(now.wall_ms);
        (behind > skew).then_some(-behind)
    }

    /// Whether the store's clock may say this, as far as is known; where the node's clock was checked, that is known.
    #[must_use]
    pub fn may_be_now(&self, date: StoreTime, now: LocalTime, limits: &Limits) -> bool {
        let latest = |offset: Offset| signed(now.wall_ms) + offset.high + MARGIN_MS.cast_signed();
        self.verified(now, limits).is_none_or(|offset| signed(date.ms()) <= latest(offset))
    }

    /// The node's best estimate of the store's time, in milliseconds, and rather late than early: the time in the name of a
    /// feed object, which is out of time when it lags.
    #[must_use]
    pub fn store_now_ms(&self, limits: &Limits, now: LocalTime, newest: Option<StoreTime>) -> u64 {
        let estimate = match self.verified(now, limits) {
            Some(offset) => now.wall_ms.saturating_add_signed(offset.high),
            None => now.wall_ms,
        };
        estimate.max(newest.map_or(0, StoreTime::ms))
    }
}

/// The bounds of the date that the store gave to an object created between `sent` and `answered`.
fn dated_between(offset: Offset, sent: LocalTime, answered: LocalTime) -> (i64, i64) {
    let margin = signed(MARGIN_MS);
    let sent_ms = signed(sent.wall_ms);
    let earliest = sent_ms + offset.low - 1000 - margin;
    let latest = sent_ms + signed(answered.elapsed_since(sent)) + offset.high + margin;
    (earliest, latest)
}

fn signed(ms: u64) -> i64 {
    // Half the range, so that sums of a few cannot overflow: 146 million years.
    i64::try_from(ms).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::RngExt;

    use super::*;
    use crate::protocol::timeliness::tests::limits;

    const BASE: u64 = 1_700_000_000_000;

    fn at(ms: u64) -> LocalTime {
        LocalTime { wall_ms: BASE + ms, monotonic_ms: ms }
    }

    proptest! {
        /// Whatever the skew and the latencies: a decision that is called surely in time is in time.
        #[test]
        fn sure_means_in_time(
            skew in -20_000i64..20_000, first in 0u64..40_000, second in 0u64..90_000, ahead in 0u64..20_000,
            first_applied in 0.0f64..=1.0, second_applied in 0.0f64..=1.0, pause in 0u64..800_000,
        ) {
            let limits = limits();
            let store = |local_ms: u64| StoreTime((BASE + local_ms).saturating_add_signed(skew) / 1000);
            let applied = |sent: u64, took: u64, share: f64| sent + (took as f64 * share) as u64;
            let mut check = ClockCheck::default();
            check.measure(at(0), at(first), store(applied(0, first, first_applied)));
            let sent = first + pause;
            let dated = store(applied(sent, second, second_applied));
            let clock_ms = BASE + sent + ahead;
            if check.surely_in_time(&limits, clock_ms, at(sent), at(sent + second)) {
                prop_assert_eq!(limits.void(clock_ms, clock_ms, dated), None);
            }
            let name_ms = check.store_now_ms(&limits, at(sent), None);
            if check.feed_surely_in_time(&limits, name_ms, at(sent), at(sent + second)) {
                prop_assert!(limits.feed_in_time(name_ms, dated));
            }
            // A clock that is called off is off.
            if let Some(by) = check.skewed_by(&limits, at(sent), None) {
                prop_assert!(by.unsigned_abs() > limits.skew_ms && skew.unsigned_abs() > limits.skew_ms && by.signum() == -skew.signum());
            }
        }
    }

    /// A clock that is off by as much as it may, measured by a decision; then an own feed object, which is listed once somebody has dated it anew, and counts all
    /// the same; then a decision.
    fn an_own_feed_object_is_dated_anew(seed: u64) -> Result<(), String> {
        let mut rng = crate::rng::seeded(seed);
        let limits = limits();
        let skew = rng.random_range(-limits.skew_ms.cast_signed()..=limits.skew_ms.cast_signed());
        let store = |local_ms: u64| StoreTime((BASE + local_ms).saturating_add_signed(skew) / 1000);
        let mut check = ClockCheck::default();
        let first = rng.random_range(1..3_000);
        check.measure(at(0), at(first), store(rng.random_range(0..=first)));
        let sent = first + rng.random_range(0..20_000);
        let answered = sent + rng.random_range(1..2_000);
        let dated_anew = answered + rng.random_range(0..limits.publish_ms);
        check.measure_listed(&limits, at(sent), at(answered), store(dated_anew));
        let sent = dated_anew + rng.random_range(0..20_000);
        let took = rng.random_range(1..2_000);
        let dated = store(sent + rng.random_range(0..=took));
        let clock_ms = BASE + sent;
        let sure = check.surely_in_time(&limits, clock_ms, at(sent), at(sent + took));
        match limits.void(clock_ms, clock_ms, dated) {
            Some(void) if sure => Err(format!("a void decision is acknowledged: {void:?}")),
            _ => Ok(()),
        }
    }

    #[test]
    fn a_date_that_was_changed_acknowledges_nothing_void() {
        for seed in 0..20_000 {
            an_own_feed_object_is_dated_anew(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn a_listed_date_that_is_trusted_is_found() {
        let bugs = [(Planted::TrustListedDates, "a void decision is acknowledged")];
        crate::planted::must_find(&bugs, 20_000, an_own_feed_object_is_dated_anew);
    }

    proptest! {
        /// Whenever dates become known, and however long the monotonic clock stood still in between: the store's clock is there.
        #[test]
        fn the_store_is_at_least_there(
            steps in prop::collection::vec((0u64..100_000, 0u64..100_000, 0u64..40_000, any::<bool>()), 1..60),
        ) {
            let (mut least, mut monotonic_ms, mut store_ms) = (LeastTime::default(), 5_000, BASE);
            let mut moments = Vec::new();
            for (passed, stood_still, age, note) in steps {
                monotonic_ms += passed;
                store_ms += passed + stood_still;
                let now = LocalTime { wall_ms: 0, monotonic_ms };
                if note {
                    least.note(StoreTime((store_ms - age) / 1000), now);
                    let soon = LocalTime { monotonic_ms: monotonic_ms + 1, ..now };
                    prop_assert!(least.at(soon).is_some_and(|known| known >= StoreTime((store_ms - age) / 1000)));
                }
                moments.push((now, store_ms));
                // Of every moment before, whatever became known since.
                for (then, store_ms) in &moments {
                    prop_assert!(least.at(*then).is_none_or(|known| known.ms() <= *store_ms));
                }
            }
        }
    }

    #[test]
    fn quick_creates_under_a_good_clock_need_no_read_back() {
        let mut check = ClockCheck::default();
        let limits = limits();
        assert!(!check.surely_in_time(&limits, BASE, at(0), at(10)), "never measured");
        check.measure(at(0), at(20), StoreTime(BASE / 1000));
        assert!(check.surely_in_time(&limits, BASE + 1_000, at(1_000), at(1_020)));
        assert!(!check.surely_in_time(&limits, BASE + 1_000, at(1_000), at(61_000)), "a slow create");
        assert!(!check.surely_in_time(&limits, BASE + 12_000, at(1_000), at(1_020)), "a version far ahead");
        let later = limits.lifetime_ms + 100;
        assert!(!check.surely_in_time(&limits, BASE + later, at(later), at(later + 1)), "measured long ago");
        let stepped = LocalTime { wall_ms: BASE + 9_000, monotonic_ms: 1_000 };
        assert!(!check.surely_in_time(&limits, BASE + 9_000, stepped, stepped), "the clock was set");
    }

    /// Found by the simulator (seed 975): measured right, set wrong, a version taken, set right, answered.
    #[test]
    fn a_clock_that_was_wrong_only_while_a_request_was_sent_is_not_trusted() {
        let (mut check, limits) = (ClockCheck::default(), limits());
        check.measure(at(0), at(20), StoreTime(BASE / 1000));
        let wrong = LocalTime { wall_ms: BASE + 21_000, monotonic_ms: 1_000 };
        assert!(!check.surely_in_time(&limits, wrong.wall_ms, wrong, at(1_020)));
        assert!(!check.feed_surely_in_time(&limits, wrong.wall_ms, wrong, at(1_020)));
        assert!(check.surely_in_time(&limits, BASE + 1_000, at(1_000), at(1_020)));
    }

    #[test]
    fn a_clock_behind_the_newest_object_is_off() {
        let check = ClockCheck::default();
        let newest = Some(StoreTime((BASE + 12_000) / 1000));
        assert_eq!(check.skewed_by(&limits(), at(0), newest), Some(-12_000));
        assert_eq!(check.skewed_by(&limits(), at(5_000), newest), None);
    }
}
