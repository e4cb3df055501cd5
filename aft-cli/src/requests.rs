//! Exact counts of the requests that a store is sent, as stores bill them.

use std::ops::{Add, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aft_core::{Cost, Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
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

impl Add for Requests {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            writes: self.writes + other.writes,
            reads: self.reads + other.reads,
            lists: self.lists + other.lists,
            deletes: self.deletes + other.deletes,
        }
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

/// How many objects a page of a listing has, and a bulk delete takes.
const PAGE: u64 = 1000;

/// A store whose requests are counted as stores bill them: a listing by its pages.
#[derive(Debug, Clone)]
pub(crate) struct Metered {
    store: Arc<dyn Storage>,
    spent: Arc<Mutex<Cost>>,
}

impl Metered {
    pub(crate) fn new(store: Arc<dyn Storage>) -> Self {
        Self { store, spent: Arc::default() }
    }

    /// The requests since the last [`take`](Self::take).
    pub(crate) fn requests(&self) -> Requests {
        let spent = self.spent();
        Requests {
            writes: spent.creates,
            reads: spent.gets + spent.range_gets,
            lists: spent.lists,
            deletes: spent.deletes,
        }
    }

    /// What was spent since the last call.
    pub(crate) fn take(&self) -> Cost {
        std::mem::take(&mut *self.spent())
    }

    fn spent(&self) -> MutexGuard<'_, Cost> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for Metered {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.spent().gets += 1;
        let object = self.store.get(path).await?;
        self.spent().bytes_read += object.bytes.len() as u64;
        Ok(object)
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        self.spent().gets += 1;
        let object = self.store.get_at_most(path, most).await?;
        self.spent().bytes_read += object.bytes.len() as u64;
        Ok(object)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.spent().range_gets += 1;
        let bytes = self.store.get_range(path, range).await?;
        self.spent().bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        {
            let mut spent = self.spent();
            spent.creates += 1;
            spent.bytes_written += bytes.len() as u64;
        }
        self.store.create(path, bytes).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        // The first page is asked for however few objects there are; each further one when its first object is reached.
        self.spent().lists += 1;
        let mut seen = 0;
        let counted = self.store.list(prefix, start_after).inspect(move |_| {
            if seen > 0 && seen % PAGE == 0 {
                self.spent().lists += 1;
            }
            seen += 1;
        });
        counted.boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.spent().deletes += (paths.len() as u64).div_ceil(PAGE);
        self.store.delete(paths).await
    }

    fn keeps_versions(&self) -> bool {
        self.store.keeps_versions()
    }
}

#[cfg(test)]
mod tests {
    use aft_memory::MemoryStorage;

    use super::*;

    #[tokio::test]
    async fn listings_are_counted_by_their_pages_and_deletes_by_the_thousand() {
        let store = Metered::new(Arc::new(MemoryStorage::new()));
        let paths: Vec<String> = (0..2001).map(|n| format!("{n:05}")).collect();
        for path in &paths {
            store.create(path, Bytes::from_static(b"xy")).await.unwrap();
        }
        store.get(&paths[0]).await.unwrap();
        store.get_range(&paths[0], 0..1).await.unwrap();
        let cost = store.take();
        assert_eq!(
            (cost.creates, cost.bytes_written, cost.gets, cost.range_gets, cost.bytes_read),
            (2001, 4002, 1, 1, 3)
        );
        for (prefix, objects, pages) in [("", 2001, 3), ("00", 1000, 1), ("nothing", 0, 1)] {
            assert_eq!((store.list(prefix, None).count().await, store.take().lists), (objects, pages));
        }
        store.delete(&paths).await.unwrap();
        assert_eq!(store.take(), Cost { deletes: 3, ..Cost::default() });
        assert_eq!(store.take(), Cost::default());
    }
}
