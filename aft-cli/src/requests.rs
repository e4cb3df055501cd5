//! Exact counts of the requests that a store is sent.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde::Serialize;

/// How many requests of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Requests {
    /// Objects written: PUT, conditional or not.
    pub(crate) writes: u64,
    /// Objects or ranges of them read: GET.
    pub(crate) reads: u64,
    /// LIST.
    pub(crate) lists: u64,
    /// DELETE.
    pub(crate) deletes: u64,
}

impl Requests {
    pub(crate) fn total(&self) -> u64 {
        self.writes + self.reads + self.lists + self.deletes
    }
}

/// Counters that are shared by everything that talks to one store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    writes: AtomicU64,
    reads: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
}

impl Counters {
    pub(crate) fn write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn list(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn delete(&self) {
        self.deletes.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> Requests {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            writes: load(&self.writes),
            reads: load(&self.reads),
            lists: load(&self.lists),
            deletes: load(&self.deletes),
        }
    }
}

/// A store whose requests are counted.
#[derive(Debug)]
pub(crate) struct Counted {
    store: Arc<dyn Storage>,
    counters: Arc<Counters>,
}

impl Counted {
    pub(crate) fn new(store: Arc<dyn Storage>) -> Self {
        Self { store, counters: Arc::default() }
    }

    pub(crate) fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }
}

#[async_trait]
impl Storage for Counted {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.counters.read();
        self.store.get(path).await
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        self.counters.read();
        self.store.get_at_most(path, most).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.counters.read();
        self.store.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.counters.write();
        self.store.create(path, bytes).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        self.counters.list();
        self.store.list(prefix, start_after)
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.counters.delete();
        self.store.delete(paths).await
    }

    fn keeps_versions(&self) -> bool {
        self.store.keeps_versions()
    }
}
