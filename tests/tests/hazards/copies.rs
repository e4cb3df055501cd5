//! Commits that several feed objects carry, where not everybody is shown all of them.

use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::proof::{hiding, under};
use crate::{light, secs};

/// A commit is carried by the feed object of its node and by that of a sweep, five minutes later. To whoever swept the first one is hidden, to the
/// reader the second one, and a checkpoint whose horizon lies between the two leaves the commit out: nobody may go by the one that they know (seed
/// 700380).
pub(crate) async fn of_two_copies_each_is_shown_to_one() {
    two_copies(false).await;
}

/// The same, and a light checkpoint of the maker's is between the two full ones.
pub(crate) async fn of_two_copies_a_light_checkpoint_tells() {
    two_copies(true).await;
}

async fn two_copies(light: bool) {
    let world = World::new();
    let writer = world.node().await;
    let ((hidden, maker), (shown, reader)) = (hiding(&world), hiding(&world));
    let (maker, reader) = (maker.open().await.unwrap(), reader.open().await.unwrap());
    let mut older = writer.begin().await.unwrap();
    older.put("older", "v").unwrap();
    let mut tx = writer.begin().await.unwrap();
    for key in ["k", "l"] {
        tx.put(key, "v").unwrap();
    }
    tx.commit().await.unwrap();
    writer.publish().await.unwrap();
    reader.refresh().await.unwrap();
    hidden.hide(&[&under(&world, "feed/").pop().unwrap()]);
    sleep(secs(300)).await;
    let before = under(&world, "feed/");
    maker.sweep().await.unwrap();
    let again: Vec<_> = under(&world, "feed/").into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(again.len(), 1, "the sweep publishes what it was not shown: {again:?}");
    shown.hide(&[&again[0]]);
    older.commit().await.unwrap();
    put(&writer, "newer", "v").await;
    writer.publish().await.unwrap();
    for _ in 0..8 {
        sleep(secs(100)).await;
        reader.refresh().await.unwrap();
        maker.refresh().await.unwrap();
    }
    let report = maker.checkpoint().await.unwrap();
    assert!(report.made && report.folded == 0, "the horizon lies before the second copy: {report:?}");
    if light {
        light::feed_objects(&writer).await;
        assert_eq!(light::start(&world).await, 2);
    }
    assert_eq!(reader.checkpoint().await.unwrap().number, if light { 3 } else { 2 });
    let cold = world.node().await;
    for node in [&reader, &cold] {
        for key in ["k", "l"] {
            assert_eq!(get(node, key).await.as_deref(), Some("v"), "what was committed is seen");
        }
    }
}
