//! A simulated world that can prove aft wrong: many nodes in one process, on one seeded, single-threaded executor with virtual
//! time, one simulated store between them, and an auditor.
//!
//! - [`run`] runs one seed and judges what happened.
//! - A recorder writes down what clients saw; [`crate::checker`] decides whether aft's promises hold in it.
//! - `workload` is what clients do, `relay` what they do in seeds that are about transactions between nodes of different checkpoints,
//!   `chaos` what happens to them, `mischief` and `adoption` what becomes of listings and dates.

mod adoption;
mod archive;
mod audit;
mod chaos;
mod cluster;
mod mischief;
mod notes;
mod planted;
pub(crate) mod recorded;
pub(crate) mod recorder;
mod relay;
mod requests;
mod run;
pub(crate) mod truth;
mod upkeep;
mod workload;

pub use planted::{FOUND_BY_SEEDS, FOUND_WITH_UPKEEP, SEEDS_PER_BUG};
pub(crate) use run::short_windows;
pub use run::{Options, Report, run};
