//! A transaction: reads under the read-atomic protocol, writes into a buffer.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::config::{MAX_KEY_BYTES, MAX_RESULT_BYTES};
use crate::error::{Error, ErrorKind};
use crate::format::name::ValueName;
use crate::node::Node;
use crate::node::begin::expired;
use crate::node::outcome::Outcome;
use crate::node::stats::{Cost, RequestCounts};
use crate::node::store::Store;
use crate::node::upload::Uploads;
use crate::planted::{Planted, planted};
use crate::protocol::choose::{self, Unsatisfiable};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::read_set::ReadSet;
use crate::protocol::view::Found;
use crate::protocol::write_buffer::{Sizes, WriteBuffer};
use crate::txn_id::TxnId;
use crate::version::Version;

/// A transaction. Its reads are read-atomic: if it read something that a commit wrote, then of everything else that the commit
/// wrote it reads that or something newer. Dropped without [`commit`](Self::commit), it aborts.
///
/// # Examples
///
/// ```
/// # async fn transfer(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
/// let mut tx = aft.begin().await?;
/// let balance = tx.get("alice").await?;
/// tx.put("alice", "90")?;
/// tx.put("bob", "10")?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction that is dropped aborts"]
pub struct Transaction {
    pub(crate) node: Arc<Node>,
    /// The store, counting for this transaction as well.
    pub(crate) store: Store,
    pub(crate) requests: Arc<RequestCounts>,
    pub(crate) id: TxnId,
    /// Whether others may hold the id: then the decision is always written.
    pub(crate) shared: bool,
    pub(crate) attempt: u64,
    began: LocalTime,
    /// How old the id was when the transaction began here.
    age_ms: u64,
    pub(crate) reads: ReadSet,
    pub(crate) buffer: WriteBuffer,
    pub(crate) uploads: Uploads,
    next_object: u32,
    pub(crate) result: Option<Bytes>,
    pub(crate) publish_before_ack: bool,
}

impl Transaction {
    pub(crate) fn new(node: Arc<Node>, id: TxnId, shared: bool, publish_before_ack: bool) -> Self {
        let requests = Arc::default();
        let began = node.now();
        Self {
            store: node.store.counted_by(&requests),
            requests,
            id,
            shared,
            attempt: node.rng.next(),
            began,
            age_ms: began.wall_ms.saturating_sub(id.start_ms()),
            reads: ReadSet::default(),
            buffer: WriteBuffer::default(),
            uploads: Uploads::default(),
            next_object: 0,
            result: None,
            publish_before_ack,
            node,
        }
    }

