//! How long requests take.

use std::time::Duration;

use rand::Rng;

/// A log-normal distribution of times, as measured of object stores: most requests near the median, few far beyond.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latency {
    /// The median, in milliseconds.
    pub median_ms: f64,
    /// The standard deviation of the logarithm: 0 for none, 1 for a p99 of ten times the median.
    pub sigma: f64,
}

impl Latency {
    /// A read of S3 Standard, about (median 20 ms, p99 100 ms).
    pub const S3_READ: Self = Self { median_ms: 20.0, sigma: 0.7 };
    /// A write of S3 Standard, about (median 40 ms, p99 200 ms).
    pub const S3_WRITE: Self = Self { median_ms: 40.0, sigma: 0.7 };

    /// One draw.
    #[must_use]
    pub fn draw(&self, rng: &mut impl Rng) -> Duration {
        // Box and Muller's transform of two uniform draws.
        let uniform = |rng: &mut dyn FnMut() -> u32| (f64::from(rng()) + 1.0) / (f64::from(u32::MAX) + 2.0);
        let mut next = || rng.next_u32();
        let (a, b) = (uniform(&mut next), uniform(&mut next));
        let normal = (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos();
        Duration::from_secs_f64((self.median_ms / 1000.0 * (self.sigma * normal).exp()).min(60.0))
    }
}
