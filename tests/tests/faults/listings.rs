//! Lists that are answered by something that is none: nothing is taken for absent, nothing is called clean, nothing is deleted.

use std::time::Duration;

use aft_core::conformance;
use aft_core::{Aft, Config, Error, ErrorKind};
use aft_tests::proxy::{Fault, PORTAL, Plan, nothing};
use aft_tests::{get, write};
use futures::FutureExt;
use futures::future::join_all;
use libtest_mimic::Trial;

use crate::scripted::objects;
use crate::server::{Kind, Server};
use crate::trial;

/// Each lie, and what the error says of it.
const LIES: [(&str, &str, &str); 5] = [
    ("a page of a portal", PORTAL, "its root is \"html\""),
    ("an error with status 200", "<Error><Code>InternalError</Code></Error>", "it is an error"),
    ("nothing", "", "it is empty"),
    (
        "a part without a token",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "no token",
    ),
    (
        "a token that repeats",
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>\
         </ListBucketResult>",
        "was there before",
    ),
];

/// The folders whose lists say what there is.
const FOLDERS: [&str; 3] = ["feed", "checkpoints", "commits"];

pub fn trials(kind: Kind) -> Vec<Trial> {
    // Side by side: they wait most of the time.
    let all = move || join_all(LIES.map(|(what, body, words)| lied_to(kind, what, body, words))).map(drop);
    vec![
        trial(kind, "the contract of listings", move || keeps_the_contract(kind)),
        trial(kind, "what is no list is none, and nothing goes for it", all),
        trial(kind, "a list that is none three times is asked for again", move || three_times(kind)),
    ]
}

/// Windows that pass within seconds: what is committed may soon be taken for an orphan by whoever sees no decisions.
fn config() -> Config {
    let (secs, hour) = (Duration::from_secs, Duration::from_secs(3600));
    Config {
        max_staleness: secs(0),
        transaction_lifetime: secs(4),
        commit_deadline: secs(4),
        max_clock_skew: secs(2),
        publish_deadline: secs(2),
        visibility_delay: secs(2),
        feed_interval: hour,
        sweep_interval: hour,
        background: false,
        ..Config::default()
    }
}

/// Longer than those windows.
const OLD: Duration = Duration::from_secs(20);

async fn open(server: &Server, direct: bool) -> Result<Aft, Error> {
    Aft::open(if direct { server.direct() } else { server.storage() }, config()).await
}

fn lies(folder: &'static str, body: &'static str) -> Plan {
    let folder = format!("{folder}%2F");
    Box::new(move |seen| seen.target.contains(&folder).then_some(Fault::Instead(body)))
}

/// The error of a call that must fail, if it is one and tells of the listing.
fn told<T>(what: &str, answer: Result<T, Error>, words: &str) -> Result<(), String> {
    let Err(error) = answer else { return Err(format!("{what}: no error")) };
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    let good = error.kind() == ErrorKind::Unavailable && text.contains(words) && text.contains("proxy");
    good.then_some(()).ok_or_else(|| format!("{what}: {:?}: {text}", error.kind()))
}

async fn read(node: Result<Aft, Error>) -> Result<Option<bytes::Bytes>, Error> {
    node?.begin().await?.get("large").await
}

async fn lied_to(kind: Kind, what: &str, body: &'static str, words: &'static str) {
    let server = Server::start(kind, nothing()).await;
    let writer = open(&server, true).await.unwrap();
    let large = "x".repeat(100_000);
    write(&writer, &[("large", Some(&large)), ("small", Some("1"))]).await;
    writer.publish().await.unwrap();
    let node = open(&server, false).await.unwrap();
    assert_eq!(get(&node, "large").await.as_ref(), Some(&large));
    tokio::time::sleep(OLD).await;
    write(&writer, &[("clock", Some("tick"))]).await;
    writer.publish().await.unwrap();
    let there = objects(&*server.direct(), "").await;

    let mut wrong = Vec::new();
    for folder in FOLDERS {
        server.proxy.set_plan(lies(folder, body));
        let (cold, gc, check) = tokio::join!(
            async { read(open(&server, false).await).await },
            node.collect_garbage(false),
            node.check()
        );
        let mut answers = vec![told("gc", gc, words), told("check", check, words)];
        if folder == "commits" {
            assert_eq!(cold.unwrap().unwrap(), large, "nobody needs the decisions for that");
        } else {
            answers.push(told("get", cold, words));
        }
        let failed = answers.into_iter().filter_map(Result::err);
        wrong.extend(failed.map(|failed| format!("{folder}: {failed}")));
        if objects(&*server.direct(), "values/").await != 1 {
            wrong.push(format!("{folder}: the value is gone"));
        }
    }
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
    // Nothing but the proof of a clock was added, and nothing went.
    assert!(objects(&*server.direct(), "").await >= there);

    server.proxy.set_plan(nothing());
    node.collect_garbage(false).await.unwrap();
    assert!(node.check().await.unwrap().is_clean());
    let cold = open(&server, false).await.unwrap();
    for node in [&node, &writer, &cold] {
        assert_eq!(get(node, "large").await.as_ref(), Some(&large));
        assert_eq!(get(node, "small").await.as_deref(), Some("1"));
    }
}

async fn three_times(kind: Kind) {
    let server = Server::start(kind, nothing()).await;
    let writer = open(&server, true).await.unwrap();
    let node = open(&server, false).await.unwrap();
    write(&writer, &[("small", Some("1"))]).await;
    writer.publish().await.unwrap();
    let (lie, mut left) = (Fault::Instead(PORTAL), 3);
    server.proxy.set_plan(Box::new(move |seen| {
        let lies = left > 0 && seen.target.contains("feed%2F");
        left -= u64::from(lies);
        lies.then_some(lie)
    }));
    assert_eq!(get(&node, "small").await.as_deref(), Some("1"));
    assert_eq!(server.proxy.counts().of(lie), 3);
}

/// Nothing that is right is refused: listings of many pages, with any name and any start.
async fn keeps_the_contract(kind: Kind) {
    let server = Server::start(kind, nothing()).await;
    for check in conformance::CHECKS.iter().filter(|check| check.starts_with("list_")) {
        let answer = conformance::run_check(check, server.storage(), &conformance::Options::default()).await;
        if kind == Kind::Origin || !conformance::NOT_NEEDED.contains(check) {
            answer.unwrap_or_else(|failure| panic!("{check}: {failure}"));
        }
    }
}
