//! What a function costs in requests: exact, from its first call to its last; and what idle nodes cost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "the counts are for docs/functions.md")]

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, CommitOutcome, Config, Maintenance};
use aft_memory::{Counts, Operation};
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

async fn open(world: &World) -> Aft {
    world.builder().config(config()).open().await.unwrap()
}

/// One call: the webhook's event is its request key.
async fn call(aft: &Aft, event: &str) -> CommitOutcome {
    let run = aft.run(event, async |tx| {
        let paid = tx.get("paid").await?.map_or(0, |paid| paid[0]);
        tx.put("paid", vec![paid + 1])?;
        Ok("receipt".into())
    });
    run.await.unwrap().outcome
}

#[tokio::test(start_paused = true)]
async fn each_step_of_a_functions_life_costs_what_the_page_says() {
    let world = World::new();
    let maker = open(&world).await;
    assert_eq!(spent(&world).await, [2, 0, 3, 3], "the first open makes the store");
    let start = Instant::now();
    let waiting = Arc::new(WaitingStorage::new(Arc::new(world.storage.clone())));
    let aft = Aft::builder(waiting).config(config()).clock(world.clock()).open().await.unwrap();
    assert_eq!(rounds_since(start), 3, "the marker, the checkpoints, the feed");
    assert_eq!(spent(&world).await, [1, 0, 1, 2], "open, cold");
    drop(aft);

    let aft = open(&world).await;
    spent(&world).await;
    assert_eq!(call(&aft, "evt_1").await, CommitOutcome::Fresh);
    println!("first: {:?}", spent(&world).await);
    assert_eq!(call(&aft, "evt_2").await, CommitOutcome::Fresh);
    println!("warm: {:?}", spent(&world).await);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(call(&aft, "evt_3").await, CommitOutcome::Fresh);
    println!("warm after 6 s: {:?}", spent(&world).await);
    assert_eq!(call(&aft, "evt_3").await, CommitOutcome::Replayed);
    println!("replay: {:?}", spent(&world).await);
    let id = aft.new_txn_id();
    let mut tx = aft.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    println!("id: {:?}", spent(&world).await);
    put(&aft, "k", "v").await;
    println!("plain: {:?}", spent(&world).await);
    assert!(get(&aft, "k").await.is_some());
    println!("read: {:?}", spent(&world).await);
    aft.close().await.unwrap();
    assert_eq!(spent(&world).await, [0; 4], "nothing is left to be published");
    assert_eq!(call(&maker, "evt_3").await, CommitOutcome::Replayed);
    println!("replay elsewhere: {:?}", spent(&world).await);
}
