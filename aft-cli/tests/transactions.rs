//! `txn` and `cancel` of the real binary.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use aft_core::{Aft, Begin, Config, ErrorKind, TxnId};
use common::Place;

/// The store of the place, opened beside the binary.
async fn library(place: &Place) -> Aft {
    let url = format!("file://{}", place.store().display());
    Aft::open(aft_s3::open(&url, aft_s3::Options::default()).unwrap(), Config::default()).await.unwrap()
}

#[tokio::test]
async fn a_committed_transaction_has_its_version_receipt_and_result() {
    let place = Place::new();
    let aft = library(&place).await;
    for (key, result) in [("text", "10 left".as_bytes()), ("bytes", b"\xff\0"), ("empty", b"")] {
        let run = aft.run(key, async |tx| {
            tx.put(key, "v")?;
            Ok(result.to_vec().into())
        });
        let receipt = run.await.unwrap().receipt;
        let id = receipt.txn_id().to_string();
        let shown = place.json(&["txn", &id]);
        assert_eq!(shown["txn_id"], id);
        assert_eq!(shown["outcome"], "committed");
        assert_eq!(shown["version"], receipt.version().to_string());
        assert_eq!(shown["receipt"], receipt.to_string());
        match key {
            "bytes" => assert_eq!(shown["result_base64"], "/wA="),
            _ => assert_eq!(shown["result"], std::str::from_utf8(result).unwrap()),
        }
        let text = place.aft(&["txn", &id]).ok();
        for word in [&id, "committed", &receipt.to_string(), "started"] {
            assert!(text.text().contains(word), "{word} in {}", text.text());
        }
    }
    // Without a result, and told before the others know of it.
    let put = place.json(&["put", "k", "v"]);
    let shown = place.json(&["txn", put["commit"]["txn_id"].as_str().unwrap()]);
    assert_eq!((&shown["receipt"], shown.get("result")), (&put["commit"]["receipt"], None));
}

#[tokio::test]
async fn a_cancelled_transaction_never_commits() {
    let place = Place::new();
    let aft = library(&place).await;
    let id = aft.new_txn_id();
    let mut tx = aft.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "v").unwrap();
    let before = common::read_tree(&place.store());
    let undecided = place.aft(&["txn", &id.to_string()]).ok();
    assert!(undecided.text().contains("undecided: there is no decision"), "{}", undecided.text());
    assert_eq!(common::read_tree(&place.store()), before, "asking writes nothing");

    let cancelled = place.aft(&["cancel", &id.to_string()]).ok();
    assert_eq!(cancelled.text(), "aborted: it did not commit and never will\n");
    assert_eq!(tx.commit().await.unwrap_err().kind(), ErrorKind::Aborted);
    for command in ["txn", "cancel"] {
        assert_eq!(place.json(&[command, &id.to_string()])["outcome"], "aborted", "{command}");
    }
    assert_eq!(place.aft(&["ls"]).ok().text(), "");
}

#[test]
fn cancelling_what_committed_says_so_and_changes_nothing() {
    let place = Place::new();
    let put = place.json(&["put", "k", "v"]);
    let id = put["commit"]["txn_id"].as_str().unwrap();
    let cancelled = place.aft(&["cancel", id]).ok();
    assert_eq!(cancelled.text(), "committed: not cancelled: it had committed, and stays so\n");
    let cancelled = place.json(&["cancel", id]);
    assert_eq!(
        (&cancelled["outcome"], &cancelled["receipt"]),
        (&"committed".into(), &put["commit"]["receipt"])
    );
    assert_eq!(place.aft(&["get", "k"]).ok().text(), "v");
}

#[test]
fn an_ancient_transaction_is_forgotten_and_nothing_is_written_for_it() {
    let place = Place::new();
    let id = TxnId::for_request(std::time::UNIX_EPOCH, b"long ago").to_string();
    // The store learns the time by what is written to it.
    place.aft(&["put", "k", "v"]).ok();
    let before = common::read_tree(&place.store());
    for command in ["txn", "cancel"] {
        let shown = place.json(&[command, &id]);
        assert_eq!(
            (&shown["outcome"], &shown["started"]),
            (&"forgotten".into(), &"1970-01-01T00:00:00.000Z".into())
        );
    }
    assert_eq!(common::read_tree(&place.store()), before);
}

#[tokio::test]
async fn the_versions_of_a_key_are_shown_newest_first() {
    let place = Place::new();
    place.aft(&["put", "k", "one"]).ok();
    let first = place.json(&["put", "k", "three"]);
    place.aft(&["del", "k"]).ok();
    let shown = place.json(&["versions", "k"]);
    let versions = shown["versions"].as_array().unwrap();
    assert_eq!((shown["key"].as_str(), versions.len()), (Some("k"), 3));
    assert_eq!((&versions[0]["deleted"], &versions[0]["size"]), (&true.into(), &0.into()));
    assert_eq!((&versions[1]["txn_id"], &versions[1]["size"]), (&first["commit"]["txn_id"], &5.into()));
    assert_eq!((&versions[2]["folded"], &versions[2]["keys"]), (&false.into(), &1.into()));
    let text = place.aft(&["versions", "k"]).ok();
    for word in ["deleted", "5 B", "no such key now", versions[1]["object"].as_str().unwrap()] {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
    place.aft(&["put", "k", "again"]).ok();
    assert!(place.aft(&["versions", "k"]).ok().text().contains("a reader gets the newest now: 5 B"));
    place.aft(&["versions", "absent"]).fails(3, &["no version of the key absent"]);
}
