//! What aft costs beside the plain alternative: the same bytes written or read by `object_store` directly.
//!
//! The benchmarks are in `benches/`, the table comes from the program `ratios`, and `docs/benchmarks.md` says how to run and
//! read both. Here is what they share.

#![allow(clippy::expect_used, reason = "a benchmark whose store fails has nothing to report")]

pub mod counts;
pub mod data;
pub mod place;
pub mod plain;
pub mod ratios;
pub mod stopwatch;
