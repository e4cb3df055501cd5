//! `aft checkpoint`, `aft gc` and `aft check` on a real store of files, whose windows are short so that commits are soon old.
//!
//! A store of files cannot be copied: the dates of its objects are the file system's own. So one store is broken and mended again,
//! with what cannot be mended at the end.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use aft_core::{Aft, Config};
use common::{Place, Ran, read_tree};
use serde_json::Value;

/// Longer than the windows of the store: what was published before is folded then.
const OLD: Duration = Duration::from_secs(23);

/// Makes the store.
fn make(place: &Place) {
    let secs = Duration::from_secs;
    let config = Config {
        max_staleness: secs(0),
        transaction_lifetime: secs(4),
        commit_deadline: secs(4),
        max_clock_skew: secs(2),
        publish_deadline: secs(2),
        visibility_delay: secs(2),
        background: false,
        ..Config::default()
    };
    let url = format!("file://{}", place.store().display());
    let storage = aft_s3::open(&url, aft_s3::Options::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { Aft::open(storage, config).await.unwrap().close().await.unwrap() });
}

/// Waits until what is there is older than the windows, and the store's time is known.
fn grow_old(place: &Place) {
    std::thread::sleep(OLD);
    place.aft(&["put", "clock", "tick"]).ok();
}

fn objects(place: &Place, folder: &str) -> Vec<String> {
    let files = read_tree(&place.store()).into_keys().map(|path| String::from_utf8(path).unwrap());
    files.filter(|path| path.starts_with(folder) && !path.ends_with('/')).collect()
}

/// What `aft check` says; it changes nothing.
fn check(place: &Place) -> (Ran, Value) {
    let before = read_tree(&place.store());
    let ran = place.aft(&["check", "--json"]);
    assert_eq!(read_tree(&place.store()), before, "a check changes nothing");
    let document = serde_json::from_slice(&ran.stdout).unwrap();
    (ran, document)
}

fn is_clean(place: &Place) -> Value {
    let (ran, report) = check(place);
    assert_eq!((ran.code, &report["clean"]), (0, &Value::Bool(true)), "{report:#}");
    report
}

/// The check ends with 7 and names exactly these, besides those that were named before.
fn names(place: &Place, expected: &[(&str, &str)]) {
    let (ran, report) = check(place);
    let problems = report["problems"].as_array().unwrap();
    let mut found: Vec<_> =
        problems.iter().map(|it| (it["path"].as_str().unwrap(), it["kind"].as_str().unwrap())).collect();
    let mut expected = expected.to_vec();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!((ran.code, found), (7, expected.clone()), "{report:#}");
    let told = place.aft(&["check"]);
    assert_eq!(told.code, 7);
    for (path, kind) in expected {
        // Log lines may come before it.
        assert!(told.stderr.contains(&format!("\n  {kind}: {path}: ")), "{}", told.stderr);
    }
}

/// Breaks a file, looks, and mends it.
fn breaks(place: &Place, path: &str, kind: &str, broken: Option<Vec<u8>>) {
    let file = place.store().join(path);
    let whole = fs::read(&file).unwrap();
    overwrite(&file, broken.as_deref());
    names(place, &[(path, kind)]);
    place.aft(&["get", "young"]).ok();
    overwrite(&file, Some(&whole));
}

fn overwrite(file: &Path, content: Option<&[u8]>) {
    match content {
        Some(content) => fs::write(file, content).unwrap(),
        None => fs::remove_file(file).unwrap(),
    }
}

fn flipped(place: &Place, path: &str, from_end: usize) -> Option<Vec<u8>> {
    let mut bytes = fs::read(place.store().join(path)).unwrap();
    let at = bytes.len() - from_end;
    bytes[at] ^= 1;
    Some(bytes)
}

