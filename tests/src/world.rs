//! Nodes on one recorded in-memory store, each with a clock of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Aft, Builder, Clock, Commit, Config, Error, Transaction};
use aft_memory::{Fault, Gate, MemoryStorage, Operation, RecordingStorage};
use tokio::time::Instant;

/// Where the simulated clocks begin: an odd moment within a second.
const EPOCH: Duration = Duration::from_millis(1_800_000_000_437);

/// A clock over the runtime's paused time, which a test can set wrong.
#[derive(Debug)]
pub struct NodeClock {
    start: Instant,
    /// Wall clock minus true time, in milliseconds.
    skew_ms: AtomicI64,
    /// How long both clocks stood still so far, in milliseconds.
    lost_ms: AtomicU64,
}

impl NodeClock {
    /// A right clock.
    #[must_use]
    pub fn new(start: Instant) -> Self {
        Self { start, skew_ms: AtomicI64::new(0), lost_ms: AtomicU64::new(0) }
    }

    /// Sets the wall clock `skew_ms` ahead of the true time (negative: behind).
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    /// Sets both clocks back by `ms`, as if they had stood still for so long: what no program can notice.
    pub fn stop_for_ms(&self, ms: u64) {
        self.lost_ms.fetch_add(ms, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.lost_ms.load(Ordering::Relaxed)))
    }
}

impl Clock for NodeClock {
    fn now(&self) -> SystemTime {
        let right = u64::try_from((EPOCH + self.elapsed()).as_millis()).unwrap_or(u64::MAX);
        UNIX_EPOCH + Duration::from_millis(right.saturating_add_signed(self.skew_ms.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }
}

/// One store, and what is needed to open nodes on it.
#[derive(Debug)]
pub struct World {
    /// The store: every request is logged, and can be made to fail.
    pub storage: RecordingStorage,
    /// The content, past the log.
    pub memory: MemoryStorage,
    /// The store's clock: right, unless a test sets it.
    pub store_clock: Arc<NodeClock>,
    start: Instant,
    seeds: AtomicU64,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// An empty store, whose clock is right.
    #[must_use]
    pub fn new() -> Self {
        let start = Instant::now();
        let store_clock = Arc::new(NodeClock::new(start));
        let memory = MemoryStorage::with_clock(Arc::clone(&store_clock) as Arc<dyn Clock>);
        let storage = RecordingStorage::new(Arc::new(memory.clone()));
        Self { storage, memory, store_clock, start, seeds: AtomicU64::new(1) }
    }

    /// A new right clock.
    #[must_use]
    pub fn clock(&self) -> Arc<NodeClock> {
        Arc::new(NodeClock::new(self.start))
    }

    /// Settings under which nothing happens beside what a test does.
    #[must_use]
    pub fn config() -> Config {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
        Config {
            background: false,
            feed_interval: hour,
            sweep_interval: day,
            direct_commits: false,
            ..Config::default()
        }
    }

    /// Lets a create that a `Delay` or `Ghost` holds take effect now, but dated `early` before: the store received it then, and
    /// dates by that (`HAZARDS` 5).
    ///
    /// # Panics
    /// Where nothing is created.
    pub async fn release_dated(&self, held: &Gate, early: Duration) {
        let before = self.memory.len();
        self.store_clock.set_skew_ms(-i64::try_from(early.as_millis()).unwrap_or(i64::MAX));
        // What the store says to a ghost reaches nobody.
        let _ = held.release().await;
        for _ in 0..100 {
            if self.memory.len() == before {
                tokio::task::yield_now().await;
            }
        }
        self.store_clock.set_skew_ms(0);
        assert!(self.memory.len() > before, "the held create takes effect");
    }

    /// A node to be configured further.
    pub fn builder(&self) -> Builder {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Aft::builder(Arc::new(self.storage.clone())).config(Self::config()).clock(self.clock()).rng_seed(seed)
    }

    /// A node with [`config`](Self::config) and a right clock.
    ///
    /// # Panics
    /// Where the store cannot be opened.
    #[allow(clippy::expect_used, reason = "a test's own helper")]
    pub async fn node(&self) -> Aft {
        self.builder().open().await.expect("the store opens")
    }
}

/// Commits one key under a fresh id.
///
/// # Panics
/// Where that fails.
#[allow(clippy::expect_used, reason = "a test's own helper")]
pub async fn put(node: &Aft, key: &str, value: &str) -> aft_core::Receipt {
    let mut tx = node.begin().await.expect("a transaction begins");
    tx.put(key, value.to_owned()).expect("a small value is taken");
    tx.commit().await.expect("the commit happens").receipt
}

/// Commits several keys under a fresh id; `None` deletes.
///
/// # Panics
/// Where that fails.
#[allow(clippy::expect_used, reason = "a test's own helper")]
pub async fn write(node: &Aft, writes: &[(&str, Option<&str>)]) -> aft_core::Receipt {
    let mut tx = node.begin().await.expect("a transaction begins");
    for (key, value) in writes {
        let written = match value {
            Some(value) => tx.put(key, (*value).to_owned()),
            None => tx.delete(key),
        };
        written.expect("a small write is taken");
    }
    tx.commit().await.expect("the commit happens").receipt
}

/// What a transaction that begins now reads for a key.
///
/// # Panics
/// Where that fails.
#[allow(clippy::expect_used, reason = "a test's own helper")]
pub async fn get(node: &Aft, key: &str) -> Option<String> {
    let tx = node.begin().await.expect("a transaction begins");
    let value = tx.get(key).await.expect("the key is read");
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// The number under a key, which is guarded; 0 where there is none.
///
/// # Errors
/// Where the key cannot be read.
///
/// # Panics
/// Where something else is under the key.
#[allow(clippy::expect_used, reason = "a test's own helper")]
pub async fn number(tx: &Transaction, key: &str) -> Result<u64, Error> {
    let read = tx.get_guarded(key).await?;
    Ok(read.map_or(0, |read| String::from_utf8_lossy(&read).parse().expect("a number")))
}

/// One more under a key, in a transaction of its own that is run again after a conflict.
///
/// # Errors
/// Where that fails.
pub async fn add(node: &Aft, key: &str) -> Result<u64, Error> {
    node.transact(async |tx| {
        let n = number(tx, key).await? + 1;
        tx.put(key, n.to_string())?;
        Ok(n)
    })
    .await
}

/// Commits transactions of a node with `decisions_in_flight: 1` while another decision of it is under way: they share the next.
///
/// # Panics
/// Where that other commit fails.
#[allow(clippy::expect_used, reason = "a test's own helper")]
pub async fn commit_together(
    world: &World,
    node: &Aft,
    transactions: Vec<Transaction>,
) -> Vec<Result<Commit, Error>> {
    let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
    let mut first = node.begin().await.expect("a transaction begins");
    first.put("first", "").expect("a small value is taken");
    let first = tokio::spawn(first.commit());
    held.reached().await;
    let together: Vec<_> = transactions.into_iter().map(|tx| tokio::spawn(tx.commit())).collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    held.release().await.expect("no ghost was made");
    first.await.expect("the task ends").expect("the commit happens");
    let mut commits = Vec::new();
    for commit in together {
        commits.push(commit.await.expect("the task ends"));
    }
    commits
}
