//! Counts everything again, from the store alone.

use std::collections::{BTreeMap, BTreeSet};

use aft_core::{Aft, Outcome};
use futures::{StreamExt, stream};

use super::PROCESSES;
use super::request::{Done, Request, number};

/// Every request took effect exactly once, as its answer and its stored result say.
pub async fn audit(aft: &Aft, done: &[(Request, Done)]) {
    aft.sweep().await.unwrap();
    let mut tx = aft.begin().await.unwrap();
    let rows = tx.scan_prefix("row/").await.unwrap();
    let mut coins: BTreeMap<usize, BTreeSet<i64>> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    for (key, value) in &rows {
        let (key, value) = (std::str::from_utf8(key).unwrap(), std::str::from_utf8(value).unwrap());
        let n: usize = key.split('/').nth(1).unwrap().parse().unwrap();
        assert!(counted.insert(n), "request {n} took effect twice");
        assert_eq!(value, done[n].1.to_string(), "request {n}: its row, and what its callers were told");
        let Done { slot, coin, .. } = done[n].1;
        assert!(coins.entry(slot).or_default().insert(coin), "coin {coin} of slot {slot} was moved twice");
    }
    assert_eq!(counted.len(), done.len(), "requests without an effect");
    for slot in 0..PROCESSES {
        let balance = async |tx: &mut aft_core::Transaction, of: &str| {
            number(tx.get(format!("{of}/{slot}")).await.unwrap().as_deref())
        };
        let (till, vault) = (balance(&mut tx, "till").await, balance(&mut tx, "vault").await);
        let moved = coins.remove(&slot).unwrap_or_default();
        assert_eq!((till, vault), (-(moved.len() as i64), moved.len() as i64), "slot {slot}");
        assert!(moved.into_iter().eq(1..=vault), "slot {slot}: coins are numbered without gaps");
    }
    stored_results(aft, done).await;
    aft.close().await.unwrap();
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
