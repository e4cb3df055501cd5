//! Atomic, exactly-once transactions over any object store.

mod clock;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod format;
mod node;
mod path;
mod protocol;
mod receipt;
mod rng;
mod storage;
mod txn_id;
mod version;

pub use clock::{Clock, SystemClock};
pub use config::{Config, MAX_KEY_BYTES, MAX_RESULT_BYTES};
pub use error::{Error, ErrorKind};
pub use node::{
    Aft, Begin, Builder, Commit, CommitInfo, CommitOutcome, Cost, Outcome, ScanPages, Stats, StoreInfo,
    SweepReport, Transaction,
};
pub use path::check_path;
pub use protocol::key_range::KeyRange;
pub use receipt::Receipt;
pub use storage::{BoxError, Object, ObjectInfo, Storage, StorageError};
pub use txn_id::TxnId;
pub use version::{Timestamp, Version};
