//! The read protocol, through nodes: what arrives between two reads cannot tear them.

use aft_core::{Aft, Begin, ErrorKind};
use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::secs;

/// Commits these writes and publishes them; an empty value deletes.
async fn publish(writer: &Aft, writes: &[(&str, &str)]) {
    let mut tx = writer.begin().await.unwrap();
    for (key, value) in writes {
        if value.is_empty() { tx.delete(key).unwrap() } else { tx.put(key, value.to_string()).unwrap() }
    }
    tx.commit().await.unwrap();
    writer.publish().await.unwrap();
}

/// 3, for receipts: what they name is read by id, also where no feed carries it, or carries only its id.
pub(crate) async fn h03_a_receipt_of_an_unpublished_or_pruned_commit_is_honoured() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let unpublished = put(&writer, "k", "1").await;
    let mut tx = reader.begin_with(Begin::new().after(&unpublished)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().as_deref(), Some(&b"1"[..]), "the receipt's commit is seen");

    let pruned = put(&writer, "k", "2").await;
    put(&writer, "k", "3").await;
    writer.publish().await.unwrap();
    for refreshed in [false, true] {
        if refreshed {
            reader.refresh().await.unwrap();
        }
        let mut tx = reader.begin_with(Begin::new().after(&pruned)).await.unwrap();
        let value = tx.get("k").await.unwrap();
        assert_eq!(value.as_deref(), Some(if refreshed { &b"3"[..] } else { b"2" }));
    }
}

/// 17: A scanned key with a tombstone recorded as version 0: whatever an older commit of that key wrote beside it would seem to
/// tear it, and be passed over.
pub(crate) async fn h17_a_scanned_tombstone_is_a_version() {
    let world = World::new();
    let node = world.node().await;
    publish(&node, &[("k", "1"), ("l", "1")]).await;
    publish(&node, &[("k", "")]).await;
    let mut tx = node.begin().await.unwrap();
    assert!(tx.scan("k".."kz").await.unwrap().is_empty());
    assert_eq!(tx.get("l").await.unwrap().as_deref(), Some(&b"1"[..]), "k was read at its tombstone");
}

/// 22: Read k absent, then T{k, l} commits, then read l.
pub(crate) async fn h22_what_was_read_absent_stays_absent_for_a_later_commit() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let mut tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap(), None);
    publish(&writer, &[("k", "1"), ("l", "1")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "l").await.as_deref(), Some("1"));
    assert_eq!(tx.get("l").await.unwrap(), None, "k was read absent");
}

/// 22, where k was in a scanned range.
pub(crate) async fn h22_what_was_scanned_absent_stays_absent_for_a_later_commit() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let mut tx = reader.begin().await.unwrap();
    assert!(tx.scan("j".."kz").await.unwrap().is_empty());
    publish(&writer, &[("k", "1"), ("l", "1")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "l").await.as_deref(), Some("1"));
    assert_eq!(tx.get("l").await.unwrap(), None, "k was scanned absent");
}

/// 22: Read k@1, put k, T2{k, l} commits: k is the own write, l must not be @2.
pub(crate) async fn h22_an_own_write_does_not_undo_the_read_before_it() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    publish(&writer, &[("k", "1"), ("l", "1")]).await;
    reader.refresh().await.unwrap();
    let mut tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    tx.put("k", "mine").unwrap();
    publish(&writer, &[("k", "2"), ("l", "2")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "mine", "k is the own write");
    assert_eq!(tx.get("l").await.unwrap().unwrap(), "1", "k was read at the first commit");
}

/// 22: Read k@30 (cowritten l@30) and m@20, T40{m, l} commits, an older l is cached: l must be @30.
pub(crate) async fn h22_a_floor_holds_where_the_newest_version_may_not_be_read() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    publish(&writer, &[("l", "10")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "l").await.as_deref(), Some("10"), "now cached");
    publish(&writer, &[("m", "20")]).await;
    publish(&writer, &[("k", "30"), ("l", "30")]).await;
    reader.refresh().await.unwrap();
    let mut tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "30");
    assert_eq!(tx.get("m").await.unwrap().unwrap(), "20");
    publish(&writer, &[("m", "40"), ("l", "40")]).await;
    reader.refresh().await.unwrap();
    let l = tx.get("l").await.unwrap().unwrap();
    assert_ne!(l, "40", "m was read at 20");
    assert_eq!(l, "30", "k was read at 30, and so must l be");
}

/// 3, for receipts of those who only read: x, then y, neither of them published. Whoever read both passes both on, and not y alone.
pub(crate) async fn h03_the_receipt_of_a_reader_names_all_that_others_may_not_know() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    put(&writer, "x", "1").await;
    let y = put(&writer, "y", "1").await;
    let mut tx = writer.begin().await.unwrap();
    for key in ["x", "y"] {
        assert_eq!(tx.get(key).await.unwrap().unwrap(), "1");
    }
    let receipt = tx.commit().await.unwrap().receipt;
    assert_eq!(receipt.version(), y.version());
    let receipt = receipt.to_string().parse().unwrap();
    let mut tx = reader.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(tx.get("y").await.unwrap().unwrap(), "1");
    assert_eq!(
        tx.get("x").await.unwrap().as_deref(),
        Some(&b"1"[..]),
        "whoever begins after it sees at least as much"
    );
}

/// A receipt of another store, young or so old that its commit would be forgotten here.
pub(crate) async fn a_receipt_of_another_store_is_refused_whatever_its_age() {
    let (world, elsewhere) = (World::new(), World::new());
    let node = world.node().await;
    // Another seed: another store's id.
    let other = elsewhere.builder().rng_seed(77).open().await.unwrap();
    let foreign = put(&other, "k", "v").await;
    for young in [true, false] {
        let begun = node.begin_with(Begin::new().after(&foreign)).await;
        let refused = begun.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::InvalidInput), "a foreign receipt is refused, young: {young}");
        sleep(secs(3_600)).await;
        put(&node, "other", "v").await;
        node.publish().await.unwrap();
        node.refresh().await.unwrap();
    }
}
