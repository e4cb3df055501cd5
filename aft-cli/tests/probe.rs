//! `aft probe` as a user runs it, on files, on real servers, and where there is nothing.
//!
//! A real server is named by `AFT_TEST_S3_URL` (with the usual `AWS_…` variables), one that must be found unsafe by
//! `AFT_TEST_UNSAFE_S3_URL` and `AFT_TEST_UNSAFE_S3_ENDPOINT`, `AFT_TEST_UNSAFE_S3_ACCESS_KEY_ID` and
//! `AFT_TEST_UNSAFE_S3_SECRET_ACCESS_KEY` where they differ. Those tests are ignored unless asked for:
//! `cargo test -p aft-cli --test probe -- --ignored`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

mod common;

use std::process::{Command, Stdio};

use common::{Place, Ran, bare, ran};
use serde_json::Value;

const QUICK: [&str; 4] = ["--rounds=10", "--objects=50", "--racers=8", "--connections=3"];

fn probe(place: &Place, url: &str, more: &[&str]) -> Command {
    let mut command = bare(place.dir.path());
    command.args(["probe", url]).args(more).stdin(Stdio::null());
    command
}

fn document(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ran.text(), ran.stderr))
}

#[test]
fn files_are_safe_and_nothing_stays() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    let before = common::read_tree(&place.store());
    let store = place.store().display().to_string();
    let table = ran(probe(&place, &store, &QUICK).output().unwrap()).ok();
    for part in [
        "create races",
        "one winner in 10 of 10 races of 8, on 3 connections",
        "median ms",
        "safe: ",
        "evidence",
    ] {
        assert!(table.text().contains(part), "{part} in {}", table.text());
    }
    let json = ran(probe(&place, &store, &[&QUICK[..], &["--json"]].concat()).output().unwrap()).ok();
    let json = document(&json);
    assert_eq!((&json["verdict"], &json["complete"]), (&"safe".into(), &true.into()), "{json}");
    assert_eq!(json["races"]["one_winner"], 10);
    assert_eq!(json["reasons"].as_array().unwrap().len(), 0);
    assert_eq!(json["latencies"].as_array().unwrap().len(), 5);
    assert!(json["requests"]["writes"].as_u64().unwrap() > 100, "{json}");
    let after = common::read_tree(&place.store());
    assert_eq!(after, before);
}

#[test]
fn what_cannot_be_probed_is_an_error() {
    let place = Place::new();
    let mut nobody = probe(&place, "s3://bucket/p", &QUICK);
    nobody.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s").env("AWS_REGION", "us-east-1");
    // Port 1 of this machine: nobody listens there.
    nobody.env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1");
    let failed = ran(nobody.output().unwrap()).fails(6, &["the probe failed", "there is no verdict"]);
    assert_eq!(failed.text(), "");
    ran(probe(&place, "ftp://host/p", &[]).output().unwrap()).fails(7, &["ftp"]);
    ran(probe(&place, "./p", &["--store", "q"]).output().unwrap()).fails(2, &["--store"]);
    let late = ran(probe(&place, "./p", &["--rounds=1000000", "--timeout=50ms"]).output().unwrap());
    late.fails(6, &["not done within 50ms", "--timeout"]);
    for wrong in ["--racers=1", "--connections=0", "--rounds=0", "--objects=9", "--timeout=soon"] {
        assert_eq!(ran(probe(&place, "./p", &[wrong]).output().unwrap()).code, 2, "{wrong}");
    }
}

/// What a terminal's ctrl-c sends, in the middle of the races.
#[test]
fn a_probe_that_is_stopped_removes_what_it_wrote() {
    let place = Place::new();
    let mut command = probe(&place, "./p", &["--rounds=1000000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let root = place.path("p");
    let objects = || match common::try_read_tree(&root) {
        Ok(tree) => {
            tree.keys().filter(|name| !name.ends_with(b"/") && name.starts_with(b"aft-probe-")).count()
        }
        Err(_) => 0,
    };
    while objects() < 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    ran(child.wait_with_output().unwrap()).fails(1, &["the probe was stopped", "there is no verdict"]);
    assert_eq!(objects(), 0);
}

fn variable(name: &str) -> String {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.unwrap_or_else(|| panic!("{name} names no bucket"))
}

#[test]
#[ignore = "needs a server: AFT_TEST_S3_URL"]
fn a_real_server_is_safe() {
    let url = variable("AFT_TEST_S3_URL");
    let place = Place::new();
    let ran = ran(probe(&place, &url, &["--json", "--rounds=10", "--timeout=20m"]).output().unwrap());
    println!("{}", ran.text());
    assert_eq!(document(&ran.ok())["verdict"], "safe");
}

#[test]
#[ignore = "needs an unsafe server: AFT_TEST_UNSAFE_S3_URL"]
fn an_unsafe_server_is_found_unsafe() {
    let url = variable("AFT_TEST_UNSAFE_S3_URL");
    let place = Place::new();
    let mut command = probe(&place, &url, &["--json", "--rounds=10", "--timeout=20m"]);
    for (name, from) in [
        ("AWS_ENDPOINT_URL_S3", "AFT_TEST_UNSAFE_S3_ENDPOINT"),
        ("AWS_ACCESS_KEY_ID", "AFT_TEST_UNSAFE_S3_ACCESS_KEY_ID"),
        ("AWS_SECRET_ACCESS_KEY", "AFT_TEST_UNSAFE_S3_SECRET_ACCESS_KEY"),
    ] {
        if let Ok(value) = std::env::var(from) {
            command.env(name, value);
        }
    }
    let ran = ran(command.output().unwrap());
    println!("{}", ran.text());
    let document = document(&ran);
    assert_eq!(document["verdict"], "unsafe", "{document}");
    assert!(document["races"]["several_winners"].as_u64().unwrap() > 0, "{document}");
    assert_eq!(ran.code, 8, "{}", ran.stderr);
}
