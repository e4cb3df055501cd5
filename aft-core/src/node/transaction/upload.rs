//! Uploading large values beside the transaction's work, from the moment they are put (I3).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinError;

use crate::error::{Error, ErrorKind};
use crate::format::name::{ObjectName, ValueName};
use crate::node::Node;
use crate::node::background::Task;
use crate::node::store::Store;
use crate::node::transaction::request::Claiming;
use crate::node::write_once;
use crate::planted::{Planted, planted};
use crate::storage::StorageError;
use crate::txn_id::TxnId;

/// The uploads of a transaction, by the running number of their value object. Dropped, they stop; what is left of them
/// is named by no decision, so nobody reads it and garbage collection takes it.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    running: BTreeMap<u32, Task<Result<(), Error>>>,
}

impl Uploads {
    /// Starts the upload of a value object of the transaction, which a claim may name.
    pub(crate) fn start(
        &mut self,
        node: &Arc<Node>,
        store: Store,
        txn: TxnId,
        claiming: Option<Claiming>,
        name: ValueName,
        value: Bytes,
    ) {
        let node = Arc::clone(node);
        let task = async move {
            // Under a request key the id is certain only once the claim is settled (HAZARDS 8).
            let txn = match claiming.filter(|_| !planted(Planted::UploadBeforeClaim)) {
                Some(claiming) => claiming.await?.txn(),
                None => txn,
            };
            node.upload_permitted(&store, txn, name, value).await
        };
        self.running.insert(name.n, Task::spawn(task));
    }

    /// For the planted bug: lets the uploads run on by themselves.
    pub(crate) fn detach(&mut self) {
        std::mem::take(&mut self.running).into_values().for_each(std::mem::forget);
    }

    /// Waits until the value objects with these running numbers are durable; the others stop.
    pub(crate) async fn finish(&mut self, needed: impl Iterator<Item = u32>) -> Result<(), Error> {
        let mut running = std::mem::take(&mut self.running);
        let needed: Vec<_> = needed.filter_map(|n| running.remove(&n)).collect();
        drop(running);
        for upload in needed {
            upload.ended().await.map_err(stopped)??;
        }
        Ok(())
    }
}

/// An upload that its runtime did not finish.
pub(crate) fn stopped(cause: JoinError) -> Error {
    Error::new(ErrorKind::Unavailable, "the upload of a value was stopped; nothing was committed")
        .with_source(cause)
}

impl Node {
    /// Uploads once its turn comes. Only in a task: the permit is held until the value is durable.
    pub(crate) async fn upload_permitted(
        &self,
        store: &Store,
        txn: TxnId,
        name: ValueName,
        value: Bytes,
    ) -> Result<(), Error> {
        // The semaphore is never closed, so a permit always comes.
        let _permit = Arc::clone(&self.uploads).acquire_owned().await;
        self.upload(store, txn, name, value).await
    }

    pub(crate) async fn upload(
        &self,
        store: &Store,
        txn: TxnId,
        name: ValueName,
        value: Bytes,
    ) -> Result<(), Error> {
        let path = self.path(ObjectName::Value(txn, name));
        let created = self.create_own(store, &path, value).await;
        created.map_err(|error| Error::storage("uploading a value", error).with_txn(txn))
    }

    /// Makes an object durable whose name is this writer's alone.
    pub(crate) async fn create_own(
        &self,
        store: &Store,
        path: &str,
        bytes: Bytes,
    ) -> Result<(), StorageError> {
        write_once::create_own(store, &self.rng, path, bytes).await
    }
}
