//! What needs no store of its own takes.

use std::path::PathBuf;

use clap::Args;

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
