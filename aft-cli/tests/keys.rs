//! `put`, `get`, `del` and `ls` of the real binary, on a store of files.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use common::{Place, bare, ran};

/// Of no transaction.
const ID: &str = "0198f3f4-0000-7000-8000-000000000000";

#[test]
fn values_go_in_and_out_byte_for_byte() {
    let place = Place::new();
    let every_byte: Vec<u8> = (0..=255u8).cycle().take(70_000).collect();
    let values: &[(&str, &[u8])] = &[
        ("text", b"hello"),
        ("newline", b"one\ntwo\n"),
        ("empty", b""),
        ("binary", &every_byte),
        ("crlf", b"\r\n\0\xff\xfe"),
    ];
    for (key, value) in values {
        let put = place.aft_with(&["put", key], value).ok();
        assert!(put.stdout.is_empty() && put.stderr.is_empty(), "{}", put.stderr);
        assert_eq!(place.aft(&["get", key]).ok().stdout, *value, "{key}");
    }
    place.aft_with(&["put", "dash", "-"], b"from stdin").ok();
    assert_eq!(place.aft(&["get", "dash"]).ok().stdout, b"from stdin");
    place.aft(&["put", "argument", "a value"]).ok();
    assert_eq!(place.aft(&["get", "argument"]).ok().stdout, b"a value");
    place.aft(&["put", "argument", ""]).ok();
    assert_eq!(place.aft(&["get", "argument"]).ok().stdout, b"");
    std::fs::write(place.path("value"), &every_byte).unwrap();
    place.aft(&["put", "file", "--file", "value"]).ok();
    assert_eq!(place.aft(&["get", "file"]).ok().stdout, every_byte);
}

#[test]
fn keys_of_any_bytes_are_listed_as_they_are_taken() {
    let place = Place::new();
    let keys = ["plain", "jürgen", "with space", "a\\\\b", "\\xff\\x00", "tab\\x09", "\\x20edge"];
    for key in keys {
        place.aft(&["put", key, key]).ok();
    }
    let listed = place.aft(&["ls"]).ok();
    let lines: Vec<_> = listed.text().lines().collect();
    let mut sorted = keys;
    sorted.sort_unstable();
    let mut shown = lines.clone();
    shown.sort_unstable();
    assert_eq!(shown, sorted);
    for key in lines {
        assert_eq!(place.aft(&["get", key]).ok().text(), key);
    }
}

#[test]
fn ls_takes_a_prefix_and_shows_sizes() {
    let place = Place::new();
    for (key, value) in [("a/1", "x"), ("a/2", "xxxxxxxxxxxx"), ("ab", ""), ("b", "y")] {
        place.aft(&["put", key, value]).ok();
    }
    assert_eq!(place.aft(&["ls", "a/"]).ok().text(), "a/1\na/2\n");
    let long = place.aft(&["ls", "a", "-l"]).ok();
    let columns: Vec<Vec<_>> = long.text().lines().map(|line| line.split_whitespace().collect()).collect();
    let shown: Vec<_> = columns.iter().map(|columns| (columns[0], columns[2])).collect();
    assert_eq!(shown, [("1", "a/1"), ("12", "a/2"), ("0", "ab")]);
    assert!(long.text().starts_with(" 1 "), "{}", long.text());
    assert_eq!(place.aft(&["ls", "nothing"]).ok().text(), "");
    let json = place.json(&["ls", "a/", "--long"]);
    assert_eq!((&json["keys"][1]["key"], &json["keys"][1]["size"]), (&"a/2".into(), &12.into()));
    let log = place.json(&["log"]);
    let newest_of_a2 =
        log["commits"].as_array().unwrap().iter().find(|it| it["keys"][0]["key"] == "a/2").unwrap();
    assert_eq!(json["keys"][1]["version"], newest_of_a2["version"]);
    assert_eq!(json["keys"][1]["time"], newest_of_a2["time"]);
    assert_eq!(newest_of_a2["time"], columns[1][1]);
    assert_eq!(
        place.json(&["ls", "nothing", "-l"]),
        serde_json::json!({ "prefix": "nothing", "keys": [], "more": false })
    );
}

