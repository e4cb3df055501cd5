//! Any object_store backend as a store.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use aft_core::{Object, ObjectInfo, Storage, StorageError, check_path};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use crate::failure::{self, Request};
use crate::listing::Pages;
use crate::prefix;

/// Larger than any object of any store: offsets past it are not sent, since servers disagree about huge numbers.
const LARGEST: u64 = 1 << 50;

/// A store over any [`object_store`] backend that can create conditionally.
///
/// # What it relies on
/// - `PutMode::Create` must be atomic. A backend that cannot do it at all makes every create `Invalid`; one that
///   ignores the condition cannot be told from here: aft probes it when it opens the store.
/// - The backend's client should not retry a create inside: after a lost answer it would report `AlreadyExists` for its
///   own success. aft's core reads back and compares, so this is safe there; a caller of `Storage` itself must know.
///   [`open`](crate::open) sets up its clients so that creates are not retried.
/// - Time limits are the backend's: set them so that every request ends.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use aft_s3::ObjectStorage;
///
/// let storage = ObjectStorage::new(Arc::new(object_store::memory::InMemory::new()), "some/prefix");
/// ```
#[derive(Clone)]
pub struct ObjectStorage {
    reads: Arc<dyn ObjectStore>,
    creates: Arc<dyn ObjectStore>,
    /// Lists by plain string prefixes, where the backend can.
    lister: Option<Arc<dyn PaginatedListStore>>,
    /// Deletes object by object, for a server that cannot delete many at once.
    deletes: Option<Arc<dyn ObjectStore>>,
    /// Whether the server said that it cannot.
    one_by_one: Arc<AtomicBool>,
    /// What answers told of versions.
    #[cfg(feature = "aws")]
    versions: crate::versions::Versions,
    /// Empty, or with a `/` at the end.
    root: String,
}

