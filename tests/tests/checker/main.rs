//! Is the checker right? Histories written by hand, then random ones against a decision by brute force.

mod promises;
mod random;
mod rule;
mod written;
