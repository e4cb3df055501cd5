//! What the command line takes.

mod apart;
mod inspect;
mod keys;
mod maintain;
mod transfer;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use self::apart::*;
pub(crate) use self::inspect::*;
pub(crate) use self::keys::*;
pub(crate) use self::maintain::*;
pub(crate) use self::transfer::*;
use crate::exit;

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
    Why(Why),
    ExportLog(ExportLog),
    Txn(Txn),
    Cancel(Cancel),
    Sweep(Sweep),
    Checkpoint(Checkpoint),
    Gc(Gc),
    Check(Check),
    Adopt(Adopt),
    Clone(CloneTo),
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
