//! Every case under criterion: each side by itself, to be watched over time.
//!
//! `cargo bench -p aft-benches` measures, `cargo bench -p aft-benches -- --test` runs everything once. How the sides
//! compare is better seen with `cargo run --release -p aft-benches --bin ratios`, which runs them in turn.

#![allow(clippy::expect_used, reason = "a benchmark whose store fails has nothing to report")]

use std::path::PathBuf;
use std::time::Duration;

use aft_benches::cases;
use aft_benches::place::Backend;
use criterion::{BenchmarkId, Criterion, SamplingMode};

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    let mut criterion = Criterion::default().without_plots().configure_from_args();
    // The target folder and not the temporary one, which may be in memory, where syncing costs nothing.
    for backend in Backend::all(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))) {
        for case in cases::all(&backend) {
            let mut group = criterion.benchmark_group(format!("{}/{backend}", case.group));
            group.sample_size(20).nresamples(20_000).warm_up_time(Duration::from_millis(200));
            group.measurement_time(Duration::from_millis(500));
            if backend.waits() && !case.group.starts_with("get") {
                group.sample_size(10).sampling_mode(SamplingMode::Flat);
                group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(800));
            }
            for (name, run) in &case.sides {
                group.bench_function(BenchmarkId::new(*name, case.what), |b| {
                    b.to_async(&runtime).iter_custom(run);
                });
            }
            group.finish();
        }
        runtime.block_on(backend.clear());
    }
    criterion.final_summary();
}
