//! Disks that fail to sync.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aft_core::{Aft, Begin, Config, ErrorKind, Outcome, Storage, StorageError};
use bytes::Bytes;
use futures::TryStreamExt;

use super::disk::{Broken, How};
use super::{FileStorage, date};

struct World {
    root: tempfile::TempDir,
    storage: FileStorage,
}

const ALWAYS: u32 = u32::MAX;

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let storage = FileStorage::open(root.path()).unwrap();
        Self { root, storage }
    }

    /// Syncs of what begins with `below` fail so many times.
    fn break_disk(&self, below: &str, times: u32) {
        self.disk_is(below, times, How::Fails);
    }

    fn disk_is(&self, below: &str, times: u32, how: How) {
        let below = self.root.path().join(below);
        *self.storage.inner.disk.broken.lock() = Some(Broken { below, times, how });
    }

    fn mend_disk(&self) {
        *self.storage.inner.disk.broken.lock() = None;
    }

    async fn create(&self, path: &str) -> Result<(), StorageError> {
        self.storage.create(path, Bytes::from_static(b"content")).await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.storage.list(prefix, None).map_ok(|info| info.path).try_collect().await
    }

    fn inode(&self, path: &str) -> u64 {
        fs::metadata(self.root.path().join(path)).unwrap().ino()
    }

    fn staged(&self) -> usize {
        fs::read_dir(self.root.path().join("~staged")).unwrap().count()
    }
}

#[tokio::test]
async fn a_staged_file_that_cannot_be_synced_is_not_moved() {
    let world = World::new();
    world.break_disk("~staged", 1);
    let error = world.create("a/b").await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
    assert_eq!(world.names("").await.unwrap(), [""; 0]);
    assert_eq!(world.staged(), 0, "the next try writes another file");
    world.create("a/b").await.unwrap();
}

#[tokio::test]
async fn what_could_not_be_synced_is_written_anew_before_it_is_believed() {
    for reader in ["get", "get_range", "list", "create", "create another"] {
        let world = World::new();
        world.break_disk("a", 1);
        let error = world.create("a/b").await.unwrap_err();
        assert!(matches!(error, StorageError::Unknown { .. }), "{error:?}");
        let (inode, date) = (world.inode("a/b"), date_on_disk(&world.root.path().join("a/b")));
        match reader {
            "get" => assert_eq!(world.storage.get("a/b").await.unwrap().bytes, "content"),
            "get_range" => assert_eq!(world.storage.get_range("a/b", 1..4).await.unwrap(), "ont"),
            "list" => assert_eq!(world.names("a/").await.unwrap(), ["a/b"]),
            "create another" => world.create("a/c").await.unwrap(),
            _ => {
                let error = world.create("a/b").await.unwrap_err();
                assert!(matches!(error, StorageError::AlreadyExists { .. }), "{error:?}");
            }
        }
        // Another sync of the same file would prove nothing.
        assert_ne!(world.inode("a/b"), inode, "{reader}");
        let object = world.storage.get("a/b").await.unwrap();
        assert_eq!((object.bytes, object.last_modified), (Bytes::from_static(b"content"), date));
        assert_eq!(world.staged(), 0);
    }
}

