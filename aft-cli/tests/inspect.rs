//! `txn`, `request`, `get` of several keys and of older versions, and `diff`, of the real binary.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use aft_core::{Aft, Begin, Config};
use common::{Place, read_tree};
use serde_json::{Value, json};

/// The store of the place, opened beside the binary.
async fn library(place: &Place) -> Aft {
    let url = format!("file://{}", place.store().display());
    let config = Config { background: false, direct_commits: false, ..Config::default() };
    Aft::open(aft_s3::open(&url, aft_s3::Options::default()).unwrap(), config).await.unwrap()
}

fn id_of(written: &Value) -> &str {
    written["commit"]["txn_id"].as_str().unwrap()
}

#[tokio::test]
async fn a_decision_is_shown_whole() {
    let place = Place::new();
    let aft = library(&place).await;
    let first = place.json(&["put", "a", "one"]);
    aft.refresh().await.unwrap();
    let begin = Begin::new().request("order-1").input("three apples");
    let run = aft.run_with(begin, async |tx| {
        assert!(tx.get_guarded("a").await?.is_some());
        tx.put("a", "three")?;
        tx.put("big", vec![7; 100_000])?;
        tx.delete("gone")?;
        Ok("done".into())
    });
    let receipt = run.await.unwrap().receipt;
    let id = receipt.txn_id().to_string();
    let unpublished = place.json(&["txn", &id]);
    assert_eq!(unpublished["publication"], "unpublished", "{unpublished:#}");
    aft.close().await.unwrap();
    let newer = place.json(&["put", "a", "seven"]);

    let before = read_tree(&place.store());
    let shown = place.json(&["txn", &id]);
    let text = place.aft(&["txn", &id]).ok();
    assert_eq!(read_tree(&place.store()), before, "asking writes nothing");
    assert_eq!((&shown["outcome"], &shown["result"]), (&json!("committed"), &json!("done")), "{shown:#}");
    assert_eq!((&shown["request_key"], &shown["decision"]["members"]), (&json!("order-1"), &json!([id])));
    let object = shown["decision"]["object"].as_str().unwrap();
    let stored = before.get(object.as_bytes()).unwrap();
    assert_eq!(shown["decision"]["size"], stored.len());
    assert_eq!(shown["guards"][0]["key"], "a");
    assert_eq!(shown["guards"][0]["over"], first["commit"]["version"]);
    assert_eq!(shown["publication"], "published");
    assert!(shown["published"]["since"].is_string(), "{shown:#}");
    let feed = shown["published"]["object"].as_str().unwrap();
    assert!(
        feed.contains(shown["published"]["node"].as_str().unwrap()) && before.contains_key(feed.as_bytes())
    );

    let writes = shown["writes"].as_array().unwrap();
    let of = |n: usize, name: &str| writes[n][name].clone();
    assert_eq!([of(0, "key"), of(1, "key"), of(2, "key")], ["a", "big", "gone"]);
    assert_eq!([of(0, "size"), of(1, "size"), of(2, "size")], [5, 100_000, 0]);
    assert_eq!([of(0, "deleted"), of(2, "deleted")], [false, true]);
    assert_eq!([of(0, "now"), of(1, "now"), of(2, "now")], ["superseded", "newest", "newest"]);
    assert_eq!(of(0, "superseded_by"), newer["commit"]["version"]);
    assert!(of(0, "object").is_null() && of(2, "object").is_null());
    assert!(before.contains_key(of(1, "object").as_str().unwrap().as_bytes()));

    let superseded = format!("superseded by {}", id_of(&newer));
    for word in [object, feed, "order-1", "a over", "97.66 KiB", &superseded, "the newest", "told others"] {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
}

#[tokio::test]
async fn the_keys_of_a_large_transaction_are_looked_up_as_far_as_is_asked() {
    let place = Place::new();
    let aft = library(&place).await;
    let mut tx = aft.begin().await.unwrap();
    for n in 0..25 {
        tx.put(format!("k{n:02}"), "v").unwrap();
    }
    let id = tx.commit().await.unwrap().receipt.txn_id().to_string();
    let looked_up = |arguments: &[&str]| {
        let shown = place.json(arguments);
        let writes = shown["writes"].as_array().unwrap().clone();
        (writes.len(), writes.iter().filter(|write| write["now"] == "newest").count())
    };
    assert_eq!(looked_up(&["txn", &id]), (25, 20));
    assert_eq!(looked_up(&["txn", &id, "--all-keys"]), (25, 25));
    let text = place.aft(&["txn", &id]).ok();
    assert!(text.text().ends_with("and 5 keys more; --all-keys shows them\n"), "{}", text.text());
    assert!(
        !text.text().contains("k20") && place.aft(&["txn", &id, "--all-keys"]).ok().text().contains("k24")
    );
}

#[tokio::test]
async fn an_aborted_transaction_has_a_decision_without_keys() {
    let place = Place::new();
    let id = library(&place).await.new_txn_id().to_string();
    assert_eq!(place.json(&["txn", &id]).get("decision"), None);
    place.aft(&["cancel", &id]).ok();
    let shown = place.json(&["txn", &id]);
    assert_eq!((&shown["outcome"], &shown["decision"]["members"]), (&json!("aborted"), &json!([])));
    assert_eq!((&shown["writes"], shown.get("publication")), (&json!([]), None));
    assert!(place.aft(&["txn", &id]).ok().text().contains("decision"));
}

#[tokio::test]
async fn a_request_key_is_looked_up_and_never_claimed() {
    let place = Place::new();
    let aft = library(&place).await;
    let before = read_tree(&place.store());
    place.aft(&["request", "order-1"]).fails(3, &["no request of the key order-1", "never used"]);
    assert_eq!(read_tree(&place.store()), before, "asking claims nothing");

    // Given up, and then done by another attempt.
    let tx = aft.begin_with(Begin::new().request("order-1")).await.unwrap();
    tx.get("a").await.unwrap();
    tx.abort().await.unwrap();
    let shown = place.json(&["request", "order-1"]);
    assert_eq!((&shown["outcome"], &shown["kept_until"]), (&json!("aborted"), &Value::Null), "{shown:#}");
    let run = aft.run_with(Begin::new().request("order-1").input("body"), async |tx| {
        tx.put("a", "v")?;
        Ok("no. 7".into())
    });
    let receipt = run.await.unwrap().receipt;
    aft.close().await.unwrap();
    let before = read_tree(&place.store());
    let shown = place.json(&["request", "order-1"]);
    let text = place.aft(&["request", "order-1"]).ok();
    assert_eq!(read_tree(&place.store()), before);
    assert_eq!((&shown["outcome"], &shown["result"]), (&json!("committed"), &json!("no. 7")), "{shown:#}");
    assert_eq!(shown["txn_id"], receipt.txn_id().to_string());
    assert_eq!(shown["receipt"], receipt.to_string());
    assert_eq!((&shown["claim"]["number"], &shown["claim"]["has_input"]), (&json!(1), &json!(true)));
    assert!(before.contains_key(shown["claim"]["object"].as_str().unwrap().as_bytes()));
    assert!(shown["kept_until"].as_str().unwrap() > shown["decided"].as_str().unwrap());
    for word in
        ["no. 7", "after one that can never commit", "for one input", "remembered", "gets this result"]
    {
        assert!(text.text().contains(word), "{word} in {}", text.text());
    }
}

#[test]
fn several_keys_are_one_document() {
    let place = Place::new();
    place.aft(&["put", "text", "abc"]).ok();
    place.aft_with(&["put", "bytes\\xff"], b"\xff\0").ok();
    let shown = place.json(&["get", "bytes\\xff", "none", "text", "text"]);
    let expected = json!({ "keys": [
        { "key": "bytes\\xff", "found": true, "size": 2, "value_base64": "/wA=" },
        { "key": "none", "found": false },
        { "key": "text", "found": true, "size": 3, "value": "abc" },
        { "key": "text", "found": true, "size": 3, "value": "abc" },
    ]});
    assert_eq!(shown, expected);
    place.aft(&["get", "text", "none"]).fails(2, &["several keys", "--json"]);
    place.aft(&["get", "text", "none", "--version", "now"]).fails(2, &["one key"]);
    assert_eq!(place.json(&["get", "text"]), json!({ "key": "text", "size": 3, "value": "abc" }));
}

#[test]
fn an_older_version_can_be_had_while_it_is_known() {
    let place = Place::new();
    let one = place.json(&["put", "k", "one"]);
    let two = place.json(&["put", "k", "second"]);
    let deleted = place.json(&["del", "k"]);
    let other = place.json(&["put", "other", "v"]);
    for name in ["version", "receipt", "txn_id"] {
        let get = |of: &Value| place.aft(&["get", "k", "--version", of["commit"][name].as_str().unwrap()]);
        assert_eq!(get(&one).ok().text(), "one", "{name}");
        assert_eq!(get(&two).ok().text(), "second", "{name}");
        let two = two["commit"]["version"].as_str().unwrap();
        get(&deleted).fails(3, &["deleted the key k", two, "known: ", "6 B"]);
        get(&other).fails(3, &["no version", two, "deleted"]);
    }
    let shown = place.json(&["get", "k", "--version", id_of(&one)]);
    assert_eq!((&shown["value"], &shown["size"]), (&json!("one"), &json!(3)));
    assert_eq!((&shown["version"], &shown["txn_id"]), (&one["commit"]["version"], &one["commit"]["txn_id"]));
    assert_eq!(place.aft(&["get", "other", "--version", "now"]).ok().text(), "v");
    place.aft(&["get", "none", "--version", "now"]).fails(3, &["no version now of the key none"]);
    let bad = place.aft(&["get", "k", "--version", "yesterday"]);
    assert!(bad.code == 2 && bad.stderr.contains("expected a version"), "{}", bad.stderr);
}

#[test]
fn what_differs_between_two_versions() {
    let place = Place::new();
    let first = place.json(&["put", "a/1", "one"]);
    place.aft(&["put", "a/2", "two"]).ok();
    let second = place.json(&["put", "b", "three"]);
    let third = place.json(&["put", "a/1", "eleven"]);
    let gone = place.json(&["del", "a/2"]);
    place.aft(&["put", "c", "short-lived"]).ok();
    place.aft(&["del", "c"]).ok();
    let before = read_tree(&place.store());
    let shown = place.json(&["diff", id_of(&second)]);
    assert_eq!(read_tree(&place.store()), before, "asking writes nothing");
    let changes = shown["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2, "what came and went is not named: {shown:#}");
    let short = |change: &Value| {
        [
            &change["key"],
            &change["change"],
            &change["before"]["size"],
            &change["after"]["size"],
            &change["txn_id"],
        ]
        .map(Value::clone)
    };
    let id = |of: &Value| of["commit"]["txn_id"].clone();
    assert_eq!(short(&changes[0]), [json!("a/1"), json!("changed"), json!(3), json!(6), id(&third)]);
    assert_eq!(short(&changes[1]), [json!("a/2"), json!("removed"), json!(3), Value::Null, id(&gone)]);
    assert_eq!(changes[0]["before"]["version"], first["commit"]["version"]);
    assert_eq!(shown["from"], second["commit"]["version"]);

    let text = place.aft(&["diff", first["commit"]["receipt"].as_str().unwrap()]).ok();
    assert!(text.text().ends_with("2 keys: 1 added, 0 removed, 1 changed\n"), "{}", text.text());
    let until = ["diff", id_of(&first), second["commit"]["version"].as_str().unwrap()];
    let added = place.json(&until);
    let keys: Vec<_> = added["changes"].as_array().unwrap().iter().map(|it| it["key"].clone()).collect();
    assert_eq!(keys, ["a/2", "b"]);
    let prefix = place.json(&["diff", id_of(&first), "--prefix", "b"]);
    assert_eq!(prefix["changes"].as_array().unwrap().len(), 1);
    let nothing = place.aft(&["diff", "now"]).ok();
    assert_eq!((nothing.text(), &nothing.stderr[..]), ("", "no key differs\n"));
    place.aft(&["diff", "now", id_of(&first)]).fails(2, &["newer than", "older one first"]);
    let undecided = "0198f3f4-0000-7000-8000-000000000000";
    place.aft(&["diff", undecided]).fails(2, &[undecided, "has no version"]);
}

#[tokio::test]
async fn an_empty_store_has_no_differences_and_no_store_is_made() {
    let place = Place::new();
    for arguments in [&["diff", "now"][..], &["request", "r"], &["get", "k", "--version", "now"]] {
        assert_eq!(place.aft(arguments).code, 7, "{arguments:?}");
    }
    assert!(!place.store().exists(), "reading makes no store");
    library(&place).await.close().await.unwrap();
    let shown = place.json(&["diff", "now"]);
    assert_eq!(shown, json!({ "from": null, "to": null, "prefix": "", "changes": [] }));
}
