//! `create`: written aside, synced, and moved to its name in one step.

use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::StorageError;
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::disk::Disk;
use super::{Inner, date, errno, folder, no_object};

/// The folder of staged files, below the root. No object's path can hold the mark, so it is none of theirs.
pub(super) const FOLDER: &str = "~staged";

/// How old a staged file is when nobody can be waiting for it any more. Should somebody be, then its rename fails and
/// nothing happened.
const LEFTOVER: Duration = Duration::from_secs(3600);

/// How often a create begins again because a folder or its staged file went away under it.
const TRIES: usize = 16;

/// Where files are staged.
#[derive(Debug)]
pub(super) struct Stage {
    root: PathBuf,
    folder: PathBuf,
    /// Tells this process from others; uniqueness itself comes from the exclusive create of the staged file.
    process: u64,
    next: AtomicU64,
    cleaned: Once,
}

impl Stage {
    pub(super) fn new(root: &Path) -> Self {
        let process = RandomState::new().build_hasher().finish();
        Self {
            root: root.to_owned(),
            folder: root.join(FOLDER),
            process,
            next: AtomicU64::new(0),
            cleaned: Once::new(),
        }
    }

    /// A new file that nobody else has.
    fn file(&self) -> io::Result<Staged> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{:016x}-{number}", self.process));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Staged { path, file }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    folder::make(&self.root, &self.folder)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a file aside, dates it with `date`, which says whether that holds, and syncs it on `disk`.
    pub(super) fn write(
        &self,
        bytes: &[u8],
        date: impl FnOnce(&File) -> io::Result<bool>,
        disk: Option<&Disk>,
    ) -> io::Result<Staged> {
        let staged = self.file()?;
        let mut file = &staged.file;
        file.write_all(bytes)?;
        let bits = folder::group_bits(&self.root) & 0o060;
        if let Some(mode) = folder::with_bits(&file.metadata()?, bits) {
            file.set_permissions(mode)?;
        }
        if !date(file)? {
            return Err(io::Error::other(errno::NoDates));
        }
        if let Some(disk) = disk {
            disk.sync_file(file, &staged.path)?;
        }
        let now = file.metadata()?;
        self.cleaned.call_once(|| self.clean(changed(&now)));
        Ok(staged)
    }

    /// Removes what dead processes left. `now` is the file system's own clock.
    ///
    /// Leftovers cost space and nothing else, so what cannot be removed stays, unreported.
    fn clean(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let age = now.duration_since(changed(&metadata)).unwrap_or_default();
            if metadata.is_file() && age > LEFTOVER {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A staged file; it is removed unless it became an object.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already where it became an object; else a leftover for `clean`.
        let _ = fs::remove_file(&self.path);
    }
}

impl Inner {
    pub(super) fn create(&self, path: &str, bytes: &Bytes) -> Result<(), StorageError> {
        let target = self.file(path)?;
        let folder = target.parent().unwrap_or(&self.root);
        // A disk that lost something gets nothing new: so there is never much in doubt.
        self.settle_below("").map_err(|error| self.doubts.of(path, error))?;
        let moved = self.stage_and_move(path, bytes, &target, folder);
        match &moved {
            Err(StorageError::AlreadyExists { .. }) => not_a_file(path, &target)?,
            Ok(_) => {}
            Err(_) => return moved.map(drop),
        }
        let kept = moved.as_ref().map_or(Ok(()), |staged| self.pin(staged, &target));
        // Also for the object that was there: its maker may not have come to this yet, and whoever reads it now may
        // act upon it.
        let kept = kept.and_then(|()| match self.sync {
            true => self.folders.sync_way(&self.disk, &self.root, folder),
            false => Ok(()),
        });
        // Where the folder is gone, the object was deleted in the meantime, and there is nothing to keep.
        match kept.or_else(errno::absent_is_ok) {
            Ok(()) => moved.map(drop),
            Err(error) => {
                self.doubts.add(path);
                Err(errno::sync(path, error))
            }
        }
    }

    fn pin(&self, moved: &Staged, target: &Path) -> io::Result<()> {
        date::pin(&moved.file)?;
        match self.sync && !date::lasts_with_folder(&moved.file) {
            true => self.disk.sync_file(&moved.file, target),
            false => Ok(()),
        }
    }

    /// Writes the object aside and moves it to its name, where none is there.
    pub(super) fn stage_and_move(
        &self,
        path: &str,
        bytes: &Bytes,
        target: &Path,
        folder: &Path,
    ) -> Result<Staged, StorageError> {
        let disk = self.sync.then_some(&self.disk);
        let mut tries = 0;
        loop {
            tries += 1;
            // Where its sync fails, nothing was moved, and whoever tries again does it with another file.
            let staged = self.stage.write(bytes, date::unpin, disk);
            let staged = staged.map_err(|error| errno::before(path, error))?;
            match folder::make(&self.root, folder) {
                Err(error) if tries < TRIES && went_away(folder, &error) => continue,
                made => made.map_err(|error| errno::before(path, error))?,
            }
            match renameat_with(CWD, &staged.path, CWD, target, RenameFlags::NOREPLACE) {
                // A delete pruned the empty folder in between, or somebody took the staged file for a leftover.
                Err(Errno::NOENT) if tries < TRIES => {}
                moved => return moved.map(|()| staged).map_err(|error| errno::rename(path, error.into())),
            }
        }
    }
}

/// Fails where what has the name of an object is none.
fn not_a_file(path: &str, target: &Path) -> Result<(), StorageError> {
    let Ok(found) = fs::symlink_metadata(target) else { return Ok(()) };
    if found.is_dir() {
        let text =
            "a folder is in its place: a store of files cannot hold an object and a folder of one name";
        return Err(StorageError::invalid(path).with_source(text));
    }
    match no_object(found.file_type()) {
        Some(what) => Err(StorageError::invalid(path).with_source(what)),
        None => Ok(()),
    }
}

/// When a file was last touched: how old a leftover is, whose date is not pinned.
fn changed(metadata: &Metadata) -> SystemTime {
    let seconds = u64::try_from(metadata.ctime()).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// Whether `folder` could not be made because a delete pruned it, or a folder above it, at the same moment.
fn went_away(folder: &Path, error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::NotFound => true,
        // It was there when it was to be made, and gone when that was looked into.
        io::ErrorKind::AlreadyExists => folder.ancestors().all(|above| !above.exists() || above.is_dir()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_leftovers_are_cleaned() {
        let root = tempfile::tempdir().unwrap();
        let stage = Stage::new(root.path());
        let staged = stage.write(b"x", date::unpin, None).unwrap();
        let made = changed(&fs::metadata(&staged.path).unwrap());
        stage.clean(made + LEFTOVER);
        assert!(staged.path.exists());
        stage.clean(made + LEFTOVER + Duration::from_secs(1));
        assert!(!staged.path.exists());
    }

    #[test]
    fn a_dropped_stage_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let stage = Stage::new(root.path());
        drop(stage.write(b"", date::unpin, Some(&Disk::default())).unwrap());
        assert_eq!(fs::read_dir(root.path().join(FOLDER)).unwrap().count(), 0);
    }
}
