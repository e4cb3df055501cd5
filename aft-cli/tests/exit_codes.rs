//! The exit codes that only a store in trouble brings: 4 and 5.

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
