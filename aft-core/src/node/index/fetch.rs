//! Fetching values: from the data cache, else by one request, and verified.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{FutureExt, TryStreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::name::ObjectName;
use crate::format::record::{Part, StoredValue};
use crate::format::row::{Row, RowValue};
use crate::node::Node;
use crate::node::index::cache::Load;
use crate::node::stats::add;
use crate::node::store::{Store, retry_read};
use crate::protocol::view::{Found, Place};
use crate::storage::StorageError;
use crate::txn_id::TxnId;

/// How often the index is asked before its failure is believed: it may be replaced meanwhile.
pub(crate) const INDEX_TRIES: u32 = 4;

/// Where the answer to a read is.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The key is absent or deleted.
    Absent,
    /// Here: in the transaction's own writes, or in the row that was looked up.
    Held(Bytes),
    /// In a value object that the transaction itself made before it was suspended.
    OwnStored(TxnId, StoredValue),
    /// In a commit.
    Found(Found),
}

impl Node {
    /// The value of a version; `None` for a tombstone.
    pub(crate) async fn value(
        self: &Arc<Self>,
        store: &Store,
        found: &Found,
    ) -> Result<Option<Bytes>, Error> {
        if found.is_tombstone() {
            return Ok(None);
        }
        if found.value_len() == 0 {
            return Ok(Some(Bytes::new()));
        }
        let inline = match found {
            Found::Recent { commit, ordinal } => match commit.place(*ordinal as usize) {
                Place::Inline { object, start, len, checksum } => Some((object, start, len, checksum)),
                Place::Stored(_) | Place::Tombstone => None,
            },
            Found::Folded(_) => None,
        };
        let fetched = match (inline, found.stored()) {
            (Some((object, start, len, checksum)), _) => {
                let (node, store) = (Arc::clone(self), store.clone());
                let load =
                    || async move { node.load_inline(&store, object, start, len, checksum).await }.boxed();
                self.cache.get(found.value_id(), len, &self.counters, load).await
            }
            (None, None) => return self.indexed_value(store, found).await.map(Some),
            (None, Some(stored)) => {
                self.check_one_piece(stored).map_err(|error| of_key(error, found.key()))?;
                let load = || self.loads_stored(store, found.version().txn, stored);
                self.cache.get(found.value_id(), stored.len, &self.counters, load).await
            }
        };
        match fetched {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.told_by_decision(store, found).await.ok_or(error).map(Some)
            }
            // It was folded meanwhile, and the object that held it collected: the row has it now.
            Err(error) if error.kind() == ErrorKind::VersionUnavailable => {
                self.known.look_again();
                self.refresh().await?;
                match self.indexed_value(store, found).await {
                    Ok(value) => Ok(Some(value)),
                    Err(_) => self.told_by_decision(store, found).await.ok_or(error).map(Some),
                }
            }
            fetched => fetched.map(Some),
        }
    }

    /// The value of a version, where its decision has it too.
    async fn told_by_decision(&self, store: &Store, found: &Found) -> Option<Bytes> {
        let Found::Recent { commit, ordinal } = found else { return None };
        self.value_in_decision(store, commit, *ordinal as usize).await.ok().flatten()
    }

    /// The value of a version in the index. A transaction within its lifetime finds the version there that it has read, whatever was
    /// folded since: everything that is folded by then was known when it began.
    async fn indexed_value(self: &Arc<Self>, store: &Store, found: &Found) -> Result<Bytes, Error> {
        let key = found.key_bytes();
        for _ in 0..INDEX_TRIES {
            let base = self.known.base();
            match self.rows(store, &base, vec![key.clone()]).await {
                Ok(rows) => {
                    if let Some(row) = rows.get(&key).filter(|row| row.version == found.version()) {
                        return self.row_value(store, row).await;
                    }
                    break;
                }
                Err(failure) => self.recover_index(&base, failure).await?,
            }
        }
        let message = "the version that this transaction has read is gone; run it again as a new transaction";
        Err(Error::new(ErrorKind::VersionUnavailable, message))
    }

    async fn row_value(self: &Arc<Self>, store: &Store, row: &Row) -> Result<Bytes, Error> {
        match &row.value {
            // A copy: a slice would hold on to the whole block.
            RowValue::Inline(value) => Ok(Bytes::copy_from_slice(value)),
            RowValue::Tombstone => Ok(Bytes::new()),
            RowValue::Stored(stored) => {
                self.check_one_piece(stored).map_err(|error| of_key(error, &row.key))?;
                let load = || self.loads_stored(store, row.version.txn, stored);
                let id = (row.version.txn, row.ordinal);
                self.cache.get(id, stored.len, &self.counters, load).await
            }
        }
    }

    /// What a read returns.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        store: &Store,
        answer: Answer,
    ) -> Result<Option<Bytes>, Error> {
        match answer {
            Answer::Absent => Ok(None),
            Answer::Held(value) => Ok(Some(value)),
            Answer::OwnStored(txn, stored) => {
                self.check_one_piece(&stored)?;
                self.load_stored(store, txn, &stored).await.map(Some)
            }
            Answer::Found(found) => self.value(store, &found).await,
        }
    }

    /// What a read returns, where that is in memory.
    pub(crate) async fn held(&self, answer: &Answer) -> Option<Option<Bytes>> {
        match answer {
            Answer::Absent => Some(None),
            Answer::Held(value) => Some(Some(value.clone())),
            Answer::OwnStored(..) => None,
            Answer::Found(found) if found.is_tombstone() => Some(None),
            Answer::Found(found) if found.value_len() == 0 => Some(Some(Bytes::new())),
            Answer::Found(found) => {
                let value = self.cache.value(found.value_id()).await?;
                add(&self.counters.cache_hits, 1);
                Some(Some(value))
            }
        }
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
        let read = retry_read(&self.rng, || store.get_range(&path, start..start.saturating_add(len))).await;
        // A copy: an adapter may answer a range with a slice of the whole object.
        let bytes = read.map(|bytes| Bytes::copy_from_slice(&bytes));
        verified(&path, bytes, len, expected)
    }

    /// Refuses to hold a value in memory that came as a stream.
    fn check_one_piece(&self, stored: &StoredValue) -> Result<(), Error> {
        let most = self.config.max_value_bytes;
        if stored.len <= most {
            return Ok(());
        }
        let message = format!(
            "the value has {} bytes, and max_value_bytes is {most}; read it with get_stream or get_range",
            stored.len
        );
        Err(Error::invalid(message))
    }

    /// The same, as a load of the cache.
    fn loads_stored(self: &Arc<Self>, store: &Store, txn: TxnId, stored: &StoredValue) -> Load<Bytes> {
        let (node, store, stored) = (Arc::clone(self), store.clone(), stored.clone());
        async move { node.load_stored(&store, txn, &stored).await }.boxed()
    }

    async fn load_stored(
        self: &Arc<Self>,
        store: &Store,
        txn: TxnId,
        stored: &StoredValue,
    ) -> Result<Bytes, Error> {
        if let [part] = stored.parts[..] {
            return self.load_part(store, txn, part).await;
        }
        let mut value = BytesMut::with_capacity(usize::try_from(stored.len).unwrap_or(0));
        let mut parts = self.stream_stored(store, txn, stored, self.config.parallel_requests);
        while let Some(part) = parts.try_next().await? {
            value.extend_from_slice(&part);
        }
        Ok(value.freeze())
    }

    pub(crate) async fn load_part(&self, store: &Store, txn: TxnId, part: Part) -> Result<Bytes, Error> {
        let path = self.path(ObjectName::Value(txn, part.object()));
        let read = if part.offset == 0 {
            retry_read(&self.rng, || store.get_first(&path, part.len)).await
        } else {
            let range = part.offset..part.offset.saturating_add(part.len);
            retry_read(&self.rng, || store.get_range(&path, range.clone())).await
        };
        verified(&path, read, part.len, part.checksum)
    }

    /// The same, of an object that holds nothing else: whatever was appended to it is damage.
    pub(crate) async fn load_whole_part(
        &self,
        store: &Store,
        txn: TxnId,
        part: Part,
    ) -> Result<Bytes, Error> {
        if part.offset != 0 {
            return self.load_part(store, txn, part).await;
        }
        let path = self.path(ObjectName::Value(txn, part.object()));
        let read = retry_read(&self.rng, || store.get_exactly(&path, part.len)).await;
        verified(&path, read.map(|object| object.bytes), part.len, part.checksum)
    }
}

fn of_key(error: Error, key: &[u8]) -> Error {
    error.wrapped(format!("the key {:?} cannot be read in one piece", key.escape_ascii().to_string()))
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
