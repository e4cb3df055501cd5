//! The options of `aft ls`, and the forms of keys.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::process::Stdio;

use common::{Place, ran};
use serde_json::json;
use server::Server;

fn place_of(keys: &[&str]) -> Place {
    let place = Place::new();
    let lines: String = keys.iter().map(|key| format!("{}\n", json!({ "key": key, "value": key }))).collect();
    place.aft_with(&["put", "--from-jsonl", "-"], lines.as_bytes()).ok();
    place
}

#[test]
fn a_listing_can_be_had_a_page_at_a_time() {
    let keys: Vec<_> = (0..200).map(|n| format!("k/{n:03}")).collect();
    let place = place_of(&keys.iter().map(String::as_str).chain(["a", "z"]).collect::<Vec<_>>());
    for limit in [1, 63, 64, 65, 99, 200, 201] {
        let (mut got, mut after) = (Vec::new(), None::<String>);
        let limit_text = limit.to_string();
        loop {
            let mut arguments = vec!["ls", "k/", "--limit", &limit_text];
            if let Some(after) = &after {
                arguments.extend(["--start-after", after]);
            }
            let page = place.json(&arguments);
            let listed: Vec<_> = page["keys"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["key"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(place.aft(&arguments).ok().text().lines().collect::<Vec<_>>(), listed);
            assert!(listed.len() <= limit);
            after = listed.last().cloned();
            got.extend(listed);
            if page["more"] == false || limit == 1 && got.len() == 5 {
                break;
            }
            assert_eq!(got.len() % limit, 0);
        }
        assert!(got == keys || limit == 1 && got == keys[..5], "{limit}: {got:?}");
    }
    // A key that is not there, one before the prefix and one behind it.
    let first = |after: &str| place.json(&["ls", "k/", "-n", "1", "--start-after", after])["keys"].clone();
    assert_eq!(first("k/0005"), json!([{ "key": "k/001" }]));
    assert_eq!(first("a"), json!([{ "key": "k/000" }]));
    assert_eq!(first("m"), json!([]));
    assert_eq!(place.aft(&["ls", "--limit", "0"]).code, 2);
}

#[test]
fn keys_can_be_counted() {
    let keys: Vec<_> = (0..2_000).map(|n| format!("k/{n:04}")).collect();
    let place = place_of(&keys.iter().map(String::as_str).chain(["z"]).collect::<Vec<_>>());
    assert_eq!(place.aft(&["ls", "--count"]).ok().text(), "2001\n");
    assert_eq!(place.json(&["ls", "k/", "--count"]), json!({ "prefix": "k/", "count": 2000 }));
    assert_eq!(place.aft(&["ls", "--count", "--start-after", "k/1998"]).ok().text(), "2\n");
    assert_eq!(place.aft(&["ls", "x", "--count"]).ok().text(), "0\n");
    assert_eq!(place.aft(&["ls", "--count", "--long"]).code, 2);
}

#[test]
fn keys_can_be_had_as_they_are_and_as_lines_of_json() {
    let place = place_of(&["a b", "line\\x0abreak", "\\xff\\x01"]);
    assert_eq!(place.aft(&["ls", "-0"]).ok().stdout, b"a b\0line\nbreak\0\xff\x01\0");
    let lines = place.aft(&["ls", "--jsonl", "--long"]).ok();
    let lines: Vec<serde_json::Value> =
        lines.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(lines), place.json(&["ls", "--long"])["keys"]);
    assert_eq!(lines[1]["key"], "line\\x0abreak");
    for wrong in [["-0", "--long"], ["-0", "--json"], ["--jsonl", "--json"]] {
        assert_eq!(place.aft(&[&["ls"], &wrong[..]].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn keys_are_shown_and_taken_in_the_form_that_is_asked_for() {
    let place = Place::new();
    for (form, key, prefix) in
        [("hex", "6b2fff00", "6b2f"), ("base64", "ay//AQ==", "ay8="), ("escaped", "k/\\xff\\x02", "k/")]
    {
        place.aft(&["put", key, "v", "--keys-as", form]).ok();
        assert_eq!(place.aft(&["--keys-as", form, "get", key]).ok().text(), "v");
        let listed = place.aft(&["ls", prefix, &format!("--keys-as={form}")]).ok();
        assert!(listed.text().lines().any(|line| line == key), "{form}: {}", listed.text());
        let long = place.json(&["ls", prefix, "--start-after", prefix, "--keys-as", form]);
        assert_eq!(
            (&long["prefix"], long["keys"].as_array().unwrap().len()),
            (&prefix.into(), listed.text().lines().count())
        );
        let log = place.json(&["log", "-n", "1", "--keys-as", form]);
        assert_eq!(log["commits"][0]["keys"][0]["key"], key);
        place.aft(&["get", &format!("{key}{key}"), "--keys-as", form]);
    }
    assert_eq!(place.aft(&["ls"]).ok().text(), "k/\\xff\\x00\nk/\\xff\\x01\nk/\\xff\\x02\n");
    // Not in that form: refused, and nothing is deleted.
    for (form, key) in [("hex", "6b2"), ("hex", "k/"), ("base64", "ay8"), ("base64", "a_8=")] {
        place.aft(&["del", key, "--keys-as", form]).fails(2, &["--keys-as"]);
    }
    assert_eq!(place.aft(&["ls", "--keys-as", "octal"]).code, 2);
    // A dump is the same in every form, and a name behind `--` is a key.
    assert_eq!(place.aft(&["dump", "--keys-as", "hex"]).ok().stdout, place.aft(&["dump"]).ok().stdout);
    place.aft(&["del", "--", "--keys-as", "hex"]).ok();
    place.aft(&["del", "--keys-as", "hex", &"6b".repeat(4096)]).ok();
}

/// However many keys there are: the first come after a handful of requests, and all of them take no more where none is in the index.
#[test]
fn the_first_keys_cost_a_handful_of_requests() {
    let (place, server) = (Place::new(), Server::start());
    let aft = |arguments: &[&str], input: &str| {
        std::fs::write(place.path("input"), input).unwrap();
        let mut command = place.command(arguments);
        command.env("AFT_STORE", "s3://bucket/store").env("AWS_ENDPOINT_URL", &server.endpoint);
        command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.stdin(Stdio::from(std::fs::File::open(place.path("input")).unwrap()));
        ran(command.output().unwrap()).ok()
    };
    let lines: String = (0..20_000).map(|n| format!("{{\"key\":\"k{n:05}\",\"value\":\"v\"}}\n")).collect();
    aft(&["put", "--from-jsonl", "-"], &lines);
    server.asked();
    assert_eq!(aft(&["ls", "-n", "2"], "").text(), "k00000\nk00001\n");
    let few = server.asked();
    assert_eq!(aft(&["ls"], "").text().lines().count(), 20_000);
    let all = server.asked();
    assert!((1..=8).contains(&few) && few == all, "{few} and {all} requests");
}
