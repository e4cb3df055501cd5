//! One fault, at one place.

use std::time::Duration;

use aft_core::planted::{Planted, plant};
use aft_core::{Aft, CommitOutcome, Config, ErrorKind, Outcome, Storage, StorageError};
use aft_tests::proxy::{Fault, Plan, Seen, nothing, once};
use bytes::Bytes;
use futures::TryStreamExt;
use libtest_mimic::Trial;

use crate::server::{Kind, Server};
use crate::trial;

const LARGE: usize = 100_000;

/// What may happen to a create.
const OF_CREATES: [Fault; 13] = [
    Fault::Cut { applied: false },
    Fault::Cut { applied: true },
    Fault::Reset { applied: false },
    Fault::Reset { applied: true },
    Fault::Late(Duration::from_millis(150)),
    Fault::Delay(Duration::from_millis(20)),
    Fault::Error { applied: false },
    Fault::Error { applied: true },
    Fault::SlowDown { applied: false },
    Fault::SlowDown { applied: true },
    Fault::Conflict { applied: false },
    Fault::Conflict { applied: true },
    Fault::Twice,
];

pub fn trials(kind: Kind) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (what, folder) in
        [("decision", "/commits/"), ("claim", "/requests/"), ("value", "/values/"), ("feed", "/feed/")]
    {
        for fault in OF_CREATES {
            let name = format!("create of a {what}, {}", fault.name());
            trials.push(trial(kind, &name, move || a_request_with(kind, folder, fault)));
        }
    }
    trials.extend([
        trial(kind, "a truncated value is read again", move || truncated_once(kind)),
        trial(kind, "a value that is always truncated is never a torn one", move || truncated(kind)),
        trial(kind, "a truncated list is never a short one", move || truncated_list(kind)),
        trial(kind, "a run that is dropped before its decision lands", move || dropped(kind)),
        trial(kind, "a decision that lands late is denied where not found counts", move || denied(kind)),
        trial(kind, "a store that cannot be asked is said to be", move || unreachable(kind)),
    ]);
    trials
}

fn config() -> Config {
    let hour = Duration::from_secs(3600);
    Config { background: false, feed_interval: hour, sweep_interval: hour, ..Config::default() }
}

pub async fn open(storage: std::sync::Arc<dyn Storage>) -> Aft {
    Aft::open(storage, config()).await.unwrap()
}

fn creates_in(folder: &'static str) -> impl FnMut(&Seen) -> bool + Send + 'static {
    move |seen| seen.creates && seen.target.contains(folder)
}

fn gets_in(folder: &'static str) -> impl FnMut(&Seen) -> bool + Send + 'static {
    move |seen| seen.method == "GET" && seen.target.contains(folder)
}

async fn write(aft: &Aft, result: &'static str) -> aft_core::Run {
    let run = aft.run("request", async move |tx| {
        tx.put("small", result)?;
        tx.put("large", vec![b'x'; LARGE])?;
        Ok(Bytes::from_static(result.as_bytes()))
    });
    run.await.unwrap()
}

async fn read(aft: &Aft) -> (Option<Bytes>, Option<Bytes>) {
    let tx = aft.begin().await.unwrap();
    (tx.get("small").await.unwrap(), tx.get("large").await.unwrap())
}

pub async fn objects(storage: &dyn Storage, prefix: &str) -> usize {
    storage.list(prefix, None).try_collect::<Vec<_>>().await.unwrap().len()
}

/// A request whose first create in this folder meets the fault is acknowledged once, as its own, whoever asks.
async fn a_request_with(kind: Kind, folder: &'static str, fault: Fault) {
    let server = Server::start(kind, nothing()).await;
    let aft = open(server.storage()).await;
    server.proxy.set_plan(once(fault, creates_in(folder)));
    let run = write(&aft, "first").await;
    aft.publish().await.unwrap();
    assert_eq!(server.proxy.counts().of(fault), 1, "the fault happened");
    server.proxy.settled().await;

    assert_eq!((run.outcome, &run.result[..]), (CommitOutcome::Fresh, &b"first"[..]));
    let receipt = run.receipt.clone();
    let committed = Outcome::Committed { receipt, result: Some(run.result) };
    assert_eq!(aft.outcome(run.receipt.txn_id()).await.unwrap(), committed);
    let again = write(&aft, "second").await;
    assert_eq!((again.outcome, &again.result[..]), (CommitOutcome::Replayed, &b"first"[..]));

    let direct = server.direct();
    let other = open(direct.clone()).await;
    assert_eq!(other.outcome(run.receipt.txn_id()).await.unwrap(), committed);
    let (small, large) = read(&other).await;
    assert_eq!((small.as_deref(), large.map(|it| it.len())), (Some(&b"first"[..]), Some(LARGE)));
    assert_eq!(objects(&*direct, "commits/").await, 1, "one decision");
    assert_eq!(objects(&*direct, "requests/").await, 1, "one claim");
}

async fn written(kind: Kind) -> (Server, Aft) {
    let server = Server::start(kind, nothing()).await;
    let writer = open(server.direct()).await;
    write(&writer, "first").await;
    writer.publish().await.unwrap();
    let reader = open(server.storage()).await;
    (server, reader)
}

async fn truncated_once(kind: Kind) {
    let (server, reader) = written(kind).await;
    server.proxy.set_plan(once(Fault::Truncate, gets_in("/values/")));
    assert_eq!(read(&reader).await.1.unwrap(), vec![b'x'; LARGE]);
    assert_eq!(server.proxy.counts().of(Fault::Truncate), 1);
}

async fn truncated(kind: Kind) {
    let (server, reader) = written(kind).await;
    let mut fits = gets_in("/values/");
    server.proxy.set_plan(Box::new(move |seen| fits(seen).then_some(Fault::Truncate)));
    let tx = reader.begin().await.unwrap();
    let error = tx.get("large").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(server.proxy.counts().of(Fault::Truncate) > 1);
    server.proxy.set_plan(nothing());
    assert_eq!(tx.get("large").await.unwrap().unwrap().len(), LARGE, "the transaction goes on");
}

async fn truncated_list(kind: Kind) {
    let (server, _) = written(kind).await;
    let (direct, storage) = (server.direct(), server.storage());
    for n in 0..50 {
        direct.create(&format!("many/{n:02}"), Bytes::new()).await.unwrap();
    }
    let always: fn() -> Plan = || Box::new(|seen| (seen.method == "GET").then_some(Fault::Truncate));
    server.proxy.set_plan(always());
    let error = storage.list("many/", None).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, StorageError::Unavailable { .. }), "{error:?}");
    server.proxy.set_plan(once(Fault::Truncate, |seen| seen.method == "GET"));
    let listed = storage.list("many/", None).try_collect::<Vec<_>>().await;
    assert!(listed.is_err() || listed.is_ok_and(|listed| listed.len() == 50));
    assert_eq!(objects(&*storage, "many/").await, 50);
}

