//! Removing what a probe made, also from a store that does not do what it says.

use std::collections::BTreeSet;
use std::time::Duration;

use aft_core::{Storage, StorageError};
use futures::{StreamExt, TryStreamExt, stream};

use super::connections::Connections;
use super::plan::{Plan, patiently};

/// How many objects one request deletes at most.
const BATCH: usize = 1000;
/// How many objects are looked for at once.
const PARALLEL: usize = 16;
/// How long creates that were given up half-way are waited for.
const LANDING: Duration = Duration::from_secs(2);

/// What is left, and why.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Objects that are still there, or of which that is not known.
    pub(crate) paths: Vec<String>,
    /// The first error met.
    pub(crate) cause: Option<StorageError>,
}

/// Deletes every object that was ever created, and looks whether they are gone: in a listing, and, with `distrust`, one by
/// one, since a store that is broken may list and delete wrongly.
pub(crate) async fn run(connections: &Connections, plan: &Plan, distrust: bool) -> Left {
    let created = connections.created();
    let mut left = Left::default();
    for batch in created.chunks(BATCH) {
        if let Err(error) = patiently(|| connections.delete(batch)).await {
            left.cause.get_or_insert(error);
        }
    }
    let mut suspects: BTreeSet<String> = connections.unanswered().into_iter().collect();
    if !suspects.is_empty() {
        // What was given up half-way may land a moment later.
        tokio::time::sleep(LANDING).await;
    }
    match patiently(|| connections.list(&plan.prefix, None).try_collect::<Vec<_>>()).await {
        Ok(listed) => suspects.extend(listed.into_iter().map(|info| info.path)),
        Err(error) => {
            // A store that cannot be asked will not say more about one object.
            left.cause.get_or_insert(error);
            left.paths = created;
            return left;
        }
    }
    if distrust || left.cause.is_some() {
        suspects.extend(created);
    }
    let looked: Vec<_> = stream::iter(suspects)
        .map(|path| remove(connections, path))
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    for (path, error) in looked.into_iter().flatten() {
        left.paths.push(path);
        if let Some(error) = error {
            left.cause.get_or_insert(error);
        }
    }
    left.paths.sort_unstable();
    left
}

/// Deletes an object by itself if it is still there: its path, where it stays.
async fn remove(connections: &Connections, path: String) -> Option<(String, Option<StorageError>)> {
    for last in [false, true] {
        match patiently(|| connections.get(&path)).await {
            Err(StorageError::NotFound { .. }) => return None,
            Err(error) => return Some((path, Some(error))),
            Ok(_) if last => break,
            Ok(_) => {
                if let Err(error) = patiently(|| connections.delete(std::slice::from_ref(&path))).await {
                    return Some((path, Some(error)));
                }
            }
        }
    }
    Some((path, None))
}
