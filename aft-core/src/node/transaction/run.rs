//! Running a request to its end: exactly once, with a stored result, whatever fails on the way.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::Instrument;

use crate::error::{Error, ErrorKind};
use crate::node::exchange::outcome::Outcome;
use crate::node::store::backoff;
use crate::node::transaction::Transaction;
use crate::node::transaction::begin::Begin;
use crate::node::transaction::commit::{Commit, CommitOutcome};
use crate::node::transaction::contention::conflict_wait;
use crate::node::{Aft, Node};
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::receipt::Receipt;
use crate::txn_id::TxnId;

/// A finished request; from [`Aft::run`].
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// for outcome in [aft_core::CommitOutcome::Fresh, aft_core::CommitOutcome::Replayed] {
///     let run = aft.run(b"order 7", async |tx| tx.put("k", "v").map(|()| "done".into())).await?;
///     assert_eq!((run.outcome, &run.result[..]), (outcome, &b"done"[..]));
/// }
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Run {
    /// The stored result: of the run that won.
    pub result: Bytes,
    /// Whether this call's run won, or an earlier or concurrent one.
    pub outcome: CommitOutcome,
    /// Proof of the commit.
    pub receipt: Receipt,
}

/// Runs of a request's closure before giving up: about 10 s of waiting between them.
const RUN_TRIES: u32 = 12;

impl Aft {
    /// Runs a request exactly once. `work` reads and writes in the transaction it is given and returns the request's result, which is
    /// stored with the commit. Called again with the same key (1 to 4096 bytes), by any process, it returns the stored
    /// result without running `work`; of several runs at once one wins, and all return the winner's result.
    ///
    /// `work` may run more than once, and its reads and writes take effect once; what else it does (a mail, a payment) is its own care: pass
    /// [`Transaction::id`] on as the idempotency key. Storage trouble is retried here, with growing waits of about 10 s in all. When
    /// `work` fails, nothing is left and the request can be run again.
    ///
    /// To spawn it as a task, let the closure own what it uses (`async move |tx| …`): the compiler cannot yet see that a
    /// closure which borrows may move between threads. [`handle`](Self::handle) takes one that borrows, and has an error of its own.
    ///
    /// Two creates for a fresh request (the claim, awaited first, and the decision); for a finished one, one create that is refused and two gets.
    ///
    /// # Errors
    /// What `work` returned, as it is. [`ErrorKind::OutcomeUnknown`]: run it again under the same key. Else as
    /// [`Transaction::commit`]: nothing was committed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use aft_core::{Aft, CommitOutcome, Config, Error};
    /// # use aft_memory::MemoryStorage;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
    /// for delivery in 0..3 {
    ///     let run = aft
    ///         .run(b"order-4711", async |tx| {
    ///             let stock = tx.get("stock").await?.map_or(10, |stock| stock[0]);
    ///             tx.put("stock", vec![stock - 1])?;
    ///             Ok(format!("{} left", stock - 1).into())
    ///         })
    ///         .await?;
    ///     assert_eq!(run.result, "9 left");
    ///     assert_eq!(run.outcome == CommitOutcome::Fresh, delivery == 0);
    /// }
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    pub fn run<F>(&self, key: impl AsRef<[u8]>, work: F) -> impl Future<Output = Result<Run, Error>>
    where
        F: AsyncFn(&mut Transaction) -> Result<Bytes, Error>,
    {
        // Not in the future: a borrowed key would keep it from being spawned.
        self.run_with(Begin::new().request(key), work)
    }

