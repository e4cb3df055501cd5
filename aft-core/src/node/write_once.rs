//! Objects that are written once: creating one, and settling every doubt about whether that happened by reading back.
//!
//! A store can say "already exists" of what the same request made (a client that retried), or of a conflict without effect; it can fall silent after
//! it took effect, or before it does. What can be read is there; *not found settles nothing*, since what was sent may still land (`HAZARDS` 4, 16).

use std::future::Future;

use bytes::Bytes;

use crate::node::store::{Store, backoff};
use crate::rng::NodeRng;
use crate::storage::StorageError;

/// What came of one try to create an object.
#[derive(Debug)]
pub(crate) enum Tried {
    /// The store says that it made the object.
    Made,
    /// There may be an object of this name, ours or another's, or ours may still land: only reading it tells.
    InDoubt(StorageError),
    /// Nothing was written by this try; the next may succeed.
    NotNow(StorageError),
}

impl Tried {
    /// Whether there may be something to read.
    pub(crate) const fn may_be_there(&self) -> bool {
        !matches!(self, Self::NotNow(_))
    }
}

impl Store {
    /// Tries once to create an object. An error is one that no further try mends.
    pub(crate) async fn try_create(&self, path: &str, bytes: Bytes) -> Result<Tried, StorageError> {
        match self.create(path, bytes).await {
            Ok(()) => Ok(Tried::Made),
            Err(error @ (StorageError::AlreadyExists { .. } | StorageError::Unknown { .. })) => {
                Ok(Tried::InDoubt(error))
            }
            Err(error @ StorageError::Unavailable { .. }) => Ok(Tried::NotNow(error)),
            Err(error) => Err(error),
        }
    }
}

/// Creates an object, and tries again until what became of it is known: `create` sends it, and `settle` is asked after each try that
/// may have left something to read; it answers `None` where that settled nothing. `Ok(Err(…))` has the last failure, once the tries are used up.
pub(crate) async fn write_once<T, E, C, S>(
    rng: &NodeRng,
    path: &str,
    tries: u32,
    mut create: impl FnMut() -> C + Send,
    mut settle: impl FnMut(bool) -> S + Send,
) -> Result<Result<T, StorageError>, E>
where
    T: Send,
    E: Send,
    C: Future<Output = Result<Tried, E>> + Send,
    S: Future<Output = Result<Option<T>, E>> + Send,
{
    let mut last = StorageError::unavailable(path);
    for wait in backoff(rng, tries) {
        let tried = create().await?;
        let settled = if tried.may_be_there() { settle(matches!(tried, Tried::Made)).await? } else { None };
        if let Some(settled) = settled {
            return Ok(Ok(settled));
        }
        if let Tried::InDoubt(error) | Tried::NotNow(error) = tried {
            last = error;
        }
        tracing::debug!(error = %last, path, ?wait, "what became of an object is not settled; trying again");
        tokio::time::sleep(wait).await;
    }
    Ok(Err(last))
}

/// Tries before an object of one's own is given up: about 15 s of waiting.
pub(crate) const OWN_TRIES: u32 = 14;

/// Makes an object durable whose name is this writer's alone, so that whatever is there is ours and whole.
pub(crate) async fn create_own(
    store: &Store,
    rng: &NodeRng,
    path: &str,
    bytes: Bytes,
) -> Result<(), StorageError> {
    let create = || store.try_create(path, bytes.clone());
    let settle = async |made: bool| {
        if made {
            return Ok(Some(()));
        }
        // "Already exists" may be a conflict without effect: only what can be read is durable.
        match store.get_range(path, 0..1).await {
            Ok(_) => Ok(Some(())),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) if error.is_transient() => Ok(None),
            Err(error) => Err(error),
        }
    };
    write_once(rng, path, OWN_TRIES, create, settle).await?
}
