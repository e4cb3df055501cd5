//! Is the checker right? Histories written by hand, then random ones against a decision by brute force.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod guarded;
mod promises;
mod random;
mod rule;
mod written;
