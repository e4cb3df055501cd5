//! What a directory holds, and whether it stood still.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The regular files below a directory.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    /// Sorted by their relative paths.
    pub(crate) files: Vec<File>,
    /// The relative paths of symbolic links, none of them followed.
    pub(crate) symlinks: Vec<PathBuf>,
    /// The relative paths of sockets, pipes and devices.
    pub(crate) special: Vec<PathBuf>,
    /// How many directories hold nothing at all.
    pub(crate) empty_folders: usize,
}

/// One regular file, and what tells whether it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) relative: PathBuf,
    pub(crate) size: u64,
    stamp: (u64, u64, i64, i64, i64, i64),
}

impl File {
    fn new(relative: PathBuf, meta: &Metadata) -> Self {
        let stamp =
            (meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        Self { relative, size: meta.len(), stamp }
    }

    /// The bytes of the key after its prefix.
    pub(crate) fn name(&self) -> &[u8] {
        self.relative.as_os_str().as_bytes()
    }
}

/// Walks all of `root`, following no link below it.
pub(crate) fn walk(root: &Path) -> Result<Walk, Failure> {
    if !root.metadata().map_err(|cause| Failure::input(root.display(), cause))?.is_dir() {
        return Err(Failure::usage(format!("{} is not a directory", root.display())));
    }
    let mut found = Walk::default();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let mut entries = 0;
        for entry in fs::read_dir(&path).map_err(|e| failed("cannot list", &path, e))? {
            let entry = entry.map_err(|e| failed("cannot list", &path, e))?;
            let meta = entry.metadata().map_err(|e| failed("cannot read", &entry.path(), e))?;
            let relative = folder.join(entry.file_name());
            match meta.file_type() {
                kind if kind.is_dir() => folders.push(relative),
                kind if kind.is_file() => found.files.push(File::new(relative, &meta)),
                kind if kind.is_symlink() => found.symlinks.push(relative),
                _ => found.special.push(relative),
            }
            entries += 1;
        }
        found.empty_folders += usize::from(entries == 0);
    }
    found.files.sort_by(|a, b| a.name().cmp(b.name()));
    found.symlinks.sort_by(|a, b| bytes(a).cmp(bytes(b)));
    found.special.sort();
    Ok(found)
}

/// The files that came, went or changed between two walks of one directory, sorted.
pub(crate) fn changed(before: &Walk, after: &Walk) -> Vec<PathBuf> {
    let missing = |from: &Walk, of: &Walk| -> Vec<PathBuf> {
        let at = |file: &File| from.files.binary_search_by(|other| other.name().cmp(file.name()));
        let same = |file: &&File| !at(file).is_ok_and(|at| from.files[at] == **file);
        of.files.iter().filter(same).map(|file| file.relative.clone()).collect()
    };
    let mut paths = missing(after, before);
    paths.extend(missing(before, after));
    paths.sort();
    paths.dedup();
    paths
}

fn bytes(path: &Path) -> &[u8] {
    OsStr::as_bytes(path.as_os_str())
}

fn failed(what: &str, path: &Path, cause: io::Error) -> Failure {
    Failure::io(format!("{what} {}", path.display()), cause)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(walk: &Walk) -> Vec<&[u8]> {
        walk.files.iter().map(File::name).collect()
    }

    #[test]
    fn files_links_and_the_rest_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("a/deep/er")).unwrap();
        fs::create_dir(root.join("empty")).unwrap();
        for file in ["a-b", "a/x", "a/deep/er/y", "z"] {
            fs::write(root.join(file), file).unwrap();
        }
        fs::write(root.join(OsStr::from_bytes(b"odd\xff\n")), "").unwrap();
        symlink("z", root.join("a/link")).unwrap();
        symlink("a", root.join("loop")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let found = walk(root).unwrap();
        assert_eq!(names(&found), [b"a-b".as_slice(), b"a/deep/er/y", b"a/x", b"odd\xff\n", b"z"]);
        assert_eq!(found.symlinks, [PathBuf::from("a/link"), PathBuf::from("loop")]);
        assert_eq!(found.special, [PathBuf::from("socket")]);
        assert_eq!(found.empty_folders, 1);
    }

    #[test]
    fn a_change_between_two_walks_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for file in ["same", "grows", "goes"] {
            fs::write(root.join(file), file).unwrap();
        }
        let before = walk(root).unwrap();
        assert!(changed(&before, &walk(root).unwrap()).is_empty());
        fs::write(root.join("grows"), "longer than before").unwrap();
        fs::write(root.join("comes"), "").unwrap();
        fs::remove_file(root.join("goes")).unwrap();
        let after = walk(root).unwrap();
        assert_eq!(changed(&before, &after), ["comes", "goes", "grows"].map(PathBuf::from));
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(walk(&dir.path().join("file")).is_err());
        assert!(walk(&dir.path().join("absent")).is_err());
    }
}
