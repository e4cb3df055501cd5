//! Two processes that share a store: a test starts itself again as the other one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's own helpers")]

use std::process::{Command, Stdio};
use std::time::Duration;

use aft_core::{Aft, Begin, Config, Receipt};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{OpenNode, get, put};

/// What makes a process the other one: the URL and a receipt.
const CHILD: &str = "AFT_TEST_CHILD";

/// Staleness and feed interval so short that the test waits for nothing else.
#[must_use]
pub fn config() -> Config {
    let (max_staleness, feed_interval) = (Duration::from_millis(100), Duration::from_millis(50));
    Config { max_staleness, feed_interval, ..Config::default() }
}

/// Polls until the key has the value; a minute is for machines that do other work, not part of the promise.
async fn wait_for(aft: &Aft, key: &str, value: &str) {
    for _ in 0..3_000 {
        if get(aft, key).await.as_deref() == Some(value) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{key} never became {value}");
}

/// What this process does if it was started as the other one: sees the parent's receipt at once and its commit soon, answers, and
/// dies without closing.
#[must_use]
pub fn other(open: OpenNode) -> Option<BoxFuture<'static, ()>> {
    let arguments = std::env::var(CHILD).ok()?;
    let other = async move {
        let (url, receipt) = arguments.split_once('|').unwrap();
        let aft = open(url.to_owned()).await;
        let receipt: Receipt = receipt.parse().unwrap();
        let tx = aft.begin_with(Begin::new().after(&receipt)).await.unwrap();
        assert_eq!(tx.get("by receipt").await.unwrap().unwrap(), "parent");
        wait_for(&aft, "by feed", "parent").await;
        put(&aft, "answer", "child").await;
        aft.publish().await.unwrap();
        put(&aft, "last words", "child").await;
        std::process::abort();
    };
    Some(other.boxed())
}

/// Two processes see each other's commits, and a dead one's last one is swept. `arguments` let this program, started again, come to
/// [`other`].
///
/// # Panics
/// Where they do not.
pub async fn meet(url: &str, arguments: &[&str], open: OpenNode) {
    let aft = open(url.to_owned()).await;
    let receipt = put(&aft, "by receipt", "parent").await;
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env(CHILD, format!("{url}|{receipt}"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    put(&aft, "by feed", "parent").await;
    wait_for(&aft, "answer", "child").await;
    assert!(!other.wait().unwrap().success(), "it dies, or failed before it answered");
    aft.sweep().await.unwrap();
    assert_eq!(get(&aft, "last words").await.as_deref(), Some("child"));
    aft.close().await.unwrap();
}
