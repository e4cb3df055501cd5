//! Does what a node does all month once, on a store in memory with a clock of its own, and counts the requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Aft, Clock, Config, Cost, Error, Storage};
use aft_memory::MemoryStorage;
use bytes::Bytes;

use crate::requests::Metered;

/// Longer than any window of the protocol: what was published before is folded by the next checkpoint, and what that replaced is
/// garbage after as long again.
const OLD: Duration = Duration::from_secs(3600);
/// How many reads of a cold node are averaged.
const READS: u64 = 20;

/// A clock that moves only when it is told to.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000) + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A store in memory, whose requests are counted.
#[derive(Debug)]
pub(crate) struct Lab {
    clock: Arc<Hand>,
    store: Metered,
    keys: u64,
    bytes: u64,
    commits: u64,
}

/// What maintenance of so many commits costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Maintained {
    pub(crate) commits: u64,
    /// A checkpoint that folds them.
    pub(crate) checkpoint: Cost,
    /// A collection of what it replaced.
    pub(crate) collection: Cost,
    /// The start of a node after it.
    pub(crate) open: Cost,
    /// A number of reads that no cache helps, and how many.
    pub(crate) reads: (u64, Cost),
    /// The same reads again on a node that has them.
    pub(crate) warm_reads: Cost,
}

/// What the parts of a commit's life cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    /// One commit.
    pub(crate) commit: Cost,
    /// What the commit itself says that it cost.
    pub(crate) told: Cost,
    /// Publishing a number of them in one go.
    pub(crate) publish: Cost,
    /// Another node's refresh that finds them.
    pub(crate) learn: Cost,
    /// A refresh that finds nothing.
    pub(crate) refresh: Cost,
    /// A sweep that finds nothing.
    pub(crate) sweep: Cost,
}

impl Lab {
    /// For transactions that write `keys` keys of `bytes` bytes each.
    pub(crate) fn new(keys: u64, bytes: u64) -> Self {
        let clock = Arc::new(Hand(AtomicU64::new(437)));
        let memory = MemoryStorage::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, store: Metered::new(Arc::new(memory)), keys, bytes, commits: 0 }
    }

    fn pass(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.clock.0.fetch_add(ms, Ordering::Relaxed);
    }

    /// A node on which nothing happens but what it is told.
    async fn node(&self, config: Config) -> Result<Aft, Error> {
        let config = Config { background: false, feed_interval: OLD, sweep_interval: OLD * 24, ..config };
        let storage: Arc<dyn Storage> = Arc::new(self.store.clone());
        Aft::builder(storage)
            .config(config)
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .rng_seed(7)
            .open()
            .await
    }

    /// Commits one transaction. What it says that it cost.
    async fn commit(&mut self, node: &Aft) -> Result<Cost, Error> {
        let mut tx = node.begin().await?;
        for key in 0..self.keys {
            tx.put(self.key(self.commits, key), value(self.bytes))?;
        }
        self.commits += 1;
        self.pass(Duration::from_millis(1));
        Ok(tx.commit().await?.cost)
    }

    /// A key of 20 bytes, other ones in each commit.
    fn key(&self, commit: u64, key: u64) -> String {
        format!("{:020}", commit * self.keys + key)
    }

    /// A commit, and how the others learn of `batch` of them.
    pub(crate) async fn committed(mut self, batch: u64) -> Result<Committed, Error> {
        // One of many in a second is published with them, but for the first after a pause.
        let direct_commits = batch <= 1;
        let node = self.node(Config { direct_commits, ..Config::default() }).await?;
        let other = self.node(Config::default()).await?;
        self.store.take();
        let told = self.commit(&node).await?;
        let commit = self.store.take();
        for _ in 1..batch {
            self.commit(&node).await?;
        }
        self.store.take();
        node.publish().await?;
        let publish = self.store.take();
        other.refresh().await?;
        let found = self.store.take();
        other.refresh().await?;
        let refresh = self.store.take();
        // Old enough that the sweep reads up to a moment at which nothing is open.
        self.pass(OLD);
        node.sweep().await?;
        self.store.take();
        self.pass(Duration::from_secs(60));
        node.sweep().await?;
        let sweep = self.store.take();
        Ok(Committed { commit, told, publish, learn: found - refresh, refresh, sweep })
    }

    /// A checkpoint of `commits` commits, the collection after it, and what it is to start and to read then.
    pub(crate) async fn maintained(mut self, commits: u64) -> Result<Maintained, Error> {
        let node = self.node(Config::default()).await?;
        // An earlier checkpoint, so that this one replaces something, as each but the first does.
        self.commit(&node).await?;
        node.publish().await?;
        self.pass(OLD);
        node.checkpoint().await?;
        let first = self.commits;
        for _ in 0..commits {
            self.commit(&node).await?;
        }
        node.publish().await?;
        self.pass(OLD);
        self.store.take();
        node.checkpoint().await?;
        let checkpoint = self.store.take();
        self.pass(OLD);
        node.refresh().await?;
        node.checkpoint().await?;
        self.pass(OLD);
        node.refresh().await?;
        self.store.take();
        node.collect_garbage(false).await?;
        let collection = self.store.take();
        let cold = self.node(Config { cache_bytes: 0, ..Config::default() }).await?;
        let open = self.store.take();
        let reads = commits.min(READS);
        self.read(&cold, first, reads).await?;
        let cold_reads = self.store.take();
        let warm = self.node(Config::default()).await?;
        self.read(&warm, first, reads).await?;
        self.store.take();
        self.read(&warm, first, reads).await?;
        let warm_reads = self.store.take();
        Ok(Maintained { commits, checkpoint, collection, open, reads: (reads, cold_reads), warm_reads })
    }

    /// Reads the first key of each of these commits, each in a transaction of its own.
    async fn read(&self, node: &Aft, first: u64, commits: u64) -> Result<(), Error> {
        for commit in first..first + commits {
            let tx = node.begin().await?;
            tx.get(self.key(commit, 0)).await?;
        }
        Ok(())
    }
}

