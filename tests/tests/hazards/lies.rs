//! Listings that lie for a while: nothing is lost, nothing is torn, and when they tell the truth again all is read.

use std::time::SystemTime;

use aft_core::{Aft, Clock, CommitOutcome, ErrorKind, Storage, Transaction};
use aft_memory::{Fault, Operation};
use aft_tests::{HidingStorage, World, get, put};
use tokio::time::sleep;

use crate::proof::{HOUR, an_hour_passes, hiding, read, under};
use crate::{secs, tell_the_time};

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

/// The same, and a checkpoint that it reads through meanwhile has a horizon between the date of what was hidden and the moment at which that counts as published:
/// that it has read through this one does not mean that it knew of the commit.
pub(crate) async fn what_lies_before_a_horizon_was_not_shown_for_that() {
    let world = World::new();
    let (writer, maker) = (world.node().await, world.node().await);
    let (storage, builder) = hiding(&world);
    let reader = builder.open().await.unwrap();
    write(&writer, &["j", "k", "l"], "1").await;
    sleep(secs(1_100)).await;
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1);
    write(&writer, &["o"], "1").await;
    sleep(secs(60)).await;
    writer.sweep().await.unwrap();
    sleep(secs(10)).await;
    reader.refresh().await.unwrap();
    storage.hide(&["feed/"]);
    write(&writer, &["k", "l"], "2").await;
    sleep(secs(700)).await;
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("l").await.unwrap().unwrap(), "1", "the listing hides what is newer");
    storage.hide(&[]);
    reader.refresh().await.unwrap();
    sleep(secs(331)).await;
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1, "its horizon lies between");
    // Finds it.
    reader.checkpoint().await.unwrap();
    assert!(reader.store_info().checkpoint >= 2);
    assert_eq!(tx.get("j").await.unwrap().unwrap(), "1");
    sleep(secs(10)).await;
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1);
    reader.checkpoint().await.unwrap();
    match tx.get("k").await {
        Ok(value) => assert_eq!(value.unwrap(), "1", "having read l at 1, it cannot read k at 2"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::VersionUnavailable),
    }
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

/// The feed object of a commit was read in time by one node, and is dated anew before another one sees it: for that one it is late, so it publishes the
/// commit again. Its next checkpoint has a horizon between the two dates, and folds the commit by the later one: not yet. The first node goes by the
/// earlier one, and must not take the commit for folded; `hidden`: it is not shown either that the commit was published again.
struct PublishedAgain {
    world: World,
    reader: Aft,
    /// What listings show the reader.
    shown: HidingStorage,
    /// The first feed object, and its first date.
    first: (String, SystemTime),
}

async fn published_again(hidden: bool) -> PublishedAgain {
    let world = World::new();
    let writer = world.node().await;
    write(&writer, &["k", "l"], "1").await;
    let ((storage, builder), (shown, second)) = (hiding(&world), hiding(&world));
    let maker = builder.open().await.unwrap();
    let reader = second.open().await.unwrap();
    sleep(secs(60)).await;
    storage.hide(&["feed/"]);
    write(&writer, &["k", "l"], "2").await;
    reader.refresh().await.unwrap();
    shown.hide(if hidden { &["feed/"] } else { &[] });
    sleep(secs(300)).await;
    let newest = under(&world, "feed/").pop().unwrap();
    let dated = world.memory.get(&newest).await.unwrap().last_modified;
    assert!(world.memory.redate(&newest, world.store_clock.now()));
    storage.hide(&[]);
    maker.refresh().await.unwrap();
    maker.sweep().await.unwrap();
    for _ in 0..8 {
        sleep(secs(100)).await;
        reader.refresh().await.unwrap();
    }
    // Folds what was published until a minute after the first date of the second commit.
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1);
    PublishedAgain { world, reader, shown, first: (newest, dated) }
}

async fn is_read_until_it_is_folded(hidden: bool) {
    let PublishedAgain { reader, shown, .. } = published_again(hidden).await;
    for _ in 0..2 {
        let _ = reader.checkpoint().await;
        for key in ["k", "l"] {
            assert_eq!(get(&reader, key).await.as_deref(), Some("2"), "what was committed is seen");
        }
        shown.hide(&[]);
    }
    assert!(reader.store_info().checkpoint > 0, "it builds on the newest in the end");
}

pub(crate) async fn what_was_published_again_is_read_until_it_is_folded() {
    is_read_until_it_is_folded(false).await;
}

