//! Where no clone is made.

use aft_core::planted::Planted;
use aft_core::{Config, Error, ErrorKind, Storage};
use aft_memory::{ErrorKind as Stored, Fault};
use aft_tests::{NodeClock, holds_unless, put, write};
use tokio::time::sleep;

use super::*;

fn refusal(made: Result<CloneReport, Error>, words: &str) {
    let error = made.expect_err(words);
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_no_clone_of_this_store_is_refused_and_left_as_it_is() {
    let world = World::new();
    let node = store(&world).await;
    // Itself.
    let before = world.memory.paths();
    let itself = node.clone_to(Arc::new(world.storage.clone()), CloneOptions::default()).await;
    refusal(itself, "not empty");
    assert_eq!(world.memory.paths(), before);
    // Another store.
    let other = World::new();
    let others = other.builder().rng_seed(77).open().await.unwrap();
    put(&others, "k", "v").await;
    let before = other.memory.paths();
    refusal(node.clone_to(Arc::new(other.storage.clone()), CloneOptions::default()).await, "not empty");
    assert_eq!(other.memory.paths(), before);
    // Something else.
    let place = Place::new(&world);
    place.memory.create("README", "mine".into()).await.unwrap();
    refusal(place.try_clone_of(&node).await, "not empty");
    assert_eq!(place.memory.paths(), ["README"]);
    // A clone of another store; and a clone's clone is one of the clone.
    let place = Place::new(&world);
    place.clone_of(&node).await;
    refusal(place.try_clone_of(&others).await, "a clone of another store");
    let clone = place.open(&world).await;
    let second = Place::new(&world);
    second.clone_of(&clone).await;
    refusal(second.try_clone_of(&node).await, "a clone of another store");
    assert_eq!(second.content(&world).await, place.content(&world).await);
}

/// A commit into the clone, however its node ended, is not lost to the next clone.
async fn a_commit_into_a_clone(published: bool, folded: bool) {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    place.clone_of(&node).await;
    sleep(Duration::from_secs(2)).await;
    let clone = place.open(&world).await;
    write(&clone, &[("mine", Some("1"))]).await;
    if published {
        clone.publish().await.unwrap();
    }
    if folded {
        for _ in 0..3 {
            sleep(OLD).await;
            clone.checkpoint().await.unwrap();
            clone.collect_garbage(false).await.unwrap();
        }
    }
    drop(clone);
    let made = place.try_clone_of(&node).await;
    let content = place.content(&world).await;
    let clone = place.open(&world).await;
    clone.sweep().await.unwrap();
    assert!(
        super::content(&clone).await.contains_key(&b"mine"[..]) || content.contains_key(&b"mine"[..]),
        "its commit stays"
    );
    refusal(made, "was used as a store of its own");
}

#[test]
fn a_clone_into_which_something_was_committed_is_refused() {
    let bug = [(Planted::CloneOverCommits, "its commit stays")];
    holds_unless(|| a_commit_into_a_clone(true, false), &bug);
    holds_unless(|| a_commit_into_a_clone(false, false), &bug);
    holds_unless(|| a_commit_into_a_clone(true, true), &[]);
}

/// Whoever had a clone open and did nothing with it does not stop the next one.
#[tokio::test(start_paused = true)]
async fn a_clone_that_was_only_looked_at_is_brought_up_to_date() {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    let first = place.clone_of(&node).await;
    let clone = place.open(&world).await;
    sleep(OLD).await;
    clone.sweep().await.unwrap();
    clone.collect_garbage(false).await.unwrap();
    assert!(place.memory.paths().iter().any(|path| path.starts_with("feed/")));
    clone.close().await.unwrap();
    write(&node, &[("a", Some("newer"))]).await;
    let second = place.clone_of(&node).await;
    assert_ne!(first.store_id, second.store_id);
    assert!(!place.memory.paths().iter().any(|path| path.starts_with("feed/")));
    assert_eq!(place.content(&world).await, content(&node).await);
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_clone_is_no_store_and_two_at_once_make_one() {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    let gate = place.storage.fail(Operation::Create, "aft.json", 1, Fault::Delay);
    let slow = {
        let (node, storage) = (node.clone(), place.storage.clone());
        tokio::spawn(async move { node.clone_to(Arc::new(storage), CloneOptions::default()).await })
    };
    gate.reached().await;
    let open = Aft::builder(Arc::new(place.storage.clone())).config(World::config()).open().await;
    assert!(matches!(open.unwrap_err().kind(), ErrorKind::NoStore | ErrorKind::Corrupt));
    place.clone_of(&node).await;
    let _ = gate.release().await;
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    node.sweep().await.unwrap();
    assert_eq!(place.content(&world).await, content(&node).await);
}

/// A marker that is long in coming says when it is made nevertheless.
#[tokio::test(start_paused = true)]
async fn a_place_that_answers_to_nothing_for_long_before_its_marker_is_made() {
    let world = World::new();
    let two = Duration::from_secs(2);
    let config = Config { max_clock_skew: two, visibility_delay: two, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    put(&node, "k", "1").await;
    let place = Place::new(&world);
    for _ in 0..13 {
        place.storage.fail(Operation::Create, "aft.json", 1, Fault::Before(Stored::Unavailable));
    }
    place.clone_of(&node).await;
    assert_eq!(place.content(&world).await, content(&node).await);
}

#[tokio::test(start_paused = true)]
async fn a_place_whose_clock_is_behind_is_refused() {
    let world = World::new();
    let node = store(&world).await;
    let clock = Arc::new(NodeClock::new(tokio::time::Instant::now()));
    let place = {
        let memory = MemoryStorage::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        Place { storage: RecordingStorage::new(Arc::new(memory.clone())), memory }
    };
    let error = place.try_clone_of(&node).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClockSkew, "{error}");
    clock.set_skew_ms(2 * 3600 * 1000);
    place.clone_of(&node).await;
}

#[tokio::test(start_paused = true)]
async fn damage_at_the_source_is_named_and_stops_the_clone() {
    for folder in ["index/", "values/"] {
        let world = World::new();
        let node = store(&world).await;
        node.checkpoint().await.unwrap();
        for path in world.memory.paths().into_iter().filter(|path| path.starts_with(folder)) {
            let mut bytes = world.memory.get(&path).await.unwrap().bytes.to_vec();
            let at = bytes.len() / 3;
            bytes[at] ^= 8;
            world.memory.delete(std::slice::from_ref(&path)).await.unwrap();
            world.memory.create(&path, bytes.into()).await.unwrap();
        }
        let place = Place::new(&world);
        let error = place.try_clone_of(&node).await.expect_err(folder);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{folder}: {error}");
        assert!(error.to_string().contains(folder), "{error}");
        assert!(!place.memory.paths().iter().any(|path| path == "aft.json"));
    }
}
