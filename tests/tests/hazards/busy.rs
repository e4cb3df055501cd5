//! A store that can do no more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use aft_core::{Aft, Config, ErrorKind, Object, ObjectInfo, Storage, StorageError};
use aft_memory::MemoryStorage;
use aft_tests::World;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use tokio::time::sleep;

use crate::secs;

/// It creates this many objects at once, each in 30 ms, and refuses what comes beside.
const AT_ONCE: usize = 16;

/// Counts the decisions that it is asked to create.
#[derive(Debug, Default)]
struct Busy {
    inner: MemoryStorage,
    under_way: AtomicUsize,
    asked: AtomicU64,
    /// Whether it never answers a create of a decision.
    stuck: bool,
}

#[async_trait]
impl Storage for Busy {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.inner.get(path).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.inner.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        if !path.starts_with("commits/") {
            return self.inner.create(path, bytes).await;
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.stuck {
            sleep(secs(3_600)).await;
        }
        if self.under_way.fetch_add(1, Ordering::Relaxed) >= AT_ONCE {
            self.under_way.fetch_sub(1, Ordering::Relaxed);
            return Err(StorageError::unavailable(path).with_source("503 SlowDown"));
        }
        sleep(std::time::Duration::from_millis(30)).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        self.inner.create(path, bytes).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        self.inner.list(prefix, start_after)
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.inner.delete(paths).await
    }
}

async fn commit(node: &Aft, n: usize) -> Result<(), aft_core::Error> {
    let mut tx = node.begin().await?;
    tx.put(format!("key-{n}"), "v")?;
    tx.commit().await.map(drop)
}

async fn open(busy: &Arc<Busy>, max_requests: usize) -> Aft {
    let config = Config { max_requests, background: false, decisions_in_flight: 0, ..World::config() };
    let storage: Arc<dyn Storage> = Arc::clone(busy) as _;
    Aft::open(storage, config).await.unwrap()
}

/// Eight hundred transactions commit at once.
pub(crate) async fn a_store_that_refuses_is_not_stormed() {
    let busy = Arc::new(Busy::default());
    let node = open(&busy, 1024).await;
    for ended in join_all((0..800).map(|n| commit(&node, n))).await {
        ended.unwrap();
    }
    let asked = busy.asked.load(Ordering::Relaxed);
    assert!(asked < 3_000, "it is not asked much more than it can do: {asked}");
}

/// No answer ever comes: who waits behind others is told so, and knows that nothing was sent.
pub(crate) async fn who_waits_for_a_store_that_hangs_is_told() {
    let busy = Arc::new(Busy { stuck: true, ..Busy::default() });
    let node = open(&busy, 2).await;
    let ended = join_all((0..40).map(|n| commit(&node, n))).await;
    let unknown = |error: &aft_core::Error| error.kind() == ErrorKind::OutcomeUnknown;
    let errors: Vec<_> = ended.into_iter().map(Result::unwrap_err).collect();
    let unsent: Vec<_> = errors.iter().filter(|error| !unknown(error)).collect();
    assert!(!unsent.is_empty(), "{errors:?}");
    for error in unsent {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let cause = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
        let told: Vec<_> = cause.map(ToString::to_string).collect();
        assert!(told.iter().any(|it| it.contains("not sent")), "{told:?}");
    }
}
