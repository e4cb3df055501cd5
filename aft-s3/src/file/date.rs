//! An object's date: pinned as its file's modification time, so that it stays when the change time moves.
//!
//! The move sets the change time, and so do `chown`, `chmod`, a hard link and every copy, which is why it cannot be the
//! date for ever. A natural modification time cannot be it either: it is that of the last write, and a process that was
//! frozen between the write and the move would surface an object that looks old. So a staged file's modification time is
//! set to one that no object has, and only after the move to the change time that the move made. Tools that copy keep
//! modification times or say that they do not.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, futimens};

/// The modification time, in seconds, of a file whose date is not pinned.
const UNPINNED: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Modification times before 1990 pin nothing. Not just 0: some file systems begin in 1980.
const EARLIEST: i64 = 631_152_000;

/// When the move made the file an object.
pub(super) fn of(metadata: &Metadata) -> SystemTime {
    let moved = (metadata.ctime(), metadata.ctime_nsec());
    let pinned = (metadata.mtime(), metadata.mtime_nsec());
    // Later than the change time is no date that was pinned: somebody set it.
    let (seconds, nanoseconds) = if is_pinned(metadata) { pinned.min(moved) } else { moved };
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
}

fn is_pinned(metadata: &Metadata) -> bool {
    metadata.mtime() >= EARLIEST
}

/// Takes the modification time away that the writing gave to a staged file. `false` where the file system does not let
/// us, or keeps one time for both: then no date of its files can be told.
pub(super) fn unpin(file: &File) -> io::Result<bool> {
    set(file, UNPINNED)?;
    let metadata = file.metadata()?;
    Ok(!is_pinned(&metadata) && metadata.mtime() != metadata.ctime())
}

/// Pins the date of a file that was moved. Where the file system does not keep it to the second, it stays unpinned: then
/// the change time counts, which is as right as long as nobody touches the file.
pub(super) fn pin(file: &File) -> io::Result<()> {
    let moved = file.metadata()?;
    let date = Timespec { tv_sec: moved.ctime(), tv_nsec: moved.ctime_nsec() as _ };
    if date.tv_sec < EARLIEST || pin_to(file, date)? { Ok(()) } else { set(file, UNPINNED) }
}

/// Whether syncing the folder also syncs the pin, since the file system logs both, one after the other. btrfs does not: there
/// a power failure would leave the object and take its pin back.
#[cfg(target_os = "linux")]
pub(super) fn lasts_with_folder(file: &File) -> bool {
    use rustix::fs::{FsWord, fstatfs};
    const EXT4: FsWord = 0xef53;
    const XFS: FsWord = 0x5846_5342;
    fstatfs(file).is_ok_and(|system| [EXT4, XFS].contains(&system.f_type))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn lasts_with_folder(_: &File) -> bool {
    false
}

/// Gives a file that is to take another's place the date of the other.
pub(super) fn pin_as(file: &File, other: SystemTime) -> io::Result<bool> {
    let since = other.duration_since(UNIX_EPOCH).unwrap_or_default();
    let tv_sec = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    pin_to(file, Timespec { tv_sec, tv_nsec: since.subsec_nanos() as _ })
}

fn pin_to(file: &File, date: Timespec) -> io::Result<bool> {
    Ok(set(file, date).is_ok() && file.metadata()?.mtime() == date.tv_sec)
}

fn set(file: &File, modified: Timespec) -> io::Result<()> {
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ };
    Ok(futimens(file, &Timestamps { last_access, last_modification: modified })?)
}

#[cfg(test)]
mod tests {
    use std::fs::{FileTimes, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seconds(file: &File) -> u64 {
        of(&file.metadata().unwrap()).duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    #[test]
    fn a_pin_outlives_the_change_time_and_an_unpinned_file_has_none() {
        let file = tempfile::tempfile().unwrap();
        let changed = |file: &File| u64::try_from(file.metadata().unwrap().ctime()).unwrap();
        // What staging took how long ago is no date.
        file.set_times(FileTimes::new().set_modified(at(1_000_000_000))).unwrap();
        assert!(unpin(&file).unwrap());
        assert_eq!(seconds(&file), changed(&file));
        pin(&file).unwrap();
        let pinned = of(&file.metadata().unwrap());
        std::thread::sleep(Duration::from_millis(1_100));
        file.set_permissions(Permissions::from_mode(0o640)).unwrap();
        assert_eq!(of(&file.metadata().unwrap()), pinned);
        assert_ne!(seconds(&file), changed(&file), "it was touched in another second");
    }

    #[test]
    fn what_a_modification_time_means() {
        let file = tempfile::tempfile().unwrap();
        let changed = u64::try_from(file.metadata().unwrap().ctime()).unwrap();
        for (modified, date) in [
            (631_151_999, None),
            (631_152_000, Some(631_152_000)),
            (1_700_000_000, Some(1_700_000_000)),
            (changed + 3_600, None),
        ] {
            file.set_times(FileTimes::new().set_modified(at(modified))).unwrap();
            match date {
                Some(date) => assert_eq!(seconds(&file), date),
                None => assert!((changed..changed + 60).contains(&seconds(&file)), "{modified}"),
            }
        }
        assert!(pin_as(&file, at(1_600_000_000)).unwrap());
        assert_eq!(seconds(&file), 1_600_000_000);
    }
}
