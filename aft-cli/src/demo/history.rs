//! What happened in one run: who wrote what, who read what, and who finished.
//!
//! Both runs record the same history and know nothing of the checker; the checker sees only the history.

use serde::{Deserialize, Serialize};

/// A transaction of the run: one attempt at an order, or one page that a reader looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Txn(pub(crate) u32);

/// Carried by every value: which transaction wrote it, and as its how many-th write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) txn: Txn,
    pub(crate) write: u32,
}

/// Something that must happen once for each order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Effect {
    Reserved,
    Charged,
    Recorded,
}

/// One event. `P` is a version's place in the order that the store under test itself gives to versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event<P> {
    Read {
        key: String,
        found: Option<Stamp>,
    },
    Scan {
        prefix: String,
        found: Vec<(String, Stamp)>,
    },
    /// `place` where the write is visible at once; else its transaction's commit has the place.
    Write {
        key: String,
        stamp: Stamp,
        place: Option<P>,
    },
    Commit {
        place: Option<P>,
    },
}

/// All events of a run, in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct History<P> {
    transactions: u32,
    pub(crate) events: Vec<(Txn, Event<P>)>,
    /// The orders whose caller was told that they are done.
    pub(crate) finished: Vec<u32>,
    /// What stands in the store at the end, for each order.
    pub(crate) effects: Vec<(Effect, u32)>,
}

impl<P> History<P> {
    pub(crate) fn new() -> Self {
        Self { transactions: 0, events: Vec::new(), finished: Vec::new(), effects: Vec::new() }
    }

    /// A new transaction.
    pub(crate) fn begin(&mut self) -> Txn {
        self.transactions += 1;
        Txn(self.transactions)
    }

    pub(crate) fn record(&mut self, txn: Txn, event: Event<P>) {
        self.events.push((txn, event));
    }

    /// How many transactions there were.
    pub(crate) fn transactions(&self) -> u32 {
        self.transactions
    }
}
