//! What every group is made from.

use std::time::Duration;

use aft_benches::place::Backend;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode};
use tokio::runtime::Runtime;

/// One backend's turn.
#[allow(missing_debug_implementations, reason = "criterion has none either")]
pub struct Bench<'a> {
    pub criterion: &'a mut Criterion,
    pub runtime: &'a Runtime,
    pub backend: &'a Backend,
}

impl<'a> Bench<'a> {
    /// A group, `name/backend`, for operations of micro- to milliseconds.
    pub fn group(&mut self, name: &str) -> (BenchmarkGroup<'_, WallTime>, &'a Runtime, &'a Backend) {
        let mut group = self.criterion.benchmark_group(format!("{name}/{}", self.backend));
        group.sample_size(20).nresamples(20_000).warm_up_time(Duration::from_millis(200));
        group.measurement_time(Duration::from_millis(600));
        (group, self.runtime, self.backend)
    }

    /// A group for operations that may take longer where requests wait.
    pub fn slow_group(&mut self, name: &str) -> (BenchmarkGroup<'_, WallTime>, &'a Runtime, &'a Backend) {
        let waits = self.backend.waits();
        let (mut group, runtime, backend) = self.group(name);
        if waits {
            group.sample_size(10).sampling_mode(SamplingMode::Flat);
            group.warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(1000));
        }
        (group, runtime, backend)
    }
}
