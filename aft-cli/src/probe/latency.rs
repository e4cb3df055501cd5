//! How long each operation takes, one request at a time on one connection.

use std::future::Future;
use std::time::Duration;

use aft_core::{Clock, Storage, StorageError};
use bytes::Bytes;
use futures::TryStreamExt;
use serde::Serialize;

use super::connections::Connections;
use super::plan::{Plan, Trouble};

/// How large the objects are.
const BYTES: usize = 1024;

/// How long one operation took, as measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// Which operation.
    pub(crate) operation: &'static str,
    /// How often it was measured: failed requests are not.
    pub(crate) count: usize,
    /// How many requests failed, and were not measured.
    pub(crate) failed: usize,
    /// Half of them took at most this, in milliseconds; none where none was measured.
    pub(crate) median_ms: Option<f64>,
    /// All but one in a hundred took at most this, in milliseconds.
    pub(crate) p99_ms: Option<f64>,
}

/// Collects what one operation took.
#[derive(Debug)]
struct Samples<'a> {
    clock: &'a dyn Clock,
    operation: &'static str,
    took: Vec<Duration>,
    failed: usize,
}

impl<'a> Samples<'a> {
    fn new(operation: &'static str, clock: &'a dyn Clock) -> Self {
        Self { clock, operation, took: Vec::new(), failed: 0 }
    }

    /// Measures a request. One that fails and may be tried again is counted, and not measured.
    async fn measure<T>(
        &mut self,
        request: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<(), Trouble> {
        let began = self.clock.monotonic();
        match request.await {
            Ok(_) => self.took.push(self.clock.monotonic().saturating_sub(began)),
            Err(error) if error.is_transient() => self.failed += 1,
            Err(cause) => return Err(Trouble::new(format!("measuring {}", self.operation), cause)),
        }
        Ok(())
    }

    fn done(mut self) -> Latency {
        self.took.sort_unstable();
        let ms = |percent| percentile(&self.took, percent).map(|took| took.as_secs_f64() * 1000.0);
        Latency {
            operation: self.operation,
            count: self.took.len(),
            failed: self.failed,
            median_ms: ms(50),
            p99_ms: ms(99),
        }
    }
}

/// The smallest of the sorted values that at least `percent` of them do not exceed.
fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Measures every operation.
///
/// # Errors
/// Where the store cannot be asked.
pub(crate) async fn run(
    connections: &Connections,
    clock: &dyn Clock,
    plan: &Plan,
) -> Result<Vec<Latency>, Trouble> {
    let connection = connections.pin(0);
    let folder = format!("{}latency/", plan.prefix);
    let paths: Vec<String> = (0..plan.latencies).map(|number| format!("{folder}{number:06}")).collect();
    let bytes = Bytes::from(vec![7; BYTES]);
    let [mut create, mut get, mut range, mut list, mut delete] =
        ["create 1 KiB", "get 1 KiB", "range of 100 B", "list", "delete"]
            .map(|name| Samples::new(name, clock));
    // The first request pays for the connection.
    let warm_up = connection.create(&format!("{folder}warm-up"), bytes.clone()).await;
    if let Err(cause) = warm_up.or_else(|error| if error.is_transient() { Ok(()) } else { Err(error) }) {
        return Err(Trouble::new("measuring latencies", cause));
    }
    let mut made = Vec::new();
    for path in &paths {
        let before = create.took.len();
        create.measure(connection.create(path, bytes.clone())).await?;
        made.extend((create.took.len() > before).then_some(path));
    }
    for path in &made {
        get.measure(connection.get(path)).await?;
        range.measure(connection.get_range(path, 100..200)).await?;
    }
    for path in &made {
        list.measure(connection.list(path, None).try_collect::<Vec<_>>()).await?;
    }
    for path in &made {
        delete.measure(connection.delete(std::slice::from_ref(*path))).await?;
    }
    Ok([create, get, range, list, delete].map(Samples::done).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let ms = |all: &[u64]| all.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let hundred = ms(&(1..=100).collect::<Vec<_>>());
        assert_eq!([50, 99].map(|percent| percentile(&hundred, percent).unwrap().as_millis()), [50, 99]);
        assert_eq!([50, 99].map(|percent| percentile(&ms(&[3, 5, 9]), percent).unwrap().as_millis()), [5, 9]);
        assert_eq!(percentile(&[], 50), None);
    }
}
