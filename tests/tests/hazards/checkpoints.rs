//! Checkpoints: what is folded is read by everybody as it was, and nothing of it comes back.

use aft_core::{Begin, Builder, ErrorKind, Storage};
use aft_memory::{Corruption, ErrorKind as Stored, Fault, Operation};
use aft_tests::{get, write};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A world whose clocks can all be put forward at once, while requests stay where they are: as a frozen machine sees it.
pub(crate) struct Frozen {
    pub(crate) world: World,
    clocks: Vec<Arc<NodeClock>>,
    ahead_ms: i64,
}

impl Frozen {
    pub(crate) fn new() -> Self {
        Self { world: World::new(), clocks: Vec::new(), ahead_ms: 0 }
    }

    fn builder(&mut self, cache_bytes: u64) -> Builder {
        let clock = self.world.clock();
        clock.set_skew_ms(self.ahead_ms);
        self.clocks.push(Arc::clone(&clock));
        let config = aft_core::Config { cache_bytes, ..World::config() };
        self.world.builder().config(config).clock(clock)
    }

    pub(crate) async fn node(&mut self, cache_bytes: u64) -> Aft {
        self.builder(cache_bytes).open().await.unwrap()
    }

    pub(crate) fn an_hour_passes(&mut self) {
        self.ahead_ms += 3_600_000;
        self.world.store_clock.set_skew_ms(self.ahead_ms);
        self.clocks.iter().for_each(|clock| clock.set_skew_ms(self.ahead_ms));
    }
}

/// 2: a node keeps a commit that others published for it, folded, overwrote and deleted, and publishes it again two hours later.
pub(crate) async fn h02_a_deletion_stays_where_an_older_write_is_published_again_long_after() {
    let world = World::new();
    let (sleeper, other, reader) = (world.node().await, world.node().await, world.node().await);
    put(&sleeper, "k", "old").await;
    other.sweep().await.unwrap();
    write(&other, &[("k", None)]).await;
    other.publish().await.unwrap();
    sleep(HOUR).await;
    tell_the_time(&other).await;
    // A minute later others believe that it swept.
    other.sweep().await.unwrap();
    sleep(secs(60)).await;
    tell_the_time(&other).await;
    assert_eq!(other.checkpoint().await.unwrap().tombstones_purged, 1);
    sleep(HOUR).await;
    sleeper.publish().await.unwrap();
    reader.refresh().await.unwrap();
    for node in [reader, world.node().await] {
        assert_eq!(get(&node, "k").await, None, "a deleted key stays deleted");
    }
}

/// 3: a receipt of a commit whose decision was collected, on a node that cannot know by the id alone that it is folded: a transaction
/// that began before it committed much later.
pub(crate) async fn h03_a_receipt_of_a_collected_decision_is_honoured() {
    let world = World::new();
    let (node, cold) = (world.node().await, world.node().await);
    let mut long = node.begin().await.unwrap();
    long.put("long", "v").unwrap();
    sleep(secs(10)).await;
    let receipt = put(&node, "k", "v").await;
    node.publish().await.unwrap();
    sleep(secs(880)).await;
    long.commit().await.unwrap();
    node.publish().await.unwrap();
    sleep(secs(160)).await;
    let report = node.checkpoint().await.unwrap();
    assert_eq!((report.folded, report.recent), (1, 1), "{report:?}");
    sleep(secs(970)).await;
    tell_the_time(&node).await;
    node.collect_garbage(false).await.unwrap();
    assert!(!world.memory.paths().iter().any(|path| path.ends_with(&receipt.txn_id().to_string())));
    let tx = cold.begin_with(Begin::new().after(&receipt)).await;
    let value = tx.expect("a folded commit is seen").get("k").await.unwrap();
    assert_eq!(value.unwrap(), "v");
}

/// 11, for a node that slept: what it missed was folded, and the feed that told of it collected.
pub(crate) async fn a_node_that_slept_past_the_feed_misses_nothing() {
    let world = World::new();
    let (writer, sleeper) = (world.node().await, world.node().await);
    write(&writer, &[("k", Some("1")), ("l", Some("1"))]).await;
    writer.publish().await.unwrap();
    sleeper.refresh().await.unwrap();
    write(&writer, &[("missed", Some("v"))]).await;
    for n in 2..5 {
        write(&writer, &[("k", Some(&n.to_string())), ("l", None)]).await;
        writer.publish().await.unwrap();
        sleep(HOUR).await;
        writer.checkpoint().await.unwrap();
        writer.collect_garbage(false).await.unwrap();
    }
    assert_eq!(get(&sleeper, "k").await.as_deref(), Some("4"), "what was folded while it slept is seen");
    assert_eq!(get(&sleeper, "l").await, None, "what was folded while it slept is seen");
    assert_eq!(get(&sleeper, "missed").await.as_deref(), Some("v"), "what was folded while it slept is seen");
}

/// 12: a reader is frozen while it waits for the index, in the middle of a transaction. When it wakes, the file that it asked for is
/// gone, and the newest checkpoint folded what its transaction must not see.
pub(crate) async fn h12_a_reader_frozen_while_it_asks_the_index_reads_nothing_torn() {
    let mut frozen = Frozen::new();
    let (writer, reader) = (frozen.node(1 << 20).await, frozen.node(0).await);
    write(&writer, &[("k", Some("1")), ("l", Some("1"))]).await;
    writer.publish().await.unwrap();
    frozen.an_hour_passes();
    writer.checkpoint().await.unwrap();
    // Without a cache, which asks the index each time; the checkpoint is found by a reader that slept.
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    let gate = frozen.world.storage.fail(Operation::GetRange, "index/", 1, Fault::Delay);
    let read = tokio::spawn(async move { tx.get("l").await });
    gate.reached().await;
    for _ in 0..3 {
        write(&writer, &[("k", Some("2")), ("l", Some("2"))]).await;
        writer.publish().await.unwrap();
        frozen.an_hour_passes();
        writer.checkpoint().await.unwrap();
        writer.collect_garbage(false).await.unwrap();
    }
    let _ = gate.release().await;
    let read = read.await.unwrap();
    assert!(read.is_err(), "a transaction that read k at 1 cannot read l at 2: {read:?}");
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Expired);
}

