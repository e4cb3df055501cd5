//! What every command prints with `--json` is what docs/schemas says.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;
#[path = "common/schema.rs"]
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use common::Place;
use schema::wrong;
use serde_json::{Value, json};

/// Commands that print no document: shell scripts and manual pages.
const NONE: [&str; 2] = ["completions", "man"];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas")
}

fn schema_of(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn is_as_documented(name: &str, document: &Value) {
    let wrong = wrong(&schema_of(name), document);
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\n{document:#}");
}

/// The commands that `aft --help` names.
fn commands() -> BTreeSet<String> {
    let help = Place::new().aft(&["-h"]).ok();
    let lines = help.text().lines().skip_while(|line| *line != "Commands:").skip(1);
    let named = lines.take_while(|line| line.starts_with("  "));
    // A line that goes on is further in.
    let names =
        named.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The commands that are run, in this order; ID is the id of a commit.
const RUNS: &[(&str, &[&str])] = &[
    ("put", &["k", "x"]),
    ("put", &["--from-jsonl", "lines"]),
    ("get", &["k"]),
    ("get", &["bin"]),
    ("del", &["k", "never"]),
    ("ls", &[]),
    ("ls", &["--long", "--limit", "1"]),
    ("ls", &["--count"]),
    ("import", &["tree", "--prefix", "t", "--delete"]),
    ("export", &["out", "--prefix", "t"]),
    ("dump", &["--output", "another"]),
    ("load", &["a-dump"]),
    ("load", &["a-dump", "--request", "r"]),
    ("log", &[]),
    ("log", &["--since", "1h", "--key", "k"]),
    ("get", &["k", "never", "bin"]),
    ("get", &["k", "--version", "ID"]),
    ("diff", &["ID"]),
    ("why", &["k", "--with", "bin"]),
    ("why", &["never"]),
    ("request", &["r"]),
    ("export-log", &["log.parquet"]),
    ("report", &["report.html"]),
    ("top", &["--once"]),
    ("status", &["--scan"]),
    ("status", &[]),
    ("versions", &["k"]),
    ("txn", &["ID"]),
    ("txn", &["0198f3f4-0000-7000-8000-000000000000"]),
    ("cancel", &["ID"]),
    ("sweep", &[]),
    ("sweep", &["--all"]),
    ("checkpoint", &[]),
    ("versions", &["bin"]),
    ("status", &["--scan"]),
    ("why", &["gone"]),
    ("gc", &["--dry-run"]),
    ("gc", &[]),
    ("check", &[]),
    ("clone", &["./copy", "--check"]),
    ("adopt", &[]),
    ("demo", &["--orders", "20"]),
    ("demo", &["--guarded", "--orders", "6"]),
    ("cost", &["--commits", "1000"]),
];

#[test]
fn every_command_has_a_schema_and_an_output_that_is_as_it_says() {
    let place = Place::new();
    place.tree("tree", &[(b"a", b"1"), (b"sub/b", b"2")]);
    fs::write(place.path("lines"), "{\"key\":\"l\",\"value\":\"1\"}\n{\"key\":\"gone\",\"deleted\":true}\n")
        .unwrap();
    place.aft(&["put", "k", "v"]).ok();
    place.aft_with(&["put", "bin"], &[0xff; 10_000]).ok();
    let id = place.json(&["put", "k", "w"])["commit"]["txn_id"].as_str().unwrap().to_owned();
    place.aft(&["dump", "--output", "a-dump"]).ok();
    let probed = format!("file://{}", place.path("probed").display());
    let mut seen: BTreeSet<String> = NONE.iter().map(|name| (*name).to_owned()).collect();
    for (command, arguments) in RUNS {
        let mut line = vec![*command];
        line.extend(arguments.iter().map(|argument| if *argument == "ID" { &*id } else { argument }));
        let document = place.json(&line);
        is_as_documented(command, &document);
        seen.insert((*command).to_owned());
    }
    let quick = ["--rounds", "2", "--racers", "4", "--objects", "20"];
    is_as_documented("probe", &place.json(&[&["probe", &probed], &quick[..]].concat()));
    seen.insert("probe".to_owned());
    assert_eq!(seen, commands(), "a command that the test does not run");
    for object in ["aft.json", "commits/0/0198f3f4-0000-7000-8000-000000000000"] {
        is_as_documented("gc-explain", &place.json(&["gc", "--explain", object]));
    }
    let error = place.aft(&["get", "absent", "--json"]);
    is_as_documented("error", &serde_json::from_str(&error.stderr).unwrap());
    let line = place.aft(&["ls", "--jsonl", "--long"]).ok();
    let line: Value = serde_json::from_str(line.text().lines().next().unwrap()).unwrap();
    assert_eq!(wrong(&schema_of("ls")["properties"]["keys"]["items"], &line), [""; 0]);
}

/// What is damaged is in documents too.
#[test]
fn the_outputs_of_trouble_are_as_documented() {
    let place = Place::new();
    place.aft_with(&["put", "large"], &[7; 100_000]).ok();
    let values = place.store().join("values");
    let value = common::read_tree(&values).into_keys().find(|path| !path.ends_with(b"/")).unwrap();
    fs::remove_file(values.join(String::from_utf8(value).unwrap())).unwrap();
    let check = place.aft(&["check", "--json"]);
    assert_eq!(check.code, 7, "{}", check.stderr);
    let document = serde_json::from_slice(&check.stdout).unwrap();
    is_as_documented("check", &document);
    assert!(!document["problems"].as_array().unwrap().is_empty());
    is_as_documented("error", &serde_json::from_str(&check.stderr).unwrap());
}

#[test]
fn every_schema_says_what_it_is_and_the_test_of_them_can_fail() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".json") else { continue };
        let schema = schema_of(name);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(
            schema["title"].as_str().unwrap().contains(&format!("aft {name}")) || name == "error",
            "{name}"
        );
        // An object without its fields is wrong, and so is one with another.
        assert!(
            schema["required"].as_array().is_some_and(|required| !required.is_empty())
                || name == "get"
                || name == "ls"
                || name == "put"
                || name == "demo"
                || name == "sweep",
            "{name}"
        );
        assert!(!wrong(&schema, &json!({ "a field that nobody has": 1 })).is_empty(), "{name}");
    }
}
