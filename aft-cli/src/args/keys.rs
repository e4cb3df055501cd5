//! What reads and writes keys takes.

use std::path::PathBuf;

use clap::Args;

use crate::key::{Key, Prefix};
use crate::point::Point;

/// Write one key
///
/// The value is the argument VALUE, or the file that --file names, or else all of stdin, byte for byte.
#[derive(Debug, Args)]
pub(crate) struct Put {
    pub(crate) key: Key,
    /// The value; `-` (or no value at all) reads stdin
    pub(crate) value: Option<std::ffi::OsString>,
    /// Read the value from this file
    #[arg(long, short, value_name = "PATH", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
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
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only the keys that begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: Prefix,
    /// Print the size of each value before its key
    #[arg(long, short)]
    pub(crate) long: bool,
}
