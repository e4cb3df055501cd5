//! Objects that are longer than any can be, and of other format versions; servers that send whole objects for ranges, cannot delete many
//! at once, keep versions, or do not say how long an object is.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::fs::OpenOptions;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{
    Aft, Begin, CheckProblemKind, CheckReport, Error, ErrorKind, Object, ObjectInfo, Storage, StorageError,
};
use aft_memory::{Faults, MemoryStorage, RecordingStorage, SimulatedStorage};
use aft_s3::{Credentials, FileStorage, Options};
use aft_tests::origin::{Habits, Origin};
use aft_tests::{HidingStorage, World, get, put};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Longer than any window: what was committed before is folded by the next checkpoint.
const OLD: Duration = Duration::from_secs(3600);
const TEN_TB: u64 = 10 << 40;

/// A store with an object of every kind: two checkpoints, one of which is settled, lists of garbage and outcomes, and commits since.
async fn store() -> (World, Aft) {
    let world = World::new();
    let node = world.node().await;
    put(&node, "large", &"x".repeat(20_000)).await;
    put(&node, "replaced", &"y".repeat(20_000)).await;
    put(&node, "small", "1").await;
    node.run(b"first", async |tx| tx.put("first", "1").map(|()| Bytes::from("done"))).await.unwrap();
    node.publish().await.unwrap();
    for round in 0..2 {
        tokio::time::sleep(OLD).await;
        node.checkpoint().await.unwrap();
        put(&node, "replaced", &"z".repeat(20_000 + round)).await;
        node.publish().await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    node.run(b"order", async |tx| tx.put("order", "3").map(|()| Bytes::from("done"))).await.unwrap();
    let tx = node.begin().await.unwrap();
    tx.get_guarded("small").await.unwrap();
    tx.commit().await.unwrap();
    put(&node, "young", &"v".repeat(20_000)).await;
    node.publish().await.unwrap();
    (world, node)
}

async fn listed(storage: &dyn Storage) -> Vec<ObjectInfo> {
    let mut listed: Vec<_> = storage.list("", None).try_collect().await.unwrap();
    listed.sort_by(|a, b| a.path.cmp(&b.path));
    listed
}

/// The newest object of each kind, by its folder; of checkpoints a manifest and a seal.
async fn newest(world: &World) -> Vec<String> {
    let mut newest = std::collections::BTreeMap::new();
    for object in listed(&world.memory).await {
        let kind = if object.path.starts_with("checkpoints/") {
            object.path.rsplit('.').next().unwrap().to_owned()
        } else {
            object.path.split('/').next().unwrap().to_owned()
        };
        newest.insert(kind, object.path);
    }
    newest.into_values().collect()
}

/// Files that are dated as the objects in memory are.
#[derive(Debug, Clone)]
struct Dated {
    files: FileStorage,
    memory: MemoryStorage,
}

#[async_trait]
impl Storage for Dated {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.get_at_most(path, u64::MAX).await
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let bytes = self.files.get_at_most(path, most).await?.bytes;
        Ok(Object { bytes, ..self.memory.get(path).await? })
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.files.get_range(path, range).await
    }

    async fn create(&self, path: &str, _: Bytes) -> Result<(), StorageError> {
        Err(StorageError::denied(path))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let files = self.files.list(prefix, start_after);
        files
            .and_then(async |object| {
                let last_modified = self.memory.get(&object.path).await?.last_modified;
                Ok(ObjectInfo { last_modified, ..object })
            })
            .boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        Err(StorageError::denied(paths.first().map_or("", String::as_str)))
    }
}

/// The store as files in this folder.
async fn as_files(world: &World, folder: &Path) -> Dated {
    let files = FileStorage::open(folder).unwrap().with_sync(false);
    for object in listed(&world.memory).await {
        files.create(&object.path, world.memory.get(&object.path).await.unwrap().bytes).await.unwrap();
    }
    Dated { files, memory: world.memory.clone() }
}