/// 16: the client library retried the manifest's create, and reports the maker's own success as another's.
pub(crate) async fn h16_a_maker_knows_its_own_manifest() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("k", Some("v"))]).await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    world.storage.fail(Operation::Create, "checkpoints/", 1, Fault::After(Stored::AlreadyExists));
    node.checkpoint().await.unwrap();
    let cold = world.builder().open().await.expect("what a manifest names is there");
    let tx = cold.begin().await.unwrap();
    let value = tx.get("k").await.expect("what a manifest names is there");
    assert_eq!(value.unwrap(), "v");
}

/// A checkpoint does not settle what it only tells of.
pub(crate) async fn what_is_not_folded_is_told_by_the_recent_file() {
    let world = World::new();
    let node = world.node().await;
    write(&node, &[("old", Some("v"))]).await;
    node.publish().await.unwrap();
    sleep(HOUR).await;
    write(&node, &[("young", Some("v"))]).await;
    node.publish().await.unwrap();
    sleep(secs(5)).await;
    node.checkpoint().await.unwrap();
    for node in [&node, &world.node().await] {
        assert_eq!(get(node, "young").await.as_deref(), Some("v"), "a young commit is seen");
        assert_eq!(get(node, "old").await.as_deref(), Some("v"));
    }
}

/// The newest manifest comes damaged to a node that opens; before it has listed the feed, a collector deletes the manifest
/// before, and the feed objects that only it needs.
pub(crate) async fn an_older_manifest_is_used_only_while_it_is_whole() {
    let world = World::new();
    let node = world.node().await;
    for key in ["a", "b"] {
        write(&node, &[(key, Some("v"))]).await;
        node.publish().await.unwrap();
        sleep(HOUR).await;
        node.checkpoint().await.unwrap();
    }
    sleep(HOUR).await;
    tell_the_time(&node).await;
    let newest = world
        .memory
        .paths()
        .into_iter()
        .filter(|path| path.ends_with(".json") && path.starts_with("checkpoints/"))
        .nth(1)
        .unwrap();
    let bytes = world.memory.get(&newest).await.unwrap().bytes;
    world.storage.fail(Operation::Get, &newest, 1, Fault::Corrupt(Corruption::Flip(bytes.len() / 2)));
    let gate = world.storage.fail(Operation::List, "feed/", 1, Fault::Delay);
    let builder = world.builder();
    let opening = tokio::spawn(builder.open());
    gate.reached().await;
    node.collect_garbage(false).await.unwrap();
    let _ = gate.release().await;
    match opening.await.unwrap() {
        Ok(cold) => {
            for key in ["a", "b"] {
                assert_eq!(get(&cold, key).await.as_deref(), Some("v"), "nothing is missed");
            }
        }
        Err(error) => assert!(error.to_string().contains(&newest), "{error}"),
    }
}

/// A node is frozen while it opens, between a manifest and what that names. When it wakes, both are gone, for newer ones.
pub(crate) async fn a_node_frozen_while_it_opens_looks_again() {
    for frozen_at in ["checkpoints/", "recent/"] {
        let mut frozen = Frozen::new();
        let node = frozen.node(0).await;
        write(&node, &[("k", Some("v"))]).await;
        node.publish().await.unwrap();
        frozen.an_hour_passes();
        tell_the_time(&node).await;
        node.checkpoint().await.unwrap();
        let gate = frozen.world.storage.fail(Operation::Get, frozen_at, 1, Fault::Delay);
        let opening = tokio::spawn(frozen.builder(0).open());
        gate.reached().await;
        for _ in 0..3 {
            frozen.an_hour_passes();
            tell_the_time(&node).await;
            node.checkpoint().await.unwrap();
            node.collect_garbage(false).await.unwrap();
        }
        let _ = gate.release().await;
        let cold = opening.await.unwrap().expect("a newer checkpoint is there");
        assert_eq!(get(&cold, "k").await.as_deref(), Some("v"), "a newer checkpoint is there");
    }
}

/// The same between the listing of checkpoints and all that comes after: it showed none, and the feed is collected by the time that it is read.
pub(crate) async fn a_node_frozen_while_it_opens_lists_again() {
    let mut frozen = Frozen::new();
    let node = frozen.node(0).await;
    write(&node, &[("k", Some("v"))]).await;
    node.publish().await.unwrap();
    let gate = frozen.world.storage.fail(Operation::Get, "aft.json", 1, Fault::Delay);
    let opening = tokio::spawn(frozen.builder(0).open());
    gate.reached().await;
    tokio::task::yield_now().await;
    for _ in 0..3 {
        frozen.an_hour_passes();
        tell_the_time(&node).await;
        node.checkpoint().await.unwrap();
        node.collect_garbage(false).await.unwrap();
    }
    let _ = gate.release().await;
    let cold = opening.await.unwrap().unwrap();
    assert_eq!(get(&cold, "k").await.as_deref(), Some("v"), "what was folded while it opened is seen");
}
