//! A reader: looks at one page after another, each made of several keys, one read to a step.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::history::{Event, Txn};
use super::order::{Body, Order, Value};
use super::run::{Plan, Stage};
use super::subject::{Caller, Finish, Subject};
use crate::failure::Failure;

/// One read of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Access {
    Get(String),
    Scan(String),
}

/// A page: what is still to be read.
struct Page<S: Subject> {
    txn: Txn,
    tx: S::Transaction,
    reads: Vec<Access>,
    /// Whether what is read leads to more reads.
    follows: bool,
}

/// A reader, between two steps.
pub(crate) struct Reader<S: Subject> {
    rng: StdRng,
    page: Option<Page<S>>,
}

impl<S: Subject> Reader<S> {
    pub(crate) fn new(plan: Plan, number: usize) -> Self {
        Self { rng: plan.rng(2, u32::try_from(number).unwrap_or(u32::MAX), 0), page: None }
    }

    /// Opens a page about one of the orders at hand, or reads the next part of the open one, or closes it.
    pub(crate) async fn step(&mut self, stage: &mut Stage<'_, S>, current: &[Order]) -> Result<(), Failure> {
        let Some(mut page) = self.page.take() else {
            let order = current[self.rng.random_range(0..current.len())];
            let (reads, follows) = self.choose(order);
            let tx = stage.subject.begin(Caller::Page).await?;
            self.page = Some(Page { txn: stage.history.begin(), tx, reads, follows });
            return Ok(());
        };
        let Some(access) = page.reads.pop() else {
            if let Finish::Committed(place) = stage.subject.commit(page.tx).await? {
                stage.history.record(page.txn, Event::Commit { place });
            }
            return Ok(());
        };
        let found: Vec<Value> = match access {
            Access::Get(key) => stage.read(page.txn, &mut page.tx, &key).await?.into_iter().collect(),
            Access::Scan(prefix) => stage.scan(page.txn, &mut page.tx, &prefix).await?,
        };
        if page.follows {
            page.follows = false;
            page.reads = follow(&found);
        }
        self.page = Some(page);
        Ok(())
    }

    /// What to read, last first.
    fn choose(&mut self, order: Order) -> (Vec<Access>, bool) {
        match self.rng.random_range(0..3) {
            // Everything about one order, in any order.
            0 => {
                let keys =
                    [order.stock_key(), order.reservation_key(), order.latest_key(), order.record_key()];
                let mut reads: Vec<Access> = keys.into_iter().map(Access::Get).collect();
                reads.push(Access::Scan(order.charge_prefix()));
                reads.shuffle(&mut self.rng);
                (reads, false)
            }
            // A customer's page: the latest order, and what is known of it.
            1 => (vec![Access::Get(order.latest_key())], true),
            // A page of the index, and the newest order on it.
            _ => (vec![Access::Scan(order.index_prefix())], true),
        }
    }
}

/// The order that a page leads to.
fn follow(found: &[Value]) -> Vec<Access> {
    let order = found.iter().rev().find_map(|value| match value.body {
        Body::Latest { order } | Body::Index { order } => Some(Order(order)),
        _ => None,
    });
    let reads = order.map(|order| {
        vec![
            Access::Scan(order.charge_prefix()),
            Access::Get(order.stock_key()),
            Access::Get(order.reservation_key()),
            Access::Get(order.record_key()),
        ]
    });
    reads.unwrap_or_default()
}