    /// The transaction's id.
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.id
    }

    /// The value of `key` (1 to 4096 bytes); `None` where it is absent or deleted. Costs nothing where the value is cached, else
    /// one request.
    ///
    /// # Errors
    /// [`ErrorKind::Expired`], [`Unavailable`](ErrorKind::Unavailable), [`Corrupt`](ErrorKind::Corrupt),
    /// [`VersionUnavailable`](ErrorKind::VersionUnavailable), [`InvalidInput`](ErrorKind::InvalidInput) (a key of an impossible
    /// length), [`Closed`](ErrorKind::Closed). The transaction can go on after any of them but the first and the last.
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        let key = checked_key(key.as_ref());
        async move {
            let key = key?;
            self.check_alive()?;
            if let Some(own) = self.buffer.get(&key).filter(|_| !planted(Planted::ForgetOwnWrites)) {
                return Ok(own.cloned());
            }
            match self.choose(&key)? {
                None => Ok(None),
                Some(found) => self.node.value(&self.store, &found).await.map_err(|error| self.named(error)),
            }
        }
        .boxed()
    }

    /// The values of many keys, in the order of the keys, fetched side by side.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_many<K: AsRef<[u8]>>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, Error>> {
        let keys: Result<Vec<_>, _> = keys.into_iter().map(|key| checked_key(key.as_ref())).collect();
        async move { self.get_checked(&keys?).await }.boxed()
    }

    async fn get_checked(&mut self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.check_alive()?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            // Own writes answer first and are no reads.
            found.push(if self.buffer.get(key).is_some() { None } else { self.choose(key)? });
        }
        let mut values = self.node.values(&self.store, found).await.map_err(|error| self.named(error))?;
        for (key, value) in keys.iter().zip(&mut values) {
            if let Some(own) = self.buffer.get(key) {
                *value = own.cloned();
            }
        }
        Ok(values)
    }

    /// Writes `value` under `key` (1 to 4096 bytes). Nothing is visible to anyone before [`commit`](Self::commit). A value over
    /// [`Config::inline_value_bytes`](crate::Config::inline_value_bytes) starts uploading at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the key, the value or the whole transaction is too large; nothing was written then, and
    /// the transaction goes on without it. [`Unsupported`](ErrorKind::Unsupported) on a read-only node.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<(), Error> {
        let key = checked_key(key.as_ref())?;
        let value = value.into();
        let config = &self.node.config;
        if value.len() as u64 > config.max_value_bytes {
            let message =
                format!("a value of {} bytes; max_value_bytes is {}", value.len(), config.max_value_bytes);
            return Err(Error::invalid(message).with_txn(self.id));
        }
        let object = (value.len() as u64 > config.inline_value_bytes).then_some(self.next_object);
        self.buffer_write(key, Some(value.clone()), object)?;
        if let Some(n) = object {
            self.next_object += 1;
            self.upload(n, value);
        }
        Ok(())
    }

    /// Deletes `key` (1 to 4096 bytes). Deleting an absent key is no error.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = checked_key(key.as_ref())?;
        self.buffer_write(key, None, None)
    }

    /// Stores `result` (at most 256 KiB) with the decision: what a retry of this transaction gets back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it is too large.
    pub fn set_result(&mut self, result: impl Into<Bytes>) -> Result<(), Error> {
        let result = result.into();
        if result.len() > MAX_RESULT_BYTES {
            let message =
                format!("a result of {} bytes; at most {MAX_RESULT_BYTES} can be stored", result.len());
            return Err(Error::invalid(message).with_txn(self.id));
        }
        self.result = Some(result);
        Ok(())
    }

    /// What was read so far: each key with its version, or `None` where it was absent. Keys in a scanned range that are not listed
    /// were read as absent.
    pub fn reads(&self) -> impl Iterator<Item = (&[u8], Option<Version>)> {
        self.reads.iter().map(|(key, version)| (&key[..], version))
    }

    /// The requests that this transaction made so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.requests.read()
    }

    /// Gives the transaction up. Where its id is the caller's own, so that others may hold it, the abort is decided: no attempt
    /// can commit it any more. Otherwise nothing is written.
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`], [`Unavailable`](ErrorKind::Unavailable), [`Denied`](ErrorKind::Denied).
    pub fn abort(self) -> BoxFuture<'static, Result<Outcome, Error>> {
        async move {
            if self.shared { self.node.cancel(&self.store, self.id).await } else { Ok(Outcome::Aborted) }
        }
        .boxed()
    }

    fn buffer_write(&mut self, key: Bytes, value: Option<Bytes>, object: Option<u32>) -> Result<(), Error> {
        self.node.check_writable()?;
        let (id, config) = (self.id, &self.node.config);
        let admit = |sizes: Sizes| {
            let message = if sizes.held > config.max_transaction_bytes {
                format!(
                    "the transaction would hold {} bytes; max_transaction_bytes is {}",
                    sizes.held, config.max_transaction_bytes
                )
            } else if sizes.meta > config.max_record_bytes {
                format!(
                    "the transaction writes too many keys for one record; max_record_bytes is {}",
                    config.max_record_bytes
                )
            } else {
                return Ok(());
            };
            Err(Error::invalid(message).with_txn(id))
        };
        self.buffer.put(key, value, object, admit)
    }

    pub(crate) fn next_object(&mut self) -> u32 {
        let n = self.next_object;
        self.next_object += 1;
        n
    }

    pub(crate) fn upload(&mut self, n: u32, value: Bytes) {
        let name = ValueName { attempt: self.attempt, n };
        self.uploads.start(&self.node, self.store.clone(), self.id, name, value);
    }

    /// How old the transaction is, by the greater of what all clocks say.
    pub(crate) fn age_ms(&self) -> u64 {
        let now = self.node.now();
        let wall = now.wall_ms.saturating_sub(self.id.start_ms());
        wall.max(self.age_ms.saturating_add(now.elapsed_since(self.began)))
    }

    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.node.check_open()?;
        if self.age_ms() > self.node.limits.lifetime_ms {
            return Err(expired(self.id, self.node.limits.lifetime_ms));
        }
        Ok(())
    }

    fn choose(&mut self, key: &Bytes) -> Result<Option<Found>, Error> {
        let found = choose::read(key, &mut self.reads, &self.node.view.read());
        found.map_err(|cause| self.unsatisfiable(cause))
    }

    pub(crate) fn unsatisfiable(&self, cause: Unsatisfiable) -> Error {
        let message = "a version that this transaction must read is not known any more; run it again as a new transaction";
        Error::new(ErrorKind::VersionUnavailable, message).with_source(cause).with_txn(self.id)
    }

    /// The error, with this transaction's id.
    pub(crate) fn named(&self, error: Error) -> Error {
        if error.txn_id().is_some() { error } else { error.with_txn(self.id) }
    }
}

/// A key as the transaction keeps it.
pub(crate) fn checked_key(key: &[u8]) -> Result<Bytes, Error> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Error::invalid(format!("a key of {} bytes; keys have 1 to {MAX_KEY_BYTES}", key.len())));
    }
    Ok(Bytes::copy_from_slice(key))
}