#[test]
fn a_store_is_folded_cleaned_checked_and_each_damage_is_named() {
    let place = Place::new();
    make(&place);
    let large = "x".repeat(20_000);
    let tree = place.tree("tree", &[(b"a", b"1"), (b"b", b"2"), (b"large", large.as_bytes())]);
    place.aft(&["import", tree.to_str().unwrap(), "--prefix", "t"]).ok();
    place.aft(&["put", "replaced", &"y".repeat(20_000)]).ok();
    place.aft(&["put", "replaced", &"z".repeat(20_000)]).ok();
    place.aft(&["del", "t/b"]).ok();

    let nothing = place.aft(&["gc", "--dry-run"]).ok();
    assert!(nothing.stderr.contains("aft checkpoint"), "{}", nothing.stderr);
    grow_old(&place);
    let report = place.json(&["checkpoint"]);
    for (what, number) in [("folded", 4), ("recent", 1), ("runs", 1), ("rows", 3)] {
        assert_eq!(report[what], number, "{what} in {report:#}");
    }
    let status = place.json(&["status"]);
    assert_eq!(status["checkpoint"], report["number"]);
    assert_eq!((&status["runs"], &status["rows"]), (&report["runs"], &report["rows"]));
    assert_eq!(status["horizon"], report["horizon"]);
    assert!(place.aft(&["status"]).ok().text().contains("checkpoint"));

    grow_old(&place);
    let before = read_tree(&place.store());
    let would = place.json(&["gc", "--dry-run"]);
    assert_eq!(read_tree(&place.store()), before, "a dry run changes nothing");
    let superseded = &would["classes"]["superseded_values"];
    assert_eq!(superseded["objects"], 1, "{would:#}");
    assert!(superseded["why"].as_str().unwrap().contains("newer version"));
    assert!(is_clean(&place)["garbage"]["superseded_values"]["objects"] == 1);
    let did = place.aft(&["gc"]).ok();
    for word in [
        "superseded values",
        "folded decisions",
        "every running transaction knows the newer version",
        "deleted",
    ] {
        assert!(did.text().contains(word), "{word} in {}", did.text());
    }
    assert_eq!(is_clean(&place)["garbage"].get("superseded_values"), None);
    assert_eq!(place.aft(&["get", "t/large"]).ok().text(), large);
    place.aft(&["get", "t/b"]).fails(3, &[]);

    place.aft(&["put", "young", "1"]).ok();
    let second = place.json(&["checkpoint"]);
    is_clean(&place);
    index_and_values(&place);
    unmendable(&place, second["number"].as_u64().unwrap());
}

fn index_and_values(place: &Place) {
    let run = objects(place, "index/").pop().unwrap();
    let len = fs::read(place.store().join(&run)).unwrap().len();
    breaks(place, &run, "damaged", Some(fs::read(place.store().join(&run)).unwrap()[..len - 10].to_vec()));
    breaks(place, &run, "damaged", flipped(place, &run, len - 10));
    breaks(place, &run, "missing", None);
    for recent in objects(place, "recent/") {
        breaks(place, &recent, "damaged", flipped(place, &recent, 1));
    }
    for value in objects(place, "values/") {
        breaks(place, &value, "missing", None);
        breaks(place, &value, "damaged", flipped(place, &value, 1));
    }
    is_clean(place);
    let stranger = "01900000-0000-7000-8000-000000000000";
    let foreign = format!("values/0/{stranger}/0000000000000001-00000000");
    let file = place.store().join(&foreign);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "foreign").unwrap();
    assert_eq!(is_clean(place)["orphans"], serde_json::json!([foreign]));
    assert!(place.aft(&["check"]).ok().text().contains(&foreign));
    fs::remove_file(&file).unwrap();
}

/// What loses its date when it is touched, and with it what it says.
fn unmendable(place: &Place, newest: u64) {
    let manifest = format!("checkpoints/{newest:012x}.json");
    assert!(objects(place, "checkpoints/").contains(&manifest));
    let file = place.store().join(&manifest);
    overwrite(&file, flipped(place, &manifest, 30).as_deref());
    names(place, &[(&*manifest, "damaged")]);
    // What depends on it stays, and says so; the exit code too.
    place.aft(&["gc", "--dry-run"]).fails(7, &["missing or damaged", &manifest]);
    let said = place.aft(&["gc", "--dry-run", "--json"]);
    let said: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["damaged"], true, "{said:#}");
    for key in ["t/a", "young"] {
        assert_eq!(place.aft(&["get", key]).ok().text(), "1", "the checkpoint before it is used");
    }

    place.json(&["put", "younger", "1"]);
    let decision = objects(place, "feed/").into_iter().rfind(|path| path.contains("-8000")).unwrap();
    let file = place.store().join(&decision);
    overwrite(&file, flipped(place, &decision, 1).as_deref());
    names(place, &[(&*manifest, "damaged"), (&*decision, "damaged")]);
    overwrite(&file, None);
    assert_eq!(place.aft(&["get", "t/a"]).ok().text(), "1");
}

#[test]
fn where_there_is_no_store_nothing_is_made() {
    let place = Place::new();
    for command in [&["check"][..], &["gc"], &["gc", "--dry-run"], &["checkpoint"]] {
        place.aft(command).fails(7, &["no aft store"]);
        assert!(!place.store().exists());
    }
}

#[test]
fn a_store_that_cannot_be_opened_can_be_checked() {
    let place = Place::new();
    place.aft(&["put", "a", "1"]).ok();
    // It decides and publishes. Without it, nobody knows what was committed.
    let decision = objects(&place, "feed/").pop().unwrap();
    let whole = std::fs::read(place.store().join(&decision)).unwrap();
    overwrite(&place.store().join(&decision), Some(b"no decision"));
    let refused = place.aft(&["get", "a"]);
    assert_eq!(refused.code, 7, "{}", refused.stderr);
    // A log line comes before it.
    for word in [&*decision, "\nerror: ", "aft sweep --all"] {
        assert!(refused.stderr.contains(word), "{word} in {}", refused.stderr);
    }
    names(&place, &[(&*decision, "damaged")]);
    overwrite(&place.store().join(&decision), Some(&whole));
    assert_eq!(place.aft(&["get", "a"]).ok().stdout, b"1");
}
