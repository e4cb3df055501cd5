//! The exit codes that only a store in trouble brings, and that none says "run it again" where that cannot help.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::time::Duration;

use aft_core::{Aft, Config};
use aft_s3::{Credentials, Options};
use common::{Place, Ran, ran};
use server::{Server, Trouble};

const URL: &str = "s3://bucket/store";

/// A server with a store in it in which everything is over soon.
async fn store() -> Server {
    let server = Server::start();
    let credentials =
        Credentials { access_key_id: "key".into(), secret_access_key: "secret".into(), session_token: None };
    let endpoint = Some(server.endpoint.clone());
    let options = Options { endpoint, credentials: Some(credentials), ..Options::default() };
    let config = Config {
        transaction_lifetime: Duration::from_secs(1),
        commit_deadline: Duration::from_secs(2),
        max_staleness: Duration::ZERO,
        ..Config::default()
    };
    Aft::open(aft_s3::open(URL, options).unwrap(), config).await.unwrap().close().await.unwrap();
    server
}

fn aft(place: &Place, server: &Server, arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    command.env("AFT_STORE", URL).env("AWS_ENDPOINT_URL_S3", &server.endpoint);
    command.env("AWS_ACCESS_KEY_ID", "key").env("AWS_SECRET_ACCESS_KEY", "secret");
    ran(command.output().unwrap())
}

#[tokio::test]
async fn a_transaction_that_expired_ends_with_4() {
    let (place, server) = (Place::new(), store().await);
    server.suffer(Trouble::SlowLists(Duration::from_millis(1_500)));
    aft(&place, &server, &["put", "k", "v"])
        .fails(4, &["older than the transaction lifetime", "run the command again"]);
    server.suffer(Trouble::Nothing);
    aft(&place, &server, &["get", "k"]).fails(3, &[]);
}

#[tokio::test]
async fn an_unknown_outcome_ends_with_5_and_txn_and_cancel_settle_it() {
    let (place, server) = (Place::new(), store().await);
    server.suffer(Trouble::Decisions);
    let put = aft(&place, &server, &["--json", "put", "k", "v"]);
    assert_eq!(put.code, 5, "{}", put.stderr);
    let error: serde_json::Value = serde_json::from_str(&put.stderr).unwrap();
    let id = error["error"].as_str().unwrap().strip_prefix("transaction ").unwrap();
    let id = id.split(':').next().unwrap();
    let outcome = |command: &str| {
        let ran = aft(&place, &server, &["--json", command, id]).ok();
        serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap()["outcome"].clone()
    };
    server.suffer(Trouble::Nothing);
    assert_eq!(outcome("txn"), "undecided");
    assert_eq!(outcome("cancel"), "aborted");
    assert_eq!(outcome("txn"), "aborted");
}

/// What only somebody can mend is said in its own words, and never that the command should be run again.
#[tokio::test]
async fn what_running_it_again_cannot_mend_says_so() {
    let (place, server) = (Place::new(), store().await);
    aft(&place, &server, &["put", "k", "v"]).ok();
    for (trouble, code, words) in [
        (Trouble::Refuses(403, "AccessDenied"), 6, &["credentials", "does not help"][..]),
        (Trouble::Refuses(403, "RequestTimeTooSkewed"), 6, &["clock of this machine", "does not help"]),
        (Trouble::Refuses(301, "PermanentRedirect"), 7, &["another region", "AWS_REGION"]),
        (Trouble::Refuses(404, "NoSuchBucket"), 7, &["bucket"]),
        (Trouble::Behind(Duration::from_secs(3_600)), 6, &["clock", "does not help"]),
    ] {
        server.suffer(trouble);
        for arguments in [&["get", "k"][..], &["put", "k", "w"]] {
            // A reader need not know what time it is.
            if matches!(trouble, Trouble::Behind(_)) && arguments[0] == "get" {
                continue;
            }
            let ran = aft(&place, &server, arguments).fails(code, words);
            let again = ran.stderr.replace("running the command again does not help", "").contains("again");
            assert!(!again, "{trouble:?}: {}", ran.stderr);
        }
    }
    server.suffer(Trouble::Nothing);
    assert_eq!(aft(&place, &server, &["get", "k"]).ok().text(), "v");
}

#[test]
fn an_object_that_is_gone_or_damaged_is_no_reason_to_run_it_again() {
    let place = Place::new();
    place.aft_with(&["put", "large"], &[7; 100_000]).ok();
    place.aft(&["put", "small", "v"]).ok();
    let values = common::read_tree(&place.store().join("values"));
    let (value, bytes) = values.iter().find(|(_, bytes)| bytes.len() >= 100_000).unwrap();
    let value = place.store().join("values").join(std::str::from_utf8(value).unwrap());
    let fails = |word: &str| {
        let ran = place.aft(&["get", "large"]).fails(7, &[word, "aft check", "does not help"]);
        assert!(!ran.stderr.contains("run the command again"), "{}", ran.stderr);
        assert_eq!(place.aft(&["get", "small"]).ok().text(), "v");
    };
    let mut damaged = bytes.clone();
    damaged[50_000] ^= 1;
    std::fs::write(&value, damaged).unwrap();
    fails("damaged");
    std::fs::remove_file(&value).unwrap();
    fails("is gone");
}
