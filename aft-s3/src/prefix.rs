//! Which strings can begin a path, and where a listing of them starts.

use aft_core::check_path;

/// The folder of `prefix`: everything up to its last `/`, without it. `None` where `prefix` can begin no legal path,
/// so that a listing of it is empty and no store is asked with it.
pub(crate) fn folder(prefix: &str) -> Option<&str> {
    let (folder, partial) =
        prefix.rsplit_once('/').map_or(("", prefix), |(folder, partial)| (folder, partial));
    if prefix.contains('/') && check_path(folder).is_err() {
        return None;
    }
    let partial_is_possible = matches!(partial, "" | "." | "..") || check_path(partial).is_ok();
    partial_is_possible.then_some(folder)
}

/// Whether no path that begins with `prefix` sorts after `start_after`.
pub(crate) fn is_past(prefix: &str, start_after: Option<&str>) -> bool {
    start_after.is_some_and(|after| after > prefix && !after.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_prefixes() {
        let cases = [
            ("", Some("")),
            ("a", Some("")),
            ("a/", Some("a")),
            ("a/b", Some("a")),
            ("a/..", Some("a")),
            (".", Some("")),
            ("a/b/c.", Some("a/b")),
            ("/", None),
            ("/a", None),
            ("a//", None),
            ("../", None),
            ("a/./b", None),
            ("a b", None),
            ("a/\0", None),
        ];
        for (prefix, expected) in cases {
            assert_eq!(folder(prefix), expected, "{prefix:?}");
        }
    }

    #[test]
    fn past_the_prefix() {
        assert!(!is_past("b/", None));
        assert!(!is_past("b/", Some("a")));
        assert!(!is_past("b/", Some("b/")));
        assert!(!is_past("b/", Some("b/x")));
        assert!(is_past("b/", Some("b0")));
        assert!(!is_past("", Some("z")));
    }
}
