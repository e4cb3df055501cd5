//! What a clone holds.

use aft_core::planted::Planted;
use aft_core::{Begin, CloneOptions};
use aft_memory::Fault;
use aft_tests::{get, holds_unless, write};
use tokio::time::sleep;

use super::*;

async fn everything_is_in_a_clone() {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    let report = place.clone_of(&node).await;
    assert!(report.left_out.is_empty() && report.moments == 1, "{report:?}");
    let cloned = place.content(&world).await;
    node.sweep().await.unwrap();
    assert_eq!(cloned, content(&node).await, "every commit that was acknowledged is in the clone");
    assert!(cloned.contains_key(&b"d"[..]) && !cloned.contains_key(&b"k0"[..]));

    // A store of its own: nothing passes between the two.
    let clone = place.open(&world).await;
    assert_ne!(clone.store_info().store_id, node.store_info().store_id);
    assert_eq!(clone.store_info().store_id, report.store_id);
    write(&clone, &[("b", Some("of the clone")), ("new", Some("1"))]).await;
    clone.publish().await.unwrap();
    write(&node, &[("k3", None)]).await;
    assert_eq!(get(&node, "b").await.as_deref(), Some("young"));
    for _ in 0..3 {
        sleep(OLD).await;
        clone.checkpoint().await.unwrap();
        clone.collect_garbage(false).await.unwrap();
    }
    let mut expected = cloned;
    expected.insert("b".into(), "of the clone".into());
    expected.insert("new".into(), "1".into());
    assert_eq!(place.content(&world).await, expected, "it lives on as any store does");
}

#[test]
fn a_clone_has_every_commit_that_was_acknowledged_before() {
    let unswept = (Planted::CloneUnswept, "every commit that was acknowledged is in the clone");
    let bare = (Planted::CloneWithoutValues, "the clone is whole");
    holds_unless(everything_is_in_a_clone, &[unswept, bare]);
}

/// What a sweep of the clone could find is in its index, and the clone says so.
async fn nothing_is_left_to_be_found() {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    let report = place.clone_of(&node).await;
    assert!(report.decisions_copied > 0);
    let clone = place.open(&world).await;
    let sweep = clone.sweep().await.unwrap();
    assert!(sweep.listed > 0 && sweep.published == 0, "nothing is published twice: {sweep:?}");
    assert_eq!(clone.stats().recent_commits, 0);
}

