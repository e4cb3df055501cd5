//! Transactions that travel: suspended on one node, resumed on others, any number of times; hazard 3 is in `hazards`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use aft_core::{Aft, Begin, CommitOutcome, ErrorKind, Outcome, Token, Transaction};
use aft_tests::{World, get, put};

async fn read(tx: &mut Transaction, key: &str) -> Option<String> {
    let value = tx.get(key).await.unwrap();
    value.map(|value| String::from_utf8_lossy(&value).into_owned())
}

async fn commit_both(node: &Aft, value: &str) -> aft_core::Receipt {
    let mut tx = node.begin().await.unwrap();
    tx.put("a", value.to_owned()).unwrap();
    tx.put("b", value.to_owned()).unwrap();
    tx.commit().await.unwrap().receipt
}

#[tokio::test(start_paused = true)]
async fn what_was_read_and_written_travels() {
    let world = World::new();
    let (first, second, third) = (world.node().await, world.node().await, world.node().await);
    put(&first, "read", "1").await;
    let mut tx = first.begin().await.unwrap();
    assert_eq!(read(&mut tx, "read").await.as_deref(), Some("1"));
    assert_eq!(read(&mut tx, "absent").await, None);
    assert_eq!(tx.scan_prefix("range/").await.unwrap().len(), 0);
    tx.put("small", "s").unwrap();
    tx.put("large", vec![b'l'; 100_000]).unwrap();
    tx.delete("gone").unwrap();
    tx.set_result("so far").unwrap();
    let id = tx.id();
    let text = tx.suspend().await.unwrap().to_string();

    // The world goes on.
    put(&third, "read", "2").await;
    put(&third, "absent", "2").await;
    put(&third, "range/x", "2").await;
    third.publish().await.unwrap();

    let token: Token = text.parse().unwrap();
    assert_eq!(token.txn_id(), id);
    let mut tx = second.resume(&token).await.unwrap();
    second.refresh().await.unwrap();
    assert_eq!(read(&mut tx, "read").await.as_deref(), Some("1"), "repeatable across nodes");
    assert_eq!(read(&mut tx, "absent").await, None);
    assert_eq!(tx.scan_prefix("range/").await.unwrap().len(), 0);
    assert_eq!(read(&mut tx, "small").await.as_deref(), Some("s"), "own writes across nodes");
    assert_eq!(tx.get("large").await.unwrap().unwrap().len(), 100_000);
    assert_eq!(read(&mut tx, "gone").await, None);
    let own: Vec<_> = tx.scan(..).await.unwrap().into_iter().map(|(key, value)| (key, value.len())).collect();
    assert_eq!(own.len(), 3, "{own:?}");
    tx.put("more", "m").unwrap();
    let commit = tx.commit().await.unwrap();
    assert_eq!((commit.receipt.txn_id(), commit.result.as_deref()), (id, Some(&b"so far"[..])));

    let mut tx = third.begin_with(Begin::new().after(&commit.receipt)).await.unwrap();
    assert_eq!(tx.get("large").await.unwrap().unwrap().len(), 100_000);
    assert_eq!(read(&mut tx, "more").await.as_deref(), Some("m"));
}

