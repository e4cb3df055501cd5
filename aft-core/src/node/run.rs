//! Running a request to its end: exactly once, with a stored result, whatever fails on the way.

use bytes::Bytes;
use tracing::Instrument;

use crate::error::{Error, ErrorKind};
use crate::node::begin::Begin;
use crate::node::commit::{Commit, CommitOutcome};
use crate::node::outcome::Outcome;
use crate::node::store::backoff;
use crate::node::transaction::Transaction;
use crate::node::{Aft, Node};
use crate::planted::{Planted, planted};
use crate::receipt::Receipt;

/// A finished request; from [`Aft::run`].
#[derive(Debug, Clone)]
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
    /// closure which borrows may move between threads.
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
    pub async fn run_with<F>(&self, begin: Begin, work: F) -> Result<Run, Error>
    where
        F: AsyncFn(&mut Transaction) -> Result<Bytes, Error>,
    {
        if begin.request.is_none() && begin.id.is_none() {
            return Err(Error::invalid(
                "a request is run under a request key or an id; this beginning has neither",
            ));
        }
        let node = self.node();
        let mut failures = Failures { one_id: begin.id.is_some(), ..Failures::default() };
        for wait in backoff(&node.rng, RUN_TRIES) {
            let error = match self.run_once(begin.clone(), &work).await {
                Ok(commit) => {
                    let result = commit.result.unwrap_or_default();
                    return Ok(Run { result, outcome: commit.outcome, receipt: commit.receipt });
                }
                Err(error) => error,
            };
            if failures.is_final(&error) && !failures.settle(node).await? {
                return Err(error);
            }
            tracing::debug!(error = &error as &dyn std::error::Error, ?wait, "running the request again");
            failures.add(error);
            tokio::time::sleep(wait).await;
        }
        Err(failures.into_error())
    }

    async fn run_once<F>(&self, begin: Begin, work: &F) -> Result<Commit, Error>
    where
        F: AsyncFn(&mut Transaction) -> Result<Bytes, Error>,
    {
        let mut tx = self.node().begin(begin).await?;
        if let Some(finished) = tx.replay().await? {
            return Ok(finished);
        }
        let span = tracing::debug_span!("run", txn = %tx.id());
        let result = work(&mut tx).instrument(span).await?;
        tx.set_result(result)?;
        tx.commit().await
    }
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
    async fn settle(&mut self, node: &Node) -> Result<bool, Error> {
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

    fn into_error(self) -> Error {
        let none = || Error::new(ErrorKind::Unavailable, "the request was not run");
        self.unknown.or(self.last).unwrap_or_else(none)
    }
}
