//! What a function costs in requests: exact, from its first call to its last; and what idle nodes cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the counts are for docs/functions.md")]

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, CommitOutcome, Config, Error, ErrorKind, Maintenance, Run};
use aft_memory::{Counts, ErrorKind as Stored, Fault, Operation};
use aft_tests::{WaitingStorage, World, get, put, rounds_since};
use tokio::time::{Instant, sleep};

/// Gets, ranged gets, creates, lists.
type Spent = [u64; 4];

/// The host's limit for one call.
const LIMIT: Duration = Duration::from_secs(30);

const HOUR: Duration = Duration::from_secs(3600);

/// The requests since the last call, once what runs beside the work is done.
async fn spent(world: &World) -> Spent {
    sleep(Duration::from_millis(1)).await;
    let Counts { gets, range_gets, creates, lists, deletes, .. } = world.storage.counts();
    assert_eq!(deletes, 0);
    world.storage.reset();
    [gets, range_gets, creates, lists]
}

/// A function's settings, without the sweep that is anybody's once a minute: that one is counted by itself.
fn config() -> Config {
    Config { sweep_interval: 24 * HOUR, ..Config::function(LIMIT) }
}

/// One call: the webhook's event is its request key.
async fn tried(aft: &Aft, event: &str) -> Result<Run, Error> {
    let run = aft.run(event, async |tx| {
        let paid = tx.get("paid").await?.map_or(0, |paid| paid[0]);
        tx.put("paid", vec![paid + 1])?;
        Ok("receipt".into())
    });
    run.await
}

async fn call(aft: &Aft, event: &str) -> CommitOutcome {
    tried(aft, event).await.unwrap().outcome
}

/// What a call came to, what it cost, and in how many rounds.
async fn counted(world: &World, aft: &Aft, event: &str) -> (CommitOutcome, Spent, u64) {
    spent(world).await;
    let start = Instant::now();
    let outcome = call(aft, event).await;
    let rounds = rounds_since(start);
    (outcome, spent(world).await, rounds)
}