fn names<T: Debug>(result: Result<T, Error>, path: &str) {
    if let Err(error) = result {
        let text = format!("{error} {:?}", std::error::Error::source(&error));
        assert!(text.contains(path), "{path}: {text}");
    }
}

/// Nothing takes memory by what a file's length says, and everything says which file it is.
#[tokio::test(start_paused = true)]
async fn an_object_of_ten_terabytes_is_named_and_takes_no_memory() {
    let (world, _node) = store().await;
    let folder = tempfile::tempdir().unwrap();
    let files = as_files(&world, folder.path()).await;
    let builder = || Aft::builder(Arc::new(files.clone())).config(World::config()).clock(world.clock());
    assert!(builder().check().await.unwrap().is_clean());
    let kinds = newest(&world).await;
    assert_eq!(kinds.len(), 13, "an object of every kind: {kinds:?}");
    ALLOCATOR.reset_peak_usage();
    let before = ALLOCATOR.current_usage();
    for path in kinds {
        let file = OpenOptions::new().write(true).open(folder.path().join(&path)).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(TEN_TB).unwrap();
        let is_read = !path.ends_with(".sealed") && !path.starts_with("epochs/");
        match builder().check().await {
            Ok(report) => {
                let named = report.problems.iter().find(|problem| problem.path == path);
                assert_eq!(
                    named.map(|problem| problem.kind),
                    is_read.then_some(CheckProblemKind::Damaged),
                    "{path}: {report:#?}"
                );
                let what = named.map_or("", |problem| &problem.what);
                assert!(!is_read || what.contains("bytes") || path.starts_with("values/"), "{path}: {what}");
                assert!(
                    report.decisions > 0 && report.claims > 0 && report.feed_objects > 0,
                    "{path}: {report:#?}"
                );
            }
            Err(error) => {
                assert!(path == "aft.json" && error.kind() == ErrorKind::Corrupt, "{path}: {error}");
                assert!(error.to_string().contains("10995116277760 bytes"), "{error}");
            }
        }
        match builder().read_only().open().await {
            Ok(node) => {
                for (key, value) in
                    [("small", "1"), ("large", &*"x".repeat(20_000)), ("young", &"v".repeat(20_000))]
                {
                    let tx = node.begin().await.unwrap();
                    match tx.get(key).await {
                        Ok(read) => assert_eq!(read.as_deref(), Some(value.as_bytes()), "{path}: {key}"),
                        Err(error) => names::<()>(Err(error), &path),
                    }
                }
                if path.starts_with("requests/") || path.starts_with("commits/") {
                    let tx = node.begin_with(Begin::new().latest()).await.unwrap();
                    assert_eq!(tx.get("order").await.unwrap().unwrap(), "3", "{path}");
                }
                match node.collect_garbage(true).await {
                    Ok(report) => {
                        let said = report.left_out.join("\n");
                        assert_eq!(said.contains(&path), report.is_damaged, "{path}: {said}");
                    }
                    failed => names(failed, &path),
                }
            }
            failed => {
                assert!(path == "aft.json", "{path}: {failed:?}");
                names(failed, &path);
            }
        }
        file.set_len(len).unwrap();
    }
    assert!(builder().check().await.unwrap().is_clean());
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    assert!(peak < 64 << 20, "{peak} bytes");
}

/// Puts other bytes in an object's place, under the same date.
async fn replace(world: &World, path: &str, bytes: impl Into<Bytes>) -> Bytes {
    let before = world.memory.get(path).await.unwrap();
    world.memory.delete(&[path.to_owned()]).await.unwrap();
    world.memory.create(path, bytes.into()).await.unwrap();
    assert!(world.memory.redate(path, before.last_modified));
    before.bytes
}

async fn check(world: &World) -> CheckReport {
    world.builder().check().await.unwrap()
}

