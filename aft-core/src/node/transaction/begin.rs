//! Beginning a transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tracing::field::Empty;

use crate::error::{Error, ErrorKind};
use crate::node::exchange::register::RegisterState;
use crate::node::spans::{OK, noted};
use crate::node::stats::add;
use crate::node::transaction::Transaction;
use crate::node::transaction::request::check_request_key;
use crate::node::{Node, Outcome};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::knowledge::KnownBy;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;
use crate::receipt::{Receipt, store_bits};
use crate::txn_id::TxnId;
use crate::version::Version;

/// How a transaction begins; for [`Aft::begin_with`](crate::Aft::begin_with).
///
/// # Examples
///
/// ```
/// use aft_core::{Begin, TxnId};
///
/// // Every retry that passes the same id is the same transaction: it commits at most once.
/// let begin = Begin::new().id(TxnId::new()).latest();
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "pass it to Aft::begin_with"]
pub struct Begin {
    pub(crate) id: Option<TxnId>,
    pub(crate) request: Option<Bytes>,
    pub(crate) input: Option<Bytes>,
    pub(crate) after: Vec<Receipt>,
    pub(crate) latest: bool,
    pub(crate) publish_before_ack: bool,
    pub(crate) serializable: bool,
    /// When the first of several transactions began that do one work.
    pub(crate) since_ms: Option<u64>,
}

impl Begin {
    /// A transaction with a fresh id that sees what the node knows.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let tx = aft.begin_with(aft_core::Begin::new()).await?; // as aft.begin()
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// A caller's own id. Retries under one id are one transaction: whichever attempt decides first wins, and the others
    /// learn its outcome as [`Replayed`](crate::CommitOutcome::Replayed).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// use aft_core::{Begin, CommitOutcome, TxnId};
    ///
    /// let id = TxnId::new();
    /// for outcome in [CommitOutcome::Fresh, CommitOutcome::Replayed] {
    ///     let mut tx = aft.begin_with(Begin::new().id(id)).await?;
    ///     tx.put("order/4711", "paid")?;
    ///     assert_eq!(tx.commit().await?.outcome, outcome);
    /// }
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn id(self, id: TxnId) -> Self {
        Self { id: Some(id), ..self }
    }

