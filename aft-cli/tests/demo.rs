//! `aft demo` of the real binary.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use common::{Place, bare, ran};
use serde_json::Value;

fn demo(place: &Place, arguments: &[&str]) -> Value {
    let mut command = bare(place.dir.path());
    command.env("TMPDIR", place.dir.path()).args(["--json", "demo"]).args(arguments);
    serde_json::from_slice(&ran(command.output().unwrap()).ok().stdout).unwrap()
}

const KINDS: [&str; 4] = ["dirty_reads", "fractured_reads", "read_your_writes", "doubled_effects"];

#[test]
fn plain_keys_show_every_anomaly_and_aft_none() {
    let place = Place::new();
    let report = demo(&place, &["--seed", "7", "--orders", "100"]);
    for kind in KINDS {
        assert!(report["plain"]["anomalies"][kind].as_u64().unwrap() > 0, "{kind}: {report}");
        assert_eq!(report["aft"]["anomalies"][kind], 0, "{kind}: {report}");
    }
    for side in ["plain", "aft"] {
        assert_eq!(
            (&report[side]["finished"], &report[side]["anomalies"]["lost_effects"]),
            (&100.into(), &0.into())
        );
        assert!(
            report[side]["crashes"].as_u64().unwrap() > 0
                && report[side]["requests_total"].as_u64().unwrap() > 100
        );
    }
    assert_eq!(report["plain"]["crashes"], report["aft"]["crashes"], "both runs crash at the same points");
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn a_seed_gives_the_same_counts_again_and_another_seed_others() {
    let place = Place::new();
    let [first, again, other] = ["3", "3", "4"].map(|seed| demo(&place, &["--seed", seed, "--orders", "40"]));
    assert_eq!(first, again);
    assert_ne!(first["plain"], other["plain"]);
}

#[test]
fn it_runs_in_the_store_that_is_named_and_leaves_its_keys_alone() {
    let place = Place::new();
    place.aft(&["put", "mine", "1"]).ok();
    let store = place.store();
    let report = demo(&place, &["--orders", "20", "--store", store.to_str().unwrap()]);
    assert_eq!(report["aft"]["finished"], 20);
    assert_eq!(place.aft(&["ls"]).ok().text(), "mine\n");
    let left = common::read_tree(&store).into_keys().filter(|path| path.starts_with(b"aft-demo"));
    assert_eq!(left.count(), 0, "the plain objects are gone");
    demo(&place, &["--orders", "10", "--store", "memory://"]);
}

#[test]
fn people_get_a_table_and_a_paragraph() {
    let place = Place::new();
    let ran =
        ran(bare(place.dir.path()).args(["demo", "--orders", "30", "--seed", "2"]).output().unwrap()).ok();
    for words in ["plain keys", "fractured reads", "store writes", "--seed 2"] {
        assert!(ran.text().contains(words), "{}", ran.text());
    }
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_race_for_one_product_oversells_it_unless_the_stock_is_guarded() {
    let place = Place::new();
    let report = demo(&place, &["--guarded"]);
    let (orders, stock) = (report["orders"].as_u64().unwrap(), report["stock"].as_u64().unwrap());
    assert!(orders > stock, "{report}");
    let count = |side: &str, what: &str| report[side][what].as_u64().unwrap();
    for side in ["plain", "read_atomic"] {
        assert!(count(side, "oversold") > 0 && count(side, "lost_updates") > 0, "{side}: {report}");
        assert_eq!(count(side, "retried"), 0, "{side}: {report}");
    }
    assert_eq!((count("guarded", "accepted"), count("guarded", "refused")), (stock, orders - stock));
    assert_eq!(count("guarded", "recorded"), stock);
    for nothing in ["oversold", "left", "lost_updates"] {
        assert_eq!(count("guarded", nothing), 0, "{nothing}: {report}");
    }
    assert!(count("guarded", "retried") > 0, "they met: {report}");
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn the_race_runs_in_the_store_that_is_named_and_people_get_a_table() {
    let place = Place::new();
    let store = place.store();
    let arguments = ["demo", "--guarded", "--orders", "12", "--store", store.to_str().unwrap()];
    let ran = ran(bare(place.dir.path()).args(arguments).output().unwrap()).ok();
    for words in
        ["plain keys", "aft, read atomic", "aft, guarded", "oversold", "pieces in stock", "conflicts"]
    {
        assert!(ran.text().contains(words), "{}", ran.text());
    }
    assert_eq!(ran.stderr, "");
    assert_eq!(place.aft(&["ls"]).ok().text(), "");
    let left = common::read_tree(&store).into_keys().filter(|path| path.starts_with(b"aft-demo"));
    assert_eq!(left.count(), 0, "the plain objects are gone");
}

#[test]
fn a_race_has_no_seed() {
    let place = Place::new();
    let arguments = ["demo", "--guarded", "--seed", "1"];
    assert_eq!(ran(bare(place.dir.path()).args(arguments).output().unwrap()).code, 2);
}
