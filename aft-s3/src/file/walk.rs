//! `list`: a walk through the folders that can hold a match, a bounded number of entries at a time.

use std::fs::{self, ReadDir};
use std::io;
use std::path::Path;
use std::sync::Arc;

use aft_core::{ObjectInfo, StorageError};
use futures::stream::{self, BoxStream, StreamExt};

use super::{Inner, date, errno, stage};
use crate::prefix;

/// How many objects are looked at between two answers.
const PAGE: usize = 512;

/// Where the walk is: one open folder for each level.
struct Walk {
    prefix: String,
    start_after: Option<String>,
    levels: Vec<Level>,
}

struct Level {
    /// The paths of everything in it begin so: empty, or with a `/` at the end.
    path: String,
    entries: ReadDir,
}

pub(super) fn list(
    store: Arc<Inner>,
    prefix: &str,
    start_after: Option<&str>,
) -> BoxStream<'static, Result<ObjectInfo, StorageError>> {
    let Some(folder) = prefix::folder(prefix).filter(|_| !prefix::is_past(prefix, start_after)) else {
        return stream::empty().boxed();
    };
    let path = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let walk =
        Walk { prefix: prefix.to_owned(), start_after: start_after.map(str::to_owned), levels: Vec::new() };
    stream::unfold(Some((walk, Some((store.root.join(&path), path)))), move |state| {
        let store = Arc::clone(&store);
        async move {
            let (mut walk, start) = state?;
            let prefix = walk.prefix.clone();
            let page = tokio::task::spawn_blocking(move || {
                let page = start
                    .map_or(Ok(()), |(folder, path)| walk.enter(&folder, path))
                    .and_then(|()| store.settle_below(&walk.prefix))
                    .and_then(|()| walk.page());
                (page, walk)
            })
            .await;
            let (page, walk) = match page {
                Ok((Ok(page), walk)) => (page, walk),
                Ok((Err(error), _)) => return Some((failed(error), None)),
                Err(error) => {
                    return Some((failed(StorageError::unavailable(prefix).with_source(error)), None));
                }
            };
            let page: Vec<_> = page.into_iter().map(Ok).collect();
            let next = (!walk.levels.is_empty()).then_some((walk, None));
            Some((stream::iter(page), next))
        }
    })
    .flatten()
    .boxed()
}

type Page = stream::Iter<std::vec::IntoIter<Result<ObjectInfo, StorageError>>>;

fn failed(error: StorageError) -> Page {
    stream::iter(vec![Err(error)])
}

impl Walk {
    fn failed(&self, error: io::Error) -> StorageError {
        match errno::read(&self.prefix, error) {
            // Absent folders were dealt with: nothing else of a listing is "not found".
            StorageError::NotFound { path, source } => StorageError::Unavailable { path, source },
            other => other,
        }
    }

    /// Opens a folder; one that is not there, or no longer, has no entries.
    fn enter(&mut self, folder: &Path, path: String) -> Result<(), StorageError> {
        match fs::read_dir(folder) {
            Ok(entries) => self.levels.push(Level { path, entries }),
            Err(error) if errno::is_absent(&error) => {}
            Err(error) => return Err(self.failed(error)),
        }
        Ok(())
    }

    /// Whether a path that begins with `folder` can be asked for.
    fn may_hold(&self, folder: &str) -> bool {
        let below = folder.starts_with(&self.prefix) || self.prefix.starts_with(folder);
        below && !prefix::is_past(folder, self.start_after.as_deref())
    }

    fn wants(&self, path: &str) -> bool {
        path.starts_with(&self.prefix) && self.start_after.as_deref().is_none_or(|after| path > after)
    }

    /// The next objects, at most [`PAGE`]; fewer, also none, is not the end.
    fn page(&mut self) -> Result<Vec<ObjectInfo>, StorageError> {
        let mut page = Vec::new();
        for _ in 0..PAGE {
            let Some(level) = self.levels.last_mut() else { break };
            let entry = match level.entries.next() {
                None => {
                    self.levels.pop();
                    continue;
                }
                Some(Err(error)) if errno::is_absent(&error) => continue,
                Some(entry) => entry,
            };
            let root = level.path.is_empty();
            let parent = level.path.clone();
            let entry = entry.map_err(|error| self.failed(error))?;
            // Names that are no UTF-8, and the staged files, are nobody's objects.
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if root && name == stage::FOLDER {
                continue;
            }
            let path = parent + &name;
            let kind = match entry.file_type() {
                Err(error) if errno::is_absent(&error) => continue,
                kind => kind.map_err(|error| self.failed(error))?,
            };
            if kind.is_dir() {
                let folder = path + "/";
                if self.may_hold(&folder) {
                    self.enter(&entry.path(), folder)?;
                }
            } else if kind.is_file() && self.wants(&path) {
                match entry.metadata() {
                    Err(error) if errno::is_absent(&error) => {}
                    metadata => {
                        let metadata = metadata.map_err(|error| self.failed(error))?;
                        let (size, last_modified) = (metadata.len(), date::of(&metadata));
                        page.push(ObjectInfo { path, size, last_modified });
                    }
                }
            }
        }
        Ok(page)
    }
}
