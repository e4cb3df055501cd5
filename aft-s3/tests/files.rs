//! The file adapter: the contract, races between instances and between processes, and what it does when it cannot.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers of tests")]

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use aft_core::conformance::{self, Options};
use aft_core::{Storage, StorageError};
use aft_s3::FileStorage;
use bytes::Bytes;
use futures::TryStreamExt;

async fn names(storage: &FileStorage, prefix: &str) -> Vec<String> {
    let listed: Vec<_> = storage.list(prefix, None).try_collect().await.unwrap();
    listed.into_iter().map(|info| info.path).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_with_sync() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(folder.path()).unwrap();
    let options = Options { rounds: 3, objects: 300, large_bytes: 1 << 20, ..Options::default() };
    conformance::run(Arc::new(storage), &options).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conformance_without_sync() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(folder.path().join("made/when/needed")).unwrap().with_sync(false);
    conformance::run(Arc::new(storage), &Options { rounds: 40, ..Options::default() }).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path().join("made/when/needed/~staged")).unwrap().collect();
    assert!(left.is_empty(), "no staged file is left: {left:?}");
}

/// Creates while others delete, so that folders come and go under the creators.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn folders_come_and_go_under_creators() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let storage = FileStorage::open(folder.path()).unwrap().with_sync(false);
        tasks.spawn(async move {
            for round in 0..200 {
                let path = format!("a/b/c/{task}-{round}");
                storage.create(&path, Bytes::from_static(b"x")).await.unwrap();
                assert_eq!(storage.get(&path).await.unwrap().bytes, "x");
                storage.delete(&[path]).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert!(!folder.path().join("a").exists(), "empty folders go");
}

/// The racer that the next test starts: creates its paths, prints which of them it won.
#[test]
fn racer() {
    let (Ok(root), Ok(me)) = (std::env::var("AFT_TEST_RACE_ROOT"), std::env::var("AFT_TEST_RACER")) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let storage = FileStorage::open(root).unwrap().with_sync(false);
        for round in 0..300 {
            match storage.create(&format!("race/{round}"), Bytes::from(me.clone())).await {
                Ok(()) => println!("WON {round}"),
                Err(StorageError::AlreadyExists { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn processes_race_and_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let racers: Vec<_> = (0..6)
        .map(|me| {
            Command::new(std::env::current_exe().unwrap())
                .args(["racer", "--exact", "--nocapture"])
                .env("AFT_TEST_RACE_ROOT", folder.path())
                .env("AFT_TEST_RACER", me.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut winners = vec![Vec::new(); 300];
    for (me, racer) in racers.into_iter().enumerate() {
        let output = racer.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for round in text.split("WON ").skip(1).map(|rest| rest.split_whitespace().next().unwrap()) {
            winners[round.parse::<usize>().unwrap()].push(me);
        }
    }
    for (round, winners) in winners.iter().enumerate() {
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        let content = std::fs::read_to_string(folder.path().join(format!("race/{round}"))).unwrap();
        assert_eq!(content, winners[0].to_string());
    }
}

#[tokio::test]
async fn what_is_no_object_is_not_listed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(folder.path()).unwrap().with_sync(false);
    storage.create("a/b", Bytes::new()).await.unwrap();
    std::fs::write(folder.path().join("~staged/left"), "x").unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
    assert_eq!(names(&storage, "").await, ["a/b"]);
    assert!(names(&storage, "../").await.is_empty());
    assert!(names(&storage, "/etc/").await.is_empty());
}

#[tokio::test]
async fn an_object_and_a_folder_of_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(folder.path()).unwrap().with_sync(false);
    storage.create("object", Bytes::new()).await.unwrap();
    storage.create("folder/object", Bytes::new()).await.unwrap();
    for path in ["object/below", "folder"] {
        let refused = storage.create(path, Bytes::new()).await.unwrap_err();
        assert!(matches!(refused, StorageError::Invalid { .. }), "{refused:?}");
        assert!(refused.source().unwrap().to_string().contains("one name"), "{refused:?}");
        assert!(matches!(storage.get(path).await, Err(StorageError::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_root_that_is_a_file_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for root in [file.path().to_owned(), file.path().join("below")] {
        let refused = FileStorage::open(&root).unwrap_err();
        assert!(matches!(refused, StorageError::Invalid { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn opening_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let storage = FileStorage::open(folder.path().join("store")).unwrap();
    assert!(names(&storage, "").await.is_empty());
    assert!(matches!(storage.get("a").await, Err(StorageError::NotFound { .. })));
    storage.delete(&["a".to_owned()]).await.unwrap();
    assert!(!folder.path().join("store").exists());
}

/// Mounts a small file system, where this machine lets us.
fn mount(at: &Path, options: &str) -> Option<Mount> {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).status();
    if mounted.is_ok_and(|status| status.success()) {
        return Some(Mount(at.to_owned()));
    }
    println!("SKIPPED: this machine does not let us mount a tmpfs");
    None
}

struct Mount(std::path::PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_invalid_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = mount(folder.path(), "size=256k") else { return };
    let storage = FileStorage::open(folder.path()).unwrap();
    let full = storage.create("a/large", vec![1; 1 << 20].into()).await.unwrap_err();
    assert!(matches!(full, StorageError::Invalid { .. }), "{full:?}");
    assert_eq!(full.source().unwrap().to_string(), "no space left on the device");
    assert!(names(&storage, "").await.is_empty());
    storage.create("a/small", Bytes::from_static(b"x")).await.unwrap();
}

#[tokio::test]
async fn a_read_only_store_is_read_and_denies_writes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = mount(folder.path(), "size=256k") else { return };
    let storage = FileStorage::open(folder.path()).unwrap();
    storage.create("a", Bytes::from_static(b"x")).await.unwrap();
    // A thread that has answered may still be closing its file: busy until then.
    let remount =
        || Command::new("mount").args(["-o", "remount,ro"]).arg(folder.path()).status().unwrap().success();
    let remounted = (0..100).any(|_| {
        remount() || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            false
        }
    });
    assert!(remounted);
    let storage = FileStorage::open(folder.path()).unwrap();
    assert_eq!(storage.get("a").await.unwrap().bytes, "x");
    assert_eq!(names(&storage, "").await, ["a"]);
    let denied = storage.create("b", Bytes::new()).await.unwrap_err();
    assert!(matches!(denied, StorageError::Denied { .. }), "{denied:?}");
    let denied = storage.delete(&["a".to_owned()]).await.unwrap_err();
    assert!(matches!(denied, StorageError::Denied { .. }), "{denied:?}");
}
