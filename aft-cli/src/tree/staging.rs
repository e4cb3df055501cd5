//! A directory that is replaced as a whole or not at all.
//!
//! The new tree grows in a directory beside the target, is synced, and is then exchanged with the target in one step
//! (`renameat2` with `RENAME_EXCHANGE`). Writing into the target would show half a tree to readers and leave one
//! after a crash; renaming the old one away first would leave a moment without any.
//!
//! A staging directory is locked (`flock`) by the process that writes it, and a lock dies with its process: so the
//! next export knows which leftovers belong to the dead, and removes them.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use aft_core::{Clock, SystemClock};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::failure::Failure;

/// How the names of staging directories begin.
const NAME: &str = ".aft-export-";

/// The directory to be replaced, checked.
#[derive(Debug)]
pub(crate) struct Target {
    path: PathBuf,
    parent: PathBuf,
}

impl Target {
    /// Checks that `dir` may be replaced: it is a directory or absent, no link, and holds nothing of `precious`
    /// (directories that must survive).
    pub(crate) fn new(dir: &Path, precious: &[PathBuf]) -> Result<Self, Failure> {
        let refuse = |why: &str| Failure::usage(format!("cannot replace {}: {why}", dir.display()));
        let path = std::path::absolute(dir).map_err(|cause| refuse("bad path").because(cause))?;
        let name = path.file_name().ok_or_else(|| refuse("it has no name of its own"))?;
        let parent = path.parent().ok_or_else(|| refuse("it has no parent directory"))?;
        // The parent's real path; of its last parts that are not there yet, the path as it is.
        let parent = real(parent).map_err(|cause| refuse("its parent cannot be read").because(cause))?;
        let path = parent.join(name);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => {
                return Err(refuse("it is a symbolic link").advice("name the directory that it points to"));
            }
            Ok(meta) if !meta.is_dir() => return Err(refuse("it is not a directory")),
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(refuse("it cannot be read").because(cause)),
        }
        for place in precious.iter().filter_map(|place| real(place).ok()) {
            if place.starts_with(&path) {
                return Err(refuse(&format!("{} is in it, and would be removed", place.display())));
            }
        }
        Ok(Self { path, parent })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes long the path of the tree gets, while it is staged or when it is in place.
    pub(crate) fn path_length(&self) -> usize {
        let staged = self.parent.as_os_str().len() + 1 + NAME.len() + "4294967295-18446744073709551615".len();
        staged.max(self.path.as_os_str().len())
    }

    /// Whether the target is `place` or lies within it.
    pub(crate) fn is_within(&self, place: &Path) -> bool {
        real(place).is_ok_and(|place| self.path.starts_with(place))
    }

    /// Removes what dead exports left beside the target. What cannot be removed is left for the next time.
    fn clean(&self) {
        let Ok(entries) = fs::read_dir(&self.parent) else { return };
        let leftovers =
            entries.flatten().filter(|entry| entry.file_name().as_bytes().starts_with(NAME.as_bytes()));
        for entry in leftovers {
            let path = entry.path();
            // The lock is held until the directory is gone, so that nobody else takes it for their own.
            if let Ok(Some(_lock)) = lock(&path) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// A tree that is being written beside its target.
#[derive(Debug)]
pub(crate) struct Staging {
    target: Target,
    path: PathBuf,
    /// The open directory, which carries the lock.
    directory: File,
    published: bool,
}

/// A file of the tree that is being written.
pub(crate) struct Staged<'a> {
    staging: &'a Staging,
    relative: &'a Path,
    file: File,
}

impl Staged<'_> {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|cause| self.staging.cannot_write(self.relative, cause))
    }
}

impl Staging {
    /// An empty tree beside `target`. Cleans what dead exports left there.
    pub(crate) fn new(target: Target) -> Result<Self, Failure> {
        let failed = |cause| Failure::io(format!("cannot write beside {}", target.path.display()), cause);
        fs::create_dir_all(&target.parent).map_err(failed)?;
        target.clean();
        let since = SystemClock::new().now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut number = u64::try_from(since.as_nanos()).unwrap_or_default();
        loop {
            let path = target.parent.join(format!("{NAME}{}-{number}", std::process::id()));
            number = number.wrapping_add(1);
            match DirBuilder::new().create(&path) {
                Ok(()) => {}
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(cause) => return Err(failed(cause)),
            }
            // Somebody's cleaning may have come between: then the next name.
            if let Some(directory) = lock(&path).map_err(failed)? {
                return Ok(Self { target, path, directory, published: false });
            }
        }
    }

    /// Makes one file of the tree. `relative` was planned by [`layout`](super::layout).
    pub(crate) fn create<'a>(&'a self, relative: &'a Path) -> Result<Staged<'a>, Failure> {
        let path = self.path.join(relative);
        let create = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = create().or_else(|cause| match (cause.kind(), path.parent()) {
            (io::ErrorKind::NotFound, Some(folder)) => {
                fs::create_dir_all(folder)?;
                create()
            }
            _ => Err(cause),
        });
        let file = file.map_err(|cause| self.cannot_write(relative, cause))?;
        Ok(Staged { staging: self, relative, file })
    }

    fn cannot_write(&self, relative: &Path, cause: io::Error) -> Failure {
        let advice = format!("nothing was changed in {}", self.target.path.display());
        Failure::io(format!("cannot write {}", relative.display()), cause).advice(advice)
    }

