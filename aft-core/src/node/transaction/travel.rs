//! Transactions that travel: suspended into a token on one node, resumed on any other.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::{Error, ErrorKind};
use crate::format::record::Write;
use crate::format::token::{Suspended, SuspendedWrite};
use crate::node::index::fetch::INDEX_TRIES;
use crate::node::stats::add;
use crate::node::transaction::Transaction;
use crate::node::transaction::begin::{Begin, read_through_newer, travelled_too_long};
use crate::node::transaction::read::{Reads, folded_unknown};
use crate::node::{Aft, Node};
use crate::planted::{Planted, planted};
use crate::protocol::branches::{reads_beyond, restore_reads};
use crate::protocol::read_set::ReadSet;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Found;
use crate::receipt::Receipt;
use crate::token::Token;
use crate::version::Version;

/// Values travel in the token up to this sum; beyond it the largest go to the store. Queues take some 256 KiB.
const INLINE_BYTES: u64 = 64 << 10;

impl Transaction {
    /// Stops here, to go on elsewhere: everything read and written so far, as a [`Token`]. Waits until every large value is in the
    /// store. No other request, unless a request key's claim is still under way.
    ///
    /// From now on others may hold the transaction's id, so that its commit always writes a decision.
    ///
    /// # Errors
    /// [`ErrorKind::Expired`], [`Unavailable`](ErrorKind::Unavailable), [`Denied`](ErrorKind::Denied): the transaction is gone then, and
    /// nothing was committed.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let mut tx = aft.begin().await?;
    /// tx.put("order/4711", "picked")?;
    /// let payload: String = tx.suspend().await?.to_string(); // goes to the next function
    /// # Ok(())
    /// # }
    /// ```
    pub fn suspend(self) -> BoxFuture<'static, Result<Token, Error>> {
        self.suspend_inner().boxed()
    }

    async fn suspend_inner(mut self) -> Result<Token, Error> {
        self.node.check_open()?;
        // Finished by another attempt, it may travel all the same: its commit will say so.
        self.settle_claim().await?;
        self.check_alive()?;
        self.settle_uploads(INLINE_BYTES).await?;
        let (writes, payload) = self.buffer.write_set();
        let mut payload = payload.into_iter();
        let suspend = |(Write { key, value }, writer)| {
            let inline = value.is_inline().then(|| payload.next().unwrap_or_default());
            (key, SuspendedWrite { writer, value, inline })
        };
        let writes = writes.into_iter().zip(self.buffer.writers()).map(suspend).collect();
        let known_until = self.reads.get_mut().known_until();
        let Reads { set: mut reads, base, guarded, .. } = std::mem::take(self.reads.get_mut());
        let read = reads.found().map(Found::receipt);
        let after = self.begin.after.iter().flat_map(Receipt::named);
        let receipts = read.chain(after.map(|(version, decided_by)| Receipt::new(version, decided_by)));
        let age_ms = self.age_ms();
        let mut lineage = self.ancestors;
        lineage.insert(self.attempt);
        Token::new(Suspended {
            store_id: self.node.marker.store_id.clone(),
            txn: self.id,
            age_ms,
            seen_until: known_until.0,
            base,
            request_key: self.begin.request,
            latest: self.begin.latest,
            publish_before_ack: self.begin.publish_before_ack,
            serializable: self.begin.serializable,
            guarded,
            receipts: receipts.map(|receipt| (receipt.version, receipt)).collect(),
            reads: reads
                .iter()
                .map(|(key, version)| (key.clone(), version.unwrap_or(Version::ABSENT)))
                .collect(),
            ranges: reads.ranges().to_vec(),
            floors: reads.unread_floors().collect(),
            writes,
            result: self.result,
            lineage,
        })
    }
}

impl Aft {
    /// Goes on with a suspended transaction, wherever it was suspended: its reads, its writes and its age are as they were. May be
    /// called any number of times with one token, also at once; the first to commit wins, and the others learn its outcome.
    ///
    /// Costs what [`begin`](Self::begin) costs, and one get for each commit that the transaction has read and this node does not know; two lists
    /// and a get where it has read through a newer checkpoint than this node knows.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a token of another store, [`Expired`](ErrorKind::Expired) where the transaction is too old, or
    /// a checkpoint since may have folded what it did not know when it began, and it did not commit;
    /// [`VersionUnavailable`](ErrorKind::VersionUnavailable) where what it has read is not to be had here, or this node cannot read the
    /// checkpoint that it has read through; else as [`begin`](Self::begin).
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft, payload: &str) -> Result<(), aft_core::Error> {
    /// let token: aft_core::Token = payload.parse()?;
    /// let mut tx = aft.resume(&token).await?;
    /// tx.put("invoice/4711", "sent")?;
    /// tx.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resume<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<Transaction, Error>> {
        self.node().resume(&token.state).boxed()
    }
}

