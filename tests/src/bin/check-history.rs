//! Judges a history in JSON lines by the bare rule of Read Atomic: `check-history FILE`.
//!
//! Exit code 0: no violation; 1: violations, which it prints; 2: the file cannot be read.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]
#![allow(clippy::disallowed_methods, reason = "it measures how long the checker itself takes")]

use std::fs::File;
use std::io::BufReader;
use std::process::ExitCode;
use std::time::Instant;

use aft_tests::checker::{Expectations, check};
use aft_tests::history::History;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: check-history FILE");
        return ExitCode::from(2);
    };
    let started = Instant::now();
    let history = match File::open(&path).and_then(|file| History::read_json_lines(BufReader::new(file))) {
        Ok(history) => history,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    let read = started.elapsed();
    let verdict = check(&history, &Expectations { committed_only: true, ..Expectations::default() });
    let checked = started.elapsed() - read;
    println!("read in {} ms, judged in {} ms", read.as_millis(), checked.as_millis());
    match verdict {
        Ok(summary) => {
            println!("{summary}\nno violation");
            ExitCode::SUCCESS
        }
        Err(violations) => {
            for violation in &violations {
                println!("{violation}");
            }
            println!("{} violations", violations.len());
            ExitCode::FAILURE
        }
    }
}
