//! `aft log`: which commits it chooses, and how it follows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use aft_core::{Aft, Config};
use common::{Place, bare, ran};
use serde_json::Value;
use server::{Server, Trouble};

/// The lines that a child prints, as they come.
struct Follower {
    child: Child,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

/// Lines, as they come.
fn lines(from: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(from).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    lines
}

impl Follower {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (lines, notes) = (lines(child.stdout.take().unwrap()), lines(child.stderr.take().unwrap()));
        Self { child, lines, notes }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    /// The next note that says this.
    fn note(&self, text: &str) {
        while !self.notes.recv_timeout(Duration::from_secs(60)).unwrap().contains(text) {}
    }

    fn keys(&self) -> Vec<String> {
        let commit: Value = serde_json::from_str(&self.line()).unwrap();
        commit["keys"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap().to_owned()).collect()
    }

    /// As Ctrl-C does; it ends with exit code 0.
    fn interrupt(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert_eq!(self.lines.recv_timeout(Duration::from_secs(60)).ok(), None, "nothing else was printed");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Commits of two nodes, in this order; the ids of the nodes.
async fn two_nodes(place: &Place) -> [String; 2] {
    let config = Config { background: false, direct_commits: false, ..Config::default() };
    let url = format!("file://{}", place.store().display());
    let open = || async {
        let storage = aft_s3::open(&url, aft_s3::Options::default()).unwrap();
        Aft::open(storage, config.clone()).await.unwrap()
    };
    let nodes = [open().await, open().await];
    let mut feed = Vec::new();
    for (node, writes) in [
        (0, vec![("a/1", Some("one")), ("b/1", Some("x"))]),
        (1, vec![("a/2", Some("three"))]),
        // A deletion has no value in the feed: only the feed object itself says whose it is.
        (0, vec![("a/1", None)]),
        (1, vec![("c", Some("y"))]),
    ] {
        let mut tx = nodes[node].begin().await.unwrap();
        for (key, value) in writes {
            match value {
                Some(value) => tx.put(key, value).unwrap(),
                None => tx.delete(key).unwrap(),
            }
        }
        tx.commit().await.unwrap();
        nodes[node].publish().await.unwrap();
        let objects =
            common::read_tree(&place.store()).into_keys().map(|path| String::from_utf8(path).unwrap());
        let new = objects.filter(|path| path.starts_with("feed/") && path.len() > 10 && !feed.contains(path));
        feed.extend(new.collect::<Vec<_>>());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(feed.len(), 4, "{feed:?}");
    [&feed[0], &feed[1]].map(|path| path.split('-').nth(1).unwrap().to_owned())
}

/// The keys of the commits that `aft log` with these arguments tells of.
fn keys(place: &Place, arguments: &[&str]) -> Vec<String> {
    let log = place.json(&[&["log"], arguments].concat());
    let keys = |commit: &Value| {
        let keys: Vec<_> = commit["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["key"].as_str().unwrap().to_owned())
            .collect();
        keys.join(" ")
    };
    log["commits"].as_array().unwrap().iter().map(keys).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_are_chosen_by_key_prefix_time_and_node() {
    let place = Place::new();
    let nodes = two_nodes(&place).await;
    let before = common::read_tree(&place.store());
    let all = ["c", "a/1", "a/2", "a/1 b/1"];
    assert_eq!(keys(&place, &[]), all);
    assert_eq!(keys(&place, &["-n", "2"]), all[..2]);
    assert_eq!(keys(&place, &["--key", "a/1"]), ["a/1", "a/1 b/1"]);
    assert_eq!(keys(&place, &["--prefix", "a/"]), all[1..]);
    assert_eq!(keys(&place, &["--prefix", "b"]), ["a/1 b/1"]);
    assert_eq!(keys(&place, &["--key", "nowhere"]), Vec::<String>::new());
    assert_eq!(keys(&place, &["--node", &nodes[0]]), ["a/1", "a/1 b/1"]);
    assert_eq!(keys(&place, &["--node", &nodes[1]]), ["c", "a/2"]);
    assert_eq!(keys(&place, &["--node", &nodes[1], "--prefix", "a/"]), ["a/2"]);
    assert_eq!(keys(&place, &["--node", "0123456789abcdef"]), Vec::<String>::new());

    let log = place.json(&["log"]);
    let commits = log["commits"].as_array().unwrap();
    assert_eq!((&commits[2]["bytes"], &commits[1]["bytes"]), (&5.into(), &0.into()));
    assert_eq!(commits[0]["node"], nodes[1]);
    assert_eq!(commits[1]["node"], Value::Null, "a deletion alone does not say it");
    assert_eq!(place.json(&["log", "--node", &nodes[0]])["commits"][0]["node"], nodes[0]);
    assert_eq!(commits[0]["decided_by"], commits[0]["txn_id"]);
    assert!(commits.iter().all(|commit| commit["published"].is_string()), "{log:#}");
    // From the second on.
    let since = commits[2]["time"].as_str().unwrap();
    assert_eq!(keys(&place, &["--since", since]), all[..3]);
    assert_eq!(keys(&place, &["--since", since, "-n", "1"]), all[..1]);
    assert_eq!(keys(&place, &["--since", "1h"]), all);
    assert_eq!(keys(&place, &["--since", "2999-01-01T00:00:00Z"]), Vec::<String>::new());
    assert_eq!(common::read_tree(&place.store()), before, "looking writes nothing");
}

#[test]
fn what_can_choose_nothing_is_refused() {
    let place = Place::new();
    for arguments in [
        &["--since", "yesterday"][..],
        &["--node", "12"],
        &["--key", "a", "--prefix", "a"],
        &["--interval", "1s"],
        &["--follow", "--interval", "1ms"],
    ] {
        let refused = place.aft(&[&["log"], arguments].concat());
        assert_eq!(refused.code, 2, "{arguments:?}: {}", refused.stderr);
    }
}

#[test]
fn a_follower_prints_what_was_there_and_then_each_commit_once() {
    let place = Place::new();
    for n in 0..3 {
        place.aft(&["put", &format!("old/{n}"), "v"]).ok();
    }
    let follow = |arguments: &[&str]| {
        Follower::start(place.command(&[&["log", "-f", "--interval", "100ms"], arguments].concat()))
    };
    let (json, text) = (follow(&["--json", "-n", "2"]), follow(&["-n", "0", "--prefix", "new/"]));
    assert_eq!((json.keys(), json.keys()), (vec!["old/1".to_owned()], vec!["old/2".to_owned()]));
    for n in 0..3 {
        place.aft(&["put", &format!("new/{n}"), "v"]).ok();
        assert_eq!(json.keys(), [format!("new/{n}")]);
    }
    place.aft(&["put", "other", "v"]).ok();
    assert_eq!(json.keys(), ["other"]);
    for n in 0..3 {
        let line = text.line();
        assert!(line.ends_with(&format!("  +new/{n}")), "{line}");
    }
    json.interrupt();
    text.interrupt();
}

#[test]
fn a_follower_survives_a_store_that_is_away() {
    let (server, home) = (Server::start(), tempfile::tempdir().unwrap());
    let aft = |arguments: &[&str]| {
        let mut command = bare(home.path());
        command.env("AWS_ENDPOINT_URL_S3", &server.endpoint).env("AWS_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s");
        command.env("AFT_STORE", "s3://bucket").args(arguments);
        command
    };
    ran(aft(&["put", "first", "v"]).output().unwrap()).ok();
    let follower = Follower::start(aft(&["log", "-f", "--interval", "100ms", "--json"]));
    assert_eq!(follower.keys(), ["first"]);
    server.suffer(Trouble::Everything);
    follower.note("the store does not answer");
    server.suffer(Trouble::Nothing);
    follower.note("the store answers again");
    ran(aft(&["put", "second", "v"]).output().unwrap()).ok();
    assert_eq!(follower.keys(), ["second"]);
    follower.interrupt();
}
