//! A clock that the program moves: days pass in a store within seconds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::Clock;

/// Where the clock begins.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicU64);

impl MovedClock {
    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Milliseconds since its beginning.
    pub fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The time so many milliseconds after its beginning.
    #[must_use]
    pub fn date(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(EPOCH_MS + ms)
    }
}

impl Clock for MovedClock {
    fn now(&self) -> SystemTime {
        Self::date(self.ms())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ms())
    }
}
