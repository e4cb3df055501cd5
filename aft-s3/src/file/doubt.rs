//! Objects that are to be seen, but whose sync failed: nothing is believed of them until they were written anew.
//!
//! The obvious ways fail. "It may have happened" is not enough: whoever settles that by reading back reads from memory
//! what is not on the disk, and acknowledges it. Syncing again proves nothing: Linux reports a failed write once,
//! takes the pages for clean, and the next sync of the same file or folder succeeds. Taking the object away would take
//! back what others may have seen. So the object is made again: its bytes in a new file that is synced, put into its
//! place in one step with `RENAME_EXCHANGE` (which fails where it was deleted meanwhile), and its folder, which thereby
//! changed, synced.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Bound;

use aft_core::StorageError;
use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{Inner, date, errno};

/// The paths in doubt. Few: as long as there are some, nothing new is made.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    paths: Mutex<BTreeSet<String>>,
    /// Held by who writes anew, one at a time.
    settling: Mutex<()>,
}

impl Doubts {
    pub(super) fn add(&self, path: &str) {
        self.paths.lock().insert(path.to_owned());
    }

    /// The first path that begins with `prefix`.
    fn below(&self, prefix: &str) -> Option<String> {
        let paths = self.paths.lock();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        paths.range::<str, _>(from).next().filter(|path| path.starts_with(prefix)).cloned()
    }

    /// Why `path` was not created: where it is in doubt itself, an earlier try may have made it.
    pub(super) fn of(&self, path: &str, error: StorageError) -> StorageError {
        match error {
            StorageError::Unavailable { source: Some(source), .. } if self.holds(path) => {
                StorageError::unknown(path).with_source(source)
            }
            error => error,
        }
    }

    fn holds(&self, path: &str) -> bool {
        self.paths.lock().contains(path)
    }
}

impl Inner {
    /// Fails where the object at `path` may not be on the disk, and cannot be brought there.
    pub(super) fn settle(&self, path: &str) -> Result<(), StorageError> {
        if !self.doubts.holds(path) {
            return Ok(());
        }
        let _one = self.doubts.settling.lock();
        if !self.doubts.holds(path) {
            return Ok(());
        }
        match self.write_anew(path) {
            Err(error) if !errno::is_absent(&error) => return Err(errno::in_doubt(path, error)),
            // Absent: it was deleted.
            _ => self.doubts.paths.lock().remove(path),
        };
        Ok(())
    }

    /// As [`settle`](Self::settle), for every path that begins with `prefix`.
    pub(super) fn settle_below(&self, prefix: &str) -> Result<(), StorageError> {
        while let Some(path) = self.doubts.below(prefix) {
            self.settle(&path)?;
        }
        Ok(())
    }

    fn write_anew(&self, path: &str) -> io::Result<()> {
        let target = self.root.join(path);
        let (mut file, metadata) = super::open_object(&target)?;
        let mut bytes = Vec::new();
        // What was synced before the move is what memory holds: only the name is in doubt.
        file.read_to_end(&mut bytes)?;
        let dated = |file: &File| date::pin_as(file, date::of(&metadata));
        let staged = self.stage.write(&bytes, dated, Some(&self.disk))?;
        renameat_with(CWD, &staged.path, CWD, &target, RenameFlags::EXCHANGE)?;
        let folder = target.parent().unwrap_or(&self.root);
        self.folders.sync_way(&self.disk, &self.root, folder)
    }
}
