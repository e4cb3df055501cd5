//! What reads and writes keys takes.

use std::path::PathBuf;

use clap::Args;

use crate::key::{Key, Prefix};
use crate::point::Point;

/// Write one key, or several in one transaction
///
/// The value is the argument VALUE, or the file that --file names, or else all of stdin, byte for byte.
///
/// With --from-jsonl several keys are written and deleted in one transaction, all or none. Each line is a JSON object, as `aft dump` writes them:
/// `{"key":"a","value":"text"}`, `{"key":"b","value_base64":"AP8="}`, and `{"key":"c","deleted":true}`. Keys are in the escaped form. A key that stands
/// there twice is refused, and so are more than 64 MiB or 100,000 keys: `aft load` takes more.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft put config/limits 'max=10'\n\
                        Example: jq -c '{key: .id, value: .name}' names.json | aft put --from-jsonl - --request names-of-monday")]
pub(crate) struct Put {
    #[arg(required_unless_present = "from_jsonl")]
    pub(crate) key: Option<Key>,
    /// The value; `-` (or no value at all) reads stdin
    pub(crate) value: Option<std::ffi::OsString>,
    /// Read the value from this file
    #[arg(long, short, value_name = "PATH", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    /// Write the keys of this file of JSON lines; `-` reads stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "value", "file"])]
    pub(crate) from_jsonl: Option<PathBuf>,
    /// Write them once under this request key, however often the command is run (remembered for outcome_retention, a day)
    #[arg(long, value_name = "KEY", conflicts_with_all = ["key", "value", "file"])]
    pub(crate) request: Option<Key>,
}

/// Print the value of a key, byte for byte; with --json of several keys
///
/// Nothing is added to the value, not even a newline. A key that is not there ends with exit code 3. With --json the
/// value is the text `value` where it is UTF-8, and `value_base64` where it is not.
///
/// Several keys are read in one transaction and need --json: one document with the array `keys`, in the order of the arguments, where
/// `found` says whether the key is there.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  aft get config/limits\n  aft get --json stock/apples price/apples\n  \
                        aft get config/limits --version 0198f3f4-0000-7000-8000-000000000000")]
pub(crate) struct Get {
    #[arg(required = true)]
    pub(crate) keys: Vec<Key>,
    /// The value at this version instead of the newest: a version, a receipt or the id of the transaction that wrote it
    ///
    /// As `aft versions`, `aft log` and commits print them. Older versions are there for some time only; where this one is not any more,
    /// or deleted the key, the exit code is 3, and those that are known are named.
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<Point>,
}

/// Delete keys, all in one transaction
///
/// Deleting a key that is not there is no error.
#[derive(Debug, Args)]
pub(crate) struct Del {
    #[arg(required = true)]
    pub(crate) keys: Vec<Key>,
}

/// List the keys, sorted by their bytes, of one atomic scan
///
/// No value is read, and keys are printed as they come, the first after a handful of requests. A listing that fails on its way ends early,
/// with an exit code.
///
/// A page at a time: --limit N, and then --start-after with the last key of the page before. Each page is a scan of its own, of its own moment.
#[derive(Debug, Args)]
#[command(after_help = "Example: aft ls logs/ --limit 100 --start-after logs/2026-11-30\n\
                        Example: aft ls tmp/ --null | xargs -0 -n 1000 printf '%s\\n'")]
pub(crate) struct Ls {
    /// Only the keys that begin with this
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: Prefix,
    /// Print the size of each value and the time it was written before its key; with --json also the version
    #[arg(long, short)]
    pub(crate) long: bool,
    /// List so many keys at most; with --json `more` says whether there are others
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Only the keys behind this one, which need not be there
    #[arg(long, value_name = "KEY")]
    pub(crate) start_after: Option<Key>,
    /// Print the bytes of each key as they are, each ended by a NUL byte: for `xargs -0`
    #[arg(long, short = '0', conflicts_with_all = ["long", "json", "jsonl"])]
    pub(crate) null: bool,
    /// Print one JSON object for each key, a line each, instead of one document
    #[arg(long, conflicts_with = "json")]
    pub(crate) jsonl: bool,
    /// Print only how many keys there are
    #[arg(long, conflicts_with_all = ["long", "limit", "null", "jsonl"])]
    pub(crate) count: bool,
}
