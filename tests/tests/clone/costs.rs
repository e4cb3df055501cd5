//! What a clone costs in requests.

use aft_memory::Counts;
use aft_tests::write;
use tokio::time::sleep;

use super::*;

/// A folded store of so many small keys.
async fn filled(keys: u32) -> (World, Aft) {
    let world = World::new();
    let node = world.node().await;
    for from in (0..keys).step_by(10_000) {
        let mut tx = node.begin().await.unwrap();
        for n in from..keys.min(from + 10_000) {
            tx.put(format!("{n:08}"), vec![7; 20]).unwrap();
        }
        tx.commit().await.unwrap();
    }
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
    // Of the source: the manifest is listed for and looked for newer ones, the file, the manifest and its garbage file again; a list of
    // checkpoints and feed, one per shard and one of the feed for what nobody published, checkpoints again, decisions, claims.
    assert_eq!(source, (3, 0, 0, 22, 0));
    // Of the place: the note and the marker are looked for; the note, the file, recent file, manifest and marker are made, the last three
    // read back; what is there is listed, before and after. Opening it: marker, manifest, recent file, two lists.
    assert_eq!(place, (8, 0, 5, 17, 0));
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

/// A large store under load; `AFT_CLONE_KEYS` says how large.
#[tokio::test(start_paused = true)]
async fn a_large_store_is_cloned_under_load() {
    let keys = std::env::var("AFT_CLONE_KEYS").map_or(3_000, |keys| keys.parse().unwrap());
    let (world, node) = filled(keys).await;
    let clock = aft_core::SystemClock::new();
    let place = Place::new(&world);
    let mut n = 0u32;
    for what in ["first", "second, after a few hundred commits", "third, after a checkpoint"] {
        if what.starts_with("third") {
            node.publish().await.unwrap();
            sleep(OLD).await;
            node.checkpoint().await.unwrap();
        }
        world.storage.reset();
        place.storage.reset();
        let began = clock.monotonic();
        let acknowledged = n;
        let cloning = place.clone_of(&node);
        tokio::pin!(cloning);
        let report = loop {
            n += 1;
            let (key, value) = (format!("{:08}", n % keys), n.to_string());
            let pair = [("left", Some(&*value)), (&*key, Some(&value)), ("right", Some(&value))];
            tokio::select! {
                biased;
                () = async { write(&node, &pair).await; tokio::task::yield_now().await } => {}
                report = &mut cloning => break report,
            }
        };
        let took = clock.monotonic() - began;
        let (source, there) = (world.storage.counts(), place.storage.counts());
        println!(
            "{what}: {took:?}, {n} commits so far\n  source {source:?}\n  place {there:?}\n  {report:?}"
        );
        let clone = place.open(&world).await;
        let tx = clone.begin().await.unwrap();
        let (left, right) = (tx.get("left").await.unwrap(), tx.get("right").await.unwrap());
        assert_eq!(left, right, "one moment");
        let number = left.map_or(0, |value| String::from_utf8(value.to_vec()).unwrap().parse().unwrap());
        assert!((acknowledged..=n).contains(&number), "{number} of {acknowledged} to {n}");
        for _ in 0..200 {
            n += 1;
            let value = n.to_string();
            write(&node, &[("left", Some(&value)), ("right", Some(&value))]).await;
        }
    }
}
