//! How far this machine's clock and the store's are apart.
//!
//! An object that was sent at `t0` and answered at `t1` by this machine's clock was dated by the store in between, in whole
//! seconds or finer: so `store - machine` lies between `dated - t1` and `dated + grain - t0`. Many of them, spread over a
//! second, narrow it down.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Clock, Storage};
use bytes::Bytes;
use serde::Serialize;

use super::connections::Connections;
use super::plan::{Plan, Trouble, patiently};

/// The bounds of `store - machine`, in milliseconds: positive where the store is ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// At least this.
    pub(crate) low_ms: i64,
    /// At most this.
    pub(crate) high_ms: i64,
    /// Whether all measurements agree: otherwise a clock jumped, or the store has several that differ.
    pub(crate) steady: bool,
    /// How many measurements it is from.
    pub(crate) samples: usize,
}

impl Difference {
    fn of(samples: &[(i64, i64)]) -> Option<Self> {
        let (low, high) = (samples.iter().map(|sample| sample.0), samples.iter().map(|sample| sample.1));
        let (inner_low, inner_high) = (low.clone().max()?, high.clone().min()?);
        let steady = inner_low <= inner_high;
        // Where they contradict each other, all that is sure is that it was somewhere in all of them.
        let (low_ms, high_ms) = if steady { (inner_low, inner_high) } else { (low.min()?, high.max()?) };
        Some(Self { low_ms, high_ms, steady, samples: samples.len() })
    }

    /// Whether it is more than `limit` for sure: of a clock that is not steady, whether any measurement is.
    pub(crate) fn exceeds(&self, limit: Duration) -> bool {
        let limit = signed(limit.as_millis());
        let (low, high) = if self.steady { (self.low_ms, self.high_ms) } else { (self.high_ms, self.low_ms) };
        low > limit || high < -limit
    }

    /// Whether it may be more than `limit`.
    pub(crate) fn may_exceed(&self, limit: Duration) -> bool {
        let limit = signed(limit.as_millis());
        self.high_ms > limit || self.low_ms < -limit
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        write!(
            f,
            "the store's clock is between {:+.3} s and {:+.3} s ahead",
            seconds(self.low_ms),
            seconds(self.high_ms)
        )?;
        if self.steady { Ok(()) } else { f.write_str(", and not steady") }
    }
}

fn signed(ms: impl TryInto<i64>) -> i64 {
    ms.try_into().unwrap_or(i64::MAX)
}

fn wall_ms(time: SystemTime) -> i64 {
    signed(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
}

/// More than the ticks of systems' coarse clocks, which are of 1 to 10 ms, in milliseconds.
const TICK_MS: i64 = 20;

/// The bounds from one object: sent and answered by this machine's clock, dated by the store's.
fn sample(sent: SystemTime, answered: SystemTime, dated: SystemTime) -> (i64, i64) {
    // A date without a fraction was cut to the second. Every other one is late by at most a tick of a system's coarse clock, by
    // which file systems date.
    let whole = dated.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos() == 0;
    let grain = TICK_MS + if whole { 1000 } else { 0 };
    // One more on each side, for the fractions of a millisecond.
    (wall_ms(dated) - wall_ms(answered) - 1, wall_ms(dated) + grain - wall_ms(sent) + 1)
}

/// Measures it.
///
/// # Errors
/// Where the store cannot be asked.
pub(crate) async fn run(
    connections: &Connections,
    clock: &dyn Clock,
    plan: &Plan,
) -> Result<Option<Difference>, Trouble> {
    let failed = |cause| Trouble::new("comparing the clocks", cause);
    let mut samples = Vec::new();
    for number in 0..plan.clock_samples {
        let path = format!("{}clock/{number:06}", plan.prefix);
        let sent = clock.now();
        let made = connections.create(&path, Bytes::from_static(b"tick")).await;
        let answered = clock.now();
        match made {
            Ok(()) => {}
            // Not measured: whether and when it was made is open.
            Err(error) if error.is_transient() => continue,
            Err(error) => return Err(failed(error)),
        }
        let object = patiently(|| connections.get(&path)).await.map_err(failed)?;
        samples.push(sample(sent, answered, object.last_modified));
        tokio::time::sleep(plan.clock_spacing).await;
    }
    Ok(Difference::of(&samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[test]
    fn measurements_narrow_the_difference_down() {
        // The store is 2.5 s ahead and dates in whole seconds.
        let samples: Vec<_> = (0..10)
            .map(|n| {
                let (sent, answered) = (10_000 + n * 100, 10_010 + n * 100);
                sample(at(sent), at(answered), at((sent + 5 + 2500) / 1000 * 1000))
            })
            .collect();
        let first = Difference::of(&samples[..1]).unwrap();
        let all = Difference::of(&samples).unwrap();
        assert!(first.high_ms - first.low_ms > 1000, "{first:?}");
        assert!(all.steady && all.low_ms <= 2500 && 2500 <= all.high_ms, "{all:?}");
        assert!(all.high_ms - all.low_ms <= 140, "{all:?}");
        assert_eq!(sample(at(1000), at(1001), at(1001)), (-1, 22));
        assert!(Difference::of(&[]).is_none());
    }

    #[test]
    fn only_what_is_sure_exceeds_a_limit() {
        let of = |low_ms, high_ms, steady| Difference { low_ms, high_ms, steady, samples: 2 };
        let limit = Duration::from_secs(10);
        for (difference, may, surely) in [
            (of(-200, 300, true), false, false),
            (of(9_900, 10_100, true), true, false),
            (of(10_001, 11_000, true), true, true),
            (of(-700_000, -699_000, true), true, true),
            (of(-500, 600_500, false), true, true),
            (of(-500, 5_000, false), false, false),
        ] {
            assert_eq!(
                (difference.may_exceed(limit), difference.exceeds(limit)),
                (may, surely),
                "{difference}"
            );
        }
    }
}
