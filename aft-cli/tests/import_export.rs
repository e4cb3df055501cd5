//! Many processes on one store of files: imports of two releases, killed with SIGKILL at random moments, while other
//! processes export in a loop, some of them killed too. Every export must be one release or the other, byte for byte.
//!
//! By default two generated trees are used. `AFT_RELEASE_A` and `AFT_RELEASE_B` name two real ones (two releases of
//! some package, unpacked), `AFT_IMPORT_ROUNDS` how many imports are made (default 16).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod common;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use aft_core::{Clock, SystemClock};
use common::{Place, Tree, ran, read_tree, try_read_tree};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

/// Two releases: files that stay, change, come, go, are empty, or are larger than what travels in a commit record.
fn generated(place: &Place) -> [PathBuf; 2] {
    let mut rng = StdRng::seed_from_u64(11);
    let mut releases: [Vec<(String, Vec<u8>)>; 2] = Default::default();
    for number in 0..300 {
        let folder = ["", "lib/", "lib/deep/er/", "docs/"][number % 4];
        let name = format!("{folder}file-{number:03}");
        let mut content = || {
            let size = [0, 40, 900, 5_000, 20_000][rng.random_range(0..5)];
            let mut bytes = vec![0; size];
            if number % 2 == 0 {
                rng.fill_bytes(&mut bytes)
            } else {
                bytes.fill(b"text\n"[size % 5])
            }
            bytes
        };
        match number % 6 {
            0 => releases[0].push((name, content())),
            1 => releases[1].push((name, content())),
            2 => {
                let same = content();
                releases.iter_mut().for_each(|release| release.push((name.clone(), same.clone())));
            }
            _ => releases.iter_mut().for_each(|release| release.push((name.clone(), content()))),
        }
    }
    // A file in the one is a folder in the other.
    releases[0].push(("turns".into(), b"a file".to_vec()));
    releases[1].push(("turns/into".into(), b"a folder".to_vec()));
    ["a", "b"].map(|name| {
        let files = &releases[usize::from(name == "b")];
        let files: Vec<(&[u8], &[u8])> =
            files.iter().map(|(name, content)| (name.as_bytes(), &content[..])).collect();
        place.tree(name, &files)
    })
}

fn releases(place: &Place) -> [PathBuf; 2] {
    let named = ["AFT_RELEASE_A", "AFT_RELEASE_B"].map(|name| std::env::var_os(name).map(PathBuf::from));
    match named {
        [Some(a), Some(b)] => [a, b],
        _ => generated(place),
    }
}

/// The tree without its empty folders, which are not stored.
fn stored(root: &Path) -> Tree {
    let mut tree = read_tree(root);
    let files: Vec<Vec<u8>> = tree.keys().filter(|name| !name.ends_with(b"/")).cloned().collect();
    tree.retain(|name, _| !name.ends_with(b"/") || files.iter().any(|file| file.starts_with(name)));
    tree
}

