//! What aft costs beside the plain alternative: the same bytes written or read by `object_store` directly.
//!
//! [`cases`] has the operations, both sides of each. The benchmark `aft` hands them to criterion, which watches each
//! side over time; the program `ratios` runs the sides in turn and prints how they compare. `docs/benchmarks.md` says
//! how to run and read both.

#![allow(clippy::expect_used, reason = "a benchmark whose store fails has nothing to report")]

pub mod cases;
pub mod counts;
pub mod data;
pub mod moved_clock;
pub mod place;
pub mod plain;
pub mod ratios;
pub mod scale;
pub mod stopwatch;
