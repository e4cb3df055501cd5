//! A transaction: reads under the read-atomic protocol, writes into a buffer.

pub(crate) mod begin;
pub(crate) mod commit;
pub(crate) mod contention;
pub(crate) mod group;
pub(crate) mod guard;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod stream;
pub(crate) mod told_reads;
pub(crate) mod transact;
pub(crate) mod travel;
pub(crate) mod upload;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::config::{Config, MAX_KEY_BYTES, MAX_RESULT_BYTES};
use crate::error::{Error, ErrorKind};
use crate::format::name::ValueName;
use crate::format::record::{Guard, StoredValue};
use crate::node::Node;
use crate::node::exchange::outcome::Outcome;
use crate::node::exchange::register::{Committed, RegisterState, commit_of};
use crate::node::index::fetch::Answer;
use crate::node::stats::{Cost, RequestCounts};
use crate::node::store::Store;
use crate::node::transaction::begin::{Begin, began_before_shown, read_through_newer, travelled_too_long};
use crate::node::transaction::commit::Commit;
use crate::node::transaction::read::{Reads, Refused};
use crate::node::transaction::request::{Claimed, Claiming, Request};
use crate::node::transaction::told_reads::ToldReads;
use crate::node::transaction::upload::Uploads;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::write_buffer::{Own, Sizes, WriteBuffer};
use crate::txn_id::TxnId;
use crate::value::IntoValue;
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
#[must_use = "a transaction that is dropped aborts"]
pub struct Transaction {
    pub(crate) node: Arc<Node>,
    /// The store, counting for this transaction as well.
    pub(crate) store: Store,
    pub(crate) requests: Arc<RequestCounts>,
    pub(crate) id: TxnId,
    /// Whether others may hold the id: then the decision is always written.
    pub(crate) shared: bool,
    /// Whether anybody was told the id.
    id_told: AtomicBool,
    pub(crate) attempt: u64,
    began: LocalTime,
    /// How old the id was when the transaction began here.
    age_ms: u64,
    /// What the store's clock had passed when it began, by a date that this node cannot check.
    pub(crate) undated: Option<StoreTime>,
    /// What it has read: shared by reads side by side, and never held across an await.
    pub(crate) reads: Mutex<Reads>,
    told: ToldReads,
    pub(crate) buffer: WriteBuffer,
    pub(crate) uploads: Uploads,
    next_object: u32,
    /// The stored result, and the attempt that set it.
    pub(crate) result: Option<(u64, Bytes)>,
    /// How it began: what a node that it travels to must know.
    pub(crate) begin: Begin,
    /// The claim of its request key, until it is settled.
    pub(crate) claiming: Option<Claiming>,
    /// The attempts that were suspended before this one.
    pub(crate) ancestors: BTreeSet<u64>,
    /// The guards that its commit made.
    pub(crate) guards: Vec<Guard>,
    /// The last error that it returned to whoever reads: why a closure that runs in it may have failed.
    trouble: Mutex<Option<Error>>,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.id())
            .field("buffer", &self.buffer)
            .finish_non_exhaustive()
    }
}

impl Transaction {
    pub(crate) fn new(node: Arc<Node>, id: TxnId, shared: bool, begin: Begin) -> Self {
        let requests = Arc::default();
        let (began, attempt) = (node.now(), node.rng.next());
        Self {
            store: node.store.counted_by(&requests),
            requests,
            id,
            shared,
            // Who reads the log may ask for what it names.
            id_told: AtomicBool::new(tracing::enabled!(tracing::Level::DEBUG)),
            attempt,
            began,
            age_ms: began.wall_ms.saturating_sub(id.start_ms()),
            undated: None,
            reads: Mutex::default(),
            told: ToldReads::default(),
            buffer: WriteBuffer::new(attempt),
            uploads: Uploads::default(),
            next_object: 0,
            result: None,
            begin,
            claiming: None,
            ancestors: BTreeSet::new(),
            guards: Vec::new(),
            trouble: Mutex::default(),
            node,
        }
    }

    /// Starts to claim its request key, beside the reads.
    pub(crate) fn start_claim(&mut self, key: Bytes) {
        let request = Request::new(key, self.begin.input.as_ref());
        self.claiming = Some(self.node.start_claim(self.store.clone(), request, self.id));
    }

