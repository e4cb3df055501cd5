//! The workflow: what the functions of one order read and write.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::history::Stamp;
use crate::exit::Exit;
use crate::failure::Failure;

/// Lanes of the queue, as of a queue partitioned by product: the orders of one product run one after another.
pub(crate) const LANES: u32 = 8;
/// Customers, who order in several lanes at a time.
const CUSTOMERS: u32 = 12;

/// One order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order(pub(crate) u32);

/// What a value says, beside who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Body {
    /// The stock of a product: what is left, and the orders that took from it.
    Stock {
        left: i64,
        taken_by: Vec<u32>,
    },
    Reservation {
        product: u32,
    },
    Charge {
        order: u32,
        cents: u32,
    },
    /// A customer's latest order.
    Latest {
        order: u32,
    },
    Record {
        product: u32,
        customer: u32,
        latest: Option<u32>,
    },
    Index {
        order: u32,
    },
}

/// A stored value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    pub(crate) stamp: Stamp,
    pub(crate) body: Body,
}

impl Value {
    pub(crate) fn encode(&self) -> Result<Bytes, Failure> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|cause| broken("cannot encode a value").because(cause))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        serde_json::from_slice(bytes)
            .map_err(|cause| broken("a value of the demo is not what it wrote").because(cause))
    }
}

fn broken(what: &str) -> Failure {
    Failure::new(Exit::Error, what)
}

impl Order {
    pub(crate) fn lane(self) -> u32 {
        self.0 % LANES
    }

    pub(crate) fn customer(self) -> u32 {
        // Scattered, so that one customer's orders meet in different lanes.
        (self.0.wrapping_mul(0x9e37_79b1) >> 16) % CUSTOMERS
    }

    pub(crate) fn stock_key(self) -> String {
        stock_key(self.lane())
    }

    pub(crate) fn reservation_key(self) -> String {
        format!("reservation/{:06}", self.0)
    }

    /// The charges of this order: one, if all is well.
    pub(crate) fn charge_prefix(self) -> String {
        format!("charge/{:06}/", self.0)
    }

    /// The payment service makes a new id for each call.
    pub(crate) fn charge_key(self, payment: Stamp) -> String {
        format!("{}{:06}", self.charge_prefix(), payment.txn.0)
    }

    pub(crate) fn latest_key(self) -> String {
        format!("customer/{:02}/latest-order", self.customer())
    }

    pub(crate) fn record_key(self) -> String {
        format!("order/{:06}", self.0)
    }

    /// Ten orders to a page of the index.
    pub(crate) fn index_prefix(self) -> String {
        format!("index/{:05}/", self.0 / 10)
    }

    pub(crate) fn index_key(self) -> String {
        format!("{}{:06}", self.index_prefix(), self.0)
    }
}

pub(crate) fn stock_key(product: u32) -> String {
    format!("stock/{product:02}")
}

/// The steps of one attempt, each one request to the store or none. The three functions are `reserve`, `charge` and
/// `record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Begin,
    ReadStock,
    WriteStock,
    WriteReservation,
    WriteCharge,
    WriteLatest,
    ReadLatest,
    WriteRecord,
    WriteIndex,
    Commit,
}

impl Step {
    pub(crate) const ALL: [Self; 10] = [
        Self::Begin,
        Self::ReadStock,
        Self::WriteStock,
        Self::WriteReservation,
        Self::WriteCharge,
        Self::WriteLatest,
        Self::ReadLatest,
        Self::WriteRecord,
        Self::WriteIndex,
        Self::Commit,
    ];

    /// After which steps a worker may crash: from its first write to after its commit, before anybody is told.
    pub(crate) const CRASHES: std::ops::Range<usize> = 2..Self::ALL.len();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::history::Txn;

    #[test]
    fn values_round_trip_and_other_bytes_are_an_error() {
        let stamp = Stamp { txn: Txn(3), write: 1 };
        let value = Value { stamp, body: Body::Stock { left: -1, taken_by: vec![4, 4] } };
        assert_eq!(Value::decode(&value.encode().unwrap()).unwrap(), value);
        assert!(Value::decode(b"{}").is_err());
    }

    #[test]
    fn customers_meet_in_several_lanes() {
        let lanes = |customer| {
            let orders = (0..300).map(Order).filter(move |order| order.customer() == customer);
            orders.map(Order::lane).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert!((0..CUSTOMERS).all(|customer| lanes(customer) > 2));
    }
}
