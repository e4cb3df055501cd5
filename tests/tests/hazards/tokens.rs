//! Tokens.

use aft_core::{CommitOutcome, ErrorKind, Storage, Token};
use aft_memory::Corruption;
use aft_tests::{get, write};

use super::*;

async fn commit_both(node: &Aft, value: &'static str) {
    let mut tx = node.begin().await.unwrap();
    tx.put("a", value).unwrap();
    tx.put("b", value).unwrap();
    tx.commit().await.unwrap();
}

/// HAZARDS 3: a token that read a commit which its next node does not know, unpublished or pruned, is not torn there.
pub async fn h03_a_token_carries_what_it_read_to_a_node_that_does_not_know_it() {
    for pruned in [false, true] {
        let world = World::new();
        let (writer, second) = (world.node().await, world.node().await);
        commit_both(&writer, "old").await;
        writer.publish().await.unwrap();
        second.refresh().await.unwrap();
        commit_both(&writer, "new").await;
        let tx = writer.begin().await.unwrap();
        assert_eq!(tx.get("a").await.unwrap().unwrap(), "new");
        let token = tx.suspend().await.unwrap();
        if pruned {
            // Overwritten in the same batch: the feed carries its id alone.
            commit_both(&writer, "newer").await;
            writer.publish().await.unwrap();
        }
        let tx = second.resume(&token).await.unwrap();
        assert_eq!(tx.get("b").await.unwrap().as_deref(), Some(&b"new"[..]), "a token is not torn");
        assert_eq!(tx.get("a").await.unwrap().as_deref(), Some(&b"new"[..]), "a token is not torn");
    }
}

/// A token that two functions resume: each is an attempt of its own, with values of its own.
pub async fn a_token_resumed_twice_commits_once() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    let token = first.begin().await.unwrap().suspend().await.unwrap();
    let (mut one, mut two) = (first.resume(&token).await.unwrap(), second.resume(&token).await.unwrap());
    one.put("k", vec![1; 50_000]).unwrap();
    two.put("k", vec![2; 50_000]).unwrap();
    let (one, two) = (one.commit().await.unwrap(), two.commit().await.unwrap());
    assert_eq!(
        (one.outcome, two.outcome),
        (CommitOutcome::Fresh, CommitOutcome::Replayed),
        "one of them commits, and both know which"
    );
}

/// 12 and 14, for a transaction that travels: it is resumed where the clock is minutes behind. There it looks young, while elsewhere what
/// it must not see is folded, together with what would tell that it must not.
pub async fn h12_a_token_is_as_old_as_the_store_says() {
    let world = World::new();
    let writer = world.node().await;
    let (late, clock) = node_with_clock(&world).await;
    write(&writer, &[("k", Some("1")), ("l", Some("1"))]).await;
    writer.publish().await.unwrap();
    let tx = writer.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    let token = tx.suspend().await.unwrap();
    write(&writer, &[("k", Some("2")), ("l", Some("2"))]).await;
    writer.publish().await.unwrap();

    clock.set_skew_ms(-800_000);
    sleep(secs(800)).await;
    let tx = late.resume(&token).await.expect("it is young enough to be read on");
    sleep(secs(700)).await;
    tell_the_time(&writer).await;
    assert_eq!(writer.checkpoint().await.unwrap().folded, 2);
    late.refresh().await.unwrap();
    let read = tx.get("l").await.map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::ClockSkew), "having read k at 1, it cannot read l at 2");
}

/// 12 and 14 once more: it began where the clock is an hour ahead, and waits in a queue until every right clock takes it for young.
pub async fn h12_a_token_of_a_clock_that_is_ahead_reads_nothing_torn() {
    let world = World::new();
    let writer = world.node().await;
    let (fast, clock) = node_with_clock(&world).await;
    clock.set_skew_ms(3_600_000);
    write(&writer, &[("k", Some("1")), ("l", Some("1"))]).await;
    writer.publish().await.unwrap();
    fast.refresh().await.unwrap();
    let tx = fast.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    let token = tx.suspend().await.unwrap();
    write(&writer, &[("k", Some("2")), ("l", Some("2"))]).await;
    writer.publish().await.unwrap();

    sleep(secs(3_600)).await;
    tell_the_time(&writer).await;
    assert_eq!(writer.checkpoint().await.unwrap().folded, 2);
    let right = world.node().await;
    let read = async {
        let tx = right.resume(&token).await?;
        tx.get("l").await
    };
    let read = read.await.map_err(|error| error.kind());
    assert_eq!(read, Err(ErrorKind::Expired), "having read k at 1, it cannot read l at 2");
}

