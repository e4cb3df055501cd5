//! A store whose listings lie, as those of a proxy do that answers with a page of its own.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use parking_lot::Mutex;

/// Wraps a store: its listings do not show what lies under some prefixes.
#[derive(Clone)]
pub struct HidingStorage {
    inner: Arc<dyn Storage>,
    hidden: Arc<Mutex<Vec<String>>>,
}

impl HidingStorage {
    /// A store over `inner` that hides nothing yet.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, hidden: Arc::default() }
    }

    /// Lets listings not show objects under these prefixes from now on, and show all others.
    pub fn hide(&self, prefixes: &[&str]) {
        *self.hidden.lock() = prefixes.iter().map(|prefix| (*prefix).to_owned()).collect();
    }
}

impl fmt::Debug for HidingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HidingStorage").field("hidden", &*self.hidden.lock()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for HidingStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.inner.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.inner.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.inner.create(path, bytes).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let hidden = self.hidden.lock().clone();
        let shown = move |object: &Result<ObjectInfo, StorageError>| {
            let path = object.as_ref().map_or("", |object| &object.path);
            let shown = !hidden.iter().any(|prefix| path.starts_with(prefix));
            async move { shown }
        };
        self.inner.list(prefix, start_after).filter(shown).boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.inner.delete(paths).await
    }

    fn keeps_versions(&self) -> bool {
        self.inner.keeps_versions()
    }
}
