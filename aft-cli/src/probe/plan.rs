//! How hard a probe tries, and why it stops early.

use std::future::Future;
use std::time::Duration;

use aft_core::StorageError;

/// How hard a probe tries.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Everything happens below this: a folder that nobody else has, with a `/` at the end.
    pub(crate) prefix: String,
    /// How many races there are.
    pub(crate) rounds: usize,
    /// How many create one path in a race.
    pub(crate) racers: usize,
    /// How many objects the long listings and the bulk delete have.
    pub(crate) objects: usize,
    /// How often each operation's latency is measured.
    pub(crate) latencies: usize,
    /// How often the clocks are compared.
    pub(crate) clock_samples: usize,
    /// How long to wait between two comparisons, so that they fall into different parts of a second.
    pub(crate) clock_spacing: Duration,
    /// How far the two clocks may be apart.
    pub(crate) max_clock_skew: Duration,
    /// How long all of it may take.
    pub(crate) timeout: Duration,
    /// How long removing what was made may take.
    pub(crate) cleanup_timeout: Duration,
}

/// Why a probe could not ask what it had to ask: no word about the store's safety.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// What was being done.
    pub(crate) doing: String,
    /// The store's own error.
    pub(crate) cause: StorageError,
}

impl Trouble {
    pub(crate) fn new(doing: impl Into<String>, cause: StorageError) -> Self {
        Self { doing: doing.into(), cause }
    }
}

/// How often a request without an effect of its own is tried before its error is believed.
const TRIES: u32 = 4;

/// Makes a request that may be repeated, again where that may help.
pub(crate) async fn patiently<T, F>(mut request: impl FnMut() -> F) -> Result<T, StorageError>
where
    F: Future<Output = Result<T, StorageError>>,
{
    for attempt in 1..TRIES {
        match request().await {
            Err(error) if error.is_transient() => {
                tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            }
            settled => return settled,
        }
    }
    request().await
}
