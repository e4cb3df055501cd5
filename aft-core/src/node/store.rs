//! The store as a node uses it: every request counted and bounded in time, reads tried again where that may help.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::format::bounds::{LIST, most_bytes};
use crate::node::stats::{RequestCounts, add};
use crate::node::turns::{NoTurn, Turn, Turns};
use crate::planted::{Planted, planted};
use crate::rng::NodeRng;
use crate::storage::{Object, ObjectInfo, Storage, StorageError};

/// A counted, bounded store.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inner: Arc<dyn Storage>,
    counts: Arc<RequestCounts>,
    /// Also counts here: a transaction's own cost.
    own: Option<Arc<RequestCounts>>,
    timeout: Duration,
    turns: Turns,
}

impl Store {
    /// At most `most` requests are under way at once.
    pub(crate) fn new(inner: Arc<dyn Storage>, timeout: Duration, most: usize) -> Self {
        Self { inner, counts: Arc::default(), own: None, timeout, turns: Turns::new(most) }
    }

    /// The same store, whose requests `own` counts as well.
    pub(crate) fn counted_by(&self, own: &Arc<RequestCounts>) -> Self {
        Self { own: Some(Arc::clone(own)), ..self.clone() }
    }

    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub(crate) fn counts(&self) -> &RequestCounts {
        &self.counts
    }

    fn count(&self, counter: impl Fn(&RequestCounts) -> &AtomicU64, n: u64) {
        add(counter(&self.counts), n);
        if let Some(own) = &self.own {
            add(counter(own), n);
        }
    }

    /// A whole object of a kind that cannot be larger than its [limit](most_bytes); one that is, is not read.
    pub(crate) async fn get(&self, path: &str) -> Result<Object, StorageError> {
        // Of those that are as long as what names them says, their maker reads one back: a recent file.
        self.get_at_most(path, 0, most_bytes(path).unwrap_or(LIST)).await
    }

    /// Like [`get`](Self::get), for an object whose length is known and may be large. Of a kind without a limit of its own no more is read.
    pub(crate) async fn get_sized(&self, path: &str, len: u64) -> Result<Object, StorageError> {
        self.get_at_most(path, len, most_bytes(path).unwrap_or(len)).await
    }

    /// Like [`get_sized`](Self::get_sized), for an object whose length, as far as it is known, is exact.
    pub(crate) async fn get_exactly(&self, path: &str, len: u64) -> Result<Object, StorageError> {
        self.get_at_most(path, len, len).await
    }

    async fn get_at_most(&self, path: &str, len: u64, most: u64) -> Result<Object, StorageError> {
        let turn = self.turn(path).await?;
        self.count(|counts| &counts.gets, 1);
        let most = if planted(Planted::ReadAnyLength) { u64::MAX } else { most };
        let get = self.inner.get_at_most(path, most);
        let object = end_turn(turn, self.bounded(path, len, StorageError::unavailable, get).await)?;
        self.count(|counts| &counts.bytes_read, object.bytes.len() as u64);
        Ok(object)
    }

    /// The first `len` bytes of an object that holds nothing else, as far as anyone knows: with one request more where it does.
    pub(crate) async fn get_first(&self, path: &str, len: u64) -> Result<Bytes, StorageError> {
        match self.get_exactly(path, len).await {
            Err(error) if error.is_too_large().is_some() => {
                tracing::error!(%error, path, "a value is read without what was appended to it");
                self.get_range(path, 0..len).await
            }
            object => object.map(|object| object.bytes),
        }
    }

