//! Many nodes on one store: the feed, refresh, staleness (I7), receipts, sweeps (I6).

use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Begin, Config, ErrorKind};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put};

fn background() -> Config {
    Config { background: true, direct_commits: false, ..Config::default() }
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_visible_on_other_nodes_within_staleness_and_feed_interval() {
    let world = World::new();
    let open = || async { world.builder().config(background()).open().await.unwrap() };
    let (a, b) = (open().await, open().await);
    put(&a, "k", "v").await;
    assert_eq!(get(&b, "k").await, None, "b was fresh when it last refreshed");
    let bound = a.config().max_staleness + a.config().feed_interval;
    tokio::time::sleep(bound + Duration::from_millis(10)).await;
    assert_eq!(get(&b, "k").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_receipt_makes_it_visible_at_once() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let receipt = put(&a, "k", "v").await.to_string().parse().unwrap();
    let tx = b.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "v");
    let read_only = tx.commit().await.unwrap();
    assert_eq!(read_only.receipt, receipt, "a reader passes on what it saw");
    let nothing = b.begin().await.unwrap().commit().await.unwrap().receipt;
    b.begin_with(Begin::new().after(&nothing)).await.unwrap().abort().await.unwrap();

    let elsewhere = World::new().builder().rng_seed(77).open().await.unwrap();
    let error = elsewhere.begin_with(Begin::new().after(&receipt)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    // As printed before receipts knew their store: all that can be said is that there is no such commit.
    let text = receipt.to_string();
    let old = text.rsplit_once('.').unwrap().0.parse().unwrap();
    drop(b.begin_with(Begin::new().after(&old)).await.unwrap());
    let error = elsewhere.begin_with(Begin::new().after(&old)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::VersionUnavailable);
}

/// Of many young commits a receipt names none but those that nobody published: whoever begins after it refreshes first.
#[tokio::test(start_paused = true)]
async fn a_reader_of_many_young_commits_passes_them_on_by_one_refresh() {
    let world = World::new();
    let (a, b, c) = (world.node().await, world.node().await, world.node().await);
    let keys: Vec<_> = (0..40).map(|n| format!("k{n:02}")).collect();
    for key in &keys {
        put(&b, key, "v").await;
    }
    b.publish().await.unwrap();
    let elsewhere = put(&b, "l", "v").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for key in &keys[..20] {
        put(&a, key, "w").await;
    }
    let tx = a.begin_with(Begin::new().latest().after(&elsewhere)).await.unwrap();
    tx.scan("k".."m").await.unwrap();
    world.storage.reset();
    let receipt = tx.commit().await.unwrap().receipt.to_string();
    assert_eq!(world.storage.requests().len(), 1, "its own commits are published");
    assert!(receipt.len() < 250, "{receipt}");
    assert_eq!(a.stats().unpublished, 0);

    world.storage.reset();
    let receipt = receipt.parse().unwrap();
    let tx = c.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(
        (world.storage.counts().lists, world.storage.counts().gets),
        (1, 3),
        "the feed's two objects and `l`"
    );
    for (n, key) in keys.iter().enumerate() {
        let value = tx.get(key).await.unwrap().unwrap();
        assert_eq!(value, if n < 20 { "w" } else { "v" });
    }
    assert!(tx.get("l").await.unwrap().is_some());
    // A token carries on what must be seen.
    let token = tx.suspend().await.unwrap();
    let tx = world.node().await.resume(&token).await.unwrap();
    assert_eq!(tx.get("k00").await.unwrap().unwrap(), "w");
}

/// What others know anyway is not named.
#[tokio::test(start_paused = true)]
async fn a_reader_of_old_commits_names_the_newest_alone() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let mut last = put(&b, "k0", "v").await;
    for key in ["k1", "k2"] {
        last = put(&b, key, "v").await;
    }
    b.publish().await.unwrap();
    a.refresh().await.unwrap();
    let read = async || {
        let tx = a.begin().await.unwrap();
        tx.scan_prefix("k").await.unwrap();
        tx.commit().await.unwrap().receipt
    };
    assert_ne!(read().await, last, "all three are young");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(read().await, last);
}

/// A sweep by a clock that was an hour ahead, and was set right since, is no reason not to sweep for an hour.
#[tokio::test(start_paused = true)]
async fn a_sweep_by_a_clock_that_was_ahead_keeps_nobody_from_sweeping() {
    let seen = async || {
        let world = World::new();
        let clock = world.clock();
        let reader = world.builder().config(background()).clock(clock.clone()).open().await.unwrap();
        clock.set_skew_ms(3_600_000);
        reader.sweep().await.unwrap();
        // The one that its refresh started ends.
        tokio::time::sleep(Duration::from_secs(1)).await;
        clock.set_skew_ms(0);
        let dead = world.builder().config(background()).open().await.unwrap();
        put(&dead, "k", "v").await;
        drop(dead);
        tokio::time::sleep(Duration::from_secs(61)).await;
        get(&reader, "k").await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        get(&reader, "k").await
    };
    assert_eq!(seen().await.as_deref(), Some("v"));
    plant(Some(Planted::TrustSweepsAhead));
    let late = seen().await;
    plant(None);
    assert_eq!(late, None);
}

/// The runtime that a node was opened on is gone; calls from another one go on, and so does publishing.
#[test]
fn a_node_publishes_though_its_first_runtime_is_gone() {
    let publishes = || {
        let runtime = || {
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
        };
        let first = runtime();
        let (world, node) = first.block_on(async {
            let world = World::new();
            let node = world.builder().config(background()).open().await.unwrap();
            put(&node, "k", "before").await;
            (world, node)
        });
        drop(first);
        runtime().block_on(async {
            put(&node, "k", "v").await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let unpublished = node.stats().unpublished;
            let other = world.node().await;
            (unpublished, get(&other, "k").await)
        })
    };
    assert_eq!(publishes(), (0, Some("v".into())));
    plant(Some(Planted::PublisherStaysGone));
    let stays = publishes();
    plant(None);
    assert_eq!(stays, (2, None));
}

#[tokio::test(start_paused = true)]
async fn publish_before_ack_makes_it_visible_to_every_later_refresh() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let mut tx = a.begin_with(Begin::new().publish_before_ack()).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    let tx = b.begin_with(Begin::new().latest()).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "v");

    // Where the feed cannot be written, the commit is not said to have failed.
    for _ in 0..100 {
        world.storage.fail(Operation::Create, "feed/", 1, Fault::Before(Stored::Unavailable));
    }
    let mut tx = a.begin_with(Begin::new().publish_before_ack()).await.unwrap();
    tx.put("k", "w").unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unpublished);
    world.storage.reset();
    let tx = b.begin_with(Begin::new().after(error.receipt().unwrap())).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "w");
    a.publish().await.unwrap();
    assert_eq!(a.stats().unpublished, 0);
}

