//! The handle with which a test holds a request.

use std::sync::Arc;

use aft_core::{Storage, StorageError};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

/// A hold on the request that a scripted [`Fault`](crate::Fault) strikes; clones are the same gate.
///
/// For faults other than `Delay`, `Late` and `Ghost` it only tells whether the fault has struck.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use aft_core::Storage;
/// use aft_memory::{Fault, MemoryStorage, Operation, RecordingStorage};
///
/// let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
/// let gate = storage.fail(Operation::Create, "a", 1, Fault::Ghost);
/// // Nobody knows what became of it; it happens when the test wants it.
/// assert!(storage.create("a", "x".into()).await.is_err());
/// assert!(gate.is_reached() && storage.get("a").await.is_err());
/// gate.release().await.unwrap();
/// assert!(storage.get("a").await.is_ok());
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone)]
pub struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    reached: watch::Sender<bool>,
    released: watch::Sender<bool>,
    ghost: Mutex<Option<Ghost>>,
}

/// An effect that was answered with `Unknown` and has not happened yet.
#[derive(Debug)]
struct Ghost {
    store: Arc<dyn Storage>,
    effect: Effect,
}

/// A change of the store.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    Create(String, Bytes),
    Delete(Vec<String>),
}

impl Effect {
    pub(crate) async fn apply(self, store: &dyn Storage) -> Result<(), StorageError> {
        match self {
            Self::Create(path, bytes) => store.create(&path, bytes).await,
            Self::Delete(paths) => store.delete(&paths).await,
        }
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let flag = || watch::Sender::new(false);
        Self(Arc::new(Inner { reached: flag(), released: flag(), ghost: Mutex::default() }))
    }

    /// Lets the request go on. The effect of a ghost happens now, and what the store says to it is returned; without
    /// a ghost this is `Ok`. A gate that is released before its request arrives lets it through at once.
    ///
    /// # Errors
    /// Those of the wrapped store for the effect of a ghost.
    pub async fn release(&self) -> Result<(), StorageError> {
        self.0.released.send_replace(true);
        let ghost = self.0.ghost.lock().take();
        match ghost {
            Some(Ghost { store, effect }) => effect.apply(&*store).await,
            None => Ok(()),
        }
    }

    /// Whether the fault has struck.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        *self.0.reached.borrow()
    }

    /// Waits until the fault has struck.
    pub async fn reached(&self) {
        wait(&self.0.reached).await;
    }

    pub(crate) fn reach(&self) {
        self.0.reached.send_replace(true);
    }

    pub(crate) async fn wait_for_release(&self) {
        wait(&self.0.released).await;
    }

    /// Keeps `effect` for the release; applies it at once where that has been.
    pub(crate) async fn haunt(&self, store: Arc<dyn Storage>, effect: Effect) {
        *self.0.ghost.lock() = Some(Ghost { store, effect });
        if *self.0.released.borrow() {
            // Whoever asked was told "unknown": the answer of the store reaches nobody by design.
            let _ = self.release().await;
        }
    }
}

async fn wait(flag: &watch::Sender<bool>) {
    // An error means that the sender is gone; it is borrowed here, so that cannot be.
    let _ = flag.subscribe().wait_for(|set| *set).await;
}
