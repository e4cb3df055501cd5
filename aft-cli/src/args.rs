//! What the command line takes.

use std::path::PathBuf;

use aft_core::TxnId;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::exit;
use crate::key::{Key, Prefix};

const LONG_ABOUT: &str = "\
Atomic, exactly-once transactions over any object store: use, inspect and clean a store.

The store is the one that --store names, or else the environment variable AFT_STORE, or else a directory of your own: \
$XDG_DATA_HOME/aft/store (~/.local/share/aft/store). Commands that write make the store where there is none; commands \
that only read never write a byte to it.

Keys are UTF-8 text, in which \\\\ is a backslash and \\xNN any byte, so that every key can be written; what aft prints \
is what it takes. A key has 1 to 4096 bytes. Values are bytes, taken and given as they are.";

/// The arguments of `aft`.
#[derive(Debug, Parser)]
#[command(name = "aft", version, about = "Atomic, exactly-once transactions over any object store")]
#[command(long_about = LONG_ABOUT, after_help = exit::HELP, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The store: s3://bucket/prefix, file:///path, or a path (/path, ./path, ~/path) [env: AFT_STORE]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) store: Option<String>,
    /// Print one JSON document on stdout; errors are JSON on stderr
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Log to stderr (-v, -vv, -vvv); RUST_LOG overrules it
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Store(StoreCommand),
    Demo(Demo),
    Probe(Probe),
    Cost(Cost),
    Completions(Completions),
    Man(Man),
}

/// What works on a store that is there when the command has ended.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    Put(Put),
    Get(Get),
    Del(Del),
    Ls(Ls),
    Import(Import),
    Export(Export),
    Dump(Dump),
    Load(Load),
    Log(Log),
    Status(Status),
    Versions(Versions),
    Txn(Txn),
    Cancel(Cancel),
    Sweep(Sweep),
    Checkpoint(Checkpoint),
    Gc(Gc),
    Check(Check),
    Adopt(Adopt),
    Clone(CloneTo),
}

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

/// Print what a shell needs to complete commands and options
///
/// For bash: `aft completions bash > ~/.local/share/bash-completion/completions/aft`; for zsh a file `_aft` in a folder of $fpath; for fish
/// `~/.config/fish/completions/aft.fish`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page of aft, or write those of all commands to a folder
///
/// `aft man | man -l -` shows it. Into a folder go `aft.1`, and one for each command: `aft man --dir ~/.local/share/man/man1`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder; made where there is none
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
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

/// Give a transaction up: decide that it aborts, unless it is decided already
///
/// Says what became of it. Of an undecided transaction no attempt can commit any more, wherever it runs, and its request
/// key is free for a new one. A committed transaction stays committed: that is told on stdout, and is no error.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The transaction's id, a UUIDv7
    pub(crate) id: TxnId,
}

/// Find and publish commits whose process died before it told the other nodes
#[derive(Debug, Args)]
pub(crate) struct Sweep {
    /// Look over every decision of the store, also where it cannot be opened: publish again what nothing carries any more (`aft check`
    /// names such commits), where nothing newer can have deleted it, and report the rest. Let no other process make checkpoints meanwhile
    #[arg(long)]
    pub(crate) all: bool,
}

/// Fold old commits into the index, so that the store opens fast and can be cleaned
///
/// Sweeps first. Commits that every process surely knows (about 18 minutes old, with the default settings) become rows of the
/// index, sorted by key; younger ones are listed beside it. From then on a process that opens the store reads a handful of
/// objects, however many commits were ever made, and `aft gc` can delete what is superseded.
///
/// Worth it every few minutes to hours, wherever something is committed; servers can do it by themselves (Config::maintenance).
/// Costs a list per shard, a read of each folded commit's small values, and a write of the rows, at most a few times over the
/// life of a row. Any process may do it at any time, and killing it does no harm.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {}

