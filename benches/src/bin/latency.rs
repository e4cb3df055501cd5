//! Prints how long one commit takes beside one plain put of the same bytes: median and 99th percentile.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a report")]
#![allow(clippy::expect_used, reason = "a program whose store fails has nothing to report")]

use std::path::PathBuf;
use std::time::Duration;

use aft_benches::data::{self, Keys, Shape};
use aft_benches::place::Backend;
use aft_benches::stopwatch::Stopwatch;

const HELP: &str = "\
Prints how long one commit takes beside one plain put of the same bytes, a pair of them at a time: median and 99th percentile,
in milliseconds and as ratios. On files, and on the server that AFT_TEST_S3_URL names.

usage: latency [PAIRS]      2000 by default
";

const SHAPES: [Shape; 3] = [
    Shape { keys: 1, bytes: 1 << 10 },
    Shape { keys: 10, bytes: 1 << 10 },
    Shape { keys: 100, bytes: 1 << 10 },
];

fn main() {
    let argument = std::env::args().nth(1);
    let Some(pairs) = argument.as_deref().map_or(Some(2_000), |pairs| pairs.parse().ok()) else {
        return print!("{HELP}");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be made");
    println!(
        "| store | written | commit: median, p99 | one put: median, p99 | ratio of medians | ratio of p99 |"
    );
    println!("|---|---|---|---|---|---|");
    for backend in Backend::all(folder()).into_iter().filter(Backend::waits) {
        for shape in SHAPES {
            let [aft, plain] = runtime.block_on(measure(&backend, shape, pairs));
            let ratio = |n: usize| aft[n].as_secs_f64() / plain[n].as_secs_f64();
            println!(
                "| {backend} | {shape} | {} | {} | {:.2} | {:.2} |",
                ms(aft),
                ms(plain),
                ratio(0),
                ratio(1)
            );
        }
        runtime.block_on(backend.clear());
    }
}

/// Median and 99th percentile of both sides. They take turns, and turns in who is first.
async fn measure(backend: &Backend, shape: Shape, pairs: usize) -> [[Duration; 2]; 2] {
    let place = backend.place();
    let node = data::open(place.storage.clone()).await;
    let keys = Keys::new(10_000);
    let (value, together) = (data::value(shape.bytes), data::value(shape.keys * shape.bytes));
    let mut times = [Vec::new(), Vec::new()];
    // Beyond the first few, connections are open and the node has verified its clock.
    for pair in 0..pairs + 10 {
        for side in [pair % 2, 1 - pair % 2] {
            let watch = Stopwatch::start();
            if side == 0 {
                data::commit(&node, keys.names(shape.keys), &value).await;
            } else {
                place.plain.put(keys.paths(1), &together).await;
            }
            if pair >= 10 {
                times[side].push(watch.elapsed());
            }
        }
    }
    node.close().await.expect("close");
    times.map(|mut all| {
        all.sort_unstable();
        [50, 99].map(|percent| all[(all.len() - 1) * percent / 100])
    })
}

fn ms([median, p99]: [Duration; 2]) -> String {
    format!("{:.2}, {:.2} ms", median.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3)
}

/// Where files go: beside this program, since the temporary folder may be in memory, where syncing costs nothing.
fn folder() -> PathBuf {
    let program = std::env::current_exe().ok();
    let folder = program.as_deref().and_then(|program| program.parent());
    folder.map_or_else(std::env::temp_dir, PathBuf::from)
}