/// A node that has purged the deletion of y from its index, which x = 1 was committed with, and one that still builds on an older
/// checkpoint, or none. `older`: there is an x = 0 before it.
async fn a_purged_deletion(world: &World, older: bool) -> (Aft, Aft) {
    let (maker, behind) = (world.node().await, world.node().await);
    if older {
        write(&maker, &[("x", Some("0"))]).await;
        maker.publish().await.unwrap();
        maker.checkpoint().await.unwrap();
        behind.refresh().await.unwrap();
    }
    write(&maker, &[("x", Some("1")), ("y", None)]).await;
    maker.publish().await.unwrap();
    sleep(secs(25 * 60)).await;
    tell_the_time(&maker).await;
    assert_eq!(get(&behind, "x").await.as_deref(), Some("1"));
    assert_eq!(maker.checkpoint().await.unwrap().tombstones_purged, 1);
    (maker, behind)
}

async fn reads_over_it(tx: &mut Transaction, scanned: bool) {
    if scanned {
        assert_eq!(tx.scan_prefix("y").await.unwrap(), []);
    } else {
        assert_eq!(tx.get("y").await.unwrap(), None);
    }
}

const WAYS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// 23: what a transaction finds absent because its deletion left the index, it has read at no version. Where the deletion is still known as
/// part of a whole commit, that rules out everything else that the commit wrote.
pub async fn h23_a_token_that_read_over_a_purged_deletion_loses_nothing() {
    for (scanned, older) in WAYS {
        let world = World::new();
        let (maker, behind) = a_purged_deletion(&world, older).await;
        let mut tx = maker.begin().await.unwrap();
        reads_over_it(&mut tx, scanned).await;
        let token = tx.suspend().await.unwrap();
        let tx = behind.resume(&token).await.unwrap();
        let x = tx.get("x").await.unwrap();
        assert_eq!(x.as_deref(), Some(&b"1"[..]), "what was committed before it began is seen");
    }
}

/// The next get of the newest checkpoint brings a bit that was turned over.
fn newest_checkpoint_is_damaged_once(world: &World) {
    let is_manifest = |path: &String| path.ends_with(".json") && path.starts_with("checkpoints/");
    let newest = world.memory.paths().into_iter().rfind(is_manifest).unwrap();
    world.storage.fail(Operation::Get, &newest, 1, Fault::Corrupt(Corruption::Flip(9)));
}

/// 23, where the checkpoint that was read through cannot be read any more: the token waits, and goes on where it can.
pub async fn h23_a_token_is_not_read_on_through_an_older_checkpoint() {
    let world = World::new();
    let (maker, behind) = a_purged_deletion(&world, true).await;
    let mut tx = maker.begin().await.unwrap();
    reads_over_it(&mut tx, false).await;
    let token = tx.suspend().await.unwrap();
    newest_checkpoint_is_damaged_once(&world);
    let error = behind.resume(&token).await.expect_err("nothing is read through an older checkpoint");
    assert_eq!(error.kind(), ErrorKind::VersionUnavailable);
    assert!(error.to_string().contains("through checkpoint 2"), "{error}");
    let tx = behind.resume(&token).await.unwrap();
    assert_eq!(tx.get("x").await.unwrap().unwrap(), "1");
}

/// 23: a token asks for a checkpoint that was made while a refresh was under way which had looked for one already.
pub async fn h23_a_checkpoint_that_is_asked_for_during_a_refresh_is_found() {
    let world = World::new();
    let (maker, behind) = (world.node().await, world.node().await);
    let read_through = async |number: u64| {
        write(&maker, &[("x", Some("1"))]).await;
        maker.publish().await.unwrap();
        sleep(secs(1)).await;
        assert_eq!(maker.checkpoint().await.unwrap().number, number);
        let tx = maker.begin().await.unwrap();
        tx.get("x").await.unwrap();
        tx.suspend().await.unwrap()
    };
    let first = read_through(1).await;
    let gate = world.storage.fail(Operation::List, "feed/", 1, Fault::Delay);
    let resume = |token: Token| {
        let behind = behind.clone();
        tokio::spawn(async move { behind.resume(&token).await.map(drop) })
    };
    let earlier = resume(first);
    gate.reached().await;
    sleep(secs(1)).await;
    let later = resume(read_through(2).await);
    sleep(secs(1)).await;
    let _ = gate.release().await;
    earlier.await.unwrap().unwrap();
    later.await.unwrap().expect("what is asked for while a refresh looks is for the next");
}

