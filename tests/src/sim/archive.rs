//! The store below a simulated network, which forgets nothing: what aft deletes is gone for every node, and kept for the auditor, who
//! must know in the end what was decided and what was published when.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use aft_core::{Object, ObjectInfo, Storage, StorageError, TxnId};
use aft_memory::MemoryStorage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;

use crate::history::Version;
use crate::sim::recorder::version;
use crate::sim::truth::decision_of;

/// What is kept when it is deleted: decisions, who published them, and the marker, which says by what dates they are judged.
const KEPT: [&str; 3] = ["commits/", "feed/", "aft.json"];

/// A store, and the deleted objects that count.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    store: MemoryStorage,
    /// The first object of each path.
    deleted: Arc<Mutex<BTreeMap<String, Object>>>,
    /// When objects whose date was changed were made.
    redated: Arc<Mutex<BTreeMap<String, SystemTime>>>,
    /// When the whole store was dated anew.
    all_redated: Arc<Mutex<Option<SystemTime>>>,
    /// Of each manifest by its number, the greatest version of a deletion that had left the index by then.
    purged: Arc<Mutex<BTreeMap<u64, Version>>>,
    /// Whether what was deleted is shown again, and the dates are those of old.
    opened: Arc<AtomicBool>,
}

impl Archive {
    pub(crate) fn new(store: MemoryStorage) -> Self {
        let (deleted, redated, all_redated) = (Arc::default(), Arc::default(), Arc::default());
        Self { store, deleted, redated, all_redated, purged: Arc::default(), opened: Arc::default() }
    }

    /// From now on every decision and every feed object is there that ever was: of each path the first.
    pub(crate) fn open(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }

    /// As if it had never been opened.
    pub(crate) fn close(&self) {
        self.opened.store(false, Ordering::Relaxed);
    }

    /// Takes a decision away; the auditor keeps it.
    pub(crate) async fn remove_decision(&self, id: TxnId) {
        let paths = self.store.paths().into_iter();
        let folders = ["commits/", "feed/"];
        let is_decision = |path: &String| {
            folders.iter().any(|folder| path.starts_with(folder)) && decision_of(path) == Some(id)
        };
        let paths: Vec<_> = paths.filter(is_decision).collect();
        drop(self.delete(&paths).await);
    }

    /// Of each manifest that was ever made, by its number: the greatest version of a deletion that had left the index by then.
    pub(crate) fn purged(&self) -> BTreeMap<u64, Version> {
        self.purged.lock().clone()
    }

    /// Everything that is there, or was.
    pub(crate) async fn paths(&self) -> Vec<ObjectInfo> {
        self.store.list("", None).try_collect().await.unwrap_or_default()
    }

    /// Dates an object anew, as a copy onto itself does; whether it is there. The auditor knows when it was made.
    pub(crate) async fn redate(&self, path: &str, date: SystemTime) -> bool {
        let Ok(object) = self.store.get(path).await else { return false };
        self.redated.lock().entry(path.to_owned()).or_insert(object.last_modified);
        self.store.redate(path, date)
    }

    /// Everything is dated anew; how many objects.
    pub(crate) async fn redate_all(&self, date: SystemTime) -> u64 {
        *self.all_redated.lock() = Some(date);
        let mut redated = 0;
        for path in self.store.paths() {
            redated += u64::from(self.redate(&path, date).await);
        }
        redated
    }

    /// When the whole store was dated anew: whoever adopts it takes everything that was there for made then, and in time.
    pub(crate) fn all_redated(&self) -> Option<SystemTime> {
        *self.all_redated.lock()
    }

    /// When an object was made, whatever its date says.
    fn made_at(&self, path: &str, dated: SystemTime) -> SystemTime {
        self.redated.lock().get(path).copied().unwrap_or(dated)
    }

    fn deleted(&self, path: &str) -> Option<Object> {
        let opened = self.opened.load(Ordering::Relaxed);
        opened.then(|| self.deleted.lock().get(path).cloned()).flatten()
    }
}

#[async_trait]
impl Storage for Archive {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        match self.deleted(path) {
            Some(object) => Ok(object),
            None if self.opened.load(Ordering::Relaxed) => {
                let object = self.store.get(path).await?;
                Ok(Object { last_modified: self.made_at(path, object.last_modified), ..object })
            }
            None => self.store.get(path).await,
        }
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.store.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.store.create(path, bytes.clone()).await?;
        self.redated.lock().remove(path);
        self.purged.lock().extend(purged_by(path, &bytes));
        Ok(())
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        if !self.opened.load(Ordering::Relaxed) {
            return self.store.list(prefix, start_after);
        }
        let (prefix, after) = (prefix.to_owned(), start_after.unwrap_or_default().to_owned());
        let listed = async move {
            let mut objects: BTreeMap<String, ObjectInfo> = BTreeMap::new();
            for object in self.store.list(&prefix, Some(&after)).try_collect::<Vec<_>>().await? {
                let last_modified = self.made_at(&object.path, object.last_modified);
                objects.insert(object.path.clone(), ObjectInfo { last_modified, ..object });
            }
            for (path, Object { bytes, last_modified }) in &*self.deleted.lock() {
                if path.starts_with(&prefix) && *path > after {
                    let (path, size) = (path.clone(), bytes.len() as u64);
                    objects.insert(path.clone(), ObjectInfo { path, size, last_modified: *last_modified });
                }
            }
            Ok::<_, StorageError>(stream::iter(objects.into_values().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        for path in paths.iter().filter(|path| KEPT.iter().any(|kept| path.starts_with(kept))) {
            if let Ok(object) = self.store.get(path).await {
                let object = Object { last_modified: self.made_at(path, object.last_modified), ..object };
                self.deleted.lock().entry(path.clone()).or_insert(object);
            }
        }
        self.store.delete(paths).await
    }
}

/// The number of a manifest, and the greatest version of a deletion that had left the index by then; `None` for any other object.
fn purged_by(path: &str, bytes: &[u8]) -> Option<(u64, Version)> {
    let number = path.strip_prefix("checkpoints/")?.strip_suffix(".json")?;
    let number = u64::from_str_radix(number, 16).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let purged: aft_core::Version = manifest.get("purged")?.as_str()?.parse().ok()?;
    Some((number, version(purged)))
}