    /// [`run`](Self::run) of a transaction that says how it begins: under a [request key](Begin::request) or a caller's
    /// [id](Begin::id), after receipts, with the latest commits.
    ///
    /// Under an id a fresh request costs one create, and one get to see whether it was finished before; an id that was aborted, or that
    /// is older than the transaction lifetime, cannot be run any more.
    ///
    /// # Errors
    /// As [`run`](Self::run), and [`ErrorKind::InvalidInput`] for a beginning with neither.
    ///
    /// # Examples
    ///
    /// ```
    /// # use aft_core::{Aft, Begin, Error, ErrorKind};
    /// # async fn example(aft: &Aft) -> Result<(), Error> {
    /// // The body of the request is remembered: another body under the same key is refused.
    /// let begin = |body: &str| Begin::new().request("order-4711").input(body);
    /// aft.run_with(begin("1 apple"), async |tx| {
    ///     tx.put("order/4711", "1 apple")?;
    ///     Ok("ordered".into())
    /// })
    /// .await?;
    /// let other = aft.run_with(begin("9 pears"), async |_| Ok("ordered".into())).await;
    /// assert_eq!(other.unwrap_err().kind(), ErrorKind::InputMismatch);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run_with<F>(&self, begin: Begin, work: F) -> Result<Run, Error>
    where
        F: AsyncFn(&mut Transaction) -> Result<Bytes, Error>,
    {
        let (mut runs, mut begin) = (Runs::new(self.node(), &begin)?, begin);
        loop {
            let once = async {
                let mut tx = match begun(self.node(), &mut begin).await? {
                    Begun::Finished(run) => return Ok(run),
                    Begun::Open(tx) => *tx,
                };
                let (id, attempt) = (tx.id, tx.attempt);
                let span = tracing::debug_span!("aft.run", txn = %tx.id);
                let result = work(&mut tx).instrument(span).await.map_err(Failed::Around);
                finish(tx, (id, attempt), result).await
            };
            match once.await {
                Ok(run) => return Ok(run),
                Err(failed) => runs.failed(failed).await?,
            }
        }
    }

    /// [`run_with`](Self::run_with) for handlers that are spawned as tasks and have an error of their own: the closure may borrow what is
    /// around it and fail with any error that is made of an [`Error`], as `?` makes it. It gets its transaction as an [`Attempt`], which is
    /// used like a `&mut Transaction`.
    ///
    /// Where the compiler cannot tell the error type (`?` on both sides of it), name it in the closure's last line: `Ok::<_, MyError>(…)`.
    /// The closure is written without `move`: one that owns what it uses cannot be called again.
    ///
    /// # Errors
    /// As [`run_with`](Self::run_with); what `work` returned, as it is. Whether `work` failed for the store's sake, and is run again, is
    /// told by what the transaction itself returned before.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use aft_core::{Aft, Begin, Config};
    /// # use aft_memory::MemoryStorage;
    /// #[derive(Debug)]
    /// enum Refused {
    ///     SoldOut,
    ///     Store(aft_core::Error),
    /// }
    /// impl From<aft_core::Error> for Refused {
    ///     fn from(error: aft_core::Error) -> Self {
    ///         Refused::Store(error)
    ///     }
    /// }
    ///
    /// async fn order(aft: Aft, id: String) -> Result<(), Refused> {
    ///     let begin = Begin::new().request(&id);
    ///     aft.handle(begin, async |mut tx| {
    ///         let left = tx.get("apples").await?.map_or(1, |left| left[0]);
    ///         let left = left.checked_sub(1).ok_or(Refused::SoldOut)?;
    ///         tx.put("apples", [left])?;
    ///         tx.put(format!("order/{id}"), &id)?;
    ///         Ok::<_, Refused>("sold".into())
    ///     })
    ///     .await?;
    ///     Ok(())
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await.unwrap();
    /// tokio::spawn(order(aft.clone(), "1".to_owned())).await.unwrap().unwrap();
    /// let second = tokio::spawn(order(aft, "2".to_owned())).await.unwrap();
    /// assert!(matches!(second, Err(Refused::SoldOut)));
    /// # });
    /// ```
    pub fn handle<'a, F, Fut, E>(&'a self, begin: Begin, work: F) -> BoxFuture<'a, Result<Run, E>>
    where
        F: Fn(Attempt) -> Fut + Send + Sync + 'a,
        Fut: Future<Output = Result<Bytes, E>> + Send + 'a,
        E: From<Error> + Send + 'a,
    {
        async move {
            let (mut runs, mut begin) = (Runs::new(self.node(), &begin)?, begin);
            loop {
                let once = async {
                    let tx = match begun(self.node(), &mut begin).await? {
                        Begun::Finished(run) => return Ok(run),
                        Begun::Open(tx) => *tx,
                    };
                    let (id, attempt) = (tx.id, tx.attempt);
                    let span = tracing::debug_span!("aft.run", txn = %tx.id);
                    let lent = Arc::new(Mutex::new(tx));
                    let tx = Attempt(Arc::clone(&lent).lock_owned().await);
                    let result = work(tx).instrument(span).await.map_err(|error| Failed::Work(error, None));
                    let Some(tx) = Arc::into_inner(lent) else {
                        let message =
                            "the closure kept its transaction after it had ended; nothing was committed";
                        return Err(Error::invalid(message).with_txn(id).into());
                    };
                    finish(tx.into_inner(), (id, attempt), result).await
                };
                match once.await {
                    Ok(run) => return Ok(run),
                    Err(failed) => runs.failed(failed).await?,
                }
            }
        }
        .boxed()
    }
}

