//! The store as the probe uses it: through several connections in turn, with a note of everything that was created.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::requests::{Counters, Requests};

/// Several connections to one store. Each request takes the next one: so what one connection wrote is read, listed and
/// deleted through others.
#[derive(Debug, Clone)]
pub(crate) struct Connections {
    stores: Vec<Arc<dyn Storage>>,
    /// The only one to use, where it must be one.
    pinned: Option<usize>,
    traffic: Arc<Traffic>,
}

#[derive(Debug, Default)]
struct Traffic {
    next: AtomicUsize,
    counters: Counters,
    /// Every path that a create was sent for.
    created: Mutex<BTreeMap<String, Creates>>,
}

/// The creates of one path.
#[derive(Debug, Clone, Copy, Default)]
struct Creates {
    /// Whether there was an object for sure, once.
    made: bool,
    /// How many have not been answered for certain.
    open: usize,
}

impl Traffic {
    fn created(&self) -> MutexGuard<'_, BTreeMap<String, Creates>> {
        self.created.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Over these stores, which are all the same one; at least one.
    pub(crate) fn new(stores: Vec<Arc<dyn Storage>>) -> Self {
        assert!(!stores.is_empty(), "a probe needs a connection");
        Self { stores, pinned: None, traffic: Arc::default() }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.stores.len()
    }

    /// Only the one with this number, modulo their count.
    pub(crate) fn pin(&self, number: usize) -> Self {
        Self { pinned: Some(number % self.stores.len()), ..self.clone() }
    }

    /// The requests so far, by kind.
    pub(crate) fn requests(&self) -> Requests {
        self.traffic.counters.snapshot()
    }

    /// Every path that was ever created, or may have been.
    pub(crate) fn created(&self) -> Vec<String> {
        let created = self.traffic.created();
        created.iter().filter(|(_, it)| it.made || it.open > 0).map(|(path, _)| path.clone()).collect()
    }

    /// The paths of creates that nobody knows the end of: they may still make an object.
    pub(crate) fn unanswered(&self) -> Vec<String> {
        let created = self.traffic.created();
        created.iter().filter(|(_, it)| it.open > 0).map(|(path, _)| path.clone()).collect()
    }

    fn store(&self) -> &dyn Storage {
        let number = self
            .pinned
            .unwrap_or_else(|| self.traffic.next.fetch_add(1, Ordering::Relaxed) % self.stores.len());
        &*self.stores[number]
    }
}

#[async_trait]
impl Storage for Connections {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.traffic.counters.read();
        self.store().get(path).await
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        self.traffic.counters.read();
        self.store().get_at_most(path, most).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.traffic.counters.read();
        self.store().get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.traffic.counters.write();
        // Noted before it is sent: a create that is given up half-way may have happened.
        self.traffic.created().entry(path.to_owned()).or_default().open += 1;
        let answer = self.store().create(path, bytes).await;
        if !matches!(answer, Err(StorageError::Unknown { .. }))
            && let Some(creates) = self.traffic.created().get_mut(path)
        {
            creates.open -= 1;
            creates.made |= matches!(answer, Ok(()) | Err(StorageError::AlreadyExists { .. }));
        }
        answer
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        self.traffic.counters.list();
        self.store().list(prefix, start_after)
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.traffic.counters.delete();
        self.store().delete(paths).await
    }

    fn keeps_versions(&self) -> bool {
        self.stores.iter().any(|store| store.keeps_versions())
    }
}
