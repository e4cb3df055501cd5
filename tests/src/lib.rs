//! What the tests across crates share: clocks that a test moves, and nodes on one recorded store.
//!
//! Tests run on a current-thread runtime whose time is paused: it jumps to the next timer when nothing else can run,
//! so that waits cost nothing and a test replays exactly.

pub mod checker;
mod doubts;
pub mod explore;
pub mod history;
#[cfg(unix)]
pub mod killed;
mod listings;
mod model;
pub mod origin;
mod planted;
pub mod processes;
pub mod proxy;
pub mod sim;
pub mod soak;
mod waiting;
mod world;

pub use doubts::{DOUBTS, Doubt};
pub use listings::HidingStorage;
pub use model::{FOUND_BY_THE_MODEL, ModelReport, run_model, run_models};
pub use planted::holds_unless;
pub use waiting::{WaitingStorage, rounds_since};
pub use world::{NodeClock, World, add, commit_together, get, number, put, write};

use aft_core::Aft;
use futures::future::BoxFuture;

/// How a process opens a node on the store at a URL.
pub type OpenNode = fn(String) -> BoxFuture<'static, Aft>;
