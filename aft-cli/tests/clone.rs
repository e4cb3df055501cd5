//! `aft clone`, on stores of files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Place, read_tree};

#[test]
fn a_clone_has_all_keys_and_a_second_one_copies_what_is_new() {
    let place = Place::new();
    let large = vec![b'x'; 30_000];
    let tree = place.tree("tree", &[(b"a", b"1"), (b"b/c", b""), (b"large", &large)]);
    place.aft(&["import", tree.to_str().unwrap(), "-p", "t"]).ok();
    place.aft(&["put", "gone", "1"]).ok();
    place.aft(&["del", "gone"]).ok();
    let before = read_tree(&place.store());
    let clone = place.path("clone");
    let clone = clone.to_str().unwrap();

    let report = place.json(&["clone", clone]);
    assert_eq!((&report["values_copied"], &report["commits"]), (&1.into(), &3.into()), "{report}");
    assert_eq!(read_tree(&place.store()), before, "the source is as it was");
    let keys = |ran: common::Ran| String::from_utf8(ran.ok().stdout).unwrap();
    assert_eq!(keys(place.aft(&["--store", clone, "ls"])), keys(place.aft(&["ls"])));
    assert_eq!(place.aft(&["--store", clone, "get", "t/large"]).ok().stdout, large);
    place.aft(&["--store", clone, "check"]).ok();

    place.aft(&["put", "new", "2"]).ok();
    let ran = place.aft(&["clone", clone, "--checkpoint", "--check"]).ok();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("0 copied, 1 there before") && text.contains("nothing is damaged"), "{text}");
    assert_eq!(place.aft(&["--store", clone, "get", "new"]).ok().stdout, b"2");
    let id = place.json(&["--store", clone, "status"])["store_id"].clone();
    assert_ne!(place.json(&["status"])["store_id"], id);

    // What was committed into a clone is not lost.
    place.aft(&["--store", clone, "put", "mine", "3"]).ok();
    let ran = place.aft(&["clone", clone]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("used as a store of its own"), "{}", ran.stderr);
    assert_eq!(place.aft(&["--store", clone, "get", "mine"]).ok().stdout, b"3");
}

#[test]
fn no_clone_is_made_of_nothing_or_over_something() {
    let place = Place::new();
    let clone = place.path("clone");
    let clone = clone.to_str().unwrap();
    assert_eq!(place.aft(&["clone", clone]).code, 7, "there is no store");
    assert!(!fs::exists(clone).unwrap());
    place.aft(&["put", "k", "v"]).ok();
    let store = place.store();
    assert_eq!(place.aft(&["clone", store.to_str().unwrap()]).code, 2, "onto itself");
    let tree = place.tree("full", &[(b"README", b"mine")]);
    let ran = place.aft(&["clone", tree.to_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("not empty"), "{}", ran.stderr);
    assert_eq!(read_tree(&tree).len(), 1, "it is as it was");

    // One that was not finished is no store, and the next one finishes it.
    place.aft(&["clone", clone]).ok();
    fs::remove_file(place.path("clone/aft.json")).unwrap();
    for verb in [&["ls"][..], &["put", "k", "2"]] {
        let ran = place.aft(&[&["--store", clone], verb].concat());
        assert_eq!(ran.code, 7, "{}", ran.stderr);
    }
    place.aft(&["clone", clone]).ok();
    assert_eq!(place.aft(&["--store", clone, "get", "k"]).ok().stdout, b"v");
}
