//! What each operation costs in requests to the store: exact, on the recording store.

use std::time::Duration;

use aft_core::{Begin, Config};
use aft_memory::{Counts, Operation};
use aft_tests::World;

fn counts(gets: u64, range_gets: u64, creates: u64, lists: u64) -> [u64; 4] {
    [gets, range_gets, creates, lists]
}

/// The requests since the last call: gets, range gets, creates, lists.
fn spent(world: &World) -> [u64; 4] {
    let Counts { gets, range_gets, creates, lists, deletes, .. } = world.storage.counts();
    assert_eq!(deletes, 0);
    world.storage.reset();
    counts(gets, range_gets, creates, lists)
}

#[tokio::test(start_paused = true)]
async fn opening_an_existing_store_is_a_get_a_probing_create_and_a_refresh() {
    let world = World::new();
    world.node().await;
    // The first ever: the marker is looked for, the store is asked for its time, and listed for what is left of another; the marker is made,
    // read and probed. The other lists are of the checkpoints and of the feed.
    assert_eq!(spent(&world), counts(2, 0, 3, 3));
    world.node().await;
    assert_eq!(spent(&world), counts(1, 0, 1, 2));
    world.builder().read_only().open().await.unwrap();
    assert_eq!(spent(&world), counts(1, 0, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn a_commit_of_any_number_of_keys_is_one_create_and_one_read_back_while_the_clock_is_unverified() {
    let world = World::new();
    world.node().await;
    let node = world.node().await;
    spent(&world);
    for (round, keys) in [1, 10, 100, 1000].into_iter().enumerate() {
        let mut tx = node.begin().await.unwrap();
        for key in 0..keys {
            tx.put(format!("key-{key}"), vec![7; 1024]).unwrap();
        }
        let commit = tx.commit().await.unwrap();
        let read_back = u64::from(round == 0);
        assert_eq!(spent(&world), counts(read_back, 0, 1, 0), "{keys} keys");
        assert_eq!(
            (commit.cost.creates, commit.cost.gets, commit.cost.requests()),
            (1, read_back, 1 + read_back)
        );
    }
    assert_eq!(node.stats().requests.creates, 4 + 1);
}

#[tokio::test(start_paused = true)]
async fn every_commit_is_read_back_where_that_is_asked_for() {
    let world = World::new();
    let node =
        world.builder().config(Config { verify_every_commit: true, ..World::config() }).open().await.unwrap();
    spent(&world);
    for _ in 0..3 {
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "v").unwrap();
        tx.commit().await.unwrap();
        assert_eq!(spent(&world), counts(1, 0, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn the_node_that_made_the_store_has_its_clock_verified_by_the_marker() {
    let world = World::new();
    let node = world.node().await;
    spent(&world);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn reading_and_giving_up_cost_nothing_in_writes() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    spent(&world);

    let tx = node.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
    assert_eq!(tx.get("absent").await.unwrap(), None);
    tx.commit().await.unwrap();
    assert_eq!(spent(&world), [0; 4], "a read-only commit");

    let mut tx = node.begin().await.unwrap();
    tx.put("k", "other").unwrap();
    tx.abort().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    tx.delete("k").unwrap();
    drop(tx);
    assert_eq!(spent(&world), [0; 4], "an abort of an unshared transaction");

    let mut tx = node.begin_with(Begin::new().id(node.new_txn_id())).await.unwrap();
    tx.put("k", "other").unwrap();
    tx.abort().await.unwrap();
    assert_eq!(spent(&world), counts(1, 0, 1, 0), "an abort that others must learn");
}

#[tokio::test(start_paused = true)]
async fn a_small_value_is_one_ranged_get_and_a_large_one_a_get_then_nothing() {
    let world = World::new();
    let (writer, other) = (world.node().await, world.node().await);
    let mut tx = writer.begin().await.unwrap();
    tx.put("small", vec![1; 100]).unwrap();
    tx.put("large", vec![2; 100_000]).unwrap();
    tx.put("empty", "").unwrap();
    let receipt = tx.commit().await.unwrap().receipt;
    writer.publish().await.unwrap();
    spent(&world);

    // A node that starts keeps the small values of what it reads of the feed, as far as they fill half of its cache.
    let cold = world.node().await;
    spent(&world);
    let tx = cold.begin().await.unwrap();
    assert_eq!(tx.get("small").await.unwrap().unwrap(), vec![1; 100]);
    assert_eq!(spent(&world), [0; 4]);

    // A checkpoint tells where values are, not the values.
    writer.checkpoint().await.unwrap();
    let cold = world.node().await;
    spent(&world);
    let tx = cold.begin().await.unwrap();
    assert_eq!(tx.get("small").await.unwrap().unwrap(), vec![1; 100]);
    assert_eq!(spent(&world), counts(0, 1, 0, 0));
    assert_eq!(tx.get("large").await.unwrap().unwrap(), vec![2; 100_000]);
    assert_eq!(spent(&world), counts(1, 0, 0, 0));
    assert_eq!(tx.get("empty").await.unwrap().unwrap(), "");
    let again = tx.get_many(["small", "large", "empty", "absent"]).await.unwrap();
    assert!(again[0].is_some() && again[1].is_some() && again[2].is_some() && again[3].is_none());
    assert_eq!(spent(&world), [0; 4]);
    assert_eq!((cold.stats().cache_hits, cold.stats().cache_misses), (2, 2));

    // A node that runs gets small values with the feed; a receipt brings the decision and what it holds.
    let tx = other.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(spent(&world), counts(1, 0, 0, 0));
    assert_eq!(tx.get("small").await.unwrap().unwrap(), vec![1; 100]);
    assert_eq!(spent(&world), [0; 4]);
}

/// What lies in one object is fetched by one request, up to a MiB.
#[tokio::test(start_paused = true)]
async fn values_that_one_transaction_wrote_are_fetched_together() {
    let world = World::new();
    let writer = world.node().await;
    for (commit, bytes) in [("a", 100), ("b", 8 << 10)] {
        let mut tx = writer.begin().await.unwrap();
        (0..200u8).for_each(|n| tx.put(format!("{commit}/{n:03}"), vec![n; bytes]).unwrap());
        tx.commit().await.unwrap();
    }
    writer.publish().await.unwrap();
    writer.checkpoint().await.unwrap();
    for cache_bytes in [0, 64 << 20] {
        let config = aft_core::Config { cache_bytes, ..World::config() };
        let cold = world.builder().config(config).open().await.unwrap();
        spent(&world);
        let tx = cold.begin().await.unwrap();
        let rows = tx.scan_prefix("a/").await.unwrap();
        assert!(rows.len() == 200 && rows.iter().zip(0u8..).all(|((_, value), n)| value == &vec![n; 100]));
        assert_eq!(spent(&world), counts(0, 1, 0, 0));
        let keys: Vec<_> = (0..200u8).rev().map(|n| format!("b/{n:03}")).collect();
        let values = tx.get_many(&keys).await.unwrap();
        assert!(
            values
                .iter()
                .zip((0..200u8).rev())
                .all(|(value, n)| value.as_ref().unwrap() == &vec![n; 8 << 10])
        );
        assert_eq!(spent(&world), counts(0, 2, 0, 0), "1.6 MiB");
        // Every third lies far from the next: what is between is fetched as well.
        let spread: Vec<_> = (0..200u8).step_by(3).map(|n| format!("a/{n:03}")).collect();
        assert!(cold.begin().await.unwrap().get_many(&spread).await.unwrap().iter().all(Option::is_some));
        assert_eq!(spent(&world), counts(0, u64::from(cache_bytes == 0), 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_readers_share_one_load() {
    let world = World::new();
    let writer = world.node().await;
    let mut tx = writer.begin().await.unwrap();
    tx.put("large", vec![2; 100_000]).unwrap();
    tx.commit().await.unwrap();
    writer.publish().await.unwrap();
    let cold = world.node().await;
    spent(&world);
    let gate = world.storage.fail(Operation::Get, "values/", 1, aft_memory::Fault::Delay);
    let read = || async {
        let tx = cold.begin().await.unwrap();
        tx.get("large").await.unwrap().unwrap().len()
    };
    let release = async {
        gate.reached().await;
        gate.release().await.unwrap();
    };
    let (a, b, c, ()) = tokio::join!(read(), read(), read(), release);
    assert_eq!((a, b, c), (100_000, 100_000, 100_000));
    assert_eq!(spent(&world), counts(1, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_idle_refresh_is_one_list_and_only_when_the_view_is_stale() {
    let world = World::new();
    let node = world.node().await;
    spent(&world);
    node.begin().await.unwrap().commit().await.unwrap();
    assert_eq!(spent(&world), [0; 4]);
    tokio::time::advance(Duration::from_millis(5_001)).await;
    let (a, b) = tokio::join!(node.begin(), node.begin());
    assert_eq!(spent(&world), counts(0, 0, 0, 1), "concurrent callers share a refresh");
    drop((a, b));
    node.begin_with(Begin::new().latest()).await.unwrap().commit().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn publishing_is_one_create_for_any_number_of_commits() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    for n in 0..100 {
        let mut tx = writer.begin().await.unwrap();
        tx.put(format!("key-{n}"), "v").unwrap();
        tx.commit().await.unwrap();
    }
    spent(&world);
    writer.publish().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 1, 0));
    writer.publish().await.unwrap();
    assert_eq!(spent(&world), [0; 4]);
    reader.refresh().await.unwrap();
    assert_eq!(spent(&world), counts(1, 0, 0, 1));
    reader.refresh().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 0, 1));
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.scan_prefix("key-").await.unwrap().len(), 100);
    assert_eq!(spent(&world), [0; 4], "the values came with the feed");

    let mut tx = writer.begin_with(Begin::new().publish_before_ack()).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn large_values_are_one_create_each_beside_the_decision() {
    let world = World::new();
    let node = world.node().await;
    spent(&world);
    let mut tx = node.begin().await.unwrap();
    for n in 0..5 {
        tx.put(format!("large-{n}"), vec![n; 20_000]).unwrap();
    }
    tx.put("small", "v").unwrap();
    tx.commit().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 6, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_would_be_too_large_moves_its_largest_values_out() {
    let world = World::new();
    let config = Config { max_record_bytes: 64 << 10, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    spent(&world);
    let mut tx = node.begin().await.unwrap();
    for n in 0..20 {
        tx.put(format!("key-{n}"), vec![n; 4_000]).unwrap();
    }
    tx.commit().await.unwrap();
    let requests = world.storage.requests();
    let record = requests.iter().find(|request| request.path.starts_with("commits/")).unwrap();
    assert!(record.bytes <= 64 << 10, "{} bytes", record.bytes);
    assert_eq!(spent(&world), counts(0, 0, 1 + 5, 0), "no more moves than needed");
    let tx = world.node().await.begin().await.unwrap();
    assert!(tx.scan(..).await.unwrap().is_empty(), "not published yet");
    node.publish().await.unwrap();
    let tx = world.node().await.begin().await.unwrap();
    let rows = tx.scan(..).await.unwrap();
    assert_eq!(rows.len(), 20);
    assert!(rows.iter().all(|(key, value)| *key == format!("key-{}", value[0]) && value.len() == 4_000));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_two_creates_and_its_replay_a_refused_create_and_two_gets() {
    let world = World::new();
    let node = world.node().await;
    let other = world.node().await;
    // A caller's own id, once and again.
    let id = node.new_txn_id();
    for (expected, who) in [(counts(0, 0, 1, 0), &node), (counts(1, 0, 1, 0), &other)] {
        spent(&world);
        let mut tx = who.begin_with(Begin::new().id(id)).await.unwrap();
        tx.put("k", "v").unwrap();
        tx.commit().await.unwrap();
        assert_eq!(spent(&world), expected, "under a caller's id");
    }
    // A request key, once and again: the claim, the decision; the refused claim, the claim's get, the decision's get.
    for (expected, who) in [(counts(0, 0, 2, 0), &node), (counts(2, 0, 1, 0), &other)] {
        let mut tx = who.begin_with(Begin::new().request("order")).await.unwrap();
        tx.put("k", "v").unwrap();
        tx.commit().await.unwrap();
        assert_eq!(spent(&world), expected, "under a request key");
    }
    for (expected, who) in [(counts(0, 0, 2, 0), &node), (counts(2, 0, 1, 0), &other)] {
        let run = who.run("another order", async |tx| {
            tx.put("k", "v")?;
            Ok("done".into())
        });
        assert_eq!(run.await.unwrap().result, "done");
        assert_eq!(spent(&world), expected, "run");
    }
}

/// The claim goes out before the reads and is awaited by the commit alone.
#[tokio::test(start_paused = true)]
async fn a_claim_runs_beside_the_reads_and_run_awaits_it_before_the_closure() {
    let world = World::new();
    let node = world.node().await;
    let held = world.storage.fail(Operation::Create, "requests/", 1, aft_memory::Fault::Delay);
    let mut tx = node.begin_with(Begin::new().request("order")).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap(), None);
    tx.put("k", vec![1; 100_000]).unwrap();
    held.reached().await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(
        world.storage.requests().iter().all(|request| !request.path.starts_with("values/")),
        "a large value waits until the id is certain"
    );
    let (commit, released) = tokio::join!(tx.commit(), held.release());
    released.unwrap();
    commit.unwrap();

    let held = world.storage.fail(Operation::Create, "requests/", 1, aft_memory::Fault::Delay);
    let ran = std::cell::Cell::new(false);
    let run = node.run("another", async |_| {
        ran.set(true);
        Ok("".into())
    });
    let release = async {
        held.reached().await;
        assert!(!ran.get());
        held.release().await.unwrap();
    };
    let (run, ()) = tokio::join!(run, release);
    run.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_costs_one_get_for_each_version_that_the_node_does_not_know() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    for key in ["a", "b", "c"] {
        aft_tests::put(&first, key, "v").await;
    }
    spent(&world);
    let mut tx = first.begin().await.unwrap();
    tx.get_many(["a", "b", "c", "absent"]).await.unwrap();
    tx.put("small", "v").unwrap();
    let token = tx.suspend().await.unwrap();
    assert_eq!(spent(&world), [0; 4], "suspending");
    let tx = second.resume(&token).await.unwrap();
    assert_eq!(spent(&world), counts(3, 0, 0, 0), "three unpublished commits");
    drop(tx);
    let mut tx = second.resume(&token).await.unwrap();
    assert_eq!(spent(&world), [0; 4], "they are known now");
    tx.put("large", vec![1; 100_000]).unwrap();
    let token = tx.suspend().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 1, 0), "the large value");
    let tx = first.resume(&token).await.unwrap();
    assert_eq!(tx.get("large").await.unwrap().unwrap().len(), 100_000);
    assert_eq!(spent(&world), counts(1, 0, 0, 0), "read back on the other node");
    tx.commit().await.unwrap();
    assert_eq!(spent(&world), counts(0, 0, 1, 0), "the commit");
}

/// A checkpoint that a token was read through costs nothing where it is built on, and one look where the node is behind.
#[tokio::test(start_paused = true)]
async fn a_token_costs_a_look_only_where_it_was_read_through_a_newer_checkpoint() {
    let world = World::new();
    let (maker, behind) = (world.node().await, world.node().await);
    aft_tests::put(&maker, "old", "v").await;
    maker.publish().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1200)).await;
    aft_tests::put(&maker, "young", "v").await;
    maker.publish().await.unwrap();
    behind.refresh().await.unwrap();
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1);
    behind.refresh().await.unwrap();
    assert_eq!(behind.stats().checkpoint, 0);

    let tx = maker.begin().await.unwrap();
    assert_eq!(tx.get("absent").await.unwrap(), None);
    let token = tx.suspend().await.unwrap();
    spent(&world);
    drop(maker.resume(&token).await.unwrap());
    assert_eq!(spent(&world), [0; 4], "built on here");
    drop(behind.resume(&token).await.unwrap());
    assert_eq!(spent(&world), counts(1, 0, 0, 2), "a refresh that looks for it, and its manifest");
    drop(behind.resume(&token).await.unwrap());
    assert_eq!(spent(&world), [0; 4], "known now");
}

/// The cost of a commit is what the store saw for it, bytes included, from its begin to its ack.
#[tokio::test(start_paused = true)]
async fn a_commit_tells_every_request_that_its_transaction_sent() {
    let world = World::new();
    let (writer, node) = (world.node().await, world.node().await);
    let mut tx = writer.begin().await.unwrap();
    tx.put("small", vec![1; 100]).unwrap();
    tx.put("large", vec![2; 100_000]).unwrap();
    tx.commit().await.unwrap();
    writer.publish().await.unwrap();
    writer.checkpoint().await.unwrap();
    let cold = world.node().await;
    world.storage.reset();
    let mut tx = cold.begin_with(Begin::new().request("order")).await.unwrap();
    assert!(tx.get("small").await.unwrap().is_some());
    assert!(tx.get("large").await.unwrap().is_some());
    tx.put("other", vec![3; 20_000]).unwrap();
    tx.put("k", "v").unwrap();
    let cost = tx.commit().await.unwrap().cost;
    // The claim, the large value and the decision; the two values that it read, and the decision read back on a node whose clock is
    // not verified yet.
    assert_eq!((cost.creates, cost.range_gets, cost.gets, cost.lists, cost.deletes), (3, 1, 2, 0, 0));
    let Counts { gets, range_gets, creates, lists, deletes, .. } = world.storage.counts();
    assert_eq!((creates, range_gets, gets, lists, deletes), (3, 1, 2, 0, 0));
    let requests = world.storage.take();
    let bytes = |creates: bool| -> u64 {
        let those = requests.iter().filter(|request| (request.operation == Operation::Create) == creates);
        those.map(|request| request.bytes).sum()
    };
    assert_eq!((cost.bytes_written, cost.bytes_read), (bytes(true), bytes(false)));
    drop(node);
}

/// What a node does for all its transactions is in the node's own counts alone.
#[tokio::test(start_paused = true)]
async fn what_transactions_share_is_the_nodes_cost() {
    let world = World::new();
    let node = world.node().await;
    let before = node.stats().requests;
    let mut tx = node.begin_with(Begin::new().latest().publish_before_ack()).await.unwrap();
    tx.put("k", "v").unwrap();
    let cost = tx.commit().await.unwrap().cost;
    assert_eq!((cost.requests(), cost.creates), (1, 1), "its decision");
    let all = node.stats().requests - before;
    assert_eq!((all.creates, all.lists, all.requests()), (2, 1, 3), "the feed object and the refresh too");
    let tx = node.begin().await.unwrap();
    assert!(tx.get("k").await.unwrap().is_some());
    assert_eq!(tx.commit().await.unwrap().cost.requests(), 0, "a value from the cache");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_wants_to_know_sooner_lists_sooner_and_none_lists_later_than_the_store_says() {
    let world = World::new();
    let secs = Duration::from_secs;
    let config = |max_staleness| Config { max_staleness, ..World::config() };
    world.builder().config(config(secs(5))).open().await.unwrap();
    let sooner = world.builder().config(config(secs(1))).open().await.unwrap();
    let later = world.builder().config(config(secs(60))).open().await.unwrap();
    assert_eq!((sooner.config().max_staleness, later.config().max_staleness), (secs(1), secs(5)));
    spent(&world);
    tokio::time::sleep(secs(2)).await;
    later.begin().await.unwrap().abort().await.unwrap();
    assert_eq!(spent(&world)[3], 0);
    sooner.begin().await.unwrap().abort().await.unwrap();
    assert_eq!(spent(&world)[3], 1, "a second is its own bound");
    tokio::time::sleep(secs(4)).await;
    later.begin().await.unwrap().abort().await.unwrap();
    assert_eq!(spent(&world)[3], 1, "five are the store's");
}
