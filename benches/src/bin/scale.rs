//! Makes stores of 10⁴, 10⁵ and more keys on files, and prints what each size costs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a report")]
#![allow(clippy::expect_used, reason = "a program whose store fails has nothing to report")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use aft_benches::scale;
use tempfile::TempDir;

const HELP: &str = "\
Makes a store on files in steady batches, and prints Markdown: what folding a commit and a cold start cost at 10^4 keys, 10^5 and
so on, and what a node needs that reads 10,000 random keys of the whole.

usage: scale [--huge] [--folder FOLDER]

  --huge     10^7 keys, which takes minutes and 3 GB; otherwise 10^6
  --folder   where the store is made, and removed at the end; otherwise beside this program
";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => whole(1_000_000, &beside()),
        ["--huge"] => whole(10_000_000, &beside()),
        ["--folder", folder] => whole(1_000_000, Path::new(folder)),
        ["--huge", "--folder", folder] => whole(10_000_000, Path::new(folder)),
        // What this program runs in processes of their own, so that the memory of each is its own.
        ["make", folder, keys] => run(scale::make(Path::new(folder), keys.parse().expect("a number"))),
        ["read", folder, keys] => run(scale::read(Path::new(folder), keys.parse().expect("a number"))),
        _ => {
            print!("{HELP}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn whole(keys: u64, folder: &Path) {
    let folder = TempDir::with_prefix_in("aft-scale-", folder).expect("a folder");
    for part in ["make", "read"] {
        let program = std::env::current_exe().expect("this program");
        let ended = Command::new(program).arg(part).arg(folder.path()).arg(keys.to_string()).status();
        assert!(ended.is_ok_and(|status| status.success()), "{part} failed");
    }
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(work);
}

/// Files lie beside this program, since the temporary folder may be in memory.
fn beside() -> PathBuf {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(|program| program.parent());
    folder.map_or_else(std::env::temp_dir, PathBuf::from)
}
