//! Large values as streams: what goes in comes out, in bounded buffers, and every part has the same safety as a value that was put.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::time::Duration;

use aft_core::{Aft, Begin, Config, ErrorKind, Transaction};
use aft_memory::{Corruption, ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put, write};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

const PART: u64 = 10_000;
const HOUR: Duration = Duration::from_secs(3600);

async fn node_with(world: &World, config: Config) -> Aft {
    world.builder().config(config).open().await.unwrap()
}

fn config() -> Config {
    Config { stream_part_bytes: PART, inline_value_bytes: 100, max_value_bytes: 45_000, ..World::config() }
}

async fn node(world: &World) -> Aft {
    node_with(world, config()).await
}

/// Bytes of which no two parts are alike.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 7 + at / 1_000) as u8).collect()
}

/// A value in chunks of odd sizes, from none to some parts.
fn chunks(value: &[u8]) -> impl stream::Stream<Item = Result<Bytes, std::io::Error>> + Send + use<> {
    let (mut chunks, mut rest, mut size) = (Vec::new(), Bytes::copy_from_slice(value), 0);
    while !rest.is_empty() {
        chunks.push(Ok(rest.split_to(size.min(rest.len()))));
        size = (size * 3 + 1) % 35_001;
    }
    stream::iter(chunks)
}

async fn read(tx: &mut Transaction, key: &str) -> Option<Vec<u8>> {
    let parts: Vec<Bytes> = tx.get_stream(key).await.unwrap()?.try_collect().await.unwrap();
    Some(parts.concat())
}

