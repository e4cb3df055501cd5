//! `aft top` where there is no terminal: one frame.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(feature = "top")]

mod common;

use common::{Place, read_tree};

#[test]
fn one_frame_is_text_of_24_lines_that_fit_80_columns() {
    let place = Place::new();
    place.aft(&["put", "orders/1", "new"]).ok();
    place.aft(&["put", "orders/1", "paid"]).ok();
    place.aft(&["put", "a\\x1b[31m", &"v".repeat(300)]).ok();
    place.aft(&["del", "orders/1"]).ok();
    let before = read_tree(&place.store());
    for arguments in [&["top"][..], &["top", "--once"]] {
        let frame = place.aft(arguments).ok();
        let lines: Vec<_> = frame.text().lines().collect();
        assert_eq!(lines.len(), 24, "{}", frame.text());
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{}", frame.text());
        for word in [
            "aft top  file://",
            "checkpoint none",
            "4 commits of 2 keys",
            "commits a second",
            "-orders/1",
            "+a\\x1b[31m",
            "     3  orders/1",
            "nodes in 15 minutes: 4",
            "list    3",
            "q quits",
        ] {
            assert!(frame.text().contains(word), "{word} in\n{}", frame.text());
        }
        assert!(!frame.text().contains('\x1b'), "nothing that a terminal acts on");
    }
    assert_eq!(read_tree(&place.store()), before);
}

#[test]
fn one_frame_for_programs() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    place.aft(&["checkpoint"]).ok();
    let frame = place.json(&["top"]);
    assert_eq!((&frame["recent_commits"], &frame["checkpoint"]), (&1.into(), &1.into()));
    assert_eq!((&frame["busiest"][0]["key"], &frame["busiest"][0]["versions"]), (&"k".into(), &1.into()));
    let by_second: u64 =
        frame["commits_by_second"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(by_second, 1);
    assert!(frame["newest"][0]["txn_id"].is_string() && frame["warnings"].as_array().unwrap().is_empty());
}
