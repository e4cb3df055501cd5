//! Files as a store: each object a file, made whole and never changed.
//!
//! The obvious ways fail. Writing in place shows half an object to readers. A rename overwrites. A hard link onto the
//! name is atomic, but `last_modified` is then the time of the write, not of the link: a process that was stopped in
//! between would surface an object that looks old. So an object is written to a *staged* file, synced, and moved with
//! `renameat2(RENAME_NOREPLACE)`, which fails where the name is taken. Its `last_modified` is the moment of the move,
//! which the inode's change time tells; it is kept as the modification time, since the change time does not last
//! ([`date`]). What could not be synced is not believed ([`doubt`]).

mod date;
mod disk;
mod doubt;
mod errno;
mod folder;
mod stage;
#[cfg(test)]
mod tests;
mod walk;

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aft_core::{Object, ObjectInfo, Storage, StorageError, check_path};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rustix::fs::OFlags;

use disk::Disk;
use doubt::Doubts;
use errno::NoObject;
use folder::Folders;
use stage::Stage;

/// A store in a folder of a local file system.
///
/// Any number of processes of one machine may share it; several machines may where the file system gives them one
/// clock and `RENAME_NOREPLACE` (network file systems mostly do not, and are refused at the first create).
///
/// # Limits
/// - `a` and `a/b` cannot both be objects: one is a file, the other needs a folder of that name. The second is `Invalid`.
/// - An object's date is its file's modification time. Owners, modes, hard links and copies that keep modification times
///   (`cp -a`, `rsync -a`, tar) change nothing; `touch`, and copies that do not keep them (`cp -r`), make other dates.
/// - What could not be synced is not believed until it could be written anew, but only by this `FileStorage`: another
///   one, or another process, cannot know and reads what memory holds.
/// - With [`sync`](Self::with_sync) off, an object survives the death of the process but not of the machine.
/// - Where the root is a folder that hands its group down (setgid), what is made in it lets the group do what the root
///   lets it do, whatever the writer's umask says.
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
    doubts: Doubts,
    disk: Disk,
    sync: bool,
}

impl FileStorage {
    /// The store in the folder `root`. Touches nothing: the folder is made by the first create.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] where `root` is something else than a folder, or the root of the file system; `Denied` where it cannot be looked at.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let root = root.into();
        let shown = root.display().to_string();
        // Nobody wants a store's folders among those of the system; it comes of a variable that is empty.
        if root.canonicalize().is_ok_and(|root| root.parent().is_none()) {
            return Err(StorageError::invalid(shown)
                .with_source("the root of the file system is no folder for a store: name one below it"));
        }
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
        Ok(Self { inner: Arc::new(Inner::new(root, true)) })
    }

    /// Whether a create is on the disk before it returns (default `true`). Without it creates are faster and do not
    /// survive a power failure: for tests.
    #[must_use]
    pub fn with_sync(self, sync: bool) -> Self {
        Self { inner: Arc::new(Inner::new(self.inner.root.clone(), sync)) }
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
    fn new(root: PathBuf, sync: bool) -> Self {
        let stage = Stage::new(&root);
        let (folders, doubts, disk) = Default::default();
        Self { root, stage, folders, doubts, disk, sync }
    }

    fn file(&self, path: &str) -> Result<PathBuf, StorageError> {
        check_path(path)?;
        Ok(self.root.join(path))
    }

    fn open(&self, path: &str) -> Result<(File, Metadata), StorageError> {
        let file = self.file(path)?;
        self.settle(path)?;
        open_object(&file).map_err(|error| errno::read(path, error))
    }

    fn get(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let (mut file, metadata) = self.open(path)?;
        if metadata.len() > most {
            return Err(StorageError::too_large(path, metadata.len(), most));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
        file.read_to_end(&mut bytes).map_err(|error| errno::read(path, error))?;
        Ok(Object { bytes: bytes.into(), last_modified: date::of(&metadata) })
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
                Ok(()) => {}
                // A folder is no object, so there is nothing to delete.
                Err(_) if file.is_dir() => continue,
                // Gone, but maybe not on the disk: whoever deleted it may have failed to sync that, and asks again.
                Err(error) if errno::is_absent(&error) => {}
                Err(error) => return Err(errno::delete(path, error)),
            }
            touched.extend(file.parent().map(Path::to_owned));
        }
        for folder in touched {
            let kept = self.folders.prune(&self.root, &folder);
            if self.sync {
                let path = paths.first().map_or("", String::as_str);
                let synced = self.disk.sync_folder(&kept);
                synced.or_else(errno::absent_is_ok).map_err(|error| errno::delete(path, error))?;
            }
        }
        Ok(())
    }
}

/// Opens an object: a regular file, and none at the end of a link. Never waits, as a FIFO would make us.
fn open_object(file: &Path) -> io::Result<(File, Metadata)> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(file);
    let (found, error) = match opened {
        Ok(opened) => match opened.metadata()? {
            found if found.is_file() => return Ok((opened, found)),
            found => (found, io::ErrorKind::NotFound.into()),
        },
        Err(error) if errno::is_absent(&error) => return Err(error),
        // A link and a socket cannot be opened.
        Err(error) => (std::fs::symlink_metadata(file)?, error),
    };
    Err(no_object(found.file_type()).map_or(error, io::Error::other))
}

/// What kind of thing this is, if neither a file nor a folder.
fn no_object(kind: FileType) -> Option<NoObject> {
    let what = match kind {
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => return None,
    };
    Some(NoObject(what))
}

#[async_trait]
impl Storage for FileStorage {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.get_at_most(path, u64::MAX).await
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let owned = path.to_owned();
        self.blocking(path, StorageError::unavailable, move |inner| inner.get(&owned, most)).await
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
        walk::list(Arc::clone(&self.inner), prefix, start_after)
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        let first = paths.first().cloned().unwrap_or_default();
        let paths = paths.to_vec();
        self.blocking(&first, StorageError::unknown, move |inner| inner.delete(&paths)).await
    }
}
