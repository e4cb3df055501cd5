//! The store below a simulated network, which forgets nothing: what aft deletes is gone for every node, and kept for the auditor, who
//! must know in the end what was decided and what was published when.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use aft_memory::MemoryStorage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

/// What is kept when it is deleted: decisions, and who published them.
const KEPT: [&str; 2] = ["commits/", "feed/"];

/// A store, and the deleted objects that count.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    store: MemoryStorage,
    /// The first object of each path.
    deleted: Arc<Mutex<BTreeMap<String, Object>>>,
    /// Whether what was deleted is shown again.
    opened: Arc<AtomicBool>,
}

impl Archive {
    pub(crate) fn new(store: MemoryStorage) -> Self {
        Self { store, deleted: Arc::default(), opened: Arc::default() }
    }

    /// From now on every decision and every feed object is there that ever was: of each path the first.
    pub(crate) fn open(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    /// Everything that is there, or was.
    pub(crate) async fn paths(&self) -> Vec<ObjectInfo> {
        self.store.list("", None).try_collect().await.unwrap_or_default()
    }

    fn deleted(&self, path: &str) -> Option<Object> {
        let opened = self.opened.load(Ordering::Relaxed);
        opened.then(|| self.deleted.lock().get(path).cloned()).flatten()
    }
}

#[async_trait]
impl Storage for Archive {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        match self.deleted(path) {
            Some(object) => Ok(object),
            None => self.store.get(path).await,
        }
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.store.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.store.create(path, bytes).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        if !self.opened.load(Ordering::Relaxed) {
            return self.store.list(prefix, start_after);
        }
        let (prefix, after) = (prefix.to_owned(), start_after.unwrap_or_default().to_owned());
        let listed = async move {
            let mut objects: BTreeMap<String, ObjectInfo> = BTreeMap::new();
            for object in self.store.list(&prefix, Some(&after)).try_collect::<Vec<_>>().await? {
                objects.insert(object.path.clone(), object);
            }
            for (path, Object { bytes, last_modified }) in &*self.deleted.lock() {
                if path.starts_with(&prefix) && *path > after {
                    let (path, size) = (path.clone(), bytes.len() as u64);
                    objects.insert(path.clone(), ObjectInfo { path, size, last_modified: *last_modified });
                }
            }
            Ok::<_, StorageError>(stream::iter(objects.into_values().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        for path in paths.iter().filter(|path| KEPT.iter().any(|kept| path.starts_with(kept))) {
            if let Ok(object) = self.store.get(path).await {
                self.deleted.lock().entry(path.clone()).or_insert(object);
            }
        }
        self.store.delete(paths).await
    }
}
