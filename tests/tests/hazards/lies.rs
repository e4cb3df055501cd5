//! Listings that lie for a while: nothing is lost, nothing is torn, and when they tell the truth again all is read.

use aft_core::{Aft, ErrorKind, Transaction};
use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::proof::{HOUR, an_hour_passes, hiding, under};
use crate::secs;

/// The listings of the feed come empty for five minutes, in which the node learns by its own decisions how late it is. Were its cursor to
/// follow, it would never look again where the commit of another node lies.
pub(crate) async fn what_listings_of_the_feed_hid_is_read_once_they_show_it() {
    let world = World::new();
    let writer = world.node().await;
    let (storage, builder) = hiding(&world);
    let reader = builder.open().await.unwrap();
    storage.hide(&["feed/"]);
    put(&writer, "k", "v").await;
    writer.publish().await.unwrap();
    for _ in 0..10 {
        sleep(secs(30)).await;
        put(&reader, "own", "v").await;
    }
    storage.hide(&[]);
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a published commit is seen");
}

/// All listings come empty, to a node that knows of no commit, while another one publishes. An hour later it learns by a get what time it
/// is, and makes a checkpoint. Neither may that claim to have folded what it was never shown, nor its sweep to have looked.
pub(crate) async fn a_checkpoint_of_who_was_shown_nothing_claims_nothing() {
    let world = World::new();
    let writer = world.node().await;
    let (storage, builder) = hiding(&world);
    let maker = builder.open().await.unwrap();
    storage.hide(&["commits/", "feed/", "checkpoints/"]);
    put(&writer, "k", "v").await;
    writer.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    maker.cancel(maker.new_txn_id()).await.unwrap();
    assert!(maker.checkpoint().await.unwrap().made);
    storage.hide(&[]);
    let cold = world.node().await;
    assert_eq!(get(&cold, "k").await.as_deref(), Some("v"), "a published commit is seen");
}

/// The listings of decisions come empty, to a sweeper that commits all the while: so it knows that they lie. A node died before it
/// published; were the sweeps to claim that they looked, no other sweep would look there.
pub(crate) async fn a_sweep_that_is_not_shown_what_it_knows_claims_nothing() {
    let world = World::new();
    let (storage, builder) = hiding(&world);
    let sweeper = builder.open().await.unwrap();
    let dead = world.node().await;
    put(&dead, "k", "v").await;
    drop(dead);
    storage.hide(&["commits/"]);
    let mut refused = 0;
    for _ in 0..6 {
        sleep(secs(HOUR / 6)).await;
        put(&sweeper, "own", "v").await;
        sweeper.publish().await.unwrap();
        sweeper.refresh().await.unwrap();
        match sweeper.sweep().await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains("does not show"), "{error}");
                refused += 1;
            }
        }
    }
    storage.hide(&[]);
    let other = world.node().await;
    other.sweep().await.unwrap();
    let found = get(&other, "k").await;
    assert_eq!(found.as_deref(), Some("v"), "a committed transaction is found by the next sweep");
    assert_eq!(refused, 6, "each sweep says why it claims nothing");
}

/// A node slept for longer than the feed is kept, and is shown no checkpoint when it wakes: without one the store looks empty.
pub(crate) async fn a_node_that_slept_does_not_believe_that_its_checkpoint_is_gone() {
    let world = World::new();
    let maker = world.node().await;
    put(&maker, "k", "v").await;
    maker.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    assert!(maker.checkpoint().await.unwrap().made);
    an_hour_passes(&maker).await;
    maker.collect_garbage(false).await.unwrap();
    let (storage, builder) = hiding(&world);
    let reader = builder.open().await.unwrap();
    sleep(secs(HOUR)).await;
    storage.hide(&["checkpoints/"]);
    match reader.begin().await {
        Ok(tx) => assert!(tx.get("k").await.unwrap().is_some(), "what was committed is there"),
        Err(error) => assert!(error.to_string().contains("does not show"), "{error}"),
    }
    storage.hide(&[]);
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "what was committed is there");
}

/// The listing of the checkpoints lacks one, to a collector: through it transactions read that run, and a newer one is too young to take its
/// place.
pub(crate) async fn what_a_checkpoint_needs_that_was_not_listed_stays() {
    let world = World::new();
    let maker = world.node().await;
    for value in ["1", "2"] {
        put(&maker, "k", value).await;
        maker.publish().await.unwrap();
        sleep(secs(HOUR)).await;
        assert!(maker.checkpoint().await.unwrap().made);
    }
    let (storage, builder) = hiding(&world);
    let collector = builder.open().await.unwrap();
    let needed = [under(&world, "index/"), under(&world, "recent/")].concat();
    storage.hide(&["checkpoints/000000000001"]);
    let collected = collector.collect_garbage(false).await;
    let left = world.memory.paths();
    assert!(needed.iter().all(|path| left.contains(path)), "what a checkpoint needs is there");
    let error = collected.unwrap_err().to_string();
    assert!(error.contains("does not show"), "{error}");
}

/// A commit of two keys is hidden from a node for longer than it takes until everybody must know it. A transaction begins there, and the first
/// checkpoint that folds the commit comes while it is alive.
async fn began_while_the_feed_was_hidden() -> (World, Aft, Aft, Transaction) {
    let world = World::new();
    let writer = world.node().await;
    write(&writer, &["k", "l"], "1").await;
    let (storage, builder) = hiding(&world);
    let reader = builder.open().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("1"));
    storage.hide(&["feed/"]);
    write(&writer, &["k", "l"], "2").await;
    sleep(secs(300)).await;
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1", "the listing hides what is newer");
    sleep(secs(800)).await;
    assert_eq!(writer.checkpoint().await.unwrap().folded, 2, "both commits are old enough");
    storage.hide(&[]);
    (world, writer, reader, tx)
}

async fn write(node: &Aft, keys: &[&str], value: &str) {
    let mut tx = node.begin().await.unwrap();
    for key in keys {
        tx.put(*key, value.to_owned()).unwrap();
    }
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
}

/// What the node then finds of the commit is a row for each key, and none of them says that the other was written with it.
pub(crate) async fn what_was_hidden_at_the_begin_is_not_read_as_rows() {
    let (_world, _writer, reader, tx) = began_while_the_feed_was_hidden().await;
    // Finds the other one's.
    reader.checkpoint().await.unwrap();
    match tx.get("l").await {
        Ok(value) => assert_eq!(value.unwrap(), "1", "having read k at 1, it cannot read l at 2"),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::VersionUnavailable);
            assert!(error.to_string().contains("listings had not shown"), "{error}");
        }
    }
    drop(tx);
    assert_eq!(get(&reader, "l").await.as_deref(), Some("2"), "a new one reads what is there");
}

/// The same, where the transaction goes on elsewhere.
pub(crate) async fn what_was_hidden_at_the_begin_is_not_read_as_rows_elsewhere() {
    let (_world, writer, _reader, tx) = began_while_the_feed_was_hidden().await;
    let token = tx.suspend().await.unwrap();
    match writer.resume(&token).await {
        Ok(tx) => {
            let value = tx.get("l").await.unwrap().unwrap();
            assert_eq!(value, "1", "having read k at 1, it cannot read l at 2");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Expired, "{error}"),
    }
}
