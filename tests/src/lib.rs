//! Tests of aft across crates.
