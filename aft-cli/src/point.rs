//! A point in the order of versions, as the command line names it.

use std::fmt;
use std::str::FromStr;

use aft_core::{Aft, Outcome, Receipt, TxnId, Version, VersionInfo};

use crate::failure::Failure;

/// A version, named by what commands print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Point {
    /// The newest that is known.
    Now,
    Version(Version),
    Receipt(Receipt),
    /// What this transaction wrote, or the newest of this group.
    Txn(TxnId),
}

/// What names no point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PointError;

impl FromStr for Point {
    type Err = PointError;

    fn from_str(text: &str) -> Result<Self, PointError> {
        if text == "now" {
            return Ok(Self::Now);
        }
        let version = || text.parse().map(Self::Version);
        let receipt = || text.parse().map(Self::Receipt);
        text.parse().map(Self::Txn).or_else(|_| version()).or_else(|_| receipt()).map_err(|_| PointError)
    }
}

impl Point {
    /// The version; `None` for now in a store in which nothing was committed.
    pub(crate) async fn version(&self, aft: &Aft) -> Result<Option<Version>, Failure> {
        let id = match self {
            Self::Now => return Ok(aft.store_info().newest),
            Self::Version(version) => return Ok(Some(*version)),
            Self::Receipt(receipt) => return Ok(Some(receipt.version())),
            Self::Txn(id) => *id,
        };
        let why = match aft.outcome(id).await? {
            Outcome::Committed { receipt, .. } => return Ok(Some(receipt.version())),
            Outcome::Aborted => "it did not commit",
            Outcome::Undecided => "it has not committed",
            Outcome::Forgotten => "whether it committed is not recorded any more",
        };
        let failure = Failure::usage(format!("the transaction {id} has no version: {why}"));
        Err(failure.advice("name a version, as `aft log --json` and `aft versions --json` print them"))
    }

    /// Which of the versions of one key it is, newest first.
    pub(crate) fn among<'a>(&self, versions: &'a [VersionInfo]) -> Option<&'a VersionInfo> {
        let decided_by = |it: &VersionInfo| it.recent.as_ref().map(|recent| recent.decided_by);
        versions.iter().find(|it| match self {
            Self::Now => true,
            Self::Version(version) => it.version == *version,
            Self::Receipt(receipt) => it.version == receipt.version(),
            Self::Txn(id) => it.version.txn_id() == *id || decided_by(it) == Some(*id),
        })
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Version(version) => version.fmt(f),
            Self::Receipt(receipt) => receipt.fmt(f),
            Self::Txn(id) => id.fmt(f),
        }
    }
}

impl fmt::Display for PointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a version, a receipt or a transaction's id, as commands print them, or `now`")
    }
}

impl std::error::Error for PointError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_is_taken() {
        let id = "0198f3f4-0000-7000-8000-000000000000";
        for text in ["now", id, &format!("0198f3f400000000-{id}"), &format!("aft1.0198f3f400000000-{id}")] {
            let point: Point = text.parse().unwrap();
            assert_eq!(point.to_string(), text);
            let kind = format!("{point:?}");
            let expected = match text.len() {
                3 => "Now",
                36 => "Txn",
                53 => "Version",
                _ => "Receipt",
            };
            assert!(kind.starts_with(expected), "{kind}");
        }
        for text in ["", "Now", "yesterday", "aft1.", &id[1..]] {
            assert_eq!(text.parse::<Point>(), Err(PointError), "{text}");
        }
    }
}
