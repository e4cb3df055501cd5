//! What transactions promise, through the server: each node has its connections, its view and its cache for itself.

use aft_core::{Aft, Begin, CommitOutcome, ErrorKind, Outcome, Token, TxnId};
use aft_tests::{get, put, write};
use bytes::Bytes;
use futures::future::join_all;

use crate::Failure;
use crate::bucket::Bucket;

/// More than a commit record holds, so that it is an object of its own.
const LARGE: usize = 300_000;

pub async fn what_is_committed_is_read_on_every_node(bucket: Bucket) -> Result<(), Failure> {
    let (a, b) = (bucket.node().await, bucket.node().await);
    let large: Bytes = (0..LARGE).map(|n| (n % 251) as u8).collect();
    let mut tx = a.begin().await.unwrap();
    tx.put("small", "s").unwrap();
    tx.put("empty", "").unwrap();
    tx.put("large", large.clone()).unwrap();
    tx.delete("never").unwrap();
    assert_eq!(tx.get("small").await.unwrap().unwrap(), "s", "its own write");
    assert_eq!(tx.get("absent").await.unwrap(), None);
    tx.set_result("done").unwrap();
    let id = tx.id();
    let commit = tx.commit().await.unwrap();
    assert_eq!((commit.outcome, commit.receipt.txn_id()), (CommitOutcome::Fresh, id));
    // What is not written yet is seen by nobody.
    let mut open = a.begin().await.unwrap();
    open.put("small", "unseen").unwrap();
    let cold = bucket.node().await;
    for node in [&a, &b, &cold] {
        let tx = node.begin_with(Begin::new().after(&commit.receipt)).await.unwrap();
        let read = tx.get_many(["small", "empty", "large", "never", "absent"]).await.unwrap();
        let expected = [Some(Bytes::from_static(b"s")), Some(Bytes::new()), Some(large.clone()), None, None];
        assert!(
            read == expected,
            "{:?}",
            read.iter().map(|it| it.as_ref().map(Bytes::len)).collect::<Vec<_>>()
        );
        let outcome = node.outcome(id).await.unwrap();
        assert_eq!(
            outcome,
            Outcome::Committed { receipt: commit.receipt.clone(), result: Some("done".into()) }
        );
    }
    drop(open);
    bucket.is_clean().await
}

pub async fn scans_and_deletes(bucket: Bucket) -> Result<(), Failure> {
    let (a, b) = (bucket.node().await, bucket.node().await);
    for hundred in 0..3 {
        let mut tx = a.begin().await.unwrap();
        for n in 0..100 {
            tx.put(format!("key/{:03}", hundred * 100 + n), n.to_string()).unwrap();
        }
        tx.commit().await.unwrap();
    }
    let mut tx = a.begin().await.unwrap();
    for n in (0..300).step_by(3) {
        tx.delete(format!("key/{n:03}")).unwrap();
    }
    let receipt = tx.commit().await.unwrap().receipt;
    a.publish().await.unwrap();
    b.refresh().await.unwrap();
    let expected: Vec<String> = (0..300).filter(|n| n % 3 != 0).map(|n| format!("key/{n:03}")).collect();
    let tx = b.begin_with(Begin::new().after(&receipt)).await.unwrap();
    let keys: Vec<String> = tx
        .scan_prefix("key/")
        .await
        .unwrap()
        .iter()
        .map(|(key, _)| String::from_utf8_lossy(key).into())
        .collect();
    assert_eq!(keys, expected);
    let (mut paged, mut pages) = (0, tx.scan_pages(.., 7));
    while let Some(page) = pages.next_page().await.unwrap() {
        paged += page.len();
    }
    assert_eq!(paged, expected.len());
    // A commit after the scan is no phantom in it.
    let later = put(&a, "key/000", "later").await;
    a.publish().await.unwrap();
    b.refresh().await.unwrap();
    assert_eq!(tx.scan_prefix("key/").await.unwrap().len(), expected.len());
    let tx = b.begin_with(Begin::new().after(&later)).await.unwrap();
    assert_eq!(tx.scan_keys(..).await.unwrap().len(), expected.len() + 1);
    bucket.is_clean().await
}

pub async fn of_all_attempts_under_one_id_one_commits(bucket: Bucket) -> Result<(), Failure> {
    let nodes = [bucket.node().await, bucket.node().await, bucket.node().await];
    for round in 0..5 {
        let id = TxnId::new();
        let attempt = async |n: usize, node: &Aft| {
            let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
            tx.put(format!("winner/{round}"), n.to_string()).unwrap();
            tx.put(format!("attempt/{round}/{n}"), "x").unwrap();
            tx.set_result(n.to_string()).unwrap();
            tx.commit().await.unwrap()
        };
        let attempts = join_all((0..12).map(|n| attempt(n, &nodes[n % 3]))).await;
        let fresh: Vec<_> = attempts.iter().filter(|it| it.outcome == CommitOutcome::Fresh).collect();
        assert!(fresh.len() <= 1, "round {round}: {} attempts think that they made the commit", fresh.len());
        let winner = attempts[0].result.clone().unwrap();
        for commit in &attempts {
            assert_eq!((&commit.receipt, commit.result.as_ref()), (&attempts[0].receipt, Some(&winner)));
        }
        let late = attempt(99, &bucket.node().await).await;
        assert_eq!((late.outcome, late.result.as_ref()), (CommitOutcome::Replayed, Some(&winner)));
        let tx = nodes[0].begin_with(Begin::new().after(&late.receipt)).await.unwrap();
        assert_eq!(tx.get(format!("winner/{round}")).await.unwrap().as_ref(), Some(&winner));
        assert_eq!(tx.scan_prefix(format!("attempt/{round}/")).await.unwrap().len(), 1);
    }
    bucket.is_clean().await
}