#[test]
fn a_sweep_of_a_clone_finds_nothing() {
    holds_unless(nothing_is_left_to_be_found, &[(Planted::CloneUntold, "nothing is published twice")]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_opened_read_only_is_cloned_without_a_byte_written_to_it() {
    let world = World::new();
    let node = store(&world).await;
    let before = world.memory.paths();
    let reader = world.builder().read_only().open().await.unwrap();
    world.storage.reset();
    let place = Place::new(&world);
    place.clone_of(&reader).await;
    let counts = world.storage.counts();
    assert_eq!((counts.creates, counts.deletes, world.memory.paths()), (0, 0, before));
    node.sweep().await.unwrap();
    assert_eq!(place.content(&world).await, content(&node).await);
}

#[tokio::test(start_paused = true)]
async fn an_empty_store_and_one_without_a_checkpoint_are_cloned() {
    let world = World::new();
    let node = world.node().await;
    let place = Place::new(&world);
    place.clone_of(&node).await;
    assert!(place.content(&world).await.is_empty());
    write(&node, &[("a", Some("1"))]).await;
    place.clone_of(&node).await;
    assert_eq!(place.content(&world).await, content(&node).await);
    let options = CloneOptions { checkpoint: true, check: true, ..CloneOptions::default() };
    let report = node.clone_to(Arc::new(place.storage.clone()), options).await.unwrap();
    assert_eq!((report.source_checkpoint, report.check.unwrap().is_clean()), (1, true));
}

/// Writes the same number under keys that are folded at different times, and deletes one of them every other time.
async fn round(node: &Aft, n: u32) {
    let (text, large) = (n.to_string(), format!("{n:020000}"));
    let odd = (n % 2 == 1).then_some(&*text);
    write(node, &[("a", Some(&text)), ("large", Some(&large)), ("odd", odd), ("z", Some(&text))]).await;
}

fn number_of(content: &Content) -> u32 {
    let number = |key: &str| {
        let value = content.get(key.as_bytes()).map(|value| String::from_utf8(value.to_vec()).unwrap());
        value.map(|value| value.parse::<u32>().unwrap())
    };
    let n = number("a").unwrap();
    let expected = [Some(n), Some(n), (n % 2 == 1).then_some(n), Some(n)];
    assert_eq!(["a", "large", "odd", "z"].map(number), expected, "one moment");
    n
}

/// Commits, checkpoints and collections, as many as it takes for everything that there was to be gone.
async fn upheaval(node: &Aft, n: &mut u32) {
    for _ in 0..2 {
        for _ in 0..3 {
            *n += 1;
            round(node, *n).await;
        }
        node.publish().await.unwrap();
        sleep(OLD).await;
        node.checkpoint().await.unwrap();
        sleep(OLD).await;
        node.collect_garbage(false).await.unwrap();
    }
    *n += 1;
    round(node, *n).await;
    node.publish().await.unwrap();
}

/// At the `nth` request of a kind to the source, everything is turned over there before it is answered. False where there are fewer.
async fn turned_over(operation: Operation, nth: u64) -> bool {
    let world = World::new();
    let node = world.node().await;
    let mut n = 0;
    upheaval(&node, &mut n).await;
    let acknowledged = n;
    let cloner = world.builder().read_only().open().await.unwrap();
    let place = Place::new(&world);
    let gate = world.storage.fail(operation, "", nth, Fault::Delay);
    let cloning = {
        let (cloner, storage) = (cloner.clone(), place.storage.clone());
        tokio::spawn(async move { cloner.clone_to(Arc::new(storage), CloneOptions::default()).await })
    };
    tokio::select! {
        biased;
        () = gate.reached() => {}
        () = async { while !cloning.is_finished() { sleep(Duration::from_millis(1)).await } } => return false,
    }
    upheaval(&node, &mut n).await;
    let _ = gate.release().await;
    let report = cloning.await.unwrap().expect("the clone is made");
    let cloned = number_of(&place.content(&world).await);
    assert!((acknowledged..=n).contains(&cloned), "{cloned} of {acknowledged} to {n}: {report:?}");
    // Once more, when nothing happens.
    place.clone_of(&cloner).await;
    assert_eq!(number_of(&place.content(&world).await), n);
    true
}

#[tokio::test(start_paused = true)]
async fn a_clone_is_one_moment_whatever_happens_at_any_of_its_requests() {
    let mut requests = 0;
    for operation in OPERATIONS {
        let mut nth = 1;
        while turned_over(operation, nth).await {
            nth += 1;
        }
        requests += nth - 1;
    }
    assert!(requests > 10, "only {requests} requests");
}

/// Many commits while a clone is made through a slow network: whole transactions, and none that was acknowledged before is missing.
#[tokio::test(start_paused = true)]
async fn a_clone_under_load_is_one_moment() {
    let world = World::new();
    let node = world.node().await;
    let mut n = 0;
    upheaval(&node, &mut n).await;
    for _ in 0..5 {
        let acknowledged = n;
        let place = Place::new(&world);
        let cloning = place.clone_of(&node);
        let mut done = None;
        tokio::pin!(cloning);
        while done.is_none() {
            n += 1;
            tokio::select! {
                report = &mut cloning => done = Some(report),
                () = round(&node, n) => {}
            }
            if n.is_multiple_of(7) {
                node.publish().await.unwrap();
            }
        }
        let cloned = number_of(&place.content(&world).await);
        assert!((acknowledged..=n).contains(&cloned), "{cloned} of {acknowledged} to {n}");
        let tx = node.begin_with(Begin::new().latest()).await.unwrap();
        n = String::from_utf8(tx.get("a").await.unwrap().unwrap().to_vec()).unwrap().parse().unwrap();
    }
}
