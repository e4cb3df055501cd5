//! Which paths a store must take.

use crate::storage::StorageError;

/// The longest segment of a path, in bytes.
const MAX_SEGMENT: usize = 200;

/// Checks `path` against the contract of [`Storage`](crate::Storage): UTF-8, `/`-separated, relative, without empty,
/// `.` or `..` segments; every segment of ASCII letters, digits, `-`, `_` and `.`, at most 200 bytes long.
///
/// Adapters call it first, so that a path that could leave the store's root never reaches one.
///
/// # Examples
///
/// ```
/// assert!(aft_core::check_path("commits/0a/x-1.json").is_ok());
/// assert!(aft_core::check_path("../secret").is_err());
/// ```
///
/// # Errors
/// [`StorageError::Invalid`] with the path and a source that says which rule it breaks.
pub fn check_path(path: &str) -> Result<(), StorageError> {
    path.split('/').try_for_each(check_segment).map_err(|rule| StorageError::invalid(path).with_source(rule))
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("a path has no empty segments");
    }
    if segment == "." || segment == ".." {
        return Err("a path has no \".\" or \"..\" segments");
    }
    if segment.len() > MAX_SEGMENT {
        return Err("a segment of a path is at most 200 bytes long");
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !segment.bytes().all(legal) {
        return Err("a path is made of ASCII letters, digits, \"-\", \"_\", \".\" and \"/\"");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_paths() {
        let longest = "x".repeat(MAX_SEGMENT);
        for path in ["a", "a/b", "...", "a/.b/c.", "-", "_", longest.as_str(), "A0/z9"] {
            assert!(check_path(path).is_ok(), "{path}");
        }
        let too_long = "x".repeat(MAX_SEGMENT + 1);
        for path in
            ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a b", "a\\b", "ä", "a\0", "a~", &too_long]
        {
            let refused = check_path(path).unwrap_err();
            assert!(matches!(&refused, StorageError::Invalid { source: Some(_), .. }), "{path}");
            assert_eq!(refused.path(), path);
        }
    }
}
