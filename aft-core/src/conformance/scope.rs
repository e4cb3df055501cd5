//! What every check works with: the store, its own corner of it, and ways to expect something of it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::Options;
use super::report::Failure;
use crate::storage::{ObjectInfo, Storage, StorageError};

/// How many paths are named in a report before it says "and more".
const NAMED: usize = 3;

/// One check's corner of the store.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) check: &'static str,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) options: Options,
}

impl Scope {
    pub(super) fn new(
        check: &'static str,
        storage: Arc<dyn Storage>,
        options: &Options,
    ) -> Result<Self, Failure> {
        let scope = Self { check, storage, options: options.clone() };
        match options.prefix.strip_suffix('/').map(crate::check_path) {
            Some(Ok(())) => Ok(scope),
            _ => Err(scope
                .failure("Options::prefix to be a legal path and \"/\"", format!("{:?}", options.prefix))),
        }
    }

    /// The path of `name` in this check's corner.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}{}/{name}", self.options.prefix, self.check)
    }

    pub(super) fn failure(&self, expected: impl Into<String>, seen: impl Into<String>) -> Failure {
        Failure::new(self.check, expected, seen)
    }

    /// Deletes whatever is in the corner.
    pub(super) async fn clear(&self) -> Result<(), Failure> {
        let prefix = self.path("");
        let left: Vec<String> = self.list(&prefix, None).await?.into_iter().map(|info| info.path).collect();
        for some in left.chunks(1000) {
            self.expect(self.storage.delete(some).await, || {
                "the check's objects to be deletable".to_owned()
            })?;
        }
        Ok(())
    }

    /// The answer, or a failure that keeps the store's error.
    pub(super) fn expect<T>(
        &self,
        answer: Result<T, StorageError>,
        expected: impl FnOnce() -> String,
    ) -> Result<T, Failure> {
        answer.map_err(|error| Failure { source: Some(error), ..self.failure(expected(), "an error") })
    }

    pub(super) fn ensure(
        &self,
        holds: bool,
        expected: impl FnOnce() -> String,
        seen: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if holds { Ok(()) } else { Err(self.failure(expected(), seen())) }
    }

    pub(super) async fn create(&self, path: &str, bytes: impl Into<Bytes>) -> Result<(), Failure> {
        self.expect(self.storage.create(path, bytes.into()).await, || {
            format!("create of {path:?} to succeed")
        })
    }

    /// Creates an object at each of the paths, many at once; its content is its path.
    pub(super) async fn create_all(&self, paths: &[String]) -> Result<(), Failure> {
        stream::iter(paths.to_vec())
            .map(|path| async move { self.create(&path, path.clone()).await })
            .buffer_unordered(self.options.concurrency.max(1))
            .try_collect()
            .await
    }

    pub(super) async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        let object = self.storage.get(path).await;
        Ok(self.expect(object, || format!("the object at {path:?}"))?.bytes)
    }

    pub(super) async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, Failure> {
        let listed: Result<Vec<_>, _> = self.storage.list(prefix, after).try_collect().await;
        self.expect(listed, || format!("a list of {prefix:?} after {after:?}"))
    }

    /// Lists and compares with exactly `expected`, each once, in any order.
    pub(super) async fn expect_list<'a>(
        &self,
        prefix: &str,
        after: Option<&str>,
        expected: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), Failure> {
        let listed = self.list(prefix, after).await?;
        let expected: BTreeSet<&str> = expected.into_iter().map(String::as_str).collect();
        let seen: BTreeSet<&str> = listed.iter().map(|info| info.path.as_str()).collect();
        let what = || format!("list({prefix:?}, {after:?}) to yield exactly its {} objects", expected.len());
        self.ensure(seen == expected, what, || {
            let (missing, extra) = (named(expected.difference(&seen)), named(seen.difference(&expected)));
            format!("{} objects; missing {missing}; not to be there {extra}", seen.len())
        })?;
        self.ensure(listed.len() == seen.len(), what, || format!("{} entries, some twice", listed.len()))
    }

    /// The error that a request must end in: of `kind`, and carrying `path`.
    pub(super) fn expect_error<T: Debug>(
        &self,
        answer: Result<T, StorageError>,
        path: &str,
        kind: &str,
        is_kind: impl Fn(&StorageError) -> bool,
    ) -> Result<(), Failure> {
        let expected = || format!("{kind} for {path:?}");
        let error = match answer {
            Ok(answer) => {
                let seen: String = format!("{answer:?}").chars().take(200).collect();
                return Err(self.failure(expected(), format!("Ok({seen})")));
            }
            Err(error) if is_kind(&error) => error,
            Err(error) => {
                let seen = "an error of another kind";
                return Err(Failure { source: Some(error), ..self.failure(expected(), seen) });
            }
        };
        self.ensure(error.path() == path, expected, || {
            format!("an error that carries the path {:?}", error.path())
        })
    }

    pub(super) fn expect_not_found<T: Debug>(
        &self,
        answer: Result<T, StorageError>,
        path: &str,
    ) -> Result<(), Failure> {
        self.expect_error(answer, path, "NotFound", |error| matches!(error, StorageError::NotFound { .. }))
    }

    pub(super) fn expect_already_exists(
        &self,
        answer: Result<(), StorageError>,
        path: &str,
    ) -> Result<(), Failure> {
        let is_kind = |error: &StorageError| matches!(error, StorageError::AlreadyExists { .. });
        self.expect_error(answer, path, "AlreadyExists", is_kind)
    }
}

/// The first few of the paths, for a report.
fn named<'a>(paths: impl Iterator<Item = &'a &'a str>) -> String {
    let paths: Vec<_> = paths.collect();
    match paths.len() {
        0 => "none".to_owned(),
        few if few <= NAMED => format!("{paths:?}"),
        many => format!("{:?} and {} more", &paths[..NAMED], many - NAMED),
    }
}