    /// A request key: 1 to 4096 bytes that identify the request (an order number, an event's id). Every transaction that begins under
    /// one key, on any node, is one transaction: its claim costs one create, beside the reads, and an attempt that finds another's
    /// claim goes on under that id, or begins anew where that one can never commit. [`Aft::run`](crate::Aft::run) does
    /// all that a request needs; [`Transaction::replay`](crate::Transaction::replay) tells whether it was finished before.
    ///
    /// A key is remembered for [`Config::outcome_retention`](crate::Config::outcome_retention) after its commit, at least.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let mut tx = aft.begin_with(aft_core::Begin::new().request("order-4711")).await?;
    /// if tx.replay().await?.is_none() {
    ///     tx.put("order/4711", "paid")?;
    ///     tx.commit().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn request(self, key: impl AsRef<[u8]>) -> Self {
        Self { request: Some(Bytes::copy_from_slice(key.as_ref())), ..self }
    }

    /// What the request under this [key](Self::request) asks for (its body, its parameters in one fixed order): its SHA-256 is kept with
    /// the key's claim, and whoever comes under the same key with another input gets
    /// [`InputMismatch`](ErrorKind::InputMismatch) instead of the result of a request that was not theirs. Remembered as long as the key.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let body = r#"{"apples": 3}"#;
    /// let begin = aft_core::Begin::new().request("order-4711").input(body);
    /// aft.run_with(begin, async |tx| {
    ///     tx.put("order/4711", body.as_bytes())?;
    ///     Ok("ordered".into())
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn input(self, input: impl AsRef<[u8]>) -> Self {
        Self { input: Some(Bytes::copy_from_slice(input.as_ref())), ..self }
    }

    /// Sees the commit of this receipt, or what it read where it wrote nothing, whichever node made it. May be called several times. A
    /// receipt of another store is [`InvalidInput`](ErrorKind::InvalidInput).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("order/4711", "paid")?;
    /// let receipt = tx.commit().await?.receipt.to_string(); // goes to another node
    ///
    /// let receipt: aft_core::Receipt = receipt.parse()?;
    /// let tx = aft.begin_with(aft_core::Begin::new().after(&receipt)).await?;
    /// assert_eq!(tx.get("order/4711").await?.unwrap(), "paid");
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn after(mut self, receipt: &Receipt) -> Self {
        self.after.push(receipt.clone());
        self
    }

    /// Refreshes first: sees everything that was published before now, by any node. One list request.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let tx = aft.begin_with(aft_core::Begin::new().latest()).await?;
    /// assert_eq!(tx.get("order/4711").await?, None);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn latest(self) -> Self {
        Self { latest: true, ..self }
    }

    /// Every key that it reads, and every key that it writes, is [guarded](Transaction::get_guarded): transactions that all begin so are serializable, and what each of them read
    /// was current when it committed. One create more for each such key, and a decision also where nothing is written. Scans are refused with
    /// [`InvalidInput`](ErrorKind::InvalidInput), since no guard keeps others from adding a key to a range: let who writes to the range write one key more, and guard that one.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// // Of two doctors on call one may leave, if the other stays: write skew, where nothing is guarded.
    /// let begin = aft_core::Begin::new().serializable();
    /// let (mut ada, mut bob) = (aft.begin_with(begin.clone()).await?, aft.begin_with(begin).await?);
    /// for (tx, me, other) in [(&mut ada, "ada", "bob"), (&mut bob, "bob", "ada")] {
    ///     if tx.get(format!("left/{other}")).await?.is_none() {
    ///         tx.put(format!("left/{me}"), "")?;
    ///     }
    /// }
    /// ada.commit().await?;
    /// assert_eq!(bob.commit().await.unwrap_err().kind(), aft_core::ErrorKind::Conflict);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn serializable(self) -> Self {
        Self { serializable: true, ..self }
    }

    /// The commit returns once the feed carries it, so that every transaction that begins with [`latest`](Self::latest)
    /// afterwards sees it. One create request more, where its decision does not publish it anyway
    /// ([`Config::direct_commits`](crate::Config::direct_commits)). [`Config::publish_before_ack`](crate::Config::publish_before_ack) asks for it at every
    /// beginning.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin_with(aft_core::Begin::new().publish_before_ack()).await?;
    /// tx.put("order/4711", "paid")?;
    /// tx.commit().await?; // on every node, whoever begins with latest() sees it
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn publish_before_ack(self) -> Self {
        Self { publish_before_ack: true, ..self }
    }
}

impl Node {
    pub(crate) async fn begin(self: &Arc<Self>, begin: Begin) -> Result<Transaction, Error> {
        let (latest, receipts) = (begin.latest, begin.after.len());
        let span = tracing::debug_span!("aft.begin", txn = Empty, latest, receipts, outcome = Empty);
        let begun = noted(span, self.begin_now(begin), |span, tx| {
            span.record("txn", tracing::field::display(tx.id));
            OK
        });
        begun.await
    }

    async fn begin_now(self: &Arc<Self>, mut begin: Begin) -> Result<Transaction, Error> {
        self.check_open()?;
        if let Some(key) = &begin.request {
            self.check_writable()?;
            check_request_key(key)?;
            if begin.id.is_some() {
                return Err(Error::invalid(
                    "a transaction begins under an id or under a request key, not under both",
                ));
            }
        }
        if begin.input.is_some() && begin.request.is_none() {
            return Err(Error::invalid("an input is kept with a request key; this beginning has none"));
        }
        begin.after.iter().try_for_each(|receipt| self.check_receipt(receipt))?;
        if let Some(id) = begin.id {
            self.check_id(id).await?;
        }
        begin.latest |= begin.after.iter().any(|receipt| receipt.latest);
        begin.publish_before_ack |= self.config.publish_before_ack;
        // A claim runs from here on, beside everything else.
        let (id, shared) =
            begin.id.map_or_else(|| (self.new_txn_id(), begin.request.is_some()), |id| (id, true));
        let mut tx = Transaction::new(Arc::clone(self), id, shared, begin);
        if let Some(key) = tx.begin.request.clone() {
            tx.start_claim(key);
        }
        self.catch_up(tx.begin.latest, &tx.begin.after).await?;
        let now = self.now();
        let reads = tx.reads.get_mut();
        (reads.shown_until, reads.seen_until, tx.undated) =
            self.known.read(|known| (known.shown_until(), known.seen_until(), known.undated(now)));
        add(&self.counters.begun, 1);
        tracing::debug!(txn = %id, shared, "begin");
        Ok(tx)
    }

