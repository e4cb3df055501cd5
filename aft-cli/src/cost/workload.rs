//! A month of a store: what happens how often, and what one time of it costs.

use std::time::Duration;

use aft_core::{Config, Cost, Error, Maintenance};
use serde::Serialize;

use super::lab::{Committed, Lab, Maintained};
use super::prices::Usage;

/// A month of 30 days.
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
/// About how many bytes one experiment may hold, and how many commits: what is larger follows from two smaller ones.
const LAB_BYTES: u64 = 16 << 20;
const LAB_COMMITS: u64 = 1000;

/// What an application does in a month.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Workload {
    /// Transactions that write.
    pub(crate) commits: u64,
    /// Keys that each writes.
    pub(crate) keys: u64,
    /// Bytes of each value.
    pub(crate) bytes: u64,
    /// Reads of one key that no cache helps.
    pub(crate) reads: u64,
    /// Processes that run all month.
    pub(crate) nodes: u64,
    /// Starts of processes.
    pub(crate) opens: u64,
    /// What is stored, in GB (2^30 bytes).
    pub(crate) stored_gb: f64,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// How often in a month.
    pub(crate) times: f64,
    /// What one time costs.
    pub(crate) each: Usage,
}

impl Line {
    pub(crate) fn monthly(&self) -> Usage {
        self.each * self.times
    }
}

/// The month on aft, and the same keys written and read plainly.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Month {
    pub(crate) aft: Vec<Line>,
    pub(crate) plain: Vec<Line>,
}

/// A count, as far as money is concerned.
#[allow(clippy::cast_precision_loss, reason = "prices need no more")]
fn number(count: u64) -> f64 {
    count as f64
}

/// How often something happens in a month that happens once in an interval while there is something to do it for.
fn times(interval: Duration, at_most: f64) -> f64 {
    (MONTH.as_secs_f64() / interval.as_secs_f64()).min(at_most)
}

impl Workload {
    /// How many commits one experiment makes where the month has `commits` of them at a time.
    fn sample(&self, commits: f64) -> u64 {
        let fits = (LAB_BYTES / (self.keys * self.bytes).max(1)).clamp(1, LAB_COMMITS);
        // At least one; no commits in the month cost nothing however many are tried.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just now")]
        let wanted = commits.ceil().clamp(1.0, number(fits)) as u64;
        wanted
    }

    /// Finds out what everything costs by doing it, with aft's default settings.
    ///
    /// # Errors
    /// Where aft does not take such transactions.
    pub(crate) async fn month(&self) -> Result<Month, Error> {
        let (config, care) = (Config::default(), Maintenance::default());
        let commits = number(self.commits);
        let active = commits + number(self.reads);
        let nodes = number(self.nodes);

        let most = times(config.feed_interval, commits / nodes) * nodes;
        let batch = self.sample(commits / most.max(1.0));
        let life = Lab::new(self.keys, self.bytes).committed(batch).await?;
        let publishes = commits / number(batch);

        let checkpoints =
            times(care.checkpoint_interval, commits).max(commits / number(care.checkpoint_commits));
        let collections = times(care.collect_interval, commits);
        let small = self.maintained(1).await?;
        let at_checkpoint = self.maintained(self.sample(commits / checkpoints.max(1.0))).await?;
        let at_collection = self.maintained(self.sample(commits / collections.max(1.0))).await?;
        let checkpoint = between(&small, &at_checkpoint, |it| it.checkpoint, commits / checkpoints.max(1.0));
        let collection = between(&small, &at_collection, |it| it.collection, commits / collections.max(1.0));

        let Committed { commit, publish, learn, refresh, sweep, .. } = life;
        let (reads, cold) = at_checkpoint.reads;
        let line = |name, times: f64, each: Usage| Line { name, times, each };
        let aft = vec![
            line("commits", commits, commit.into()),
            line("publishing, by the second", publishes, publish.into()),
            line("learning of commits, each other node", publishes * (nodes - 1.0), learn.into()),
            line("refreshes, each node", nodes * times(config.max_staleness, active / nodes), refresh.into()),
            line("sweeps", times(config.sweep_interval, active), sweep.into()),
            line("checkpoints", checkpoints, checkpoint),
            line("collections of garbage", collections, collection),
            line("reads past every cache", number(self.reads), Usage::from(cold) * (1.0 / number(reads))),
            line("starts of a node", number(self.opens), at_checkpoint.open.into()),
        ];
        let write = Cost { creates: 1, bytes_written: self.bytes, ..Cost::default() };
        let read = Cost { gets: 1, bytes_read: self.bytes, ..Cost::default() };
        let plain = vec![
            line("writes, key by key", commits * number(self.keys), write.into()),
            line("reads", number(self.reads), read.into()),
        ];
        Ok(Month { aft, plain })
    }

