//! `aft put --from-jsonl`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use common::Place;

const LINES: &[&str] = &["put", "--from-jsonl", "-"];

#[test]
fn lines_are_one_transaction() {
    let place = Place::new();
    place.aft(&["put", "old", "v"]).ok();
    let lines = b"{\"key\":\"a\",\"value\":\"one\\n\"}\n{\"key\":\"\\\\xff\",\"value_base64\":\"AP8=\"}\n{\"key\":\"old\",\"deleted\":true}\n";
    let ran = place.aft_with(LINES, lines).ok();
    assert!(
        ran.text().starts_with("wrote 2 keys (6 B), deleted 1 key, as one transaction "),
        "{}",
        ran.text()
    );
    assert_eq!(place.aft(&["ls"]).ok().text(), "a\n\\xff\n");
    assert_eq!(place.aft(&["get", "a"]).ok().stdout, b"one\n");
    assert_eq!(place.aft(&["get", "\\xff"]).ok().stdout, b"\0\xff");
    assert_eq!(place.json(&["log", "-n", "1"])["commits"][0]["keys"].as_array().unwrap().len(), 3);
    // From a file; and keys are in the escaped form, whatever --keys-as says.
    std::fs::write(place.path("lines"), "{\"key\":\"\\\\x00\",\"value\":\"v\"}").unwrap();
    let ran = place.json(&["put", "--from-jsonl", "lines", "--keys-as", "hex"]);
    assert_eq!((&ran["written"], &ran["deleted"], &ran["bytes"]), (&1.into(), &0.into(), &1.into()));
    assert_eq!(place.aft(&["get", "00", "--keys-as", "hex"]).ok().text(), "v");
}

/// What `aft dump` writes between its first and its last line is taken.
#[test]
fn lines_of_a_dump_are_taken() {
    let (from, to) = (Place::new(), Place::new());
    for key in ["a", "\\x00b", "c d"] {
        from.aft(&["put", key, key]).ok();
    }
    let dump = from.aft(&["dump"]).ok();
    let lines: Vec<_> = dump.text().lines().collect();
    to.aft_with(LINES, lines[1..lines.len() - 1].join("\n").as_bytes()).ok();
    assert_eq!(to.aft(&["dump"]).ok().text(), dump.text());
}

#[test]
fn a_bad_line_is_named_and_writes_nothing() {
    let place = Place::new();
    let good = "{\"key\":\"a\",\"value\":\"1\"}\n";
    for (bad, why) in
        [(good, "stands in line 1 already"), ("{\"key\":\"b\"", "EOF"), ("{\"key\":\"b\"}", "one of")]
    {
        place
            .aft_with(LINES, format!("{good}{bad}").as_bytes())
            .fails(2, &["line 2 of stdin", why, "nothing was written"]);
    }
    place.aft_with(LINES, b"\n").fails(2, &["no line"]);
    place.aft(&["put", "--from-jsonl", "absent"]).fails(2, &["cannot read absent"]);
    assert!(!place.store().exists());
    // More than one transaction takes: the transaction says so, or the bound for lines.
    let many: String = (0..100_001).map(|n| format!("{{\"key\":\"{n}\",\"deleted\":true}}\n")).collect();
    place.aft_with(LINES, many.as_bytes()).fails(2, &["line 100001", "100,000 keys at most", "aft load"]);
    let large: String = (0..90_000).map(|n| format!("{{\"key\":\"{n:0>100}\",\"value\":\"v\"}}\n")).collect();
    place.aft_with(LINES, large.as_bytes()).fails(2, &["fewer lines", "max_record_bytes"]);
    assert_eq!(place.aft(&["ls"]).ok().text(), "");
}

#[test]
fn a_request_is_done_once() {
    let place = Place::new();
    let request = &["put", "--from-jsonl", "-", "--request", "monday"];
    place.aft_with(request, b"{\"key\":\"a\",\"value\":\"1\"}").ok();
    place.aft(&["put", "a", "later"]).ok();
    let again = place.aft_with(request, b"{\"key\":\"a\",\"value\":\"1\"}").ok();
    assert!(again.text().contains("had been done before"), "{}", again.text());
    assert_eq!(place.aft(&["get", "a"]).ok().text(), "later");
    place
        .aft_with(request, b"{\"key\":\"a\",\"value\":\"2\"}")
        .fails(2, &["something else before", "nothing was written"]);
    assert_eq!(place.aft(&["get", "a"]).ok().text(), "later");
}
