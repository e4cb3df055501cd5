//! What the process ends with.

/// The exit codes, as `aft --help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// An error that no other code names.
    Error = 1,
    /// Arguments or input that cannot be used; nothing was written.
    Usage = 2,
    /// The key is not there.
    KeyNotFound = 3,
    /// The transaction did not commit; running the command again may succeed.
    Aborted = 4,
    /// The transaction may or may not have committed.
    OutcomeUnknown = 5,
    /// The store cannot be reached, or refuses the credentials; nothing was written.
    Unavailable = 6,
    /// There is no aft store, or it is damaged, or of a format that this version does not know; `aft check` or `aft gc` found
    /// something missing or damaged.
    BadStore = 7,
    /// The store breaks what aft builds on: it must not keep aft's data.
    Unsafe = 8,
}

/// The section of `aft --help` on exit codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  another error
  2  bad arguments or bad input (a key or value past its limits, a refused file or key); nothing was written
  3  the key, or that version of it, is not there
  4  the transaction did not commit (aborted, expired, conflict); run the command again
  5  the outcome is unknown: it may or may not have committed; `aft txn` with its id tells
  6  the store cannot be reached, denies access, or this machine's clock is off; nothing was written
  7  no usable store there: none, a damaged one, one of another format version, or no such kind of URL;
     check, clone, gc: something in the store is missing or damaged
  8  probe: the store is unsafe, it does not keep what aft builds on";

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
