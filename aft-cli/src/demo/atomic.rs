//! The same keys on aft: an attempt at an order is a transaction, and its retries are the same transaction.
//!
//! Two worker nodes take the orders, as two machines would, and a third node only reads. Nothing happens by the
//! machine's clock: commits are published, and the readers' node refreshed, when the run says that time passes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, CommitOutcome, Config, KeyRange, Receipt, Storage, Transaction, TxnId, Version};
use bytes::Bytes;

use super::subject::{Caller, Finish, Subject};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::requests::{Metered, Requests};

/// The nodes that take orders.
const WORKERS: usize = 2;
/// The number of the node that reads.
const READER: usize = WORKERS;

/// Three nodes on one store.
#[derive(Debug)]
pub(crate) struct Atomic {
    nodes: Vec<Aft>,
    storage: Metered,
    /// Before every key.
    root: String,
    /// The id in each order's queue message: whoever retries uses the same.
    ids: HashMap<u32, TxnId>,
    /// The last commit of each lane, which the lane's next order must see.
    receipts: HashMap<u32, Receipt>,
}

/// An open transaction, and of which lane.
#[derive(Debug)]
pub(crate) struct Open {
    tx: Transaction,
    lane: Option<u32>,
}

impl Atomic {
    /// Opens the nodes on `storage`; their keys begin with `root`.
    pub(crate) async fn open(storage: Arc<dyn Storage>, root: String) -> Result<Self, Failure> {
        let storage = Metered::new(storage);
        let nodes = open(&storage, WORKERS + 1).await?;
        Ok(Self { nodes, storage, root, ids: HashMap::new(), receipts: HashMap::new() })
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// Deletes every key of the run, and closes the nodes.
    pub(crate) async fn clean(self) -> Result<(), Failure> {
        clear(&self.nodes[READER], &self.root).await?;
        close(self.nodes).await
    }
}

/// Opens nodes on which nothing happens of itself.
pub(super) async fn open(storage: &Metered, nodes: usize) -> Result<Vec<Aft>, Failure> {
    let storage: Arc<dyn Storage> = Arc::new(storage.clone());
    let an_hour = Duration::from_secs(60 * 60);
    let config = Config {
        max_staleness: an_hour,
        feed_interval: an_hour,
        sweep_interval: an_hour,
        background: false,
        ..Config::default()
    };
    let mut open = Vec::with_capacity(nodes);
    for _ in 0..nodes {
        open.push(Aft::open(Arc::clone(&storage), config.clone()).await?);
    }
    Ok(open)
}

/// Deletes every key that begins with `root`.
pub(super) async fn clear(node: &Aft, root: &str) -> Result<(), Failure> {
    let mut tx = node.begin_with(Begin::new().latest()).await?;
    for key in tx.scan_keys(KeyRange::prefix(root)).await? {
        tx.delete(key)?;
    }
    let _receipt = tx.commit().await?;
    Ok(())
}

pub(super) async fn close(nodes: Vec<Aft>) -> Result<(), Failure> {
    for node in nodes {
        node.close().await?;
    }
    Ok(())
}

impl Subject for Atomic {
    type Place = Version;
    type Transaction = Open;

    async fn begin(&mut self, caller: Caller) -> Result<Open, Failure> {
        let Caller::Order { order, lane, attempt } = caller else {
            return Ok(Open { tx: self.nodes[READER].begin().await?, lane: None });
        };
        // A retry may land anywhere.
        let node = &self.nodes[(order as usize + attempt as usize) % WORKERS];
        let id = *self.ids.entry(order).or_insert_with(|| node.new_txn_id());
        let mut begin = Begin::new().id(id);
        if let Some(receipt) = self.receipts.get(&lane) {
            begin = begin.after(receipt);
        }
        Ok(Open { tx: node.begin_with(begin).await?, lane: Some(lane) })
    }

    async fn get(&mut self, open: &mut Open, key: &str) -> Result<Option<Bytes>, Failure> {
        Ok(open.tx.get(self.key(key)).await?)
    }

    async fn scan(&mut self, open: &mut Open, prefix: &str) -> Result<Vec<(String, Bytes)>, Failure> {
        let mut found = Vec::new();
        for (key, value) in open.tx.scan_prefix(self.key(prefix)).await? {
            let text = std::str::from_utf8(&key[self.root.len()..]).map_err(|cause| {
                Failure::new(Exit::Error, "a key of the demo is not what it wrote").because(cause)
            })?;
            found.push((text.to_owned(), value));
        }
        Ok(found)
    }

    async fn put(&mut self, open: &mut Open, key: &str, value: Bytes) -> Result<Option<Version>, Failure> {
        open.tx.put(self.key(key), value)?;
        Ok(None)
    }

    async fn commit(&mut self, open: Open) -> Result<Finish<Version>, Failure> {
        let commit = open.tx.commit().await?;
        let version = commit.receipt.version();
        self.receipts.extend(open.lane.map(|lane| (lane, commit.receipt)));
        Ok(match commit.outcome {
            CommitOutcome::Fresh => Finish::Committed(Some(version)),
            CommitOutcome::Replayed => Finish::Replayed,
        })
    }

    async fn pass_time(&mut self) -> Result<(), Failure> {
        for worker in &self.nodes[..WORKERS] {
            worker.publish().await?;
        }
        Ok(self.nodes[READER].refresh().await?)
    }

    fn requests(&self) -> Requests {
        self.storage.requests()
    }
}
