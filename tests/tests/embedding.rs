//! What programs that embed aft lean on: entries without values, values as JSON, reads side by side.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Config, Entry, ErrorKind, KeyRange, Version};
use aft_memory::Counts;
use aft_tests::World;
use bytes::Bytes;
use futures::TryStreamExt;

/// The requests since the last call.
fn spent(world: &World) -> Counts {
    let counts = world.storage.counts();
    world.storage.reset();
    counts
}

fn plain(entries: &[Entry]) -> Vec<(&[u8], Option<Version>, u64)> {
    entries.iter().map(|entry| (&entry.key[..], entry.version, entry.len)).collect()
}

/// Values of all kinds, in the view and in the index: small, long, empty, streamed and longer than may be read in one piece, deleted.
#[tokio::test(start_paused = true)]
async fn entries_tell_length_and_version_and_cost_what_keys_cost() {
    let world = World::new();
    let config = Config { max_value_bytes: 1 << 20, stream_part_bytes: 1 << 20, ..World::config() };
    let writer = world.builder().config(config.clone()).open().await.unwrap();
    let mut ids = BTreeMap::new();
    for (round, suffix) in ["old", "young"].into_iter().enumerate() {
        let mut tx = writer.begin().await.unwrap();
        tx.put(format!("empty/{suffix}"), "").unwrap();
        tx.put(format!("gone/{suffix}"), "here").unwrap();
        tx.put(format!("long/{suffix}"), vec![1; 100_000]).unwrap();
        tx.put(format!("small/{suffix}"), "12345").unwrap();
        let chunk = Ok::<_, std::io::Error>(Bytes::from(vec![7; 3 << 20]));
        tx.put_stream(format!("huge/{suffix}"), futures::stream::iter([chunk])).await.unwrap();
        ids.insert(suffix, tx.id());
        tx.commit().await.unwrap();
        let mut tx = writer.begin().await.unwrap();
        tx.delete(format!("gone/{suffix}")).unwrap();
        tx.commit().await.unwrap();
        writer.publish().await.unwrap();
        if round == 0 {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert!(writer.checkpoint().await.unwrap().made);
        }
    }

    // Two nodes that know nothing yet: the one lists keys, the other entries.
    let cold = || async { world.builder().config(config.clone()).open().await.unwrap() };
    let (keys_node, entries_node) = (cold().await, cold().await);
    let (keys_tx, entries_tx) = (keys_node.begin().await.unwrap(), entries_node.begin().await.unwrap());
    spent(&world);
    let keys = keys_tx.scan_keys(..).await.unwrap();
    let for_keys = spent(&world);
    let entries = entries_tx.scan_entries(..).await.unwrap();
    let for_entries = spent(&world);
    assert_eq!(for_entries, for_keys);
    assert!(for_entries.gets == 0 && for_entries.range_gets > 0, "the index was asked, and no value");
    assert_eq!(entries.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>(), keys);

    let lens: Vec<_> = entries.iter().map(|entry| entry.len).collect();
    assert_eq!(lens, [0, 0, 3 << 20, 3 << 20, 100_000, 100_000, 5, 5]);
    for entry in &entries {
        let suffix = if entry.key.ends_with(b"/old") { "old" } else { "young" };
        let version = entry.version.unwrap();
        assert_eq!(version.txn_id(), ids[suffix]);
        let written = entry.written().unwrap();
        assert_eq!(written, UNIX_EPOCH + Duration::from_millis(version.clock_ms()));
    }
    let read: BTreeMap<Vec<u8>, _> =
        entries_tx.reads().map(|(key, version)| (key.to_vec(), version)).collect();
    assert!(entries.iter().all(|entry| read[&entry.key[..]] == entry.version), "what is told was read");
    assert!(entries[1].version > entries[0].version && entries[1].written() > entries[0].written());

    // The whole range does not fit in memory: a page at a time, and the same.
    let tx = entries_node.begin().await.unwrap();
    let mut paged = Vec::new();
    let mut pages = tx.scan_pages(.., 3);
    while let Some(page) = pages.next_entries().await.unwrap() {
        assert!(page.len() <= 3);
        paged.extend(page);
    }
    assert_eq!(paged, entries);
    let streamed: Vec<_> = tx.scan_entries_stream(..).try_collect().await.unwrap();
    assert_eq!(streamed, entries);
    let some = tx.scan_prefix_entries("long/").await.unwrap();
    assert_eq!(plain(&some), plain(&entries[4..6]));
    assert_eq!(
        tx.scan(..).await.unwrap_err().kind(),
        ErrorKind::InvalidInput,
        "values too long for one piece"
    );
}

