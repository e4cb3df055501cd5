//! The plain alternative: one object per key, by `object_store` directly, as a reasonable program would do it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// A plain store.
#[derive(Debug, Clone)]
pub struct Plain {
    store: Arc<dyn ObjectStore>,
    /// How many requests are kept under way; 1 where waiting costs nothing, so that there is nothing to overlap.
    parallel: usize,
}

impl Plain {
    /// One on this store.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, parallel: usize) -> Self {
        Self { store, parallel }
    }

    /// Writes one value under each key: a put each, side by side. Neither atomic nor isolated nor exactly once.
    ///
    /// # Panics
    /// Where that fails.
    pub async fn put(&self, keys: &[Path], value: &Bytes) {
        let put = async |key: &Path| self.store.put(key, value.clone().into()).await.map(drop).expect("put");
        if self.parallel == 1 || keys.len() == 1 {
            for key in keys {
                put(key).await;
            }
            return;
        }
        futures::stream::iter(keys).map(put).buffer_unordered(self.parallel).collect::<()>().await;
    }

    /// The value of a key.
    ///
    /// # Panics
    /// Where it is absent or cannot be read.
    pub async fn get(&self, key: &Path) -> Bytes {
        self.store.get(key).await.expect("get").bytes().await.expect("the body")
    }

    /// The values of many keys, in order: a get each, side by side.
    ///
    /// # Panics
    /// Where one is absent or cannot be read.
    pub async fn get_many(&self, keys: &[Path]) -> Vec<Bytes> {
        if self.parallel == 1 {
            let mut values = Vec::with_capacity(keys.len());
            for key in keys {
                values.push(self.get(key).await);
            }
            return values;
        }
        futures::stream::iter(keys).map(|key| self.get(key)).buffered(self.parallel).collect().await
    }

    /// The keys under a prefix, sorted: a list.
    ///
    /// # Panics
    /// Where that fails.
    pub async fn list(&self, prefix: &str) -> Vec<Path> {
        let listed = self.store.list(Some(&Path::from(prefix)));
        let mut keys: Vec<Path> = listed.map_ok(|object| object.location).try_collect().await.expect("list");
        keys.sort_unstable();
        keys
    }

    /// The keys under a prefix with their values, sorted: a list, and a get each. Not one moment in time.
    ///
    /// # Panics
    /// Where that fails.
    pub async fn scan(&self, prefix: &str) -> Vec<(Path, Bytes)> {
        let keys = self.list(prefix).await;
        let values = self.get_many(&keys).await;
        keys.into_iter().zip(values).collect()
    }

    /// Deletes everything.
    ///
    /// # Panics
    /// Where that fails.
    pub async fn clear(&self) {
        let paths = self.store.list(None).map_ok(|object| object.location).boxed();
        self.store.delete_stream(paths).try_for_each(|_| async { Ok(()) }).await.expect("delete");
    }
}
