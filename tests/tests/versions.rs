//! What the store still knows of the versions of a key.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aft_core::{ErrorKind, VersionInfo};
use aft_tests::{World, get, put, write};
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn the_newest_is_what_a_reader_gets_and_older_ones_are_told_as_long_as_they_are_known() {
    let world = World::new();
    let node = world.node().await;
    let mut expected = Vec::new();
    // Two checkpoints an hour apart, and what came since: of each run the newest.
    for round in ["first", "second"] {
        for n in 0..3 {
            let receipt = put(&node, "k", &format!("{round} {n}")).await;
            expected.splice(.., [receipt.version()]);
        }
        let folded = expected.pop().unwrap();
        for n in 0..40 {
            put(&node, &format!("{round}/{n}"), "other").await;
        }
        node.publish().await.unwrap();
        sleep(HOUR).await;
        node.checkpoint().await.unwrap();
        expected.push(folded);
    }
    let deleted = write(&node, &[("k", None), ("l", Some("v"))]).await;
    node.publish().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    tx.put("k", vec![0; 100_000]).unwrap();
    let large = tx.commit().await.unwrap().receipt;

    let other = world.node().await;
    for (node, newest) in [(&node, Some(large.version())), (&other, None)] {
        let versions = node.versions("k").await.unwrap();
        let known: Vec<_> = versions.iter().map(|it| it.version).collect();
        let want: Vec<_> = newest.into_iter().chain([deleted.version()]).chain(expected.clone()).collect();
        assert_eq!(known[..want.len()], want, "{versions:?}");
        let at = |version| versions.iter().find(|it| it.version == version).unwrap();
        let tombstone: &VersionInfo = at(deleted.version());
        assert!(tombstone.deleted && tombstone.bytes == 0 && tombstone.object.starts_with("commits/"));
        let recent = tombstone.recent.as_ref().unwrap();
        assert_eq!((recent.keys, recent.decided_by), (2, deleted.txn_id()));
        let folded = at(expected[0]);
        assert!(!folded.deleted && folded.recent.is_none() && folded.object.starts_with("index/"));
        assert_eq!(folded.bytes, "second 2".len() as u64);
        if newest.is_some() {
            let large = &versions[0];
            assert!(large.bytes == 100_000 && large.object.starts_with("values/"), "{large:?}");
            assert_eq!(large.recent.as_ref().unwrap().published, None, "nobody was told");
        } else {
            assert_eq!(get(node, "k").await, None, "what it was told of last deleted it");
            assert!(recent.published.is_some());
        }
    }
    assert_eq!(node.versions("nothing").await.unwrap(), []);
    assert_eq!(node.versions("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let before = node.stats().requests;
    node.versions("k").await.unwrap();
    let after = node.stats().requests;
    assert_eq!(
        (after.lists, after.gets, after.range_gets),
        (before.lists, before.gets, before.range_gets),
        "cached"
    );
}