pub(crate) async fn what_was_published_again_is_read_where_that_is_hidden() {
    is_read_until_it_is_folded(true).await;
}

/// 25: the first feed object, in which the values of that commit lie for the reader, is given its old date back.
pub(crate) async fn h25_the_home_of_what_a_checkpoint_left_out_stays() {
    let PublishedAgain { world, reader, first: (first, dated), .. } = published_again(false).await;
    assert!(world.memory.redate(&first, dated));
    for _ in 0..10 {
        sleep(secs(100)).await;
        reader.refresh().await.unwrap();
    }
    tell_the_time(&reader).await;
    let report = reader.collect_garbage(false).await.unwrap();
    assert!(world.memory.get(&first).await.is_ok(), "what the view needs stays: {report:?}");
    assert!(report.left_out.iter().any(|why| why.contains(&first)), "{report:?}");
}

/// A commit is carried by two feed objects, of its own node and of a sweep, and a checkpoint folds it by the first while the second lies beyond the
/// horizon: it is in the index, and nothing of it is needed any more.
pub(crate) async fn what_was_folded_by_its_first_date_leaves_the_view() {
    let world = World::new();
    let (writer, sweeper, reader) = (world.node().await, world.node().await, world.node().await);
    // Keeps the commit from being settled.
    let mut older = writer.begin().await.unwrap();
    older.put("older", "v").unwrap();
    put(&writer, "k", "v").await;
    // Finds the commit before its node publishes it.
    sweeper.sweep().await.unwrap();
    sleep(secs(300)).await;
    older.commit().await.unwrap();
    writer.publish().await.unwrap();
    for _ in 0..8 {
        sleep(secs(100)).await;
        reader.refresh().await.unwrap();
    }
    assert_eq!(sweeper.checkpoint().await.unwrap().folded, 1);
    let report = reader.checkpoint().await.unwrap();
    assert_eq!((report.number, report.folded), (2, 0), "what is folded is not folded again: {report:?}");
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"));
}

/// Two checkpoints, an hour apart, of which the second has settled; the decision that the first one folded.
async fn two_checkpoints(world: &World, maker: &Aft) -> String {
    let id = put(maker, "k", "1").await.txn_id().to_string();
    maker.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    assert!(maker.checkpoint().await.unwrap().made);
    put(maker, "l", "2").await;
    maker.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    assert!(maker.checkpoint().await.unwrap().made);
    an_hour_passes(maker).await;
    decision(world, &id).expect("it is not collected yet")
}

fn decision(world: &World, id: &str) -> Option<String> {
    under(world, "commits/").into_iter().find(|path| path.ends_with(id))
}

/// A collector says that it is not shown what it needs, and collects what was folded as soon as it is.
async fn collects_once_it_is_shown(world: &World, hidden: &str, folded: &String) {
    let (storage, builder) = hiding(world);
    let collector = builder.open().await.unwrap();
    storage.hide(&[hidden]);
    let collected = collector.collect_garbage(false).await;
    storage.hide(&[]);
    let report = collector.collect_garbage(false).await.unwrap();
    let left = under(world, "commits/");
    assert!(!left.contains(folded), "what was folded is collected: {report:?}");
    let error = collected.unwrap_err().to_string();
    assert!(error.contains("does not show"), "{error}");
}

/// The oldest checkpoint is not shown to a collector, and no gap tells of it: its list of garbage looks like nobody's.
pub(crate) async fn the_list_of_a_checkpoint_that_was_not_listed_is_not_nobodys() {
    let world = World::new();
    let maker = world.node().await;
    let folded = two_checkpoints(&world, &maker).await;
    collects_once_it_is_shown(&world, "checkpoints/000000000001.json", &folded).await;
}

/// A checkpoint was dated anew, and the listing does not show its seal, to a collector: without it the checkpoint looks void, and its list of
/// garbage like nobody's.
pub(crate) async fn a_checkpoint_whose_seal_was_not_listed_is_not_void() {
    let world = World::new();
    let maker = world.node().await;
    let folded = two_checkpoints(&world, &maker).await;
    let now = world.store_clock.now();
    assert!(world.memory.redate("checkpoints/000000000001.json", now));
    let (storage, builder) = hiding(&world);
    storage.hide(&["checkpoints/000000000001.sealed"]);
    let collector = builder.open().await.unwrap();
    let report = collector.collect_garbage(false).await.unwrap();
    let left = under(&world, "commits/");
    assert!(!left.contains(&folded), "what was folded is collected: {report:?}");
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("1"));
}

