//! The life of a store under windows of seconds: commits are folded into the index, what nobody needs is collected, and a node that
//! starts from cold reads everything.

use std::collections::BTreeMap;
use std::time::Duration;

use aft_core::{Aft, CheckpointReport, Config, Cost, ErrorKind};
use aft_tests::get;
use bytes::Bytes;

use crate::Failure;
use crate::bucket::{self, Bucket};

const ROUNDS: usize = 3;
const KEYS: usize = 60;
const PER_COMMIT: usize = 10;
/// Values over this are objects of their own.
const INLINE_BYTES: usize = 1 << 10;
/// So often it is tried again, once a second and slower, what has to wait for windows to pass.
const PATIENCE: usize = 180;
/// Of so many keys one has a value that is an object of its own.
const LARGE_EVERY: usize = 10;

/// Windows that pass within a minute, and yet leave requests of seconds their time.
fn config() -> Config {
    let secs = Duration::from_secs;
    Config {
        max_staleness: Duration::from_millis(200),
        transaction_lifetime: secs(5),
        commit_deadline: secs(5),
        max_clock_skew: secs(2),
        publish_deadline: secs(3),
        visibility_delay: secs(3),
        outcome_retention: secs(10),
        inline_value_bytes: INLINE_BYTES as u64,
        ..bucket::config()
    }
}

fn value(key: usize, round: usize) -> String {
    let bytes = if key.is_multiple_of(LARGE_EVERY) { 5_000 } else { 50 };
    format!("{key}:{round}:{:x<bytes$}", "")
}

/// Writes as a request, so that a machine which stands still for seconds costs a retry and not the test. `None` deletes.
async fn write(node: &Aft, request: &str, writes: &[(String, Option<String>)]) {
    let run = node.run(request, async |tx| {
        for (key, value) in writes {
            match value {
                Some(value) => tx.put(key, value.clone())?,
                None => tx.delete(key)?,
            }
        }
        Ok(Bytes::new())
    });
    run.await.unwrap();
}

/// Overwrites all keys round by round, and deletes every seventh. What is there then.
async fn work(node: &Aft) -> BTreeMap<String, String> {
    let key = |n: usize| format!("key/{n:03}");
    for round in 0..ROUNDS {
        for first in (0..KEYS).step_by(PER_COMMIT) {
            let writes: Vec<_> =
                (first..first + PER_COMMIT).map(|n| (key(n), Some(value(n, round)))).collect();
            write(node, &format!("write/{round}/{first}"), &writes).await;
        }
    }
    let mut live: BTreeMap<_, _> = (0..KEYS).map(|n| (key(n), value(n, ROUNDS - 1))).collect();
    let gone: Vec<_> = (0..KEYS).step_by(7).map(|n| (key(n), None)).collect();
    write(node, "delete", &gone).await;
    live.retain(|key, _| !gone.iter().any(|(gone, _)| gone == key));
    live
}

/// Everything that a node reads, in one transaction.
async fn read_all(node: &Aft) -> BTreeMap<String, String> {
    let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
    let read = async || node.begin().await?.scan(..).await;
    for _ in 0..10 {
        match read().await {
            Ok(all) => return all.into_iter().map(|(key, value)| (text(key), text(value))).collect(),
            // A transaction lives for seconds here.
            Err(error) if error.kind() == ErrorKind::Expired => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no scan ended within the lifetime of its transaction");
}

/// Makes a checkpoint; none where the machine stood still for longer than the few seconds that it may take here.
async fn checkpoint(node: &Aft) -> Option<CheckpointReport> {
    match node.checkpoint().await {
        Ok(report) => Some(report),
        Err(error) if error.kind() == ErrorKind::Unavailable => None,
        Err(error) => panic!("{error:?}"),
    }
}

/// Makes checkpoints until everything is in the index; the windows take half a minute.
async fn fold(node: &Aft) {
    for _ in 0..PATIENCE {
        if checkpoint(node).await.is_some_and(|report| report.recent == 0 && report.rows > 0) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("not folded after {PATIENCE} checkpoints");
}

/// Collects until no decision is left, and of values only what is alive. Checkpoints in between, as everywhere: in a store that nobody
/// writes to, the newest object tells the same time for ever.
async fn collect(node: &Aft, bucket: &Bucket, large: usize) {
    let mut left = (0, 0);
    for _ in 0..PATIENCE {
        checkpoint(node).await;
        node.collect_garbage(false).await.unwrap();
        left = (bucket.count("commits/").await, bucket.count("values/").await);
        assert!(left.1 >= large, "values that are alive were deleted");
        if left == (0, large) {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{left:?} decisions and values are left, {large} values are alive: after {PATIENCE} collections");
}

pub async fn a_store_is_folded_collected_and_started_from_cold(bucket: Bucket) -> Result<(), Failure> {
    let (writer, keeper) = (bucket.node_with(config()).await, bucket.node_with(config()).await);
    let mut live = work(&writer).await;
    writer.publish().await.unwrap();
    let dead = bucket.node_with(config()).await;
    write(&dead, "last words", &[("last words".to_owned(), Some("x".to_owned()))]).await;
    drop(dead);
    live.insert("last words".to_owned(), "x".to_owned());

    fold(&keeper).await;
    let large = live.values().filter(|value| value.len() > INLINE_BYTES).count();
    collect(&keeper, &bucket, large).await;
    let cold = bucket.node_with(config()).await;
    assert_eq!(get(&cold, "key/001").await, live.get("key/001").cloned());
    let Cost { gets, range_gets, creates, lists, .. } = cold.stats().requests;
    // Eight, and what a machine that stood still in between makes a node ask again.
    assert!(gets + range_gets + creates + lists <= 12, "{:?}", cold.stats());
    assert_eq!(get(&cold, "key/000").await, None, "it was deleted");
    assert!(read_all(&cold).await == live, "a node that starts from cold reads all there is");
    bucket.is_clean().await?;

    // It goes on, on the old node and the new.
    write(&cold, "on", &[("key/001".to_owned(), None), ("key/000".to_owned(), Some("again".to_owned()))])
        .await;
    cold.publish().await.unwrap();
    live.remove("key/001");
    live.insert("key/000".to_owned(), "again".to_owned());
    writer.refresh().await.unwrap();
    for node in [&writer, &cold, &bucket.node_with(config()).await] {
        assert!(read_all(node).await == live);
    }
    bucket.is_clean().await
}
