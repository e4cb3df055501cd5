//! The IAM policies of docs/operating.md, on a server that enforces them: what each lets its user do, and what `aft` says where it does not. Needs
//! a server that can make users, so it is ignored unless asked for:
//!
//! ```console
//! $ tests/servers/server.sh run rgw cargo test -p aft-cli --test permissions -- --ignored
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::process::{Command, Stdio};
use std::time::Duration;

use aft_core::{Aft, Config};
use common::{Place, Ran, bare, ran};
use serde_json::{Value, json};

const PREFIX: &str = "permissions";

/// The policy that docs/operating.md shows under this heading.
fn documented(heading: &str) -> Value {
    let docs = include_str!("../../docs/operating.md");
    let (_, section) = docs.split_once(&format!("\n#### {heading}\n")).unwrap();
    let (_, block) = section.split_once("```json\n").unwrap();
    let (policy, _) = block.split_once("```").unwrap();
    serde_json::from_str(policy).unwrap()
}

/// A shell command of the server's, with arguments.
fn server(variable: &str, arguments: &[&str]) -> String {
    let command = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} names no command"));
    let shell = format!("{command} \"$@\"");
    let output = Command::new("bash").args(["-c", &shell, "server"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Users of the server, each of whom may do what a policy of the docs says.
struct Users {
    place: Place,
    url: String,
}

impl Users {
    fn new(users: &[(&str, Value)]) -> Self {
        let place = Place::new();
        let bucket = std::env::var("AFT_TEST_S3_URL").unwrap();
        let name = bucket.strip_prefix("s3://").unwrap();
        let mut statements = Vec::new();
        for (user, policy) in users {
            std::fs::write(place.path(user), server("AFT_TEST_S3_USER", &[user])).unwrap();
            for statement in policy["Statement"].as_array().unwrap() {
                let text = statement.to_string().replace("BUCKET", name).replace("PREFIX", PREFIX);
                let mut statement: Value = serde_json::from_str(&text).unwrap();
                // A policy of the bucket, which says whose it is.
                statement["Principal"] = json!({"AWS": [format!("arn:aws:iam:::user/{user}")]});
                statement["Sid"] = json!(format!("{user}{}", statements.len()));
                statements.push(statement);
            }
        }
        let policy = place.path("policy.json");
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        std::fs::write(&policy, document.to_string()).unwrap();
        server("AFT_TEST_S3_POLICY", &[policy.to_str().unwrap()]);
        Self { url: format!("{bucket}/{PREFIX}"), place }
    }

    /// `aft` as this user.
    fn aft(&self, user: &str, arguments: &[&str]) -> Ran {
        self.aft_at(user, &self.url, arguments)
    }

    fn aft_at(&self, user: &str, url: &str, arguments: &[&str]) -> Ran {
        let mut command = bare(self.place.dir.path());
        let keys = std::fs::read_to_string(self.place.path(user)).unwrap();
        command.envs(keys.lines().filter_map(|line| line.split_once('=')));
        ran(command.env("AFT_STORE", url).args(arguments).stdin(Stdio::null()).output().unwrap())
    }
}

/// The owner's store, with limits so short that there is garbage within seconds.
async fn make_store(url: &str) -> Aft {
    let secs = Duration::from_secs;
    let config = Config {
        max_staleness: secs(0),
        transaction_lifetime: secs(4),
        max_clock_skew: secs(2),
        visibility_delay: secs(1),
        publish_deadline: secs(2),
        commit_deadline: secs(2),
        background: false,
        ..Config::default()
    };
    Aft::open(aft_s3::open(url, aft_s3::Options::default()).unwrap(), config).await.unwrap()
}

async fn put(aft: &Aft, value: &str) {
    let mut tx = aft.begin().await.unwrap();
    tx.put("k", value).unwrap();
    tx.commit().await.unwrap();
    aft.publish().await.unwrap();
}

#[test]
#[ignore = "needs a server that makes users: AFT_TEST_S3_USER"]
fn the_documented_policies_suffice_and_allow_no_more() {
    let mut narrow = documented("Who reads");
    // What people write first.
    let condition = narrow["Statement"][0]["Condition"].as_object_mut().unwrap();
    let prefix = condition.remove("StringLikeIfExists").unwrap();
    condition.insert("StringLike".to_owned(), prefix);
    let users = Users::new(&[
        ("reader", documented("Who reads")),
        ("writer", documented("Who writes")),
        ("collector", documented("Who collects garbage")),
        ("narrow", narrow),
    ]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let aft = make_store(&users.url).await;
        for value in ["v1", "v2"] {
            put(&aft, value).await;
            tokio::time::sleep(Duration::from_secs(12)).await;
            aft.checkpoint().await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(12)).await;
        aft.close().await.unwrap();
    });

    // Who reads sees everything, and writes nothing.
    assert_eq!(users.aft("reader", &["get", "k"]).ok().text(), "v2");
    for command in ["ls", "status", "check", "log"] {
        users.aft("reader", &[command]).ok();
    }
    users.aft("reader", &["gc", "--dry-run"]).ok();
    users.aft("reader", &["put", "k", "v3"]).fails(6, &["do not allow to write this (s3:PutObject)"]);
    users.aft("reader", &["gc"]).fails(6, &["s3:PutObject"]);

    // Who writes makes checkpoints, too, and deletes nothing.
    users.aft("writer", &["put", "k", "v3"]).ok();
    assert_eq!(users.aft("writer", &["get", "k"]).ok().text(), "v3");
    users.aft("writer", &["checkpoint"]).ok();
    users.aft("writer", &["gc"]).fails(6, &["do not allow to delete this (s3:DeleteObject)"]);
    assert_eq!(users.aft("reader", &["get", "k"]).ok().text(), "v3");

    // Who collects does; and what is left is whole.
    let collected = users.aft("collector", &["--json", "gc"]).ok();
    let report: Value = serde_json::from_slice(&collected.stdout).unwrap();
    assert!(report["objects"].as_u64().unwrap() > 0, "{report}");
    users.aft("reader", &["check"]).ok();

    // Nobody does anything elsewhere in the bucket.
    let elsewhere = format!("{}-2", users.url);
    users.aft_at("writer", &elsewhere, &["put", "k", "v"]).fails(6, &["s3:PutObject"]);

    // A condition that a get does not meet: what is missing is denied.
    users
        .aft_at("narrow", &format!("{}/none", users.url), &["ls"])
        .fails(6, &["no such object", "without a condition"]);
}
