//! `import` and `export` of the real binary: what they take, what they refuse, what they leave.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use common::{Place, read_tree};

/// Files with odd names and contents.
fn odd_files() -> Vec<(&'static [u8], Vec<u8>)> {
    vec![
        (b"index.html", b"<html>\n".to_vec()),
        (b"empty", Vec::new()),
        (b"deep/er/and/deeper.bin", (0..=255u8).cycle().take(100_000).collect()),
        (b"deep-er", b"sorts between deep and deep/".to_vec()),
        (b"with space and \xc3\xbc", b"1".to_vec()),
        (b"not utf-8 \xff\xfe", b"2".to_vec()),
        (b"new\nline", b"3".to_vec()),
        (b"back\\slash", b"4".to_vec()),
        (b".hidden/...", b"5".to_vec()),
        (b"-rf", b"6".to_vec()),
    ]
}

#[test]
fn a_directory_comes_back_as_it_was() {
    let place = Place::new();
    let files = odd_files();
    let files: Vec<(&[u8], &[u8])> =
        files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
    let dir = place.tree("dir", &files);
    for prefix in ["site", "other/", "", "\\xff"] {
        let imported = place.json(&["import", "dir", "--prefix", prefix]);
        assert_eq!(imported["files"], files.len());
        let exported = place.json(&["export", "out", "--prefix", prefix]);
        assert!(exported["files"].as_u64().unwrap() >= files.len() as u64);
        if !prefix.is_empty() {
            assert_eq!(read_tree(&place.path("out")), read_tree(&dir), "{prefix}");
        }
    }
    let keys = place.aft(&["ls", "site"]).ok();
    assert!(
        keys.text().contains("site/not utf-8 \\xff\\xfe\n") && keys.text().contains("site/back\\\\slash\n")
    );
}

#[test]
fn an_import_is_one_commit_and_deletes_only_under_its_prefix_and_only_if_asked() {
    let place = Place::new();
    place.tree("one", &[(b"a", b"1"), (b"b/c", b"1"), (b"gone", b"1")]);
    place.tree("two", &[(b"a", b"2"), (b"b/d", b"2")]);
    for key in ["site", "site2/x", "site-x", "sit"] {
        place.aft(&["put", key, "outside"]).ok();
    }
    place.aft(&["import", "one", "--prefix", "site"]).ok();
    place.aft(&["import", "two", "--prefix", "site"]).ok();
    assert_eq!(place.aft(&["ls", "site/"]).ok().text(), "site/a\nsite/b/c\nsite/b/d\nsite/gone\n");
    let deleted = place.json(&["import", "two", "--prefix", "site", "--delete"]);
    assert_eq!(deleted["deleted"], 2);
    assert_eq!(place.aft(&["ls"]).ok().text(), "sit\nsite\nsite-x\nsite/a\nsite/b/d\nsite2/x\n");
    let newest = &place.json(&["log", "-n", "1"])["commits"][0];
    assert_eq!(
        newest["keys"].as_array().unwrap().len(),
        4,
        "two written, two deleted, in one commit: {newest}"
    );
    fs::create_dir(place.path("none")).unwrap();
    place.aft(&["import", "none", "--prefix", "site", "--delete"]).ok();
    assert_eq!(place.aft(&["ls", "site/"]).ok().text(), "");
}

