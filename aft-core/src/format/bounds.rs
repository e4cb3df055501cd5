//! How large an object can be, by its kind. Whoever reads one reads no more, whatever a store or its listing says of it; whoever writes
//! one whose length nothing else bounds, refuses to write more.

use crate::format::name::{BUNDLES, CHECKPOINTS, COMMITS, EPOCHS, FEED, GARBAGE, GUARDS, OUTCOMES, REQUESTS};

/// The marker, the note of a clone, epochs, seals, guards and claims: a few hundred bytes, a claim some four thousand.
pub const SMALL: u64 = 64 << 10;
/// A decision: `max_record_bytes` is 64 MiB at most.
pub const DECISION: u64 = 128 << 20;
/// A feed object: 8 MiB of commits, and the commit that made it full.
pub const FEED_OBJECT: u64 = 256 << 20;
/// A bundle: 8 MiB of copies, and their names.
pub const BUNDLE: u64 = 16 << 20;
/// A manifest: some 300 bytes for each file of 32 MiB, and its first and last key twice over.
pub const MANIFEST: u64 = 256 << 20;
/// A list of garbage or outcomes: 16 bytes for each decision, some 30 for each value.
pub const LIST: u64 = 1 << 30;

/// The most bytes that an object of this name can have; `None` for files of the index, recent files and values, which are as long as what
/// names them says.
#[must_use]
pub fn most_bytes(path: &str) -> Option<u64> {
    let within = |folder: &str| path.starts_with(folder);
    if within(COMMITS) {
        Some(DECISION)
    } else if within(FEED) {
        Some(FEED_OBJECT)
    } else if within(BUNDLES) {
        Some(BUNDLE)
    } else if within(CHECKPOINTS) {
        Some(if path.ends_with(".json") { MANIFEST } else { SMALL })
    } else if within(GARBAGE) || within(OUTCOMES) {
        Some(LIST)
    } else if within(REQUESTS) || within(GUARDS) || within(EPOCHS) || !path.contains('/') {
        Some(SMALL)
    } else {
        None
    }
}