    async fn maintained(&self, commits: u64) -> Result<Maintained, Error> {
        Lab::new(self.keys, self.bytes).maintained(commits).await
    }
}

/// What it costs with `commits` commits, where it was measured with fewer and with more, or is to be continued.
fn between(few: &Maintained, many: &Maintained, cost: impl Fn(&Maintained) -> Cost, commits: f64) -> Usage {
    let (fixed, measured) = (Usage::from(cost(few)), Usage::from(cost(many)));
    if many.commits <= few.commits || commits <= number(many.commits) {
        return measured;
    }
    let each = (measured - fixed) * (1.0 / number(many.commits - few.commits));
    measured + each * (commits - number(many.commits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKLOAD: Workload = Workload {
        commits: 1_000_000,
        keys: 10,
        bytes: 1000,
        reads: 500_000,
        nodes: 3,
        opens: 100,
        stored_gb: 0.0,
    };

    /// Requests of one time: creates, gets, lists.
    fn each(month: &Month, name: &str) -> (f64, [f64; 3]) {
        let line = month.aft.iter().chain(&month.plain).find(|line| line.name.starts_with(name)).unwrap();
        (line.times, [line.each.creates, line.each.gets, line.each.lists])
    }

    #[tokio::test]
    async fn a_month_in_exact_requests() {
        let month = WORKLOAD.month().await.unwrap();
        assert_eq!(each(&month, "commits"), (1e6, [1.0, 0.0, 0.0]));
        // Fewer commits than seconds: each is decided in the feed, and read by the two other nodes.
        assert_eq!(each(&month, "publishing"), (1e6, [0.0, 0.0, 0.0]));
        assert_eq!(each(&month, "learning"), (2e6, [0.0, 1.0, 0.0]));
        assert_eq!(each(&month, "refreshes"), (1_500_000.0, [0.0, 0.0, 1.0]));
        assert_eq!(each(&month, "sweeps").0, 43_200.0);
        // The marker's date is asked for, and the manifest sealed.
        assert_eq!(each(&month, "checkpoints"), (8_640.0, [6.0, 4.0, 22.0]));
        assert_eq!(each(&month, "collections").0, 1_440.0);
        assert_eq!(each(&month, "reads past"), (5e5, [0.0, 2.0, 0.0]));
        assert_eq!(each(&month, "starts"), (100.0, [1.0, 3.0, 2.0]));
        assert_eq!(each(&month, "writes, key by key"), (1e7, [1.0, 0.0, 0.0]));
        assert_eq!(month.plain[1].monthly().gets, 5e5);
    }

    #[tokio::test]
    async fn many_commits_share_their_publication_and_few_cost_little() {
        let busy = Workload { commits: 259_200_000, keys: 1, bytes: 100, nodes: 1, ..WORKLOAD };
        let month = busy.month().await.unwrap();
        assert_eq!(each(&month, "publishing"), (2_592_000.0, [1.0, 0.0, 0.0]));
        assert_eq!(each(&month, "refreshes").0, 518_400.0);
        assert_eq!(each(&month, "checkpoints").0, 25_920.0);
        let idle = Workload { commits: 0, reads: 0, opens: 0, ..WORKLOAD };
        let month = idle.month().await.unwrap();
        let total: f64 = month.aft.iter().map(|line| line.times).sum();
        assert_eq!(total, 0.0, "{month:?}");
    }
}
