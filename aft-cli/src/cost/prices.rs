//! What stores charge, and what requests come to.

use std::ops::{Add, Mul, Sub};
use std::path::Path;

use aft_core::Cost;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The list that comes with `aft`.
const BUILT_IN: &str = include_str!("../../prices.json");

/// A price list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// What to know of it.
    pub(crate) note: String,
    /// One entry for each store.
    pub(crate) stores: Vec<Price>,
}

/// What one store charges, in US dollars.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) struct Price {
    pub(crate) name: String,
    pub(crate) region: String,
    /// From when the prices are.
    pub(crate) as_of: String,
    /// The page that they are from.
    pub(crate) source: String,
    pub(crate) note: String,
    put_per_million: f64,
    get_per_million: f64,
    list_per_million: f64,
    delete_per_million: f64,
    pub(crate) stored_per_gb_month: f64,
    upload_per_gb: f64,
    read_per_gb: f64,
    internet_per_gb: f64,
}

impl Prices {
    /// The list that comes with `aft`, or the one in this file.
    pub(crate) fn load(file: Option<&Path>) -> Result<Self, Failure> {
        let (text, name) = match file {
            None => (BUILT_IN.to_owned(), "the built-in price list".to_owned()),
            Some(path) => {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|cause| {
                    Failure::usage(format!("cannot read the price list {name}")).because(cause)
                })?;
                (text, name)
            }
        };
        let prices: Self = serde_json::from_str(&text)
            .map_err(|cause| Failure::usage(format!("{name} is no price list")).because(cause))?;
        Ok(prices)
    }
}

/// Requests and bytes, also parts of them: what something costs on average.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) struct Usage {
    pub(crate) creates: f64,
    /// Ranges among them.
    pub(crate) gets: f64,
    pub(crate) lists: f64,
    pub(crate) deletes: f64,
    pub(crate) bytes_written: f64,
    pub(crate) bytes_read: f64,
}

impl From<Cost> for Usage {
    #[allow(clippy::cast_precision_loss, reason = "prices need no more")]
    fn from(cost: Cost) -> Self {
        Self {
            creates: cost.creates as f64,
            gets: (cost.gets + cost.range_gets) as f64,
            lists: cost.lists as f64,
            deletes: cost.deletes as f64,
            bytes_written: cost.bytes_written as f64,
            bytes_read: cost.bytes_read as f64,
        }
    }
}

impl Usage {
    fn zip(self, other: Self, with: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            creates: with(self.creates, other.creates),
            gets: with(self.gets, other.gets),
            lists: with(self.lists, other.lists),
            deletes: with(self.deletes, other.deletes),
            bytes_written: with(self.bytes_written, other.bytes_written),
            bytes_read: with(self.bytes_read, other.bytes_read),
        }
    }

    /// What a store charges for it; with `internet`, for readers that are elsewhere.
    pub(crate) fn dollars(&self, price: &Price, internet: bool) -> f64 {
        let million = 1e6;
        let gb = f64::from(1 << 30);
        let leaving = if internet { price.internet_per_gb } else { 0.0 };
        (self.creates * price.put_per_million
            + self.gets * price.get_per_million
            + self.lists * price.list_per_million
            + self.deletes * price.delete_per_million)
            / million
            + (self.bytes_written * price.upload_per_gb + self.bytes_read * (price.read_per_gb + leaving))
                / gb
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }
}

impl Mul<f64> for Usage {
    type Output = Self;

    fn mul(self, times: f64) -> Self {
        self.zip(self, |a, _| a * times)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_price_says_from_when_and_where_it_is() {
        let prices = Prices::load(None).unwrap();
        let names: Vec<_> = prices.stores.iter().map(|price| price.name.as_str()).collect();
        assert_eq!(names, ["S3 Standard", "S3 Express", "R2", "GCS"]);
        for price in &prices.stores {
            assert!(price.as_of.starts_with("20") && price.source.starts_with("https://"), "{price:?}");
        }
    }

    #[test]
    fn requests_and_bytes_are_priced() {
        let prices = Prices::load(None).unwrap();
        let cost = Cost {
            creates: 1_000_000,
            gets: 400_000,
            range_gets: 600_000,
            lists: 1000,
            deletes: 7,
            ..Cost::default()
        };
        let usage = Usage { bytes_read: f64::from(1 << 30) * 2.0, ..Usage::from(cost) };
        let dollars =
            |internet| prices.stores.iter().map(|price| usage.dollars(price, internet)).collect::<Vec<_>>();
        let near = |seen: Vec<f64>, expected: [f64; 4]| {
            assert!(seen.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{seen:?}");
        };
        near(dollars(false), [5.405, 1.16113 + 0.0012, 4.8645, 5.405]);
        near(dollars(true), [5.585, 1.16113 + 0.1812, 4.8645, 5.645]);
    }
}
