//! Benchmarks of aft.
