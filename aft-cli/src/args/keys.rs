//! What reads and writes keys takes.

use std::path::PathBuf;

use clap::Args;

use crate::key::{Key, Prefix};

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

/// Print the value of a key, byte for byte
///
/// Nothing is added to the value, not even a newline. A key that is not there ends with exit code 3. With --json the
/// value is the text `value` where it is UTF-8, and `value_base64` where it is not.
#[derive(Debug, Args)]
pub(crate) struct Get {
    pub(crate) key: Key,
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
