//! A store that is overwritten again and again while checkpoints and collections go on beside: what it comes to weigh.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Clock, Config, GarbageKind, GarbageReport, Maintenance, Stats, Storage};
use futures::StreamExt;

use crate::{WaitingStorage, World};

/// What is overwritten.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// How many keys.
    pub keys: usize,
    /// How often each is written.
    pub rounds: usize,
    /// How many of them one transaction writes.
    pub per_commit: usize,
    /// The size of a value.
    pub value_bytes: usize,
    /// Of so many keys one has a value that is an object of its own; all where it is 1.
    pub large_every: usize,
    /// The size of those.
    pub large_bytes: usize,
}

/// What it came to.
#[derive(Debug)]
pub struct Soaked {
    /// Keys and values, once.
    pub live_bytes: u64,
    /// How many of the values are objects of their own.
    pub large: u64,
    /// The most that the store held.
    pub largest_bytes: u64,
    /// The most that it held of what was older than [`Soak::retention`], over [`live_bytes`](Self::live_bytes).
    pub old_ratio: f64,
    /// The most that it held, over the live data and the keys and values that were committed in the retention before. A small value is
    /// in a decision, in a feed object, and in a run that each checkpoint writes anew: so it counts several times.
    pub whole_ratio: f64,
    /// What is left when everything is quiet, over the live data.
    pub quiet_ratio: f64,
    /// Rows of older versions that runs hold then, until they are merged: each may name a value.
    pub superseded: u64,
    /// Objects that are left then, by their first folder.
    pub left: BTreeMap<String, u64>,
    /// What a dry run of the collection says then.
    pub last: GarbageReport,
    /// Of both nodes, at the end.
    pub nodes: [Stats; 2],
}

impl Soaked {
    /// Whether the store stayed within its bounds.
    ///
    /// # Errors
    /// What was out of bounds.
    pub fn check(&self) -> Result<(), String> {
        let Self { old_ratio, quiet_ratio, .. } = self;
        if *old_ratio > 2.0 {
            return Err(format!("{old_ratio} times the live data stayed longer than the retention"));
        }
        if *quiet_ratio > 2.0 {
            return Err(format!("{quiet_ratio} times the live data is left"));
        }
        // Epochs are seconds long here, and their objects the only ones that come while nothing is written.
        let unexpected =
            self.last.classes.iter().find(|(kind, class)| **kind != GarbageKind::Epochs && class.objects > 0);
        if let Some((kind, class)) = unexpected {
            return Err(format!("garbage is left: {kind:?}, {class:?}"));
        }
        let decisions = self.left.get("commits").copied().unwrap_or(0);
        let values = self.left.get("values").copied().unwrap_or(0);
        if decisions > 0 || !(self.large..=self.large + self.superseded).contains(&values) {
            return Err(format!(
                "{decisions} decisions and {values} values are left, {} large values are alive, and {} rows are superseded",
                self.large, self.superseded
            ));
        }
        if self.last.left_out.is_empty() { Ok(()) } else { Err(self.last.left_out.join("; ")) }
    }
}

/// The time between the begins of two rounds, at least.
const ROUND: Duration = Duration::from_secs(10);
const CHECKPOINTS: Duration = Duration::from_secs(20);
const COLLECTIONS: Duration = Duration::from_secs(20);
/// Values over this are objects of their own.
const INLINE_BYTES: u64 = 1 << 10;

fn config() -> Config {
    let secs = Duration::from_secs;
    Config {
        max_staleness: secs(1),
        transaction_lifetime: secs(45),
        commit_deadline: secs(10),
        max_clock_skew: secs(2),
        publish_deadline: secs(5),
        visibility_delay: secs(5),
        outcome_retention: secs(30),
        feed_interval: Duration::from_millis(500),
        sweep_interval: secs(15),
        inline_value_bytes: INLINE_BYTES,
        maintenance: Some(Maintenance {
            checkpoint_interval: CHECKPOINTS,
            collect_interval: COLLECTIONS,
            ..Maintenance::default()
        }),
        ..Config::default()
    }
}

impl Soak {
    /// How long what nobody needs may stay: published, too young for the index, folded at the next checkpoint, needed by transactions
    /// that run on the one before, and collected at the next collection.
    #[must_use]
    pub fn retention() -> Duration {
        let it = config();
        let horizon = it.max_staleness + it.transaction_lifetime + it.commit_deadline + it.visibility_delay;
        let settled = it.max_staleness + it.transaction_lifetime + it.visibility_delay;
        let slack = 5 * it.max_clock_skew + 2 * Duration::from_secs(1);
        // A node looks for work after an eighth to a quarter of the shorter interval.
        it.publish_deadline + horizon + settled + slack + (CHECKPOINTS + COLLECTIONS) * 3 / 2
    }

    fn key(n: usize) -> String {
        format!("key-{n:08}")
    }

    fn value(&self, n: usize, round: usize) -> String {
        let bytes = if n.is_multiple_of(self.large_every) { self.large_bytes } else { self.value_bytes };
        format!("{n}:{round}:{:x<bytes$}", "").chars().take(bytes).collect()
    }

    fn live_bytes(&self) -> u64 {
        (0..self.keys).map(|n| (Self::key(n).len() + self.value(n, 0).len()) as u64).sum()
    }

