//! Decides from a recorded history alone whether aft kept its promises in that run.
//!
//! [`check`] knows nothing of the code under test. It makes these decisions, each in its own file, all of them over
//! the same resolved history (`resolve`: who wrote what each read found, and which transactions count):
//!
//! | file | decides |
//! |---|---|
//! | `internal` | reads within one transaction: own writes seen, repeatable, nothing from thin air, from an aborted or dropped attempt, from a value that its writer overwrote, or from the own future |
//! | `graph`, `cycle` | **Read Atomic** by its rule: session order and reads-from are edges; for each read of x from a, every other b that writes x and is a direct session or reads-from predecessor of the reader comes before a; the initial state comes before everything; then no cycle |
//! | `versions` | the same by a second way, stronger, where versions are known: no fractured read by its definition; a commit's version is above all that it and its session read or made before; no version twice |
//! | `outcomes` | exactly once: an id has one outcome, one version, one result, and the values of one attempt |
//! | `guarded` | what guards promise: **no lost update** of a guarded key, and **strict serializability** of all that is guarded, by the order of decisions |
//! | `visible` | receipts are seen, no acked commit is lost, and every commit is visible everywhere within its bound |
//!
//! # Which transactions count
//!
//! - A **committed** one reads and writes. A **replayed** one only reads: its writes were dropped.
//!   Its session is bound to the winner only where a later transaction names the id among those it began after.
//! - An **unknown** one counts as committed once anybody reads from it (or a replay proves that it won); its writes
//!   are ignored otherwise. Its own session's later transactions are not bound to see it: the client did not learn
//!   that it committed, and it may have landed after them.
//! - An **aborted** one only reads. Its reads are judged like a committed one's, because aft promises the atomic
//!   view to every transaction while it runs; [`Expectations::committed_only`] turns this off, for verdicts that
//!   must equal those of judges who know the rule alone.

mod cycle;
mod graph;
mod guarded;
mod internal;
mod outcomes;
mod report;
mod resolve;
mod versions;
mod visible;

use std::fmt;

use crate::history::{History, Key, Status, Value, Version};

use report::Report;
pub use report::{Involved, Kind, MOST_PER_KIND, Violation};
use resolve::Resolved;

/// What the caller knows beyond the history. The default expects nothing more.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// What was read in the end, after all faults stopped and everything became visible: any number of nodes and
    /// keys. No acked commit may be missing from them.
    pub final_reads: Vec<FinalRead>,
    /// How soon commits must be visible everywhere; `None` asks for nothing.
    pub visibility: Option<Visibility>,
    /// Judge only transactions that committed, as the bare rule does; not the reads of aborted ones, nor those of
    /// unknown ones that nobody read from.
    pub committed_only: bool,
}

/// What one node found under one key in the end.
#[derive(Debug, Clone)]
pub struct FinalRead {
    /// Who read; only for messages.
    pub node: String,
    /// The key.
    pub key: Key,
    /// What was found, as in [`crate::history::Op::Read`].
    pub value: Option<Value>,
    /// The version that was found, where it is known.
    pub version: Option<Version>,
}

/// The promise of when a commit is visible to every transaction that begins.
#[derive(Debug, Clone, Copy)]
pub struct Visibility {
    /// The bound in milliseconds.
    pub bound_ms: u64,
    /// The true time from which no fault happened any more; the bound counts from then, or from the ack if later.
    pub faults_stopped_ms: u64,
}

/// What was judged, for the run's summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries in the history.
    pub transactions: usize,
    /// Those acked, replays included.
    pub committed: usize,
    /// Those acked as replays of another attempt.
    pub replayed: usize,
    /// Those that certainly did not commit.
    pub aborted: usize,
    /// Those whose client never learned the outcome.
    pub unknown: usize,
    /// Those of unknown outcome that turned out to be committed.
    pub unknown_committed: usize,
    /// Different sessions.
    pub sessions: usize,
    /// Different keys.
    pub keys: usize,
    /// Writes and deletes.
    pub writes: usize,
    /// Reads of what others wrote.
    pub reads: usize,
    /// Those of them that found nothing ever written.
    pub absent_reads: usize,
    /// Reads that were guarded.
    pub guarded_reads: usize,
    /// Updates of a key that was read guarded.
    pub guarded_updates: usize,
    /// Serializable transactions that took effect.
    pub serializable: usize,
    /// Edges of the graphs that have no cycle.
    pub edges: usize,
    /// Ids with several attempts.
    pub retried_ids: usize,
    /// Reads compared with a receipt's version.
    pub receipt_reads: usize,
    /// Reads compared with what must have been visible by then.
    pub visibility_reads: usize,
    /// Final reads compared with what was acked.
    pub final_reads: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transactions, committed, replayed, aborted, unknown, unknown_committed, .. } = self;
        writeln!(
            f,
            "{transactions} transactions ({committed} committed, {replayed} of them as replays; {aborted} aborted; \
             {unknown} of unknown outcome, {unknown_committed} of them committed)"
        )?;
        let Self { sessions, keys, writes, reads, absent_reads, edges, retried_ids, .. } = self;
        writeln!(
            f,
            "{sessions} sessions, {keys} keys, {writes} writes, {reads} reads ({absent_reads} absent), {edges} edges, \
             {retried_ids} ids retried"
        )?;
        let Self { guarded_reads, guarded_updates, serializable, .. } = self;
        writeln!(
            f,
            "{guarded_reads} guarded reads, {guarded_updates} guarded updates, {serializable} serializable transactions"
        )?;
        let Self { receipt_reads, visibility_reads, final_reads, .. } = self;
        write!(
            f,
            "compared: {receipt_reads} reads with receipts, {visibility_reads} with the visibility bound, \
             {final_reads} final reads with the acks"
        )
    }
}

/// Judges `history`.
///
/// # Errors
///
/// What is wrong with it: at most [`MOST_PER_KIND`] of each [`Kind`], the same for the same history.
pub fn check(history: &History, expectations: &Expectations) -> Result<Summary, Vec<Violation>> {
    let mut report = Report::default();
    let resolved = Resolved::new(history, expectations, &mut report);
    let mut summary = count(&resolved);
    graph::check(&resolved, &mut report, &mut summary);
    versions::check(&resolved, &mut report);
    outcomes::check(&resolved, &mut report, &mut summary);
    guarded::check(&resolved, &mut report, &mut summary);
    visible::check(&resolved, expectations, &mut report, &mut summary);
    let violations = report.into_violations();
    if violations.is_empty() { Ok(summary) } else { Err(violations) }
}

fn count(resolved: &Resolved<'_>) -> Summary {
    let mut summary = Summary {
        transactions: resolved.history.transactions.len(),
        sessions: resolved.sessions.len(),
        keys: resolved.keys.len(),
        writes: resolved.writes.iter().map(Vec::len).sum(),
        reads: resolved.reads.iter().map(Vec::len).sum(),
        ..Summary::default()
    };
    for (index, transaction) in resolved.history.transactions.iter().enumerate() {
        match transaction.status {
            Status::Committed => summary.committed += 1,
            Status::Aborted => summary.aborted += 1,
            Status::Unknown => summary.unknown += 1,
        }
        summary.replayed += usize::from(transaction.replayed);
        summary.unknown_committed +=
            usize::from(transaction.status == Status::Unknown && resolved.effective[index]);
        summary.absent_reads += resolved.reads[index].iter().filter(|read| read.from.is_none()).count();
    }
    summary
}
