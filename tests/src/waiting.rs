//! A store whose every request takes the same time, so that elapsed time counts rounds of requests.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::time::{Instant, sleep};

/// What a request takes, if nothing else is said.
const LATENCY: Duration = Duration::from_millis(100);

/// Wraps a store: each request waits first, for a tenth of a second or as long as is said. Under paused time, what runs side by side takes one such wait, and
/// what runs one after the other several: see [`rounds_since`].
#[derive(Clone)]
pub struct WaitingStorage(Arc<dyn Storage>, Duration);

impl WaitingStorage {
    /// A waiting store over `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self(inner, LATENCY)
    }

    /// The same where a request takes so long.
    #[must_use]
    pub fn taking(self, latency: Duration) -> Self {
        Self(self.0, latency)
    }
}

/// How many requests of a tenth of a second went to a [`WaitingStorage`] one after the other since then, where nothing else waited. One that waits for
/// its turn (`parallel_requests`) counts as later.
#[must_use]
pub fn rounds_since(start: Instant) -> u64 {
    // Timers are up to a millisecond late.
    u64::try_from(start.elapsed().as_millis() / LATENCY.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Debug for WaitingStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WaitingStorage").field(&self.0).finish()
    }
}

#[async_trait]
impl Storage for WaitingStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        sleep(self.1).await;
        self.0.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        sleep(self.1).await;
        self.0.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        sleep(self.1).await;
        self.0.create(path, bytes).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let (prefix, start_after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let listed = async move {
            sleep(self.1).await;
            self.0.list(&prefix, start_after.as_deref())
        };
        stream::once(listed).flatten().boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        sleep(self.1).await;
        self.0.delete(paths).await
    }

    fn keeps_versions(&self) -> bool {
        self.0.keeps_versions()
    }
}