/// A value object with something behind the value: read without it, and named by a check.
#[tokio::test(start_paused = true)]
async fn what_was_appended_to_a_value_is_found() {
    let (world, _node) = store().await;
    let values = world.memory.paths().into_iter().filter(|path| path.starts_with("values/"));
    for path in values.collect::<Vec<_>>() {
        let whole = world.memory.get(&path).await.unwrap().bytes;
        let longer = [&whole[..], b"more"].concat();
        replace(&world, &path, longer).await;
        let found: Vec<_> = check(&world).await.problems.into_iter().map(|it| (it.path, it.kind)).collect();
        let superseded = found.is_empty();
        assert!(superseded || found == [(path.clone(), CheckProblemKind::Damaged)], "{found:?}");
        assert!(!superseded || whole.starts_with(b"y") || whole.len() == 20_000, "{path}");
        let node = world.node().await;
        for key in ["large", "replaced", "young"] {
            assert!(get(&node, key).await.is_some(), "{key}");
        }
        replace(&world, &path, whole).await;
    }
    assert!(check(&world).await.is_clean());
}

/// One object of a newer aft is one line of the report, and everything else is checked.
#[tokio::test(start_paused = true)]
async fn another_format_version_is_one_line_of_a_check() {
    let (world, _node) = store().await;
    let whole = check(&world).await;
    assert!(whole.is_clean());
    let mut tried = 0;
    for path in newest(&world).await {
        let mut bytes = world.memory.get(&path).await.unwrap().bytes.to_vec();
        if path.ends_with(".json") && path.starts_with("checkpoints/") {
            bytes = String::from_utf8(bytes).unwrap().replacen("\"format\": 1", "\"format\": 2", 1).into();
        } else if bytes.starts_with(b"aft") {
            bytes[4] = 2;
        } else {
            continue;
        }
        tried += 1;
        let before = replace(&world, &path, bytes).await;
        let report = check(&world).await;
        let found = report.problems.iter().find(|problem| problem.path == path);
        assert_eq!(found.map(|it| it.kind), Some(CheckProblemKind::Unsupported), "{path}: {report:#?}");
        let what = &found.unwrap().what;
        assert!(what.contains("format version 2"), "{what}");
        let others = report.problems.iter().filter(|it| it.path != path);
        assert_eq!(others.count(), 0, "{path}: {report:#?}");
        let counts = |of: &CheckReport| of.decisions + of.feed_objects + of.claims + of.manifests;
        assert!(counts(&report) + 1 >= counts(&whole), "{path}: {report:#?}");
        replace(&world, &path, before).await;
    }
    assert_eq!(
        tried, 8,
        "decision, feed object, claim, guard, manifest, recent file, lists of garbage and outcomes"
    );
    let marker = String::from_utf8(world.memory.get("aft.json").await.unwrap().bytes.to_vec()).unwrap();
    replace(&world, "aft.json", marker.replacen("\"format\": 1", "\"format\": 2", 1)).await;
    let error = world.builder().check().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("aft.json"), "{error}");
}

/// A server with habits, and a client for it.
async fn server(habits: Habits) -> (Origin, MemoryStorage, Arc<dyn Storage>) {
    let memory = MemoryStorage::new();
    let origin = Origin::start_with(memory.clone(), habits).await.unwrap();
    let storage = client(&origin);
    (origin, memory, storage)
}

