//! Which file each key becomes, and which keys can be no file.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::key::{Key, Prefix};

/// The longest name of one file, in bytes (`NAME_MAX` of the usual file systems).
const NAME_MAX: usize = 255;
/// The longest path the system takes, in bytes, without its NUL.
const PATH_MAX: usize = 4095;

/// A key that can be no file, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) key: Key,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    EmptySegment,
    DotSegment,
    Nul,
    LongName(usize),
    LongPath(usize),
    FileAndFolder,
}

/// The path of each key's file, relative to the directory, in the order of `keys`; or every refused key.
///
/// `root` is where the tree is going to be written, and where it is to end: the longer of the two limits the paths.
pub(crate) fn paths<K: AsRef<[u8]>>(
    prefix: &Prefix,
    keys: &[K],
    root: usize,
) -> Result<Vec<PathBuf>, Vec<Refusal>> {
    let rests: Vec<&[u8]> = keys.iter().map(|key| &key.as_ref()[prefix.as_bytes().len()..]).collect();
    let files: HashMap<&[u8], usize> = rests.iter().enumerate().map(|(at, rest)| (*rest, at)).collect();
    let mut refused: Vec<(usize, Reason)> = Vec::new();
    let mut both = BTreeSet::new();
    for (at, rest) in rests.iter().enumerate() {
        if let Some(reason) = unfit(rest, root) {
            refused.push((at, reason));
            continue;
        }
        let folders = rest.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &rest[..end]);
        both.extend(folders.filter_map(|folder| files.get(folder)));
    }
    refused.extend(both.into_iter().map(|at| (at, Reason::FileAndFolder)));
    if refused.is_empty() {
        return Ok(rests.iter().map(|rest| Path::new(OsStr::from_bytes(rest)).to_path_buf()).collect());
    }
    refused.sort_by_key(|(at, _)| *at);
    refused.dedup_by_key(|(at, _)| *at);
    let refusal = |(at, reason): (usize, Reason)| Refusal { key: Key::from_bytes(keys[at].as_ref()), reason };
    Err(refused.into_iter().map(refusal).collect())
}

/// Why `rest` is no path inside a directory whose own path has `root` bytes.
fn unfit(rest: &[u8], root: usize) -> Option<Reason> {
    for segment in rest.split(|byte| *byte == b'/') {
        match segment {
            b"" => return Some(Reason::EmptySegment),
            b"." | b".." => return Some(Reason::DotSegment),
            _ if segment.contains(&0) => return Some(Reason::Nul),
            _ if segment.len() > NAME_MAX => return Some(Reason::LongName(segment.len())),
            _ => {}
        }
    }
    let length = root + 1 + rest.len();
    (length > PATH_MAX).then_some(Reason::LongPath(length))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptySegment => f.write_str("an empty name"),
            Self::DotSegment => f.write_str("`.` or `..` as a name would leave its directory"),
            Self::Nul => f.write_str("a NUL byte in a name"),
            Self::LongName(length) => write!(f, "a name of {length} bytes; at most {NAME_MAX}"),
            Self::LongPath(length) => write!(f, "a path of {length} bytes; at most {PATH_MAX}"),
            Self::FileAndFolder => f.write_str("a file, and a folder for other keys"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(prefix: &str, keys: &[&[u8]]) -> Result<Vec<PathBuf>, Vec<(Vec<u8>, Reason)>> {
        let prefix = prefix.parse::<Prefix>().unwrap().into_folder();
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| [prefix.as_bytes(), key].concat()).collect();
        paths(&prefix, &keys, 10).map_err(|refused| {
            refused
                .into_iter()
                .map(|refusal| (refusal.key.as_bytes()[prefix.as_bytes().len()..].to_vec(), refusal.reason))
                .collect()
        })
    }

    #[test]
    fn ordinary_and_odd_keys_become_files() {
        let odd: &[&[u8]] = &[
            b"a",
            b"a-b",
            b"b/c/d",
            b"...",
            b"..a/ ",
            b"b/\xff\n",
            b"caf\xc3\xa9",
            b"-rf",
            b"a\\b",
            &[b'n'; 255],
        ];
        for prefix in ["", "site", "a/b/"] {
            let paths = plan(prefix, odd).unwrap();
            for (path, key) in paths.iter().zip(odd) {
                assert_eq!(path.as_os_str().as_bytes(), *key);
                assert!(path.is_relative());
            }
        }
    }

    #[test]
    fn every_key_that_would_leave_or_break_the_directory_is_listed() {
        let bad: &[(&[u8], Reason)] = &[
            (b"", Reason::EmptySegment),
            (b"/etc/passwd", Reason::EmptySegment),
            (b"a//b", Reason::EmptySegment),
            (b"a/", Reason::EmptySegment),
            (b"..", Reason::DotSegment),
            (b"x/../../y", Reason::DotSegment),
            (b"./x", Reason::DotSegment),
            (b"n\0l", Reason::Nul),
            (&[b'n'; 256], Reason::LongName(256)),
        ];
        let mut keys: Vec<&[u8]> = bad.iter().map(|(key, _)| *key).collect();
        keys.push(b"good");
        let refused = plan("p", &keys).unwrap_err();
        let expected: Vec<_> = bad.iter().map(|(key, reason)| (key.to_vec(), *reason)).collect();
        assert_eq!(refused, expected);
    }

    #[test]
    fn long_paths_are_refused_with_the_directory_counted_in() {
        let long: Vec<u8> = b"d/".repeat(2043);
        let key = |length: usize| [&long[..length - 1], b"f"].concat();
        assert!(plan("", &[&key(4084)]).is_ok());
        assert_eq!(plan("", &[&key(4085)]).unwrap_err()[0].1, Reason::LongPath(4096));
    }

    #[test]
    fn a_key_that_is_file_and_folder_is_refused_whatever_sorts_between() {
        let refused = plan("p", &[b"a", b"a-b", b"a.txt", b"a/b/c", b"a/b", b"z"]).unwrap_err();
        assert_eq!(
            refused,
            [(b"a".to_vec(), Reason::FileAndFolder), (b"a/b".to_vec(), Reason::FileAndFolder)]
        );
        assert!(plan("a", &[b"b", b"c"]).is_ok(), "the folder of the prefix is no conflict");
    }
}
