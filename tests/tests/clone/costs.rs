//! What a clone costs in requests.

use aft_memory::Counts;
use aft_tests::write;
use tokio::time::sleep;

use super::*;

/// A folded store of so many small keys.
async fn filled(keys: u32) -> (World, Aft) {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    for n in 0..keys {
        tx.put(format!("{n:08}"), vec![7; 20]).unwrap();
    }
    tx.commit().await.unwrap();
    node.publish().await.unwrap();
    sleep(OLD).await;
    node.checkpoint().await.unwrap();
    sleep(OLD).await;
    (world, node)
}

async fn spent(world: &World, place: &Place, node: &Aft) -> [(u64, u64, u64, u64, u64); 2] {
    world.storage.reset();
    place.storage.reset();
    place.clone_of(node).await;
    [&world.storage, &place.storage].map(|storage| {
        let Counts { gets, range_gets, creates, lists, deletes, .. } = storage.counts();
        (gets, range_gets, creates, lists, deletes)
    })
}

#[tokio::test(start_paused = true)]
async fn a_clone_costs_what_there_are_files_and_not_what_there_are_keys() {
    let mut costs = Vec::new();
    for keys in [10, 10_000] {
        let (world, node) = filled(keys).await;
        let place = Place::new(&world);
        costs.push(spent(&world, &place, &node).await);
        // Nothing is new.
        let [source, _] = spent(&world, &place, &node).await;
        assert_eq!((source.0, source.1), (costs[0][0].0 - 1, 0), "no file is read again");
    }
    assert_eq!(costs[0], costs[1], "a thousand times as many keys cost no request more");
    let [source, place] = costs[0];
    // The file; the manifest and its garbage file. A sweep's list per shard; checkpoints, feed, decisions, claims.
    println!("{source:?} {place:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_clone_copies_only_what_is_new() {
    let (world, node) = filled(1000).await;
    for n in 0..20 {
        write(&node, &[(&format!("large{n}"), Some(&"x".repeat(20_000)))]).await;
    }
    node.publish().await.unwrap();
    sleep(OLD).await;
    node.checkpoint().await.unwrap();
    let place = Place::new(&world);
    let first = place.clone_of(&node).await;
    assert_eq!((first.files_kept, first.values_copied, first.values_kept), (0, 20, 0));
    write(&node, &[("large3", Some(&"y".repeat(20_000)))]).await;
    let second = place.clone_of(&node).await;
    assert_eq!((second.files_copied, second.files_kept), (0, first.files_copied), "{second:?}");
    assert_eq!((second.values_copied, second.commits), (1, 1));
    assert!(second.bytes_copied < first.bytes_copied / 5, "{second:?}");
    assert_eq!(place.content(&world).await, content(&node).await);
    // Told as it goes: what was needed is there in the end.
    let last = Arc::new(std::sync::Mutex::new(aft_core::CloneProgress::default()));
    let told = Arc::clone(&last);
    let progress: Arc<dyn Fn(aft_core::CloneProgress) + Send + Sync> =
        Arc::new(move |now| *told.lock().unwrap() = now);
    let options = CloneOptions { progress: Some(progress), ..CloneOptions::default() };
    node.clone_to(Arc::new(place.storage.clone()), options).await.unwrap();
    let last = *last.lock().unwrap();
    assert!(
        last.objects > 0 && last.objects == last.objects_known && last.bytes == last.bytes_known,
        "{last:?}"
    );
}
