//! Atomic, exactly-once transactions over any object store.

#[cfg(feature = "conformance")]
pub mod conformance;
mod clock;
mod storage;

pub use clock::{Clock, SystemClock};
pub use storage::{BoxError, Object, ObjectInfo, Storage, StorageError};