/// The transaction of one run of a closure, lent to it by [`Aft::handle`]: used like a `&mut Transaction`. It must not outlive the run.
#[derive(Debug)]
// A lock that nobody waits for: it brings the transaction back when the closure has ended, without a lifetime in the closure's type, which
// is what keeps the compiler from seeing that the closure may move between threads.
pub struct Attempt(OwnedMutexGuard<Transaction>);

impl Deref for Attempt {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        &self.0
    }
}

impl DerefMut for Attempt {
    fn deref_mut(&mut self) -> &mut Transaction {
        &mut self.0
    }
}

/// Commits what a run of the closure did.
async fn finish<E>(
    mut tx: Transaction,
    (id, attempt): (TxnId, u64),
    result: Result<Bytes, Failed<E>>,
) -> Result<Run, Failed<E>> {
    // The closure has a `&mut Transaction`, and so may have put another one in its place.
    if (tx.id, tx.attempt) != (id, attempt) && !planted(Planted::TrustSwappedTransaction) {
        let message = "the closure put another transaction in the place of its own; nothing was committed";
        return Err(Error::invalid(message).with_txn(id).into());
    }
    let result = match result {
        Ok(result) => result,
        Err(Failed::Work(error, _)) => return Err(Failed::Work(error, tx.trouble())),
        Err(failed) => return Err(failed),
    };
    tx.set_result(result)?;
    Ok(Run::of(tx.commit().await?))
}

/// How a run failed.
enum Failed<E> {
    /// By an error of aft.
    Around(Error),
    /// By an error of the closure's own; and the last one that its transaction had returned to it.
    Work(E, Option<Error>),
}

impl<E> From<Error> for Failed<E> {
    fn from(error: Error) -> Self {
        Self::Around(error)
    }
}

/// What a run begins with.
enum Begun {
    Open(Box<Transaction>),
    Finished(Run),
}

async fn begun(node: &Arc<Node>, begin: &mut Begin) -> Result<Begun, Error> {
    let mut tx = node.begin(begin.clone()).await?;
    // Those that run it again are as old as the first.
    begin.since_ms.get_or_insert(tx.id.start_ms());
    Ok(match tx.replay().await? {
        Some(commit) => Begun::Finished(Run::of(commit)),
        None => Begun::Open(Box::new(tx)),
    })
}

impl Run {
    fn of(commit: Commit) -> Self {
        let result = commit.result.unwrap_or_default();
        Self { result, outcome: commit.outcome, receipt: commit.receipt }
    }
}

/// The runs of one request.
struct Runs<'a> {
    node: &'a Arc<Node>,
    waits: Box<dyn Iterator<Item = Duration> + Send + 'a>,
    began: LocalTime,
    conflicts: u32,
    failures: Failures,
}