pub async fn requests_that_are_delivered_often_run_once(bucket: Bucket) -> Result<(), Failure> {
    let nodes = [bucket.node().await, bucket.node().await, bucket.node().await];
    let deliver = async |request: usize, delivery: usize| {
        let run = nodes[delivery % 3].run(format!("order-{request}"), async |tx| {
            tx.put(format!("order/{request}/{delivery}"), "x")?;
            Ok(delivery.to_string().into())
        });
        run.await.unwrap()
    };
    let mut last = None;
    for request in 0..8 {
        let runs = join_all((0..6).map(|delivery| deliver(request, delivery))).await;
        let again = deliver(request, 7).await;
        assert_eq!(again.outcome, CommitOutcome::Replayed);
        assert!(runs.iter().filter(|run| run.outcome == CommitOutcome::Fresh).count() <= 1);
        assert!(runs.iter().all(|run| (&run.result, &run.receipt) == (&again.result, &again.receipt)));
        let tx = nodes[1].begin_with(Begin::new().after(&again.receipt)).await.unwrap();
        let rows = tx.scan_prefix(format!("order/{request}/")).await.unwrap();
        let winner = format!("order/{request}/{}", String::from_utf8_lossy(&again.result));
        assert_eq!(rows.iter().map(|(key, _)| key).collect::<Vec<_>>(), [&Bytes::from(winner)]);
        last = Some(again.receipt);
    }
    let replayed =
        nodes[2].begin_with(Begin::new().request("order-7")).await.unwrap().replay().await.unwrap();
    assert_eq!(replayed.map(|commit| commit.receipt), last);
    bucket.is_clean().await
}

pub async fn transactions_travel_and_branches_join(bucket: Bucket) -> Result<(), Failure> {
    let (a, b, c) = (bucket.node().await, bucket.node().await, bucket.node().await);
    put(&a, "read", "1").await;
    let mut tx = a.begin_with(Begin::new().request("travels")).await.unwrap();
    assert_eq!(tx.get("read").await.unwrap().unwrap(), "1");
    tx.put("written", "here").unwrap();
    tx.put("large", vec![7; LARGE]).unwrap();
    let fork: Token = tx.suspend().await.unwrap().to_string().parse().unwrap();
    write(&c, &[("read", Some("2")), ("other", Some("2"))]).await;
    c.publish().await.unwrap();
    let mut left = b.resume(&fork).await.unwrap();
    assert_eq!(left.get("read").await.unwrap().unwrap(), "1", "repeatable across nodes");
    left.put("left", "x").unwrap();
    let mut right = c.resume(&fork).await.unwrap();
    assert_eq!(right.get("large").await.unwrap().unwrap().len(), LARGE);
    right.put("right", "x").unwrap();
    let joined = Token::join([left.suspend().await.unwrap(), right.suspend().await.unwrap()]).unwrap();
    let commit = a.resume(&joined).await.unwrap().commit().await.unwrap();
    assert_eq!(commit.receipt.txn_id(), fork.txn_id());
    let twice = b.resume(&joined).await.unwrap().commit().await.unwrap();
    assert_eq!((twice.outcome, &twice.receipt), (CommitOutcome::Replayed, &commit.receipt));
    let tx = c.begin_with(Begin::new().after(&commit.receipt)).await.unwrap();
    let read = tx.get_many(["written", "left", "right"]).await.unwrap();
    assert_eq!(read, ["here", "x", "x"].map(|value| Some(Bytes::from(value))));
    bucket.is_clean().await
}

pub async fn what_was_given_up_never_commits(bucket: Bucket) -> Result<(), Failure> {
    let (a, b) = (bucket.node().await, bucket.node().await);
    // Cancelled by another node while it is open, under its own id or a caller's.
    let mut open = a.begin().await.unwrap();
    open.put("k", "cancelled").unwrap();
    assert_eq!(b.outcome(open.id()).await.unwrap(), Outcome::Undecided);
    assert_eq!(b.cancel(open.id()).await.unwrap(), Outcome::Aborted);
    assert_eq!(open.commit().await.unwrap_err().kind(), ErrorKind::Aborted);
    // Given up under an id that others may still be at.
    let id = TxnId::new();
    let mut tx = a.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "given up").unwrap();
    assert_eq!(tx.abort().await.unwrap(), Outcome::Aborted);
    let mut again = b.begin_with(Begin::new().id(id)).await.unwrap();
    again.put("k", "again").unwrap();
    assert_eq!(again.commit().await.unwrap_err().kind(), ErrorKind::Aborted);
    // What has committed cannot be cancelled.
    let committed = put(&a, "k", "stays").await;
    let outcome = b.cancel(committed.txn_id()).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Committed { ref receipt, .. } if *receipt == committed),
        "{outcome:?}"
    );
    a.publish().await.unwrap();
    b.refresh().await.unwrap();
    assert_eq!(get(&b, "k").await.as_deref(), Some("stays"));
    bucket.is_clean().await
}
