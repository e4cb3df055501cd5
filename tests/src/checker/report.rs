//! What a verdict says: violations with the transactions involved and a readable explanation.

use std::collections::BTreeMap;
use std::fmt;

use crate::history::Session;

/// How many violations of one kind a verdict lists; a broken run would otherwise list one for each read.
pub const MOST_PER_KIND: usize = 50;

/// Which promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The history itself is wrong, not what it tells: two transactions wrote one value under one key.
    DuplicateValue,
    /// A read found a value that nobody ever wrote.
    ThinAirRead,
    /// A read found a value of an attempt that aborted or was dropped for another attempt.
    AbortedRead,
    /// A read found a value that its own writer overwrote before it committed.
    IntermediateRead,
    /// A read did not find the transaction's own write before it.
    OwnWriteNotSeen,
    /// A read found what its transaction wrote only later.
    FutureRead,
    /// Two reads of one key in one transaction found different things.
    NonRepeatableRead,
    /// The rule of Read Atomic has a cycle: fractured reads, or an older value than the own session's or a receipt's.
    NotAtomic,
    /// By the versions, a transaction read one key of a commit and an older version of another key of that commit.
    Fractured,
    /// What a read says about its version is not the version of what it found.
    VersionMismatch,
    /// By the versions, a transaction read an older version of a key than its own session committed before.
    OlderThanOwnSession,
    /// A commit's version is not above one that it read or had a receipt of, or that its session made or read before.
    VersionOrder,
    /// Two commits guarded one version of a key, and both wrote it.
    LostUpdate,
    /// No order of decisions explains what transactions read, guarded and wrote, and agrees with time.
    NotSerializable,
    /// Two commits have one version.
    DuplicateVersion,
    /// An id had two outcomes, versions or results, or more than one of its attempts took effect.
    TwoOutcomes,
    /// A transaction that began after a receipt read something older than the receipt's commit.
    ReceiptNotSeen,
    /// A final read is older than an acked commit.
    LostCommit,
    /// A transaction did not see a commit that had to be visible when it began.
    NotVisible,
}

/// A transaction that a violation involves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Involved {
    /// Its session.
    pub session: Session,
    /// Its place in the session, from 0.
    pub index: usize,
    /// Its id; 0 where it is not known.
    pub id: u128,
    /// Its place in the history, from 0.
    pub position: usize,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub kind: Kind,
    /// By which transactions; the one that noticed comes first, and a cycle is in its order.
    pub transactions: Vec<Involved>,
    /// What happened, with the operations that show it.
    pub explanation: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.explanation)
    }
}

/// Gathers violations, not too many of a kind.
#[derive(Debug, Default)]
pub(super) struct Report {
    violations: BTreeMap<Kind, Vec<Violation>>,
}

impl Report {
    /// Whether there is no room for more of `kind`, so that explaining one would be for nothing.
    pub(super) fn is_full(&self, kind: Kind) -> bool {
        self.violations.get(&kind).is_some_and(|list| list.len() >= MOST_PER_KIND)
    }

    /// Adds what `violation` makes, if there is room.
    pub(super) fn add(&mut self, kind: Kind, violation: impl FnOnce() -> (Vec<Involved>, String)) {
        if !self.is_full(kind) {
            let (transactions, explanation) = violation();
            self.violations.entry(kind).or_default().push(Violation { kind, transactions, explanation });
        }
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations.into_values().flatten().collect()
    }
}
