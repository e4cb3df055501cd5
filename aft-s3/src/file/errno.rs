//! What an error of the file system says about the effect.

use std::io::{self, ErrorKind};

use aft_core::StorageError;
use rustix::io::Errno;

/// What is at an object's path and is none: neither a file nor a folder.
#[derive(Debug)]
pub(super) struct NoObject(pub(super) &'static str);

impl std::fmt::Display for NoObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is in its place: objects are regular files", self.0)
    }
}

impl std::error::Error for NoObject {}

/// A file system that cannot say when a file became an object.
#[derive(Debug)]
pub(super) struct NoDates;

impl std::fmt::Display for NoDates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "this file system does not keep the times of a file as they are set and beside each other, so it cannot \
             hold a store",
        )
    }
}

impl std::error::Error for NoDates {}

/// The cause of an error that somebody must do something about.
fn advice(error: &io::Error) -> Option<&'static str> {
    let text = match Errno::from_io_error(error)? {
        Errno::NOSPC => "no space left on the device",
        Errno::DQUOT => "the disk quota is used up",
        Errno::NAMETOOLONG => "the path is too long for this file system",
        Errno::FBIG => "the object is too large for this file system",
        Errno::NOTDIR | Errno::ISDIR | Errno::EXIST => {
            "an object and a folder cannot have one name in a store of files"
        }
        Errno::XDEV => "a folder of the store is another file system: an object cannot be moved there",
        Errno::LOOP => "too many symbolic links on the way",
        _ => return None,
    };
    Some(text)
}

/// An error before the rename: nothing happened.
pub(super) fn before(path: &str, error: io::Error) -> StorageError {
    if error.get_ref().is_some_and(|cause| cause.is::<NoDates>()) {
        return StorageError::invalid(path).with_source(error);
    }
    if let Some(text) = advice(&error) {
        return StorageError::invalid(path).with_source(Explained { text, error });
    }
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StorageError::denied(path).with_source(error)
        }
        _ => StorageError::unavailable(path).with_source(error),
    }
}

/// An error of the rename itself.
pub(super) fn rename(path: &str, error: io::Error) -> StorageError {
    match Errno::from_io_error(&error) {
        Some(Errno::EXIST) => StorageError::already_exists(path),
        Some(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            let text = "this file system cannot move a file without replacing another (RENAME_NOREPLACE), \
                        so it cannot hold a store";
            StorageError::invalid(path).with_source(Explained { text, error })
        }
        Some(Errno::IO) => StorageError::unknown(path).with_source(error),
        _ => before(path, error),
    }
}

/// The object is to be seen, but it, or the way to it, could not be synced.
pub(super) fn sync(path: &str, error: io::Error) -> StorageError {
    let text = "the object is to be seen, but syncing it to the disk failed: it is written anew before anything is \
                believed of it";
    StorageError::unknown(path).with_source(Explained { text, error })
}

/// The object is still in doubt: it could not be written anew.
pub(super) fn in_doubt(path: &str, error: io::Error) -> StorageError {
    let text = "the object is to be seen, but syncing it to the disk failed, and so did writing it anew: until that \
                works nothing is believed of it, and nothing new is written; see to the disk";
    StorageError::unavailable(path).with_source(Explained { text, error })
}

/// An error of a get or a list.
pub(super) fn read(path: &str, error: io::Error) -> StorageError {
    if error.get_ref().is_some_and(|cause| cause.is::<NoObject>()) {
        return StorageError::invalid(path).with_source(error);
    }
    if is_absent(&error) {
        return StorageError::not_found(path).with_source(error);
    }
    match error.kind() {
        ErrorKind::PermissionDenied => StorageError::denied(path).with_source(error),
        _ if Errno::from_io_error(&error) == Some(Errno::NAMETOOLONG) => before(path, error),
        _ => StorageError::unavailable(path).with_source(error),
    }
}

/// An error of a delete: some of the paths may be gone.
pub(super) fn delete(path: &str, error: io::Error) -> StorageError {
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            StorageError::denied(path).with_source(error)
        }
        _ if Errno::from_io_error(&error) == Some(Errno::NAMETOOLONG) => before(path, error),
        _ => StorageError::unknown(path).with_source(error),
    }
}

/// Whether there is nothing at the path: no such file, or an object where a folder would have to be.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(super) fn absent_is_ok(error: io::Error) -> io::Result<()> {
    if is_absent(&error) { Ok(()) } else { Err(error) }
}

/// What an error number means here, and the error itself.
#[derive(Debug)]
struct Explained {
    text: &'static str,
    error: io::Error,
}

impl std::fmt::Display for Explained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

impl std::error::Error for Explained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(map: fn(&str, io::Error) -> StorageError, errno: Errno) -> &'static str {
        match map("a/b", errno.into()) {
            StorageError::NotFound { .. } => "NotFound",
            StorageError::AlreadyExists { .. } => "AlreadyExists",
            StorageError::Unavailable { .. } => "Unavailable",
            StorageError::Unknown { .. } => "Unknown",
            StorageError::Denied { .. } => "Denied",
            StorageError::Invalid { .. } => "Invalid",
        }
    }

    #[test]
    fn every_error_number_says_what_is_certain() {
        // before the rename, by the rename, of a read, of a delete
        let cases = [
            (Errno::NOSPC, ["Invalid", "Invalid", "Unavailable", "Unknown"]),
            (Errno::DQUOT, ["Invalid", "Invalid", "Unavailable", "Unknown"]),
            (Errno::NAMETOOLONG, ["Invalid", "Invalid", "Invalid", "Invalid"]),
            (Errno::ACCESS, ["Denied", "Denied", "Denied", "Denied"]),
            (Errno::PERM, ["Denied", "Denied", "Denied", "Denied"]),
            (Errno::ROFS, ["Denied", "Denied", "Unavailable", "Denied"]),
            (Errno::IO, ["Unavailable", "Unknown", "Unavailable", "Unknown"]),
            (Errno::MFILE, ["Unavailable", "Unavailable", "Unavailable", "Unknown"]),
            (Errno::NOENT, ["Unavailable", "Unavailable", "NotFound", "Unknown"]),
            (Errno::NOTDIR, ["Invalid", "Invalid", "NotFound", "Unknown"]),
            (Errno::EXIST, ["Invalid", "AlreadyExists", "Unavailable", "Unknown"]),
            (Errno::XDEV, ["Invalid", "Invalid", "Unavailable", "Unknown"]),
            (Errno::INVAL, ["Unavailable", "Invalid", "Unavailable", "Unknown"]),
            (Errno::NOSYS, ["Unavailable", "Invalid", "Unavailable", "Unknown"]),
            (Errno::OPNOTSUPP, ["Unavailable", "Invalid", "Unavailable", "Unknown"]),
        ];
        for (errno, expected) in cases {
            let seen = [before, rename, read, delete].map(|map| kind(map, errno));
            assert_eq!(seen, expected, "{errno:?}");
        }
    }

    #[test]
    fn the_cause_is_named_and_kept() {
        let full = before("a", Errno::NOSPC.into());
        let cause = std::error::Error::source(&full).unwrap();
        assert_eq!(cause.to_string(), "no space left on the device");
        assert!(cause.source().is_some());
        let refused = rename("a", Errno::INVAL.into());
        assert!(std::error::Error::source(&refused).unwrap().to_string().contains("RENAME_NOREPLACE"));
    }
}
