//! Committing: one create of the decision, which every doubt is settled against (I1, I3, I5).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tracing::field::Empty;

use crate::error::{Error, ErrorKind};
use crate::format::decision::{Decision, Verdict};
use crate::format::record::CommitRecord;
use crate::node::exchange::register::{Committed, Decided, Proposal, RegisterState, commit_of};
use crate::node::spans::noted;
use crate::node::stats::{Cost, add};
use crate::node::transaction::Transaction;
use crate::node::transaction::begin::expired;
use crate::node::unencodable;
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::feed_queue::Publication;
use crate::protocol::knowledge::KnownBy;
use crate::protocol::timeliness::Void;
use crate::protocol::view::{self, Found, Home};
use crate::receipt::{NAMED_AT_MOST, Receipt};
use crate::txn_id::TxnId;
use crate::version::Timestamp;

/// A commit that happened.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// use aft_core::CommitOutcome;
///
/// let id = aft.new_txn_id();
/// for expected in [CommitOutcome::Fresh, CommitOutcome::Replayed] {
///     let mut tx = aft.begin_with(aft_core::Begin::new().id(id)).await?;
///     tx.put("k", "v")?;
///     assert_eq!(tx.commit().await?.outcome, expected);
/// }
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Commit {
    /// Proof of the commit, for whoever must see it. That of a transaction that wrote nothing names what it read, as far as others may
    /// not know it yet: whoever begins after it, on any node, sees at least as much. Where it read nothing, the receipt names nothing, and
    /// whoever begins after it need see nothing.
    pub receipt: Receipt,
    /// Whether this attempt made the commit.
    pub outcome: CommitOutcome,
    /// The stored result: of the attempt that won.
    pub result: Option<Bytes>,
    /// The requests that the transaction sent itself, from its begin to now; [`Cost`] says what is counted and what is shared.
    pub cost: Cost,
}

/// Whether a commit was made by this attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitOutcome {
    /// This attempt made it.
    Fresh,
    /// Another attempt of the same transaction had made it; this one's writes were dropped.
    Replayed,
}

/// How a commit ended, in one word.
pub(crate) const fn ended_as(commit: &Commit) -> &'static str {
    match commit.outcome {
        CommitOutcome::Fresh => "fresh",
        CommitOutcome::Replayed => "replayed",
    }
}

/// The receipt of a read-only transaction names so many commits before it asks for a refresh instead: one list in place of as many gets.
const NAMED_BEFORE_REFRESH: usize = 16;

/// For a receipt that would have to name more commits than one can.
fn unnamed(commits: usize) -> Error {
    let message = format!(
        "it read {commits} commits that nobody has published yet, more than a receipt names, and this node could not publish them; run it \
         again once their nodes have, within seconds"
    );
    Error::new(ErrorKind::Unavailable, message)
}

/// What is about to be committed.
struct Draft {
    record: CommitRecord,
    payload: Vec<Bytes>,
}

