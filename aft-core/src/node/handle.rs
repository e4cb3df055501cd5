//! The handle of an open store.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::config::Config;
use crate::error::Error;
use crate::node::Node;
use crate::node::check::CheckReport;
use crate::node::exchange::outcome::Outcome;
use crate::node::exchange::sweep::SweepReport;
use crate::node::exchange::sweep_all::SweepAllReport;
use crate::node::open::Builder;
use crate::node::transaction::Transaction;
use crate::node::transaction::begin::Begin;
use crate::node::upkeep::checkpoint::CheckpointReport;
use crate::node::upkeep::collect::{GarbageExplanation, GarbageReport};
use crate::planted::{Planted, planted};
use crate::storage::Storage;
use crate::txn_id::TxnId;

/// An open store: what begins transactions. Clones share everything; a process needs one.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use aft_core::{Aft, Config};
/// use aft_memory::MemoryStorage;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
///
/// let mut tx = aft.begin().await?;
/// tx.put("greeting", "hello")?;
/// tx.put("language", "en")?;
/// tx.commit().await?; // both or neither, by one request to the store
///
/// let tx = aft.begin().await?;
/// assert_eq!(tx.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
/// aft.close().await?;
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Aft {
    node: Arc<Node>,
}

/// How long closing a node waits for the sweep under way.
const SWEEP_WAIT: Duration = Duration::from_secs(30);
/// How long it waits, once everything is published, for a bundle that is being made, which only spares others requests.
const BESIDE_WAIT: Duration = Duration::from_secs(2);

/// Whether a task ends by itself in this time; else it is stopped. It may be on a runtime that nobody drives.
async fn ends_within(wait: Duration, mut task: tokio::task::JoinHandle<()>) -> bool {
    let ended = matches!(tokio::time::timeout(wait, &mut task).await, Ok(Ok(())));
    if !ended {
        task.abort();
    }
    ended
}

impl Aft {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Opens a store with these settings; makes it where there is none. A get, a create that must be refused, and a first refresh.
    ///
    /// # Errors
    /// As [`Builder::open`].
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> Result<(), aft_core::Error> {
    /// use std::sync::Arc;
    /// use aft_core::{Aft, Config};
    /// use aft_memory::MemoryStorage;
    ///
    /// let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn open(storage: Arc<dyn Storage>, config: Config) -> Result<Self, Error> {
        Self::builder(storage).config(config).open().await
    }

