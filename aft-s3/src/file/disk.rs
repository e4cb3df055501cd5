//! Syncing, in one place: tests make it fail here.

use std::fs::File;
use std::io;
use std::path::Path;

/// Makes what was written stay.
#[derive(Debug, Default)]
pub(super) struct Disk {
    #[cfg(test)]
    pub(super) broken: parking_lot::Mutex<Option<Broken>>,
}

/// Which syncs go wrong, and how.
#[cfg(test)]
#[derive(Debug, Clone)]
pub(super) struct Broken {
    /// The path begins so.
    pub(super) below: std::path::PathBuf,
    pub(super) times: u32,
    pub(super) how: How,
}

#[cfg(test)]
#[derive(Debug, Clone)]
pub(super) enum How {
    Fails,
    /// Another process removes this file meanwhile.
    Removes(std::path::PathBuf),
    /// The process is frozen meanwhile.
    Takes(std::time::Duration),
}

impl Disk {
    /// `path` is where the file is, for tests.
    pub(super) fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.sync(file, path)
    }

    /// Makes the entries of a folder durable.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.sync(&File::open(folder)?, folder)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "tests break it")]
    fn sync(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_all()
    }

    #[cfg(test)]
    fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        let mut broken = self.broken.lock();
        match &mut *broken {
            Some(it) if it.times > 0 && path.starts_with(&it.below) => {
                it.times -= 1;
                match &it.how {
                    How::Fails => return Err(rustix::io::Errno::IO.into()),
                    How::Removes(other) => std::fs::remove_file(other)?,
                    How::Takes(time) => std::thread::sleep(*time),
                }
            }
            _ => {}
        }
        file.sync_all()
    }
}
