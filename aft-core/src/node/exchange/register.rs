//! The decision register: a write-once object per transaction (I1, I2).
//!
//! A `create` whose effect is unknown may have landed, may land later, or never; and an `AlreadyExists` may be the store's word for
//! this very call's own success, or for a conflict without effect. So every decision carries the random number of
//! its writer's attempt, every doubt is settled by reading back and comparing, and "not found" settles nothing: the
//! create is made again, with the same bytes, until one of the two answers.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::format::decision::{Decision, Decoded, Verdict};
use crate::format::name::{FeedName, ObjectName};
use crate::format::record::{CommitRecord, Guard};
use crate::node::store::{Store, backoff, retry_read};
use crate::node::write_once::Tried;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::knowledge::Knowledge;
use crate::protocol::timeliness::{StoreTime, Void};
use crate::protocol::view::{Commit, Home};
use crate::storage::{Object, StorageError};
use crate::txn_id::TxnId;
use crate::version::Version;

/// What a register says, judged by the in-time rule.
#[derive(Debug)]
pub(crate) enum RegisterState {
    /// Nothing yet, or nothing any more.
    Empty,
    /// An abort, or a void commit, that was dated when the id was forgotten already: it says no more than that.
    Forgotten,
    /// An abort, or a commit that is void.
    Dead { attempt: u64, void: Option<Void> },
    /// Commits, one or a group.
    Committed { attempt: u64, commits: Vec<Committed> },
}

/// A committed transaction as its decision tells it.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) commit: Arc<Commit>,
    pub(crate) result: Option<Bytes>,
    pub(crate) request_key: Option<Bytes>,
    /// The guards that it holds.
    pub(crate) guards: Vec<Guard>,
    /// Its inline values, as slices of the decision object.
    pub(crate) payload: Vec<Bytes>,
}

/// The commit of this transaction among those of its decision.
pub(crate) fn commit_of(txn: TxnId, commits: Vec<Committed>) -> Result<Committed, Error> {
    commits.into_iter().find(|it| it.commit.version.txn == txn).ok_or_else(|| {
        let message = "its decision commits other transactions; the store is damaged";
        Error::new(ErrorKind::Corrupt, message).with_txn(txn)
    })
}

/// How an attempt to decide ended.
#[derive(Debug)]
pub(crate) enum Decided {
    /// Our decision is there, and in time beyond doubt.
    Ours,
    /// A decision is there, and was read: ours or another's.
    Read(RegisterState),
}

/// A decision that is to be made.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) id: TxnId,
    pub(crate) attempt: u64,
    /// The version's clock; for an abort the id's start: the younger the id, the surer it is that it was not forgotten.
    pub(crate) clock_ms: u64,
    pub(crate) bytes: Bytes,
    /// When the version was taken: the time for deciding is counted from here.
    pub(crate) since: LocalTime,
}

/// Tries before a decision is given up as unknown: the commit deadline ends it earlier, unless the
/// node's clocks stand still.
const DECIDE_TRIES: u32 = 100;

impl Node {
    /// Makes a decision, or learns the one that was made.
    pub(crate) async fn decide(&self, store: &Store, proposal: &Proposal) -> Result<Decided, Error> {
        let path = self.path(ObjectName::Decision(proposal.id));
        let first_sent = self.now();
        // Whether one of our creates may have landed or may still land.
        let mut in_doubt = false;
        let mut last = StorageError::unavailable(path.clone());
        for wait in backoff(&self.rng, DECIDE_TRIES) {
            let sent = self.now();
            match store.try_create(&path, proposal.bytes.clone()).await {
                Ok(Tried::Made) if self.is_sure(proposal, sent) => return Ok(Decided::Ours),
                Ok(Tried::InDoubt(_)) if planted(Planted::SkipReadBack) => return Ok(Decided::Ours),
                Ok(tried) => {
                    in_doubt |= tried.may_be_there();
                    if let Tried::InDoubt(error) | Tried::NotNow(error) = tried {
                        last = error;
                    }
                }
                Err(error) => return Err(undecided(proposal.id, in_doubt, error)),
            }
            if in_doubt {
                match store.get(&path).await {
                    Ok(object) => {
                        return self.read_back(&path, proposal, first_sent, object).map(Decided::Read);
                    }
                    Err(error) if error.is_transient() => last = error,
                    Err(StorageError::NotFound { .. }) if planted(Planted::TrustNotFound) => {
                        return Err(undecided(proposal.id, false, last));
                    }
                    // Not found settles nothing: what was sent may still land.
                    Err(StorageError::NotFound { .. }) => {}
                    Err(error) if error.is_too_large().is_some() => {
                        return Err(Error::storage("reading the decision back", error).with_txn(proposal.id));
                    }
                    Err(error) => return Err(undecided(proposal.id, true, error)),
                }
            }
            let elapsed = self.now().elapsed_since(proposal.since);
            if elapsed > self.limits.deadline_ms {
                break;
            }
            if proposal.id.is_direct() && !in_doubt && elapsed > self.limits.publish_ms {
                // Nothing is there, and what is made now does not count.
                let void = Some(Void::Late);
                return Ok(Decided::Read(RegisterState::Dead { attempt: proposal.attempt, void }));
            }
            tracing::debug!(txn = %proposal.id, error = %last, ?wait, "decision not settled, trying again");
            tokio::time::sleep(wait).await;
        }
        Err(undecided(proposal.id, in_doubt, last))
    }