impl Node {
    async fn resume(self: &Arc<Self>, state: &Suspended) -> Result<Transaction, Error> {
        self.check_open()?;
        self.check_writable()?;
        if state.store_id != self.marker.store_id {
            let message = format!(
                "the token is of the store {}, and this is {}; resume it where it belongs",
                state.store_id, self.marker.store_id
            );
            return Err(Error::invalid(message).with_txn(state.txn));
        }
        // It committed so long ago that what it read may be folded: it can read nothing more, and its commit is a replay.
        let mut over = self.check_id(state.txn).await? && !planted(Planted::OldTokensNeedReads);
        let receipts: Vec<Receipt> = if over || planted(Planted::ForgetTokenReads) {
            Vec::new()
        } else {
            state.receipts.values().cloned().collect()
        };
        let read_through = if planted(Planted::ForgetTokenBase) { 0 } else { state.base };
        // What it read through a newer checkpoint holds only where that is built on, or one after it: it is there to be found.
        let behind = !over && self.known.base().number() < read_through;
        if behind {
            self.known.look_again();
        }
        let caught_up = self.catch_up(state.latest || behind, &receipts).await;
        caught_up.map_err(|error| error.with_txn(state.txn))?;
        // The checkpoint may have been made while the feed was listed: then it is built on with the next refresh.
        if behind && self.known.read(|known| known.base().number() < read_through && known.looks_next()) {
            self.refresh().await.map_err(|error| error.with_txn(state.txn))?;
        }
        if !over && !planted(Planted::OldTokensNeedReads) {
            let base = self.known.base();
            over = if folded_unknown(&base, StoreTime(state.seen_until)) {
                self.committed_or(state.txn, travelled_too_long(state.txn)).await?
            } else if base.number() < read_through {
                self.committed_or(state.txn, read_through_newer(state.txn, read_through, &base)).await?
            } else {
                // The store may have told by now that it is older than the clocks said.
                self.check_id(state.txn).await?
            };
        }
        let mut begin = Begin::new();
        begin.request.clone_from(&state.request_key);
        begin.latest = state.latest;
        begin.publish_before_ack = state.publish_before_ack || self.config.publish_before_ack;
        begin.serializable = state.serializable;
        begin.after = receipts;
        let mut tx = Transaction::new(Arc::clone(self), state.txn, true, begin);
        tx.restore(state, over).await?;
        add(&self.counters.begun, 1);
        tracing::debug!(txn = %state.txn, "resumed");
        Ok(tx)
    }
}

impl Transaction {
    async fn restore(&mut self, state: &Suspended, over: bool) -> Result<(), Error> {
        self.at_least_as_old_as(state.age_ms);
        let reads = self.reads.get_mut();
        reads.seen_until = StoreTime(state.seen_until);
        reads.shown_until = reads.seen_until;
        reads.base = if planted(Planted::ForgetTokenBase) { 0 } else { state.base };
        self.ancestors.clone_from(&state.lineage);
        // All that is left for it is to be told its outcome: without its read set it reads nothing, as if it were too old by itself.
        if over && !planted(Planted::ReadsWhenOver) {
            self.at_least_as_old_as(self.node.limits.lifetime_ms.saturating_add(1));
        }
        if planted(Planted::ResumeSameAttempt)
            && let Some(attempt) = state.lineage.first()
        {
            self.pass_for(*attempt);
        }
        if !over {
            let set = self.restored_reads(state).await?;
            let reads = self.reads.get_mut();
            reads.set = set;
            reads.guarded.clone_from(&state.guarded);
        }
        for (key, SuspendedWrite { writer, value, inline }) in &state.writes {
            let write = Write { key: key.clone(), value: value.clone() };
            self.buffer.restore(write, *writer, inline.clone());
        }
        self.result.clone_from(&state.result);
        Ok(())
    }

    /// The read set as it was; what the view does not hold is looked up in the index.
    async fn restored_reads(&self, state: &Suspended) -> Result<ReadSet, Error> {
        for _ in 0..INDEX_TRIES {
            let (base, beyond) = self.node.known.read(|known| {
                let beyond: Vec<_> = reads_beyond(state, known.view()).cloned().collect();
                (Arc::clone(known.base()), beyond)
            });
            let rows = match self.node.rows(&self.store, &base, beyond).await {
                Ok(rows) => rows,
                Err(error) => {
                    self.node.recover_index(&base, error).await.map_err(|error| self.named(error))?;
                    continue;
                }
            };
            let rows = rows.iter().map(|(key, row)| (key.clone(), Found::from_row(row))).collect();
            let restored = self.node.known.read(|known| {
                Arc::ptr_eq(known.base(), &base).then(|| restore_reads(state, known.view(), &rows))
            });
            let Some(restored) = restored else { continue };
            let through = self.reads.lock().through(&base, true);
            through.map_err(|refused| self.refused(refused, &base))?;
            return restored.map_err(|cause| {
                let message =
                    "a version that this transaction has read is not to be had any more; run it again as a new transaction";
                Error::new(ErrorKind::VersionUnavailable, message).with_source(cause).with_txn(self.id)
            });
        }
        let message = "the index was replaced again and again while it was read; try again";
        Err(Error::new(ErrorKind::Unavailable, message).with_txn(self.id))
    }
}