#[tokio::test(start_paused = true)]
async fn branches_join() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    commit_both(&first, "old").await;
    first.publish().await.unwrap();
    second.refresh().await.unwrap();
    let mut tx = first.begin().await.unwrap();
    tx.put("inherited", "fork").unwrap();
    let fork = tx.suspend().await.unwrap();
    let mut left = first.resume(&fork).await.unwrap();
    assert_eq!(read(&mut left, "a").await.as_deref(), Some("old"));
    left.put("left", "x").unwrap();
    left.put("inherited", "left").unwrap();
    let left = left.suspend().await.unwrap();
    let mut right = second.resume(&fork).await.unwrap();
    right.put("right", vec![1; 50_000]).unwrap();
    let right = right.suspend().await.unwrap();
    let joined = Token::join([right.clone(), left.clone()]).unwrap();
    assert_eq!(joined.to_bytes(), Token::join([left.clone(), right]).unwrap().to_bytes());
    let receipt = second.resume(&joined).await.unwrap().commit().await.unwrap().receipt;
    let mut tx = first.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(read(&mut tx, "inherited").await.as_deref(), Some("left"));
    assert_eq!(read(&mut tx, "left").await.as_deref(), Some("x"));
    assert_eq!(tx.get("right").await.unwrap().unwrap().len(), 50_000);

    // A branch that saw half of a commit which the other just missed.
    commit_both(&second, "new").await;
    second.publish().await.unwrap();
    let mut torn = second.resume(&fork).await.unwrap();
    assert_eq!(read(&mut torn, "b").await.as_deref(), Some("new"));
    let torn = torn.suspend().await.unwrap();
    let error = Token::join([left.clone(), torn]).unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::Conflict, Some(fork.txn_id())));
    let foreign = first.begin().await.unwrap().suspend().await.unwrap();
    assert_eq!(Token::join([left, foreign]).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(Token::join([]).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_token_keeps_its_request_its_receipts_and_its_age() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    let before = put(&first, "seen", "1").await;
    let begin = Begin::new().request("order").after(&before).publish_before_ack();
    let mut tx = first.begin_with(begin).await.unwrap();
    tx.put("k", "v").unwrap();
    let token = tx.suspend().await.unwrap();
    let mut tx = second.resume(&token).await.unwrap();
    assert_eq!(read(&mut tx, "seen").await.as_deref(), Some("1"), "what it began after");
    tx.commit().await.unwrap();
    assert_eq!(second.stats().unpublished, 0);
    let again = first.run("order", async |_| Ok("again".into())).await.unwrap();
    assert_eq!((again.outcome, again.receipt.txn_id()), (CommitOutcome::Replayed, token.txn_id()));

    let old = first.begin().await.unwrap().suspend().await.unwrap();
    tokio::time::advance(first.config().transaction_lifetime + Duration::from_secs(1)).await;
    assert_eq!(second.resume(&old).await.unwrap_err().kind(), ErrorKind::Expired);
    let committed = second.resume(&token).await.unwrap().commit().await.unwrap();
    assert_eq!(committed.outcome, CommitOutcome::Replayed, "an expired id looks first");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_read_only_transaction_writes_its_decision() {
    let world = World::new();
    let node = world.node().await;
    let token = node.begin().await.unwrap().suspend().await.unwrap();
    let tx = node.resume(&token).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(node.outcome(token.txn_id()).await.unwrap(), Outcome::Committed { .. }));
    let token = node.begin().await.unwrap().suspend().await.unwrap();
    assert_eq!(node.resume(&token).await.unwrap().abort().await.unwrap(), Outcome::Aborted);
    let aborted = node.resume(&token).await.unwrap().commit().await.unwrap_err();
    assert_eq!(aborted.kind(), ErrorKind::Aborted);
}

#[tokio::test(start_paused = true)]
async fn damaged_and_foreign_tokens_are_refused() {
    let world = World::new();
    let node = world.node().await;
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "value").unwrap();
    let token = tx.suspend().await.unwrap();
    let bytes = token.to_bytes();
    assert_eq!(Token::from_bytes(bytes.clone()).unwrap(), token);
    for at in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0x10;
        let kind = Token::from_bytes(damaged).unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::InvalidInput | ErrorKind::Unsupported), "byte {at}: {kind:?}");
        assert_eq!(Token::from_bytes(bytes.slice(..at)).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    for text in ["", "aft1t.", "aft1t.!!", "nonsense", &token.to_string()[1..]] {
        assert_eq!(text.parse::<Token>().unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
    }
    let other = World::new().builder().rng_seed(99).open().await.unwrap();
    let error = other.resume(&token).await.unwrap_err();
    assert_eq!((error.kind(), error.txn_id()), (ErrorKind::InvalidInput, Some(token.txn_id())));
    assert_eq!(get(&node, "k").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_token_stays_small_whatever_was_put() {
    let world = World::new();
    let node = world.node().await;
    let empty = node.begin().await.unwrap().suspend().await.unwrap();
    assert!(empty.to_bytes().len() <= 120, "{}", empty.to_bytes().len());
    let mut tx = node.begin().await.unwrap();
    for n in 0..100 {
        tx.put(format!("key-{n:03}"), vec![n; 8_000]).unwrap();
    }
    let token = tx.suspend().await.unwrap();
    assert!(token.to_bytes().len() < 80 << 10, "{}", token.to_bytes().len());
    let tx = world.node().await.resume(&token).await.unwrap();
    let rows = tx.scan_prefix("key-").await.unwrap();
    assert!(rows.len() == 100 && rows.iter().all(|(_, value)| value.len() == 8_000));
}