/// A value of so many bytes, which compresses as badly as random ones.
fn value(bytes: u64) -> Bytes {
    let words = (0..bytes.div_ceil(8))
        .flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_be_bytes());
    words.take(usize::try_from(bytes).unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// gets, range gets, creates, lists, deletes
    fn counts(cost: Cost) -> [u64; 5] {
        [cost.gets, cost.range_gets, cost.creates, cost.lists, cost.deletes]
    }

    #[tokio::test]
    async fn a_commits_life_in_exact_requests() {
        for keys in [1, 10, 100] {
            let life = Lab::new(keys, 1000).committed(50).await.unwrap();
            assert_eq!(counts(life.commit), [0, 0, 1, 0, 0], "{keys} keys");
            assert_eq!(life.told, life.commit);
            assert_eq!(counts(life.publish), [0, 0, 1, 0, 0]);
            assert_eq!(counts(life.learn), [1, 0, 0, 0, 0]);
            assert_eq!(counts(life.refresh), [0, 0, 0, 1, 0]);
            assert!(life.commit.bytes_written > keys * 1000, "{life:?}");
        }
        // One that comes alone is decided in the feed.
        let alone = Lab::new(3, 100).committed(1).await.unwrap();
        assert_eq!((counts(alone.commit), counts(alone.publish)), ([0, 0, 1, 0, 0], [0; 5]));
        assert_eq!(counts(alone.learn), [1, 0, 0, 0, 0]);
        // Values past inline_value_bytes are objects of their own.
        let large = Lab::new(3, 20_000).committed(1).await.unwrap();
        assert_eq!(counts(large.commit), [0, 0, 1 + 3, 0, 0]);
        assert_eq!(large.told, large.commit);
    }

    #[tokio::test]
    async fn maintenance_and_reads_in_exact_requests() {
        let [few, many] = [10, 40].map(|commits| Lab::new(4, 100).maintained(commits));
        let (few, many) = (few.await.unwrap(), many.await.unwrap());
        println!("{few:?}\n{many:?}");
        assert_eq!(counts(few.open), counts(many.open));
        assert_eq!(few.warm_reads, Cost::default());
    }
}
