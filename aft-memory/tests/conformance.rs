//! The memory store keeps the contract, also behind the recording store.

use std::sync::Arc;

use aft_core::conformance::{self, Options};
use aft_memory::{MemoryStorage, RecordingStorage};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory() {
    let storage = MemoryStorage::new();
    let report = conformance::run(Arc::new(storage.clone()), &Options::default()).await.unwrap();
    assert_eq!(report.passed, conformance::CHECKS);
    assert!(storage.is_empty(), "the suite cleans up after itself");
}

#[tokio::test]
async fn recording() {
    let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
    conformance::run(Arc::new(storage), &Options { rounds: 3, ..Options::default() }).await.unwrap();
}
