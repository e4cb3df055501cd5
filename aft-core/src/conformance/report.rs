//! What the suite says.

use std::fmt;

use crate::storage::StorageError;

/// The checks that a store passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Their names.
    pub passed: Vec<&'static str>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks passed: {}", self.passed.len(), self.passed.join(", "))
    }
}

/// The check that a store failed.
#[derive(Debug, thiserror::Error)]
#[error("conformance check {check:?} failed: expected {expected}; saw {seen}")]
pub struct Failure {
    /// Which check.
    pub check: &'static str,
    /// What the contract demands.
    pub expected: String,
    /// What the store did.
    pub seen: String,
    /// The store's error, where it answered with one.
    pub source: Option<StorageError>,
}

impl Failure {
    pub(super) fn new(check: &'static str, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { check, expected: expected.into(), seen: seen.into(), source: None }
    }
}