/// More keys than are held at once: one document all the same, one column, and every key once.
#[test]
fn a_listing_of_several_pages_is_whole() {
    let place = Place::new();
    let keys: Vec<_> = (0..2_500).map(|n| format!("k/{n:05}")).collect();
    let files = place.path("files");
    std::fs::create_dir(&files).unwrap();
    for n in 0..keys.len() {
        std::fs::write(files.join(format!("{n:05}")), if n == 2_400 { "xxxxxxxxxxxx" } else { "x" }).unwrap();
    }
    place.aft(&["import", "files", "--prefix", "k"]).ok();
    assert_eq!(place.aft(&["ls"]).ok().text(), keys.join("\n") + "\n");
    let long = place.aft(&["ls", "-l"]).ok();
    let lines: Vec<_> = long.text().lines().collect();
    // A wider column from the page on that needs it.
    // A first page of 64, and then pages of 1,024.
    let ends = |line: &str| (line.len(), line.split(' ').next_back().unwrap().to_owned());
    let shown = [lines[0], lines[2_111], lines[2_112], lines[2_400]].map(ends);
    let wanted = [(34, "k/00000"), (34, "k/02111"), (35, "k/02112"), (35, "k/02400")];
    assert_eq!((lines.len(), shown), (2_500, wanted.map(|(len, key)| (len, key.to_owned()))));
    let listed = place.json(&["ls", "-l"]);
    let listed: Vec<_> =
        listed["keys"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap()).collect();
    assert_eq!(listed, keys);
}

#[test]
fn del_deletes_all_its_keys_at_once_and_absent_ones_are_no_error() {
    let place = Place::new();
    for key in ["a", "b", "c"] {
        place.aft(&["put", key, "v"]).ok();
    }
    place.aft(&["del", "a", "b", "never there"]).ok();
    assert_eq!(place.aft(&["ls"]).ok().text(), "c\n");
    place.aft(&["get", "a"]).fails(3, &["there is no key a"]);
    place.aft(&["put", "a", "again"]).ok();
    assert_eq!(place.aft(&["get", "a"]).ok().text(), "again");
}

#[test]
fn json_says_what_happened() {
    let place = Place::new();
    let put = place.json(&["put", "k", "v"]);
    assert_eq!(
        (&put["key"], &put["size"], &put["commit"]["replayed"]),
        (&"k".into(), &1.into(), &false.into())
    );
    assert!(put["commit"]["receipt"].as_str().unwrap().starts_with("aft1."));
    let got = place.json(&["get", "k"]);
    assert_eq!((&got["value"], &got["size"]), (&"v".into(), &1.into()));
    place.aft_with(&["put", "bin"], b"\xff\0").ok();
    assert_eq!(place.json(&["get", "bin"])["value_base64"], "/wA=");
    assert_eq!(place.json(&["del", "k"])["deleted"][0], "k");
    let missing = place.aft(&["get", "k", "--json"]);
    assert_eq!(missing.code, 3);
    let error: serde_json::Value = serde_json::from_str(&missing.stderr).unwrap();
    assert_eq!(error["exit_code"], 3);
}

#[test]
fn bad_arguments_are_refused_and_make_no_store() {
    let place = Place::new();
    let long = "k".repeat(4097);
    for arguments in [
        vec!["put", "", "v"],
        vec!["put", &long, "v"],
        vec!["put", "a\\q", "v"],
        vec!["put", "k", "v", "--file", "f"],
        vec!["get"],
        vec!["get", ""],
        vec!["del"],
        vec!["frobnicate"],
        vec!["txn"],
        vec!["txn", "no-id"],
        vec!["cancel", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"],
        vec!["import", "."],
        vec!["put", "k", "--file", "no such file"],
    ] {
        let ran = place.aft(&arguments);
        assert!(ran.code == 2 || arguments.contains(&"no such file"), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
        assert!(!place.store().exists(), "{arguments:?}");
    }
    place.aft(&["put", &"k".repeat(4096), "v"]).ok();
    assert_eq!(place.aft(&["get", &"k".repeat(4096)]).ok().text(), "v");
}

#[test]
fn commands_that_need_a_store_say_so_and_make_none() {
    let place = Place::new();
    for arguments in [
        vec!["get", "k"],
        vec!["ls"],
        vec!["log"],
        vec!["status"],
        vec!["del", "k"],
        vec!["sweep"],
        vec!["versions", "k"],
        vec!["txn", ID],
        vec!["cancel", ID],
        vec!["export", "out", "-p", "x"],
    ] {
        place.aft(&arguments).fails(7, &["no aft store", "hint"]);
        assert!(!place.store().exists() && !place.path("out").exists(), "{arguments:?}");
    }
    // Nor in a directory that holds something else.
    std::fs::create_dir(place.store()).unwrap();
    std::fs::write(place.store().join("a file"), "").unwrap();
    place.aft(&["get", "k"]).fails(7, &["no aft store"]);
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 1);
    // Nor where a store cannot be.
    std::fs::remove_dir_all(place.store()).unwrap();
    std::fs::write(place.store(), "a file").unwrap();
    for arguments in [vec!["get", "k"], vec!["put", "k", "v"]] {
        place.aft(&arguments).fails(7, &[]);
    }
    for url in ["nonsense://x", "s3://", "file://relative/path"] {
        let ran = place.aft(&["--store", url, "get", "k"]);
        assert!(ran.code != 0 && ran.stderr.starts_with("error: "), "{url}: {}", ran.stderr);
    }
}

#[test]
fn reading_writes_not_a_byte() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    let before = common::read_tree(&place.store());
    for arguments in [
        vec!["get", "k"],
        vec!["ls"],
        vec!["log"],
        vec!["status"],
        vec!["versions", "k"],
        vec!["txn", ID],
        vec!["export", "out", "-p", ""],
    ] {
        place.aft(&arguments).ok();
    }
    assert_eq!(common::read_tree(&place.store()), before);
}

