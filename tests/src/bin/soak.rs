//! Overwrites a store again and again while it is maintained beside: `soak` for 100,000 keys, a hundred times each.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]
#![allow(clippy::disallowed_methods, reason = "it measures how long it takes itself")]
#![allow(clippy::expect_used, reason = "a program whose store fails has nothing to report")]

use std::process::ExitCode;
use std::time::Instant;

use aft_tests::soak::Soak;
use clap::Parser;

/// Overwrites every key of a store round by round, reads beside, and prints what the store came to weigh.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many keys.
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// How often each is written.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// The size of a value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Of so many keys one has a value that is an object of its own.
    #[arg(long, default_value_t = 100)]
    large_every: usize,
}

fn main() -> ExitCode {
    let Arguments { keys, rounds, value_bytes, large_every } = Arguments::parse();
    let soak = Soak { keys, rounds, per_commit: 1_000, value_bytes, large_every, large_bytes: 3_000 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let started = Instant::now();
    let soaked = runtime.expect("a runtime can be made").block_on(soak.run());
    println!("{soaked:#?}");
    println!("retention {:?}, took {:.0?}", Soak::retention(), started.elapsed());
    match soaked.check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}
