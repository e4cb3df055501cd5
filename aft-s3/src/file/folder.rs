//! Folders that are made when needed, are on the disk before what is in them counts, and go when they are empty.

use std::collections::HashMap;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::disk::Disk;
use super::errno;

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
    pub(super) fn sync_way(&self, disk: &Disk, root: &Path, folder: &Path) -> io::Result<()> {
        disk.sync_folder(folder)?;
        let mut child = folder;
        let mut below = true;
        while let Some(parent) = child.parent() {
            below &= child != root;
            let identity = Identity::of(&fs::metadata(child)?);
            let known = identity.is_some() && self.synced.lock().get(child) == identity.as_ref();
            if !known && (below || identity.is_some()) {
                // An empty parent is that of a relative path: the folder we are in.
                let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                match disk.sync_folder(parent) {
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

    /// Removes `folder` and its parents below `root` as far as they are empty or gone, and returns the first that is not.
    pub(super) fn prune(&self, root: &Path, folder: &Path) -> PathBuf {
        let mut kept = folder;
        while kept != root && fs::remove_dir(kept).or_else(errno::absent_is_ok).is_ok() {
            self.synced.lock().remove(kept);
            kept = kept.parent().unwrap_or(root);
        }
        kept.to_owned()
    }
}

/// What the group may do with what is made below `root`, whatever the writer's umask says: what it may do with `root`, if
/// that is a folder which hands its group down (setgid). Without, a new file is of the writer's own group, which is
/// none of the store's business.
pub(super) fn group_bits(root: &Path) -> u32 {
    match fs::metadata(root) {
        Ok(found) if found.mode() & 0o2000 != 0 => found.mode() & 0o070,
        _ => 0,
    }
}

/// The mode with these bits, unless it has them.
pub(super) fn with_bits(metadata: &Metadata, bits: u32) -> Option<Permissions> {
    let mode = metadata.mode() & 0o7777;
    (mode | bits != mode).then(|| Permissions::from_mode(mode | bits))
}

/// Makes `folder`, and those above it that are not there.
pub(super) fn make(root: &Path, folder: &Path) -> io::Result<()> {
    match group_bits(root) {
        0 => fs::create_dir_all(folder),
        bits => make_shared(folder, bits),
    }
}

fn make_shared(folder: &Path, bits: u32) -> io::Result<()> {
    match (fs::create_dir(folder), folder.parent()) {
        (Ok(()), _) => match with_bits(&fs::metadata(folder)?, bits) {
            Some(mode) => fs::set_permissions(folder, mode),
            None => Ok(()),
        },
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            make_shared(parent, bits)?;
            make_shared(folder, bits)
        }
        (Err(_), _) if folder.is_dir() => Ok(()),
        (Err(error), _) => Err(error),
    }
}
