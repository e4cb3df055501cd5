//! Stores over object_store backends keep the contract: its memory, and a real server where there is one.
//!
//! `AFT_TEST_S3_URL=s3://bucket/prefix` names the bucket (which must exist); endpoint and keys come from the usual
//! variables (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, ...). `AFT_TEST_S3_ROUNDS` sets the rounds of each race.
//! `AFT_TEST_S3_WAIVE` names what this server is known not to do, by commas: names of checks; `bucket` where it makes
//! buckets as they are named; `credentials` where it takes any.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers of tests")]

use std::error::Error;
use std::sync::Arc;

use aft_core::conformance::{self, Options as Suite};
use aft_core::{Storage, StorageError};
use aft_s3::{Credentials, ObjectStorage, Options, open};
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

/// The URL of the server that the environment names.
fn server() -> Option<String> {
    let url = std::env::var("AFT_TEST_S3_URL").ok();
    if url.is_none() {
        println!("SKIPPED: set AFT_TEST_S3_URL to run this against a server");
    }
    url
}

/// Whether the environment says that this server cannot do `what`.
fn waived(what: &str) -> bool {
    let waived =
        std::env::var("AFT_TEST_S3_WAIVE").is_ok_and(|list| list.split(',').any(|name| name == what));
    if waived {
        println!("SKIPPED: {what} is waived by AFT_TEST_S3_WAIVE");
    }
    waived
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_server_keeps_the_contract() {
    let Some(url) = server() else { return };
    let storage = open(&url, Options::default()).unwrap();
    let rounds = std::env::var("AFT_TEST_S3_ROUNDS").map_or(20, |rounds| rounds.parse().unwrap());
    let suite = Suite { rounds, ..Suite::default() };
    let mut failures = Vec::new();
    for check in conformance::CHECKS.iter().filter(|check| !waived(check)) {
        match conformance::run_check(check, Arc::clone(&storage), &suite).await {
            Ok(()) => println!("{check}: ok"),
            Err(failure) => {
                println!("{check}: {failure}\n    {:?}", failure.source);
                failures.push(*check);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test]
async fn a_wrong_bucket_is_invalid() {
    let Some(url) = server() else { return };
    if waived("bucket") {
        return;
    }
    let scheme_and_rest = url.strip_prefix("s3://").unwrap();
    let wrong = format!("s3://no-such-{}", scheme_and_rest.replace('/', "-"));
    let storage = open(wrong.trim_end_matches('-'), Options::default()).unwrap();
    let errors = [
        storage.create("a", Bytes::new()).await.unwrap_err(),
        storage.get("a").await.unwrap_err(),
        storage.list("", None).try_next().await.unwrap_err(),
        storage.delete(&["a".to_owned()]).await.unwrap_err(),
    ];
    for error in errors {
        println!("{error}: {}", error.source().unwrap());
        assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let Some(url) = server() else { return };
    if waived("credentials") {
        return;
    }
    let key = Credentials {
        access_key_id: "nobody".into(),
        secret_access_key: "hush-hush".into(),
        session_token: None,
    };
    let storage = open(&url, Options { credentials: Some(key), ..Options::default() }).unwrap();
    let errors = [
        storage.create("a", Bytes::new()).await.unwrap_err(),
        storage.get("a").await.unwrap_err(),
        storage.list("", None).try_next().await.unwrap_err(),
    ];
    for error in errors {
        println!("{error}: {}", error.source().unwrap());
        assert!(matches!(error, StorageError::Denied { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("hush"), "{error:?}");
    }
}