/// The lists of garbage are not shown while the checkpoints are that name them: were these to go, the lists would be nobody's.
pub(crate) async fn a_checkpoint_stays_until_its_list_of_garbage_was_worked_off() {
    let world = World::new();
    let maker = world.node().await;
    let folded = two_checkpoints(&world, &maker).await;
    collects_once_it_is_shown(&world, "garbage/", &folded).await;
}

/// A list of garbage is lost, with the checkpoint that named it. What it named is proven by the index to be folded.
pub(crate) async fn what_is_folded_goes_although_no_list_names_it() {
    let world = World::new();
    let maker = world.node().await;
    let folded = two_checkpoints(&world, &maker).await;
    world.memory.delete(&under(&world, "garbage/")).await.unwrap();
    sleep(secs(26 * HOUR)).await;
    an_hour_passes(&maker).await;
    let report = maker.collect_garbage(false).await.unwrap();
    let left = under(&world, "commits/");
    assert!(!left.contains(&folded), "what was folded is collected: {report:?}");
    assert!(report.left_out.is_empty(), "{report:?}");
    let again = maker.collect_garbage(true).await.unwrap();
    assert_eq!(again.objects(), 0, "and nothing is left: {again:?}");
    let cold = world.node().await;
    assert_eq!(get(&cold, "k").await.as_deref(), Some("1"));
    assert_eq!(get(&cold, "l").await.as_deref(), Some("2"));
}

/// The listing of the checkpoints is on its way to a collection when the same node makes one: that one cannot be in it.
pub(crate) async fn a_listing_need_not_show_a_checkpoint_that_is_made_meanwhile() {
    let world = World::new();
    let node = world.node().await;
    two_checkpoints(&world, &node).await;
    // The first is the refresh's.
    let held = world.storage.fail(Operation::List, "checkpoints/", 2, Fault::Late);
    let collecting = tokio::spawn({
        let node = node.clone();
        async move { node.collect_garbage(false).await }
    });
    held.reached().await;
    assert!(node.checkpoint().await.unwrap().made);
    held.release().await.unwrap();
    let collected = collecting.await.unwrap();
    let report = collected.expect("a collection is not stopped by its own node's checkpoint");
    assert_eq!(report.settled_checkpoint, Some(2), "it judges by what it was shown");
}

/// The feed and the newest checkpoint are hidden from a collector. While it works, another one collects what that checkpoint folded: the
/// decision of a value that only its rows name.
pub(crate) async fn a_value_is_no_orphan_by_a_checkpoint_that_is_gone() {
    let world = World::new();
    let maker = world.node().await;
    let large = "x".repeat(20_000);
    for n in 0..20 {
        put(&maker, &format!("old{n:02}"), &large).await;
    }
    maker.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    assert!(maker.checkpoint().await.unwrap().made);
    let (storage, builder) = hiding(&world);
    let collector = builder.open().await.unwrap();
    storage.hide(&["feed/", "checkpoints/000000000002"]);
    put(&maker, "k", &large).await;
    maker.publish().await.unwrap();
    sleep(secs(HOUR)).await;
    assert_eq!(maker.checkpoint().await.unwrap().runs, 2, "the file of the first one stays");
    an_hour_passes(&maker).await;
    collector.cancel(collector.new_txn_id()).await.unwrap();
    let held = world.storage.fail(Operation::Get, "checkpoints/000000000001.json", 1, Fault::Late);
    let collecting = tokio::spawn(async move { collector.collect_garbage(false).await });
    held.reached().await;
    maker.collect_garbage(false).await.unwrap();
    held.release().await.unwrap();
    let report = collecting.await.unwrap().unwrap();
    let alive = read(&world.node().await, "k").await;
    assert_eq!(alive, Some(20_000), "a live value is no orphan: {report:?}");
    assert!(report.left_out.iter().any(|why| why.contains("builds on is gone")), "{report:?}");
}

/// A token of a transaction that began while the feed was hidden, and has committed meanwhile by another attempt: all that is left for the token is to be told so. What it has read is
/// not to be had here, and must not be read anew.
pub(crate) async fn a_token_that_can_only_be_told_its_outcome_reads_nothing() {
    let (_world, writer, reader, mut tx) = began_while_the_feed_was_hidden().await;
    tx.put("m", "v").unwrap();
    let token = tx.suspend().await.unwrap();
    let receipt = reader.resume(&token).await.unwrap().commit().await.unwrap().receipt;
    let tx = writer.resume(&token).await.unwrap();
    match tx.get("k").await {
        Ok(value) => assert_eq!(value.unwrap(), "1", "what was read once is read again"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Expired, "{error}"),
    }
    let told = tx.commit().await.unwrap();
    assert_eq!((told.outcome, told.receipt.version()), (CommitOutcome::Replayed, receipt.version()));
}

