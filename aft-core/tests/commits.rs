//! What a node tells of the commits that it knows, and which nodes told it of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use aft_core::{Aft, Config, RecentCommit, Version};
use aft_memory::MemoryStorage;

fn config() -> Config {
    Config { background: false, direct_commits: false, ..Config::default() }
}

async fn commit(aft: &Aft, writes: &[(&str, Option<usize>)]) -> Version {
    let mut tx = aft.begin().await.unwrap();
    for (key, len) in writes {
        match len {
            Some(len) => tx.put(key, vec![7; *len]).unwrap(),
            None => tx.delete(key).unwrap(),
        }
    }
    let version = tx.commit().await.unwrap().receipt.version();
    aft.publish().await.unwrap();
    version
}

#[tokio::test]
async fn a_commit_tells_its_writes_and_the_feed_whose_it_is() {
    let storage = Arc::new(MemoryStorage::new());
    let (one, two) = (
        Aft::open(storage.clone(), config()).await.unwrap(),
        Aft::open(storage.clone(), config()).await.unwrap(),
    );
    let first = commit(&one, &[("a", Some(3)), ("b", None)]).await;
    two.refresh().await.unwrap();
    let second = commit(&two, &[("a", None)]).await;
    let third = commit(&two, &[("c", Some(100_000)), ("d", Some(2))]).await;

    let reader = Aft::builder(storage).config(config()).read_only().open().await.unwrap();
    assert_eq!(reader.recent().map(|it| it.version()).collect::<Vec<_>>(), [third, second, first]);
    let infos = reader.recent_commits(9);
    assert_eq!(reader.recent().map(|it| it.info()).collect::<Vec<_>>(), infos);
    assert_eq!(infos.iter().map(|it| it.bytes).collect::<Vec<_>>(), [100_002, 0, 3]);
    assert!(infos.iter().all(|it| it.published.is_some() && it.decided_by == it.txn_id));
    let [c, b, a]: [RecentCommit; 3] = reader.recent().collect::<Vec<_>>().try_into().unwrap();
    assert!(a.wrote(b"b") && a.wrote_below(b"") && !a.wrote(b"c") && !b.wrote_below(b"b"));
    let writes: Vec<_> = c.writes().collect();
    assert_eq!(
        writes.iter().map(|it| (&it.key[..], it.deleted, it.bytes)).collect::<Vec<_>>(),
        [(&b"c"[..], false, 100_000), (b"d", false, 2)]
    );
    assert!(writes[0].object.starts_with("values/") && writes[1].object.starts_with("feed/"), "{writes:?}");
    let deletion = b.writes().next().unwrap();
    assert!(deletion.deleted && deletion.object.starts_with("commits/"), "{deletion:?}");

    // Of a deletion only the feed says it: one list and one get for each object of that date.
    assert_eq!((infos[0].node.is_some(), &infos[1].node), (true, &None));
    let before = reader.stats().requests;
    let nodes = reader.publishers([first, second, third]).await.unwrap();
    let cost = reader.stats().requests - before;
    assert!(cost.lists == 1 && (1..=3).contains(&cost.gets) && cost.requests() == 1 + cost.gets, "{cost:?}");
    assert_eq!((nodes.get(&first), nodes.get(&third)), (infos[2].node.as_ref(), infos[0].node.as_ref()));
    assert_eq!(nodes.get(&second), nodes.get(&third));
    assert_ne!(nodes.get(&first), nodes.get(&third));
    // Nothing is asked where all is known.
    let before = reader.stats().requests;
    assert_eq!(reader.publishers([first, third]).await.unwrap().len(), 2);
    assert_eq!((reader.stats().requests - before).requests(), 0);

    let (info, stats) = (reader.store_info(), reader.stats());
    assert!(info.listed.is_some() && info.purged.is_none(), "{info:?}");
    assert_eq!((stats.feed_objects, stats.recent_commits), (3, 3));
}