    /// Waits until the claim is settled: from then on the id is certain. What the request came to, where it was finished before.
    pub(crate) async fn settle_claim(&mut self) -> Result<Option<Committed>, Error> {
        let Some(claiming) = self.claiming.clone() else { return Ok(None) };
        match claiming.await.map_err(|error| self.named(error))? {
            Claimed::Open(txn) => {
                self.claiming = None;
                self.id = txn;
                self.age_ms = self.began.wall_ms.saturating_sub(txn.start_ms());
                Ok(None)
            }
            Claimed::Finished(txn, committed) => {
                self.id = txn;
                Ok(Some(committed))
            }
        }
    }

    /// What the transaction came to where another attempt finished it before: its receipt and stored result, so that nothing need be
    /// run again. `None` where it is still open. Under a request key this waits for the claim, and costs nothing beside it; under
    /// an id that others may hold it costs one get; under an id of its own nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Aborted`] where it can never commit; else as [`commit`](Self::commit) where the store fails.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let mut tx = aft.begin_with(aft_core::Begin::new().request("order-4711")).await?;
    /// if let Some(finished) = tx.replay().await? {
    ///     println!("done before: {:?}", finished.result);
    ///     return Ok(());
    /// }
    /// tx.put("order/4711", "paid")?;
    /// tx.set_result("receipt no. 1")?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replay(&mut self) -> BoxFuture<'_, Result<Option<Commit>, Error>> {
        async move {
            self.node.check_open()?;
            if self.begin.request.is_some() && self.claiming.is_some() {
                let finished = self.settle_claim().await?;
                return match finished {
                    Some(own) => self.replayed(own).await.map(Some),
                    None => Ok(None),
                };
            }
            if !self.shared {
                return Ok(None);
            }
            let looked = self.node.read_register(&self.store, self.id).await?;
            match self.node.check_told(&self.store, self.id, looked).await? {
                RegisterState::Empty | RegisterState::Forgotten => Ok(None),
                RegisterState::Dead { attempt, void } => Err(self.dead(attempt, void)),
                RegisterState::Committed { commits, .. } => {
                    self.replayed(commit_of(self.id, commits)?).await.map(Some)
                }
            }
        }
        .boxed()
    }

    /// The transaction's id. A transaction that was asked for it is decided under it; others may be decided in a group
    /// ([`Config::decisions_in_flight`](crate::Config::decisions_in_flight)).
    ///
    /// Under a request key it is certain once [`replay`](Self::replay) has returned: an earlier attempt may have brought another.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// let id = tx.id();
    /// tx.put("k", "v")?;
    /// tx.commit().await?;
    /// assert!(matches!(aft.outcome(id).await?, aft_core::Outcome::Committed { .. }));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn id(&self) -> TxnId {
        self.note_id_told();
        self.id
    }

    /// The value of `key` (1 to 4096 bytes); `None` where it is absent or deleted. Costs nothing where the value is cached, else
    /// one request; for a key in the index up to two per sorted run, side by side, where its blocks are not cached.
    ///
    /// # Errors
    /// [`ErrorKind::Expired`], [`Unavailable`](ErrorKind::Unavailable), [`Corrupt`](ErrorKind::Corrupt),
    /// [`VersionUnavailable`](ErrorKind::VersionUnavailable), [`InvalidInput`](ErrorKind::InvalidInput) (a key of an impossible
    /// length), [`Closed`](ErrorKind::Closed). The transaction can go on after any of them but the first and the last.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let Some(balance) = tx.get("balance/ada").await? else { return Ok(()) };
    /// println!("{} bytes", balance.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Option<Bytes>, Error>> {
        let key = checked_key(key.as_ref());
        async move {
            let key = key?;
            if let Some(value) = self.get_held(&key).await? {
                return Ok(value);
            }
            // Boxed: what waits for requests is large, and most reads wait for none.
            let mut answers = self.get_checked(&[key]).boxed().await?;
            Ok(answers.pop().flatten())
        }
        .boxed()
    }

    /// The value of a key, where the node has it in memory.
    async fn get_held(&self, key: &Bytes) -> Result<Option<Option<Bytes>>, Error> {
        self.check_alive()?;
        if self.begin.serializable || planted(Planted::NoteAfterFetch) {
            return Ok(None);
        }
        Ok(match self.read_one_now(key) {
            Some(answer) => self.node.held(&answer).await,
            None => None,
        })
    }

    /// The values of many keys, in the order of the keys, fetched side by side. Keys in one block of the index share its request.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let [stock, price] = &tx.get_many(["stock/apples", "price/apples"]).await?[..] else { return Ok(()) };
    /// println!("{stock:?} apples at {price:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BoxFuture<'_, Result<Vec<Option<Bytes>>, Error>> {
        let keys: Result<Vec<_>, _> = keys.into_iter().map(|key| checked_key(key.as_ref())).collect();
        async move { self.get_checked(&keys?).await }.boxed()
    }

    pub(crate) fn own_answer(&self, own: Own<'_>) -> Answer {
        match own {
            Own::Deleted => Answer::Absent,
            Own::Held(value) => Answer::Held(value.clone()),
            Own::Stored(stored) => Answer::OwnStored(self.id, stored.clone()),
        }
    }

    /// Writes `value` under `key` (1 to 4096 bytes). Nothing is visible to anyone before [`commit`](Self::commit). A value over
    /// [`Config::inline_value_bytes`](crate::Config::inline_value_bytes) starts uploading at once.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where the key, the value or the whole transaction is too large; nothing was written then, and
    /// the transaction goes on without it. [`Unsupported`](ErrorKind::Unsupported) on a read-only node.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// let name = String::from("Ada");
    /// tx.put("customer/17", &name)?; // borrowed: copied
    /// tx.put(format!("customer/{name}"), 17u64.to_be_bytes())?;
    /// tx.put("picture/17", vec![0xff; 1 << 20])?; // owned: not copied, and on its way to the store at once
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl IntoValue) -> Result<(), Error> {
        let key = checked_key(key.as_ref())?;
        let value = value.into_value();
        let config = &self.node.config;
        if value.len() as u64 > config.max_value_bytes {
            let message =
                format!("a value of {} bytes; max_value_bytes is {}", value.len(), config.max_value_bytes);
            return Err(Error::invalid(message).with_txn(self.id()));
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
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &mut aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// tx.delete("cart/17")?;
    /// assert_eq!(tx.get("cart/17").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> Result<(), Error> {
        let key = checked_key(key.as_ref())?;
        self.buffer_write(key, None, None)
    }

    /// Stores `result` (at most 256 KiB) with the decision: what a retry of this transaction gets back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where it is too large.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let mut tx = aft.begin_with(aft_core::Begin::new().request("order-4711")).await?;
    /// tx.put("order/4711", "paid")?;
    /// tx.set_result("receipt no. 1")?;
    /// // Of this attempt, or of the one that was faster: everybody gets the same.
    /// assert_eq!(tx.commit().await?.result.as_deref(), Some(&b"receipt no. 1"[..]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_result(&mut self, result: impl IntoValue) -> Result<(), Error> {
        let result = result.into_value();
        if result.len() > MAX_RESULT_BYTES {
            let message =
                format!("a result of {} bytes; at most {MAX_RESULT_BYTES} can be stored", result.len());
            return Err(Error::invalid(message).with_txn(self.id()));
        }
        self.result = Some((self.attempt, result));
        Ok(())
    }

    /// What was read so far: each key with its version, or `None` where it was absent. Keys in a scanned range that are not listed
    /// were read as absent.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// tx.get("stock/apples").await?;
    /// for (key, version) in tx.reads() {
    ///     println!("{} at {version:?}", key.escape_ascii());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn reads(&self) -> impl Iterator<Item = (&[u8], Option<Version>)> {
        self.told.catch_up(&self.reads.lock().set);
        self.told.sorted().into_iter()
    }

    /// The requests that this transaction sent itself so far; [`Cost`] says what is counted and what is shared.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(tx: &aft_core::Transaction) -> Result<(), aft_core::Error> {
    /// tx.scan_prefix("order/").await?;
    /// println!("{} requests so far", tx.cost().requests());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.requests.read()
    }

    /// Gives the transaction up. Where others may hold its id (a caller's own, a request key's, a token's) the abort is decided: no
    /// attempt can commit it any more, and its request key is free for a new transaction. Otherwise nothing is written.
    ///
    /// # Errors
    /// [`ErrorKind::OutcomeUnknown`], [`Unavailable`](ErrorKind::Unavailable), [`Denied`](ErrorKind::Denied);
    /// [`ClockSkew`](ErrorKind::ClockSkew) as [`Aft::cancel`](crate::Aft::cancel).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let tx = aft.begin_with(aft_core::Begin::new().request("order-4711")).await?;
    /// // Nobody commits this attempt any more, and the key is free for a new one.
    /// println!("{:?}", tx.abort().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn abort(mut self) -> BoxFuture<'static, Result<Outcome, Error>> {
        async move {
            if let Some(own) = self.settle_claim().await? {
                return Ok(Outcome::Committed {
                    receipt: self.node.receipt(&own.commit),
                    result: own.result,
                });
            }
            if self.shared { self.node.cancel(&self.store, self.id).await } else { Ok(Outcome::Aborted) }
        }
        .boxed()
    }

    /// Somebody knows the id from now on.
    fn note_id_told(&self) {
        self.id_told.store(true, Ordering::Relaxed);
    }

    fn buffer_write(&mut self, key: Bytes, value: Option<Bytes>, object: Option<u32>) -> Result<(), Error> {
        self.node.check_writable()?;
        let admit = admission(self.id, &self.node.config);
        self.buffer.put(key, value, object, admit).inspect_err(|_| self.note_id_told())
    }

    /// Buffers a write whose value is durable already.
    pub(crate) fn buffer_stored(&mut self, key: Bytes, value: StoredValue) -> Result<(), Error> {
        let admit = admission(self.id, &self.node.config);
        self.buffer.put_stored(key, value, admit).inspect_err(|_| self.note_id_told())
    }

    pub(crate) fn next_object(&mut self) -> u32 {
        let n = self.next_object;
        self.next_object += 1;
        n
    }

    pub(crate) fn upload(&mut self, n: u32, value: Bytes) {
        let name = ValueName { attempt: self.attempt, n };
        self.uploads.start(&self.node, self.store.clone(), self.id, self.claiming.clone(), name, value);
    }

    /// It was as old as this when it was suspended elsewhere.
    pub(crate) fn at_least_as_old_as(&mut self, age_ms: u64) {
        self.age_ms = self.age_ms.max(age_ms);
    }

    /// For the planted bug: becomes another attempt.
    pub(crate) fn pass_for(&mut self, attempt: u64) {
        self.attempt = attempt;
        self.buffer = WriteBuffer::new(attempt);
    }

    /// How old the transaction is, by the greatest of what all clocks say.
    pub(crate) fn age_ms(&self) -> u64 {
        // Of an id that came from elsewhere nobody knows what the store's clock had passed when it was made.
        let before = self.undated.filter(|_| !self.shared && self.ancestors.is_empty());
        let age_ms = self.age_ms.saturating_add(self.node.now().elapsed_since(self.began));
        self.node.age_beside(self.id, before).max(age_ms)
    }

    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.node.check_open()?;
        if self.age_ms() > self.node.limits.lifetime_ms {
            return Err(self.named(self.node.expired(self.id())));
        }
        Ok(())
    }

    /// Why nothing could be chosen. Not to be called while the read set is locked.
    pub(crate) fn refused(&self, cause: Refused, base: &Base) -> Error {
        match cause {
            Refused::OlderBase(newest) => read_through_newer(self.id(), newest, base),
            Refused::FoldedUnknown if self.ancestors.is_empty() => {
                began_before_shown(self.id(), base.number())
            }
            Refused::FoldedUnknown => travelled_too_long(self.id()),
            Refused::Lost(cause) => {
                let message = "a version that this transaction must read is not known any more; run it again as a new transaction";
                Error::new(ErrorKind::VersionUnavailable, message).with_source(cause).with_txn(self.id())
            }
        }
    }

    /// The error, with this transaction's id. What is gone for one that has turned out to be too old (its node stood still, and the store's
    /// time told) is no version that is missing.
    pub(crate) fn named(&self, error: Error) -> Error {
        self.note_id_told();
        let gone = error.kind() == ErrorKind::VersionUnavailable;
        let error = if gone && self.age_ms() > self.node.limits.lifetime_ms {
            self.node.expired(self.id()).with_source(error)
        } else if error.txn_id().is_some() {
            error
        } else {
            error.with_txn(self.id())
        };
        *self.trouble.lock() = Some(error.clone());
        error
    }

    /// The last error that it returned, refused input aside.
    pub(crate) fn trouble(&self) -> Option<Error> {
        self.trouble.lock().take()
    }
}

/// A key as the transaction keeps it.
pub(crate) fn checked_key(key: &[u8]) -> Result<Bytes, Error> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Error::invalid(format!("a key of {} bytes; keys have 1 to {MAX_KEY_BYTES}", key.len())));
    }
    Ok(Bytes::copy_from_slice(key))
}

/// Refuses a write set that is too large.
fn admission(id: TxnId, config: &Config) -> impl FnOnce(Sizes) -> Result<(), Error> {
    let (held, record) = (config.max_transaction_bytes, config.max_record_bytes);
    move |sizes| {
        let message = if sizes.held > held {
            format!("the transaction would hold {} bytes; max_transaction_bytes is {held}", sizes.held)
        } else if sizes.meta > record {
            format!(
                "the transaction writes too many keys, or parts of streams, for one record; max_record_bytes is {record}"
            )
        } else {
            return Ok(());
        };
        Err(Error::invalid(message).with_txn(id))
    }
}
