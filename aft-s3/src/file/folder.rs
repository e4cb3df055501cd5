//! Folders that are made when needed, are on the disk before what is in them counts, and go when they are empty.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;

/// How many folders are remembered as synced before all are forgotten: bounds the memory.
const REMEMBERED: usize = 65_536;

/// One folder as it was when its entry in its parent was synced. Its name alone would not do: another process may
/// have removed it and made it again.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    born: SystemTime,
}

impl Identity {
    /// `None` where the file system does not tell when an inode was made: then nothing is remembered.
    fn of(metadata: &Metadata) -> Option<Self> {
        let born = metadata.created().ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino(), born })
    }
}

/// The folders of which this process knows that they are on the disk.
#[derive(Debug, Default)]
pub(super) struct Folders {
    synced: Mutex<HashMap<PathBuf, Identity>>,
}

impl Folders {
    /// Syncs `folder`, so that what was moved into it stays, and the way to it: whoever made a folder on it may not
    /// have come to sync it yet. Above `root` the way belongs to others, and ends where we may not look.
    pub(super) fn sync_way(&self, root: &Path, folder: &Path) -> io::Result<()> {
        sync(folder)?;
        let mut child = folder;
        let mut below = true;
        while let Some(parent) = child.parent() {
            below &= child != root;
            let identity = Identity::of(&fs::metadata(child)?);
            let known = identity.is_some() && self.synced.lock().get(child) == identity.as_ref();
            if !known && (below || identity.is_some()) {
                // An empty parent is that of a relative path: the folder we are in.
                match sync(if parent.as_os_str().is_empty() { Path::new(".") } else { parent }) {
                    Err(error) if !below && error.kind() == io::ErrorKind::PermissionDenied => break,
                    synced => synced?,
                }
                self.remember(child, identity);
            }
            child = parent;
        }
        Ok(())
    }

    fn remember(&self, folder: &Path, identity: Option<Identity>) {
        let mut synced = self.synced.lock();
        if synced.len() >= REMEMBERED {
            synced.clear();
        }
        if let Some(identity) = identity {
            synced.insert(folder.to_owned(), identity);
        }
    }

    /// Removes `folder` and its parents below `root` as far as they are empty, and returns the first that is not.
    pub(super) fn prune(&self, root: &Path, folder: &Path) -> PathBuf {
        let mut kept = folder;
        while kept != root && fs::remove_dir(kept).is_ok() {
            self.synced.lock().remove(kept);
            kept = kept.parent().unwrap_or(root);
        }
        kept.to_owned()
    }
}

/// Makes the entries of `folder` durable.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