fn client(origin: &Origin) -> Arc<dyn Storage> {
    let credentials =
        Credentials { access_key_id: "key".into(), secret_access_key: "secret".into(), session_token: None };
    let options = Options {
        endpoint: Some(format!("http://{}", origin.address())),
        credentials: Some(credentials),
        region: Some("us-east-1".into()),
        ..Options::default()
    };
    aft_s3::open("s3://bucket/odd", options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ignores_ranges_or_deletes_singly_keeps_the_contract() {
    let options = aft_core::conformance::Options {
        rounds: 2,
        racers: 4,
        objects: 1200,
        large_bytes: 1 << 20,
        ..Default::default()
    };
    for (habits, checks) in [
        (
            Habits { ignores_ranges: true, ..Habits::default() },
            &["empty_object", "large_object", "absent_object", "range_edges"][..],
        ),
        (
            Habits { deletes_singly: true, ..Habits::default() },
            &["delete_absent", "delete_many", "create_after_delete"],
        ),
    ] {
        let (_origin, _, storage) = server(habits).await;
        for check in checks {
            let checked = aft_core::conformance::run_check(check, Arc::clone(&storage), &options).await;
            assert!(checked.is_ok(), "{habits:?}: {check}: {checked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_behind_a_server_that_ignores_ranges_is_read() {
    let (_origin, memory, storage) =
        server(Habits { ignores_ranges: true, deletes_singly: true, ..Habits::default() }).await;
    let node = Aft::open(Arc::clone(&storage), World::config()).await.unwrap();
    put(&node, "small", "1").await;
    put(&node, "large", &"x".repeat(2 << 20)).await;
    node.close().await.unwrap();
    let other = Aft::open(storage, World::config()).await.unwrap();
    assert_eq!(get(&other, "small").await.as_deref(), Some("1"));
    let tx = other.begin().await.unwrap();
    assert_eq!(tx.get_range("large", 1_000_000..1_000_010).await.unwrap().unwrap(), "xxxxxxxxxx");
    drop(tx);
    assert!(other.check().await.unwrap().is_clean());
    other.close().await.unwrap();
    assert!(!memory.is_empty());
}

/// Each answer by itself tells that versions are kept, and nothing else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_versions_is_noticed_by_any_answer() {
    for keeps_versions in [true, false] {
        for deletes_singly in [true, false] {
            let (origin, memory, storage) =
                server(Habits { keeps_versions, deletes_singly, ..Habits::default() }).await;
            storage.create("made", Bytes::from_static(b"x")).await.unwrap();
            assert_eq!(storage.keeps_versions(), keeps_versions);
            let other = client(&origin);
            assert_eq!(other.get("made").await.unwrap().bytes, "x");
            assert!(!other.keeps_versions(), "what was made before has the version null");
            other.delete(&["made".to_owned(), "absent".to_owned()]).await.unwrap();
            assert_eq!(other.keeps_versions(), keeps_versions, "singly: {deletes_singly}");
            assert!(memory.is_empty());
        }
    }
}

/// Versioning that is switched on where a store is: a collection says that it frees nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collection_says_that_the_bucket_keeps_versions() {
    let memory = MemoryStorage::new();
    for keeps_versions in [false, true] {
        let habits = Habits { keeps_versions, ..Habits::default() };
        let origin = Origin::start_with(memory.clone(), habits).await.unwrap();
        // Through every store of ours that is laid over another.
        let storage = RecordingStorage::new(client(&origin));
        let storage = SimulatedStorage::new(Arc::new(storage), 1, Faults::none());
        let storage = HidingStorage::new(Arc::new(storage));
        let node = Aft::open(Arc::new(storage), World::config()).await.unwrap();
        put(&node, "small", "1").await;
        for dry_run in [true, false] {
            let report = node.collect_garbage(dry_run).await.unwrap();
            assert_eq!(report.keeps_versions, keeps_versions, "the answer to the commit told it");
        }
        node.close().await.unwrap();
    }
}

/// object_store needs to know how long an object is: the error says so, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_say_how_long_it_is_is_refused_with_its_reason() {
    for ignores_ranges in [true, false] {
        let habits = Habits { ignores_ranges, sends_no_length: true, ..Habits::default() };
        let (_origin, memory, storage) = server(habits).await;
        memory.create("odd/made", Bytes::from_static(b"0123")).await.unwrap();
        for error in
            [storage.get("made").await.unwrap_err(), storage.get_range("made", 1..3).await.unwrap_err()]
        {
            let why = std::error::Error::source(&error).unwrap().to_string();
            assert!(matches!(error, StorageError::Invalid { .. }), "{error}: {why}");
            assert!(why.contains("Content-Length") && why.contains("proxy"), "{why}");
        }
    }
}
