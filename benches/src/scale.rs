//! How the costs of a store grow with it: a store of up to ten million keys, made by folding steady batches, and a node that reads it.

mod files;
mod make;
mod memory;
mod read;

pub use make::make;
pub use read::read;

use std::time::Duration;

use aft_core::Config;

/// What a key's value has.
const VALUE_BYTES: usize = 64;
/// Keys in one commit.
const PER_COMMIT: u64 = 1_000;

/// The `n`th key: all over the place, so that every batch has keys between those of every other.
fn key(n: u64) -> String {
    // Odd factors and shifts to the right can be undone: no two keys are the same.
    let mixed = (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:016x}", mixed ^ (mixed >> 29))
}

/// A node that does nothing on its own.
fn config() -> Config {
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    Config { background: false, feed_interval: hour, sweep_interval: day, ..Config::default() }
}