fn date_on_disk(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[tokio::test]
async fn nothing_is_believed_or_made_as_long_as_the_disk_fails() {
    let world = World::new();
    world.create("c/d").await.unwrap();
    world.break_disk("a", ALWAYS);
    world.create("a/b").await.unwrap_err();
    let of_the_path = world.create("a/b").await.unwrap_err();
    assert!(matches!(of_the_path, StorageError::Unknown { .. }), "an earlier try made it: {of_the_path:?}");
    let errors = [
        world.storage.get("a/b").await.unwrap_err(),
        world.storage.get_range("a/b", 0..1).await.unwrap_err(),
        world.names("").await.unwrap_err(),
        world.create("c/e").await.unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
        assert_eq!(error.path(), "a/b", "the object in doubt is named");
    }
    // What is not in doubt is read.
    assert_eq!(world.storage.get("c/d").await.unwrap().bytes, "content");
    assert_eq!(world.names("c/").await.unwrap(), ["c/d"]);
    world.mend_disk();
    assert_eq!(world.names("").await.unwrap().len(), 2);
    assert_eq!(world.staged(), 0);
}

#[tokio::test]
async fn a_loser_whose_sync_fails_does_not_say_that_the_object_exists() {
    let world = World::new();
    world.create("a/b").await.unwrap();
    world.break_disk("a", 1);
    let error = world.create("a/b").await.unwrap_err();
    assert!(matches!(error, StorageError::Unknown { .. }), "{error:?}");
    let error = world.create("a/b").await.unwrap_err();
    assert!(matches!(error, StorageError::AlreadyExists { .. }), "{error:?}");
}

#[tokio::test]
async fn what_was_deleted_is_not_in_doubt_and_does_not_come_back() {
    let world = World::new();
    world.break_disk("a", ALWAYS);
    world.create("a/b").await.unwrap_err();
    fs::remove_file(world.root.path().join("a/b")).unwrap();
    let error = world.storage.get("a/b").await.unwrap_err();
    assert!(matches!(error, StorageError::NotFound { .. }), "{error:?}");
    world.create("c").await.unwrap();
    assert_eq!(world.names("").await.unwrap(), ["c"]);
}

/// A collection deletes the object while its bytes are on their way into another file.
#[tokio::test]
async fn an_object_that_is_deleted_while_it_is_written_anew_stays_deleted() {
    let world = World::new();
    world.break_disk("a", 1);
    world.create("a/b").await.unwrap_err();
    world.disk_is("~staged", 1, How::Removes(world.root.path().join("a/b")));
    let error = world.storage.get("a/b").await.unwrap_err();
    assert!(matches!(error, StorageError::NotFound { .. }), "{error:?}");
    assert_eq!(world.names("").await.unwrap(), [""; 0]);
    assert_eq!(world.staged(), 0);
}

/// A process that is frozen before the move, and dies after it: the object must not look as old as its bytes are.
#[tokio::test]
async fn the_date_of_an_object_whose_maker_died_is_that_of_the_move() {
    let world = World::new();
    world.create("before").await.unwrap();
    let frozen = Duration::from_millis(1_500);
    world.disk_is("~staged", 1, How::Takes(frozen));
    let target = world.root.path().join("object");
    let inner = &world.storage.inner;
    let moved = inner.stage_and_move("object", &Bytes::new(), &target, world.root.path()).unwrap();
    let before = world.storage.get("before").await.unwrap().last_modified;
    let date = |object: aft_core::Object| object.last_modified.duration_since(before).unwrap();
    // The kernel's clock for files is a few milliseconds coarse.
    assert!(date(world.storage.get("object").await.unwrap()) >= frozen / 2);
    // Had it lived, then nothing would have changed for those who had read it.
    let unpinned = world.storage.get("object").await.unwrap().last_modified;
    date::pin(&moved.file).unwrap();
    assert_eq!(world.storage.get("object").await.unwrap().last_modified, unpinned);
    let listed: Vec<_> = world.storage.list("object", None).try_collect().await.unwrap();
    assert_eq!(listed[0].last_modified, unpinned);
}

#[tokio::test]
async fn a_delete_that_was_not_synced_is_synced_when_it_is_asked_again() {
    let world = World::new();
    world.create("a/b/c").await.unwrap();
    world.create("a/d").await.unwrap();
    world.break_disk("a", 2);
    for _ in 0..2 {
        let error = world.storage.delete(&["a/b/c".to_owned()]).await.unwrap_err();
        assert!(matches!(error, StorageError::Unknown { .. }), "{error:?}");
    }
    world.storage.delete(&["a/b/c".to_owned()]).await.unwrap();
}

fn config() -> Config {
    Config { commit_deadline: Duration::from_secs(2), background: false, ..Config::default() }
}

/// The folders of decisions.
const DECISIONS: &str = "commits";

#[tokio::test]
async fn a_commit_that_is_not_on_the_disk_is_not_acknowledged() {
    let world = World::new();
    let aft = Aft::open(Arc::new(world.storage.clone()), config()).await.unwrap();
    world.break_disk(DECISIONS, ALWAYS);
    let mut tx = aft.begin_with(Begin::new()).await.unwrap();
    let id = tx.id();
    tx.put("key", "value").unwrap();
    let error = tx.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown, "{error:?}");
    world.mend_disk();
    assert!(matches!(aft.outcome(id).await.unwrap(), Outcome::Committed { .. }));
}

#[tokio::test]
async fn a_commit_whose_sync_failed_once_is_acknowledged_when_it_is_on_the_disk() {
    let world = World::new();
    let aft = Aft::open(Arc::new(world.storage.clone()), config()).await.unwrap();
    world.break_disk("feed", 1);
    let mut tx = aft.begin_with(Begin::new()).await.unwrap();
    tx.put("key", "value").unwrap();
    tx.commit().await.unwrap();
    let broken = world.storage.inner.disk.broken.lock().clone().unwrap();
    assert_eq!(broken.times, 0, "a sync failed");
    assert!(world.storage.inner.settle_below("").is_ok());
    let tx = aft.begin_with(Begin::new().latest()).await.unwrap();
    assert_eq!(tx.get("key").await.unwrap().unwrap(), "value");
}

#[tokio::test]
async fn what_is_no_file_is_named_and_does_not_hang() {
    let world = World::new();
    world.create("file").await.unwrap();
    let at = |name: &str| -> PathBuf { world.root.path().join(name) };
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (name, what) in [
        ("pipe", "a pipe"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("socket", "a socket"),
    ] {
        let get = tokio::time::timeout(Duration::from_secs(10), world.storage.get(name)).await;
        for error in [get.expect("it does not wait").unwrap_err(), world.create(name).await.unwrap_err()] {
            assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.starts_with(what), "{cause}");
        }
    }
    assert_eq!(world.names("").await.unwrap(), ["file"]);
}