#[test]
fn an_import_deletes_also_what_an_import_wrote_that_died_before_it_told_anybody() {
    let place = Place::new();
    // One value has an object of its own: so the commit is not decided in the feed.
    place.tree("one", &[(b"a", &[b'1'; 10_000]), (b"only in one", b"1")]);
    place.tree("two", &[(b"a", b"2"), (b"only in two", b"2")]);
    place.aft(&["import", "one", "--prefix", "p"]).ok();
    // Killed between its commit and its feed object: the decision is there, and nobody was told.
    let feed: Vec<_> =
        fs::read_dir(place.store().join("feed")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(feed.len(), 1);
    fs::remove_file(&feed[0]).unwrap();
    assert_eq!(place.aft(&["ls"]).ok().text(), "", "not visible yet");
    let second = place.json(&["import", "two", "--prefix", "p", "--delete"]);
    assert_eq!(second["deleted"], 1);
    // Whatever a later sweep finds, it is one release and not a mix.
    place.aft(&["sweep"]).ok();
    assert_eq!(place.aft(&["ls"]).ok().text(), "p/a\np/only in two\n");
}

#[test]
fn an_import_refuses_what_it_cannot_store_and_lists_all_of_it() {
    let place = Place::new();
    let dir = place.tree("dir", &[(b"file", b"1")]);
    symlink("file", dir.join("link")).unwrap();
    symlink("/nowhere", dir.join("dangling")).unwrap();
    let refused = place.aft(&["import", "dir", "--prefix", "p"]);
    refused.fails(2, &["link: a symbolic link", "dangling: a symbolic link", "--skip-symlinks"]);
    assert!(!place.store().exists());
    let skipped = place.json(&["import", "dir", "--prefix", "p", "--skip-symlinks"]);
    assert_eq!((&skipped["files"], skipped["skipped_symlinks"].as_array().unwrap().len()), (&1.into(), 2));
    assert_eq!(place.aft(&["ls"]).ok().text(), "p/file\n");
    let _socket = UnixListener::bind(dir.join("socket")).unwrap();
    place.aft(&["import", "dir", "--prefix", "p", "--skip-symlinks"]).fails(2, &["socket: no regular file"]);
    place.aft(&["import", "dir/file", "--prefix", "p"]).fails(2, &["not a directory"]);
    place.aft(&["import", "absent", "--prefix", "p"]).fails(2, &["absent"]);
    place.aft(&["import", ".", "--prefix", "p", "--skip-symlinks"]).fails(2, &[]);
}

#[test]
fn an_export_refuses_every_key_that_is_no_file_before_it_writes_anything() {
    let place = Place::new();
    let long_name = format!("p/{}", "n".repeat(256));
    let bad = [
        "p/../escape",
        "p//etc/passwd",
        "p/a/",
        "p/.",
        "p/x\\x00y",
        &long_name,
        "p/both",
        "p/both/file",
        "p/b//c",
    ];
    for key in bad {
        place.aft(&["put", key, "evil"]).ok();
    }
    place.aft(&["put", "p/good", "fine"]).ok();
    let old = place.tree("out", &[(b"old", b"1")]);
    let refused = place.aft(&["export", "out", "--prefix", "p"]).fails(2, &["8 keys cannot be files"]);
    for key in bad {
        assert_eq!(
            refused.stderr.contains(&format!("  {key}: ")),
            key != "p/both/file",
            "{key}: {}",
            refused.stderr
        );
    }
    assert!(!refused.stderr.contains("p/good"));
    assert_eq!(read_tree(&old).len(), 1);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 2, "the store and out, nothing else");
    assert!(!place.path("escape").exists());
}

#[test]
fn an_export_replaces_the_whole_directory_and_nothing_else() {
    let place = Place::new();
    place.tree("new", &[(b"a", b"new"), (b"d/e", b"new")]);
    place.aft(&["import", "new", "--prefix", "p"]).ok();
    place.tree("parent/out", &[(b"a", b"old"), (b"old/stuff", b"old")]);
    place.tree("parent/other", &[(b"x", b"1")]);
    // What exports that were killed left behind.
    place.tree("parent/.aft-export-1-1", &[(b"half/of", b"it")]);
    place.aft(&["export", "parent/out", "--prefix", "p"]).ok();
    let expected: Vec<&[u8]> = vec![b"other/", b"other/x", b"out/", b"out/a", b"out/d/", b"out/d/e"];
    assert_eq!(read_tree(&place.path("parent")).into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(fs::read(place.path("parent/out/a")).unwrap(), b"new");
    place.aft(&["export", "not/there/yet", "--prefix", "p"]).ok();
    assert_eq!(read_tree(&place.path("not/there/yet")), read_tree(&place.path("new")));
    place.aft(&["export", "parent/out", "--prefix", "typo"]).fails(3, &["no key under typo/"]);
    place.aft(&["export", "parent/out", "--prefix", "typo", "--allow-empty"]).ok();
    assert!(read_tree(&place.path("parent/out")).is_empty());
}

#[test]
fn an_export_never_replaces_what_is_precious() {
    let place = Place::new();
    place.aft(&["put", "p/a", "1"]).ok();
    fs::create_dir(place.path("real")).unwrap();
    symlink("real", place.path("link")).unwrap();
    fs::write(place.path("file"), "").unwrap();
    let home = place.dir.path().to_str().unwrap();
    for (target, why) in [
        ("link", "symbolic link"),
        ("file", "not a directory"),
        (".", "is in it"),
        ("..", "no name"),
        (home, "is in it"),
        ("/", "no name"),
        ("store", "is in it"),
        ("store/commits", "lies in the store"),
        ("store/new", "lies in the store"),
    ] {
        place.aft(&["export", target, "--prefix", "p"]).fails(2, &[why]);
    }
    assert_eq!(place.aft(&["get", "p/a"]).ok().text(), "1");
}

#[test]
fn an_import_of_a_directory_that_changes_is_refused() {
    // Bigger than what is read in an instant; one file grows while the others are read.
    let place = Place::new();
    let dir = place.tree("dir", &[]);
    for number in 0..400 {
        fs::write(dir.join(format!("{number:04}")), vec![1; 100_000]).unwrap();
    }
    let mut child = place
        .command(&["import", "dir", "--prefix", "p"])
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let changing = dir.join(OsStr::from_bytes(b"0000"));
    while child.try_wait().unwrap().is_none() {
        fs::write(&changing, "changed").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let ran = common::ran(child.wait_with_output().unwrap());
    ran.fails(2, &["changed while it was read; nothing was written", "0000"]);
    assert_ne!(place.aft(&["get", "p/0001"]).code, 0);
}