/// Delete what no transaction can reach any more
///
/// Says of each class how much goes, why, and how much of it stays. What may go is decided by the store's own clock: values
/// that were superseded, decisions and feed objects that are in the index, replaced files of it, outcomes older than
/// outcome_retention, values of transactions that never committed. Most of it needs a checkpoint that is older than any running
/// transaction (about 16 minutes with the default settings): so `aft checkpoint` first, and `aft gc` later.
///
/// Costs a list of the whole store (a request per thousand objects) and a delete per thousand objects that go. Killing it does no
/// harm: the next one goes on.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Only say what would be deleted; not a byte is written
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

/// Verify everything in the store, and name what is missing, damaged or left over
///
/// Reads every checkpoint, every file of the index, every decision, feed object, claim and value, and verifies checksums, order and
/// that everything which something needs is there. Changes nothing, also where it finds something. The store may be in use.
///
/// Ends with exit code 7 where anything is missing or damaged, each object named by its path on stderr. Garbage, and objects that
/// nothing names, do no harm: they are told on stdout, and the exit code is 0.
///
/// Costs a read of the whole store: for a large one that is hours and money. Worth it after trouble with the storage below, after
/// a restore, and now and then.
#[derive(Debug, Args)]
pub(crate) struct Check {}

/// Make a store whole that was copied by other tools, or whose dates were changed
///
/// What counts in a store is judged by the dates that its objects got when they were made. After a copy (`cp -r`, a bucket copied prefix to
/// prefix, a restored backup) they say when it was copied, and every command refuses the store. This says once and for all that what is
/// there now counts. It changes nothing but the marker aft.json, and decisions that are known to be void.
///
/// Decisions that no process published are named: whether they were acknowledged before the copy, or landed too late to count, only
/// their dates could have told. Then nothing is done until --unpublished says what they are.
///
/// No process may use the store meanwhile. Afterwards run `aft check`: a copy may lack objects. To copy a store that is in use, use `aft clone`.
#[derive(Debug, Args)]
pub(crate) struct Adopt {
    /// What becomes of decisions that nobody published: `commit` where processes were stopped well before the copy, `abort` where whoever
    /// made them runs its work again
    #[arg(long, value_enum)]
    pub(crate) unpublished: Option<UnpublishedAs>,
}

/// What becomes of decisions that nobody published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnpublishedAs {
    /// They count as committed
    Commit,
    /// They are made aborts
    Abort,
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

/// Show what aft is for: a workflow that crashes and is retried, on plain keys and on aft
///
/// Orders go through three functions (reserve, charge, record), each of which writes several keys. Workers crash
/// half-way, by the seed, and are retried; readers look on. The same run is made once on plain keys, each an object that
/// the last writer wins, and once on aft; one checker counts in both what the readers saw. Steps are interleaved by the
/// seed and not by the machine, so the same seed gives the same counts.
///
/// With --guarded another demo: orders of one product race, on plain keys, in transactions of aft, and in such that guard the
/// stock; the first two sell more than there is. There the machine decides who comes first, and counts differ from run to run.
///
/// Without --store all runs use a temporary directory, which is removed (AFT_STORE is not used). With it, the plain
/// run writes objects below PLACE/aft-demo-plain-…, the runs on aft keys below aft-demo/… in that very store; both are
/// deleted afterwards.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// What decides the crashes and the order of steps
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many orders; 300 unless given, 60 with --guarded
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) orders: Option<u32>,
    /// Race for one product, of which there is less than is ordered
    #[arg(long, conflicts_with = "seed")]
    pub(crate) guarded: bool,
}

