//! What moves many keys, or a whole store, takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::key::{Key, Prefix};

/// Write a whole directory as one transaction
///
/// Each regular file below DIR becomes the key PREFIX/its path. Everything is committed at once: readers see the whole
/// directory or nothing of it, and killing the command at any moment leaves either the old or the new. Symbolic links,
/// and files that are no regular ones (sockets, devices, pipes), are refused, all listed, before anything is written;
/// --skip-symlinks leaves the links out instead. Modes, owners, times and empty directories are not stored. A file that
/// changes while it is being read stops the import.
///
/// Two imports into one prefix at the same time both succeed, key by key the later one wins; so let one run at a time.
#[derive(Debug, Args)]
pub(crate) struct Import {
    pub(crate) dir: PathBuf,
    /// Where the keys go; a `/` is put behind it unless it ends with one ("" for the top)
    #[arg(long, short)]
    pub(crate) prefix: Prefix,
    /// Also delete, in the same transaction, the keys under the prefix that have no file in the directory
    #[arg(long)]
    pub(crate) delete: bool,
    /// Leave symbolic links out instead of refusing them
    #[arg(long)]
    pub(crate) skip_symlinks: bool,
}

/// Write all keys under a prefix out as a directory, from one atomic scan
///
/// The tree is written beside DIR (.aft-export-…), synced, and then put in the place of DIR in one step: whoever looks
/// at DIR sees the old tree or the new one, also when the command is killed, and what was in DIR before is removed. What
/// a killed export left beside DIR is cleaned by the next one. DIR must be a directory or not exist; it may not be a
/// symbolic link, nor hold the current directory, the home directory or the store.
///
/// Keys that are no path inside DIR (with an empty, `.` or `..` segment, a NUL byte, a name longer than 255 bytes or a
/// path longer than the system takes), and keys that would be file and folder at once, are refused, all listed, before
/// anything is written. Files get the default mode.
#[derive(Debug, Args)]
pub(crate) struct Export {
    pub(crate) dir: PathBuf,
    /// Which keys; a `/` is put behind it unless it ends with one ("" for all)
    #[arg(long, short)]
    pub(crate) prefix: Prefix,
    /// Export an empty directory where there is no key under the prefix, instead of failing with exit code 3
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

/// Write all keys of one atomic scan as a stream, whatever bytes they are, for `aft load`
///
/// A dump holds every key with its value and ends with their number and a digest, so that one which was cut off or damaged is
/// noticed by whoever loads it. It has no dates: equal keys and values make equal dumps. It goes to stdout, or to FILE, which is
/// replaced when the dump is whole and synced.
///
/// As JSON lines a key is spelled as on the command line, and a value is the text `value` where it is UTF-8 and `value_base64`
/// where it is not; values over 1 MiB are split into several lines (`part` of `of`). As a tar archive each key is two members,
/// N.key and N.value, which hold its bytes: smaller and faster where values are not text.
///
/// It must be done within the store's transaction lifetime (15 minutes unless set otherwise); --prefix dumps a part.
///
/// Example: `aft dump --store s3://bucket/live | zstd > live.zst`, and back with `zstd -dc live.zst | aft load --store ./copy`
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Only the keys that begin with this
    #[arg(long, short, default_value = "", hide_default_value = true)]
    pub(crate) prefix: Prefix,
    #[arg(long, short, value_enum, default_value_t = DumpFormat::Jsonl)]
    pub(crate) format: DumpFormat,
    /// Write the dump to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Make a dump without keys where there is no key, instead of failing with exit code 3
    #[arg(long)]
    pub(crate) allow_empty: bool,
}

/// How a dump is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DumpFormat {
    /// JSON lines: for text, `jq`, `diff` and compression
    Jsonl,
    /// A tar archive: for large and binary values
    Tar,
}

/// Write the keys of a dump into the store, all in one transaction
///
/// Which format it has is found out. Nothing is committed before the whole dump was read and proved to be what was dumped.
/// Keys that are there get the values of the dump; keys that the dump does not have stay as they are.
///
/// One transaction takes some tens of thousands of keys and 15 minutes (with the default settings); a load past these limits is
/// refused and nothing is committed. With --batch it becomes several transactions, one after the other, and readers see what
/// has come so far. The dump must then be a file, and is verified as a whole before the first one. Loading again is safe: it
/// writes the same again, and under a --request only what is missing.
///
/// Example: `aft load live.jsonl --batch 10000 --request restore-of-monday`
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The dump; `-` (or no name at all) reads stdin
    pub(crate) file: Option<PathBuf>,
    /// Only the keys of the dump that begin with this
    #[arg(long, short, default_value = "", hide_default_value = true)]
    pub(crate) prefix: Prefix,
    /// Load so many keys in each transaction
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: Option<u64>,
    /// Load once under this request key, however often the command is run (remembered for outcome_retention, a day)
    #[arg(long, value_name = "KEY")]
    pub(crate) request: Option<Key>,
}

/// Clone the store, while it is in use, into a new store at another place
///
/// The clone is one consistent moment: every commit that was acknowledged before the command began, each whole, with its values, and
/// the outcomes of requests within outcome_retention. It is a store of its own, of any kind: another bucket, a directory. Tokens and
/// receipts of this store are of no use with it. Nothing is written to this store, unless --checkpoint asks for that.
///
/// DST must be empty, or a clone of this store into which nothing was committed since: that is brought up to date, and only what is new is
/// copied. Nobody may have DST open meanwhile. Killing the command does no harm: the next one goes on, and until the last moment
/// an earlier clone there is as it was.
///
/// Everything is verified as it is copied. Costs a read and a write per file of the index (about 32 MiB), stored value and outcome
/// that is new, however many keys there are, and a list of DST. A checkpoint shortly before (`aft checkpoint`, or --checkpoint) keeps small
/// what the next clone must write anew.
#[derive(Debug, Args)]
pub(crate) struct CloneTo {
    /// Where the clone goes: s3://bucket/prefix, file:///path, or a path
    #[arg(value_name = "DST")]
    pub(crate) place: String,
    /// Make a checkpoint of the store first
    #[arg(long)]
    pub(crate) checkpoint: bool,
    /// Verify the whole clone at the end, as `aft check` does
    #[arg(long)]
    pub(crate) check: bool,
}

/// Write the recent commits to a Parquet file, a row for each key that one wrote
///
/// For DuckDB, Polars, pandas, Spark and whatever else reads Parquet: who wrote what, when, and with which other keys. The commits are those of `aft log`:
/// what is folded into the index is not known one by one any more. Rows are sorted by commit, oldest first, and then by key. No value is read.
///
/// The file is replaced in one step when it is whole. The columns: committed_at and published_at (UTC, milliseconds; published_at is null where it is
/// not known), clock, transaction, version, decided_by, node (null where the commit does not say it), key (its bytes), key_text (as aft prints it),
/// deleted, bytes (the length of the value), and object (where it lies).
#[derive(Debug, Args)]
#[command(after_help = EXPORT_LOG_EXAMPLE)]
pub(crate) struct ExportLog {
    /// The file
    pub(crate) file: PathBuf,
}

const EXPORT_LOG_EXAMPLE: &str = "\
Example: aft export-log log.parquet
         duckdb -c \"select key_text, count(*) from 'log.parquet' group by 1 order by 2 desc limit 10\"";
