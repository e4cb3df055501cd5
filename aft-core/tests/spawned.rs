//! Every call can be made from a task of a multi-threaded runtime, with borrowed arguments: a test that compiles has passed.

use std::sync::Arc;

use aft_core::{Aft, Begin, Config, Error, Receipt, Token};
use aft_memory::MemoryStorage;
use futures::StreamExt;

async fn everything(aft: &Aft, keys: &[String], receipts: &[Receipt]) -> Result<(), Error> {
    let mut begin = Begin::new().latest();
    for receipt in receipts {
        begin = begin.after(receipt);
    }
    let mut tx = aft.begin_with(begin).await?;
    for key in keys {
        tx.put(key, "v")?;
        tx.get(key).await?;
    }
    tx.get_many(keys).await?;
    tx.get_many(keys.iter().map(|key| key.as_bytes())).await?;
    tx.scan(..).await?;
    tx.scan_prefix(&keys[0]).await?;
    tx.scan_keys(keys[0].as_bytes()..).await?;
    tx.scan_pages(.., 10).next_page().await?;
    let rows: Vec<_> = tx.scan_stream("a".."b").collect().await;
    assert_eq!(rows.len(), 1);
    let commit = tx.commit().await?;
    aft.outcome(commit.receipt.txn_id()).await?;
    aft.begin_with(Begin::new().id(aft.new_txn_id())).await?.abort().await?;
    aft.cancel(aft.new_txn_id()).await?;
    let tx = aft.begin_with(Begin::new().request(&keys[0])).await?;
    let token = tx.suspend().await?;
    let mut tx = aft.resume(&Token::join([token.clone(), token])?).await?;
    assert!(tx.replay().await?.is_none());
    tx.abort().await?;
    let prefix = keys[0].clone();
    let run = aft.run(&keys[1], async move |tx| {
        let key = format!("key/{}", tx.get(&prefix).await?.map_or(0, |value| value.len()));
        tx.put(&key, "v")?;
        tx.scan_prefix(&prefix).await?;
        Ok(key.into())
    });
    assert_eq!(run.await?.result, "key/1");
    aft.refresh().await?;
    aft.publish().await?;
    aft.sweep().await?;
    aft.close().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_run_in_spawned_tasks() {
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await.unwrap();
    let task = tokio::spawn(async move {
        let keys = vec!["a".to_owned(), "b".to_owned()];
        everything(&aft, &keys, &[]).await
    });
    task.await.unwrap().unwrap();
}

/// A handler that owns what it needs: how a service runs requests in tasks of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_run_in_spawned_tasks() {
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await.unwrap();
    let deliveries = (0..4u8).map(|delivery| {
        let (aft, order) = (aft.clone(), "order-4711".to_owned());
        tokio::spawn(async move {
            let key = order.clone();
            aft.run(key, async move |tx| {
                tx.put(format!("{order}/paid"), "10")?;
                Ok(vec![delivery].into())
            })
            .await
        })
    });
    let mut results = std::collections::BTreeSet::new();
    for delivery in deliveries.collect::<Vec<_>>() {
        results.insert(delivery.await.unwrap().unwrap().result);
    }
    assert_eq!(results.len(), 1, "all return the winner's result");
}

/// A handler that borrows: from what is around it, into values, and into its own error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_borrow_run_in_spawned_tasks() {
    #[derive(Debug)]
    struct Own(String);
    impl From<Error> for Own {
        fn from(error: Error) -> Self {
            Self(error.to_string())
        }
    }
    async fn charge(tx: &mut aft_core::Transaction, order: &str) -> Result<bytes::Bytes, Own> {
        tx.put(order, order)?;
        Ok(order.to_owned().into())
    }
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await.unwrap();
    let (one, two) = (aft.clone(), aft.clone());
    let first = tokio::spawn(async move {
        let order = "order-1".to_owned();
        let run = one.handle(Begin::new().request(&order), async |mut tx| charge(&mut tx, &order).await);
        run.await.map(|run| run.result)
    });
    assert_eq!(first.await.unwrap().unwrap(), "order-1");
    let second = tokio::spawn(async move {
        let order = "order-2".to_owned();
        let run = two.handle(Begin::new().request(&order), async |mut tx| {
            let text = String::from_utf8(tx.get("order-1").await?.unwrap_or_default().to_vec());
            tx.put("copy", &text.map_err(|error| Own(error.to_string()))?)?;
            Err(Own(format!("{order} is refused")))
        });
        run.await
    });
    assert_eq!(second.await.unwrap().unwrap_err().0, "order-2 is refused");
    let tx = aft.begin().await.unwrap();
    assert_eq!(tx.get("copy").await.unwrap(), None, "nothing is left of a handler that failed");
}