async fn put_stream(node: &Aft, key: &str, value: &[u8]) -> aft_core::Commit {
    let mut tx = node.begin().await.unwrap();
    assert_eq!(tx.put_stream(key, chunks(value)).await.unwrap(), value.len() as u64);
    tx.commit().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_goes_in_comes_out_at_every_length_and_costs_a_request_a_part() {
    let world = World::new();
    let (writer, reader) = (node(&world).await, node(&world).await);
    for (len, parts) in
        [(0, 0), (1, 0), (100, 0), (101, 1), (9_999, 1), (10_000, 1), (10_001, 2), (45_000, 5), (123_456, 13)]
    {
        let value = bytes(len);
        let mut tx = writer.begin().await.unwrap();
        assert_eq!(tx.put_stream("k", chunks(&value)).await.unwrap(), len as u64);
        assert_eq!(read(&mut tx, "k").await.unwrap(), value, "own write of {len}");
        world.storage.reset();
        let creates = tx.cost().creates;
        assert_eq!(creates, parts, "{len} bytes");
        tx.commit().await.unwrap();
        writer.publish().await.unwrap();
        reader.refresh().await.unwrap();
        let mut tx = reader.begin().await.unwrap();
        world.storage.reset();
        assert_eq!(read(&mut tx, "k").await.unwrap(), value, "{len} bytes");
        assert_eq!(world.storage.counts().gets, parts, "{len} bytes");
        let whole = tx.get("k").await;
        if len <= 45_000 {
            assert_eq!(whole.unwrap().unwrap(), value, "{len} bytes");
        } else {
            let error = whole.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let error = format!("{error}: {}", std::error::Error::source(&error).unwrap());
            assert!(error.contains("\"k\"") && error.contains("get_stream"), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_reads_the_parts_that_it_needs() {
    let world = World::new();
    let node = node(&world).await;
    let value = bytes(95_000);
    put_stream(&node, "k", &value).await;
    write(&node, &[("small", Some("0123456789")), ("gone", None)]).await;
    let tx = node.begin().await.unwrap();
    for (range, parts) in [
        (0..1, 1),
        (9_999..10_000, 1),
        (9_999..10_001, 2),
        (25_000..55_000, 4),
        (94_999..200_000, 1),
        (95_000..96_000, 0),
        (u64::MAX..u64::MAX, 0),
        (3..3, 0),
    ] {
        world.storage.reset();
        let read = tx.get_range("k", range.clone()).await.unwrap().unwrap();
        let within = |at: u64| at.min(95_000) as usize;
        assert_eq!(read, value[within(range.start)..within(range.end)], "{range:?}");
        assert_eq!(world.storage.counts().requests(), parts, "{range:?}");
    }
    assert_eq!(tx.get_range("small", 2..4).await.unwrap().unwrap(), "23");
    assert_eq!(tx.get_range("gone", 2..4).await.unwrap(), None);
    assert!(tx.get_stream("absent").await.unwrap().is_none());
    for (start, end, word) in [(5, 4, "ends before"), (0, 50_000, "get_stream")] {
        let error = tx.get_range("k", start..end).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains(word), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_four_parts_are_under_way_and_a_slow_reader_holds_no_more() {
    let world = World::new();
    let node = node(&world).await;
    let value = bytes(200_000);
    let gate = world.storage.fail(Operation::Create, "values/", 1, Fault::Delay);
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let source = {
        let asked = std::sync::Arc::clone(&asked);
        stream::iter(value.chunks(10_000).map(Bytes::copy_from_slice).collect::<Vec<_>>()).map(move |chunk| {
            asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok::<_, std::io::Error>(chunk)
        })
    };
    let mut tx = node.begin().await.unwrap();
    let upload = tx.put_stream("k", source);
    let held = async {
        gate.reached().await;
        sleep(Duration::from_secs(1)).await;
        // Four parts behind the one that waits, and what the fifth begins with.
        let taken = asked.load(std::sync::atomic::Ordering::SeqCst);
        assert!((4..=5).contains(&taken), "{taken} parts were taken from the source");
        gate.release().await.unwrap();
    };
    let (written, ()) = tokio::join!(upload, held);
    assert_eq!(written.unwrap(), 200_000);
    tx.commit().await.unwrap();

    let tx = node.begin().await.unwrap();
    let mut value = tx.get_stream("k").await.unwrap().unwrap();
    world.storage.reset();
    let gate = world.storage.fail(Operation::Get, "values/", 1, Fault::Delay);
    let held = async {
        gate.reached().await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.storage.counts().gets, 4, "three parts are fetched beside the first");
        gate.release().await.unwrap();
    };
    let (part, ()) = tokio::join!(value.next(), held);
    part.unwrap().unwrap();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.storage.counts().gets, 4, "nothing is fetched while nobody reads");
    assert_eq!(value.try_fold(0, async |sum, part| Ok(sum + part.len())).await.unwrap(), 190_000);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_or_is_dropped_writes_nothing_and_the_transaction_goes_on() {
    let world = World::new();
    let node = node_with(&world, Config { max_stream_bytes: 60_000, ..config() }).await;
    put(&node, "k", "before").await;
    let mut tx = node.begin().await.unwrap();
    let failing =
        chunks(&bytes(30_000)).chain(stream::iter([Err(std::io::Error::other("the disk is gone"))]));
    let error = tx.put_stream("k", failing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Application);
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("the disk is gone"));
    let error = tx.put_stream("k", chunks(&bytes(60_001))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("max_stream_bytes"));
    let endless =
        stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes(25_000)))]).chain(stream::pending());
    tokio::time::timeout(Duration::from_secs(1), tx.put_stream("k", endless)).await.unwrap_err();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "before");
    tx.put("other", "v").unwrap();
    tx.commit().await.unwrap();
    assert_eq!(get(&node, "k").await.as_deref(), Some("before"));
    assert_eq!(get(&node, "other").await.as_deref(), Some("v"));

    let values = || world.memory.paths().into_iter().filter(|path| path.starts_with("values/")).count();
    assert!(values() > 0, "what went up is garbage now");
    node.publish().await.unwrap();
    for _ in 0..3 {
        sleep(HOUR).await;
        put(&node, "clock", "tick").await;
        node.publish().await.unwrap();
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    assert_eq!(values(), 0, "and is collected");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_takes_longer_than_a_transaction_may_is_refused() {
    let world = World::new();
    let node = node(&world).await;
    let slow = chunks(&bytes(30_000)).then(|chunk| async {
        sleep(Duration::from_secs(300)).await;
        chunk
    });
    let mut tx = node.begin().await.unwrap();
    let error = tx.put_stream("k", slow).await.unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::Expired, Some(tx.id())));
    let mut tx = node.begin().await.unwrap();
    let silent = chunks(&bytes(30_000)).chain(stream::pending());
    let error = tx.put_stream("k", silent).await.unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::Expired, Some(tx.id())));
}