    pub(crate) async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let turn = self.turn(path).await?;
        self.count(|counts| &counts.range_gets, 1);
        let len = range.end.saturating_sub(range.start);
        let get = self.inner.get_range(path, range);
        let bytes = end_turn(turn, self.bounded(path, len, StorageError::unavailable, get).await)?;
        self.count(|counts| &counts.bytes_read, bytes.len() as u64);
        Ok(bytes)
    }

    pub(crate) async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let turn = self.turn(path).await?;
        let len = bytes.len() as u64;
        self.count(|counts| &counts.creates, 1);
        self.count(|counts| &counts.bytes_written, len);
        end_turn(turn, self.bounded(path, len, StorageError::unknown, self.inner.create(path, bytes)).await)
    }

    pub(crate) async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> Result<Vec<ObjectInfo>, StorageError> {
        self.list_where(prefix, start_after, |_| true).await
    }

    /// Those objects of a listing that are wanted; the others are not kept in memory.
    pub(crate) async fn list_where(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        wanted: impl Fn(&ObjectInfo) -> bool,
    ) -> Result<Vec<ObjectInfo>, StorageError> {
        let turn = self.turn(prefix).await?;
        self.count(|counts| &counts.lists, 1);
        let mut stream = self.inner.list(prefix, start_after);
        let mut objects = Vec::new();
        loop {
            let next = async { stream.next().await.transpose() };
            match self.bounded(prefix, 0, StorageError::unavailable, next).await {
                Ok(Some(object)) => objects.extend(Some(object).filter(&wanted)),
                end => return end_turn(turn, end.map(|_| objects)),
            }
        }
    }

    /// Deletes objects; in requests of at most a thousand paths, which is what stores take at once.
    pub(crate) async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        for batch in paths.chunks(1000) {
            let Some(first) = batch.first() else { continue };
            let turn = self.turn(first).await?;
            self.count(|counts| &counts.deletes, 1);
            end_turn(turn, self.bounded(first, 0, StorageError::unknown, self.inner.delete(batch)).await)?;
        }
        Ok(())
    }

    /// Whether it keeps what is deleted, as far as its answers told.
    pub(crate) fn keeps_versions(&self) -> bool {
        self.inner.keeps_versions()
    }

    /// The first object below `prefix` that is wanted, among so many.
    pub(crate) async fn find(
        &self,
        prefix: &str,
        most: usize,
        wanted: impl Fn(&ObjectInfo) -> bool,
    ) -> Result<Option<String>, StorageError> {
        let turn = self.turn(prefix).await?;
        self.count(|counts| &counts.lists, 1);
        let mut stream = self.inner.list(prefix, None);
        for _ in 0..most {
            let next = async { stream.next().await.transpose() };
            match self.bounded(prefix, 0, StorageError::unavailable, next).await {
                Ok(Some(object)) if !wanted(&object) => {}
                end => return end_turn(turn, end.map(|found| found.map(|object| object.path))),
            }
        }
        Ok(None)
    }

    /// Waits until one request more may be under way; nothing is sent where that takes longer than a request may.
    async fn turn(&self, path: &str) -> Result<Turn<'_>, StorageError> {
        self.turns.take(self.timeout).await.map_err(|NoTurn { limit }| {
            let waited = self.timeout.as_millis();
            StorageError::unavailable(path).with_source(format!(
                "not sent: it waited {waited} ms behind others, and the store answers so slowly, or refuses so much, that no more than {limit} \
                 requests are under way at once"
            ))
        })
    }

    /// A request that carries `len` bytes, within its time.
    async fn bounded<T>(
        &self,
        path: &str,
        len: u64,
        late: impl FnOnce(String) -> StorageError,
        request: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let timeout = self.timeout + Duration::from_secs(len >> 20);
        match tokio::time::timeout(timeout, request).await {
            Ok(result) => result,
            Err(_) => {
                Err(late(path.to_owned()).with_source(format!("no answer within {} ms", timeout.as_millis())))
            }
        }
    }
}

/// Ends the turn of a request, by what became of it.
fn end_turn<T>(turn: Turn<'_>, result: Result<T, StorageError>) -> Result<T, StorageError> {
    match &result {
        Err(error) if error.is_transient() => turn.failed(),
        _ => turn.answered(),
    }
    result
}

/// Waits between tries: 25 ms, doubling up to 2 s, each shortened at random by up to half; `tries` of them.
pub(crate) fn backoff(rng: &NodeRng, tries: u32) -> impl Iterator<Item = Duration> {
    (0..tries).map(move |n| {
        let full = (25u64 << n.min(7)).min(2_000);
        Duration::from_millis(full - rng.next() % (full / 2))
    })
}

/// How often a read is tried before its error is believed: about 5 s of waiting.
const READ_TRIES: u32 = 9;

/// Sends a request that may be sent twice (a read, or a delete of what must go), again where that may help.
pub(crate) async fn retry_read<T, F>(
    rng: &NodeRng,
    mut request: impl FnMut() -> F + Send,
) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>> + Send,
{
    for wait in backoff(rng, READ_TRIES) {
        match request().await {
            Err(error) if error.is_transient() => {
                tracing::debug!(%error, ?wait, "trying again");
                tokio::time::sleep(wait).await;
            }
            settled => return settled,
        }
    }
    request().await
}
