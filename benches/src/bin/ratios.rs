//! Prints what `cargo bench -p aft-benches` measured as ratios, and the requests that each operation costs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a report")]

use std::path::PathBuf;
use std::process::ExitCode;

use aft_benches::counts;
use aft_benches::ratios::{Measured, count_table};

const HELP: &str = "\
Prints Markdown: ratios from criterion's last results, and request counts.

usage: ratios [--medians] [CRITERION_FOLDER]

  --medians  also prints the medians that the ratios come from
";

/// Where criterion leaves its results: beside this program's own folder.
fn criterion_folder() -> Option<PathBuf> {
    if let Some(home) = std::env::var_os("CRITERION_HOME") {
        return Some(home.into());
    }
    let program = std::env::current_exe().ok()?;
    program.ancestors().map(|folder| folder.join("criterion")).find(|folder| folder.is_dir())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let (mut medians, mut folder) = (false, criterion_folder());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--medians" => medians = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            _ => folder = Some(argument.into()),
        }
    }
    match folder.as_deref().map(Measured::read) {
        None => eprintln!("nothing measured yet: run `cargo bench -p aft-benches` first"),
        Some(Err(error)) => {
            eprintln!("criterion's results cannot be read: {error}");
            return ExitCode::FAILURE;
        }
        Some(Ok(measured)) => {
            println!("Ratios: median of aft over median of plain\n\n{}", measured.ratios());
            if medians {
                println!("Medians: aft / plain\n\n{}", measured.medians());
            }
        }
    }
    println!("Requests\n\n{}", count_table(&counts::measure().await));
    ExitCode::SUCCESS
}
