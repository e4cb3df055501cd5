//! What became of a transaction, and giving it up.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::decision::{Decision, Verdict};
use crate::node::Node;
use crate::node::exchange::register::{Committed, Decided, Proposal, RegisterState};
use crate::node::store::Store;
use crate::node::unencodable;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::receipt::Receipt;
use crate::txn_id::TxnId;

/// What became of a transaction: the same answer on every node, until it is forgotten (I10).
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// let id = tx.id();
/// assert_eq!(aft.outcome(id).await?, aft_core::Outcome::Undecided);
/// tx.commit().await?;
/// assert!(matches!(aft.outcome(id).await?, aft_core::Outcome::Committed { .. }));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It committed.
    Committed {
        /// Its receipt.
        receipt: Receipt,
        /// Its stored result.
        result: Option<Bytes>,
    },
    /// It did not commit and never will.
    Aborted,
    /// It has not been decided; it may still commit.
    Undecided,
    /// Nothing of it is recorded, and it is too old to commit. Whether it once did is not known any more.
    Forgotten,
}

impl Node {
    /// Reads what became of a transaction: one get; a list and a get more where it is old and has no decision. What denies a commit that
    /// this node knows of is not believed.
    pub(crate) async fn outcome(self: &Arc<Self>, store: &Store, id: TxnId) -> Result<Outcome, Error> {
        let decision = self.decision_of(id).await?;
        let (looked, known) = self.read_register_surely(store, decision).await?;
        Ok(self.tell(id, looked, known))
    }

    /// The id that the decision of a transaction is named by: its own, but for one that committed in a group. That one has no register: where
    /// this node knows the commit, it knows its group.
    pub(crate) async fn decision_of(self: &Arc<Self>, id: TxnId) -> Result<TxnId, Error> {
        if !id.is_in_group() || planted(Planted::AskTheMember) {
            return Ok(id);
        }
        let look = || {
            self.known.read(|known| {
                let mut commits = known.view().newest_first();
                commits.find(|commit| commit.version.txn == id).map(|commit| commit.decided_by())
            })
        };
        if let Some(group) = look() {
            return Ok(group);
        }
        // It may have been published since the last refresh.
        self.refresh().await?;
        look().ok_or_else(|| {
            let message = "a transaction of this id commits in a group and has no decision of its own, and this node knows no commit of it: \
                           it may be old, or not published yet; ask for its group, which its receipt names (Receipt::decided_by)";
            Error::invalid(message).with_txn(id)
        })
    }

    /// What a caller is told. A commit that this node has told of it shows from now on: whoever was left without an answer, asks, and
    /// begins again would else miss its own writes until a sweep has found them (decision 0072).
    fn tell(&self, id: TxnId, looked: RegisterState, known: Option<StoreTime>) -> Outcome {
        if let RegisterState::Committed { commits, .. } = &looked
            && !planted(Planted::TellUnlearned)
        {
            self.learn(commits.iter().map(|it| Arc::clone(&it.commit)));
        }
        self.outcome_of(id, looked, known)
    }

    /// Reads the register of an id; with the store's time that was known before.
    ///
    /// Nobody says undecided of a commit that was folded and collected. Whoever folded it knew how late it was, and so does whoever
    /// sees the date of that checkpoint. It is looked for where the register is empty and the node's own clock says that this may be why.
    pub(crate) async fn read_register_surely(
        self: &Arc<Self>,
        store: &Store,
        id: TxnId,
    ) -> Result<(RegisterState, Option<StoreTime>), Error> {
        let (looked, known) = self.read_register_late(store, id).await?;
        Ok((self.check_told(store, id, looked).await?, known))
    }