    /// What every transaction needs before its first read: what was published long enough ago, and what its receipts name.
    pub(crate) async fn catch_up(self: &Arc<Self>, latest: bool, after: &[Receipt]) -> Result<(), Error> {
        let publish = async {
            if let Err(error) = self.keep_publishing().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "publishing failed; the commits wait"
                );
            }
            Ok(())
        };
        let refresh = async { if latest { self.refresh().await } else { self.refresh_if_stale().await } };
        futures::try_join!(publish, refresh)?;
        self.learn_receipts(after).await
    }

    /// How old a transaction is, by the greater of what this node's clock and the store's say.
    pub(crate) fn age_ms(&self, id: TxnId) -> u64 {
        self.age_beside(id, None)
    }

    /// The same, where the store's clock had passed `before` already when the transaction began.
    pub(crate) fn age_beside(&self, id: TxnId, before: Option<StoreTime>) -> u64 {
        let now = self.now();
        self.known.read(|known| known.age_ms(id, before, now))
    }

    /// Refuses an id from the future, and one too old to commit, unless it did commit. Whether it is such an old one: all that is left
    /// for it is to be told so.
    pub(crate) async fn check_id(self: &Arc<Self>, id: TxnId) -> Result<bool, Error> {
        if id.is_in_group() || id.is_direct() {
            let message = "an id of this kind is of a transaction that committed in a group, or of a direct decision; nothing can begin under it";
            return Err(Error::invalid(message).with_txn(id));
        }
        self.check_started(id)?;
        if self.age_ms(id) > self.limits.lifetime_ms {
            return self.committed_or(id, self.expired(id)).await;
        }
        Ok(false)
    }

    /// Refuses an id from the future: further than any clock may be off.
    pub(crate) fn check_started(&self, id: TxnId) -> Result<(), Error> {
        let now = self.now().wall_ms;
        if id.start_ms() <= now.saturating_add(self.limits.skew_ms) {
            return Ok(());
        }
        let ahead = id.start_ms() - now;
        let message = format!(
            "the id starts {ahead} ms in the future of this machine's clock; one of the two clocks is wrong"
        );
        Err(Error::new(ErrorKind::ClockSkew, message).with_txn(id))
    }

    /// For an id that can do nothing more: true where it committed, else this error.
    pub(crate) async fn committed_or(self: &Arc<Self>, id: TxnId, error: Error) -> Result<bool, Error> {
        match self.outcome(&self.store, id).await? {
            Outcome::Committed { .. } => Ok(true),
            Outcome::Aborted | Outcome::Undecided | Outcome::Forgotten => Err(error),
        }
    }

    /// The receipt of a commit of this store.
    pub(crate) fn receipt(&self, commit: &Commit) -> Receipt {
        commit.receipt().of_store(&self.marker.store_id)
    }

    /// Refuses the receipt of another store, young or old. One that was made before receipts knew their store names none.
    fn check_receipt(&self, receipt: &Receipt) -> Result<(), Error> {
        let own = store_bits(&self.marker.store_id);
        if receipt.store.is_none_or(|store| store == own) || planted(Planted::ForeignReceipts) {
            return Ok(());
        }
        let message = format!(
            "the receipt {receipt} is of another store than this one, {}; a clone is another store, too",
            self.marker.store_id
        );
        Err(Error::invalid(message))
    }

    /// Those commits that others may not know, oldest first, each with the id under which its decision lies.
    pub(crate) fn not_known<'a>(
        &self,
        commits: impl Iterator<Item = &'a Arc<Commit>>,
        by: KnownBy,
    ) -> BTreeMap<Version, TxnId> {
        let now = self.now();
        self.known.read(|known| known.not_known(commits, by, now))
    }

    /// Makes sure that the commits of these receipts are in the view: one get for each that is not.
    async fn learn_receipts(self: &Arc<Self>, receipts: &[Receipt]) -> Result<(), Error> {
        if receipts.is_empty() || planted(Planted::IgnoreReceipts) {
            return Ok(());
        }
        let named = receipts.iter().flat_map(Receipt::named);
        let unknown: BTreeSet<_> =
            self.known.read(|known| named.filter(|(version, _)| !known.view().contains(*version)).collect());
        futures::stream::iter(unknown)
            .map(|(version, decided_by)| async move { self.learn_commit(version, decided_by).await })
            .buffer_unordered(self.config.parallel_requests)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    async fn learn_commit(self: &Arc<Self>, version: Version, decided_by: TxnId) -> Result<(), Error> {
        let (looked, known) = self.read_register_surely(&self.store, decided_by).await?;
        if let RegisterState::Committed { commits, .. } = &looked {
            self.learn(commits.iter().map(|it| Arc::clone(&it.commit)));
            for it in commits {
                self.cache_inline(&it.commit, &it.payload).await;
            }
        }
        if self.known.read(|known| known.view().contains(version)) {
            return Ok(());
        }
        // A decision is only collected once its commit is folded, which this node has: it was published long ago.
        let folded = self.outcome_of(decided_by, looked, known) == Outcome::Forgotten;
        if folded && !planted(Planted::ReceiptsNeedDecisions) {
            return Ok(());
        }
        let message =
            "the store has no such commit as this receipt names: it is another store's, or was collected";
        Err(Error::new(ErrorKind::VersionUnavailable, message).with_txn(version.txn))
    }
}

