//! Stores over object_store backends keep the contract: its memory here, real servers in `tests/tests/s3`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::error::Error;
use std::sync::Arc;

use aft_core::conformance::{self, Options as Suite};
use aft_core::{Storage, StorageError};
use aft_s3::{ObjectStorage, Options, open};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_of_object_store() {
    for prefix in ["", "some/prefix", "/slashes/"] {
        let storage = ObjectStorage::new(Arc::new(InMemory::new()), prefix);
        conformance::run(Arc::new(storage), &Suite::default()).await.unwrap();
    }
}

#[tokio::test]
async fn prefixes_are_stores_of_their_own() {
    let shared = Arc::new(InMemory::new());
    let inner = ObjectStorage::new(Arc::<InMemory>::clone(&shared), "a/b");
    let outer = ObjectStorage::new(shared, "a");
    inner.create("c", Bytes::new()).await.unwrap();
    outer.create("bc/d", Bytes::new()).await.unwrap();
    let names = |storage: ObjectStorage| async move {
        let listed: Vec<_> = storage.list("", None).try_collect().await.unwrap();
        listed.into_iter().map(|info| info.path).collect::<Vec<_>>()
    };
    assert_eq!(names(inner).await, ["c"]);
    assert_eq!(names(outer).await, ["b/c", "bc/d"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn urls() {
    let suite = Suite { rounds: 2, objects: 50, large_bytes: 1 << 16, ..Suite::default() };
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file://{}/a%20b", folder.path().display());
    for url in ["memory://", "memory://named", file.as_str()] {
        let storage = open(url, Options { sync: false, ..Options::default() }).unwrap();
        conformance::run(storage, &suite).await.unwrap();
    }
    assert!(folder.path().join("a b").is_dir());
    open("memory://shared", Options::default()).unwrap().create("a", Bytes::new()).await.unwrap();
    assert!(open("memory://shared", Options::default()).unwrap().get("a").await.is_ok());
    assert!(open("memory://", Options::default()).unwrap().get("a").await.is_err());
}

#[test]
fn wrong_urls_say_what_is_wrong_and_hide_secrets() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let root = format!("file://{}", file.path().display());
    let cases = [
        ("/tmp/folder", "file:///"),
        ("file://folder", "three slashes"),
        ("ftp://host/x", "s3://"),
        ("s3://", "bucket is missing"),
        ("s3://key:hush@bucket/x", "environment"),
        (root.as_str(), "folder"),
    ];
    for (url, expected) in cases {
        let refused = open(url, Options::default()).map(|_| ()).unwrap_err();
        assert!(matches!(refused, StorageError::Invalid { .. }), "{url}: {refused:?}");
        let text = format!("{refused} {refused:?} {}", refused.source().unwrap());
        assert!(text.contains(expected), "{url}: {text}");
        assert!(!text.contains("hush"), "{text}");
    }
}