/// A process of the function whose every request takes a round; and what opening cost.
async fn cold(world: &World, config: Config) -> (Aft, Spent, u64) {
    spent(world).await;
    let storage = Arc::new(WaitingStorage::new(Arc::new(world.storage.clone())));
    let start = Instant::now();
    let aft = Aft::builder(storage).config(config).clock(world.clock()).open().await.unwrap();
    let rounds = rounds_since(start);
    // What it began beside its work.
    sleep(Duration::from_secs(2)).await;
    (aft, spent(world).await, rounds)
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_functions_life_costs_what_the_page_says() {
    use CommitOutcome::{Fresh, Replayed};
    let world = World::new();
    let other = world.builder().config(config()).open().await.unwrap();
    assert_eq!(spent(&world).await, [2, 0, 3, 3], "the first open makes the store");
    let (aft, requests, rounds) = cold(&world, config()).await;
    assert_eq!(
        (requests, rounds),
        ([1, 0, 1, 2], 2),
        "open: the marker beside the checkpoints, the proof beside the feed"
    );

    // The first commit of a process is read back: it verifies the clock.
    assert_eq!(counted(&world, &aft, "evt_1").await, (Fresh, [1, 0, 3, 0], 4), "the first call");
    assert_eq!(counted(&world, &aft, "evt_2").await, (Fresh, [0, 0, 3, 0], 3), "claim, decision, feed");
    sleep(Duration::from_secs(6)).await;
    assert_eq!(counted(&world, &aft, "evt_3").await, (Fresh, [0, 0, 3, 1], 3), "a refresh beside the claim");
    assert_eq!(counted(&world, &aft, "evt_3").await, (Replayed, [2, 0, 1, 0], 3), "delivered again");
    other.refresh().await.unwrap();
    assert_eq!(counted(&world, &other, "evt_3").await.1, [2, 0, 1, 0], "delivered again to another process");

    put(&aft, "k", "v").await;
    assert_eq!(spent(&world).await, [0, 0, 1, 0], "a commit: its decision, in the feed");
    let mut tx = aft.begin_with(Begin::new().id(aft.new_txn_id())).await.unwrap();
    tx.put("k", "w").unwrap();
    let token = tx.suspend().await.unwrap();
    other.resume(&token).await.unwrap().commit().await.unwrap();
    assert_eq!(spent(&world).await[2], 2, "under an id, and resumed elsewhere: the same");
    assert!(get(&other, "k").await.is_some());
    assert_eq!(spent(&world).await, [0; 4], "a call that reads what is cached");
    aft.close().await.unwrap();
    assert_eq!(spent(&world).await, [0; 4], "close: nothing is left to be published");
}

/// With a checkpoint opening takes a round more, and each feed object since is a get of one round together.
#[tokio::test(start_paused = true)]
async fn opening_takes_a_round_more_where_there_is_a_checkpoint() {
    let world = World::new();
    let maker = world.builder().config(config()).open().await.unwrap();
    put(&maker, "old", "v").await;
    sleep(HOUR).await;
    maker.checkpoint().await.unwrap();
    let (aft, requests, rounds) = cold(&world, config()).await;
    assert_eq!(
        (requests, rounds),
        ([3, 0, 1, 2], 3),
        "the manifest; the commits that are too young, beside the feed"
    );
    for n in 0..3 {
        put(&aft, &format!("new-{n}"), "v").await;
    }
    let (_aft, requests, rounds) = cold(&world, config()).await;
    assert_eq!((requests, rounds), ([6, 0, 1, 2], 4), "three feed objects, side by side");
}

/// The sweep that is due once a minute, among all processes that are at work: whichever refreshes then makes it, beside its work.
#[tokio::test(start_paused = true)]
async fn a_sweep_comes_on_top_once_a_minute_and_only_while_somebody_works() {
    let world = World::new();
    let function = Config::function(LIMIT);
    world.builder().config(function.clone()).open().await.unwrap();
    sleep(HOUR).await;
    let (aft, requests, rounds) = cold(&world, function.clone()).await;
    // Beside the rest: the epoch twice, and the feed object that tells of the sweep. A refresh, 16 shards and the feed, and that object's date, since the
    // clock is not verified yet.
    assert_eq!((requests, rounds), ([1, 0, 1 + 3, 2 + 19], 2), "nobody waits for it");
    let (_other, requests, _) = cold(&world, function).await;
    assert_eq!(requests, [2, 0, 1, 2], "it knows of that sweep");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(call(&aft, "evt_1").await, CommitOutcome::Fresh);
    sleep(Duration::from_secs(5)).await;
    // The call: its first decision read back; claim, decision, feed; a refresh that looks for checkpoints too. The sweep: as above.
    assert_eq!(spent(&world).await, [1, 0, 3 + 3, 2 + 18], "in a process that is open");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(counted(&world, &aft, "evt_2").await.1, [0, 0, 3, 1], "and not again");
    sleep(HOUR).await;
    assert_eq!(spent(&world).await, [0; 4]);
}

/// Killed after its decision and before it was published: nobody was answered. The next delivery gets the stored result and publishes it;
/// without one, the next sweep does.
#[tokio::test(start_paused = true)]
async fn a_function_that_is_killed_in_the_middle_of_a_commit_committed_once() {
    for redelivered in [true, false] {
        let world = World::new();
        let (killed, next) = (world.builder(), world.builder());
        let killed = killed.config(config()).open().await.unwrap();
        let next = next.config(config()).open().await.unwrap();
        let feed = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
        let running = tokio::spawn(async move { call(&killed, "evt_1").await });
        feed.reached().await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        if redelivered {
            assert_eq!(call(&next, "evt_1").await, CommitOutcome::Replayed);
        } else {
            assert_eq!(next.sweep().await.unwrap().published, 1);
        }
        let reader = world.node().await;
        assert_eq!(get(&reader, "paid").await.as_deref(), Some("\u{1}"), "once");
        assert_eq!(reader.sweep().await.unwrap().published, 0);
    }
}

/// A commit whose publication fails is an error, so that the host delivers again; that delivery publishes it.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_published_is_published_by_the_next_delivery() {
    let world = World::new();
    let aft = world.builder().config(config()).open().await.unwrap();
    world.storage.fail(Operation::Create, "feed/", 1, Fault::Before(Stored::Denied));
    let error = tried(&aft, "evt_1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unpublished);
    assert_eq!(call(&aft, "evt_1").await, CommitOutcome::Replayed);
    assert_eq!(get(&world.node().await, "paid").await.as_deref(), Some("\u{1}"));
    drop(aft);
}

/// Frozen between two calls, and in the middle of one: only the transaction that was open expires.
#[tokio::test(start_paused = true)]
async fn after_a_freeze_everything_goes_on_but_the_transaction_that_was_open() {
    let world = World::new();
    let aft = world.builder().config(config()).open().await.unwrap();
    let mut open = aft.begin().await.unwrap();
    open.put("k", "v").unwrap();
    sleep(24 * HOUR).await;
    assert_eq!(open.commit().await.unwrap_err().kind(), ErrorKind::Expired);
    assert_eq!(call(&aft, "evt_1").await, CommitOutcome::Fresh);
}

/// The requests of idle nodes in a day, after what they did at first.
async fn idle(nodes: u32, config: Config) -> u64 {
    let world = World::new();
    let mut all = Vec::new();
    for n in 0..nodes {
        let aft = world.builder().config(config.clone()).open().await.unwrap();
        put(&aft, &format!("k{n}"), "v").await;
        all.push(aft);
        sleep(Duration::from_secs(3)).await;
    }
    // The feed, a first checkpoint, and what that makes garbage.
    sleep(3 * HOUR).await;
    world.storage.reset();
    sleep(24 * HOUR).await;
    println!("{nodes} idle nodes: {:?}", world.storage.counts());
    world.storage.counts().requests()
}

#[tokio::test(start_paused = true)]
async fn idle_nodes_send_nothing_unless_they_maintain_the_store() {
    for nodes in [1, 10] {
        assert_eq!(idle(nodes, Config::function(LIMIT)).await, 0);
        assert_eq!(idle(nodes, Config::default()).await, 0);
    }
    let maintaining = Config { maintenance: Some(Maintenance::default()), ..Config::default() };
    // Of one, each minute: a refresh, and a sweep (its epoch twice, a refresh, 16 shards and the feed, a feed object). Ten share the sweeps; each of them
    // refreshes for itself, looks for checkpoints, and reads what sweeps leave.
    let (one, ten) = (idle(1, maintaining.clone()).await, idle(10, maintaining).await);
    assert!((25_000..27_000).contains(&one) && (60_000..75_000).contains(&ten), "{one}, {ten}");
}
