//! Commit, get, scan, open, the size of the view and concurrent commits, each beside the plain alternative.
//!
//! `cargo bench -p aft-benches` measures, `cargo bench -p aft-benches -- --test` runs everything once, and
//! `cargo run -p aft-benches --bin ratios` prints the table.

#![allow(clippy::expect_used, reason = "a benchmark whose store fails has nothing to report")]

mod bench;
mod commit;
mod get;
mod open;
mod scan;
mod throughput;
mod view;

use std::path::PathBuf;

use aft_benches::place::Backend;
use bench::Bench;
use criterion::Criterion;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    // The target folder and not the temporary one, which may be in memory, where syncing costs nothing.
    let backends = Backend::all(PathBuf::from(env!("CARGO_TARGET_TMPDIR")));
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    for backend in &backends {
        let mut bench = Bench { criterion: &mut criterion, runtime: &runtime, backend };
        commit::run(&mut bench);
        throughput::run(&mut bench);
        get::run(&mut bench);
        scan::run(&mut bench);
        open::run(&mut bench);
        view::run(&mut bench);
        runtime.block_on(backend.clear());
    }
    criterion.final_summary();
}
