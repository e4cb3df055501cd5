//! The one source of time.
//!
//! Everything in aft that needs to know the time asks a [`Clock`]: a simulator hands in one that it moves itself, and
//! a seed then replays exactly. No other module reads the machine's clocks; `clippy.toml` enforces it.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

/// A node's view of time.
///
/// The clocks of different nodes may differ by up to
/// [`Config::max_clock_skew`](crate::Config::max_clock_skew); past it a node refuses to commit rather than guess.
///
/// # Examples
///
/// ```
/// use aft_core::{Clock, SystemClock};
///
/// let clock = SystemClock::new();
/// let before = clock.monotonic();
/// assert!(clock.monotonic() >= before);
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock: may jump both ways.
    fn now(&self) -> SystemTime;

    /// Time since an arbitrary moment; never goes back, but may stand still while a machine sleeps.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clocks: the default [`Clock`].
#[derive(Debug, Clone)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    ///
    /// # Examples
    ///
    /// ```
    /// use aft_core::{Clock, SystemClock};
    ///
    /// let clock = SystemClock::new();
    /// assert!(clock.monotonic() <= clock.monotonic());
    /// ```
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clocks")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// A duration in whole milliseconds; the most that can be said of a longer one.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
