//! Runs the real `aft`.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with a store in it that is not made yet, and `aft` for it.
pub struct Place {
    pub dir: TempDir,
}

/// A tree of files, as [`read_tree`] sees it.
pub type Tree = BTreeMap<Vec<u8>, Vec<u8>>;

/// What `aft` did.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// `aft` with these arguments, on the store.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = bare(self.dir.path());
        command.env("AFT_STORE", format!("file://{}", self.store().display())).args(arguments);
        command
    }

    pub fn aft<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Ran {
        ran(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// `aft` with `input` on its stdin.
    pub fn aft_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        // A command that fails early need not read its input.
        let _ = writer.join().unwrap();
        ran(output)
    }

    /// What `aft --json` with these arguments prints; it must succeed.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.aft(&[&["--json"], arguments].concat()).ok();
        serde_json::from_slice(&ran.stdout).unwrap()
    }

    /// A directory of these files.
    pub fn tree(&self, name: &str, files: &[(&[u8], &[u8])]) -> PathBuf {
        let root = self.path(name);
        fs::create_dir_all(&root).unwrap();
        for (path, content) in files {
            let path = root.join(OsStr::from_bytes(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }
}

/// `aft` without a store, at home in `home`.
pub fn bare(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aft"));
    command.current_dir(home).env("HOME", home).env_remove("XDG_DATA_HOME").env_remove("AFT_STORE");
    command.env_remove("RUST_LOG");
    command
}

pub fn ran(output: Output) -> Ran {
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Ran { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
}

impl Ran {
    /// Asserts that it went well.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }

    /// Asserts that it failed with this exit code and, behind what was logged, with an error that says each of `words`.
    pub fn fails(mut self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        let logged = |line: &&str| [" WARN aft", " ERROR aft"].iter().any(|level| line.contains(level));
        let log: usize = self.stderr.split_inclusive('\n').take_while(logged).map(str::len).sum();
        self.stderr.drain(..log);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word} in {}", self.stderr);
        }
        let lines: Vec<_> =
            self.stderr.lines().map(|line| line.trim().trim_start_matches("caused by: ")).collect();
        let mut unique = lines.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), lines.len(), "something is said twice: {}", self.stderr);
        self
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// Every file below `root` with its content; folders end with `/`.
pub fn read_tree(root: &Path) -> Tree {
    try_read_tree(root).unwrap()
}

/// As [`read_tree`], where somebody may take the tree away meanwhile.
pub fn try_read_tree(root: &Path) -> io::Result<Tree> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let path = entry.path();
            let mut name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            if entry.file_type()?.is_dir() {
                name.push(b'/');
                found.insert(name, Vec::new());
                folders.push(path);
            } else {
                found.insert(name, fs::read(&path)?);
            }
        }
    }
    Ok(found)
}
