//! One operation in a loop on a store in memory, on one thread, for a profiler.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a person at a terminal")]
#![allow(clippy::expect_used, reason = "a program whose store fails has nothing to run")]

use std::process::ExitCode;

use aft_benches::data::{self, Keys, PREFIX};
use aft_benches::place::Backend;
use aft_benches::stopwatch::Stopwatch;
use aft_core::Aft;
use bytes::Bytes;
use tokio::runtime::Runtime;

const HELP: &str = "\
Runs one operation in a loop on a store in memory, on one thread, for a profiler.

usage: hot begin|get|get-cowritten|get-many|scan|commit-1|commit-100 [ROUNDS]

  valgrind --tool=callgrind --toggle-collect='hot::measured' target/release/hot get 20000
";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let rounds = arguments.get(1).map_or(Some(10_000), |rounds| rounds.parse().ok());
    let (Some(operation), Some(rounds)) = (arguments.first(), rounds) else {
        print!("{HELP}");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let keys = Keys::new(1_000);
    let value = data::value(1 << 10);
    let node = runtime.block_on(async {
        let node = data::open(Backend::Memory.place().storage).await;
        data::fill(&node, &keys, &value, if operation == "get-cowritten" { 100 } else { 1 }).await;
        node
    });
    let watch = Stopwatch::start();
    if !measured(&runtime, operation, rounds, (&node, &keys, &value)) {
        eprint!("{HELP}");
        return ExitCode::FAILURE;
    }
    println!("{operation}: {:?} each", watch.elapsed() / rounds.max(1));
    ExitCode::SUCCESS
}

/// The loop; `false` for an operation that there is not. A function of its own, which the profiler can be told.
#[inline(never)]
fn measured(
    runtime: &Runtime,
    operation: &str,
    rounds: u32,
    (node, keys, value): (&Aft, &Keys, &Bytes),
) -> bool {
    runtime.block_on(async {
        for _ in 0..rounds {
            match operation {
                "commit-1" => drop(data::commit(node, keys.names(1), value).await),
                "commit-100" => drop(data::commit(node, keys.names(100), value).await),
                _ => {
                    let tx = node.begin().await.expect("begin");
                    match operation {
                        "begin" => {}
                        "get" | "get-cowritten" => drop(tx.get(keys.name(keys.far())).await.expect("get")),
                        "get-many" => drop(tx.get_many(keys.names(100)).await.expect("get_many")),
                        "scan" => drop(tx.scan_prefix(PREFIX).await.expect("scan")),
                        _ => return false,
                    }
                }
            }
        }
        true
    })
}
