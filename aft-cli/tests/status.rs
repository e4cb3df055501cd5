//! `aft status` on real stores of files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aft_core::{Aft, Begin, Clock, Config, SystemClock, TxnId};
use common::{Place, read_tree};
use serde_json::Value;

/// A clock that is ahead by so many seconds.
#[derive(Debug)]
struct Ahead(SystemClock, u64);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        self.0.now() + Duration::from_secs(self.1)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// A node that publishes when it is closed, and makes no decisions in the feed.
async fn node(place: &Place, ahead: u64) -> Aft {
    let url = format!("file://{}", place.store().display());
    let storage = aft_s3::open(&url, aft_s3::Options::default()).unwrap();
    let config = Config { background: false, direct_commits: false, ..Config::default() };
    Aft::builder(storage)
        .config(config)
        .clock(Arc::new(Ahead(SystemClock::new(), ahead)))
        .open()
        .await
        .unwrap()
}

async fn commit(aft: &Aft, begin: Begin) {
    let mut tx = aft.begin_with(begin).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
}

fn kinds(status: &Value) -> Vec<&str> {
    status["warnings"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect()
}

/// Gets, ranges, lists, creates.
fn requests(status: &Value) -> [u64; 4] {
    ["gets", "range_gets", "lists", "creates"].map(|kind| status["requests"][kind].as_u64().unwrap())
}

#[test]
fn a_status_costs_a_handful_of_requests_and_writes_nothing() {
    let place = Place::new();
    for key in ["a", "b", "b"] {
        place.aft(&["put", key, "value"]).ok();
    }
    let status = place.json(&["status"]);
    // The marker and each feed object; the checkpoints, and the feed twice.
    assert_eq!(requests(&status), [4, 0, 3, 0]);
    assert_eq!((&status["checkpoint_kind"], &status["checkpoint_made"]), (&Value::Null, &Value::Null));
    assert_eq!((&status["recent_commits"], &status["recent_keys"]), (&3.into(), &2.into()));
    assert_eq!(status["commits_a_minute"]["1"], 3.0);
    assert_eq!(status["nodes_heard"], 3);
    let newest = &status["nodes"][0];
    assert_eq!((&newest["objects"], &newest["commits"]), (&1.into(), &1.into()));
    assert!(newest["clock_ahead_ms"].as_i64().unwrap().abs() < 2000, "{newest}");
    assert!(kinds(&status).is_empty() && status["scan"].is_null());

    place.aft(&["checkpoint"]).ok();
    let before = read_tree(&place.store());
    let status = place.json(&["status"]);
    // The marker, the manifest and its recent file.
    assert_eq!(requests(&status), [3, 0, 3, 0]);
    assert_eq!((&status["checkpoint"], &status["checkpoint_kind"]), (&1.into(), &"full".into()));
    assert!(status["lag_seconds"].as_u64().unwrap() > 900, "{status}");
    let text = place.aft(&["status"]).ok();
    for word in ["1 (full)", "lag of the index", "nodes heard of in the last 15 minutes: 4", "no warnings"] {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
    assert_eq!(read_tree(&place.store()), before);
}

#[test]
fn a_scan_counts_every_object_and_key() {
    let place = Place::new();
    place.aft(&["put", "a", "12345"]).ok();
    place.aft(&["put", "b", &"x".repeat(20_000)]).ok();
    place.aft(&["put", "c", "gone"]).ok();
    place.aft(&["del", "c"]).ok();
    let before = read_tree(&place.store());
    let status = place.json(&["status", "--scan"]);
    let scan = &status["scan"];
    assert_eq!((&scan["keys"], &scan["value_bytes"]), (&2.into(), &20_005.into()));
    let files: Vec<_> = before.iter().filter(|(path, _)| !path.ends_with(b"/")).collect();
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert_eq!(scan["objects"], files.len(), "{scan:#}");
    assert_eq!(scan["bytes"], bytes);
    assert_eq!(scan["classes"]["values"]["objects"], 1);
    assert_eq!((&scan["unpublished"], &scan["garbage_objects"]), (&0.into(), &0.into()));
    assert!(kinds(&status).is_empty());
    let text = place.aft(&["status", "--scan"]).ok();
    for word in ["counted exactly", "keys                      2", "values                    1, "] {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
    assert_eq!(read_tree(&place.store()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_named_with_what_to_do() {
    let place = Place::new();
    for ahead in [0, 7] {
        let aft = node(&place, ahead).await;
        commit(&aft, Begin::new()).await;
        aft.close().await.unwrap();
    }
    let status = place.json(&["status"]);
    assert_eq!(kinds(&status), ["node_clock"], "{status:#}");
    let nodes = status["nodes"].as_array().unwrap();
    let off: Vec<_> =
        nodes.iter().filter_map(|it| it["clock_ahead_ms"].as_i64()).filter(|ms| *ms > 3000).collect();
    assert!(off.len() == 1 && (5000..=7000).contains(&off[0]), "{nodes:?}");
    let text = place.aft(&["status"]).ok();
    assert!(text.text().contains("To do: set its clock"), "{}", text.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_that_nobody_published_are_found_by_a_scan() {
    let place = Place::new();
    let aft = node(&place, 0).await;
    let began = SystemClock::new().now() - Duration::from_secs(120);
    commit(&aft, Begin::new().id(TxnId::for_request(began, b"one"))).await;
    // Its process dies here.
    drop(aft);
    assert!(kinds(&place.json(&["status"])).is_empty(), "that takes a scan");
    let before = read_tree(&place.store());
    let status = place.json(&["status", "--scan"]);
    assert_eq!((kinds(&status), &status["scan"]["unpublished"]), (vec!["unpublished"], &1.into()));
    assert!(status["warnings"][0]["advice"].as_str().unwrap().contains("aft sweep"));
    assert_eq!(read_tree(&place.store()), before);
    place.aft(&["sweep"]).ok();
    assert!(kinds(&place.json(&["status", "--scan"])).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_feed_object_is_named_until_somebody_replaced_it() {
    let place = Place::new();
    let aft = node(&place, 0).await;
    commit(&aft, Begin::new()).await;
    aft.close().await.unwrap();
    let feed = fs::read_dir(place.store().join("feed")).unwrap().next().unwrap().unwrap().path();
    fs::write(&feed, "damaged").unwrap();
    let status = place.json(&["status"]);
    assert_eq!(kinds(&status), ["damaged_feed"], "{status:#}");
    let name = feed.file_name().unwrap().to_str().unwrap();
    assert!(status["warnings"][0]["what"].as_str().unwrap().contains(name), "{status:#}");
    // What it told is known all the same.
    assert_eq!(status["recent_commits"], 1);
    place.aft(&["sweep"]).ok();
    assert!(kinds(&place.json(&["status"])).is_empty());
}