    /// Overwrites everything, round by round, and reads some of it on another node after each.
    ///
    /// # Panics
    /// Where an operation fails, a read finds something else than what was written last, or the store is not whole in the end.
    pub async fn run(&self) -> Soaked {
        let world = World::new();
        let (writer, reader) = (node(&world).await, node(&world).await);
        let live_bytes = self.live_bytes();
        let retained = Self::retention().as_secs() / ROUND.as_secs();
        let (mut largest_bytes, mut old_ratio, mut whole_ratio) = (0, 0.0_f64, 0.0_f64);
        for round in 0..self.rounds {
            let slept = tokio::time::sleep(ROUND);
            self.overwrite(&writer, round).await;
            slept.await;
            self.check_some(&reader, round).await;
            let (all, old) = weigh(&world).await;
            largest_bytes = largest_bytes.max(all);
            old_ratio = old_ratio.max(ratio(old, live_bytes));
            let written = live_bytes * retained.min(round as u64 + 1);
            whole_ratio = whole_ratio.max(ratio(all, live_bytes + written));
        }
        // The last commits are folded, and what they supersede is collected.
        for _ in 0..3 {
            tokio::time::sleep(Self::retention()).await;
        }
        let nodes = [writer.stats(), reader.stats()];
        close(writer).await;
        close(reader).await;
        let (last, rows) = self.check_all(&world).await;
        let (all, _) = weigh(&world).await;
        let quiet_ratio = ratio(all, live_bytes);
        let left = left(&world).await;
        let large = (0..self.keys).filter(|n| self.value(*n, 0).len() as u64 > INLINE_BYTES).count() as u64;
        let superseded = rows.saturating_sub(self.keys as u64);
        Soaked {
            live_bytes,
            large,
            largest_bytes,
            old_ratio,
            whole_ratio,
            quiet_ratio,
            superseded,
            left,
            last,
            nodes,
        }
    }

    #[allow(clippy::expect_used, reason = "a test's own helper")]
    async fn overwrite(&self, node: &Aft, round: usize) {
        let all: Vec<_> = (0..self.keys).collect();
        let commits = all.chunks(self.per_commit).map(|keys| async move {
            let mut tx = node.begin().await.expect("a transaction begins");
            for n in keys {
                tx.put(Self::key(*n), self.value(*n, round)).expect("it is taken");
            }
            tx.commit().await.expect("the commit happens");
        });
        // Boxed: the future of a whole round would be large.
        futures::stream::iter(commits).buffer_unordered(16).collect::<Vec<()>>().await;
    }

    #[allow(clippy::expect_used, reason = "a test's own helper")]
    async fn check_some(&self, node: &Aft, round: usize) {
        let some: Vec<_> = (0..50).map(|n| (n * 7_919 + round * 31) % self.keys).collect();
        let tx = node.begin().await.expect("a transaction begins");
        let found = tx.get_many(some.iter().map(|n| Self::key(*n))).await.expect("the keys are read");
        for (n, found) in some.iter().zip(found) {
            assert_eq!(found.as_deref(), Some(self.value(*n, round).as_bytes()), "key {n}, round {round}");
        }
    }

    /// Reads everything on a node that just started, has the store checked, and asks what there is to be collected; how many rows the index has.
    #[allow(clippy::expect_used, reason = "a test's own helper")]
    async fn check_all(&self, world: &World) -> (GarbageReport, u64) {
        let cold = world.builder().config(World::config()).open().await.expect("the store opens");
        let tx = cold.begin().await.expect("a transaction begins");
        let rows = tx.scan(..).await.expect("everything is read");
        assert_eq!(rows.len(), self.keys);
        for (n, (key, value)) in rows.iter().enumerate() {
            let round = self.rounds - 1;
            assert!(*key == Self::key(n) && *value == self.value(n, round), "key {n}");
        }
        let check = cold.check().await.expect("the store can be checked");
        assert!(check.is_clean() && check.left_out.is_empty(), "{check:?}");
        // What the last checkpoints folded may lie in a run of its own, at most half as heavy as the rest.
        let keys = self.keys as u64;
        assert!((keys..=keys + keys / 2).contains(&check.rows), "{check:?}");
        assert_eq!((&check.orphans, check.more_orphans), (&Vec::new(), 0), "{check:?}");
        (cold.collect_garbage(true).await.expect("a dry run"), check.rows)
    }
}

#[allow(clippy::expect_used, reason = "a test's own helper")]
async fn node(world: &World) -> Aft {
    let storage = Arc::new(WaitingStorage::new(Arc::new(world.memory.clone())));
    let builder = Aft::builder(storage).config(config()).clock(world.clock());
    builder.open().await.expect("the store opens")
}

#[allow(clippy::expect_used, reason = "a test's own helper")]
async fn close(node: Aft) {
    node.close().await.expect("what was committed is published");
}

/// Bytes of all objects, and of those older than the retention.
async fn weigh(world: &World) -> (u64, u64) {
    let now = world.store_clock.now();
    let mut objects = world.memory.list("", None);
    let (mut all, mut old) = (0, 0);
    while let Some(Ok(object)) = objects.next().await {
        all += object.size;
        let age = now.duration_since(object.last_modified).unwrap_or_default();
        if age > Soak::retention() {
            old += object.size;
        }
    }
    (all, old)
}

async fn left(world: &World) -> BTreeMap<String, u64> {
    let mut left = BTreeMap::new();
    let mut objects = world.memory.list("", None);
    while let Some(Ok(object)) = objects.next().await {
        let folder = object.path.split('/').next().unwrap_or_default().to_owned();
        *left.entry(folder).or_default() += 1;
    }
    left
}

#[allow(clippy::cast_precision_loss, reason = "a ratio to be shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
