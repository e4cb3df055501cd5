//! A moment on the command line: how long ago, or when.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment that somebody names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long before now.
    Ago(Duration),
    /// Then.
    At(SystemTime),
}

/// Why some text names no moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SinceError;

impl Since {
    /// The moment, seen from `now`; 1970 for what lies before that.
    pub(crate) fn moment(self, now: SystemTime) -> SystemTime {
        match self {
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(UNIX_EPOCH).max(UNIX_EPOCH),
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Since {
    type Err = SinceError;

    fn from_str(text: &str) -> Result<Self, SinceError> {
        let ago = humantime::parse_duration(text).map(Self::Ago);
        ago.or_else(|_| humantime::parse_rfc3339(text).map(Self::At)).map_err(|_| SinceError)
    }
}

impl fmt::Display for SinceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a duration (90s, 10m, 2h 30m) nor a moment in UTC (2026-11-29T12:00:00Z)")
    }
}

impl std::error::Error for SinceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_so_long_ago_or_a_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let moment = |text: &str| text.parse::<Since>().map(|since| since.moment(now));
        assert_eq!(moment("10m"), Ok(now - Duration::from_secs(600)));
        assert_eq!(moment("1h 30s"), Ok(now - Duration::from_secs(3630)));
        assert_eq!(moment("1970-01-01T00:00:07.5Z"), Ok(UNIX_EPOCH + Duration::from_millis(7500)));
        assert_eq!(moment("1000y"), Ok(UNIX_EPOCH), "before all that aft can date");
        for text in ["", "yesterday", "10", "-5m", "1970-01-01"] {
            assert_eq!(moment(text), Err(SinceError), "{text:?}");
        }
    }
}
