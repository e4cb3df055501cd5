//! Counts everything again, from the store alone.

use std::collections::{BTreeMap, BTreeSet};

use aft_core::{Aft, Outcome, Transaction};
use futures::{StreamExt, stream};

use super::PROCESSES;
use super::request::{COUNTER, Done, Request, Work, number};

/// Every request took effect exactly once, as its answer and its stored result say.
pub async fn audit(aft: &Aft, work: Work, done: &[(Request, Done)]) {
    aft.sweep().await.unwrap();
    let tx = aft.begin().await.unwrap();
    one_row_each(&tx, done).await;
    match work {
        Work::Transfers => transfers(&tx, done).await,
        Work::Counter => counter(&tx, done).await,
    }
    drop(tx);
    stored_results(aft, done).await;
    aft.close().await.unwrap();
}

async fn one_row_each(tx: &Transaction, done: &[(Request, Done)]) {
    let rows = tx.scan_prefix("row/").await.unwrap();
    let mut counted = BTreeSet::new();
    for (key, value) in &rows {
        let (key, value) = (std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap());
        let n: usize = key.split('/').nth(1).unwrap().parse().unwrap();
        assert!(counted.insert(n), "request {n} took effect twice");
        assert_eq!(value, done[n].1.to_string(), "request {n}: its row, and what its callers were told");
    }
    assert_eq!(counted.len(), done.len(), "requests without an effect");
}

/// No coin is missing, and none was moved twice.
async fn transfers(tx: &Transaction, done: &[(Request, Done)]) {
    let mut coins: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    for (_, Done { slot, number, .. }) in done {
        assert!(
            coins.entry(*slot).or_default().insert(*number),
            "coin {number} of slot {slot} was moved twice"
        );
    }
    for slot in 0..PROCESSES {
        let balance = async |of: &str| number(tx.get(format!("{of}/{slot}")).await.unwrap().as_deref());
        let (till, vault) = (balance("till").await, balance("vault").await);
        let moved = coins.remove(&slot).unwrap_or_default();
        assert_eq!((till, vault), (-(moved.len() as i64), moved.len() as i64), "slot {slot}");
        assert!(moved.into_iter().eq(1..=vault), "slot {slot}: coins are numbered without gaps");
    }
}

/// The counter says how many requests there were, and each of its values was made by one of them.
async fn counter(tx: &Transaction, done: &[(Request, Done)]) {
    let says = number(tx.get(COUNTER).await.unwrap().as_deref());
    let requests = done.len() as i64;
    let mut made: Vec<_> = done.iter().map(|(_, done)| done.number).collect();
    made.sort_unstable();
    let again = made.windows(2).filter(|two| two[0] == two[1]).count();
    assert_eq!((says, again), (requests, 0), "updates were lost: what the counter says, values made again");
    assert!(made.into_iter().eq(1..=requests), "the values that were made have no gaps");
}

/// Whoever asks for a request once more gets the result that its effects show.
async fn stored_results(aft: &Aft, done: &[(Request, Done)]) {
    let check = async |(request, done): &(Request, Done)| {
        let result = if request.has_id() {
            match aft.outcome(request.txn_id()).await.unwrap() {
                Outcome::Committed { result, .. } => result,
                other => panic!("request {}: {other:?}", request.n),
            }
        } else {
            let mut tx = aft.begin_with(request.begin()).await.unwrap();
            tx.replay().await.unwrap().unwrap_or_else(|| panic!("request {} is open", request.n)).result
        };
        assert_eq!(result.unwrap(), done.to_string(), "request {}: its stored result", request.n);
    };
    stream::iter(done).for_each_concurrent(16, check).await;
}
