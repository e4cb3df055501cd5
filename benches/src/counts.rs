//! What operations cost in requests to the store: exact, counted on the recording store.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, Config};
use aft_memory::{Counts, MemoryStorage, RecordingStorage};
use bytes::Bytes;

use crate::data::{self, Keys, PREFIX};

/// What one operation cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The operation.
    pub operation: &'static str,
    /// What aft sent.
    pub aft: Counts,
    /// What the plain alternative sends.
    pub plain: &'static str,
}

/// A recorded store, and the table so far.
struct Ledger {
    storage: RecordingStorage,
    rows: Vec<Row>,
}

impl Ledger {
    /// Enters what was sent since the last entry.
    fn enter(&mut self, operation: &'static str, plain: &'static str) {
        let aft = self.storage.counts();
        self.storage.reset();
        self.rows.push(Row { operation, aft, plain });
    }

    /// Forgets what was sent since the last entry.
    fn skip(&self) {
        self.storage.reset();
    }

    /// A node that does nothing on its own.
    async fn node(&self, config: Config) -> Aft {
        let config = Config { background: false, feed_interval: Duration::from_secs(3600), ..config };
        data::open_with(Arc::new(self.storage.clone()), config).await
    }
}

/// Counts every operation.
pub async fn measure() -> Vec<Row> {
    let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
    let mut ledger = Ledger { storage, rows: Vec::new() };
    let node = ledger.node(Config::default()).await;
    ledger.enter("open, the first time ever", "");
    let keys = Keys::new(1_000);
    writes(&mut ledger, &node, &keys).await;
    reads(&mut ledger, &node, &keys).await;
    ledger.rows
}

async fn writes(ledger: &mut Ledger, node: &Aft, keys: &Keys) {
    let value = data::value(1 << 10);
    data::commit(node, &keys.all_names()[..1], &value).await;
    ledger.enter("commit of 1 key x 1 KiB", "1 put");
    data::commit(node, &keys.all_names()[..10], &value).await;
    ledger.enter("commit of 10 keys x 1 KiB", "10 puts");
    data::commit(node, &keys.all_names()[..100], &value).await;
    ledger.enter("commit of 100 keys x 1 KiB", "100 puts");
    data::commit(node, keys.all_names(), &value).await;
    ledger.enter("commit of 1,000 keys x 1 KiB", "1,000 puts");
    node.publish().await.expect("publish");
    ledger.enter("publishing these four to other nodes", "");
    data::commit(node, &["a".into(), "b".into(), "c".into()], &data::value(100 << 10)).await;
    ledger.enter("commit of 3 keys x 100 KiB", "3 puts");
    let mut tx = node.begin_with(Begin::new().publish_before_ack()).await.expect("begin");
    tx.put("k", "v").expect("put");
    tx.commit().await.expect("commit");
    ledger.enter("commit of 1 key, published before it returns", "");
    // Others are to see the three large values below.
    node.publish().await.expect("publish");
    ledger.skip();
    let mut tx = node.begin().await.expect("begin");
    tx.put("k", "w").expect("put");
    tx.abort().await.expect("abort");
    ledger.enter("abort", "");
    let other = ledger.node(Config::default()).await;
    ledger.enter("open a store of 1,006 keys", "1 list");
    data::commit(&other, &["l".into()], &Bytes::from_static(b"v")).await;
    ledger.enter("the first commit of that node", "");
}

async fn reads(ledger: &mut Ledger, node: &Aft, keys: &Keys) {
    let tx = node.begin().await.expect("begin");
    tx.get(keys.name(500)).await.expect("get");
    tx.commit().await.expect("commit");
    ledger.enter("begin, get (cached), read-only commit", "1 get");

    let uncached = Config { cache_bytes: 0, ..Config::default() };
    let cold = ledger.node(uncached).await;
    ledger.skip();
    let tx = cold.begin().await.expect("begin");
    tx.get(keys.name(500)).await.expect("get");
    ledger.enter("get, uncached", "1 get");
    tx.get("a").await.expect("get").expect("the key is there");
    ledger.enter("get of 100 KiB, uncached", "1 get");
    tx.get("absent").await.expect("get");
    ledger.enter("get of an absent key", "1 get");
    tx.get_many(&keys.all_names()[..100]).await.expect("get_many");
    ledger.enter("get_many of 100 keys, uncached", "100 gets");
    tx.scan_prefix(PREFIX).await.expect("scan");
    ledger.enter("scan of 1,000 keys, uncached", "1 list, 1,000 gets");

    let tx = node.begin().await.expect("begin");
    tx.scan_prefix(PREFIX).await.expect("scan");
    ledger.enter("scan of 1,000 keys, cached", "1 list, 1,000 gets");
    cold.refresh().await.expect("refresh");
    ledger.enter("refresh without news: by begin, once per max_staleness", "");
    let fresh = ["n".to_owned()];
    data::commit(node, &fresh, &data::value(1 << 10)).await;
    node.publish().await.expect("publish");
    ledger.skip();
    cold.refresh().await.expect("refresh");
    ledger.enter("refresh with one feed object of news", "");
}