#[tokio::test(start_paused = true)]
async fn close_publishes_and_later_calls_fail() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    put(&a, "k", "v").await;
    a.close().await.unwrap();
    a.close().await.unwrap();
    b.refresh().await.unwrap();
    assert_eq!(get(&b, "k").await.as_deref(), Some("v"));
    assert_eq!(a.begin().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.refresh().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.sweep().await.unwrap_err().kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_sweep_publishes_what_a_dead_node_left() {
    let world = World::new();
    let (dead, b, c) = (world.node().await, world.node().await, world.node().await);
    put(&dead, "k", "v").await;
    put(&dead, "k", "w").await;
    drop(dead);
    tokio::time::advance(Duration::from_secs(30)).await;
    put(&b, "other", "v").await;
    let report = b.sweep().await.unwrap();
    assert_eq!((report.listed, report.published, report.dead), (3, 2, 0));
    c.refresh().await.unwrap();
    assert_eq!(get(&c, "k").await.as_deref(), Some("w"));
    let again = c.sweep().await.unwrap();
    assert_eq!((again.listed, again.published), (3, 0));
    assert!(again.swept_through >= report.swept_through);
}

#[tokio::test(start_paused = true)]
async fn an_acked_commit_of_a_dead_node_needs_nobody_to_configure_maintenance() {
    let world = World::new();
    let open = || async { world.builder().config(background()).open().await.unwrap() };
    let (dead, reader) = (open().await, open().await);
    put(&dead, "k", "v").await;
    drop(dead);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(get(&reader, "k").await, None);
    // The sweep ran beside that begin; the next refresh sees what it published.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"));
    assert_eq!(reader.stats().sweeps, 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_share_the_sweeps_out_by_epochs() {
    let world = World::new();
    let mut nodes = Vec::new();
    for _ in 0..8 {
        nodes.push(world.builder().config(background()).open().await.unwrap());
    }
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        for node in &nodes {
            node.begin().await.unwrap().commit().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let sweeps: u64 = nodes.iter().map(|node| node.stats().sweeps).sum();
    assert!((5..=11).contains(&sweeps), "{sweeps} sweeps in ten minutes, by eight nodes");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_frozen_refreshes_before_it_begins() {
    let world = World::new();
    let (a, frozen) = (world.node().await, world.node().await);
    put(&a, "k", "v").await;
    a.publish().await.unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(get(&frozen, "k").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_late_feed_object_counts_for_nobody_and_its_maker_publishes_again() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    put(&a, "k", "v").await;
    let slow = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    let late = async {
        slow.reached().await;
        tokio::time::advance(Duration::from_secs(20)).await;
        slow.release().await.unwrap();
    };
    let (published, ()) = tokio::join!(a.publish(), late);
    published.unwrap();
    b.refresh().await.unwrap();
    assert_eq!(get(&b, "k").await.as_deref(), Some("v"));
    let on_feed = |operation| {
        let requests = world.storage.requests();
        requests.iter().filter(|it| it.operation == operation && it.path.starts_with("feed/")).count()
    };
    assert_eq!(on_feed(Operation::Create), 2, "the late one and its second edition");
    assert_eq!(on_feed(Operation::Get), 2, "each is read once: the late one may tell what nothing else does");
    b.refresh().await.unwrap();
    assert_eq!(on_feed(Operation::Get), 2, "each is read once");
    assert_eq!(b.sweep().await.unwrap().published, 0, "what it tells was published by its maker");
}

#[tokio::test(start_paused = true)]
async fn commits_overwritten_within_a_batch_are_published_by_their_id_alone() {
    let world = World::new();
    let (a, b) = (world.node().await, world.node().await);
    let first = put(&a, "k", "first").await;
    for n in 0..50 {
        put(&a, "k", &format!("{n}")).await;
    }
    a.publish().await.unwrap();
    b.refresh().await.unwrap();
    assert_eq!(b.stats().recent_commits, 1);
    assert_eq!(get(&b, "k").await.as_deref(), Some("49"));
    // A receipt of a pruned commit works all the same, and brings nothing old back.
    let tx = b.begin_with(Begin::new().after(&first)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "49");
    let report = b.sweep().await.unwrap();
    assert_eq!((report.listed, report.published), (51, 0), "a sweep knows pruned commits by their ids");
}

#[tokio::test(start_paused = true)]
async fn a_read_only_node_writes_nothing_and_sees_everything() {
    let world = World::new();
    let (a, reader) = (world.node().await, world.builder().read_only().open().await.unwrap());
    put(&a, "k", "v").await;
    a.publish().await.unwrap();
    tokio::time::advance(Duration::from_secs(120)).await;
    world.storage.reset();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"));
    let mut tx = reader.begin().await.unwrap();
    assert_eq!(tx.put("k", "w").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(reader.sweep().await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(reader.cancel(tx.id()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    reader.close().await.unwrap();
    assert_eq!(world.storage.counts().creates, 0);
}

#[tokio::test(start_paused = true)]
async fn commits_wait_where_the_feed_cannot_be_written_and_memory_is_bounded() {
    let world = World::new();
    let node = world.node().await;
    for _ in 0..10_000 {
        world.storage.fail(Operation::Create, "feed/", 1, Fault::Before(Stored::Denied));
    }
    let mut refused = None;
    for n in 0..2_000 {
        let mut tx = node.begin().await.unwrap();
        for key in 0..30 {
            tx.put(format!("{n}-{key}"), vec![0; 8 << 10]).unwrap();
        }
        if let Err(error) = tx.commit().await {
            refused = Some((n, error));
            break;
        }
    }
    let (n, error) = refused.expect("memory for unpublished commits is bounded");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!((200..400).contains(&n), "{n} commits of 240 KiB");
    world.storage.reset();
    put(&node, "k", "v").await;
    assert_eq!(node.stats().unpublished, 1, "there was room again once the rest was published");
}

/// Found by the simulator (seeds 223 and 1383): the attempt that won died unpublished, another was told "replayed", and nobody
/// published the commit before the next sweep; not even where the ack was to wait for that.
#[tokio::test(start_paused = true)]
async fn a_replay_answers_for_the_commit_that_it_acknowledges() {
    let world = World::new();
    let (winner, retry, reader) = (world.node().await, world.node().await, world.node().await);
    let id = winner.new_txn_id();
    let mut tx = winner.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    drop(winner);
    let mut tx = retry.begin_with(Begin::new().id(id).publish_before_ack()).await.unwrap();
    tx.put("k", "other").unwrap();
    assert_eq!(tx.commit().await.unwrap().outcome, aft_core::CommitOutcome::Replayed);
    let tx = reader.begin_with(Begin::new().latest()).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "v");
    // A second retry knows of it, and need not try to decide.
    world.storage.reset();
    let tx = retry.begin_with(Begin::new().id(id).publish_before_ack()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((world.storage.counts().creates, world.storage.counts().gets), (0, 1));
}
