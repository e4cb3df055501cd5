//! `dump` and `load` of the real binary, on stores of files.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aft_core::{Aft, Config, Transaction};
use common::{Place, ran};
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What a store holds.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

const FORMATS: [&str; 2] = ["jsonl", "tar"];

/// A store of the place by its name, opened beside the binary. Values over 1 MiB do not fit one piece there.
async fn library(place: &Place, name: &str) -> Aft {
    let url = format!("file://{}", place.path(name).display());
    let config = Config { max_value_bytes: 1 << 20, stream_part_bytes: 1 << 20, ..Config::default() };
    Aft::open(aft_s3::open(&url, aft_s3::Options::default()).unwrap(), config).await.unwrap()
}

async fn fill(place: &Place, name: &str, rows: &Rows) {
    let aft = library(place, name).await;
    let mut tx = aft.begin().await.unwrap();
    for (key, value) in rows {
        put(&mut tx, key, value).await;
    }
    tx.commit().await.unwrap();
    aft.close().await.unwrap();
}

async fn put(tx: &mut Transaction, key: &[u8], value: &[u8]) {
    let parts = value.chunks(300_000).map(|part| Ok::<_, std::io::Error>(part.to_vec().into()));
    tx.put_stream(key, futures::stream::iter(parts.collect::<Vec<_>>())).await.unwrap();
}

async fn held(place: &Place, name: &str) -> Rows {
    let aft = library(place, name).await;
    let tx = aft.begin().await.unwrap();
    let mut rows = Rows::new();
    for key in tx.scan_keys(..).await.unwrap() {
        let parts: Vec<_> = tx.get_stream(&key).await.unwrap().unwrap().try_collect().await.unwrap();
        rows.insert(key.to_vec(), parts.concat());
    }
    rows
}

/// Keys of every kind, and values of every size that is treated in a way of its own.
fn random_rows(seed: u64) -> Rows {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut rows = Rows::new();
    let odd = [
        "../../etc/passwd",
        "/",
        "a",
        "a/b",
        "a//",
        ".",
        " edge ",
        "tab\t\n",
        "{\"end\":1}",
        "a\\x41",
        "jürgen",
    ];
    let odd = odd.map(|key| key.as_bytes().to_vec());
    let random: Vec<Vec<u8>> = (0..60)
        .map(|n| {
            let mut key = vec![0; [1, 2, 9, 100, 4096][n % 5]];
            rng.fill_bytes(&mut key);
            key
        })
        .collect();
    let sizes = [0, 1, 100, 8 << 10, (8 << 10) + 1, 300_000, 1 << 20, (1 << 20) + 1, 3_500_000];
    for (n, key) in odd.into_iter().chain(random).enumerate() {
        let large = if n < 40 { sizes.len() } else { 5 };
        let mut value = vec![b'\n'; sizes[n % large]];
        match n % 3 {
            0 => rng.fill_bytes(&mut value),
            1 => value = "zwölf \"\\ \0".bytes().cycle().take(value.len()).collect(),
            _ => {}
        }
        rows.insert(key, value);
    }
    rows
}

