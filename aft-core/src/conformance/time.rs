//! `last_modified` is one clock: the same from everywhere, and never far from the moment of creation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::report::Failure;
use super::scope::Scope;
use crate::clock::{Clock, SystemClock};
use crate::storage::ObjectInfo;

/// What is lost by comparing whole seconds, at both ends.
const ROUNDING: Duration = Duration::from_secs(2);

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

pub(super) async fn last_modified_agrees(scope: &Scope) -> Result<(), Failure> {
    let paths: Vec<String> =
        (0..scope.options.rounds.max(8)).map(|n| scope.path(&format!("{n:06}"))).collect();
    scope.create_all(&paths).await?;
    let listed = scope.list(&scope.path(""), None).await?;
    compare(scope, &listed).await?;
    // Asking does not change it, and neither does a create that loses.
    for path in &paths {
        scope.expect_already_exists(scope.storage.create(path, "other".into()).await, path)?;
    }
    compare(scope, &listed).await
}

/// Compares the listed times with those of `get`.
async fn compare(scope: &Scope, listed: &[ObjectInfo]) -> Result<(), Failure> {
    for info in listed {
        let object = scope.storage.get(&info.path).await;
        let object = scope.expect(object, || format!("the object at {:?}", info.path))?;
        let (get, list) = (seconds(object.last_modified), seconds(info.last_modified));
        let expected =
            || format!("get and list of {:?} to agree on last_modified in whole seconds", info.path);
        scope.ensure(get == list, expected, || format!("{get} s from get, {list} s from list"))?;
    }
    Ok(())
}

pub(super) async fn last_modified_is_monotone(scope: &Scope) -> Result<(), Failure> {
    let clock = SystemClock::new();
    let mut newest: Option<SystemTime> = None;
    for round in 0..scope.options.rounds.max(8) {
        let path = scope.path(&format!("{round:06}"));
        let before = clock.monotonic();
        scope.create(&path, "x").await?;
        let object = scope.storage.get(&path).await;
        let time = scope.expect(object, || format!("the object at {path:?}"))?.last_modified;
        // The object that was made before this one lies at most this far in the past.
        let passed = clock.monotonic().saturating_sub(before) + ROUNDING + scope.options.visibility_delay;
        if let Some(newest) = newest {
            let late = newest.duration_since(time).unwrap_or_default();
            let limit = scope.options.visibility_delay + ROUNDING;
            let expected =
                || format!("an object to be at most {limit:?} older than one that was made before it");
            scope.ensure(late <= limit, expected, || format!("{late:?} at {path:?}"))?;
            let early = time.duration_since(newest).unwrap_or_default();
            let expected = || format!("two objects made one after the other to be at most {passed:?} apart");
            scope.ensure(early <= passed, expected, || format!("{early:?} at {path:?}"))?;
        }
        newest = newest.max(Some(time));
    }
    Ok(())
}
