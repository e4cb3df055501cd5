//! A store in a bucket that was copied with boto3, object by object: to another prefix, and onto itself. Needs a server and a Python with
//! boto3, so it is ignored unless asked for:
//!
//! ```console
//! $ python3 -m venv /tmp/boto3 && /tmp/boto3/bin/pip install boto3
//! $ AFT_TEST_PYTHON=/tmp/boto3/bin/python3 tests/servers/server.sh run rgw \
//!     cargo test -p aft-cli --test copied_bucket -- --ignored --nocapture
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and shows what was said"
)]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aft_core::{Aft, Config, Outcome, Run, Transaction, TxnId};
use common::{Ran, bare, ran};

/// The shortest limits, so that commits are old and a copy is noticed after some seconds.
fn config() -> Config {
    let secs = Duration::from_secs;
    Config {
        max_staleness: secs(0),
        transaction_lifetime: secs(4),
        max_clock_skew: secs(2),
        visibility_delay: secs(1),
        publish_deadline: secs(2),
        commit_deadline: secs(2),
        background: false,
        ..Config::default()
    }
}

async fn open(url: &str) -> Aft {
    Aft::open(aft_s3::open(url, aft_s3::Options::default()).unwrap(), config()).await.unwrap()
}

async fn request(aft: &Aft, n: usize, answer: &str) -> Run {
    let answer = answer.to_owned();
    let key = format!("order {n}");
    let ship = async move |tx: &mut Transaction| {
        tx.put(format!("order/{n}"), answer.clone())?;
        Ok(answer.clone().into())
    };
    aft.run(&key, ship).await.unwrap()
}

/// What the store must hold: keys, with their values, and outcomes.
struct Made {
    keys: Vec<(String, Vec<u8>)>,
    committed: Vec<TxnId>,
    aborted: TxnId,
}

async fn put(aft: &Aft, made: &mut Made, keys: std::ops::Range<usize>, len: usize) {
    let mut tx = aft.begin().await.unwrap();
    for n in keys {
        let (key, value) = (format!("key/{n}"), vec![b'a' + (n % 26) as u8; len]);
        tx.put(&key, value.clone()).unwrap();
        made.keys.retain(|(other, _)| *other != key);
        made.keys.push((key, value));
    }
    made.committed.push(tx.commit().await.unwrap().receipt.txn_id());
}

/// A store with a checkpoint, commits since then, values of their own, requests, and an abort.
async fn make(url: &str, home: &Path) -> Made {
    let aft = open(url).await;
    let aborted = aft.new_txn_id();
    let mut made = Made { keys: Vec::new(), committed: Vec::new(), aborted };
    put(&aft, &mut made, 0..40, 100).await;
    put(&aft, &mut made, 40..44, 20_000).await;
    for n in 0..3 {
        request(&aft, n, "shipped").await;
    }
    aft.close().await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    aft_at(home, url, &["put", "clock", "tick"]).ok();
    let checkpoint = aft_at(home, url, &["checkpoint"]).ok();
    println!("$ aft checkpoint\n{}", checkpoint.text());
    let aft = open(url).await;
    put(&aft, &mut made, 30..50, 200).await;
    put(&aft, &mut made, 43..46, 30_000).await;
    request(&aft, 3, "shipped").await;
    aft.cancel(made.aborted).await.unwrap();
    made.keys.extend((0..4).map(|n| (format!("order/{n}"), b"shipped".to_vec())));
    made.keys.push(("clock".into(), b"tick".to_vec()));
    aft.close().await.unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    made
}

fn aft_at(home: &Path, url: &str, arguments: &[&str]) -> Ran {
    let mut command = bare(home);
    for (name, value) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env(name, value);
    }
    ran(command.args(["--store", url]).args(arguments).output().unwrap())
}

/// Every key and outcome is there, and the check finds nothing.
async fn is_whole(url: &str, home: &Path, made: &Made) {
    let checked = aft_at(home, url, &["check"]).ok();
    println!("$ aft check\n{}", checked.text());
    let listed = aft_at(home, url, &["ls"]).ok();
    assert_eq!(listed.text().lines().count(), made.keys.len());
    let aft = open(url).await;
    let tx = aft.begin().await.unwrap();
    for (key, value) in &made.keys {
        assert_eq!(tx.get(key).await.unwrap().as_deref(), Some(&value[..]), "{key}");
    }
    for id in &made.committed {
        let outcome = aft.outcome(*id).await.unwrap();
        // The first ones are folded, and their ids too old to commit again.
        assert!(matches!(outcome, Outcome::Committed { .. } | Outcome::Forgotten), "{outcome:?}");
    }
    assert!(!matches!(aft.outcome(made.aborted).await.unwrap(), Outcome::Committed { .. }));
    for n in 0..4 {
        assert_eq!(request(&aft, n, "shipped twice").await.result, "shipped", "order {n}");
    }
    put(&aft, &mut Made { keys: Vec::new(), committed: Vec::new(), aborted: made.aborted }, 0..1, 100).await;
    aft.close().await.unwrap();
}

fn copy(bucket: &str, from: &str, to: &str) {
    let python = std::env::var("AFT_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/servers/copy_prefix.py");
    let copied = Command::new(python).arg(script).args([bucket, from, to]).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    println!("$ copy_prefix.py {bucket} {from} {to}\n{}", String::from_utf8_lossy(&copied.stdout));
}

#[tokio::test]
#[ignore = "needs a server (AFT_TEST_S3_URL) and a Python with boto3 (AFT_TEST_PYTHON)"]
async fn a_bucket_copied_with_boto3_is_whole_once_adopted() {
    let root = std::env::var("AFT_TEST_S3_URL").expect("AFT_TEST_S3_URL names a bucket");
    let bucket = root.strip_prefix("s3://").unwrap().split('/').next().unwrap();
    let home = tempfile::tempdir().unwrap();
    let name = format!("copied-{}", TxnId::new());
    let url = |prefix: &str| format!("s3://{bucket}/{prefix}");
    let made = make(&url(&name), home.path()).await;
    let copied = format!("{name}-copy");
    copy(bucket, &name, &copied);
    // The copy, and then the store itself with new dates.
    for place in [copied, name.clone()] {
        if place == name {
            copy(bucket, &name, &name);
        }
        let url = url(&place);
        let refused = aft_at(home.path(), &url, &["get", "key/1"]);
        println!("$ aft get key/1\n{}", refused.stderr);
        refused.fails(7, &["aft.json", "aft adopt"]);
        let adopted = aft_at(home.path(), &url, &["adopt"]).ok();
        println!("$ aft adopt\n{}", adopted.text());
        is_whole(&url, home.path(), &made).await;
    }
}