impl ObjectStorage {
    /// The objects of `store` below `prefix`; an empty prefix is the whole store.
    ///
    /// What [`open`](crate::open) refuses in a prefix (`~ [ ] * %`, non-ASCII and more) is percent-encoded here, as
    /// object_store does it: the names of the objects begin with the encoded prefix.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use aft_s3::{ObjectStorage, object_store::memory::InMemory};
    ///
    /// let storage = ObjectStorage::new(Arc::new(InMemory::new()), "prefix");
    /// ```
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: impl AsRef<str>) -> Self {
        let root = Path::from(prefix.as_ref()).to_string();
        let root = if root.is_empty() { root } else { root + "/" };
        Self {
            reads: Arc::clone(&store),
            creates: store,
            lister: None,
            deletes: None,
            one_by_one: Arc::default(),
            #[cfg(feature = "aws")]
            versions: crate::versions::Versions::default(),
            root,
        }
    }

    /// The same with another client for creates: one that does not retry inside.
    #[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
    pub(crate) fn with_creates(self, creates: Arc<dyn ObjectStore>) -> Self {
        Self { creates, ..self }
    }

    /// The same with a client that lists by plain string prefixes.
    #[cfg(any(feature = "aws", feature = "gcp"))]
    pub(crate) fn with_lister(self, lister: Arc<dyn PaginatedListStore>) -> Self {
        Self { lister: Some(lister), ..self }
    }

    /// The same with a client that deletes object by object.
    #[cfg(feature = "aws")]
    pub(crate) fn with_deletes(self, deletes: Arc<dyn ObjectStore>) -> Self {
        Self { deletes: Some(deletes), ..self }
    }

    /// The same with what its clients note of versions.
    #[cfg(feature = "aws")]
    pub(crate) fn with_versions(self, versions: crate::versions::Versions) -> Self {
        Self { versions, ..self }
    }

    /// Deletes them all, as far as can be.
    async fn delete_by(&self, client: &dyn ObjectStore, locations: Vec<Path>) -> object_store::Result<()> {
        let mut deleted = client.delete_stream(stream::iter(locations.into_iter().map(Ok)).boxed());
        // Goes on after an error, so that as much as can be is deleted; the first error is told.
        let mut outcome = Ok(());
        while let Some(item) = deleted.next().await {
            let Err(error) = item else { continue };
            if matches!(error, object_store::Error::NotFound { .. }) && !failure::is_missing_bucket(&error) {
                continue;
            }
            outcome = outcome.and(Err(error));
        }
        outcome
    }

    fn location(&self, path: &str) -> Result<Path, StorageError> {
        check_path(path)?;
        let full = format!("{}{path}", self.root);
        Path::parse(full).map_err(|error| StorageError::invalid(path).with_source(error))
    }

    /// Everything in the folder that `prefix` is in, from `start_after` on where the backend can start there.
    fn list_folder(
        &self,
        folder: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let root = Path::from(format!("{}{folder}", self.root));
        let root = Some(&root).filter(|root| !root.as_ref().is_empty());
        // An offset that is no path is left out: what comes before it is filtered.
        let offset =
            start_after.and_then(|after| check_path(after).ok().map(|()| format!("{}{after}", self.root)));
        match offset.and_then(|offset| Path::parse(offset).ok()) {
            Some(offset) => self.reads.list_with_offset(root, &offset),
            None => self.reads.list(root),
        }
    }

    /// Everything whose path begins with `prefix`, page by page.
    fn list_pages(
        &self,
        lister: &Arc<dyn PaginatedListStore>,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let lister = Arc::clone(lister);
        let prefix = format!("{}{prefix}", self.root);
        let offset = start_after.map(|after| format!("{}{after}", self.root)).filter(|after| *after > prefix);
        let start = Some((None, Pages::default()));
        stream::try_unfold(start, move |state: Option<(Option<String>, Pages)>| {
            let (lister, prefix, offset) = (Arc::clone(&lister), prefix.clone(), offset.clone());
            async move {
                let Some((page_token, mut pages)) = state else { return Ok::<_, object_store::Error>(None) };
                let options = PaginatedListOptions { offset, page_token, ..Default::default() };
                let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
                let page = lister.list_paginated(prefix, options).await?;
                // Some servers end a listing by an empty token.
                let token = page.page_token.filter(|token| !token.is_empty());
                let first = page.result.objects.first().map(|object| object.location.as_ref());
                pages
                    .add(first, token.as_deref())
                    .map_err(|error| object_store::Error::Generic { store: "list", source: error.into() })?;
                let next = token.map(|token| (Some(token), pages));
                Ok(Some((stream::iter(page.result.objects.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }

    /// Why a range could not be had: because the object ends before it, or because of `error`.
    async fn range_error(
        &self,
        path: &str,
        location: &Path,
        start: u64,
        error: object_store::Error,
    ) -> Result<Bytes, StorageError> {
        let error = failure::map(error, path, Request::Read);
        if !matches!(error, StorageError::Unavailable { .. } | StorageError::Invalid { .. }) {
            return Err(error);
        }
        match self.reads.head(location).await {
            Ok(meta) if meta.size <= start => Ok(Bytes::new()),
            Err(absent @ object_store::Error::NotFound { .. }) => {
                Err(failure::map(absent, path, Request::Read))
            }
            _ => Err(error),
        }
    }
}

/// When an object was made. object_store takes an answer of S3 without a date for one of 1970.
fn date(meta: &ObjectMeta, path: &str) -> Result<SystemTime, StorageError> {
    let date: SystemTime = meta.last_modified.into();
    if date == SystemTime::UNIX_EPOCH {
        return Err(StorageError::invalid(path).with_source(UNDATED));
    }
    Ok(date)
}

const UNDATED: &str = "the answer has no date (Last-Modified), or one of 1970; aft cannot use a store without the \
                       dates of its objects: is there a proxy or a captive portal between that leaves them out?";

impl fmt::Debug for ObjectStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The Display of a backend names its bucket; its Debug may hold more than should be seen.
        let store = format_args!("{}", self.reads).to_string();
        f.debug_struct("ObjectStorage")
            .field("store", &store)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for ObjectStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.get_at_most(path, u64::MAX).await
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let location = self.location(path)?;
        let failed = |error| failure::map(error, path, Request::Read);
        let answer = self.reads.get(&location).await.map_err(failed)?;
        if answer.meta.size > most {
            // Its body is on its way, and is not waited for.
            return Err(StorageError::too_large(path, answer.meta.size, most));
        }
        let last_modified = date(&answer.meta, path)?;
        let bytes = answer.bytes().await.map_err(failed)?;
        Ok(Object { bytes, last_modified })
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let location = self.location(path)?;
        let failed = |error| failure::map(error, path, Request::Read);
        let wanted = range.start..range.end.min(LARGEST);
        if wanted.is_empty() {
            // Nothing to fetch, but whether there is an object still has to be said.
            return self.reads.head(&location).await.map(|_| Bytes::new()).map_err(failed);
        }
        let options = GetOptions { range: Some(GetRange::Bounded(wanted)), ..GetOptions::default() };
        match self.reads.get_opts(&location, options).await {
            Ok(answer) => answer.bytes().await.map_err(failed),
            Err(error) => self.range_error(path, &location, range.start, error).await,
        }
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let location = self.location(path)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let made = self.creates.put_opts(&location, bytes.into(), options).await;
        made.map(|_| ()).map_err(|error| failure::map(error, path, Request::Create))
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let Some(folder) = prefix::folder(prefix).filter(|_| !prefix::is_past(prefix, start_after)) else {
            return stream::empty().boxed();
        };
        let listed = match &self.lister {
            Some(lister) => self.list_pages(lister, prefix, start_after),
            None => self.list_folder(folder, start_after),
        };
        let (prefix, start_after) = (prefix.to_owned(), start_after.map(str::to_owned));
        listed
            .filter_map(move |item| {
                let wanted = match item {
                    Err(error) => Some(Err(failure::map(error, &prefix, Request::List))),
                    Ok(meta) => {
                        let path = meta.location.as_ref().strip_prefix(&self.root);
                        let path = path.filter(|path| path.starts_with(&prefix));
                        let path =
                            path.filter(|path| start_after.as_deref().is_none_or(|after| *path > after));
                        path.map(|path| {
                            let last_modified = date(&meta, path)?;
                            Ok(ObjectInfo { path: path.to_owned(), size: meta.size, last_modified })
                        })
                    }
                };
                futures::future::ready(wanted)
            })
            .boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let locations: BTreeSet<Path> =
            paths.iter().map(|path| self.location(path)).collect::<Result<_, _>>()?;
        let locations: Vec<_> = locations.into_iter().collect();
        let first = paths.first().map_or("", String::as_str);
        let failed = |error| failure::map(error, first, Request::Delete);
        let Some(singly) = &self.deletes else {
            return self.delete_by(&*self.reads, locations).await.map_err(failed);
        };
        if !self.one_by_one.load(Ordering::Relaxed) {
            match self.delete_by(&*self.reads, locations.clone()).await {
                Err(error) if failure::is_not_implemented(&error) => {
                    self.one_by_one.store(true, Ordering::Relaxed);
                }
                // Ceph RGW 16.2 asks for a permission on the bucket as well: each object may be allowed all the same. One tells.
                Err(error) if failure::is_denied(&error) => {
                    let one = locations.iter().take(1).cloned().collect();
                    self.delete_by(&**singly, one).await.map_err(failed)?;
                    self.one_by_one.store(true, Ordering::Relaxed);
                }
                deleted => return deleted.map_err(failed),
            }
        }
        self.delete_by(&**singly, locations).await.map_err(failed)
    }

    #[cfg(feature = "aws")]
    fn keeps_versions(&self) -> bool {
        self.versions.are_kept()
    }
}