#[tokio::test(start_paused = true)]
async fn a_record_names_no_more_parts_than_it_can_hold() {
    let world = World::new();
    let small = Config { stream_part_bytes: 1, max_record_bytes: 64 << 10, ..config() };
    let node = node_with(&world, small).await;
    let mut tx = node.begin().await.unwrap();
    let error = tx.put_stream("k", chunks(&bytes(2_000))).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.to_string().contains("stream_part_bytes"),
        "{error}"
    );
    // Some hundred parts, through the record, the feed, a run and a cold start.
    let value = bytes(1_200);
    assert_eq!(tx.put_stream("k", chunks(&value)).await.unwrap(), 1_200);
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    sleep(HOUR).await;
    put(&node, "clock", "tick").await;
    node.publish().await.unwrap();
    assert_eq!(node.checkpoint().await.unwrap().folded, 1);
    let cold = world.node().await;
    assert_eq!(read(&mut cold.begin().await.unwrap(), "k").await.unwrap(), value);
    assert!(cold.check().await.unwrap().is_clean());
}

#[tokio::test(start_paused = true)]
async fn what_goes_wrong_with_a_part_is_told() {
    let world = World::new();
    let node = node(&world).await;
    let value = bytes(35_000);
    put_stream(&node, "k", &value).await;
    let paths: Vec<_> = world.memory.paths().into_iter().filter(|path| path.starts_with("values/")).collect();
    assert_eq!(paths.len(), 4);
    let mut tx = node.begin().await.unwrap();
    for (fault, kind) in [
        (Fault::Corrupt(Corruption::Flip(77)), ErrorKind::Corrupt),
        (Fault::Before(Stored::NotFound), ErrorKind::VersionUnavailable),
    ] {
        world.storage.fail(Operation::Get, &paths[2], 1, fault);
        let mut parts = tx.get_stream("k").await.unwrap().unwrap();
        assert_eq!(parts.next().await.unwrap().unwrap(), value[..10_000]);
        assert_eq!(parts.next().await.unwrap().unwrap(), value[10_000..20_000]);
        let error = parts.next().await.unwrap().unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(&paths[2]), "{error}");
        assert!(parts.next().await.is_none(), "an error ends the stream");
        world.storage.clear_faults();
    }
    // A fault that passes is waited for.
    world.storage.fail(Operation::Get, &paths[1], 1, Fault::Before(Stored::Unavailable));
    assert_eq!(read(&mut tx, "k").await.unwrap(), value);
}

#[tokio::test(start_paused = true)]
async fn parts_are_kept_while_they_are_needed_and_collected_after() {
    let world = World::new();
    let node = node(&world).await;
    let (old, new) = (bytes(52_000), bytes(31_000));
    let values = || world.memory.paths().into_iter().filter(|path| path.starts_with("values/")).count();
    put_stream(&node, "k", &old).await;
    node.publish().await.unwrap();
    for round in 0..6 {
        if round == 3 {
            put_stream(&node, "k", &new).await;
        }
        sleep(HOUR).await;
        put(&node, "clock", "tick").await;
        node.publish().await.unwrap();
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
        let cold = self::node(&world).await;
        let expected = if round < 3 { &old } else { &new };
        assert_eq!(&read(&mut cold.begin().await.unwrap(), "k").await.unwrap(), expected, "round {round}");
        assert!(cold.check().await.unwrap().is_clean());
    }
    assert_eq!(values(), 4, "the parts of the old value are gone, the new one's are there");
}

#[tokio::test(start_paused = true)]
async fn streams_travel_replay_and_wait_for_their_claim() {
    let world = World::new();
    let (first, second) = (node(&world).await, node(&world).await);
    let value = bytes(25_000);
    let mut dead = first.begin_with(Begin::new().request("r")).await.unwrap();
    dead.replay().await.unwrap();
    drop(dead);
    // The claim of an earlier attempt brings another id: parts lie under that one.
    let mut tx = second.begin_with(Begin::new().request("r")).await.unwrap();
    tx.put_stream("k", chunks(&value)).await.unwrap();
    assert_eq!(read(&mut tx, "k").await.unwrap(), value);
    let token = tx.suspend().await.unwrap();
    assert!(token.to_bytes().len() < 2_000, "the value is in the store");
    let mut tx = first.resume(&token).await.unwrap();
    assert_eq!(read(&mut tx, "k").await.unwrap(), value);
    let commit = tx.commit().await.unwrap();
    let mut again = second.begin_with(Begin::new().request("r").after(&commit.receipt)).await.unwrap();
    again.put_stream("k", chunks(&bytes(40_000))).await.unwrap();
    let replayed = again.commit().await.unwrap();
    assert_eq!(replayed.receipt, commit.receipt);
    assert_eq!(read(&mut second.begin().await.unwrap(), "k").await.unwrap(), value);
}