#[tokio::test]
async fn keys_and_values_of_any_bytes_go_through_both_formats_byte_for_byte() {
    let place = Place::new();
    let rows = random_rows(1);
    fill(&place, "store", &rows).await;
    let mut digests = Vec::new();
    for format in FORMATS {
        let dump = place.aft(&["dump", "--format", format]).ok();
        assert!(dump.stderr.is_empty(), "{}", dump.stderr);
        let report = place.json(&["dump", "--format", format, "--output", format]);
        assert_eq!((&report["keys"], &report["prefix"]), (&rows.len().into(), &"".into()));
        assert!(fs::read(place.path(format)).unwrap() == dump.stdout);
        digests.push(report["sha256"].clone());

        // From a file and from a pipe.
        let (one, two) = (format!("./{format}-file"), format!("./{format}-pipe"));
        let loaded = place.json(&["--store", &one, "load", format]);
        assert_eq!((&loaded["keys"], &loaded["sha256"]), (&rows.len().into(), &report["sha256"]));
        assert_eq!(loaded["commits"].as_array().unwrap().len(), 1);
        place.aft_with(&["--store", &two, "load"], &dump.stdout).ok();
        for store in [&one, &two] {
            assert!(held(&place, store).await == rows, "{format} to {store}");
            // A store that was loaded has the same dumps, of both formats.
            for format in FORMATS {
                let again = place.aft(&["--store", store, "dump", "--format", format]).ok().stdout;
                assert!(format == "tar" || again == place.aft(&["dump"]).ok().stdout);
                assert!(format == "jsonl" || again == place.aft(&["dump", "--format=tar"]).ok().stdout);
            }
        }
    }
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn gnu_tar_reads_an_archive() {
    let place = Place::new();
    place.aft(&["put", "../escape", "one"]).ok();
    place.aft_with(&["put", "\\xff"], b"two\0").ok();
    place.aft(&["dump", "--format=tar", "--output=d.tar"]).ok();
    fs::create_dir(place.path("out")).unwrap();
    let tar = Command::new("tar").current_dir(place.path("out")).args(["-xvf", "../d.tar"]).output().unwrap();
    let tar = ran(tar).ok();
    assert!(tar.stderr.is_empty(), "{}", tar.stderr);
    let file = |name: &str| fs::read(place.path("out").join(name)).unwrap();
    assert_eq!(file("000000000001.key"), b"../escape");
    assert_eq!(file("000000000001.value"), b"one");
    assert_eq!(file("000000000002.key"), b"\xff");
    assert_eq!(file("000000000002.value"), b"two\0");
    assert!(file("aft-dump-end.json").starts_with(b"{\"keys\":2,\"bytes\":7,"));
}

#[test]
fn a_dump_that_is_cut_off_or_damaged_is_refused_and_nothing_is_committed() {
    let place = Place::new();
    for (key, value) in [("a", "1"), ("b", "22222222"), ("c", "3")] {
        place.aft(&["put", key, value]).ok();
    }
    place.aft(&["--store", "./other", "put", "mine", "stays"]).ok();
    let check = |input: &[u8], words: &[&str]| {
        let input = input.to_vec();
        fs::write(place.path("bad"), &input).unwrap();
        let words = [words, &["nothing was committed"]].concat();
        place.aft_with(&["--store", "./other", "load"], &input).fails(2, &words);
        place.aft(&["--store", "./other", "load", "bad"]).fails(2, &words);
        place.aft(&["--store", "./other", "load", "--batch=1", "bad"]).fails(2, &words);
        assert_eq!(place.aft(&["--store", "./other", "ls"]).ok().text(), "mine\n");
    };
    for format in FORMATS {
        let whole = place.aft(&["dump", "--format", format]).ok().stdout;
        let at = |text: &[u8]| whole.windows(text.len()).position(|found| found == text).unwrap();
        let value = at(b"22222222");
        let end = at(if format == "tar" { b"aft-dump-end.json" } else { b"{\"end\"" });
        for len in [value, value + 4, end, end + 8] {
            check(&whole[..len], &["cut off"]);
        }
        let mut damaged = whole.clone();
        damaged[value] = b'3';
        check(&damaged, &["damaged", "digest"]);
        check(&[&whole[..], &whole[..]].concat(), &["damaged"]);
    }
    check(b"", &["it is empty"]);
    check(b"\x28\xb5\x2f\xfd....", &["compressed", "zstd -dc"]);
    check(b"{\"key\":\"a\",\"value\":\"b\"}\n", &["no dump"]);
    // What is no dump makes no store.
    place.aft_with(&["--store", "./new", "load"], b"hello").fails(2, &["no dump"]);
    assert!(!place.path("new").exists());
}

#[test]
fn a_dump_is_one_moment_and_a_load_one_transaction_while_both_go_on_and_die() {
    let place = Place::new();
    let states = ["a", "b"].map(|state| {
        for number in 0..150 {
            let size = [1, 200, 9_000][number % 3];
            place.tree(
                &format!("tree-{state}"),
                &[(format!("{number}").as_bytes(), state.repeat(size).as_bytes())],
            );
        }
        let store = format!("./{state}");
        place.aft(&["--store", &store, "import", &format!("tree-{state}"), "--prefix="]).ok();
        place.aft(&["--store", &store, "dump", "--output", &format!("{state}.jsonl")]).ok();
        place.aft(&["--store", &store, "dump"]).ok().stdout
    });
    assert!(states[0] != states[1]);
    place.aft(&["load", "a.jsonl"]).ok();
    let over = AtomicBool::new(false);
    let mut seen = [0, 0];
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..16 {
                let dump = ["b.jsonl", "a.jsonl"][round % 2];
                let mut load = place.command(&["load", dump]);
                let mut load = load.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
                if round % 4 == 3 {
                    thread::sleep(Duration::from_millis(40 + 20 * round as u64));
                    load.kill().unwrap();
                    load.wait().unwrap();
                } else {
                    ran(load.wait_with_output().unwrap()).ok();
                }
            }
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            let dump = place.aft(&["dump"]).ok().stdout;
            let which =
                states.iter().position(|state| *state == dump).expect("neither the one nor the other");
            seen[which] += 1;
        }
    });
    eprintln!("dumps of either state: {seen:?}");
    assert!(seen.iter().sum::<u32>() > 3);
}

