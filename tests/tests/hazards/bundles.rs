//! Bundles of feed objects: whatever they hold, and whatever becomes of them, what counts is the feed.

use aft_core::{Aft, Storage};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, put};

use super::*;

/// Nine functions run, each of which commits a key of its own, and the next node to open leaves a bundle of what it read.
async fn functions(world: &World) {
    for n in 0..9 {
        let function = world.node().await;
        put(&function, &format!("k{n}"), "1").await;
        function.close().await.unwrap();
        sleep(secs(1)).await;
    }
    reads_all(&world.node().await, "it is on the feed").await;
    sleep(secs(1)).await;
}

async fn reads_all(node: &Aft, why: &str) {
    for n in 0..9 {
        assert_eq!(get(node, &format!("k{n}")).await.as_deref(), Some("1"), "{why}");
    }
}

fn bundles(world: &World) -> Vec<String> {
    world.memory.paths().into_iter().filter(|path| path.starts_with("bundles/")).collect()
}

/// A feed object lands later than others that are named after it, and is in no bundle with them.
pub(crate) async fn what_a_bundle_lacks_is_read_from_the_feed() {
    let world = World::new();
    let slow = world.node().await;
    let first = world.node().await;
    put(&first, "first", "1").await;
    first.close().await.unwrap();
    sleep(secs(1)).await;
    put(&slow, "late", "1").await;
    let held = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    let publishing = tokio::spawn(async move { slow.publish().await });
    held.reached().await;
    // All of them within P of the name of the one that is held.
    for n in 0..9 {
        let function = world.node().await;
        put(&function, &format!("k{n}"), "1").await;
        function.close().await.unwrap();
        sleep(std::time::Duration::from_millis(500)).await;
    }
    reads_all(&world.node().await, "it is on the feed").await;
    sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(bundles(&world).len(), 1, "what was read one by one is bundled");
    let _ = held.release().await;
    publishing.await.unwrap().unwrap();
    let reader = world.node().await;
    reads_all(&reader, "a bundle has it").await;
    assert_eq!(reader.stats().bundles_read, 1);
    let late = get(&reader, "late").await;
    assert_eq!(late.as_deref(), Some("1"), "what the bundle lacks is on the feed");
}

/// A bundle that is damaged, cut off, another one's or gone costs requests and nothing else.
pub(crate) async fn whatever_becomes_of_a_bundle_the_feed_is_read() {
    type Harm = fn(&mut Vec<u8>);
    let harms: [(Harm, u64); 5] = [
        (|bytes| bytes.clear(), 0),
        (|bytes| bytes.truncate(bytes.len() / 2), 0),
        (|bytes| bytes[40] ^= 1, 0),
        // In a copy: the others are good.
        (|bytes| *bytes.last_mut().unwrap() ^= 1, 1),
        (
            |bytes| {
                let at = bytes.len() - 200;
                bytes[at] ^= 1
            },
            1,
        ),
    ];
    for (harm, read) in harms {
        let world = World::new();
        functions(&world).await;
        let path = bundles(&world).pop().expect("a bundle");
        let mut bytes = world.memory.get(&path).await.unwrap().bytes.to_vec();
        harm(&mut bytes);
        world.memory.delete(std::slice::from_ref(&path)).await.unwrap();
        world.memory.create(&path, bytes.into()).await.unwrap();
        let reader = world.node().await;
        assert_eq!(reader.stats().bundles_read, read);
        reads_all(&reader, "the feed has it, whatever a bundle holds").await;
        let report = reader.check().await.unwrap();
        assert!(report.problems.iter().all(|problem| problem.path == path), "{:?}", report.problems);
        assert!(!report.problems.is_empty(), "a check tells of a bundle that makes refreshes dearer");
        world.memory.delete(&[path]).await.unwrap();
        reads_all(&world.node().await, "the feed has it").await;
        assert!(reader.check().await.unwrap().is_clean());
    }
}

/// Bundles go with the feed objects that they copy.
pub(crate) async fn bundles_are_collected_with_the_feed() {
    let world = World::new();
    functions(&world).await;
    let node = world.node().await;
    for _ in 0..3 {
        assert!(!bundles(&world).is_empty() || get(&node, "k0").await.is_some());
        sleep(secs(3_600)).await;
        tell_the_time(&node).await;
        node.checkpoint().await.unwrap();
        sleep(secs(3_600)).await;
        tell_the_time(&node).await;
        node.collect_garbage(false).await.unwrap();
    }
    assert_eq!(bundles(&world), Vec::<String>::new());
    reads_all(&world.node().await, "it is in the index").await;
}

/// Two feed objects that were swapped are damaged, though each is whole: a bundle has the one and nobody the other.
pub(crate) async fn a_feed_object_under_another_name_is_damaged() {
    let world = World::new();
    functions(&world).await;
    let feed =
        || world.memory.paths().into_iter().filter(|path| path.starts_with("feed/")).collect::<Vec<_>>();
    let bundled = feed();
    let last = world.node().await;
    put(&last, "kl", "1").await;
    last.close().await.unwrap();
    let newest = feed().into_iter().find(|path| !bundled.contains(path)).unwrap();
    let other = world.memory.get(&newest).await.unwrap();
    let mut swapped = None;
    for path in bundled {
        let object = world.memory.get(&path).await.unwrap();
        if object.bytes.len() == other.bytes.len() {
            swapped = Some((path, object));
            break;
        }
    }
    let (path, object) = swapped.expect("one of the same length");
    world.memory.delete(&[path.clone(), newest.clone()]).await.unwrap();
    world.memory.create(&path, other.bytes).await.unwrap();
    world.memory.create(&newest, object.bytes).await.unwrap();
    assert!(
        world.memory.redate(&path, object.last_modified) && world.memory.redate(&newest, other.last_modified)
    );
    let reader = world.node().await;
    reads_all(&reader, "it is on the feed").await;
    assert_eq!(get(&reader, "kl").await.as_deref(), Some("1"), "its decision has it");
}
