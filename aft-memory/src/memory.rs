//! The store that lives in this process.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use aft_core::{Clock, Object, ObjectInfo, Storage, StorageError, SystemClock, check_path};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use parking_lot::Mutex;

/// How many objects a listing copies under one hold of the lock.
const PAGE: usize = 1000;

/// A store in the memory of this process; clones share the content, and it is gone with the last of them.
///
/// It keeps the contract of [`Storage`] to the letter, so it serves as the reference that other adapters are measured
/// against. Its store clock can be handed in, which makes a test that moves time replay exactly.
///
/// # Examples
///
/// ```
/// use aft_core::Storage;
/// use aft_memory::MemoryStorage;
///
/// # futures::executor::block_on(async {
/// let storage = MemoryStorage::new();
/// storage.create("greeting", "hello".into()).await?;
/// assert_eq!(storage.get("greeting").await?.bytes, "hello");
/// # Ok::<(), aft_core::StorageError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryStorage {
    content: Arc<Mutex<BTreeMap<String, Object>>>,
    clock: Arc<dyn Clock>,
    overwrites: Arc<AtomicBool>,
}

impl MemoryStorage {
    /// An empty store whose clock is the machine's.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::sync::Arc;
    /// use aft_core::{Aft, Config};
    ///
    /// let storage = aft_memory::MemoryStorage::new();
    /// // Clones share the content: two nodes on one store.
    /// let one = Aft::open(Arc::new(storage.clone()), Config::default()).await?;
    /// let two = Aft::open(Arc::new(storage), Config::default()).await?;
    /// assert_eq!(one.store_info().store_id, two.store_info().store_id);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    /// An empty store whose `last_modified` comes from `clock`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// let storage = aft_memory::MemoryStorage::with_clock(Arc::new(aft_core::SystemClock::new()));
    /// assert!(storage.is_empty());
    /// ```
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        Self { content: Arc::default(), clock, overwrites: Arc::default() }
    }

    /// How many objects it holds.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use bytes::Bytes;
    /// use aft_core::Storage;
    ///
    /// let storage = aft_memory::MemoryStorage::new();
    /// storage.create("a/b", Bytes::from("1")).await.unwrap();
    /// assert_eq!(storage.len(), 1);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.lock().len()
    }

    /// Whether it holds no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.lock().is_empty()
    }

    /// The paths of its objects, sorted.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use bytes::Bytes;
    /// use aft_core::Storage;
    ///
    /// let storage = aft_memory::MemoryStorage::new();
    /// storage.create("a/b", Bytes::from("1")).await.unwrap();
    /// assert_eq!(storage.paths(), ["a/b"]);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.content.lock().keys().cloned().collect()
    }

    /// Changes the date of an object, as people do who copy or restore one; whether it is there.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use bytes::Bytes;
    /// use aft_core::Storage;
    ///
    /// let storage = aft_memory::MemoryStorage::new();
    /// storage.create("a/b", Bytes::from("1")).await.unwrap();
    /// let date = std::time::SystemTime::UNIX_EPOCH;
    /// assert!(storage.redate("a/b", date) && !storage.redate("c", date));
    /// assert_eq!(storage.get("a/b").await.unwrap().last_modified, date);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn redate(&self, path: &str, last_modified: SystemTime) -> bool {
        let mut content = self.content.lock();
        content.get_mut(path).map(|object| object.last_modified = last_modified).is_some()
    }

    /// Makes it a store that overwrites what is there, as a bucket may once versioning is switched on: no store for aft any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use bytes::Bytes;
    /// use aft_core::Storage;
    ///
    /// let storage = aft_memory::MemoryStorage::new();
    /// storage.create("a", Bytes::from("1")).await.unwrap();
    /// assert!(storage.create("a", Bytes::from("2")).await.is_err());
    /// storage.overwrite();
    /// assert!(storage.create("a", Bytes::from("3")).await.is_ok());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn overwrite(&self) {
        self.overwrites.store(true, Ordering::Relaxed);
    }

    fn object(&self, path: &str) -> Result<Object, StorageError> {
        check_path(path)?;
        self.content.lock().get(path).cloned().ok_or_else(|| StorageError::not_found(path))
    }

    /// The next objects below `prefix` from `from` on, at most [`PAGE`].
    fn page(&self, prefix: &str, from: Bound<&str>) -> Vec<ObjectInfo> {
        let content = self.content.lock();
        content
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(prefix))
            .take(PAGE)
            .map(|(path, object)| ObjectInfo {
                path: path.clone(),
                size: object.bytes.len() as u64,
                last_modified: object.last_modified,
            })
            .collect()
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").field("objects", &self.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.object(path)
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let bytes = self.object(path)?.bytes;
        let cut = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
        let (start, end) = (cut(range.start), cut(range.end));
        Ok(if start < end { bytes.slice(start..end) } else { Bytes::new() })
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        check_path(path)?;
        let mut content = self.content.lock();
        if content.contains_key(path) && !self.overwrites.load(Ordering::Relaxed) {
            return Err(StorageError::already_exists(path));
        }
        let last_modified: SystemTime = self.clock.now();
        content.insert(path.to_owned(), Object { bytes, last_modified });
        Ok(())
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let prefix = prefix.to_owned();
        let first = match start_after {
            Some(after) if after >= prefix.as_str() => Bound::Excluded(after.to_owned()),
            _ => Bound::Included(prefix.clone()),
        };
        stream::unfold(Some(first), move |from| {
            let page = from.map(|from| self.page(&prefix, from.as_ref().map(String::as_str)));
            async move {
                let page = page?;
                let full = page.len() == PAGE;
                let next = page.last().filter(|_| full).map(|last| Bound::Excluded(last.path.clone()));
                Some((stream::iter(page.into_iter().map(Ok)), next))
            }
        })
        .flatten()
        .boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        paths.iter().try_for_each(|path| check_path(path))?;
        let mut content = self.content.lock();
        for path in paths {
            content.remove(path);
        }
        Ok(())
    }
}
