//! What is told of a store as a whole: by `aft status`, `aft report` and `aft top`.

pub(crate) mod census;
pub(crate) mod warnings;

use std::pin::pin;
use std::time::{Duration, SystemTime};

use aft_core::{Aft, Clock, Entry, GarbageReport, KeyRange, NodeInfo, Stats, StoreInfo, SystemClock, TxnId};
use futures::TryStreamExt;

use self::census::Census;
use crate::failure::Failure;
use crate::store::Store;

/// A node that was not heard of for this long is not told of.
pub(crate) const LATELY: Duration = Duration::from_secs(15 * 60);
/// The times over which commits a minute are told, in minutes.
pub(crate) const MINUTES: [u64; 3] = [1, 5, 15];

/// A store as a node knows it that has just opened it, with one request more.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    /// By this machine's clock.
    pub(crate) now: SystemTime,
    pub(crate) info: StoreInfo,
    pub(crate) stats: Stats,
    pub(crate) max_skew: Duration,
    /// The last first.
    pub(crate) nodes: Vec<NodeInfo>,
    /// When they were listed.
    #[cfg_attr(not(feature = "top"), allow(dead_code, reason = "for a view that goes on"))]
    pub(crate) listed: SystemTime,
    /// Commits in the last minutes, as many as [`MINUTES`] says; none where the view does not reach back so far.
    pub(crate) commits: [Option<u64>; MINUTES.len()],
}

/// What only a look at the whole store tells.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) census: Census,
    /// Keys that a reader finds now, and the bytes of their values.
    pub(crate) keys: u64,
    pub(crate) value_bytes: u64,
    /// What a collection would delete.
    pub(crate) garbage: GarbageReport,
    /// What a sweep would publish.
    pub(crate) unpublished: Vec<TxnId>,
}

impl Survey {
    pub(crate) async fn of(aft: &Aft) -> Result<Self, Failure> {
        let nodes = aft.nodes(LATELY).await?;
        let listed = SystemClock::new().now();
        Ok(Self::with(aft, nodes, listed))
    }

    /// The same later, after a refresh: the nodes are listed again where they were not for this long.
    #[cfg(feature = "top")]
    pub(crate) async fn anew(self, aft: &Aft, listed_every: Duration) -> Result<Self, Failure> {
        if since(SystemClock::new().now(), self.listed) >= listed_every {
            return Self::of(aft).await;
        }
        Ok(Self::with(aft, self.nodes, self.listed))
    }

    fn with(aft: &Aft, nodes: Vec<NodeInfo>, listed: SystemTime) -> Self {
        let (now, info) = (SystemClock::new().now(), aft.store_info());
        let commits = MINUTES.map(|minutes| {
            let since = now.checked_sub(Duration::from_secs(60 * minutes))?;
            let known = info.horizon.is_none_or(|horizon| horizon <= since);
            known.then(|| aft.commit_times(since).len() as u64)
        });
        let max_skew = aft.config().max_clock_skew;
        Self { now, info, stats: aft.stats(), max_skew, nodes, listed, commits }
    }

    /// How far the index is behind: since when nothing that was published is in it.
    pub(crate) fn lag(&self) -> Option<Duration> {
        self.info.horizon.map(|horizon| since(self.now, horizon))
    }

    /// Whether the last checkpoint is a light one, which folds nothing.
    pub(crate) fn is_light(&self) -> bool {
        self.info.checkpoint_made != self.info.full_checkpoint_made
    }

    /// Commits a minute over so many minutes.
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no more")]
    pub(crate) fn rates(&self) -> [Option<f64>; MINUTES.len()] {
        let mut rates = [None; MINUTES.len()];
        for ((rate, minutes), commits) in rates.iter_mut().zip(MINUTES).zip(self.commits) {
            *rate = commits.map(|commits| commits as f64 / minutes as f64);
        }
        rates
    }
}

impl Scan {
    /// Lists the whole store, and counts its keys, each of which `each` is shown; writes nothing.
    pub(crate) async fn of(store: &Store, aft: &Aft, mut each: impl FnMut(&Entry)) -> Result<Self, Failure> {
        let census = Census::of(store).await?;
        let garbage = aft.collect_garbage(true).await?;
        let unpublished = aft.unpublished().await?;
        let tx = aft.begin().await?;
        let mut entries = pin!(tx.scan_entries_stream(KeyRange::all()));
        let (mut keys, mut value_bytes) = (0u64, 0u64);
        while let Some(entry) = entries.try_next().await? {
            keys += 1;
            value_bytes = value_bytes.saturating_add(entry.len);
            each(&entry);
        }
        Ok(Self { census, keys, value_bytes, garbage, unpublished })
    }
}

/// How long before `now` a moment lies; zero where it is later.
pub(crate) fn since(now: SystemTime, moment: SystemTime) -> Duration {
    now.duration_since(moment).unwrap_or_default()
}

/// A time for people, in the two greatest of its units: `3m 20s`.
pub(crate) fn about(time: Duration) -> String {
    let text = humantime::format_duration(Duration::from_secs(time.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// How far a clock is ahead, for people: `+1.2 s`.
pub(crate) fn ahead(ms: i64) -> String {
    let tenths = (ms.unsigned_abs() + 50) / 100;
    let sign = match ms {
        ..=-50 => "-",
        -49..50 => "",
        50.. => "+",
    };
    format!("{sign}{}.{} s", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        let shown = |seconds| about(Duration::from_secs(seconds));
        assert_eq!([0, 59, 200, 3_725, 190_000].map(shown), ["0s", "59s", "3m 20s", "1h 2m", "2days 4h"]);
        assert_eq!([0, 1_249, -6_950].map(ahead), ["0.0 s", "+1.2 s", "-7.0 s"]);
    }
}
