//! `create`: written aside, synced, and moved to its name in one step.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aft_core::StorageError;
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{Inner, errno, last_modified};

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
    folder: PathBuf,
    /// Tells this process from others; uniqueness itself comes from the exclusive create of the staged file.
    process: u64,
    next: AtomicU64,
    cleaned: Once,
}

impl Stage {
    pub(super) fn new(root: &Path) -> Self {
        let process = RandomState::new().build_hasher().finish();
        Self { folder: root.join(FOLDER), process, next: AtomicU64::new(0), cleaned: Once::new() }
    }

    /// A new file that nobody else has.
    fn file(&self) -> io::Result<(Staged, File)> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = self.folder.join(format!("{:016x}-{number}", self.process));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Staged { path }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&self.folder)?,
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&self, bytes: &Bytes, sync: bool) -> io::Result<Staged> {
        let (staged, mut file) = self.file()?;
        file.write_all(bytes)?;
        if sync {
            file.sync_all()?;
        }
        let now = file.metadata()?;
        self.cleaned.call_once(|| self.clean(last_modified(&now)));
        Ok(staged)
    }

    /// Removes what dead processes left. `now` is the file system's own clock.
    ///
    /// Leftovers cost space and nothing else, so what cannot be removed stays, unreported.
    fn clean(&self, now: std::time::SystemTime) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            let age = now.duration_since(last_modified(&metadata)).unwrap_or_default();
            if metadata.is_file() && age > LEFTOVER {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A staged file; it is removed unless it became an object.
#[derive(Debug)]
struct Staged {
    path: PathBuf,
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
        let mut tries = 0;
        let moved = loop {
            tries += 1;
            let staged = self.stage.write(bytes, self.sync).map_err(|error| errno::before(path, error))?;
            match fs::create_dir_all(folder) {
                Err(error) if tries < TRIES && went_away(folder, &error) => continue,
                made => made.map_err(|error| errno::before(path, error))?,
            }
            match renameat_with(CWD, &staged.path, CWD, &target, RenameFlags::NOREPLACE) {
                // A delete pruned the empty folder in between, or somebody took the staged file for a leftover.
                Err(Errno::NOENT) if tries < TRIES => {}
                moved => break moved.map_err(|error| errno::rename(path, error.into())),
            }
        };
        match &moved {
            Err(StorageError::AlreadyExists { .. }) if target.is_dir() => {
                let text = "a folder is in its place: a store of files cannot hold an object and a folder of one name";
                return Err(StorageError::invalid(path).with_source(text));
            }
            Err(StorageError::AlreadyExists { .. }) | Ok(()) => {}
            Err(_) => return moved,
        }
        // Also for the object that was there: its maker may not have come to this yet, and whoever reads it now may
        // act upon it.
        if self.sync {
            // Where the folder is gone, the object was deleted in the meantime, and there is nothing to keep.
            let synced = self.folders.sync_way(&self.root, folder).or_else(errno::absent_is_ok);
            synced.map_err(|error| StorageError::unknown(path).with_source(error))?;
        }
        moved
    }
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
        let staged = stage.write(&Bytes::from_static(b"x"), false).unwrap();
        let made = last_modified(&fs::metadata(&staged.path).unwrap());
        stage.clean(made + LEFTOVER);
        assert!(staged.path.exists());
        stage.clean(made + LEFTOVER + Duration::from_secs(1));
        assert!(!staged.path.exists());
    }

    #[test]
    fn a_dropped_stage_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let stage = Stage::new(root.path());
        drop(stage.write(&Bytes::new(), true).unwrap());
        assert_eq!(fs::read_dir(root.path().join(FOLDER)).unwrap().count(), 0);
    }
}
