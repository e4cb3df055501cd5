//! Prints how aft compares with the plain alternative, and the requests that each operation costs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a report")]
#![allow(clippy::expect_used, reason = "a program whose store fails has nothing to report")]

use std::path::PathBuf;

use aft_benches::place::Backend;
use aft_benches::{cases, counts, ratios};

const HELP: &str = "\
Prints Markdown: ratios of time, aft over plain, and the requests that each operation costs.

usage: ratios [--times] [--requests] [FILTER]

  --times     also prints the medians of the times themselves
  --requests  prints only the requests, which takes no time
  FILTER      only cases whose `backend/operation/size` contains it
";

fn main() {
    let (mut times, mut only_requests, mut filter) = (false, false, String::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--times" => times = true,
            "--requests" => only_requests = true,
            "--help" | "-h" => return print!("{HELP}"),
            _ => filter = argument,
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    if !only_requests {
        let columns = compared(&runtime, &filter);
        println!("## Ratios\n\nTime of aft over time of the plain alternative: median (quartiles).\n");
        println!("{}", ratios::table(&columns, ratios::ratio));
        if times {
            println!("## Times\n\naft / plain\n\n{}", ratios::table(&columns, ratios::times));
        }
    }
    println!("## Requests\n\n{}", ratios::count_table(&runtime.block_on(counts::measure())));
}

fn compared(runtime: &tokio::runtime::Runtime, filter: &str) -> Vec<(String, Vec<ratios::Compared>)> {
    let mut columns = Vec::new();
    for backend in Backend::all(folder()) {
        let chosen = |case: &cases::Case| format!("{backend}/{}/{}", case.group, case.what).contains(filter);
        let all = cases::all(&backend).into_iter().filter(chosen).flat_map(|case| {
            eprintln!("{backend}: {}, {}", case.group, case.what);
            ratios::compare(runtime, &case)
        });
        columns.push((backend.to_string(), all.collect()));
        runtime.block_on(backend.clear());
    }
    columns
}

/// Where files go: beside this program, since the temporary folder may be in memory, where syncing costs nothing.
fn folder() -> PathBuf {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(|program| program.parent());
    folder.map_or_else(std::env::temp_dir, PathBuf::from)
}
