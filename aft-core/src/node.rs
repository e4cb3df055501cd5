//! The edge: each file drives the protocol against a [`Storage`](crate::Storage) and a [`Clock`].

mod activity;
mod background;
mod changes;
mod check;
mod clone;
mod commits;
mod dates;
mod epochs;
mod exchange;
mod handle;
mod index;
mod info;
mod known;
#[cfg(feature = "metrics")]
mod metrics;
mod open;
mod request_info;
mod single_flight;
mod spans;
mod stats;
mod store;
mod transaction;
mod transaction_info;
mod turns;
mod upkeep;
mod versions;
mod write_once;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};

pub use activity::{CheckpointInfo, KeyActivity, NodeInfo};
pub use changes::KeyChange;
pub use check::{CheckProblem, CheckProblemKind, CheckReport};
pub use clone::{CloneOptions, CloneProgress, CloneReport};
pub use commits::{CommitInfo, RecentCommit, RecentWrite};
pub use exchange::outcome::Outcome;
pub use exchange::sweep::SweepReport;
pub use exchange::sweep_all::{LostCommit, SweepAllReport};
pub use handle::Aft;
pub use info::StoreInfo;
pub use open::Builder;
pub use request_info::RequestInfo;
pub use stats::{Cost, Stats};
pub use transaction::Transaction;
pub use transaction::begin::Begin;
pub use transaction::commit::{Commit, CommitOutcome};
pub use transaction::run::{Attempt, Run};
pub use transaction::scan::{Entry, ScanPages};
pub use transaction::stream::ValueStream;
pub use transaction_info::{DecisionInfo, GuardInfo, Publication, TransactionInfo, WriteInfo};
pub use upkeep::adopt::{AdoptReport, Unpublished};
pub use upkeep::checkpoint::CheckpointReport;
pub use upkeep::collect::{GarbageClass, GarbageExplanation, GarbageKind, GarbageReport};
pub use versions::{RecentVersion, VersionInfo};

use crate::clock::Clock;
use crate::clock::millis;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::format::marker::Marker;
use crate::format::name::{ObjectName, Shards};
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::feed_queue::FeedQueue;
use crate::protocol::timeliness::{Limits, StoreTime};
use crate::protocol::view;
use crate::rng::NodeRng;
use crate::storage::ObjectInfo;
use crate::txn_id::{TxnId, unix_ms};

/// A process that opened a store: what all its transactions share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) store: store::Store,
    pub(crate) config: Config,
    pub(crate) marker: Marker,
    /// How the store dated the marker when it was opened.
    pub(crate) marker_dated: StoreTime,
    /// Whether the store made an object only where none was, as far as it was asked.
    pub(crate) honours_create: AtomicBool,
    /// Whether it was proven that it honours create-if-absent, so that names may be written that others may hold something under.
    pub(crate) proven: AtomicBool,
    /// The checkpoints, as they were listed when the store was opened, and when that began; until the first refresh takes them.
    pub(crate) listed: Mutex<Option<(LocalTime, Vec<ObjectInfo>)>>,
    /// How many feed objects beyond the checkpoint there were to be read when this node started, until that was dealt with.
    pub(crate) read_at_start: AtomicU64,
    /// Bytes of feed objects whose values were kept when this node started.
    pub(crate) kept_at_start: AtomicU64,
    pub(crate) limits: Limits,
    pub(crate) shards: Shards,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: NodeRng,
    /// The node's random number: part of the names of its feed objects.
    pub(crate) number: u64,
    pub(crate) read_only: bool,
    pub(crate) known: known::Known,
    pub(crate) feed: Mutex<FeedQueue>,
    /// Checkpoints that a collection of this node has read as a whole.
    pub(crate) proofs: Mutex<upkeep::collect::proof::Proofs>,
    /// Lists of garbage that a collection of this node worked off, as long as their checkpoints are there.
    pub(crate) worked_off: Mutex<std::collections::BTreeSet<crate::format::name::FileId>>,
    pub(crate) cache: index::cache::Cache,
    pub(crate) refreshing: single_flight::SingleFlight,
    pub(crate) publishing: single_flight::SingleFlight,
    pub(crate) uploads: Arc<Semaphore>,
    /// Wakes the background task when there is something to publish.
    pub(crate) wake: Arc<Notify>,
    pub(crate) tasks: Mutex<background::Tasks>,
    pub(crate) bundles: Mutex<exchange::bundles::Bundles>,
    /// Commits that are being decided, and those that wait to share a decision.
    pub(crate) deciding: Mutex<transaction::group::Deciding>,
    /// Who else guards what this node guards.
    pub(crate) contention: transaction::contention::Contention,
    pub(crate) counters: stats::Counters,
    /// What was handed to the recorder of metrics.
    #[cfg(feature = "metrics")]
    pub(crate) recorded: metrics::Recorded,
    closed: AtomicBool,
}

