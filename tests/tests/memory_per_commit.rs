//! What a node holds of each commit that is not folded. A program of its own: it counts what the whole process allocates.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use std::time::Duration;

use aft_core::{Aft, Config};
use aft_tests::World;
use peak_alloc::PeakAlloc;
use rand::seq::SliceRandom;
use rand::{SeedableRng, rngs::StdRng};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const COMMITS: usize = 20_000;

/// A node's memory for each commit of a store of so many, each of which wrote so many keys of 20 bytes, none twice. It learns them from the feed.
async fn bytes_per_commit(keys: usize, shuffled: bool) -> usize {
    let world = World::new();
    let mut names: Vec<_> = (0..COMMITS * keys).map(|n| format!("customers/{n:010}")).collect();
    if shuffled {
        names.shuffle(&mut StdRng::seed_from_u64(1));
    }
    let writer = world.node().await;
    for (n, names) in names.chunks(keys).enumerate() {
        if n % 100 == 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut tx = writer.begin().await.unwrap();
        names.iter().for_each(|name| tx.put(name, "value").unwrap());
        tx.commit().await.unwrap();
    }
    writer.publish().await.unwrap();
    writer.close().await.unwrap();
    drop((writer, names));
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.storage.reset();

    let config = Config { cache_bytes: 0, ..World::config() };
    let before = ALLOCATED.current_usage();
    let reader: Aft = world.builder().config(config).open().await.unwrap();
    reader.refresh().await.unwrap();
    world.storage.reset();
    let held = ALLOCATED.current_usage().saturating_sub(before);
    assert_eq!(
        (reader.stats().recent_commits, reader.stats().recent_keys),
        (COMMITS as u64, (COMMITS * keys) as u64)
    );
    held / COMMITS
}

/// Of one key: 165 for the commit, 49 for its place among the versions, 27 to 35 for the key's among the keys, and about 41 for the id among those
/// that were published. Each further key is 41, and its place. Keys that come in order are the worst case: they leave half of each node of a tree empty.
#[tokio::test(start_paused = true)]
async fn a_commit_takes_a_few_hundred_bytes() {
    for (keys, shuffled, most) in [(1, true, 295), (1, false, 300), (3, true, 435), (3, false, 455)] {
        let bytes = bytes_per_commit(keys, shuffled).await;
        println!("a commit of {keys} keys of 20 bytes, shuffled: {shuffled}: {bytes} bytes");
        assert!(bytes <= most, "{keys} keys, shuffled: {shuffled}: {bytes} bytes, and not {most}");
        assert!(bytes > most / 2, "counted nothing: {bytes}");
    }
}