/// Listings of the feed come empty for a while, and then lack one object for a moment more, while all the others are caught up on. The writer, which knows it, has swept
/// since.
async fn catching_up() -> (World, HidingStorage, Aft) {
    let world = World::new();
    let writer = world.node().await;
    let (storage, builder) = hiding(&world);
    let behind = builder.open().await.unwrap();
    sleep(secs(60)).await;
    write(&writer, &["o"], "v").await;
    behind.refresh().await.unwrap();
    storage.hide(&["feed/"]);
    write(&writer, &["k"], "v").await;
    let newest = under(&world, "feed/").pop().unwrap();
    for n in 0..12 {
        if n == 11 {
            // The window of the sweeps after it begins later than that commit.
            writer.sweep().await.unwrap();
        }
        sleep(secs(100)).await;
        write(&writer, &["o"], &n.to_string()).await;
        let _ = behind.refresh().await;
    }
    // Long after the last refresh that noticed the lie.
    sleep(secs(50)).await;
    storage.hide(&[&newest]);
    for _ in 0..3 {
        behind.refresh().await.unwrap();
        sleep(secs(1)).await;
    }
    (world, storage, behind)
}

pub(crate) async fn what_was_lacking_while_a_node_caught_up_is_listed_again() {
    let (_world, storage, behind) = catching_up().await;
    storage.hide(&[]);
    behind.refresh().await.unwrap();
    assert_eq!(get(&behind, "k").await.as_deref(), Some("v"), "what was committed is seen");
}

pub(crate) async fn a_checkpoint_of_who_has_just_caught_up_loses_nothing() {
    let (world, _storage, behind) = catching_up().await;
    behind.sweep().await.unwrap();
    sleep(secs(1_100)).await;
    tell_the_time(&behind).await;
    behind.checkpoint().await.unwrap();
    for node in [&behind, &world.node().await] {
        assert_eq!(get(node, "k").await.as_deref(), Some("v"), "what was committed is there");
    }
}

/// Somebody dates a young feed object anew, by so little that it still counts, after one node has read it and before another does. A horizon lies between the
/// two dates: whether the commit is folded both must judge alike.
pub(crate) async fn a_changed_date_publishes_nothing_later() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    write(&writer, &["k"], "v").await;
    reader.refresh().await.unwrap();
    sleep(secs(6)).await;
    let newest = under(&world, "feed/").pop().unwrap();
    assert!(world.memory.redate(&newest, world.store_clock.now()));
    let maker = world.node().await;
    for _ in 0..10 {
        sleep(secs(100)).await;
        reader.refresh().await.unwrap();
        maker.refresh().await.unwrap();
    }
    sleep(secs(23)).await;
    assert_eq!(maker.checkpoint().await.unwrap().folded, 0, "the horizon lies before the second date");
    for _ in 0..2 {
        sleep(secs(70)).await;
        reader.refresh().await.unwrap();
        assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "what was committed is seen");
        let _ = reader.checkpoint().await;
    }
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"), "what was committed is there");
}

/// Listings never show a node one of its own feed objects, which others have read. When that was dated this node does not know; so it publishes the commit
/// again, before it makes a checkpoint that lacks it.
pub(crate) async fn what_listings_never_showed_is_published_again() {
    let world = World::new();
    let (storage, builder) = hiding(&world);
    let writer = builder.open().await.unwrap();
    let (reader, other) = (world.node().await, world.node().await);
    write(&writer, &["k"], "v").await;
    reader.refresh().await.unwrap();
    let newest = under(&world, "feed/").pop().unwrap();
    storage.hide(&[&newest]);
    for n in 0..12 {
        sleep(secs(100)).await;
        write(&other, &["o"], &n.to_string()).await;
        writer.refresh().await.unwrap();
        reader.refresh().await.unwrap();
    }
    writer.checkpoint().await.unwrap();
    reader.checkpoint().await.unwrap();
    for node in [&reader, &world.node().await] {
        assert_eq!(get(node, "k").await.as_deref(), Some("v"), "what was committed is seen");
    }
}