    /// Whether a decision whose create returned Ok needs no reading back.
    fn is_sure(&self, proposal: &Proposal, sent: LocalTime) -> bool {
        if planted(Planted::NeverVerify) {
            return true;
        }
        let answered = self.now();
        let direct = proposal.id.direct_name();
        let sure = |known: &Knowledge| {
            let published = |name: FeedName| known.feed_surely_in_time(name.time_ms, sent, answered);
            known.surely_in_time(proposal.clock_ms, sent, answered) && direct.is_none_or(published)
        };
        !self.config.verify_every_commit && self.known.read(sure)
    }

    fn read_back(
        &self,
        path: &str,
        proposal: &Proposal,
        sent: LocalTime,
        object: Object,
    ) -> Result<RegisterState, Error> {
        let last_modified = StoreTime::of(object.last_modified);
        let looked = self.judge(path, proposal.id, object)?;
        let (RegisterState::Dead { attempt, .. } | RegisterState::Committed { attempt, .. }) = &looked else {
            return Ok(looked);
        };
        if *attempt == proposal.attempt {
            let answered = self.now();
            self.known.write(|known| known.measure(sent, answered, last_modified));
        }
        Ok(looked)
    }

    /// Reads the register of an id.
    pub(crate) async fn read_register(&self, store: &Store, id: TxnId) -> Result<RegisterState, Error> {
        let path = self.path(ObjectName::Decision(id));
        match retry_read(&self.rng, || store.get(&path)).await {
            Ok(mut object) => {
                if planted(Planted::NoInTimeRule) {
                    object.last_modified = forged_date(&object);
                }
                self.judge(&path, id, object)
            }
            Err(StorageError::NotFound { .. }) => Ok(RegisterState::Empty),
            Err(error) => Err(Error::storage("reading the transaction's decision", error).with_txn(id)),
        }
    }

    /// The in-time rule, applied to a decision object: a pure function of the object and its date, the same on every node.
    pub(crate) fn judge(&self, path: &str, id: TxnId, object: Object) -> Result<RegisterState, Error> {
        let last_modified = StoreTime::of(object.last_modified);
        self.note_date(last_modified, path);
        let Decoded { decision, inline_offsets } =
            Decision::decode(&object.bytes).map_err(|cause| format_error(path, cause))?;
        let Decision { id: stored, attempt, verdict } = decision;
        if stored != id {
            let message = format!("the object {path:?} holds the decision of {stored}; it was left as it is");
            return Err(Error::new(ErrorKind::Corrupt, message).with_txn(id));
        }
        // What is dated when the id was forgotten already says nothing, an abort or a commit that is void: a commit may have been there,
        // and been collected (HAZARDS 15). The void one may even be its ghost.
        let forgotten =
            !self.limits.is_adopted(last_modified) && self.limits.is_forgotten(id.start_ms(), last_modified);
        let dead =
            |void| if forgotten { RegisterState::Forgotten } else { RegisterState::Dead { attempt, void } };
        let Verdict::Commit(records) = verdict else { return Ok(dead(None)) };
        let judge =
            |version: Version| self.limits.void(version.txn.start_ms(), version.clock_ms(), last_modified);
        // As a feed object does: else it counted for those who read it in the feed, and for others not.
        let direct = id.direct_name().and_then(|name| self.limits.feed_void(name.time_ms, last_modified));
        // The object is one: were a member void and another not, a group would be torn.
        if let Some(void) = direct.or_else(|| records.iter().find_map(|record| judge(record.version()))) {
            let void = Some(void);
            return Ok(if planted(Planted::VoidGhostDenies) {
                RegisterState::Dead { attempt, void }
            } else {
                dead(void)
            });
        }
        let commits = records.into_iter().zip(inline_offsets).map(|(record, inline_offset)| {
            let commit = Arc::new(Commit::new(&record, id, Home::Decision { inline_offset }));
            let payload = commit.payload_in(&object.bytes);
            let CommitRecord { result, request_key, guards, .. } = record;
            Committed { commit, result, request_key, guards, payload }
        });
        Ok(RegisterState::Committed { attempt, commits: commits.collect() })
    }
}

/// The error where a decision could not be made: nothing was written for certain, or nobody knows.
fn undecided(id: TxnId, in_doubt: bool, cause: StorageError) -> Error {
    if in_doubt {
        let message = "the store did not say whether the decision was made; ask Aft::outcome with this id, or try again under it";
        return Error::new(ErrorKind::OutcomeUnknown, message).with_source(cause).with_txn(id);
    }
    Error::storage("the commit was not written: creating its decision", cause).with_txn(id)
}

/// For the planted bug: the date at which the decision would be in time.
fn forged_date(object: &Object) -> std::time::SystemTime {
    let decided = Decision::decode(&object.bytes).map(|decoded| decoded.decision.verdict);
    match decided {
        Ok(Verdict::Commit(records)) => records.first().map_or(object.last_modified, |record| {
            std::time::UNIX_EPOCH + std::time::Duration::from_millis(record.clock.ms())
        }),
        _ => object.last_modified,
    }
}