#[tokio::test(start_paused = true)]
async fn own_writes_are_entries_without_a_version_also_after_a_journey() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    for key in ["a", "b", "c"] {
        tx.put(key, "committed").unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    tx.put("b", "mine").unwrap();
    tx.put("b2", vec![0; 100_000]).unwrap();
    tx.delete("c").unwrap();
    let token = tx.suspend().await.unwrap();
    let tx = world.node().await.resume(&token).await.unwrap();
    let entries = tx.scan_entries(..).await.unwrap();
    let known: Vec<_> = entries.iter().map(|it| (&it.key[..], it.version.is_some(), it.len)).collect();
    // What nobody published is no part of what the other node knows.
    assert_eq!(known, [(&b"b"[..], false, 4), (b"b2", false, 100_000)]);
    assert!(entries.iter().all(|entry| entry.written().is_none()));
    let mut tx = node.resume(&token).await.unwrap();
    tx.delete("b2").unwrap();
    let entries = tx.scan_entries(..).await.unwrap();
    let known: Vec<_> = entries.iter().map(|it| (&it.key[..], it.version.is_some(), it.len)).collect();
    assert_eq!(known, [(&b"a"[..], true, 9), (b"b", false, 4)]);
}

/// I4: the range was read, as by any other scan, so that a key which comes later stays absent.
#[tokio::test(start_paused = true)]
async fn entries_are_one_atomic_read() {
    let world = World::new();
    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    assert!(tx.scan_entries(KeyRange::prefix("k")).await.unwrap().is_empty());
    let mut other = node.begin().await.unwrap();
    other.put("k", "1").unwrap();
    other.put("l", "1").unwrap();
    other.commit().await.unwrap();
    assert_eq!(tx.get("l").await.unwrap(), None, "k was listed absent");
}

#[tokio::test(start_paused = true)]
async fn two_reads_of_one_transaction_run_side_by_side() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put("a", "1").unwrap();
    tx.put("b", "2").unwrap();
    tx.commit().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    let (a, b) = tokio::join!(tx.get("a"), tx.get("b"));
    assert_eq!((a.unwrap().unwrap(), b.unwrap().unwrap()), (Bytes::from("1"), Bytes::from("2")));
    let (a, range, scan) = tokio::join!(tx.get_stream("a"), tx.get_range("b", 0..1), tx.scan_keys(..));
    assert_eq!((a.unwrap().unwrap().len(), range.unwrap().unwrap().len(), scan.unwrap().len()), (1, 1, 2));
    // What was lent of the reads holds while more is read.
    let before: Vec<_> = tx.reads().collect();
    assert_eq!(tx.get("c").await.unwrap(), None);
    assert_eq!((before.len(), before[0].0, tx.reads().count()), (2, &b"a"[..], 3));
    tx.put("c", "3").unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_no_json_is_told_with_its_key_and_changes_nothing() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put_json("numbers", &[1, 2, 3]).unwrap();
    tx.put("text\n", "{").unwrap();
    assert_eq!(tx.get("numbers").await.unwrap().unwrap(), "[1,2,3]");
    assert_eq!(tx.get_json::<Vec<u8>>("numbers").await.unwrap(), Some(vec![1, 2, 3]));
    assert_eq!(tx.get_json::<String>("absent").await.unwrap(), None);

    let unsaid = tx.put_json("map", &BTreeMap::from([((1, 2), 3)])).unwrap_err();
    assert_eq!((unsaid.kind(), unsaid.txn_id()), (ErrorKind::InvalidInput, Some(tx.id())));
    assert!(unsaid.to_string().contains("\"map\"") && unsaid.source().is_some(), "{unsaid}");
    assert_eq!(tx.get("map").await.unwrap(), None);

    let other = tx.get_json::<Vec<String>>("numbers").await.unwrap_err();
    assert!(other.kind() == ErrorKind::InvalidInput && other.to_string().contains("\"numbers\""), "{other}");
    let cause = other.source().unwrap();
    assert!(cause.to_string().contains("Vec<alloc::string::String>"), "{cause}");
    assert!(cause.source().unwrap().to_string().contains("integer `1`"));
    let damaged = tx.get_json::<u8>("text\n").await.unwrap_err();
    assert!(damaged.to_string().contains("\"text\\n\""), "{damaged}");
    tx.commit().await.unwrap();
}