impl Node {
    /// Both clocks, now.
    pub(crate) fn now(&self) -> LocalTime {
        let monotonic_ms = millis(self.clock.monotonic());
        LocalTime { wall_ms: unix_ms(self.clock.now()), monotonic_ms }
    }

    pub(crate) fn new_txn_id(&self) -> TxnId {
        let start_ms = self.now().wall_ms;
        self.rng.with(|rng| TxnId::from_parts(start_ms, rng))
    }

    pub(crate) fn path(&self, name: ObjectName) -> String {
        name.path(self.shards)
    }

    /// Fails once the node was closed.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Closed, "the node was closed; open the store again"));
        }
        Ok(())
    }

    /// Fails on a node that may not write, and on a store that must not be written to.
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        if !self.honours_create.load(Ordering::Acquire) {
            return Err(open::ignores_create(
                "nothing was written; what was committed since may be overwritten",
            ));
        }
        if self.read_only {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the store was opened read-only; nothing was written",
            ));
        }
        Ok(())
    }

    /// Marks the node closed; whether it was open.
    pub(crate) fn shut(&self) -> bool {
        // SeqCst: a commit that is queued and then finds the node open is in the queue when whoever closes it looks.
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// Fails where this node's clock is further from the store's than any node's may be.
    pub(crate) fn check_clock(&self) -> Result<(), Error> {
        if planted(Planted::NoClockCheck) {
            return Ok(());
        }
        let now = self.now();
        self.known.read(|known| match known.skewed(now) {
            None => Ok(()),
            Some((by, ahead)) => Err(clock_error(by, ahead, &self.config)),
        })
    }

    /// Notes the date of an object of the store.
    pub(crate) fn note_date(&self, last_modified: StoreTime, path: &str) {
        let now = self.now();
        self.known.write(|known| known.note_date(last_modified, path, now));
    }

    /// Notes the dates of all objects of a listing.
    pub(crate) fn note_dates(&self, listed: &[ObjectInfo]) {
        let now = self.now();
        self.known.write(|known| {
            for object in listed {
                known.note_date(StoreTime::of(object.last_modified), &object.path, now);
            }
        });
    }

    /// Takes commits that are known to be in time into the view.
    pub(crate) fn learn(&self, commits: impl IntoIterator<Item = Arc<view::Commit>>) {
        let commits = commits.into_iter().map(|commit| (commit, None));
        self.known.write(|known| known.learn(commits));
    }
}

/// `by_object`: whose date says so, where it is only one's.
pub(crate) fn clock_error(ahead_ms: i64, by_object: Option<&str>, config: &Config) -> Error {
    let (by, side) = (ahead_ms.unsigned_abs(), if ahead_ms > 0 { "ahead of" } else { "behind" });
    let bound = config.max_clock_skew.as_millis();
    let or = by_object.map_or_else(String::new, |path| {
        format!(" (or else the object {path:?} is dated in the future: then delete it, or wait)")
    });
    Error::new(
        ErrorKind::ClockSkew,
        format!(
            "this machine's clock is at least {by} ms {side} the store's, and {bound} ms are allowed; nothing was committed; mend the clock{or}"
        ),
    )
}

/// Damage, or another format version, at `path`.
pub(crate) fn format_error(path: &str, cause: crate::format::envelope::FormatError) -> Error {
    let (kind, what) = match cause {
        crate::format::envelope::FormatError::UnsupportedVersion(_) => {
            (ErrorKind::Unsupported, "is of another format version; use the aft that wrote it")
        }
        _ => (ErrorKind::Corrupt, "is damaged; it was left as it is"),
    };
    Error::new(kind, format!("the object {path:?} {what}")).with_source(cause).with_object(path)
}

/// The error of something that no code of aft makes too large or malformed.
pub(crate) fn unencodable(what: &str, cause: crate::format::envelope::FormatError) -> Error {
    let message = format!("{what} cannot be encoded: a fault of aft, please report it; nothing was written");
    Error::new(ErrorKind::Internal, message).with_source(cause)
}

impl Drop for Node {
    fn drop(&mut self) {
        let unpublished = self.feed.get_mut().len();
        if unpublished > 0 {
            tracing::warn!(
                unpublished,
                "node dropped without close; the next sweep publishes its last commits"
            );
        }
        self.wake.notify_one();
    }
}