/// The most memory that `child` had, in bytes, and what it did.
fn peak(mut child: Child) -> (u64, common::Ran) {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        // A process that has ended has no memory any more.
        let now = fs::read_to_string(&status).unwrap_or_default();
        let line = now.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        thread::sleep(Duration::from_millis(5));
    }
    (peak, ran(child.wait_with_output().unwrap()))
}

#[test]
fn a_large_value_needs_bounded_memory_both_ways() {
    const LEN: usize = 160 << 20;
    let place = Place::new();
    // No two parts of it are alike.
    let mut block = vec![0; 1_000_003];
    StdRng::seed_from_u64(5).fill_bytes(&mut block);
    let large: Vec<u8> = block.repeat(LEN / block.len() + 1).into_iter().take(LEN).collect();
    fs::write(place.path("large"), &large).unwrap();
    place.aft(&["put", "large", "--file", "large"]).ok();
    for format in FORMATS {
        let start = |arguments: &[&str]| {
            let mut command = place.command(arguments);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let (dump, ran) = peak(start(&["dump", "--format", format, "--output", "dump"]));
        ran.ok();
        let (load, ran) = peak(start(&["--store", &format!("./{format}"), "load", "dump"]));
        ran.ok();
        eprintln!("{format}: dump {} MiB, load {} MiB", dump >> 20, load >> 20);
        assert!(dump > 0 && dump < LEN as u64 * 3 / 4, "{format}: {dump} bytes to dump");
        assert!(load > 0 && load < LEN as u64 * 3 / 4, "{format}: {load} bytes to load");
        let mut got = place.command(&["--store", format, "get", "large"]);
        assert!(got.output().unwrap().stdout == large);
        fs::remove_dir_all(place.path(format)).unwrap();
    }
}

#[tokio::test]
async fn what_does_not_fit_one_transaction_is_refused_and_goes_in_batches() {
    let place = Place::new();
    let aft = library(&place, "store").await;
    for half in 0..2 {
        let mut tx = aft.begin().await.unwrap();
        (0..25_000).for_each(|key| tx.put(format!("{half}/{key:05}"), "v").unwrap());
        tx.commit().await.unwrap();
    }
    aft.close().await.unwrap();
    place.aft(&["dump", "-o", "many"]).ok();
    place
        .aft(&["--store", "./new", "load", "many"])
        .fails(2, &["does not fit one transaction; nothing was committed", "--batch 10000"]);
    assert_eq!(place.aft(&["--store", "./new", "ls"]).ok().text(), "");
    // A part of it fits.
    place.aft(&["--store", "./half", "load", "many", "--prefix=1/"]).ok();
    let listed = place.json(&["--store", "./half", "ls"]);
    assert_eq!(listed["keys"].as_array().unwrap().len(), 25_000);

    let batches = place.json(&["--store", "./new", "load", "many", "--batch", "20000", "--request", "r"]);
    let commits = batches["commits"].as_array().unwrap();
    assert!(commits.len() == 3 && commits.iter().all(|commit| commit["replayed"] == false), "{commits:?}");
    assert!(place.aft(&["--store", "./new", "dump"]).ok().stdout == fs::read(place.path("many")).unwrap());
    // It must be a file, which is verified before anything is written.
    let piped = place.aft_with(&["--store", "./new", "load", "--batch=5"], b"");
    piped.fails(2, &["--batch needs a dump that is a file", "verified"]);
}

#[test]
fn under_a_request_key_a_dump_is_loaded_once() {
    let place = Place::new();
    for key in ["a", "b", "c", "d", "e"] {
        place.aft(&["put", key, "old"]).ok();
    }
    place.aft(&["dump", "-o", "five"]).ok();
    let load = |more: &[&str]| place.json(&[&["--store", "./new", "load", "five"], more].concat());
    for (request, more, transactions) in
        [("r", &["--request=r"][..], 1), ("s", &["--request=s", "--batch=2"], 3)]
    {
        for again in [false, true] {
            let commits = load(more)["commits"].as_array().unwrap().clone();
            assert_eq!(commits.len(), transactions);
            assert!(commits.iter().all(|commit| commit["replayed"] == again), "{request}: {commits:?}");
            assert_eq!(
                place.aft(&["--store", "./new", "get", "c"]).ok().text(),
                ["old", "new"][usize::from(again)]
            );
            place.aft(&["--store", "./new", "put", "c", "new"]).ok();
        }
        // Without one it is loaded again.
        load(&[]);
    }
    // What another load has under the key is no replay.
    let other = |more: &[&str]| place.aft(&[&["--store", "./new", "load"], more].concat());
    let words = ["the request key loaded something else before", "a key of its own"];
    other(&["five", "--request=s", "--batch=3"]).fails(2, &words);
    other(&["five", "--request=r", "--prefix=a"]).fails(2, &words);
    place.aft(&["put", "f", "more"]).ok();
    place.aft(&["dump", "-o", "six"]).ok();
    other(&["six", "--request=r"]).fails(2, &words);
    place.aft(&["--store", "./new", "get", "f"]).fails(3, &[]);
}

#[test]
fn a_load_in_batches_that_was_killed_goes_on_where_it_was() {
    let place = Place::new();
    let numbers: Vec<String> = (0..80).map(|number| format!("{number:03}")).collect();
    let files: Vec<_> = numbers.iter().map(|name| (name.as_bytes(), name.as_bytes())).collect();
    place.tree("tree", &files);
    place.aft(&["import", "tree", "--prefix="]).ok();
    place.aft(&["dump", "-o", "dump"]).ok();
    for wait in (1..).map(|tenths| Duration::from_millis(tenths * 100)) {
        let store = format!("./new-{}", wait.as_millis());
        let run = ["--store", &store, "load", "dump", "--batch=1", "--request=r"];
        let mut load = place.command(&run).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(wait);
        load.kill().unwrap();
        load.wait().unwrap();
        let listed = place.aft(&["--store", &store, "sweep"]).code;
        let before = if listed == 0 {
            place.json(&["--store", &store, "ls"])["keys"].as_array().unwrap().len()
        } else {
            0
        };
        assert!(before < 80, "too fast to be killed");
        if before == 0 {
            continue;
        }
        let commits = place.json(&run)["commits"].as_array().unwrap().clone();
        let replayed = commits.iter().filter(|commit| commit["replayed"] == true).count();
        eprintln!("{before} of 80 were there after {wait:?}, {replayed} replayed");
        assert!(commits.len() == 80 && replayed == before);
        assert!(place.aft(&["--store", &store, "dump"]).ok().stdout == fs::read(place.path("dump")).unwrap());
        return;
    }
}

#[test]
fn nothing_to_dump_and_nothing_to_load() {
    let place = Place::new();
    place.aft(&["dump"]).fails(7, &["no aft store"]);
    place.aft(&["put", "k", "v"]).ok();
    place.aft(&["dump", "--prefix=x"]).fails(3, &["no key that begins with x; nothing was written"]);
    place.aft(&["dump", "--prefix=x", "-o", "f"]).fails(3, &["nothing was written"]);
    assert!(!place.path("f").exists());
    place.aft(&["del", "k"]).ok();
    place.aft(&["dump"]).fails(3, &["there is no key in the store"]);
    for format in FORMATS {
        let empty = place.aft(&["dump", "--allow-empty", "--format", format]).ok().stdout;
        let loaded = place.aft_with(&["load"], &empty).ok();
        assert_eq!(loaded.text(), "loaded 0 keys (0 B); nothing to write\n");
    }
    place.aft(&["put", "k", "v"]).ok();
    let dump = place.aft(&["dump"]).ok().stdout;
    place.aft_with(&["load", "--prefix=x"], &dump).fails(3, &["no key of the dump begins with x"]);
}

#[test]
fn a_file_is_replaced_by_a_whole_dump_or_not_at_all() {
    let place = Place::new();
    let large = vec![7; 2_000_000];
    place.aft(&["put", "a", "1"]).ok();
    place.aft_with(&["put", "z"], &large).ok();
    place.aft(&["dump", "-o", "dump"]).ok();
    let whole = fs::read(place.path("dump")).unwrap();
    place.aft(&["dump", "-o", "store/dump"]).fails(2, &["lies in the store itself"]);
    place.aft(&["dump", "-o", "store"]).fails(2, &["is a directory"]);
    place.aft(&["dump", "-o", "no/where"]).fails(1, &["cannot write the dump to"]);
    place
        .aft(&["dump", "-o", "/dev/full"])
        .fails(1, &["cannot write the dump to /dev/full", "No space left"]);

    remove_files(&place.path("store/values"));
    place.aft(&["dump", "-o", "dump"]).fails(7, &["is gone"]);
    assert!(fs::read(place.path("dump")).unwrap() == whole);
    let left = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".aft-dump");
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().flatten().filter(left).count(), 0);
    // What went to stdout until then is no dump.
    let half = place.aft(&["dump"]);
    assert!(half.code == 7 && half.stdout.len() < whole.len());
    place.aft_with(&["--store", "./new", "load"], &half.stdout).fails(2, &["cut off"]);
}

fn remove_files(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            remove_files(&entry.path())
        } else {
            fs::remove_file(entry.path()).unwrap()
        }
    }
}

#[test]
fn a_reader_that_goes_away_ends_a_dump_quietly() {
    let place = Place::new();
    place.aft_with(&["put", "k"], &vec![b'x'; 3_000_000]).ok();
    for format in FORMATS {
        let mut dump = place.command(&["dump", "--format", format]);
        let mut dump = dump.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = dump.stdout.take().unwrap();
        stdout.read_exact(&mut [0; 10]).unwrap();
        drop(stdout);
        let ended = ran(dump.wait_with_output().unwrap()).ok();
        assert!(ended.stderr.is_empty(), "{}", ended.stderr);
    }
}
