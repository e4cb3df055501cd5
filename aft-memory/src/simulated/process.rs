//! A process on the simulated network: it can crash, also at an exact request, and be paused.

use std::fmt;
use std::sync::Arc;

use aft_core::StorageError;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// A simulated process. Its requests reach the store until it crashes; clones are the same process.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// use std::sync::Arc;
/// use aft_core::Storage;
/// use aft_memory::{CrashMoment, Faults, MemoryStorage, SimulatedStorage};
///
/// let network = SimulatedStorage::new(Arc::new(MemoryStorage::new()), 7, Faults::none());
/// let (one, other) = (network.process("one"), network.process("other"));
/// one.crash_at(1, CrashMoment::AfterTheEffect);
/// let (dying, second) = (network.reached_by(&one), std::time::Duration::from_secs(1));
/// // Nobody is left to hear the answer.
/// assert!(tokio::time::timeout(second, dying.create("a", "x".into())).await.is_err());
/// assert!(one.is_crashed() && !other.is_crashed());
/// assert!(network.reached_by(&other).get("a").await.is_ok());
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    name: String,
    /// Wakes those who wait for a paused process, in the order in which they came: a `watch` would draw lots.
    resumed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    crashed: bool,
    paused: bool,
    deceivable: bool,
    requests: u64,
    crash_at: Option<(u64, CrashMoment)>,
}

/// Where within a request a process crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashMoment {
    /// The request is never sent.
    BeforeSending,
    /// The store served it, and the process never hears of it.
    AfterTheEffect,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.0.name).finish()
    }
}

impl Process {
    pub(super) fn new(name: &str) -> Self {
        Self(Arc::new(Inner { name: name.to_owned(), resumed: Notify::new(), state: Mutex::default() }))
    }

    /// Its name, in traces.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Crashes the process: nothing that it sends from now on reaches the store, what is under way may still land, and no answer
    /// reaches it. Whoever simulates it should drop what it was doing.
    pub fn crash(&self) {
        self.0.state.lock().crashed = true;
        // A paused process dies as well.
        self.resume();
    }

    /// Crashes the process at its `nth` request (1 is its first).
    pub fn crash_at(&self, nth: u64, moment: CrashMoment) {
        self.0.state.lock().crash_at = Some((nth, moment));
    }

    /// Whether it has crashed.
    #[must_use]
    pub fn is_crashed(&self) -> bool {
        self.0.state.lock().crashed
    }

    /// From now on listings may lie to it: it has something to compare them with.
    pub fn deceivable(&self) {
        self.0.state.lock().deceivable = true;
    }

    pub(super) fn is_deceivable(&self) -> bool {
        self.0.state.lock().deceivable
    }

    /// How many requests it made.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.0.state.lock().requests
    }

    /// Stops the process in its tracks: what it sends waits, and what comes back to it too.
    pub fn pause(&self) {
        self.0.state.lock().paused = true;
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.0.state.lock().paused = false;
        self.0.resumed.notify_waiters();
    }

    pub(super) fn count(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.requests += 1;
        state.requests
    }

    /// Whether the process crashes at this moment of its request with this number.
    pub(super) fn crashes(&self, number: u64, moment: CrashMoment) -> bool {
        let mut state = self.0.state.lock();
        let now = state.crash_at == Some((number, moment));
        state.crashed |= now;
        now
    }

    /// Waits while the process is paused; fails once it has crashed.
    pub(super) async fn ready(&self, path: &str) -> Result<(), StorageError> {
        loop {
            // Made before the flag is read, so that no resumption in between is missed.
            let resumed = self.0.resumed.notified();
            if !self.0.state.lock().paused {
                break;
            }
            resumed.await;
        }
        if self.is_crashed() { Err(dead(path)) } else { Ok(()) }
    }
}

/// What a crashed process would hear, if anyone were left to listen: an error that ends whatever still runs in its name.
pub(super) fn dead(path: &str) -> StorageError {
    StorageError::denied(path).with_source("the process has crashed")
}
