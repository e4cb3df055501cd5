//! What guarded keys cost, counted in virtual time on a store whose requests take 30 ms: where all contend for one key or two, and where
//! nobody does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the counts are for the benchmarks page")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_core::{Aft, Config, Error, Storage};
use aft_memory::Counts;
use aft_tests::{WaitingStorage, World, number};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};

const LATENCY: Duration = Duration::from_millis(30);

/// What clients did that committed again and again for some time.
struct Run {
    /// Of each client.
    commits: Vec<u64>,
    /// How often transactions were run for them.
    tries: u64,
    /// The longest that any of them waited for a commit.
    longest: Duration,
    counts: Counts,
    took: Duration,
}

impl Run {
    fn all(&self) -> u64 {
        self.commits.iter().sum()
    }

    fn a_second(&self) -> f64 {
        self.all() as f64 / self.took.as_secs_f64()
    }

    fn a_commit(&self, n: u64) -> f64 {
        n as f64 / self.all() as f64
    }

    /// The commits of the client that had fewest, over those of the mean.
    fn least(&self) -> f64 {
        *self.commits.iter().min().unwrap() as f64 * self.commits.len() as f64 / self.all() as f64
    }

    /// It goes on, for so many creates a commit, and everybody has a turn.
    fn holds(&self, creates: f64) {
        assert!(self.a_second() > 10.0, "{} commits a second", self.a_second());
        assert!(self.a_commit(self.counts.creates) < creates, "{:?} for {} commits", self.counts, self.all());
        assert!(self.least() > 0.2, "{:?}", self.commits);
    }

    fn print(&self, what: &str) {
        let Counts { creates, gets, lists, .. } = self.counts;
        println!(
            "{what}: {:.2} commits a second, {:.0} ms a commit; {:.2} tries, {:.2} creates, {:.2} gets, {:.2} lists a commit; \
             the least {:.2} of the mean, the longest {:?}",
            self.a_second(),
            1_000.0 / self.a_second(),
            self.a_commit(self.tries),
            self.a_commit(creates),
            self.a_commit(gets),
            self.a_commit(lists),
            self.least(),
            self.longest,
        );
    }
}

/// Adds one to each of these keys, which are read one after the other and guarded.
async fn add_to(node: &Aft, keys: &[String], tries: &AtomicU64) -> Result<(), Error> {
    node.transact(async |tx| {
        tries.fetch_add(1, Ordering::Relaxed);
        let mut read = Vec::new();
        for key in keys {
            read.push(number(tx, key).await?);
        }
        for (key, n) in keys.iter().zip(read) {
            tx.put(key, (n + 1).to_string())?;
        }
        Ok(())
    })
    .await
}

/// Lets clients, each with a node of its own, commit one transaction after the other for some time, with pauses at random of so long in the
/// mean. The keys of each are told by its number.
/// In the end every key says how often it was written.
async fn commit_for(
    time: Duration,
    config: Config,
    clients: usize,
    pause_ms: u64,
    keys: impl Fn(usize) -> Vec<String>,
) -> Run {
    let world = World::new();
    let storage: Arc<dyn Storage> =
        Arc::new(WaitingStorage::new(Arc::new(world.storage.clone())).taking(LATENCY));
    let mut nodes = Vec::new();
    for n in 0..clients as u64 {
        let builder = Aft::builder(Arc::clone(&storage)).config(config.clone()).clock(world.clock());
        nodes.push(builder.rng_seed(n + 1).open().await.unwrap());
    }
    world.storage.reset();
    let began = Instant::now();
    let tries = AtomicU64::new(0);
    let client = async |(n, node): (usize, &Aft)| {
        let (keys, mut commits, mut longest) = (keys(n), 0, Duration::ZERO);
        let mut rng = StdRng::seed_from_u64(n as u64);
        while began.elapsed() < time {
            let since = Instant::now();
            add_to(node, &keys, &tries).await.unwrap();
            (commits, longest) = (commits + 1, longest.max(since.elapsed()));
            if pause_ms > 0 {
                sleep(Duration::from_millis(rng.random_range(0..2 * pause_ms))).await;
            }
        }
        (commits, longest)
    };
    let done = join_all(nodes.iter().enumerate().map(client)).await;
    let (counts, took, tries) = (world.storage.counts(), began.elapsed(), tries.into_inner());
    let commits: Vec<u64> = done.iter().map(|(commits, _)| *commits).collect();
    let longest = done.iter().map(|(_, longest)| *longest).max().unwrap();
    let last = keys(0);
    add_to(&nodes[0], &last, &AtomicU64::new(0)).await.unwrap();
    let tx = nodes[0].begin().await.unwrap();
    let wrote =
        |key: &String| -> u64 { (0..clients).filter(|n| keys(*n).contains(key)).map(|n| commits[n]).sum() };
    for key in &last {
        assert_eq!(number(&tx, key).await.unwrap(), wrote(key) + 1, "no update of {key} is lost");
    }
    Run { commits, tries, longest, counts, took }
}

/// What contends alone is counted: nodes tell each other nothing but by guards.
fn quiet() -> Config {
    Config { background: true, ..World::config() }
}

const A_MINUTE: Duration = Duration::from_secs(60);

/// A guard and a decision, one after the other, are the least: 16.7 commits a second, of which who rests now and then leaves some.
#[tokio::test(start_paused = true)]
async fn one_hot_key_passes_from_hand_to_hand() {
    for (clients, creates) in [(1, 2.01), (2, 2.5), (8, 5.0), (32, 15.0)] {
        let run = commit_for(A_MINUTE, quiet(), clients, 0, |_| vec!["n".into()]).await;
        run.print(&format!("one key, {clients} clients"));
        run.holds(creates);
    }
}

#[tokio::test(start_paused = true)]
async fn two_hot_keys_in_opposite_order_pass_from_hand_to_hand() {
    for (clients, creates) in [(1, 3.01), (2, 4.5), (8, 10.0), (32, 32.0)] {
        let keys = |n: usize| {
            let mut keys = vec!["a".to_owned(), "b".to_owned()];
            keys.rotate_left(n % 2);
            keys
        };
        let run = commit_for(A_MINUTE, quiet(), clients, 0, keys).await;
        run.print(&format!("two keys, {clients} clients"));
        run.holds(creates);
    }
}

/// Clients that pause between two commits.
#[tokio::test(start_paused = true)]
async fn contenders_that_pause_have_their_turns() {
    for pause_ms in [200, 500, 2_000, 4_000] {
        let run = commit_for(A_MINUTE, quiet(), 8, pause_ms, |_| vec!["n".into()]).await;
        run.print(&format!("one key, 8 clients that pause for {pause_ms} ms in the mean"));
        assert!(run.least() > 0.6, "pauses of {pause_ms} ms: {:?}", run.commits);
        assert!(run.longest < Duration::from_secs(15), "{:?}", run.longest);
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_contend_does_not_wait() {
    let mut alone = None;
    for clients in [1, 4, 16, 64] {
        let time = Duration::from_secs(24);
        let run = commit_for(time, Config::default(), clients, 0, |n| vec![format!("k{n}")]).await;
        run.print(&format!("a key each, {clients} clients"));
        let each = run.a_second() / clients as f64;
        let linear = each / *alone.get_or_insert(each);
        println!("a key each, {clients} clients: {linear:.3} of linear");
        assert!(linear >= 0.95, "{clients} clients: {linear}");
    }
}