impl Transaction {
    /// Commits: makes every write visible at once, or none. One create request for any number of keys, and one get where the node's
    /// clock is not verified. Where many commit at once several may share that request
    /// ([`Config::decisions_in_flight`](crate::Config::decisions_in_flight)); an `OutcomeUnknown` then bears the id of their group. When it returns `Ok`, the commit survives the death of every process.
    ///
    /// # Errors
    /// None of the writes happened with [`Aborted`](ErrorKind::Aborted), [`Expired`](ErrorKind::Expired),
    /// [`ClockSkew`](ErrorKind::ClockSkew), [`Unavailable`](ErrorKind::Unavailable), [`Denied`](ErrorKind::Denied),
    /// [`Unsupported`](ErrorKind::Unsupported) and [`Closed`](ErrorKind::Closed). All happened with
    /// [`Unpublished`](ErrorKind::Unpublished). With [`OutcomeUnknown`](ErrorKind::OutcomeUnknown) nobody knows yet:
    /// [`Aft::outcome`](crate::Aft::outcome) settles it.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("alice", "90")?;
    /// tx.put("bob", "10")?;
    /// let commit = tx.commit().await?;
    /// assert_eq!(commit.outcome, aft_core::CommitOutcome::Fresh);
    /// println!("{} for {} requests", commit.receipt, commit.cost.requests());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[cfg_attr(not(feature = "metrics"), allow(unused_mut, reason = "it is asked whether it wrote"))]
    pub fn commit(mut self) -> BoxFuture<'static, Result<Commit, Error>> {
        let span = tracing::debug_span!(
            "aft.commit",
            txn = %self.id,
            keys = self.buffer.keys().count(),
            bytes = self.buffer.record_bytes(),
            requests = Empty,
            outcome = Empty,
        );
        #[cfg(feature = "metrics")]
        let timed = crate::node::metrics::TimedCommit::begin(&mut self);
        let committed = noted(span, self.commit_inner(), |span, commit| {
            span.record("requests", commit.cost.requests());
            ended_as(commit)
        });
        #[cfg(feature = "metrics")]
        let committed = committed.inspect(|result| {
            if let Some(timed) = timed {
                timed.end(result);
            }
        });
        committed.boxed()
    }

    async fn commit_inner(mut self) -> Result<Commit, Error> {
        self.node.check_open()?;
        if let Some(own) = self.settle_claim().await? {
            return self.replayed(own).await;
        }
        if self.only_reads() {
            self.check_alive()?;
            return self.read_only_commit().await;
        }
        self.node.check_writable()?;
        if !planted(Planted::NoExpiryCheck)
            && let Err(error) = self.check_alive()
        {
            return self.too_old(error).await;
        }
        if let Some(own) = self.told_before().await? {
            return self.replayed(own).await;
        }
        self.wait_for_room().await?;
        self.settle_uploads(u64::MAX).await?;
        if self.is_guarded()
            && let Err(error) = self.make_guards().await
        {
            return self.not_guarded(error).await;
        }
        if self.may_share() { self.commit_in_turn().await } else { self.decide_alone().await }
    }

    /// Whether there is nothing to decide.
    pub(crate) fn only_reads(&mut self) -> bool {
        self.buffer.is_empty() && self.result.is_none() && !self.shared && !self.is_guarded()
    }

    /// Makes the decision of this transaction alone.
    pub(crate) async fn decide_alone(self) -> Result<Commit, Error> {
        let (draft, proposal) = match self.draft() {
            Ok(drafted) => drafted,
            Err(error) if error.kind() == ErrorKind::Expired => return self.too_old(error).await,
            Err(error) => return Err(error),
        };
        self.plant_before_decision(&draft).await;
        match self.node.decide(&self.store, &proposal).await? {
            Decided::Ours => {
                let inline_offset = (proposal.bytes.len() as u64).saturating_sub(draft.record.inline_len());
                let home = Home::Decision { inline_offset };
                let commit = Arc::new(view::Commit::new(&draft.record, self.id, home));
                self.acknowledge(&commit, draft).await
            }
            Decided::Read(looked) => self.read_decision(looked, draft).await,
        }
    }

    /// For planted bugs: what must only happen once the decision is made.
    async fn plant_before_decision(&self, draft: &Draft) {
        if planted(Planted::PublishBeforeDecision) {
            let commit =
                Arc::new(view::Commit::new(&draft.record, self.id, Home::Decision { inline_offset: 0 }));
            self.node.enqueue(Publication::new(commit, None, &draft.payload));
        }
        if planted(Planted::CacheBeforeDecision) {
            for (ordinal, value) in (0u32..).zip(self.buffer.values()) {
                if let Some(value) = value {
                    self.node.cache.put((self.id, ordinal), value).await;
                }
            }
        }
    }

    async fn read_only_commit(&mut self) -> Result<Commit, Error> {
        let receipt = self.receipt_of_reads().await.map_err(|error| self.named(error))?;
        Ok(Commit { receipt, outcome: CommitOutcome::Fresh, result: None, cost: self.cost() })
    }

    /// The receipt of what was read: whoever begins after it sees at least as much. It names the newest commit, and each that a node
    /// may not know though its last refresh is as old as one may be. Where there are too many of those, whoever begins after it
    /// refreshes first, and it names those that no feed object carries. Where even those are more than can be named, this node publishes them.
    async fn receipt_of_reads(&mut self) -> Result<Receipt, Error> {
        // Taken, not copied: a scan may have read millions of keys, and nothing is read any more.
        let reads = std::mem::take(&mut self.reads.get_mut().set);
        let node = &self.node;
        let Some(newest) = reads.found().max_by_key(|found| found.version()) else {
            return Ok(Receipt::NOTHING);
        };
        let mut receipt = newest.receipt().of_store(&node.marker.store_id);
        if planted(Planted::ReceiptNamesNewest) {
            return Ok(receipt);
        }
        let older = |by: KnownBy| {
            let unknown = node.not_known(reads.found().filter_map(Found::commit), by);
            unknown.into_iter().rev().filter(|(version, _)| *version != newest.version()).collect::<Vec<_>>()
        };
        receipt.older = older(KnownBy::Everyone);
        if receipt.older.len() < NAMED_BEFORE_REFRESH {
            return Ok(receipt);
        }
        receipt.latest = true;
        receipt.older = older(KnownBy::WhoRefreshes);
        if receipt.older.len() < NAMED_BEFORE_REFRESH {
            return Ok(receipt);
        }
        // This node's own, that is; there are few others.
        let published = node.publish().await;
        receipt.older = older(KnownBy::WhoRefreshes);
        if receipt.older.len() < NAMED_AT_MOST {
            return Ok(receipt);
        }
        published?;
        if planted(Planted::ReceiptLeavesOut) {
            receipt.older.truncate(NAMED_AT_MOST - 1);
            return Ok(receipt);
        }
        // Their nodes may have published them by now.
        node.refresh().await?;
        receipt.older = older(KnownBy::WhoRefreshes);
        if receipt.older.len() >= NAMED_AT_MOST {
            let decisions = receipt.older.iter().map(|(_, decided_by)| *decided_by).collect();
            self.publish_for_others(decisions).await?;
            receipt.older = older(KnownBy::WhoRefreshes);
        }
        if receipt.older.len() < NAMED_AT_MOST { Ok(receipt) } else { Err(unnamed(receipt.older.len())) }
    }

    /// Publishes commits of other nodes that this transaction read and nobody is known to have published: their nodes may have died, and
    /// whoever hands them on answers for them (decision 0018).
    async fn publish_for_others(&self, decisions: BTreeSet<TxnId>) -> Result<(), Error> {
        let node = &self.node;
        node.check_writable().map_err(|cause| unnamed(decisions.len()).with_source(cause))?;
        let looks = decisions
            .into_iter()
            .map(|id| async move { (id, node.read_register(&self.store, id).await) }.boxed());
        let looks: Vec<_> = looks.collect();
        let mut looks = futures::stream::iter(looks).buffered(node.config.parallel_requests);
        while let Some((id, looked)) = looks.next().await {
            let looked = looked?;
            // It may have been folded and collected just now.
            let looked = node.check_told(&self.store, id, looked).await?;
            let RegisterState::Committed { commits, .. } = looked else { continue };
            node.enqueue_all(
                commits.into_iter().map(|it| Publication::new(it.commit, it.request_key, &it.payload)),
            );
        }
        node.publish().await
    }

    /// It came second; but under a shared id another attempt may have committed.
    async fn not_guarded(self, error: Error) -> Result<Commit, Error> {
        if !self.shared || error.kind() != ErrorKind::Conflict {
            return Err(error);
        }
        let looked = self.node.read_register(&self.store, self.id).await?;
        match self.node.check_told(&self.store, self.id, looked).await? {
            RegisterState::Committed { commits, .. } => self.replayed(commit_of(self.id, commits)?).await,
            RegisterState::Dead { attempt, void: Some(void) } => Err(self.dead(attempt, Some(void))),
            // Aborted, perhaps by a third one: that changes nothing for this attempt.
            RegisterState::Dead { void: None, .. } | RegisterState::Empty | RegisterState::Forgotten => {
                Err(error)
            }
        }
    }

    /// An expired transaction cannot commit; but under a shared id it may have committed before.
    async fn too_old(self, error: Error) -> Result<Commit, Error> {
        if !self.shared || error.kind() != ErrorKind::Expired {
            return Err(error);
        }
        let looked = self.node.read_register(&self.store, self.id).await?;
        let looked = self.node.check_told(&self.store, self.id, looked).await?;
        let RegisterState::Committed { commits, .. } = looked else { return Err(error) };
        self.replayed(commit_of(self.id, commits)?).await
    }

    /// Its own commit, where this node knows that another attempt made one: a decision would be made where that one was lost.
    async fn told_before(&self) -> Result<Option<Committed>, Error> {
        if !self.shared || self.node.told(self.id).is_none() {
            return Ok(None);
        }
        let looked = self.node.read_register(&self.store, self.id).await?;
        match self.node.check_told(&self.store, self.id, looked).await? {
            RegisterState::Committed { commits, .. } => commit_of(self.id, commits).map(Some),
            _ => Ok(None),
        }
    }

    /// Commits that cannot be published must not gather without bound.
    async fn wait_for_room(&self) -> Result<(), Error> {
        if !self.node.feed.lock().is_full() {
            return Ok(());
        }
        self.node.publish().await.map_err(|error| {
            error.wrapped("nothing was committed: earlier commits wait for publication and fill the memory for that").with_txn(self.id)
        })
    }

    /// Waits until every value that does not travel in the record is durable (I3).
    pub(crate) async fn settle_uploads(&mut self, max_inline_bytes: u64) -> Result<(), Error> {
        let mut next = self.next_object();
        let mut name = || {
            next += 1;
            next
        };
        let mut moved = self.buffer.spill(self.node.config.max_record_bytes, &mut name);
        moved.extend(self.buffer.spill_to(max_inline_bytes, name));
        for (n, value) in moved {
            self.upload(n, value);
        }
        if planted(Planted::AckBeforeUpload) {
            self.uploads.detach();
            return Ok(());
        }
        let needed: Vec<_> = self.buffer.objects().collect();
        self.uploads.finish(needed.into_iter()).await
    }

    /// Takes the version and encodes the decision. The version is taken last, after every wait, so that the in-time rule
    /// judges the moment that counts (HAZARDS 4).
    fn draft(&self) -> Result<(Draft, Proposal), Error> {
        if !planted(Planted::DecideAfterClose) {
            self.node.check_open().map_err(|error| self.named(error))?;
        }
        self.node.check_clock().map_err(|error| self.named(error))?;
        let since = self.node.now();
        let clock = self.reading(since);
        if planted(Planted::KeepEveryReading) {
            self.node.known.write(|known| known.keep_reading(clock));
        }
        let lifetime_ms = self.node.limits.lifetime_ms;
        if planted(Planted::NoExpiryCheck) {
            return self.draft_at(clock, since);
        }
        if self.age_ms() > lifetime_ms || clock.ms().saturating_sub(self.id.start_ms()) > lifetime_ms {
            return Err(expired(self.id, lifetime_ms));
        }
        self.draft_at(clock, since)
    }

    /// The clock of its version, were it taken now.
    pub(crate) fn reading(&self, now: LocalTime) -> Timestamp {
        let read = self.reads.lock().set.greatest().clock;
        self.node.known.read(|known| known.reading(now, self.id.start_ms(), read))
    }

    fn draft_at(&self, clock: Timestamp, since: LocalTime) -> Result<(Draft, Proposal), Error> {
        let (record, payload) = self.record(self.id, clock);
        let verdict = Verdict::Commit(vec![record.clone()]);
        let decision = Decision { id: self.id, attempt: self.attempt, verdict };
        let bytes = decision
            .encode(&payload)
            .map_err(|cause| unencodable("the transaction", cause).with_txn(self.id))?;
        let proposal = Proposal { id: self.id, attempt: self.attempt, clock_ms: clock.ms(), bytes, since };
        Ok((Draft { record, payload }, proposal))
    }

    /// What it commits, under this id, with the version of this clock; and the values beside it.
    pub(crate) fn record(&self, txn: TxnId, clock: Timestamp) -> (CommitRecord, Vec<Bytes>) {
        let (writes, payload) = self.buffer.write_set();
        let record = CommitRecord {
            txn,
            clock,
            request_key: self.begin.request.clone(),
            result: self.result.as_ref().map(|(_, result)| result.clone()),
            guards: self.guards.clone(),
            writes,
        };
        (record, payload)
    }

    /// The decision was read back: it is ours, another attempt's, or dead.
    async fn read_decision(self, looked: RegisterState, draft: Draft) -> Result<Commit, Error> {
        match self.node.check_told(&self.store, self.id, looked).await? {
            RegisterState::Committed { attempt, commits } => {
                let own = commit_of(self.id, commits)?;
                if planted(Planted::AcceptForeignDecision) && attempt != self.attempt {
                    let commit = Arc::new(view::Commit::new(&draft.record, self.id, own.commit.home()));
                    return self.acknowledge(&commit, draft).await;
                }
                if attempt == self.attempt && !planted(Planted::DisownDecision) {
                    return self.acknowledge(&own.commit, draft).await;
                }
                tracing::debug!(txn = %self.id, "another attempt committed first");
                self.replayed(own).await
            }
            RegisterState::Dead { attempt, void } => Err(self.dead(attempt, void)),
            RegisterState::Empty | RegisterState::Forgotten => {
                let message = "what was decided is not recorded any more; ask Aft::outcome with this id";
                Err(Error::new(ErrorKind::OutcomeUnknown, message).with_txn(self.id))
            }
        }
    }

    /// Another attempt's commit is acknowledged here, so this node answers for it: whoever made it may have died before it was
    /// published.
    pub(crate) async fn replayed(&self, own: Committed) -> Result<Commit, Error> {
        let node = &self.node;
        add(&node.counters.replays, 1);
        node.learn([Arc::clone(&own.commit)]);
        let receipt = node.receipt(&own.commit);
        if !node.known.read(|known| known.is_published(own.commit.decided_by())) {
            node.enqueue(Publication::new(own.commit, own.request_key, &own.payload));
            self.publish_acknowledged(&receipt).await?;
        }
        Ok(Commit { receipt, outcome: CommitOutcome::Replayed, result: own.result, cost: self.cost() })
    }

    /// Publishes before the ack where that was asked for; else when it is due.
    async fn publish_acknowledged(&self, receipt: &Receipt) -> Result<(), Error> {
        let node = &self.node;
        let direct = receipt.decided_by().is_direct();
        if self.begin.publish_before_ack && !direct {
            return node.publish().await.map_err(|error| {
                let message = format!("committed as {receipt}, but not published yet; do not run it again");
                let error = Error::new(ErrorKind::Unpublished, message).with_source(error);
                error.with_txn(receipt.txn_id()).with_receipt(receipt.clone())
            });
        }
        // The commit is queued: either whoever closes the node finds it there, or this finds the node closed.
        let closed = node.check_open().is_err() && !planted(Planted::CloseLeavesCommits);
        let published = if closed { node.publish().await } else { node.keep_publishing().await };
        if let Err(error) = published {
            tracing::warn!(error = &error as &dyn std::error::Error, "publishing failed; the commits wait");
        }
        Ok(())
    }

    pub(crate) fn dead(&self, attempt: u64, void: Option<Void>) -> Error {
        let ours = attempt == self.attempt;
        let message = match void {
            Some(Void::ClockAhead) if ours => return self.version_ahead(),
            Some(Void::Late) if ours => {
                "its decision landed later than the commit deadline and does not count; nothing was committed; run it again as a new transaction"
            }
            Some(_) => {
                "its decision was out of time and does not count; nothing was committed; run it again as a new transaction"
            }
            None if !self.guards.is_empty() => {
                let message = "it was aborted, most often by another transaction that guards a key which this one guards; nothing was committed; run it again as a new transaction";
                return Error::new(ErrorKind::Conflict, message).with_txn(self.id);
            }
            None => "it was aborted; nothing was committed; run it again as a new transaction",
        };
        Error::new(ErrorKind::Aborted, message).with_txn(self.id)
    }

    /// Its version was further ahead of the store's clock than any clock may be: by now the decision's date tells whether it was this
    /// machine's.
    fn version_ahead(&self) -> Error {
        if let Err(error) = self.node.check_clock() {
            return error.with_txn(self.id);
        }
        let message = format!(
            "its version was more than {} ms ahead of the store's clock, and does not count: its id starts in the future ({} ms ahead of this \
             machine's clock), or this machine's clock was ahead; nothing was committed; run it again as a new transaction",
            self.node.limits.skew_ms,
            self.id.start_ms().saturating_sub(self.node.now().wall_ms),
        );
        Error::new(ErrorKind::ClockSkew, message).with_txn(self.id)
    }

    /// The commit is decided and in time: index it, fill the cache, queue it for the feed.
    async fn acknowledge(self, commit: &Arc<view::Commit>, draft: Draft) -> Result<Commit, Error> {
        let node = &self.node;
        let publication = Publication::new(Arc::clone(commit), draft.record.request_key, &draft.payload);
        node.learn([Arc::clone(commit)]);
        node.enqueue(publication);
        add(&node.counters.commits, 1);
        self.acknowledged(commit, draft.record.result).await
    }

    /// The commit is in the view and queued for the feed: what is left before its caller is told.
    pub(crate) async fn acknowledged(
        &self,
        commit: &view::Commit,
        result: Option<Bytes>,
    ) -> Result<Commit, Error> {
        let (node, txn) = (&self.node, commit.version.txn);
        for (ordinal, value) in (0u32..).zip(self.buffer.values()) {
            if let Some(value) = value {
                node.cache.put((txn, ordinal), value).await;
            }
        }
        let receipt = node.receipt(commit);
        tracing::debug!(%txn, version = %commit.version, "committed");
        self.publish_acknowledged(&receipt).await?;
        Ok(Commit { receipt, outcome: CommitOutcome::Fresh, result, cost: self.cost() })
    }
}
