//! What looks into a store takes.

use std::path::PathBuf;
use std::time::Duration;

use aft_core::TxnId;
use clap::Args;

use crate::key::{Key, Prefix};
use crate::point::Point;
use crate::since::Since;

/// Show the recent commits, newest first
///
/// Of each when it was decided, by which transaction, and the keys that it wrote; with --json also its version, when other processes were
/// told, by which node, and how many bytes it wrote. Older commits, which every node has long seen, are folded into the index and no longer
/// known one by one. --since, --key, --prefix and --node choose among those that are known.
///
/// --follow goes on and prints each new commit as it becomes known, oldest first, until Ctrl-C, which is no error. A store that does not answer is
/// waited for, with a note on stderr. With --json each commit is then a document of its own, one a line.
#[derive(Debug, Args)]
#[command(after_help = LOG_EXAMPLES)]
pub(crate) struct Log {
    /// How many at most: 20 unless given, and with --since all of them
    #[arg(long, short = 'n', value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Only commits decided since then: a duration (90s, 10m, 2h) before now, or a moment (2026-11-29T12:00:00Z)
    #[arg(long, value_name = "DURATION|TIME")]
    pub(crate) since: Option<Since>,
    /// Only commits that wrote or deleted this key
    #[arg(long, conflicts_with = "prefix")]
    pub(crate) key: Option<Key>,
    /// Only commits that wrote or deleted a key which begins with this
    #[arg(long)]
    pub(crate) prefix: Option<Prefix>,
    /// Only commits of this node: 16 hexadecimal digits, as --json prints it and the names in feed/ have it. Reads feed objects where commits do not say it
    #[arg(long, value_parser = node)]
    pub(crate) node: Option<String>,
    /// Go on, and print new commits as they become known
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// How often --follow looks for new commits; at least 100ms
    #[arg(long, value_name = "DURATION", default_value = "1s", requires = "follow", value_parser = interval)]
    pub(crate) interval: Duration,
}

const LOG_EXAMPLES: &str = "\
Example: aft log --since 10m --prefix orders/
         aft log --follow --json | jq -r '.txn_id'";

/// A node, as the names of feed objects have it.
fn node(text: &str) -> Result<String, String> {
    let is_node = text.len() == 16 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if is_node {
        Ok(text.to_owned())
    } else {
        Err("a node is 16 hexadecimal digits, in lower case".to_owned())
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let least = Duration::from_millis(100);
    if interval < least { Err("at least 100ms".to_owned()) } else { Ok(interval) }
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

/// Explain what a read of a key gets now, and why
///
/// Reads the key in a transaction that begins now, and says of every version that is known whether it is read or why not: superseded by a newer
/// one, folded, deleted; where the value lies, which checkpoint the view builds on, and how fresh it is. Of a key that is not there it says
/// whether it can have been deleted.
///
/// With --with the transaction reads other keys first. What it read of them rules versions out: where a commit wrote two keys, whoever read one of
/// them as that commit wrote it reads the other at that version or a newer one, and nothing that such a commit wrote is read by whoever read the other before it.
///
/// Some requests, however many commits there are: what opening the store takes, and two ranged gets for a key and run of the index. Of values up to 1 MiB
/// also the value; one that cannot be read is told, and is no error.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft why stock/apples --with order/4711")]
pub(crate) struct Why {
    /// The key that is read
    pub(crate) key: Key,
    /// Keys that the same transaction reads before, in this order
    #[arg(long, num_args = 1.., value_name = "KEY")]
    pub(crate) with: Vec<Key>,
}

/// Show what became of a transaction, and what its decision says while that can be read
///
/// It is committed (with its version, receipt and stored result), aborted, undecided (it may still commit), or forgotten
/// (it can no longer commit, and whether it once did is not recorded any more). With --json the result is the text
/// `result` where it is UTF-8, and `result_base64` where it is not.
///
/// Of a decision: when it was made, the object, its request key and guards, whether and by which node other processes were told, and each
/// key that was written: whether that is what a reader gets now, or what superseded it. What one member of a group wrote is told by the id of the
/// member, and by that of the group what its newest member wrote.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft txn 0198f3f4-0000-7000-8000-000000000000")]
pub(crate) struct Txn {
    /// The transaction's id, a UUIDv7, as `aft log` and error messages print it
    pub(crate) id: TxnId,
    /// Look up all keys that it wrote, not only the first 20
    #[arg(long)]
    pub(crate) all_keys: bool,
}

/// Show which transaction a request key leads to, and what became of it
///
/// Nothing is claimed: the key stays as it is. Where it was never used, or is forgotten, the exit code is 3.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft request order-4711")]
pub(crate) struct Request {
    /// The request key, spelled like a key
    pub(crate) key: Key,
}

/// Show which keys differ between two versions
///
/// A reader who sees every commit up to FROM, and one who sees every commit up to TO: which keys were added, removed and written again, with
/// the sizes of their values and the transaction. No value is read, so a key that was written again with the same bytes is named too. Both may be a
/// version, a receipt or a transaction's id, as commands print them, or `now`.
///
/// It can be told as far back as commits are known one by one: since the last checkpoint folded any, some 20 minutes in a store in use.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft diff 0198f3f4-0000-7000-8000-000000000000 --prefix stock/")]
pub(crate) struct Diff {
    /// Since when
    pub(crate) from: Point,
    /// Until when
    #[arg(default_value = "now")]
    pub(crate) to: Point,
    /// Only the keys that begin with this
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) prefix: Prefix,
}