fn start(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for `child` at most `patience`, then kills it. Whether it ended by itself; it must have succeeded then.
fn end(mut child: Child, patience: Option<Duration>) -> bool {
    if let Some(patience) = patience {
        thread::sleep(patience);
        // SIGKILL: no handler runs, nothing is flushed.
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let killed = output.status.code().is_none();
    if !killed {
        ran(output).ok();
    }
    !killed
}

/// Counts of what the processes did.
#[derive(Debug, Default)]
struct Counts {
    exports: AtomicU32,
    /// Looks into a directory at moments when nothing was exchanged.
    looks: AtomicU32,
    of_a: AtomicU32,
    killed_exports: AtomicU32,
    mixes: AtomicU32,
}

impl Counts {
    /// Compares what lies in an export's directory with both releases.
    fn check(&self, out: &Path, releases: &[Tree; 2]) {
        self.exports.fetch_add(1, Ordering::Relaxed);
        if self.compare(&read_tree(out), releases) == Some(0) {
            self.of_a.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Which of the releases it is; counts it where it is none.
    fn compare(&self, found: &Tree, releases: &[Tree; 2]) -> Option<usize> {
        let which = releases.iter().position(|release| release == found);
        if which.is_none() {
            let differs = |release: &Tree| {
                let names = release.keys().chain(found.keys());
                names.filter(|name| release.get(*name) != found.get(*name)).count()
            };
            let [a, b] = releases.each_ref().map(differs);
            eprintln!("a mix: {} files, {a} differ from A and {b} from B", found.len());
            self.mixes.fetch_add(1, Ordering::Relaxed);
        }
        which
    }
}

fn export_until(
    place: &Place,
    out: &str,
    kill: Option<u64>,
    stop: &AtomicBool,
    counts: &Counts,
    releases: &[Tree; 2],
) {
    let mut rng = StdRng::seed_from_u64(kill.unwrap_or_default());
    let path = place.path(out);
    while !stop.load(Ordering::Relaxed) {
        let child = start(place.command(&["export", out, "--prefix", "release"]));
        let patience = kill.map(|longest| Duration::from_micros(rng.random_range(0..longest)));
        if !end(child, patience) {
            counts.killed_exports.fetch_add(1, Ordering::Relaxed);
        }
        if path.exists() {
            counts.check(&path, releases);
        }
    }
}

/// The tree at `path`, read through the open directory; None where it was replaced meanwhile, or is not there.
///
/// Holding the directory open keeps its inode from being given to another one; so the same inode before and after
/// means that nothing was exchanged in between.
fn snapshot(path: &Path) -> Option<Tree> {
    let directory = File::open(path).ok()?;
    let inside = PathBuf::from(format!("/proc/self/fd/{}/.", directory.as_raw_fd()));
    let tree = try_read_tree(&inside).ok();
    let same = std::fs::metadata(path).ok()?.ino() == directory.metadata().ok()?.ino();
    same.then(|| tree.expect("a directory in place can be read"))
}

/// Looks into the directory that exports replace, all the time.
fn watch(path: &Path, stop: &AtomicBool, counts: &Counts, releases: &[Tree; 2]) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(tree) = snapshot(path) {
            counts.looks.fetch_add(1, Ordering::Relaxed);
            counts.compare(&tree, releases);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_export_is_one_release_or_the_other_whoever_is_killed() {
    let place = Place::new();
    let dirs = releases(&place);
    let trees = dirs.each_ref().map(|dir| stored(dir));
    let import = |dir: &PathBuf| {
        let arguments = [
            "import".as_ref(),
            dir.as_os_str(),
            "--prefix".as_ref(),
            "release".as_ref(),
            "--delete".as_ref(),
            "--skip-symlinks".as_ref(),
        ];
        start(place.command(&arguments))
    };
    let clock = SystemClock::new();
    let timed = |child: Child| {
        let start = clock.monotonic();
        assert!(end(child, None));
        u64::try_from((clock.monotonic() - start).as_micros()).unwrap()
    };
    assert!(end(import(&dirs[0]), None));
    let import_us = timed(import(&dirs[1]));
    let export_us = timed(start(place.command(&["export", "out-1", "--prefix", "release"])));
    let rounds: u32 = std::env::var("AFT_IMPORT_ROUNDS").map_or(16, |rounds| rounds.parse().unwrap());
    let mut rng = StdRng::seed_from_u64(5);
    let (mut whole, mut killed) = (0, 0);
    let (stop, counts) = (AtomicBool::new(false), Counts::default());
    thread::scope(|scope| {
        scope.spawn(|| export_until(&place, "out-1", None, &stop, &counts, &trees));
        scope.spawn(|| export_until(&place, "out-2", Some(2 * export_us), &stop, &counts, &trees));
        scope.spawn(|| watch(&place.path("out-1"), &stop, &counts, &trees));
        let mut round = 0;
        // A machine that is slow to export gets the time for it.
        while round < rounds || (counts.exports.load(Ordering::Relaxed) < 10 && round < 20 * rounds) {
            let dir = &dirs[round as usize % 2];
            // Longer than it takes alone, since it is not alone; and now and then it may finish.
            let patience =
                (round % 3 != 2).then(|| Duration::from_micros(rng.random_range(0..import_us * 3 / 2)));
            if end(import(dir), patience) {
                whole += 1
            } else {
                killed += 1
            }
            round += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    let shown = format!("{whole} imports ended, {killed} were killed; {counts:?}");
    eprintln!("{shown}");
    assert_eq!(counts.mixes.load(Ordering::Relaxed), 0, "{shown}");
    assert!(killed > 0 && whole > 0 && counts.exports.load(Ordering::Relaxed) >= 10, "{shown}");
    // Whatever the dead left behind, the next import and export are whole, and leave nothing beside the target.
    for (dir, tree) in dirs.iter().zip(&trees) {
        assert!(end(import(dir), None));
        for out in ["out-1", "out-2"] {
            place.aft(&["export", out, "--prefix", "release"]).ok();
            assert_eq!(read_tree(&place.path(out)), *tree);
        }
    }
    let names = std::fs::read_dir(place.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(".aft-export-")));
}
