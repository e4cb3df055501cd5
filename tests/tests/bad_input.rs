//! Bad input and damaged stores: each a clear error, nothing lost, and other keys stay readable where that is possible.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, Config, Error, ErrorKind, MAX_KEY_BYTES, Storage};
use aft_memory::{Corruption, ErrorKind as Stored, Fault, Operation, RecordingStorage};
use aft_tests::{WaitingStorage, World, get, put};
use bytes::Bytes;

/// Puts other bytes in the place of an object, as no client of a store with create-if-absent could.
async fn damage(world: &World, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = world.memory.get(path).await.unwrap().bytes.to_vec();
    change(&mut bytes);
    world.memory.delete(&[path.to_owned()]).await.unwrap();
    world.memory.create(path, bytes.into()).await.unwrap();
}

fn created(world: &World, prefix: &str) -> Vec<String> {
    let requests = world.storage.requests();
    let creates =
        requests.iter().filter(|it| it.operation == Operation::Create && it.path.starts_with(prefix));
    creates.map(|it| it.path.clone()).collect()
}

async fn open_error(world: &World) -> Error {
    world.builder().open().await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn impossible_keys_and_values_are_refused_before_anything_is_written() {
    let world = World::new();
    let config = Config {
        max_value_bytes: 1000,
        max_transaction_bytes: 5000,
        inline_value_bytes: 10,
        ..World::config()
    };
    let node = world.builder().config(config).open().await.unwrap();
    put(&node, "good", "v").await;
    world.storage.reset();
    let mut tx = node.begin().await.unwrap();
    let long = vec![b'k'; MAX_KEY_BYTES + 1];
    let errors = [
        tx.put("", "v").unwrap_err(),
        tx.put(&long, "v").unwrap_err(),
        tx.delete("").unwrap_err(),
        tx.get("").await.unwrap_err(),
        tx.get(&long).await.unwrap_err(),
        tx.get_many(["good", ""]).await.unwrap_err(),
        tx.put("k", vec![0; 1001]).unwrap_err(),
        tx.set_result(vec![0; 256 * 1024 + 1]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    assert_eq!(world.storage.counts().requests(), 0, "not even an upload");
    // The transaction goes on without what was refused, up to its own limit.
    let longest = vec![b'k'; MAX_KEY_BYTES];
    tx.put(&longest, "v").unwrap();
    assert_eq!(tx.put("k", vec![0; 999]).unwrap_err().kind(), ErrorKind::InvalidInput);
    tx.put("k", vec![0; 800]).unwrap();
    tx.commit().await.unwrap();
    let tx = node.begin().await.unwrap();
    assert_eq!(tx.get(&longest).await.unwrap().unwrap(), "v");
    assert_eq!(tx.get("k").await.unwrap().unwrap().len(), 800);
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_a_record_can_name_are_refused_by_put() {
    let world = World::new();
    let config = Config { max_record_bytes: 64 << 10, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    let taken = (0..2_000).take_while(|n| tx.put(format!("key-{n:05}"), "").is_ok()).count();
    assert!((500..700).contains(&taken), "{taken}");
    tx.commit().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn odd_keys_and_values_round_trip() {
    let world = World::new();
    let node = world.node().await;
    let keys: [&[u8]; 8] =
        [b"/", b"a/b", b"..", b"\0", b"\xff\xff", b"a b%", "\u{e9}".as_bytes(), b"commits/0/x"];
    let mut tx = node.begin().await.unwrap();
    for key in keys {
        tx.put(key, Bytes::copy_from_slice(key)).unwrap();
        tx.put([key, b"-empty"].concat(), "").unwrap();
    }
    tx.commit().await.unwrap();
    node.close().await.unwrap();
    let node = world.node().await;
    let tx = node.begin().await.unwrap();
    for key in keys {
        assert_eq!(tx.get(key).await.unwrap().unwrap(), key);
        assert_eq!(tx.get([key, b"-empty"].concat()).await.unwrap().unwrap(), "", "empty is not absent");
    }
    assert_eq!(tx.scan(..).await.unwrap().len(), 16);
}

#[tokio::test(start_paused = true)]
async fn a_place_without_a_store_is_told_apart() {
    let world = World::new();
    let error = world.builder().read_only().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoStore);
    let error = world.builder().must_exist().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoStore);
    assert!(world.memory.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deleted_marker_is_not_silently_replaced() {
    let world = World::new();
    put(&world.node().await, "k", "v").await;
    world.memory.delete(&["aft.json".to_owned()]).await.unwrap();
    let error = open_error(&world).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("aft.json"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_marker_and_another_format_version_are_named() {
    let world = World::new();
    world.node().await;
    damage(&world, "aft.json", |bytes| bytes.truncate(40)).await;
    let error = open_error(&world).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("aft.json") && error.source().is_some(), "{error}");

    let world = World::new();
    world.node().await;
    damage(&world, "aft.json", |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap().replace("\"format\": 1", "\"format\": 7");
        *bytes = text.into_bytes();
    })
    .await;
    let error = open_error(&world).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.source().unwrap().to_string().contains("version 7"), "{error:?}");
}

/// The create says Ok although an object is there.
#[derive(Debug)]
struct Overwrites(aft_memory::MemoryStorage);
#[async_trait::async_trait]
impl Storage for Overwrites {
    async fn get(&self, path: &str) -> Result<aft_core::Object, aft_core::StorageError> {
        self.0.get(path).await
    }
    async fn get_range(
        &self,
        path: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, aft_core::StorageError> {
        self.0.get_range(path, range).await
    }
    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), aft_core::StorageError> {
        self.0.delete(&[path.to_owned()]).await?;
        self.0.create(path, bytes).await
    }
    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> futures::stream::BoxStream<'_, Result<aft_core::ObjectInfo, aft_core::StorageError>> {
        self.0.list(prefix, start_after)
    }
    async fn delete(&self, paths: &[String]) -> Result<(), aft_core::StorageError> {
        self.0.delete(paths).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_create_if_absent_is_refused_and_nothing_is_lost() {
    let world = World::new();
    put(&world.node().await, "k", "v").await;
    world.storage.reset();
    let error = Aft::open(Arc::new(Overwrites(world.memory.clone())), World::config()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("create-if-absent"), "{error}");
    let node = world.node().await;
    node.sweep().await.unwrap();
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
}

/// The proof runs beside the first refresh, and beside the sweep that this starts: whichever ends first, the store is refused, what they wrote
/// lies under names of their own, and nothing of the node goes on.
#[tokio::test(start_paused = true)]
async fn a_store_that_overwrites_is_refused_also_where_the_refresh_is_faster() {
    // How far the refresh and the sweep are when the proof ends: a tenth of a second for each round.
    let mut begun = 0;
    for tenths in 0..12 {
        let world = World::new();
        put(&world.node().await, "k", "v").await;
        // Until a sweep is due.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let before = objects(&world).await;
        let storage = RecordingStorage::new(Arc::new(Overwrites(world.memory.clone())));
        let proof = storage.fail(Operation::Create, "aft.json", 1, Fault::Delay);
        let config = Config { sweep_interval: Duration::from_secs(60), ..World::config() };
        let waiting = Arc::new(WaitingStorage::new(Arc::new(storage.clone())));
        let opening = tokio::spawn(Aft::builder(waiting).config(config).clock(world.clock()).open());
        proof.reached().await;
        tokio::time::sleep(Duration::from_millis(100 * tenths + 50)).await;
        proof.release().await.unwrap();
        let error = opening.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("create-if-absent"), "{error}");
        let sent = storage.requests().len();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(storage.requests().len(), sent, "nothing goes on");
        let after = objects(&world).await;
        assert!(
            before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)),
            "nothing else lies under an old name"
        );
        // The sweep makes its own proof before it publishes anything.
        let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
        assert!(new.iter().all(|path| path.starts_with("epochs/sweep/")), "{new:?}");
        begun += new.len();
    }
    assert!((6..12).contains(&begun), "the others ended before a sweep began: {begun}");
}

async fn objects(world: &World) -> BTreeMap<String, Bytes> {
    let mut objects = BTreeMap::new();
    for path in world.memory.paths() {
        objects.insert(path.clone(), world.memory.get(&path).await.unwrap().bytes);
    }
    objects
}

/// What is wrong with the store as such is what the caller is told.
#[tokio::test(start_paused = true)]
async fn that_a_store_overwrites_is_told_before_what_else_is_wrong_with_it() {
    let world = World::new();
    put(&world.node().await, "k", "v").await;
    let storage = RecordingStorage::new(Arc::new(Overwrites(world.memory.clone())));
    storage.fail(Operation::List, "feed/", 1, Fault::Before(Stored::Denied));
    let open = || Aft::builder(Arc::new(storage.clone())).config(World::config()).clock(world.clock());
    assert_eq!(open().open().await.unwrap_err().kind(), ErrorKind::Unsupported);
    // And what else is wrong is told where the proof succeeds.
    world.storage.fail(Operation::List, "feed/", 1, Fault::Before(Stored::Denied));
    assert_eq!(open_error(&world).await.kind(), ErrorKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_commit_record_is_named_and_other_keys_stay_readable() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "other", "v").await;
    // Too much for the feed to carry, so that readers go to the record.
    let mut tx = node.begin().await.unwrap();
    for n in 0..40 {
        tx.put(format!("key-{n:02}"), vec![n; 8 << 10]).unwrap();
    }
    world.storage.reset();
    let receipt = tx.commit().await.unwrap().receipt;
    let path = created(&world, "commits/").remove(0);
    node.close().await.unwrap();

    // One value is damaged: it alone cannot be read.
    damage(&world, &path, |bytes| *bytes.last_mut().unwrap() ^= 1).await;
    let reader = world.node().await;
    let tx = reader.begin().await.unwrap();
    let error = tx.get("key-39").await.unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::Corrupt, Some(tx.id())));
    assert!(error.to_string().contains(&path), "{error}");
    assert_eq!(tx.get("key-38").await.unwrap().unwrap(), vec![38; 8 << 10]);
    assert_eq!(tx.get("other").await.unwrap().unwrap(), "v");

    // The record itself is damaged: whoever needs it is told, and reads by range still work.
    damage(&world, &path, |bytes| bytes[40] ^= 1).await;
    let error = reader.outcome(receipt.txn_id()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&path), "{error}");
    assert_eq!(
        world.node().await.begin().await.unwrap().get("key-01").await.unwrap().unwrap(),
        vec![1; 8 << 10]
    );
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_meets_a_damaged_decision_publishes_the_rest_and_says_so() {
    let world = World::new();
    let (dead, node) = (world.node().await, world.node().await);
    world.storage.reset();
    put(&dead, "lost", "v").await;
    put(&dead, "found", "v").await;
    let path = created(&world, "commits/").remove(0);
    drop(dead);
    damage(&world, &path, |bytes| bytes.truncate(20)).await;
    let before = node.store_info().swept_through;
    let error = node.sweep().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.source().unwrap().to_string().contains(&path), "{error:?}");
    assert_eq!(node.store_info().swept_through, before, "it will be looked at again");
    let reader = world.node().await;
    assert_eq!(get(&reader, "found").await.as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_feed_object_is_made_up_for_and_a_foreign_one_is_left_alone() {
    let world = World::new();
    let node = world.node().await;
    world.memory.create("feed/not-ours", "x".into()).await.unwrap();
    world.storage.reset();
    put(&node, "k", "v").await;
    node.publish().await.unwrap();
    let path = created(&world, "feed/").remove(0);
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"));
    damage(&world, &path, |bytes| bytes[35] ^= 1).await;
    assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"), "the decision says it, too");
}

#[tokio::test(start_paused = true)]
async fn damage_on_the_way_is_found_and_not_kept() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put("large", vec![1; 50_000]).unwrap();
    let receipt = tx.commit().await.unwrap().receipt;
    let reader = world.node().await;
    for corruption in [Corruption::Flip(7), Corruption::Truncate(49_999), Corruption::Truncate(0)] {
        let tx = reader.begin_with(Begin::new().after(&receipt)).await.unwrap();
        world.storage.fail(Operation::Get, "values/", 1, Fault::Corrupt(corruption));
        assert_eq!(tx.get("large").await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let tx = reader.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(tx.get("large").await.unwrap().unwrap(), vec![1; 50_000]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_is_gone_is_never_absent() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put("large", vec![1; 50_000]).unwrap();
    world.storage.reset();
    let receipt = tx.commit().await.unwrap().receipt;
    world.memory.delete(&created(&world, "values/")).await.unwrap();
    let tx = world.node().await.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(tx.get("large").await.unwrap_err().kind(), ErrorKind::VersionUnavailable);
}

#[tokio::test(start_paused = true)]
async fn no_permission_and_a_full_disk_are_clear_and_lose_nothing() {
    for (stored, expected) in [(Stored::Denied, ErrorKind::Denied), (Stored::Invalid, ErrorKind::Unsupported)]
    {
        let world = World::new();
        let node = world.node().await;
        put(&node, "k", "v").await;
        for prefix in ["commits/", "values/", "feed/"] {
            for _ in 0..100 {
                world.storage.fail(Operation::Create, prefix, 1, Fault::Before(stored));
            }
        }
        let mut tx = node.begin().await.unwrap();
        tx.put("k", "small").unwrap();
        assert_eq!(tx.commit().await.unwrap_err().kind(), expected);
        let mut tx = node.begin().await.unwrap();
        tx.put("k", vec![0; 50_000]).unwrap();
        assert_eq!(tx.commit().await.unwrap_err().kind(), expected);
        assert_eq!(node.publish().await.unwrap_err().kind(), expected);
        assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
        world.storage.reset();
        node.close().await.unwrap();
        assert_eq!(get(&world.node().await, "k").await.as_deref(), Some("v"));
    }
    let world = World::new();
    world.storage.fail(Operation::Get, "aft.json", 1, Fault::Before(Stored::Denied));
    assert_eq!(open_error(&world).await.kind(), ErrorKind::Denied);
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_an_error_and_not_in_a_hang() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "k", "v").await;
    for operation in [Operation::Get, Operation::GetRange, Operation::Create, Operation::List] {
        for _ in 0..1000 {
            world.storage.fail(operation, "", 1, Fault::Before(Stored::Unavailable));
        }
    }
    assert_eq!(node.refresh().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(node.publish().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(node.sweep().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(open_error(&world).await.kind(), ErrorKind::Unavailable);
    assert_eq!(node.begin().await.unwrap_err().kind(), ErrorKind::Unavailable, "staler than was asked for");
    world.storage.reset();
    assert_eq!(get(&node, "k").await.as_deref(), Some("v"));
    node.close().await.unwrap();
}
