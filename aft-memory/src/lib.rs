//! In-memory stores for aft: one for programs without a store, and one that tests hand to their own programs.
//!
//! - [`MemoryStorage`] keeps the objects in this process.
//! - [`SimulatedStorage`] puts a seeded bad network between a program and its store.
//! - [`RecordingStorage`] wraps any store, logs every request and fails exactly those that a test scripts.

mod fault;
mod gate;
mod memory;
mod recording;
mod request;
mod simulated;

pub use fault::{Corruption, ErrorKind, Fault};
pub use gate::Gate;
pub use memory::MemoryStorage;
pub use recording::RecordingStorage;
pub use request::{Counts, Operation, Request};
pub use simulated::{CrashMoment, Event, Faults, Latency, Lie, Moment, Prices, Process, SimulatedStorage};
