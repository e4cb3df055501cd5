//! Clones that die at any request: the next one completes what is there, and until then there is the old clone or none.

use aft_core::ErrorKind;
use aft_memory::Fault;
use aft_tests::write;
use tokio::time::sleep;

use super::*;

/// Whose requests.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Source,
    Place,
}

/// Lets a clone die at the `nth` request of this kind. False where it has fewer.
async fn dies(again: bool, at: At, operation: Operation, nth: u64, fault: Fault) -> bool {
    let world = World::new();
    let node = store(&world).await;
    let place = Place::new(&world);
    let mut earlier = None;
    if again {
        place.clone_of(&node).await;
        node.sweep().await.unwrap();
        earlier = Some(content(&node).await);
        sleep(OLD).await;
        request(&node, "between", "1").await;
        node.checkpoint().await.unwrap();
        write(&node, &[("a", Some("changed")), ("c", None), ("k5", Some(&"y".repeat(20_000)))]).await;
    }
    node.sweep().await.unwrap();
    let expected = content(&node).await;
    let cloner = world.builder().read_only().open().await.unwrap();
    let faulty = if at == At::Source { &world.storage } else { &place.storage };
    let gate = faulty.fail(operation, "", nth, fault);
    let cloning = {
        let (cloner, storage) = (cloner.clone(), place.storage.clone());
        tokio::spawn(async move { cloner.clone_to(Arc::new(storage), CloneOptions::default()).await })
    };
    tokio::select! {
        biased;
        () = gate.reached() => {}
        () = async { while !cloning.is_finished() { sleep(Duration::from_millis(1)).await } } => return false,
    }
    cloning.abort();
    drop(cloning.await);
    let _ = gate.release().await;
    faulty.clear_faults();
    let context = format!("again {again}, {at:?} {operation:?} {nth} {fault:?}");
    // Until it is finished, the clone before is whole, or there is none.
    let opened = Aft::builder(Arc::new(place.storage.clone())).config(World::config()).clock(world.clock());
    match opened.open().await {
        Ok(clone) if !place.memory.paths().iter().any(|path| path == "clone.json") => {
            // Nothing of a clone was there yet: that made a store, which is none of the clone's.
            drop(clone);
            return true;
        }
        Ok(clone) => {
            let found = content(&clone).await;
            assert!(Some(&found) == earlier.as_ref() || found == expected, "{context}: the old or the new");
            let report = clone.check().await.unwrap();
            assert!(report.is_clean(), "{context}: {report:?}");
        }
        Err(error) => {
            let unfinished = matches!(error.kind(), ErrorKind::NoStore | ErrorKind::Corrupt);
            assert!(unfinished, "{context}: {error}");
        }
    }
    let report = place.try_clone_of(&cloner).await.expect(&context);
    assert!(report.left_out.is_empty(), "{context}: {report:?}");
    assert_eq!(place.content(&world).await, expected, "{context}");
    let clone = place.open(&world).await;
    for key in ["old", "young"].into_iter().chain(again.then_some("between")) {
        assert_eq!(request(&clone, key, "again").await.0, CommitOutcome::Replayed, "{context}: {key}");
    }
    let left = place.memory.paths();
    let manifests =
        left.iter().filter(|path| path.ends_with(".json") && path.starts_with("checkpoints/")).count();
    let recent = left.iter().filter(|path| path.starts_with("recent/")).count();
    assert_eq!((manifests, recent), (1, 1), "{context}: nothing is left over: {left:?}");
    true
}

async fn each_death(again: bool) -> u64 {
    let mut deaths = 0;
    for at in [At::Source, At::Place] {
        for operation in OPERATIONS {
            for fault in [Fault::Delay, Fault::Late] {
                let mut nth = 1;
                while dies(again, at, operation, nth, fault).await {
                    nth += 1;
                }
                deaths += nth - 1;
            }
        }
    }
    deaths
}

#[tokio::test(start_paused = true)]
async fn a_first_clone_dies_at_each_of_its_requests() {
    let deaths = each_death(false).await;
    assert!(deaths > 100, "only {deaths} deaths");
}

#[tokio::test(start_paused = true)]
async fn a_second_clone_dies_at_each_of_its_requests() {
    let deaths = each_death(true).await;
    assert!(deaths > 100, "only {deaths} deaths");
}
