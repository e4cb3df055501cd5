//! What looks into a store takes.

use std::time::Duration;

use aft_core::TxnId;
use clap::Args;

use crate::key::{Key, Prefix};
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
