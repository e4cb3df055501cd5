//! What looks into a store takes.

use aft_core::TxnId;
use clap::Args;

use crate::key::Key;

/// Show the recent commits, newest first
///
/// Older commits, which every node has long seen, are folded into the index and no longer known one by one.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT")]
    pub(crate) limit: usize,
}

/// Show the store: its settings, what is in it, and how fresh the view is
#[derive(Debug, Args)]
pub(crate) struct Status {}

/// Show the versions of a key that the store still knows
///
/// Newest first, deletions included: the first is what a reader gets now. Of each its size, the transaction that wrote it, with how many
/// keys, when other processes were told, and the object that holds it. What is folded into the index is marked so: of that a run of the index keeps the newest.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft versions config/limits")]
pub(crate) struct Versions {
    pub(crate) key: Key,
}

/// Show what became of a transaction
///
/// It is committed (with its version, receipt and stored result), aborted, undecided (it may still commit), or forgotten
/// (it can no longer commit, and whether it once did is not recorded any more). With --json the result is the text
/// `result` where it is UTF-8, and `result_base64` where it is not.
#[derive(Debug, Args)]
pub(crate) struct Txn {
    /// The transaction's id, a UUIDv7, as `aft log` and error messages print it
    pub(crate) id: TxnId,
}