    /// Syncs the tree and puts it in the place of the target.
    pub(crate) fn publish(mut self) -> Result<(), Failure> {
        let failed = |what: &str, cause: io::Error| {
            Failure::io(format!("cannot {what} {}", self.target.path.display()), cause)
                .advice("nothing was changed")
        };
        sync_tree(&self.directory, &self.path).map_err(|cause| failed("sync the new tree of", cause))?;
        let exchanged = swap(&self.path, &self.target.path).map_err(|cause| match cause {
            Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => failed("replace", cause.into()).advice(
                "this file system cannot exchange two directories at once; export to a path that does not exist",
            ),
            cause => failed("replace", cause.into()),
        })?;
        self.published = true;
        let parent = File::open(&self.target.parent).and_then(|parent| parent.sync_all());
        if exchanged {
            // The old tree, under the staging name now. What cannot be removed is cleaned by the next export.
            let _ = fs::remove_dir_all(&self.path);
        }
        parent.map_err(|cause| {
            Failure::io(
                format!("{} is in place, but its directory cannot be synced", self.target.path.display()),
                cause,
            )
        })
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Puts `from` in the place of `to` in one step. True where there was a directory at `to`, which is at `from` then.
fn swap(from: &Path, to: &Path) -> Result<bool, Errno> {
    loop {
        match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => return Ok(true),
            Err(Errno::NOENT) => {}
            Err(cause) => return Err(cause),
        }
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(false),
            // Another export came first: exchange with its tree.
            Err(Errno::EXIST) => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// Locks the directory at `path`; None where its owner lives, or where it is gone.
fn lock(path: &Path) -> io::Result<Option<File>> {
    let gone = |cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => Ok(None),
        _ => Err(cause),
    };
    let directory = match File::open(path) {
        Ok(directory) => directory,
        Err(cause) => return gone(cause),
    };
    match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(cause) => return Err(cause.into()),
    }
    let held = directory.metadata()?;
    match path.symlink_metadata() {
        Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(Some(directory)),
        Ok(_) => Ok(None),
        Err(cause) => gone(cause),
    }
}

/// Makes the tree durable.
#[cfg(target_os = "linux")]
fn sync_tree(directory: &File, _path: &Path) -> io::Result<()> {
    // One call for the whole file system is much quicker than one for each of thousands of files.
    Ok(rustix::fs::syncfs(directory)?)
}

/// Makes the tree durable.
#[cfg(not(target_os = "linux"))]
fn sync_tree(directory: &File, path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file = File::open(entry.path())?;
        if entry.file_type()?.is_dir() { sync_tree(&file, &entry.path())? } else { file.sync_all()? }
    }
    directory.sync_all()
}

/// `path` without links, its last parts as they are where they do not exist.
fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut tail: Vec<&OsStr> = Vec::new();
    let mut known = path.as_path();
    loop {
        match known.canonicalize() {
            Ok(real) => return Ok(tail.iter().rev().fold(real, |path, part| path.join(part))),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(cause),
        }
        let (Some(parent), Some(name)) = (known.parent(), known.file_name()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        tail.push(name);
        known = parent;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn stage(target: &Path, files: &[(&str, &str)]) -> Staging {
        let staging = Staging::new(Target::new(target, &[]).unwrap()).unwrap();
        for (name, content) in files {
            staging.create(Path::new(name)).unwrap().write(content.as_bytes()).unwrap();
        }
        staging
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_target_changes_only_at_publish_and_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("missing/parent/site");
        stage(&target, &[("old", "1"), ("a/b/c", "2")]).publish().unwrap();
        let next = stage(&target, &[("new", ""), ("a/b", "3")]);
        assert_eq!(names(&target), ["a", "old"]);
        next.publish().unwrap();
        assert_eq!(names(&target), ["a", "new"]);
        assert_eq!(fs::read(target.join("a/b")).unwrap(), b"3");
        assert_eq!(names(target.parent().unwrap()), ["site"], "nothing is left beside it");
    }

    #[test]
    fn a_tree_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("site");
        drop(stage(&target, &[("a/b", "1")]));
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn two_trees_at_once_do_not_touch_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("site");
        let first = stage(&target, &[("one", "1")]);
        let second = stage(&target, &[("two", "2")]);
        first.publish().unwrap();
        assert_eq!(names(&target), ["one"]);
        second.publish().unwrap();
        assert_eq!((names(&target), names(dir.path())), (vec!["two".into()], vec!["site".into()]));
    }

    #[test]
    fn leftovers_of_the_dead_are_removed_and_those_of_the_living_kept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("site");
        let alive = stage(&target, &[("one", "1")]);
        let dead = dir.path().join(".aft-export-1-1");
        fs::create_dir_all(dead.join("deep")).unwrap();
        fs::write(dead.join("deep/file"), "").unwrap();
        stage(&target, &[("two", "2")]).publish().unwrap();
        assert!(!dead.exists() && alive.path.exists());
        alive.publish().unwrap();
        assert_eq!(names(&target), ["one"]);
    }

    #[test]
    fn links_files_and_precious_places_are_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("home/me")).unwrap();
        fs::write(root.join("file"), "").unwrap();
        symlink("home", root.join("link")).unwrap();
        for bad in ["file", "link", "file/below", "..", "/"] {
            assert!(Target::new(&root.join(bad), &[]).is_err(), "{bad}");
        }
        for (target, refused) in [("home", true), ("home/me", true), ("link/me", true), ("home/you", false)] {
            assert_eq!(
                Target::new(&root.join(target), &[root.join("home/me")]).is_err(),
                refused,
                "{target}"
            );
        }
        let target = Target::new(&root.join("home/me/new"), &[]).unwrap();
        assert!(target.is_within(&root.join("link/me")) && !target.is_within(&root.join("other")));
    }
}
