//! What people do to a folder: new owners and modes, hard links, copies. A store in it stays what it was.
//!
//! Each store here is made with short deadlines and left alone until they passed: a date that moved by then would make
//! its commits void, and the store would read as empty.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "the helpers of tests")]

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, CommitOutcome, Config, Outcome, TxnId};
use aft_s3::FileStorage;
use bytes::Bytes;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(4);

fn config() -> Config {
    Config {
        commit_deadline: DEADLINE,
        publish_deadline: DEADLINE,
        max_clock_skew: Duration::from_secs(2),
        visibility_delay: DEADLINE,
        inline_value_bytes: 100,
        background: false,
        ..Config::default()
    }
}

/// A store whose objects are all older than its deadlines.
struct Old {
    place: TempDir,
    txn: TxnId,
}

impl Old {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let aft = open(&place.path().join("store")).await;
        let mut tx = aft.begin_with(Begin::new()).await.unwrap();
        let txn = tx.id();
        tx.put("large", vec![7; 5_000]).unwrap();
        tx.put("small", "value").unwrap();
        tx.set_result("first").unwrap();
        tx.commit().await.unwrap();
        aft.run("order", ship).await.unwrap();
        aft.publish().await.unwrap();
        // After the feed: found by a sweep alone, so that its decision is what counts.
        aft.run("late order", ship).await.unwrap();
        drop(aft);
        tokio::time::sleep(DEADLINE * 2).await;
        Self { place, txn }
    }

    fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    fn copy(&self) -> PathBuf {
        self.place.path().join("copy")
    }

    /// The command in the folder that holds the store.
    fn run(&self, program: &str, arguments: &[&str]) {
        let status = Command::new(program).args(arguments).current_dir(self.place.path()).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }

    /// Everything is in `store`: the keys, what became of a transaction, the results of the requests.
    async fn is_whole(&self, store: &Path) {
        let aft = open(store).await;
        aft.sweep().await.unwrap();
        let tx = aft.begin_with(Begin::new().latest()).await.unwrap();
        let keys = tx.scan_keys(..).await.unwrap();
        assert_eq!(keys, ["large", "shipped", "small"]);
        assert_eq!(tx.get("large").await.unwrap().unwrap(), vec![7; 5_000]);
        drop(tx);
        match aft.outcome(self.txn).await.unwrap() {
            Outcome::Committed { result, .. } => assert_eq!(result.unwrap(), "first"),
            other => panic!("{other:?}"),
        }
        for key in ["order", "late order"] {
            let run = aft.run(key, ship).await.unwrap();
            assert_eq!((run.outcome, &run.result[..]), (CommitOutcome::Replayed, &b"sent"[..]), "{key}");
        }
        let report = aft.check().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}

async fn open(store: &Path) -> Aft {
    Aft::open(Arc::new(FileStorage::open(store).unwrap()), config()).await.unwrap()
}

async fn ship(tx: &mut aft_core::Transaction) -> Result<Bytes, aft_core::Error> {
    tx.put("shipped", "yes")?;
    Ok("sent".into())
}

#[tokio::test(flavor = "multi_thread")]
async fn chown_to_the_same_owner() {
    let old = Old::new().await;
    let id = |of: &str| {
        let output = Command::new("id").arg(of).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    old.run("chown", &["-R", &format!("{}:{}", id("-u"), id("-g")), "store"]);
    old.is_whole(&old.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chmod() {
    let old = Old::new().await;
    old.run("chmod", &["-R", "g+w", "store"]);
    old.is_whole(&old.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_hard_links() {
    let old = Old::new().await;
    old.run("cp", &["-al", "store", "copy"]);
    old.is_whole(&old.store()).await;
    old.is_whole(&old.copy()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cp_that_keeps_times() {
    let old = Old::new().await;
    old.run("cp", &["-a", "store", "copy"]);
    old.is_whole(&old.copy()).await;
    old.is_whole(&old.store()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rsync_that_keeps_times() {
    let old = Old::new().await;
    if Command::new("rsync").arg("--version").output().is_ok() {
        old.run("rsync", &["-a", "store/", "copy"]);
    } else {
        println!("rsync is not installed: its copy is made by the test itself");
        copy_with_times(&old.store(), &old.copy());
    }
    old.is_whole(&old.copy()).await;
}

/// What rsync does: new files with the old modification times.
fn copy_with_times(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_with_times(&from, &to);
            continue;
        }
        fs::copy(&from, &to).unwrap();
        let modified = fs::metadata(&from).unwrap().modified().unwrap();
        File::options()
            .write(true)
            .open(&to)
            .unwrap()
            .set_times(FileTimes::new().set_modified(modified))
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tar_and_back() {
    let old = Old::new().await;
    old.run("sh", &["-c", "mkdir copy && tar -C store -c . | tar -C copy -x"]);
    old.is_whole(&old.copy()).await;
}
