//! `create` is atomic: of all who create one path exactly one wins, and everybody sees what the winner wrote.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::report::Failure;
use super::scope::Scope;
use crate::storage::StorageError;

/// How many bytes a racer writes, round by round: enough that a torn object would show, and around the sizes at which servers
/// change from one way of storing to another.
const RACER_BYTES: [usize; 4] = [4096, 1200, 256 << 10, 16];
/// How many race with large objects.
const LARGE_RACERS: usize = 4;

pub(super) async fn read_after_create(scope: &Scope) -> Result<(), Failure> {
    for round in 0..scope.options.rounds.max(1) {
        let path = scope.path(&format!("{round:06}"));
        scope.expect_not_found(scope.storage.get(&path).await, &path)?;
        scope.create(&path, path.clone()).await?;
        let seen = scope.get(&path).await?;
        let expected = || format!("the bytes that were created at {path:?}");
        scope.ensure(seen == path.as_bytes(), expected, || format!("{} bytes that differ", seen.len()))?;
    }
    Ok(())
}

pub(super) async fn create_over_existing(scope: &Scope) -> Result<(), Failure> {
    let path = scope.path("object");
    scope.create(&path, "the first bytes").await?;
    for other in ["other bytes", "the first bytes", ""] {
        let again = scope.storage.create(&path, Bytes::from_static(other.as_bytes())).await;
        scope.expect_already_exists(again, &path)?;
    }
    let seen = scope.get(&path).await?;
    let expected = || "an existing object to keep its bytes".to_owned();
    scope.ensure(seen == "the first bytes", expected, || format!("{seen:?}"))
}

pub(super) async fn create_race(scope: &Scope) -> Result<(), Failure> {
    for round in 0..scope.options.rounds.max(1) {
        one_wins(scope, round, scope.options.racers.max(2), size(round)).await?;
    }
    Ok(())
}

/// Of creators of a large object one wins too: an adapter that uploads it in parts must guard the end of the upload, and many
/// servers do not.
pub(super) async fn create_race_large(scope: &Scope) -> Result<(), Failure> {
    for round in 0..scope.options.rounds.clamp(1, 3) {
        let racers = scope.options.racers.clamp(2, LARGE_RACERS);
        one_wins(scope, round, racers, scope.options.large_bytes).await?;
    }
    Ok(())
}

/// Lets `racers` create one object of `bytes` bytes; exactly one of them wins.
async fn one_wins(scope: &Scope, round: usize, racers: usize, bytes: usize) -> Result<(), Failure> {
    let path = scope.path(&format!("{round:06}"));
    let answers = race(scope, &path, racers, bytes).await?;
    let mut winners = Vec::new();
    let mut unknown = Vec::new();
    for (racer, answer) in answers {
        match answer {
            Ok(()) => winners.push(racer),
            // The contract lets a request end so, and then it may be the one that made the object.
            Err(StorageError::Unknown { .. }) => unknown.push(racer),
            Err(StorageError::Unavailable { .. }) => {}
            lost => scope.expect_already_exists(lost, &path)?,
        }
    }
    let expected = || format!("exactly one of {racers} creators of {path:?}, of {bytes} bytes, to win");
    let possible = winners.len() == 1 || (winners.is_empty() && !unknown.is_empty());
    scope.ensure(possible, expected, || {
        let (won, open) = (winners.len(), unknown.len());
        format!("{won} winners and {open} unknown outcomes in round {round}")
    })?;
    let seen = scope.get(&path).await?;
    let candidates = if winners.is_empty() { &unknown } else { &winners };
    let holds = candidates.iter().any(|racer| seen == racer_bytes(*racer, bytes));
    scope.ensure(holds, || format!("the winner's bytes at {path:?}"), || describe(&seen))
}

pub(super) async fn create_race_reads(scope: &Scope) -> Result<(), Failure> {
    for round in 0..scope.options.rounds.max(1) {
        let path = scope.path(&format!("{round:06}"));
        let racers = scope.options.racers.max(2);
        let (answers, seen) = tokio::join!(race(scope, &path, racers, size(round)), watch(scope, &path));
        answers?;
        let settled = scope.get(&path).await?;
        for bytes in seen? {
            let expected = || format!("a reader of {path:?} to see nothing, or the whole object that stays");
            scope.ensure(bytes == settled, expected, || describe(&bytes))?;
        }
    }
    Ok(())
}

fn size(round: usize) -> usize {
    RACER_BYTES[round % RACER_BYTES.len()]
}

/// Lets all racers create `path` at the same moment.
async fn race(
    scope: &Scope,
    path: &str,
    racers: usize,
    bytes: usize,
) -> Result<Vec<(usize, Result<(), StorageError>)>, Failure> {
    let start = Arc::new(Barrier::new(racers));
    let mut tasks = JoinSet::new();
    for racer in 0..racers {
        let (storage, start, path) = (Arc::clone(&scope.storage), Arc::clone(&start), path.to_owned());
        tasks.spawn(async move {
            start.wait().await;
            (racer, storage.create(&path, racer_bytes(racer, bytes)).await)
        });
    }
    let mut answers = Vec::with_capacity(racers);
    while let Some(answer) = tasks.join_next().await {
        let answer = answer.map_err(|error| scope.failure("an answer to every create", error.to_string()))?;
        answers.push(answer);
    }
    Ok(answers)
}

/// What readers see of `path` while it is raced for.
async fn watch(scope: &Scope, path: &str) -> Result<Vec<Bytes>, Failure> {
    let mut seen = Vec::new();
    for _ in 0..8 {
        match scope.storage.get(path).await {
            Ok(object) => seen.push(object.bytes),
            absent => scope.expect_not_found(absent, path)?,
        }
        tokio::task::yield_now().await;
    }
    Ok(seen)
}

fn racer_bytes(racer: usize, bytes: usize) -> Bytes {
    let word = (racer as u64).to_be_bytes();
    word.repeat(bytes.div_ceil(word.len())).into()
}

fn describe(bytes: &Bytes) -> String {
    format!("{} bytes that begin with {:?}", bytes.len(), &bytes[..bytes.len().min(16)])
}
