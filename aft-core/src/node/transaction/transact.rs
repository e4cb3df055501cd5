//! Running a transaction until it commits, where nothing but the transaction itself need happen once.

use tracing::Instrument;

use crate::error::{Error, ErrorKind};
use crate::node::Aft;
use crate::node::store::backoff;
use crate::node::transaction::Transaction;
use crate::node::transaction::begin::Begin;
use crate::node::transaction::contention::conflict_wait;

/// Runs of a closure before giving up, beside those that met a conflict: about 20 s of waiting between them.
const TRANSACT_TRIES: u32 = 16;

impl Aft {
    /// Runs a transaction until it commits: `work` reads and writes in the transaction it is given, which is committed when it returns `Ok`, and run again, as a new
    /// one, after a [`Conflict`](ErrorKind::Conflict), as long as a [transaction lifetime](crate::Config::transaction_lifetime) has not passed since the first run, and up to 15 times
    /// after what may pass and has committed nothing. Each run is as old as the first, and of transactions that contend for a [guarded](Transaction::get_guarded) key those go first that are older
    /// by two seconds; whoever has the key rests now and then, so that others have their turn (decision 0073). A transaction that takes longer from its reads to its commit than others take to commit may still lose every time. Waits after a conflict are random and at most 320 ms, others 25 ms at first, doubled up to 2 s.
    ///
    /// Under no request key: where nobody knows whether it committed, that is the error, and it is not run again. A job that may be delivered twice is
    /// for [`run`](Self::run).
    ///
    /// # Errors
    /// What `work` returned, where running it again does not help; [`OutcomeUnknown`](ErrorKind::OutcomeUnknown): it may have committed; the last error, where no run is left. Nothing was
    /// committed with any other.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let add = async || {
    ///     aft.transact(async |tx| {
    ///         let n = tx.get_guarded("n").await?.map_or(0, |n| n[0]) + 1;
    ///         tx.put("n", [n])?;
    ///         Ok(n)
    ///     })
    ///     .await
    /// };
    /// let (one, two) = futures::join!(add(), add());
    /// assert_eq!(one?.max(two?), 2, "none of them was lost");
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn transact<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: AsyncFn(&mut Transaction) -> Result<T, Error>,
    {
        self.transact_with(Begin::new(), work).await
    }

    /// [`transact`](Self::transact) of transactions that say how they begin: [serializable](Begin::serializable), after receipts, with the latest
    /// commits.
    ///
    /// # Errors
    /// As [`transact`](Self::transact), and [`InvalidInput`](ErrorKind::InvalidInput) for a beginning with an id or a request key: those are
    /// [run](Self::run_with).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let begin = aft_core::Begin::new().serializable();
    /// let left = aft.transact_with(begin, async |tx| Ok(tx.get("left").await?)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn transact_with<T, F>(&self, begin: Begin, work: F) -> Result<T, Error>
    where
        F: AsyncFn(&mut Transaction) -> Result<T, Error>,
    {
        if begin.id.is_some() || begin.request.is_some() {
            let message = "a beginning with an id or a request key is for Aft::run_with";
            return Err(Error::invalid(message));
        }
        let (node, mut begin) = (self.node(), begin);
        let mut waits = backoff(&node.rng, TRANSACT_TRIES - 1);
        let (began, mut conflicts) = (node.now(), 0);
        loop {
            let once = async {
                let mut tx = node.begin(begin.clone()).await?;
                begin.since_ms.get_or_insert(tx.id.start_ms());
                let (id, attempt) = (tx.id, tx.attempt);
                let span = tracing::debug_span!("aft.transact", txn = %id);
                let value = work(&mut tx).instrument(span).await?;
                if (tx.id, tx.attempt) != (id, attempt) {
                    let message =
                        "the closure put another transaction in the place of its own; nothing was committed";
                    return Err(Error::invalid(message).with_txn(id));
                }
                tx.commit().await.map(|_| value)
            };
            let error = match once.await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let tried_ms = node.now().elapsed_since(began);
            if error.kind() == ErrorKind::Conflict && tried_ms < node.limits.lifetime_ms {
                tokio::time::sleep(conflict_wait(&node.rng, conflicts, tried_ms)).await;
                conflicts += 1;
                continue;
            }
            use ErrorKind::{Aborted, Expired, Unavailable, VersionUnavailable};
            let again = matches!(error.kind(), Aborted | Expired | Unavailable | VersionUnavailable);
            let Some(wait) = waits.next().filter(|_| again) else { return Err(error) };
            tracing::debug!(error = &error as &dyn std::error::Error, ?wait, "running the transaction again");
            tokio::time::sleep(wait).await;
        }
    }
}
