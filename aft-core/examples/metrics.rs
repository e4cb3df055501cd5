//! A node whose counts a monitoring system scrapes: `cargo run -p aft-core --example metrics --features metrics`.
//!
//! It prints what a scraper would get. A service renders the same text in the handler of its path `/metrics`.

#![allow(clippy::print_stdout, reason = "an example")]

use std::sync::Arc;

use aft_core::{Aft, Config};
use aft_memory::MemoryStorage;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// Upper bounds of the buckets of commit times, in seconds: a store's create takes tens of milliseconds.
const SECONDS: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let exporter = exporter()?;
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
    for order in 0..100 {
        let mut tx = aft.begin().await?;
        tx.put(format!("order/{order}"), "paid")?;
        tx.commit().await?;
    }
    // In the handler of GET /metrics:
    aft.record_metrics();
    println!("{}", exporter.render());
    aft.close().await?;
    Ok(())
}

/// Installed before the store is opened, so that nothing is missed.
fn exporter() -> Result<metrics_exporter_prometheus::PrometheusHandle, BuildError> {
    let commits = Matcher::Full("aft.commit.seconds".to_owned());
    PrometheusBuilder::new().set_buckets_for_metric(commits, &SECONDS)?.install_recorder()
}