    /// Opens a store with a choice of clock, seed and access.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example() -> Result<(), aft_core::Error> {
    /// use std::sync::Arc;
    /// use aft_core::Aft;
    /// use aft_memory::MemoryStorage;
    ///
    /// let aft = Aft::builder(Arc::new(MemoryStorage::new())).rng_seed(7).open().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(storage: Arc<dyn Storage>) -> Builder {
        Builder::new(storage)
    }

    /// Begins a transaction under a fresh id. Costs a list request where the last refresh is older than
    /// [`Config::max_staleness`], else nothing.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Corrupt`](crate::ErrorKind::Corrupt) (a feed
    /// object and a decision that it may have told of are both damaged), [`Closed`](crate::ErrorKind::Closed).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let mut tx = aft.begin().await?;
    /// tx.put("greeting", "hello")?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin(&self) -> BoxFuture<'_, Result<Transaction, Error>> {
        self.node.begin(Begin::new()).boxed()
    }

    /// Begins a transaction that says how.
    ///
    /// # Errors
    /// As [`begin`](Self::begin), and [`Expired`](crate::ErrorKind::Expired) or [`ClockSkew`](crate::ErrorKind::ClockSkew) for an id
    /// that is too old or from the future, [`VersionUnavailable`](crate::ErrorKind::VersionUnavailable) for a receipt whose commit is
    /// gone, [`InvalidInput`](crate::ErrorKind::InvalidInput) for one of another store.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// use aft_core::Begin;
    ///
    /// // A caller's own id: retries are the same transaction.
    /// let mut tx = aft.begin_with(Begin::new().id(aft.new_txn_id())).await?;
    /// tx.put("k", "v")?;
    /// let receipt = tx.commit().await?.receipt;
    /// // On any node: sees that commit.
    /// let tx = aft.begin_with(Begin::new().after(&receipt)).await?;
    /// assert!(tx.get("k").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn begin_with(&self, begin: Begin) -> BoxFuture<'_, Result<Transaction, Error>> {
        self.node.begin(begin).boxed()
    }

    /// A fresh transaction id, by the node's clock and generator.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let id = aft.new_txn_id();
    /// let tx = aft.begin_with(aft_core::Begin::new().id(id)).await?;
    /// assert_eq!(tx.id(), id);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn new_txn_id(&self) -> TxnId {
        self.node.new_txn_id()
    }

    /// What became of a transaction. One get.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Corrupt`](crate::ErrorKind::Corrupt);
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for the id of a transaction that committed [in a group](crate::TxnId::is_in_group), where this node does not
    /// know that commit: [`Receipt::decided_by`](crate::Receipt::decided_by) has the id to ask for. The group's id tells the receipt of the member with the greatest
    /// version: whoever begins after it sees the whole group.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// use aft_core::{ErrorKind, Outcome};
    ///
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "v")?;
    /// match tx.commit().await {
    ///     Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
    ///         let Some(id) = error.txn_id() else { return Err(error) };
    ///         match aft.outcome(id).await? {
    ///             Outcome::Committed { receipt, .. } => println!("it did commit: {receipt}"),
    ///             other => println!("{other:?}"),
    ///         }
    ///     }
    ///     ended => println!("{}", ended?.receipt),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn outcome(&self, id: TxnId) -> BoxFuture<'_, Result<Outcome, Error>> {
        async move {
            self.node.check_open()?;
            self.node.outcome(&self.node.store, id).await
        }
        .boxed()
    }

    /// Decides that a transaction aborts, unless it is decided or forgotten already; what became of it.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome), and [`OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown);
    /// [`ClockSkew`](crate::ErrorKind::ClockSkew) for an undecided id that starts further in the future than any clock may be off: nobody
    /// can begin under it yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft, id: aft_core::TxnId) -> Result<(), aft_core::Error> {
    /// // An id that a process left behind which may be dead: whatever it still sends, this is how it ended.
    /// match aft.cancel(id).await? {
    ///     aft_core::Outcome::Committed { receipt, .. } => println!("it had committed: {receipt}"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel(&self, id: TxnId) -> BoxFuture<'_, Result<Outcome, Error>> {
        async move {
            self.node.check_open()?;
            self.node.cancel(&self.node.store, id).await
        }
        .boxed()
    }

    /// Learns every commit that any node published before this call. One list, and one get per feed object not seen before; where these are eight or more, of
    /// three nodes or more, one list more and one get for each [bundle](crate::Stats::bundles_read) of them that there is, and beside the work one create.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// aft.refresh().await?;
    /// println!("{} recent commits are known", aft.stats().recent_commits);
    /// # Ok(())
    /// # }
    /// ```
    pub fn refresh(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.node.check_open()?;
            self.node.refresh().await
        }
        .boxed()
    }

    /// Publishes every own commit that was acknowledged before this call: one create, or none.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied); the commits wait and are tried again.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "v")?;
    /// tx.commit().await?;
    /// aft.publish().await?; // other nodes see it with their next refresh
    /// # Ok(())
    /// # }
    /// ```
    pub fn publish(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.node.check_open()?;
            self.node.publish().await
        }
        .boxed()
    }

    /// Finds and publishes commits whose node died before it could: a list per shard, a get per commit found, a create.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Corrupt`](crate::ErrorKind::Corrupt) (a damaged decision:
    /// everything else was published).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let report = aft.sweep().await?;
    /// println!("{report:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn sweep(&self) -> BoxFuture<'_, Result<SweepReport, Error>> {
        async move {
            self.node.check_open()?;
            self.node.sweep().await
        }
        .boxed()
    }

    /// Looks over *every* decision of the store for commits that nothing carries (neither the feed nor a checkpoint: a feed object was
    /// deleted, or was damaged when no node looked) and publishes them again. One that is older than what checkpoints
    /// take for settled is *restored* only where nothing newer can have deleted what it wrote; the others are reported. For repairs: no other
    /// node should make checkpoints meanwhile, and where one did, the report says so. Costs a list per shard, a get
    /// per decision that is neither known to be published nor named by a checkpoint, and what the index needs to look up the keys of
    /// old ones. [`Builder::sweep_all`] works where the store cannot be opened.
    ///
    /// # Errors
    /// As [`sweep`](Self::sweep), but for damaged decisions, which are in the report.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let report = aft.sweep_all().await?;
    /// assert!(report.is_clean(), "{report:?}");
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn sweep_all(&self) -> BoxFuture<'_, Result<SweepAllReport, Error>> {
        async move {
            self.node.check_open()?;
            self.node.sweep_all().await
        }
        .boxed()
    }

    /// Makes a checkpoint: sweeps, folds every commit that each node surely knows into the index, and writes a manifest from which a
    /// node starts in a handful of requests. Any node may make one at any time; of two at once one counts. Costs a sweep, a get per
    /// feed object that is folded, a create per 32 MiB of rows written, and three creates and three gets beside.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Corrupt`](crate::ErrorKind::Corrupt) (a damaged object that
    /// it needs, by its path). Nothing is lost: without a manifest nothing of it counts, and what it wrote is collected.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn maintain(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let report = aft.checkpoint().await?;
    /// println!("checkpoint {}: {} commits folded, {} runs", report.number, report.folded, report.runs);
    /// let report = aft.collect_garbage(false).await?;
    /// for (kind, class) in &report.classes {
    ///     println!("{} {kind:?}: {}", class.objects, kind.why());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn checkpoint(&self) -> BoxFuture<'_, Result<CheckpointReport, Error>> {
        async move {
            self.node.check_open()?;
            self.node.checkpoint().await
        }
        .boxed()
    }

    /// Deletes what no transaction can reach any more, by the store's clock; in a dry run only says what that is and why. What may go
    /// follows from the newest [checkpoint](Self::checkpoint) that is older than any running transaction, so without
    /// checkpoints little does. Costs a list per folder and shard and a delete per thousand objects.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied), [`Corrupt`](crate::ErrorKind::Corrupt) (a manifest that cannot
    /// be read: it may name anything, so nothing is deleted). What was deleted up to there stays deleted, and the next call goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// // What would go, and why; nothing goes.
    /// let report = aft.collect_garbage(true).await?;
    /// println!("{} objects", report.objects());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn collect_garbage(&self, dry_run: bool) -> BoxFuture<'_, Result<GarbageReport, Error>> {
        async move {
            self.node.check_open()?;
            self.node.collect_garbage(dry_run).await
        }
        .boxed()
    }

    /// Why an object of the store stays, or may go, by its path: what a collection would do with it now, by which rule, and until when it stays, about.
    /// Nothing is written. Costs what a [collection](Self::collect_garbage) that is a dry run costs, and a little more.
    ///
    /// # Errors
    /// As [`collect_garbage`](Self::collect_garbage).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("video", vec![0; 100_000])?;
    /// tx.commit().await?;
    /// let object = aft.versions("video").await?.remove(0).object;
    /// let explained = aft.explain_garbage(&object).await?;
    /// assert!(explained.garbage.is_none());
    /// assert_eq!(explained.why, "it is the newest version of the key");
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn explain_garbage(
        &self,
        path: impl Into<String>,
    ) -> BoxFuture<'_, Result<GarbageExplanation, Error>> {
        let path = path.into();
        async move {
            self.node.check_open()?;
            self.node.explain_garbage(path).await
        }
        .boxed()
    }

    /// Verifies everything in the store: that every object which should be there is, and is what was written, every checksum included;
    /// names what is missing, damaged or left over, and what a [collection](Self::collect_garbage) would delete. It deletes nothing
    /// and writes nothing but what a refresh may, and works on a node opened [read-only](Builder::read_only); [`Builder::check`] also where the store cannot be opened. The store
    /// may be in use meanwhile. Costs what the whole store costs to read: a get per object, a range get per 4 MiB of the index, a list
    /// per folder and shard. Memory: the commits that are not in the index, and eight bytes per value object.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable), [`Denied`](crate::ErrorKind::Denied): nothing can be said of the store then. What is wrong
    /// with the store is no error but in the report.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let report = aft.check().await?;
    /// for problem in &report.problems {
    ///     println!("{problem:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn check(&self) -> BoxFuture<'_, Result<CheckReport, Error>> {
        async move {
            self.node.check_open()?;
            self.node.check().await
        }
        .boxed()
    }

    /// Closes the node: waits for the sweep under way (half a minute at most), publishes the last commits, and waits for a bundle and a light checkpoint that
    /// are being made (two seconds at most). Later calls, of every clone,
    /// fail with [`Closed`](crate::ErrorKind::Closed), and so does a commit that has not begun to write its decision. One whose decision is on
    /// its way is not waited for: it publishes itself before it returns. A node that dies without `close` loses nothing: the next
    /// sweep publishes its last commits.
    ///
    /// # Errors
    /// As [`publish`](Self::publish): the node is closed all the same. Closing it again tries again; else a sweep will publish what is left.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// aft.close().await?; // before a function returns: its commits are published then
    /// # Ok(())
    /// # }
    /// ```
    pub async fn close(&self) -> Result<(), Error> {
        if !self.node.shut() && planted(Planted::CloseOnce) {
            return Ok(());
        }
        let [sweep, bundle, checkpoint] = self.node.tasks.lock().stop();
        if let Some(sweep) = sweep
            && !ends_within(SWEEP_WAIT, sweep).await
        {
            tracing::warn!("the sweep under way did not complete");
        }
        let published = if self.node.read_only { Ok(()) } else { self.node.publish().await };
        let beside = async |task, what| {
            if let Some(task) = task
                && !ends_within(BESIDE_WAIT, task).await
            {
                tracing::debug!("the {what} under way did not complete");
            }
        };
        futures::join!(beside(bundle, "bundle"), beside(checkpoint, "light checkpoint"));
        published
    }
}
