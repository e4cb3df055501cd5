//! Which URLs name a store, and that none of their secrets is shown.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the helpers of tests")]

use std::error::Error;

use aft_core::StorageError;
use aft_s3::{Options, open};

/// Everything that an error says, causes included.
fn said(error: &StorageError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause} {cause:?}"));
        next = cause.source();
    }
    text
}

fn refused(url: &str) -> String {
    let error = open(url, Options::default()).map(|_| ()).expect_err(url);
    assert!(matches!(error, StorageError::Invalid { .. }), "{url}: {error:?}");
    said(&error)
}

#[test]
fn secrets_in_a_url_are_never_shown() {
    for url in [
        "s3://AKIA:hush@bucket/p",
        "s3://hush@bucket",
        "s3://AKIA:hu/sh/hush@bucket/p",
        "s3://AKIA:123/hush@bucket/p",
        "s3://AKIA:hush%40bucket/p",
        "s3://bucket/p?secret=hush",
        "s3://bucket/p#hush",
        "s3:AKIA:hush@bucket",
        "AKIA:hush@bucket",
        "https://AKIA:hush@example.com/bucket",
        "s3://AKIA:hu[sh@hush",
        "memory://AKIA:hush@x",
        "file://AKIA:hush@/x",
    ] {
        let said = refused(url);
        assert!(
            !said.contains("hush@") && !said.contains("=hush") && !said.contains("#hush"),
            "{url}: {said}"
        );
        assert!(!said.contains(":hush") && !said.contains("/hush"), "{url}: {said}");
    }
}

#[test]
fn what_would_be_dropped_from_a_url_is_refused() {
    for (url, word) in [
        ("s3://bucket/team?a=1", "?"),
        ("s3://bucket/team?", "?"),
        ("s3://bucket/team#1", "#"),
        ("s3://bucket/team#", "#"),
        ("s3://bucket:9000/team", "port"),
        ("memory://name?x", "?"),
        ("memory://name#x", "#"),
        ("file:///tmp/a?b", "%3F"),
        ("file:///tmp/a#b", "%23"),
    ] {
        let said = refused(url);
        assert!(said.contains(word), "{url}: {said}");
    }
}

/// object_store writes them percent-encoded into the names of objects, which other tools and access rules do not expect.
#[test]
fn a_prefix_is_what_the_names_of_objects_begin_with() {
    for mark in [
        "~", "[", "]", "*", "\\", "%25", "%23", "%3F", "ä", "{", "}", "^", "`", "|", "<", ">", "%22", "%0A",
        "%7F",
    ] {
        let said = refused(&format!("s3://bucket/a/x{mark}y"));
        assert!(said.contains("prefix"), "{mark}: {said}");
    }
    for prefix in ["", "a", "a/", "a/b-c_d.e", "A0!'()", "a=b,c;d:e@f&g$h+i", "a%20b"] {
        let opened = open(&format!("s3://bucket/{prefix}"), Options::default()).map_err(|error| said(&error));
        opened.map(|_| ()).unwrap();
    }
    for bucket in ["b%20c", "b%0Ac", "b\u{e4}", "b'c"] {
        assert!(refused(&format!("s3://{bucket}/p")).contains("bucket"), "{bucket}");
    }
}

#[cfg(unix)]
#[test]
fn the_root_folder_is_no_store() {
    for url in ["file:///", "file:", "file:/", "file:///..", "file:////", "file:///tmp/.."] {
        assert!(refused(url).contains("folder"), "{url}");
    }
    assert!(aft_s3::FileStorage::open("/").is_err());
}

/// `memory:name` is no name of a store in memory but one of everybody's.
#[test]
fn a_store_has_its_slashes() {
    for url in ["s3:bucket", "s3:/bucket/p", "memory:name", "memory:"] {
        assert!(refused(url).contains("://"), "{url}");
    }
}
