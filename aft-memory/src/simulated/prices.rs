//! What requests cost.

use crate::request::Counts;

/// Prices of requests, in US dollars per million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// Creates.
    pub create: f64,
    /// Lists.
    pub list: f64,
    /// Gets, whole and by range.
    pub get: f64,
    /// Deletes.
    pub delete: f64,
}

impl Prices {
    /// S3 Standard in us-east-1, as published in 2025.
    pub const S3_STANDARD: Self = Self { create: 5.0, list: 5.0, get: 0.4, delete: 0.0 };

    /// The price of these requests, in US dollars.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn of(&self, counts: &Counts) -> f64 {
        let millions = |requests: u64| requests as f64 / 1e6;
        millions(counts.creates) * self.create
            + millions(counts.pages) * self.list
            + millions(counts.gets + counts.range_gets) * self.get
            + millions(counts.deletes) * self.delete
    }
}