impl Node {
    /// The error of a transaction that is too old. Where only another object's date says so, it may be the clock that is wrong.
    pub(crate) fn expired(&self, id: TxnId) -> Error {
        let now = self.now();
        let young = now.wall_ms.saturating_sub(id.start_ms()) <= self.limits.lifetime_ms;
        let ahead = self.known.read(|known| known.ahead(now).map(|(date, path)| (date, path.to_owned())));
        if let Some((date, path)) = ahead.filter(|_| young) {
            let by = date.ms().saturating_sub(now.wall_ms);
            let message = format!(
                "the object {path:?} is dated {by} ms ahead of this machine's clock, so the transaction may be too old, and nothing more was \
                 done: if the clock is behind, mend it; if the object is dated in the future, delete it, or wait"
            );
            return Error::new(ErrorKind::ClockSkew, message).with_txn(id).with_object(&path);
        }
        expired(id, self.limits.lifetime_ms)
    }
}

pub(crate) fn travelled_too_long(id: TxnId) -> Error {
    let message = "since its token was made a checkpoint may have folded what it did not know when it began; run it again as a new transaction";
    Error::new(ErrorKind::Expired, message).with_txn(id)
}

/// For a transaction that meets a manifest of this number, with commits that this node had not been shown when it began.
pub(crate) fn began_before_shown(id: TxnId, number: u64) -> Error {
    let message = format!(
        "checkpoint {number} holds commits that listings had not shown to this node when the transaction began, though they were old enough; the store, or a \
         proxy before it, answered listings wrongly for a while; run it again as a new transaction"
    );
    Error::new(ErrorKind::VersionUnavailable, message).with_txn(id)
}

/// For a transaction that has read through a newer manifest, with this number, than the node can build on.
pub(crate) fn read_through_newer(id: TxnId, number: u64, base: &Base) -> Error {
    let message = format!(
        "the transaction has read through checkpoint {number}, and the newest that this node can read is {}; \
         resume its token, which is as it was, on a node that reads checkpoint {number} or a newer one, or run it again as a new transaction",
        base.number()
    );
    Error::new(ErrorKind::VersionUnavailable, message).with_txn(id)
}

pub(crate) fn expired(id: TxnId, lifetime_ms: u64) -> Error {
    let message =
        format!("older than the transaction lifetime of {lifetime_ms} ms; run it again as a new transaction");
    Error::new(ErrorKind::Expired, message).with_txn(id)
}
