//! Files as a store: each object a file, made whole and never changed.
//!
//! The obvious ways fail. Writing in place shows half an object to readers. A rename overwrites. A hard link onto the
//! name is atomic, but `last_modified` is then the time of the write, not of the link: a process that was stopped in
//! between would surface an object that looks old. So an object is written to a *staged* file, synced, and moved with
//! `renameat2(RENAME_NOREPLACE)`, which fails where the name is taken; and `last_modified` is the inode's change time,
//! which the rename sets.

mod errno;
mod folder;
mod stage;
mod walk;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Object, ObjectInfo, Storage, StorageError, check_path};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use folder::Folders;
use stage::Stage;

/// A store in a folder of a local file system.
///
/// Any number of processes of one machine may share it; several machines may where the file system gives them one
/// clock and `RENAME_NOREPLACE` (network file systems mostly do not, and are refused at the first create).
///
/// # Limits
/// - `a` and `a/b` cannot both be objects: one is a file, the other needs a folder of that name. The second is `Invalid`.
/// - The inode's change time is the store's clock: nothing else may touch the files (no `chmod`, no hard links, no
///   restoring with other times while nodes run).
/// - With [`sync`](Self::with_sync) off, an object survives the death of the process but not of the machine.
///
/// # Examples
///
/// ```
/// use aft_core::Storage;
/// use aft_s3::FileStorage;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let storage = FileStorage::open(folder.path())?;
/// storage.create("greeting", "hello".into()).await?;
/// assert_eq!(storage.get("greeting").await?.bytes, "hello");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct FileStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    stage: Stage,
    folders: Folders,
    sync: bool,
}

impl FileStorage {
    /// The store in the folder `root`. Touches nothing: the folder is made by the first create.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] where `root` is something else than a folder; `Denied` where it cannot be looked at.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let root = root.into();
        let shown = root.display().to_string();
        match root.metadata() {
            Ok(found) if !found.is_dir() => {
                return Err(StorageError::invalid(shown)
                    .with_source("the root of a store is a folder; this is not one"));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(errno::before(&shown, error));
            }
            _ => {}
        }
        let stage = Stage::new(&root);
        Ok(Self { inner: Arc::new(Inner { root, stage, folders: Folders::default(), sync: true }) })
    }

    /// Whether a create is on the disk before it returns (default `true`). Without it creates are faster and do not
    /// survive a power failure: for tests.
    #[must_use]
    pub fn with_sync(self, sync: bool) -> Self {
        let Inner { root, .. } = &*self.inner;
        let (root, stage) = (root.clone(), Stage::new(root));
        Self { inner: Arc::new(Inner { root, stage, folders: Folders::default(), sync }) }
    }

    /// Runs `work`, which blocks, where blocking is allowed.
    async fn blocking<T: Send + 'static>(
        &self,
        path: &str,
        lost: fn(String) -> StorageError,
        work: impl FnOnce(&Inner) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|error| Err(lost(path.to_owned()).with_source(error)))
    }
}

impl Inner {
    fn file(&self, path: &str) -> Result<PathBuf, StorageError> {
        check_path(path)?;
        Ok(self.root.join(path))
    }

    /// Opens an object. Whatever is no regular file is none.
    fn open(&self, path: &str) -> Result<(File, Metadata), StorageError> {
        let file = File::open(self.file(path)?).map_err(|error| errno::read(path, error))?;
        let metadata = file.metadata().map_err(|error| errno::read(path, error))?;
        if metadata.is_file() { Ok((file, metadata)) } else { Err(StorageError::not_found(path)) }
    }

    fn get(&self, path: &str) -> Result<Object, StorageError> {
        let (mut file, metadata) = self.open(path)?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(|error| errno::read(path, error))?;
        Ok(Object { bytes: bytes.into(), last_modified: last_modified(&metadata) })
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let (file, metadata) = self.open(path)?;
        let end = range.end.min(metadata.len());
        let len = usize::try_from(end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len];
        if len > 0 {
            file.read_exact_at(&mut bytes, range.start).map_err(|error| errno::read(path, error))?;
        }
        Ok(bytes.into())
    }

    fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        paths.iter().try_for_each(|path| check_path(path))?;
        let mut touched = std::collections::BTreeSet::new();
        for path in paths {
            let file = self.root.join(path);
            match std::fs::remove_file(&file) {
                Ok(()) => touched.extend(file.parent().map(Path::to_owned)),
                // A folder is no object, so there is nothing to delete.
                Err(_) if file.is_dir() => {}
                Err(error) if errno::is_absent(&error) => {}
                Err(error) => return Err(errno::delete(path, error)),
            }
        }
        for folder in touched {
            let kept = self.folders.prune(&self.root, &folder);
            if self.sync {
                let path = paths.first().map_or("", String::as_str);
                folder::sync(&kept)
                    .or_else(errno::absent_is_ok)
                    .map_err(|error| errno::delete(path, error))?;
            }
        }
        Ok(())
    }
}

/// The moment at which the rename made the file an object.
fn last_modified(metadata: &Metadata) -> SystemTime {
    let seconds = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or_default());
    let nanoseconds = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).unwrap_or_default());
    UNIX_EPOCH + seconds + nanoseconds
}

#[async_trait]
impl Storage for FileStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, StorageError::unavailable, move |inner| inner.get(&owned)).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, StorageError::unavailable, move |inner| inner.get_range(&owned, range)).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        let owned = path.to_owned();
        self.blocking(path, StorageError::unknown, move |inner| inner.create(&owned, &bytes)).await
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        walk::list(self.inner.root.clone(), prefix, start_after)
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let first = paths.first().cloned().unwrap_or_default();
        let paths = paths.to_vec();
        self.blocking(&first, StorageError::unknown, move |inner| inner.delete(&paths)).await
    }
}
