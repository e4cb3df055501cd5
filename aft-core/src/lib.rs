//! Atomic, exactly-once transactions over any object store.

mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod path;
mod storage;

pub use clock::{Clock, SystemClock};
pub use path::check_path;
pub use storage::{BoxError, Object, ObjectInfo, Storage, StorageError};
