//! What a check found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::node::upkeep::collect::{GarbageClass, GarbageKind};

/// So many problems, and so many orphans, are named; more are counted.
const NAMED: usize = 1000;

/// What a check of a store found; from [`Aft::check`](crate::Aft::check).
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// let report = aft.check().await?;
/// assert!(report.is_clean() && report.problems.is_empty());
/// assert_eq!(report.decisions, 1);
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// The newest checkpoint that counts and can be read; 0 for none.
    pub checkpoint: u64,
    /// Manifests that are as they should be.
    pub manifests: u64,
    /// Files of sorted runs that are.
    pub run_files: u64,
    /// Rows read in them.
    pub rows: u64,
    /// Commits that are not in the index yet.
    pub commits: u64,
    /// Decisions that can be read.
    pub decisions: u64,
    /// Commits that nobody has published yet, and that the next sweep does.
    pub unpublished: u64,
    /// Feed objects that count and can be read.
    pub feed_objects: u64,
    /// Claims of request keys that can be read.
    pub claims: u64,
    /// Guards that can be read.
    #[serde(default)]
    pub guards: u64,
    /// Values in objects of their own that are as they should be.
    pub values: u64,
    /// Bytes that the check read.
    pub bytes_read: u64,
    /// What is missing, damaged or cannot be read, the first thousand, sorted by path: one for each object.
    pub problems: Vec<CheckProblem>,
    /// Problems beyond those named.
    pub more_problems: u64,
    /// Paths of objects that nothing names, and of objects that are none of aft's; the first thousand. They do no harm, and the next
    /// collections delete those that are aft's.
    pub orphans: Vec<String>,
    /// Orphans beyond those named.
    pub more_orphans: u64,
    /// What the next collection of garbage would delete.
    pub garbage: BTreeMap<GarbageKind, GarbageClass>,
    /// What could not be checked, and why.
    pub left_out: Vec<String>,
}

/// An object that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckProblem {
    /// Its path in the store.
    pub path: String,
    /// How it is not.
    pub kind: CheckProblemKind,
    /// What it holds, or should, and what is wrong with it.
    pub what: String,
}

/// How an object is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckProblemKind {
    /// Something needs it, and it is not there.
    Missing,
    /// It is there, and is not what was written, or breaks a rule.
    Damaged,
    /// It is there, and of a format version that this aft does not read.
    Unsupported,
    /// It is dated otherwise than it was made: the store was copied, or its dates were changed.
    DatesChanged,
    /// It is a committed decision that nothing carries: no feed object and no checkpoint tells of it, and no sweep will look for it.
    Unpublished,
}

impl CheckReport {
    /// Whether nothing is missing, nothing damaged and no commit lost. Orphans and garbage do no harm.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.more_problems == 0
    }

    /// Adds a problem; of one object the first.
    pub(super) fn add(&mut self, path: &str, kind: CheckProblemKind, what: String) {
        match self.problems.binary_search_by(|problem| (*problem.path).cmp(path)) {
            Ok(_) => {}
            Err(_) if self.problems.len() >= NAMED => self.more_problems += 1,
            Err(at) => self.problems.insert(at, CheckProblem { path: path.to_owned(), kind, what }),
        }
    }

    pub(super) fn add_orphan(&mut self, path: String) {
        match self.orphans.binary_search(&path) {
            Ok(_) => {}
            Err(_) if self.orphans.len() >= NAMED => self.more_orphans += 1,
            Err(at) => self.orphans.insert(at, path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_named_and_the_rest_is_counted() {
        let mut report = CheckReport::default();
        assert!(report.is_clean());
        for n in (0..NAMED + 5).rev() {
            for what in ["first", "second"] {
                report.add(&format!("{n:05}"), CheckProblemKind::Missing, what.into());
            }
            report.add_orphan(format!("{n:05}"));
        }
        assert_eq!((report.problems.len(), report.more_problems), (NAMED, 10));
        assert_eq!((report.orphans.len(), report.more_orphans), (NAMED, 5));
        assert!(report.problems.is_sorted_by(|a, b| a.path < b.path));
        assert!(report.problems.iter().all(|problem| problem.what == "first") && !report.is_clean());
    }
}
