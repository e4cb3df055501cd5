//! What a node did: exact counts.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Requests to the store, by kind, and the bytes they carried. Each call of a [`Storage`](crate::Storage) operation is one
/// request, whatever its adapter makes of it (a listing of many pages is one list).
///
/// It counts and knows no prices: what a store charges is for whoever knows the store (`aft cost` does).
///
/// A transaction's cost ([`Commit::cost`](crate::Commit::cost), [`Transaction::cost`](crate::Transaction::cost)) is what it sent itself:
/// its claim, its reads (a load that transactions share counts for the one that sent it, and a value from a cache for nobody), its
/// uploads, and its decision with every repetition and read-back. What a node does for all its transactions is in
/// [`Stats::requests`] alone: opening, refreshes, feed objects (also where
/// [`publish_before_ack`](crate::Begin::publish_before_ack) waits for one), sweeps, checkpoints and collections.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// let cost = tx.commit().await?.cost;
/// assert_eq!((cost.creates, cost.requests()), (1, 1));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Cost {
    pub gets: u64,
    pub range_gets: u64,
    pub creates: u64,
    pub lists: u64,
    pub deletes: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
}

impl Cost {
    /// All requests.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.gets + self.range_gets + self.creates + self.lists + self.deletes
    }
}

impl std::ops::Sub for Cost {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            gets: self.gets - earlier.gets,
            range_gets: self.range_gets - earlier.range_gets,
            creates: self.creates - earlier.creates,
            lists: self.lists - earlier.lists,
            deletes: self.deletes - earlier.deletes,
            bytes_read: self.bytes_read - earlier.bytes_read,
            bytes_written: self.bytes_written - earlier.bytes_written,
        }
    }
}

/// Counters of a node since it was opened; see [`Aft::stats`](crate::Aft::stats).
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// let stats = aft.stats();
/// assert_eq!((stats.begun, stats.commits, stats.replays), (1, 1, 0));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Requests to the store, by kind.
    pub requests: Cost,
    /// Transactions that began.
    pub begun: u64,
    /// Commits that this node made.
    pub commits: u64,
    /// Decisions of this node that several of its commits shared.
    pub groups: u64,
    /// Direct decisions of this node, of one commit or several: those that needed no feed object beside them.
    pub direct: u64,
    /// Commits that turned out to have happened before, by another attempt.
    pub replays: u64,
    /// Values that the data cache had.
    pub cache_hits: u64,
    /// Values that came from the store.
    pub cache_misses: u64,
    /// Blocks and tails of the index that the cache had.
    pub index_hits: u64,
    /// Blocks and tails of the index that came from the store.
    pub index_misses: u64,
    /// Refreshes that completed.
    pub refreshes: u64,
    /// Feed objects that refreshes took in, each read by itself or from a bundle; where the node began from a checkpoint those beyond it.
    pub feed_objects: u64,
    /// Bundles of feed objects that were read instead of these.
    pub bundles_read: u64,
    /// Bundles that this node made of what it had read, feed objects and other bundles.
    pub bundles_made: u64,
    /// Feed objects made.
    pub published: u64,
    /// Sweeps that completed.
    pub sweeps: u64,
    /// Checkpoints that this node made.
    pub checkpoints: u64,
    /// The number of the checkpoint that the node builds on; 0 for none.
    pub checkpoint: u64,
    /// Commits held in memory now.
    pub recent_commits: u64,
    /// Keys held in memory now, deleted ones included.
    pub recent_keys: u64,
    /// Own commits not yet published, now.
    pub unpublished: u64,
    /// Bytes in the cache now, about: values, and blocks and tails of the index.
    pub cache_bytes: u64,
}

/// Counts of requests, shared by whoever causes them.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    pub(crate) gets: AtomicU64,
    pub(crate) range_gets: AtomicU64,
    pub(crate) creates: AtomicU64,
    pub(crate) lists: AtomicU64,
    pub(crate) deletes: AtomicU64,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

impl RequestCounts {
    pub(crate) fn read(&self) -> Cost {
        Cost {
            gets: get(&self.gets),
            range_gets: get(&self.range_gets),
            creates: get(&self.creates),
            lists: get(&self.lists),
            deletes: get(&self.deletes),
            bytes_read: get(&self.bytes_read),
            bytes_written: get(&self.bytes_written),
        }
    }
}

/// The counters behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) begun: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) groups: AtomicU64,
    pub(crate) direct: AtomicU64,
    pub(crate) replays: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    pub(crate) cache_misses: AtomicU64,
    pub(crate) index_hits: AtomicU64,
    pub(crate) index_misses: AtomicU64,
    pub(crate) refreshes: AtomicU64,
    pub(crate) feed_objects: AtomicU64,
    pub(crate) bundles_read: AtomicU64,
    pub(crate) bundles_made: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) sweeps: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