#[test]
fn the_default_store_is_in_the_users_data_directory() {
    let place = Place::new();
    ran(bare(place.dir.path()).args(["put", "k", "v"]).output().unwrap()).ok();
    assert!(place.path(".local/share/aft/store/aft.json").exists());
    let got = ran(bare(place.dir.path()).args(["get", "k"]).output().unwrap()).ok();
    assert_eq!(got.text(), "v");
    let data = place.path("data");
    ran(bare(place.dir.path()).env("XDG_DATA_HOME", &data).args(["put", "k", "w"]).output().unwrap()).ok();
    assert!(data.join("aft/store/aft.json").exists());
    let path =
        ran(bare(place.dir.path()).args(["--store", "data/aft/store", "get", "k"]).output().unwrap()).ok();
    assert_eq!(path.text(), "w");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let place = Place::new();
    place.aft_with(&["put", "big"], &vec![7; 4 << 20]).ok();
    let mut child =
        place.command(&["get", "big"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = ran(child.wait_with_output().unwrap()).ok();
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_damaged_marker_is_reported_and_left_alone() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    let marker = place.store().join("aft.json");
    std::fs::write(&marker, "{ nonsense").unwrap();
    for arguments in [vec!["get", "k"], vec!["put", "k", "w"]] {
        place.aft(&arguments).fails(7, &["aft.json"]);
    }
    assert_eq!(std::fs::read(&marker).unwrap(), b"{ nonsense");
}

#[test]
fn help_documents_the_exit_codes() {
    let place = Place::new();
    for flag in ["-h", "--help"] {
        let help = place.aft(&[flag]).ok();
        assert!(help.text().contains("Exit codes:") && help.text().contains("5  the outcome is unknown"));
    }
    assert!(place.aft(&["import", "--help"]).ok().text().contains("ymbolic links"));
    assert!(place.aft(&["--version"]).ok().text().starts_with("aft "));
}

/// A value of three parts: as a file, a pipe, and a file of a tree.
#[test]
fn a_large_value_goes_in_and_out_in_parts() {
    let place = Place::new();
    let large: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 77) as u8).collect();
    std::fs::write(place.path("large"), &large).unwrap();
    let put: serde_json::Value = place.json(&["put", "file", "--file", "large"]);
    assert_eq!(put["size"], 20_000_000);
    let objects =
        || common::read_tree(&place.store().join("values")).values().filter(|it| !it.is_empty()).count();
    assert_eq!(objects(), 3);
    assert!(place.aft(&["get", "file"]).ok().stdout == large);
    place.aft_with(&["put", "pipe"], &large).ok();
    assert!(place.aft(&["get", "pipe"]).ok().stdout == large);
    assert_eq!(place.json(&["get", "file"])["size"], 20_000_000);

    let tree = place.tree("tree", &[(b"large", &large), (b"small", b"1"), (b"medium", &large[..100_000])]);
    place.aft(&["import", tree.to_str().unwrap(), "--prefix", "t"]).ok();
    let out = place.path("out");
    place.aft(&["export", "--prefix", "t", out.to_str().unwrap()]).ok();
    assert!(common::read_tree(&out) == common::read_tree(&tree));
    assert_eq!(objects(), 3 + 3 + 4);
}