/// 23, on one node: a file of the index is lost, and the checkpoint before is used in its place.
pub async fn h23_a_checkpoint_in_place_of_a_damaged_one_hides_nothing() {
    for scanned in [false, true] {
        let world = World::new();
        let (maker, _) = a_purged_deletion(&world, true).await;
        let node = world.node().await;
        let mut tx = node.begin().await.unwrap();
        reads_over_it(&mut tx, scanned).await;
        let file = world.memory.paths().into_iter().rfind(|path| path.starts_with("index/")).unwrap();
        world.memory.delete(&[file]).await.unwrap();
        let x = tx.get("x").await.map_err(|error| error.kind());
        let lost = x == Err(ErrorKind::VersionUnavailable);
        assert!(lost, "what was committed before it began is seen, or nothing: {x:?}");
        for node in [node, maker] {
            assert_eq!(get(&node, "x").await.as_deref(), Some("1"));
        }
    }
}

/// 12, the other side: the store was quiet for an hour, and then somebody made a checkpoint. A token that is younger knew all that was folded,
/// though the newest date that its node knew when it last refreshed is an hour old.
pub async fn h12_a_young_token_of_a_quiet_store_is_not_expired() {
    let world = World::new();
    let (maker, reader) = (world.node().await, world.node().await);
    write(&maker, &[("k", Some("1")), ("l", Some("1"))]).await;
    maker.publish().await.unwrap();
    reader.refresh().await.unwrap();
    for _ in 0..6 {
        assert_eq!(get(&reader, "k").await.as_deref(), Some("1"));
        sleep(secs(600)).await;
    }
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1);
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    let token = tx.suspend().await.unwrap();
    let other = world.node().await;
    let tx = other.resume(&token).await.expect("a young token is not expired");
    assert_eq!(tx.get("l").await.unwrap().unwrap(), "1");
}

/// The same on a node that has known the store for a minute, and where the transaction does not travel: what it began with is all that there was.
pub async fn h12_a_node_that_is_new_to_a_quiet_store_refuses_nobody() {
    let world = World::new();
    let maker = world.node().await;
    write(&maker, &[("k", Some("1")), ("l", Some("1"))]).await;
    maker.publish().await.unwrap();
    sleep(secs(3_600)).await;
    let reader = world.node().await;
    let at_once = reader.begin().await.unwrap();
    sleep(secs(60)).await;
    let (later, travels) = (reader.begin().await.unwrap(), reader.begin().await.unwrap());
    for tx in [&at_once, &later, &travels] {
        assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    }
    assert_eq!(maker.checkpoint().await.unwrap().folded, 1);
    // Finds the other one's.
    reader.checkpoint().await.unwrap();
    assert!(reader.store_info().checkpoint > 0);
    for tx in [&at_once, &later] {
        assert_eq!(tx.get("l").await.expect("nobody is refused").unwrap(), "1");
    }
    let token = travels.suspend().await.unwrap();
    let tx = world.node().await.resume(&token).await.expect("a young token is not expired");
    assert_eq!(tx.get("l").await.unwrap().unwrap(), "1");
}

/// A token is resumed where the checkpoint that it was read through cannot be read, and its transaction has committed: all that is left is to be told so.
/// When the checkpoint can be read again, nothing is read anew.
pub async fn a_token_that_was_told_its_outcome_reads_nothing_anew() {
    let world = World::new();
    let (maker, behind) = a_purged_deletion(&world, true).await;
    let mut tx = maker.begin().await.unwrap();
    reads_over_it(&mut tx, false).await;
    assert_eq!(tx.get("x").await.unwrap().unwrap(), "1");
    tx.put("m", "v").unwrap();
    let token = tx.suspend().await.unwrap();
    maker.resume(&token).await.unwrap().commit().await.unwrap();
    write(&maker, &[("x", Some("2"))]).await;
    maker.publish().await.unwrap();
    newest_checkpoint_is_damaged_once(&world);
    let told = behind.resume(&token).await.unwrap();
    // Finds the checkpoint, and the newer commit.
    behind.refresh().await.unwrap();
    drop(behind.resume(&token).await.unwrap());
    match told.get("x").await {
        Ok(value) => assert_eq!(value.unwrap(), "1", "what was read once is read again"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Expired, "{error}"),
    }
}