impl<'a> Runs<'a> {
    fn new(node: &'a Arc<Node>, begin: &Begin) -> Result<Self, Error> {
        if begin.request.is_none() && begin.id.is_none() {
            return Err(Error::invalid(
                "a request is run under a request key or an id; this beginning has neither",
            ));
        }
        let failures = Failures { one_id: begin.id.is_some(), ..Failures::default() };
        let waits = Box::new(backoff(&node.rng, RUN_TRIES - 1));
        Ok(Self { node, waits, began: node.now(), conflicts: 0, failures })
    }

    /// Waits for the next run; the error, where there is none.
    async fn failed<E: From<Error>>(&mut self, failed: Failed<E>) -> Result<(), E> {
        let (error, work) = match failed {
            Failed::Around(error) => (Some(error), None),
            Failed::Work(work, trouble) => (trouble, Some(work)),
        };
        let last = error.as_ref().is_none_or(|error| self.failures.is_final(error));
        if last && !self.failures.settle(self.node).await? {
            return Err(work.or_else(|| error.map(E::from)).unwrap_or_else(|| not_run().into()));
        }
        let error = error.unwrap_or_else(not_run);
        // Who came second has its turn, sooner or later.
        let tried_ms = self.node.now().elapsed_since(self.began);
        let wait = if error.kind() == ErrorKind::Conflict && tried_ms < self.node.limits.lifetime_ms {
            self.conflicts += 1;
            Some(conflict_wait(&self.node.rng, self.conflicts, tried_ms))
        } else {
            self.waits.next()
        };
        tracing::debug!(error = &error as &dyn std::error::Error, ?wait, "running the request again");
        self.failures.add(error);
        match wait {
            Some(wait) => tokio::time::sleep(wait).await,
            None => return Err(self.failures.give_up(work)),
        }
        Ok(())
    }
}

fn not_run() -> Error {
    Error::new(ErrorKind::Unavailable, "the request was not run")
}

/// What went wrong in the runs of a request so far.
#[derive(Default)]
struct Failures {
    last: Option<Error>,
    /// A run whose commit may have happened: until that is settled, no other failure may be reported.
    unknown: Option<Error>,
    expired: u32,
    /// Whether the request is one id, which an abort ends for ever, and not a key, which then leads to the next id.
    one_id: bool,
}

impl Failures {
    /// Whether another run cannot end otherwise.
    fn is_final(&self, error: &Error) -> bool {
        use ErrorKind::{Aborted, Conflict, Expired, OutcomeUnknown, Unavailable, VersionUnavailable};
        match error.kind() {
            // An earlier attempt may have left little time; the next run has all of it.
            Expired => self.expired > 1 || self.one_id,
            Aborted if self.one_id => true,
            Aborted | Conflict | OutcomeUnknown | Unavailable | VersionUnavailable => false,
            _ => true,
        }
    }

    fn add(&mut self, error: Error) {
        self.expired += u32::from(error.kind() == ErrorKind::Expired);
        if error.kind() == ErrorKind::OutcomeUnknown {
            self.unknown = Some(error);
        } else {
            self.last = Some(error);
        }
    }

    /// Settles the run of unknown outcome, so that the final failure can be believed; whether it committed after all.
    async fn settle(&mut self, node: &Arc<Node>) -> Result<bool, Error> {
        let unknown = self.unknown.take().filter(|_| !planted(Planted::BelieveFailure));
        let Some(unknown) = unknown else { return Ok(false) };
        let Some(txn) = unknown.txn_id() else { return Err(unknown) };
        match node.cancel(&node.store, txn).await {
            Ok(Outcome::Committed { .. }) => {
                // The next run replays it; should that fail as well, the commit must not be denied.
                self.unknown = Some(unknown);
                Ok(true)
            }
            Ok(Outcome::Aborted) => Ok(false),
            Ok(Outcome::Undecided | Outcome::Forgotten) | Err(_) => Err(unknown),
        }
    }

    /// What is reported when no run is left.
    fn give_up<E: From<Error>>(&mut self, work: Option<E>) -> E {
        match (self.unknown.take(), work) {
            (Some(unknown), _) => unknown.into(),
            (None, Some(work)) => work,
            (None, None) => self.last.take().unwrap_or_else(not_run).into(),
        }
    }
}
