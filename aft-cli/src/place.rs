//! What somebody may mean by the name of a store: a URL, or a path that looks like one.
//!
//! Anything else would make a folder of a strange name in the current directory, where a bucket was meant.

use std::path::{Path, PathBuf};

use url::Url;

use crate::failure::Failure;

/// The schemes of stores, and what follows them.
const SCHEMES: [(&str, &str); 7] = [
    ("s3", "s3://"),
    ("s3a", "s3://"),
    ("gs", "gs://"),
    ("az", "az://"),
    ("abfs", "abfs://"),
    ("memory", "memory://"),
    ("file", "file:///"),
];

/// The URL of the store that `text` names. `home` is where a `~` leads.
pub(crate) fn url(text: &str, home: Option<PathBuf>) -> Result<String, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::usage("the store's name is empty").advice("for example --store file:///path"));
    }
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    if text == "~" || text.starts_with("~/") {
        let home = home.ok_or_else(|| Failure::usage("there is no home directory for the ~ of the store"))?;
        return of_path(&home.join(text.trim_start_matches('~').trim_start_matches('/')));
    }
    let relative = text == "." || text == ".." || text.starts_with("./") || text.starts_with("../");
    if text.starts_with('/') || relative || Path::new(text).is_dir() {
        return of_path(Path::new(text));
    }
    // What is wrong may be a secret in the wrong place.
    let shown = aft_s3::shown(text);
    let refused = Failure::usage(format!("{shown:?} is neither the URL nor the path of a store"));
    let Some((scheme, rest)) = text.split_once(':') else {
        let path = shown.trim_start_matches('~');
        return Err(refused.advice(format!("a bucket is s3://{path}, a folder is ./{path}")));
    };
    let meant = SCHEMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, meant)| *meant);
    let rest = rest.trim_start_matches('/');
    Err(match meant {
        Some(meant) if !text.contains('@') => refused.advice(format!("it may be meant as {meant}{rest}")),
        Some(meant) => {
            refused.advice(format!("a store's URL begins with {meant} and has no credentials in it"))
        }
        None => refused.advice("a bucket is s3://bucket/prefix, a folder is file:///path, /path or ./path"),
    })
}

/// The URL of the store in the directory `path`.
pub(crate) fn of_path(path: &Path) -> Result<String, Failure> {
    let refuse = || Failure::usage(format!("{} cannot be the path of a store", path.display()));
    let path = std::path::absolute(path).map_err(|cause| refuse().because(cause))?;
    Url::from_file_path(&path).map(Into::into).map_err(|()| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        url(text, Some("/home/me".into())).map_err(|failure| {
            let mut told = Vec::new();
            failure.report(&mut told, false).unwrap();
            String::from_utf8(told).unwrap()
        })
    }

    #[test]
    fn paths_look_like_paths() {
        let here = std::env::current_dir().unwrap();
        let here = |path: &str| Ok(Url::from_file_path(here.join(path)).unwrap().to_string());
        assert_eq!(of("/a b/c"), Ok("file:///a%20b/c".to_owned()));
        assert_eq!(of("/a?b#c"), Ok("file:///a%3Fb%23c".to_owned()));
        assert_eq!(of("./some/where"), here("some/where"));
        assert_eq!(of("src"), here("src"));
        assert_eq!(
            of("~"),
            Ok("file:///home/me/".to_owned()).map(|url: String| url.trim_end_matches('/').to_owned())
        );
        assert_eq!(of("~/s"), Ok("file:///home/me/s".to_owned()));
        assert_eq!(of("s3://bucket/p"), Ok("s3://bucket/p".to_owned()));
    }

    #[test]
    fn what_was_probably_meant_is_said() {
        for (text, meant) in [
            ("s3:bucket", "s3://bucket"),
            ("s3:/bucket/p", "s3://bucket/p"),
            ("S3:bucket", "s3://bucket"),
            ("my-bucket/prefix", "s3://my-bucket/prefix"),
            ("my-bucket/prefix", "./my-bucket/prefix"),
            ("memory", "s3://memory"),
            ("memory:", "memory://"),
            ("memory:x", "memory://x"),
            ("file:/a/b", "file:///a/b"),
            ("file:a", "file:///a"),
            ("~you/store", "folder is ./you/store"),
            ("host:9000/bucket", "file:///path"),
            (" ", "file:///path"),
        ] {
            let told = of(text).unwrap_err();
            assert!(told.contains(meant), "{text}: {told}");
        }
        for text in ["KEY:hush@bucket", "s3:KEY:hush@bucket", "hush@bucket/p"] {
            let told = of(text).unwrap_err();
            assert!(!told.contains("hush"), "{text}: {told}");
        }
    }
}