/// Its caller goes away while the decision is on its way; the next one is told what became of it.
async fn dropped(kind: Kind) {
    let fault = Fault::Late(Duration::from_millis(400));
    let server = Server::start(kind, nothing()).await;
    let aft = open(server.storage()).await;
    server.proxy.set_plan(once(fault, creates_in("/commits/")));
    {
        let mut first = std::pin::pin!(write(&aft, "first"));
        let sent = async {
            while server.proxy.counts().of(fault) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            biased;
            () = sent => {}
            _ = &mut first => panic!("it ended before its decision was lost"),
        }
    }
    let second = write(&aft, "second").await;
    server.proxy.settled().await;
    let (result, direct) = (second.result.clone(), server.direct());
    let third = write(&open(direct.clone()).await, "third").await;
    assert_eq!((third.outcome, third.result), (CommitOutcome::Replayed, result.clone()));
    assert_eq!(third.receipt, second.receipt);
    assert_eq!(objects(&*direct, "commits/").await, 1, "one decision");
    aft.publish().await.unwrap();
    aft.sweep().await.unwrap();
    assert_eq!(read(&aft).await.0.unwrap(), result);
}

/// The planted bug `TrustNotFound`, caught in the act.
async fn denied(kind: Kind) {
    let server = Server::start(kind, nothing()).await;
    let aft = open(server.storage()).await;
    let mut tx = aft.begin().await.unwrap();
    tx.put("key", "value").unwrap();
    let id = tx.id();
    server.proxy.set_plan(once(Fault::Late(Duration::from_millis(500)), creates_in("/commits/")));
    plant(Some(Planted::TrustNotFound));
    let told = tx.commit().await;
    plant(None);
    assert_eq!(told.unwrap_err().kind(), ErrorKind::Unavailable, "nothing was committed, it says");
    server.proxy.settled().await;
    assert!(matches!(aft.outcome(id).await.unwrap(), Outcome::Committed { .. }));
}

/// While every request is cut, the error says so within its bound, and a commit waits; once the network is good it is acknowledged.
async fn unreachable(kind: Kind) {
    let server = Server::start(kind, nothing()).await;
    let aft = open(server.storage()).await;
    let mut tx = aft.begin().await.unwrap();
    tx.put("key", "value").unwrap();
    let id = tx.id();
    let cut = Fault::Cut { applied: false };
    server.proxy.set_plan(Box::new(move |_| Some(cut)));
    let refused = Aft::open(server.storage(), config()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused:?}");
    let before = server.proxy.counts().of(cut);
    let commit = tokio::spawn(async move { tx.commit().await });
    while server.proxy.counts().of(cut) < before + 5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    server.proxy.set_plan(nothing());
    let committed = commit.await.unwrap().unwrap();
    assert_eq!((committed.receipt.txn_id(), committed.outcome), (id, CommitOutcome::Fresh));
}