    async fn read_register_late(
        &self,
        store: &Store,
        id: TxnId,
    ) -> Result<(RegisterState, Option<StoreTime>), Error> {
        let known = self.store_time();
        let looked = self.read_register(store, id).await?;
        let latest = StoreTime((self.now().wall_ms + self.limits.skew_ms) / 1000 + 1);
        let unsure = matches!(looked, RegisterState::Empty)
            && !self.is_forgotten(id, known)
            && self.limits.is_forgotten(id.start_ms(), latest);
        if !unsure || planted(Planted::BelieveEmptyRegister) {
            return Ok((looked, known));
        }
        let number = self.known.base().number();
        self.list_manifests(number.saturating_sub(1)).await?;
        let known = self.store_time();
        Ok((self.read_register(store, id).await?, known))
    }

    /// `known`: the store's time before the register was asked. What lands while the answer is on its way may still be in time.
    pub(crate) fn outcome_of(&self, id: TxnId, looked: RegisterState, known: Option<StoreTime>) -> Outcome {
        match looked {
            RegisterState::Committed { commits, .. } => {
                // The id may be the group's: whoever sees its greatest version sees all of it.
                let of_group = |it: &Committed| !id.is_in_group() && it.commit.version.txn.is_in_group();
                let own = commits.into_iter().filter(|it| it.commit.version.txn == id || of_group(it));
                own.max_by_key(|it| it.commit.version).map_or(Outcome::Undecided, |it| Outcome::Committed {
                    receipt: self.receipt(&it.commit),
                    result: it.result,
                })
            }
            RegisterState::Dead { .. } => Outcome::Aborted,
            RegisterState::Forgotten => Outcome::Forgotten,
            RegisterState::Empty if self.is_forgotten(id, known) => Outcome::Forgotten,
            RegisterState::Empty => Outcome::Undecided,
        }
    }

    /// Decides that a transaction aborts, unless it is decided or forgotten already.
    pub(crate) async fn cancel(self: &Arc<Self>, store: &Store, id: TxnId) -> Result<Outcome, Error> {
        self.check_writable()?;
        let decision = self.decision_of(id).await?;
        let (looked, known) = self.read_register_surely(store, decision).await?;
        let outcome = self.tell(id, looked, known);
        if decision != id {
            return Ok(outcome);
        }
        if outcome != Outcome::Undecided {
            return Ok(outcome);
        }
        // Nobody can begin under it yet; and its abort would stay until its time comes, since only that keeps it from committing then.
        if !planted(Planted::CancelTheFuture) {
            self.check_started(id)?;
        }
        let looked = self.fence(store, id, known).await?;
        Ok(self.tell(id, looked, known))
    }

    /// Makes the abort decision of an id that was found undecided, or learns the decision that came first. Nothing is written for a
    /// forgotten id: it can never commit, and whether it once did is not known any more. `known`: the store's time before the register was asked.
    pub(crate) async fn fence(
        &self,
        store: &Store,
        id: TxnId,
        known: Option<StoreTime>,
    ) -> Result<RegisterState, Error> {
        if self.is_forgotten(id, known) {
            return Ok(RegisterState::Forgotten);
        }
        let attempt = self.rng.next();
        if planted(Planted::DirectHasARegister) && id.is_direct() {
            return Ok(RegisterState::Dead { attempt, void: None });
        }
        let decision = Decision { id, attempt, verdict: Verdict::Abort };
        let bytes = decision.encode(&[]).map_err(|cause| unencodable("the abort", cause).with_txn(id))?;
        let proposal = Proposal { id, attempt, clock_ms: id.start_ms(), bytes, since: self.now() };
        match self.decide(store, &proposal).await? {
            Decided::Ours => Ok(RegisterState::Dead { attempt, void: None }),
            Decided::Read(looked) => Ok(looked),
        }
    }

    /// The store's clock is at least there.
    pub(crate) fn store_time(&self) -> Option<StoreTime> {
        let now = self.now();
        self.known.read(|known| known.store_time(now))
    }

    pub(crate) fn is_forgotten(&self, id: TxnId, known: Option<StoreTime>) -> bool {
        let now = self.now();
        let direct = id.direct_name().zip(known);
        direct.is_some_and(|(name, known)| self.limits.direct_is_forgotten(name.time_ms, known))
            || self.known.read(|it| it.is_forgotten(id, known, now))
    }
}
