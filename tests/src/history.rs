//! What a run did, as its clients saw it: plain data, which knows nothing of the code under test.
//!
//! A recorder turns a run into a [`History`], [`crate::checker`] decides whether aft's promises hold in it, and
//! [`History::write_json_lines`] hands it to judges outside this project.
//!
//! # How to record
//!
//! - **One entry for each attempt.** Attempts of one id (retries, races on several nodes, a token resumed twice)
//!   are several entries with the same [`Transaction::id`]. An attempt that began to commit must be recorded even
//!   if its node died: as [`Status::Unknown`].
//! - **Values are unique for their key**, across attempts too, so that a value names its writer. Only entries of one
//!   id may share a value (writes that travelled in a token): it then belongs to the attempt that won.
//! - **A delete is a write** of a fresh unique value, and a read that finds it names that value. A read of `None`
//!   means "never written" and nothing else: a read of a deletion that has left the index names the newest deletion
//!   that was dropped (and leaves the read's version `None`).
//! - **A scan is one read of every key in its range** that the run ever uses, absent ones included.
//! - **Reads of the transaction's own buffered writes** are reads like any other and name the own value.
//! - **A session** is one client on one node and ends with that node. A receipt may carry it on, if the carried
//!   session's next commit is sure to get a version above everything the session has seen.
//! - **Time** is the simulator's true time, the same for all nodes, not the clock of a node.

mod json;

use std::collections::BTreeSet;
use std::sync::Arc;

/// A key. Cheap to clone.
pub type Key = Arc<str>;

/// A written value, or the name of a delete: unique for its key. Cheap to clone.
pub type Value = Arc<str>;

/// The name of a session, such as `n3/c1`. Cheap to clone.
pub type Session = Arc<str>;

/// The version of a commit: only its order matters here. The clock first, then the random part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64, pub u128);

impl Version {
    /// The version of a key that was never written: below every commit's.
    pub const ABSENT: Self = Self(0, 0);
}

/// How a transaction ended, as far as its client learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Status {
    /// Acked: by its own commit, or as a replay of another attempt ([`Transaction::replayed`]).
    Committed,
    /// This attempt certainly did not commit, whatever other attempts of its id did.
    Aborted,
    /// Its client never learned the outcome: an error that says so, or the client or its node died.
    #[default]
    Unknown,
}

/// One operation, in the order in which the client made them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A put, or a delete under the fresh name that stands for it.
    Write {
        /// The key written.
        key: Key,
        /// What was written: unique for the key.
        value: Value,
    },
    /// A read, or one key of a scan.
    Read {
        /// The key read.
        key: Key,
        /// What was found; `None` means that the key was never written.
        value: Option<Value>,
        /// The version that the reader says it read ([`Version::ABSENT`] for none), where the recorder knows it.
        version: Option<Version>,
    },
}

/// One attempt to run one transaction.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// The session that ran it.
    pub session: Session,
    /// The node that ran it; only for messages.
    pub node: String,
    /// The transaction's id, which its attempts share; 0 where it is not known (then it is the only attempt).
    pub id: u128,
    /// Which attempt this is; only for messages.
    pub attempt: u64,
    /// How it ended.
    pub status: Status,
    /// The commit was acked as a replay: another attempt won, the writes of this one were dropped.
    pub replayed: bool,
    /// With [`Status::Aborted`]: the id itself is decided as aborted (the register says so), not only this attempt.
    pub abort_decided: bool,
    /// The version of the commit: from the ack (a replay's: the winner's), or settled later for an unknown outcome,
    /// if it is certain that *this* attempt won. `None` also for a read-only commit that took no version.
    pub version: Option<Version>,
    /// The stored result: of the ack, or what this attempt would have stored. Compared between acks only.
    pub result: Option<String>,
    /// The keys that it guards: none of two transactions that read one version of such a key and write it commits beside the other.
    pub guarded: BTreeSet<Key>,
    /// It guards all that it reads and writes: among such transactions there is one order, which is that of time.
    pub serializable: bool,
    /// Ids of the receipts it began after: commits that it must see.
    pub after: Vec<u128>,
    /// When `begin` returned or, if that is not known, was called: true time in milliseconds.
    pub began_ms: u64,
    /// When the client learned the outcome or gave up: true time in milliseconds.
    pub ended_ms: u64,
    /// What it did, in order.
    pub ops: Vec<Op>,
}

impl Transaction {
    /// An attempt of transaction `id` that has done nothing yet and whose outcome is unknown.
    #[must_use]
    pub fn new(session: impl Into<Session>, id: u128) -> Self {
        Self { session: session.into(), id, ..Self::default() }
    }

    /// Adds a write: a put, or a delete under the fresh name that stands for it.
    pub fn write(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.ops.push(Op::Write { key: key.into(), value: value.into() });
    }

    /// Adds a read.
    pub fn read(&mut self, key: impl Into<Key>, value: Option<Value>, version: Option<Version>) {
        self.ops.push(Op::Read { key: key.into(), value, version });
    }

    /// How good this entry's claim is to a value that several attempts of its id wrote: less is better.
    pub(crate) fn claim(&self) -> u8 {
        match self.status {
            Status::Committed if !self.replayed => 0,
            Status::Unknown if self.version.is_some() => 1,
            Status::Unknown => 2,
            Status::Committed => 3,
            Status::Aborted => 4,
        }
    }
}

/// Everything that happened in one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The transactions, of each session in the session's order.
    pub transactions: Vec<Transaction>,
}
