//! What looks into a store takes.

use std::path::PathBuf;

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

/// Show the store: what is in it, who writes to it, how fresh its checkpoint is, and what is wrong
///
/// The nodes that were heard of in the last 15 minutes, and how far their clocks are off; commits a minute; the last checkpoint and how far
/// the index is behind; how many rows it has, which is as many keys at most, and their bytes; the settings in force. At the end are
/// warnings, each with what to do. Writes nothing, and costs a handful of requests.
///
/// With --scan it lists the whole store and reads the index: objects and bytes of each class, keys and bytes exactly, what `aft gc` would
/// delete, and decisions that nobody published. That costs a request per thousand objects.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft status --scan")]
pub(crate) struct Status {
    /// List the whole store, and count exactly
    #[arg(long)]
    pub(crate) scan: bool,
}

/// Write a page of HTML about the store
///
/// One file that needs nothing else, readable in light and dark: commits over time, the lag of the checkpoints, nodes and their clocks, the keys
/// written most and the largest ones, objects by class and by age, what `aft gc` would delete and why, and what a month would cost that goes on like
/// the last minutes. FILE is replaced when the page is whole. Writes nothing to the store.
///
/// Costs a list of the whole store (a request per thousand objects), a read of the index, and a request for each checkpoint that is still there.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft report store.html")]
pub(crate) struct Report {
    /// Where the page goes
    pub(crate) file: PathBuf,
}

/// Watch the store live in the terminal
///
/// Commits a second, the newest commits, the keys written most, nodes and their clocks, the lag of the index, and what this process asks of the
/// store; q or Ctrl-C quits. Where stdout or stdin is no terminal, or with --once, it prints one frame as text and ends; with --json the same
/// for programs. Writes nothing.
///
/// Costs a list each time, one more every ten seconds, and a get for each feed object that others make.
#[cfg(feature = "top")]
#[derive(Debug, Args)]
#[command(after_help = "Example: aft top --interval 5s")]
pub(crate) struct Top {
    /// How often the store is asked; 100ms at least
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(crate) interval: humantime::Duration,
    /// Print one frame as text, and end
    #[arg(long)]
    pub(crate) once: bool,
}

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
