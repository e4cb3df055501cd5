//! A folder that was copied with new dates: refused by every verb, and whole once it is adopted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use aft_core::{Aft, Begin, Config, Run, TxnId};
use common::{Place, Ran, bare, ran};

/// The shortest limits, so that a copy is noticed after some seconds.
async fn open(store: &Path) -> Aft {
    let secs = Duration::from_secs;
    let config = Config {
        max_clock_skew: secs(2),
        visibility_delay: secs(1),
        publish_deadline: secs(2),
        commit_deadline: secs(2),
        background: false,
        ..Config::default()
    };
    let url = format!("file://{}", store.display());
    Aft::open(aft_s3::open(&url, aft_s3::Options::default()).unwrap(), config).await.unwrap()
}

async fn request(aft: &Aft, answer: &'static str) -> Run {
    let ship = async move |tx: &mut aft_core::Transaction| {
        tx.put("order/1", answer)?;
        Ok(answer.into())
    };
    aft.run("order 1", ship).await.unwrap()
}

/// A store with a finished request and, where that is asked for, a commit that nobody published.
async fn make(store: &Path, unpublished: Option<TxnId>) {
    let aft = open(store).await;
    request(&aft, "shipped").await;
    aft.publish().await.unwrap();
    if let Some(id) = unpublished {
        let mut tx = aft.begin_with(Begin::new().id(id)).await.unwrap();
        tx.put("late", "1").unwrap();
        tx.commit().await.unwrap();
    }
    drop(aft);
    tokio::time::sleep(Duration::from_secs(6)).await;
}

fn copy(place: &Place) {
    let copied = Command::new("cp").args(["-r"]).arg(place.store()).arg(place.path("copy")).status().unwrap();
    assert!(copied.success());
}

fn at_copy(place: &Place, arguments: &[&str]) -> Ran {
    let url = format!("file://{}", place.path("copy").display());
    ran(bare(place.dir.path()).args(["--store", &url]).args(arguments).output().unwrap())
}

#[tokio::test]
async fn a_folder_copied_with_new_dates_is_refused_and_whole_once_adopted() {
    let place = Place::new();
    make(&place.store(), None).await;
    copy(&place);
    let before = common::read_tree(&place.path("copy"));
    for verb in [
        &["ls"][..],
        &["get", "order/1"],
        &["put", "a", "1"],
        &["gc"],
        &["checkpoint"],
        &["sweep"],
        &["status"],
    ] {
        at_copy(&place, verb).fails(7, &["aft.json", "aft adopt"]);
    }
    at_copy(&place, &["check"]).fails(7, &["aft.json", "aft adopt"]);
    assert_eq!(common::read_tree(&place.path("copy")), before, "nothing was written");
    let adopted = at_copy(&place, &["adopt"]).ok();
    assert!(adopted.text().starts_with("adopted "), "{}", adopted.text());
    at_copy(&place, &["check"]).ok();
    assert_eq!(at_copy(&place, &["get", "order/1"]).ok().stdout, b"shipped");
    let aft = open(&place.path("copy")).await;
    assert_eq!(request(&aft, "shipped twice").await.result, "shipped");
    aft.close().await.unwrap();
    // The original goes on as before.
    assert_eq!(place.aft(&["get", "order/1"]).ok().stdout, b"shipped");
}

#[tokio::test]
async fn commits_that_nobody_published_are_named_until_somebody_says_what_they_are() {
    for (said, code) in [("commit", 0), ("abort", 3)] {
        let place = Place::new();
        let id = TxnId::new();
        make(&place.store(), Some(id)).await;
        copy(&place);
        at_copy(&place, &["adopt"]).fails(7, &[&id.to_string(), "--unpublished"]);
        at_copy(&place, &["ls"]).fails(7, &["aft adopt"]);
        at_copy(&place, &["adopt", "--unpublished", said]).ok();
        at_copy(&place, &["sweep"]).ok();
        let read = at_copy(&place, &["get", "late"]);
        assert_eq!(read.code, code, "{said}: {}", read.stderr);
        assert_eq!(at_copy(&place, &["get", "order/1"]).ok().stdout, b"shipped");
        at_copy(&place, &["check"]).ok();
    }
}
