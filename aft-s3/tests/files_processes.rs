//! The file adapter as processes see it: a kernel that fails to sync, and writers whose umask denies everything.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aft_core::{Aft, Config};
use aft_s3::FileStorage;

const ROOT: &str = "AFT_TEST_ROOT";

/// The writer that the tests start: one commit; prints what became of it.
#[test]
fn writer() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    // strace counts the calls of each thread by themselves.
    let runtime = runtime.max_blocking_threads(1).enable_all().build().unwrap();
    let config = Config {
        commit_deadline: Duration::from_secs(2),
        inline_value_bytes: 10,
        background: false,
        ..Config::default()
    };
    runtime.block_on(async {
        let aft = Aft::open(Arc::new(FileStorage::open(root).unwrap()), config).await.unwrap();
        let mut tx = aft.begin().await.unwrap();
        tx.put("key", vec![1; 1_000]).unwrap();
        match tx.commit().await {
            Ok(_) => println!("ACKED"),
            Err(error) => println!("FAILED {:?}", error.kind()),
        }
    });
}

/// Starts the writer behind `command`.
fn write(root: &Path, command: &[&str]) -> Output {
    Command::new(command[0])
        .args(&command[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["writer", "--exact", "--nocapture"])
        .env(ROOT, root)
        .output()
        .unwrap()
}

/// What the kernel is told to answer when a folder of decisions is synced, and what the writer makes of it.
fn with_failing_syncs(when: &str) -> Option<(String, String)> {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().canonicalize().unwrap().join("store");
    // As strace goes by paths, these must be there.
    let shards: Vec<_> = (0..16).map(|shard| format!("{}/commits/{shard:x}", root.display())).collect();
    shards.iter().for_each(|shard| fs::create_dir_all(shard).unwrap());
    let log = place.path().join("log");
    let inject = format!("inject=fsync:error=EIO:{when}");
    let mut command = vec!["strace", "-f", "-qq", "-e", "trace=fsync", "-e", &inject, "-o"];
    command.push(log.to_str().unwrap());
    shards.iter().for_each(|shard| command.extend(["-P", shard]));
    if !Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|it| it.success())
    {
        println!("SKIPPED: no strace, or it may not trace here");
        return None;
    }
    let output = write(&root, &command);
    let seen = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((seen, fs::read_to_string(log).unwrap()))
}

#[test]
fn a_kernel_that_never_syncs_a_decision() {
    let Some((seen, log)) = with_failing_syncs("when=1+") else { return };
    assert!(log.contains("EIO"), "{log}");
    assert!(seen.contains("FAILED OutcomeUnknown"), "{seen}");
}

/// Linux reports it once, and the next sync of the same folder succeeds: nothing is acknowledged by that.
#[test]
fn a_kernel_that_fails_once_to_sync_a_decision() {
    let Some((seen, log)) = with_failing_syncs("when=1") else { return };
    assert_eq!(log.matches("EIO").count(), 1, "{log}");
    assert!(log.trim_end().ends_with("= 0"), "{log}");
    assert!(seen.contains("ACKED"), "{seen}");
}

/// A folder that hands its group down is written by several users. One of them denies others everything by habit.
#[test]
fn a_umask_does_not_deny_the_store_to_its_group() {
    for (root_mode, files, folders) in [(0o2770, 0o060, 0o070), (0o2750, 0o040, 0o050), (0o770, 0, 0)] {
        let place = tempfile::tempdir().unwrap();
        fs::set_permissions(place.path(), fs::Permissions::from_mode(root_mode)).unwrap();
        let output = write(place.path(), &["sh", "-c", r#"umask 077; exec "$0" "$@""#]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("ACKED"), "{output:?}");
        let (mut seen_files, mut seen_folders) = (0, 0);
        let mut open = vec![place.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let metadata = entry.metadata().unwrap();
                let group = metadata.permissions().mode() & 0o077;
                if metadata.is_dir() {
                    assert_eq!(group, folders, "{:?}", entry.path());
                    assert_eq!(metadata.permissions().mode() & 0o2000, root_mode & 0o2000);
                    seen_folders += 1;
                    open.push(entry.path());
                } else {
                    assert_eq!(group, files, "{:?}", entry.path());
                    seen_files += 1;
                }
            }
        }
        assert!(seen_files >= 3 && seen_folders >= 4, "{seen_files} {seen_folders}");
    }
}

/// A file system of its own in a file: what of the file a copy has is what is on the disk at that moment.
struct Disk {
    place: tempfile::TempDir,
    kind: &'static str,
}

impl Disk {
    fn new(kind: &'static str) -> Option<Self> {
        let disk = Self { place: tempfile::tempdir().unwrap(), kind };
        fs::File::create(disk.image()).unwrap().set_len(400 << 20).unwrap();
        fs::create_dir(disk.mounted()).unwrap();
        let made = Command::new(format!("mkfs.{kind}")).arg("-q").arg(disk.image()).output();
        if made.is_ok_and(|made| made.status.success()) && disk.mount(&disk.image()) {
            return Some(disk);
        }
        println!("SKIPPED: this machine does not let us make and mount {kind}");
        None
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("image")
    }

    fn mounted(&self) -> PathBuf {
        self.place.path().join("mounted")
    }

    fn mount(&self, image: &Path) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", self.kind, "-o", "loop"]).arg(image).arg(self.mounted());
        mount.output().is_ok_and(|mount| mount.status.success())
    }

    /// As after a power failure now.
    fn fails(&self) {
        let after = self.place.path().join("after");
        let copied =
            Command::new("cp").arg("--sparse=always").arg(self.image()).arg(&after).status().unwrap();
        assert!(copied.success());
        self.unmount();
        assert!(self.mount(&after));
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg("-l").arg(self.mounted()).status();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

fn dates(root: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut dates = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            match metadata.is_dir() {
                true => open.push(entry.path()),
                false => drop(dates.insert(entry.path(), metadata.modified().unwrap())),
            }
        }
    }
    dates
}

/// What was acknowledged is on the disk, with its date: another owner after the failure changes nothing.
#[test]
fn a_power_failure_takes_neither_an_object_nor_its_date() {
    for kind in ["ext4", "xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        let root = disk.mounted().join("store");
        let output = write(&root, &["env"]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("ACKED"), "{kind}: {output:?}");
        let before = dates(&root);
        disk.fails();
        assert!(before.len() >= 3, "{kind}: {before:?}");
        assert_eq!(dates(&root), before, "{kind}");
    }
}
