//! What the command line takes.

mod apart;
mod inspect;
mod keys;
mod maintain;
mod transfer;

use std::ffi::OsString;

use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand, ValueEnum};

pub(crate) use self::apart::*;
pub(crate) use self::inspect::*;
pub(crate) use self::keys::*;
pub(crate) use self::maintain::*;
pub(crate) use self::transfer::*;
use crate::exit;
use crate::key::Form;

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
    /// How keys are shown and taken, in arguments and in all output but that of `dump`
    #[arg(long, global = true, value_name = "FORM", default_value = "escaped", hide_default_value = true)]
    #[arg(help_heading = "Global options")]
    pub(crate) keys_as: Form,
    /// Delete without asking; where there is no terminal nothing asks
    #[arg(long, short, global = true, help_heading = "Global options")]
    pub(crate) yes: bool,
    /// When to use colours; `auto` is on a terminal, unless NO_COLOR is set or TERM is dumb
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    #[arg(help_heading = "Global options")]
    pub(crate) color: ColorChoice,
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
    Report(Report),
    #[cfg(feature = "top")]
    Top(Top),
    Versions(Versions),
    Why(Why),
    ExportLog(ExportLog),
    Txn(Txn),
    Request(Request),
    Diff(Diff),
    Cancel(Cancel),
    Sweep(Sweep),
    Checkpoint(Checkpoint),
    Gc(Gc),
    Check(Check),
    Adopt(Adopt),
    Clone(CloneTo),
}

impl StoreCommand {
    /// Whether it shows itself on the whole terminal until somebody ends it.
    pub(crate) fn is_live(&self) -> bool {
        #[cfg(feature = "top")]
        return matches!(self, Self::Top(_));
        #[cfg(not(feature = "top"))]
        false
    }
}

/// What must be known before the rest of the command line can be taken: how it spells keys, and how errors in it are shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Early {
    pub(crate) keys_as: Form,
    pub(crate) color: ColorChoice,
}

impl Early {
    /// Looks for it. What is no such value is refused when all is taken.
    pub(crate) fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let (mut keys_as, mut color) = (None, None);
        let mut texts = arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned());
        while let Some(text) = texts.next().filter(|text| text != "--") {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (text, None),
            };
            match &*name {
                "--keys-as" => keys_as = value.or_else(|| texts.next()),
                "--color" => color = value.or_else(|| texts.next()),
                _ => {}
            }
        }
        fn parsed<T: ValueEnum>(text: Option<String>) -> Option<T> {
            T::from_str(&text?, false).ok()
        }
        Self { keys_as: parsed(keys_as).unwrap_or_default(), color: parsed(color).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn what_must_be_known_before_is_found_anywhere_before_the_end_of_options() {
        let early = |line: &[&str]| Early::of(line.iter().map(Into::into));
        let found = |keys_as, color| Early { keys_as, color };
        assert_eq!(early(&["aft", "ls"]), found(Form::Escaped, ColorChoice::Auto));
        assert_eq!(early(&["aft", "get", "00", "--keys-as", "hex"]), found(Form::Hex, ColorChoice::Auto));
        assert_eq!(
            early(&["aft", "--keys-as=base64", "--color=never", "ls"]),
            found(Form::Base64, ColorChoice::Never)
        );
        assert_eq!(early(&["aft", "del", "--", "--keys-as", "hex"]), found(Form::Escaped, ColorChoice::Auto));
        // What is none is refused later, with the rest.
        assert_eq!(
            early(&["aft", "ls", "--keys-as", "octal", "--color"]),
            found(Form::Escaped, ColorChoice::Auto)
        );
    }

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
        assert_eq!(put(&["k\\x00", "--file", "f"]).unwrap().key.unwrap().as_bytes(), b"k\0");
        assert!(put(&["k", "v", "--file", "f"]).is_err());
        assert!(put(&["", "v"]).is_err());
        assert!(put(&[]).is_err() && put(&["--from-jsonl", "-"]).is_ok());
        assert!(put(&["k", "--from-jsonl", "-"]).is_err() && put(&["k", "v", "--request", "r"]).is_err());
    }

    #[test]
    fn common_options_stand_before_or_after_the_command() {
        for line in [["aft", "--json", "ls", "--store", "s"], ["aft", "--store", "s", "ls", "--json"]] {
            let parsed = Arguments::try_parse_from(line).unwrap().common;
            assert!(parsed.json && parsed.store.as_deref() == Some("s"));
        }
    }
}
