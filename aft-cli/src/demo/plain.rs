//! Plain keys: each an object of its own, written directly, the last writer wins.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::subject::{Caller, Finish, Subject};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::requests::{Counters, Requests};

/// Plain keys in an object store. A transaction is nothing but its reads and writes.
#[derive(Debug)]
pub(crate) struct Plain {
    store: Arc<dyn ObjectStore>,
    root: Path,
    counters: Counters,
    writes: u64,
}

impl Plain {
    /// Keys below `root` of `store`.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { store, root, counters: Counters::default(), writes: 0 }
    }

    fn path(&self, key: &str) -> Result<Path, Failure> {
        Path::parse(format!("{}/{key}", self.root)).map_err(|cause| failed(cause.into()))
    }

    /// Deletes everything the run wrote.
    pub(crate) async fn clean(&self) -> Result<(), Failure> {
        let paths: Vec<Path> = self
            .store
            .list(Some(&self.root))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(failed)?;
        for path in paths {
            self.store.delete(&path).await.map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(cause: object_store::Error) -> Failure {
    Failure::new(Exit::Unavailable, "the plain run of the demo failed").because(cause)
}

impl Subject for Plain {
    type Place = u64;
    type Transaction = ();

    async fn begin(&mut self, _caller: Caller) -> Result<(), Failure> {
        Ok(())
    }

    async fn get(&mut self, _tx: &mut (), key: &str) -> Result<Option<Bytes>, Failure> {
        self.counters.read();
        match self.store.get(&self.path(key)?).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(failed)?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(failed(cause)),
        }
    }

    async fn scan(&mut self, tx: &mut (), prefix: &str) -> Result<Vec<(String, Bytes)>, Failure> {
        self.counters.list();
        let folder = self.path(prefix)?;
        let mut paths: Vec<Path> = self
            .store
            .list(Some(&folder))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .map_err(failed)?;
        paths.sort();
        let start = self.root.as_ref().len() + 1;
        let mut pairs = Vec::with_capacity(paths.len());
        for path in paths {
            let key = path.as_ref()[start..].to_owned();
            if let Some(value) = self.get(tx, &key).await? {
                pairs.push((key, value));
            }
        }
        Ok(pairs)
    }

    async fn put(&mut self, _tx: &mut (), key: &str, value: Bytes) -> Result<Option<u64>, Failure> {
        self.counters.write();
        self.store.put(&self.path(key)?, value.into()).await.map_err(failed)?;
        self.writes += 1;
        Ok(Some(self.writes))
    }

    async fn commit(&mut self, _tx: ()) -> Result<Finish<u64>, Failure> {
        Ok(Finish::Committed(None))
    }

    async fn pass_time(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    fn requests(&self) -> Requests {
        self.counters.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::demo::run::{Plan, run};

    async fn plain_run(seed: u64) -> crate::demo::run::Outcome {
        let mut plain = Plain::new(Arc::new(InMemory::new()), Path::from("root"));
        let (outcome, _) = run(Plan { seed, orders: 120 }, &mut plain, || {}).await.unwrap();
        plain.clean().await.unwrap();
        assert!(plain.store.list(None).try_collect::<Vec<_>>().await.unwrap().is_empty());
        outcome
    }

    #[tokio::test]
    async fn plain_keys_show_every_anomaly_and_a_seed_repeats_exactly() {
        let first = plain_run(7).await;
        let found = first.anomalies;
        assert!(found.dirty_reads > 0 && found.fractured_reads > 0, "{found:?}");
        assert!(found.read_your_writes > 0 && found.doubled_effects > 0, "{found:?}");
        assert_eq!(found.lost_effects, 0);
        assert_eq!(first, plain_run(7).await);
        assert_ne!(first, plain_run(8).await);
    }
}