/// Find out whether a store keeps what aft builds on, before anyone trusts it
///
/// Many create one object at the same moment, again and again and through several connections: exactly one may win, and who lost
/// must at once read what the winner wrote. Then reads, listings, ranges, deletes and dates are checked, the clocks compared, and
/// the latency of each operation is measured. What is seen is told as a table with the verdict safe or unsafe, and why.
///
/// Ends with exit code 8 where the store is unsafe: keep no aft store in it. Where the store cannot be asked (no network, no access,
/// time is up) there is no verdict but an error. "Safe" is evidence and no proof: it means that these many tries found nothing.
///
/// Everything is written below URL/aft-probe-…, and removed at the end; what cannot be removed is named. An aft store at URL is not
/// touched. With the default options it makes about 20,000 requests, which cost about 10 cents on Amazon S3.
#[derive(Debug, Args)]
pub(crate) struct Probe {
    /// The place: s3://bucket/prefix, file:///path, or a path
    pub(crate) url: String,
    /// How many races there are: more find a rarer fault
    #[arg(long, default_value_t = 100, value_parser = number(1, 1_000_000))]
    pub(crate) rounds: usize,
    /// How many create one object in a race
    #[arg(long, default_value_t = 32, value_parser = number(2, 1_000))]
    pub(crate) racers: usize,
    /// How many connections, each opened by itself, the requests go through
    #[arg(long, default_value_t = 4, value_parser = number(1, 100))]
    pub(crate) connections: usize,
    /// How many objects the long listings and the bulk delete have; below 1001 most stores need not turn a page
    #[arg(long, default_value_t = 2500, value_parser = number(10, 1_000_000))]
    pub(crate) objects: usize,
    /// How far the store's clock may be from this machine's: max_clock_skew of the aft store that is to be there
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    pub(crate) max_clock_skew: humantime::Duration,
    /// How long all of it may take, removing what was written not counted
    #[arg(long, default_value = "10m", value_name = "DURATION")]
    pub(crate) timeout: humantime::Duration,
}

/// Price a month of a store, from requests that are counted and not estimated
///
/// Does each thing that happens in a month once, on a store in memory, with aft's default settings: a commit, its publication,
/// what the other nodes read of it, refreshes, sweeps, checkpoints, collections, reads and starts. Counts the requests, and tells
/// what so many of them cost at each store, beside writing the same keys one by one. No store is opened and nothing is written.
///
/// One process that commits publishes once a second at most. Reads are those that no cache answers: the others cost nothing.
#[derive(Debug, Args)]
pub(crate) struct Cost {
    /// Transactions that write, in a month
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    pub(crate) commits: u64,
    /// Keys that each of them writes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) keys: u64,
    /// Bytes of each value
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=16_777_216))]
    pub(crate) bytes: u64,
    /// Reads of one key that no cache answers, in a month
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    pub(crate) reads: u64,
    /// Processes that use the store all month
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) nodes: u64,
    /// Starts of processes, in a month
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    pub(crate) opens: u64,
    /// GB that are stored
    #[arg(long, default_value_t = 0.0, value_name = "GB", value_parser = gigabytes)]
    pub(crate) stored_gb: f64,
    /// What is read leaves the store's region for the internet
    #[arg(long)]
    pub(crate) internet: bool,
    /// Another price list, of the form of aft-cli/prices.json
    #[arg(long, value_name = "PATH")]
    pub(crate) prices: Option<PathBuf>,
}

/// Takes an amount of data.
fn gigabytes(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "not an amount of data".to_owned())
}

/// Takes a number between these, both included.
fn number(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("not a number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn values_may_be_empty_or_stdin_or_a_file_and_not_two_of_them() {
        let put = |arguments: &[&str]| {
            let all = [&["aft", "put"], arguments].concat();
            Arguments::try_parse_from(all).map(|parsed| match parsed.command {
                Command::Store(StoreCommand::Put(put)) => put,
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(put(&["k", ""]).unwrap().value.unwrap(), "");
        assert_eq!(put(&["k", "-"]).unwrap().value.unwrap(), "-");
        assert_eq!(put(&["k", "--", "-5"]).unwrap().value.unwrap(), "-5");
        assert_eq!(put(&["k\\x00", "--file", "f"]).unwrap().key.as_bytes(), b"k\0");
        assert!(put(&["k", "v", "--file", "f"]).is_err());
        assert!(put(&["", "v"]).is_err());
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        for line in [["aft", "--json", "ls", "--store", "s"], ["aft", "--store", "s", "ls", "--json"]] {
            let parsed = Arguments::try_parse_from(line).unwrap().common;
            assert!(parsed.json && parsed.store.as_deref() == Some("s"));
        }
    }
}
