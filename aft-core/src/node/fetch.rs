//! Fetching values: from the data cache, else by one request, and verified.

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::name::ObjectName;
use crate::format::record::{Part, StoredValue};
use crate::node::Node;
use crate::node::store::{Store, patiently};
use crate::protocol::view::{Found, Place};
use crate::storage::StorageError;
use crate::txn_id::TxnId;

/// Where the answer to a read is.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The key is absent or deleted.
    Absent,
    /// In the transaction's own writes.
    Own(Bytes),
    /// In a value object that the transaction itself made before it was suspended.
    OwnStored(TxnId, StoredValue),
    /// In a commit.
    Found(Found),
}

impl Node {
    /// The value of a version; `None` for a tombstone.
    pub(crate) async fn value(&self, store: &Store, found: &Found) -> Result<Option<Bytes>, Error> {
        let txn = found.version().txn;
        let id = (txn, u32::try_from(found.ordinal).unwrap_or(u32::MAX));
        match found.place() {
            Place::Tombstone => Ok(None),
            Place::Inline { len: 0, .. } => Ok(Some(Bytes::new())),
            Place::Inline { object, start, len, checksum } => {
                let load = self.load_inline(store, object, start, len, checksum);
                self.cache.get(id, len, &self.counters, load).await.map(Some)
            }
            Place::Stored(stored) => {
                let load = self.load_stored(store, txn, stored);
                self.cache.get(id, stored.len, &self.counters, load).await.map(Some)
            }
        }
    }

    /// What a read returns.
    pub(crate) async fn answer(&self, store: &Store, answer: Answer) -> Result<Option<Bytes>, Error> {
        match answer {
            Answer::Absent => Ok(None),
            Answer::Own(value) => Ok(Some(value)),
            Answer::OwnStored(txn, stored) => self.load_stored(store, txn, &stored).await.map(Some),
            Answer::Found(found) => self.value(store, &found).await,
        }
    }

    /// What many reads return, fetched side by side, in the same order.
    pub(crate) async fn answers(
        &self,
        store: &Store,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        // Boxed: the compiler cannot see that a stream of borrowing futures is Send, and callers spawn transactions.
        let fetches: Vec<_> = answers.into_iter().map(|answer| self.answer(store, answer).boxed()).collect();
        futures::stream::iter(fetches).buffered(self.config.parallel_requests).try_collect().await
    }

    async fn load_inline(
        &self,
        store: &Store,
        object: ObjectName,
        start: u64,
        len: u64,
        expected: u64,
    ) -> Result<Bytes, Error> {
        let path = self.path(object);
        let read = patiently(&self.rng, || store.get_range(&path, start..start.saturating_add(len))).await;
        // A copy: an adapter may answer a range with a slice of the whole object.
        let bytes = read.map(|bytes| Bytes::copy_from_slice(&bytes));
        verified(&path, bytes, len, expected)
    }

    async fn load_stored(&self, store: &Store, txn: TxnId, stored: &StoredValue) -> Result<Bytes, Error> {
        if let [part] = stored.parts[..] {
            return self.load_part(store, txn, part).await;
        }
        let parts: Vec<Bytes> = futures::stream::iter(stored.parts.iter().copied())
            .map(|part| self.load_part(store, txn, part).boxed())
            .buffered(self.config.parallel_requests)
            .try_collect()
            .await?;
        let mut value = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        parts.iter().for_each(|part| value.extend_from_slice(part));
        Ok(value.freeze())
    }

    async fn load_part(&self, store: &Store, txn: TxnId, part: Part) -> Result<Bytes, Error> {
        let path = self.path(ObjectName::Value(txn, part.object()));
        let read = if part.offset == 0 {
            let whole = patiently(&self.rng, || store.get_sized(&path, part.len)).await;
            whole.map(|object| {
                let len = usize::try_from(part.len).unwrap_or(usize::MAX).min(object.bytes.len());
                object.bytes.slice(..len)
            })
        } else {
            let range = part.offset..part.offset.saturating_add(part.len);
            patiently(&self.rng, || store.get_range(&path, range.clone())).await
        };
        verified(&path, read, part.len, part.checksum)
    }
}

/// The bytes, if they are what was written.
fn verified(path: &str, read: Result<Bytes, StorageError>, len: u64, expected: u64) -> Result<Bytes, Error> {
    let bytes = read.map_err(|error| match error {
        error @ StorageError::NotFound { .. } => {
            let message = format!(
                "the object {path:?}, which holds a committed value, is gone; other keys are not affected"
            );
            Error::new(ErrorKind::VersionUnavailable, message).with_source(error)
        }
        error => Error::storage(format_args!("reading a value from {path:?}"), error),
    })?;
    if bytes.len() as u64 != len || checksum(&bytes) != expected {
        let message = format!(
            "the value in {path:?} is damaged ({} of {len} bytes, or another checksum); it was left as it is, other keys are not affected",
            bytes.len()
        );
        return Err(Error::new(ErrorKind::Corrupt, message));
    }
    Ok(bytes)
}
