//! Decisions: the in-time rule, the view of recent commits, the read set, version choice, the write buffer, pruning, folds,
//! what may be deleted.
//!
//! Synchronous and pure: no IO, no lock, no clock and no randomness of its own (I11).

pub mod base;
pub mod branches;
pub mod bundles;
pub mod choose;
pub mod clock_check;
pub mod collect;
pub mod commit;
pub mod feed_queue;
pub mod fold;
pub mod knowledge;
#[cfg(test)]
mod oracle;
pub mod prune;
pub mod read_set;
pub mod standing;
pub mod timeliness;
pub mod view;
#[cfg(test)]
mod windows;
pub mod write_buffer;
pub mod write_set;
