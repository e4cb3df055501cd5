//! Processes that share a file store: this test starts itself again as another process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's own helpers")]

use std::process::{Command, Stdio};
use std::time::Duration;

use aft_core::{Aft, Begin, Config, Receipt};

const CHILD: &str = "AFT_TEST_CHILD";

/// Staleness and feed interval so short that the test waits for nothing else.
fn config() -> Config {
    let (max_staleness, feed_interval) = (Duration::from_millis(100), Duration::from_millis(50));
    Config { max_staleness, feed_interval, ..Config::default() }
}

async fn open(url: &str) -> Aft {
    Aft::open(aft_s3::open(url, aft_s3::Options::default()).unwrap(), config()).await.unwrap()
}

async fn get(aft: &Aft, begin: Begin, key: &str) -> Option<String> {
    let mut tx = aft.begin_with(begin).await.unwrap();
    tx.get(key).await.unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn put(aft: &Aft, key: &str, value: &str) -> Receipt {
    let mut tx = aft.begin().await.unwrap();
    tx.put(key, value.to_owned()).unwrap();
    tx.commit().await.unwrap().receipt
}

/// Polls until the key has the value; a minute is for machines that do other work, not part of the promise.
async fn wait_for(aft: &Aft, key: &str, value: &str) {
    for _ in 0..3_000 {
        if get(aft, Begin::new(), key).await.as_deref() == Some(value) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} never became {value}");
}

/// The other process: sees the parent's receipt at once and its commit soon, answers, and dies without closing.
async fn child(url: &str, receipt: &str) {
    let aft = open(url).await;
    let after = Begin::new().after(&receipt.parse().unwrap());
    assert_eq!(get(&aft, after, "by receipt").await.as_deref(), Some("parent"));
    wait_for(&aft, "by feed", "parent").await;
    put(&aft, "answer", "child").await;
    aft.publish().await.unwrap();
    put(&aft, "last words", "child").await;
    std::process::abort();
}

#[tokio::test]
async fn two_processes_see_each_others_commits_and_a_dead_ones_last_one_is_swept() {
    if let Ok(arguments) = std::env::var(CHILD) {
        let (url, receipt) = arguments.split_once('|').unwrap();
        return child(url, receipt).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let aft = open(&url).await;
    let receipt = put(&aft, "by receipt", "parent").await;
    let name = "two_processes_see_each_others_commits_and_a_dead_ones_last_one_is_swept";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, format!("{url}|{receipt}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    put(&aft, "by feed", "parent").await;
    wait_for(&aft, "answer", "child").await;
    assert!(!other.wait().unwrap().success(), "it dies, or failed before it answered");
    aft.sweep().await.unwrap();
    assert_eq!(get(&aft, Begin::new(), "last words").await.as_deref(), Some("child"));
    aft.close().await.unwrap();
}
