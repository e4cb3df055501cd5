//! One run: workers and readers on one subject, one step at a time, in an order that the seed decides.
//!
//! Threads would interleave as the machine pleases, and no count would ever be seen twice. So nothing runs side by
//! side here: whose step comes next is drawn from the seed, and so is where each attempt crashes.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::checker::{self, Anomalies};
use super::history::{Effect, Event, History, Stamp, Txn};
use super::order::{Body, LANES, Order, Value, stock_key};
use super::reader::Reader;
use super::subject::{Caller, Subject};
use super::worker::Worker;
use crate::failure::Failure;
use crate::requests::Requests;

/// How many readers look on.
const READERS: usize = 4;
/// After how many steps a second has passed, so to speak.
const STEPS_PER_SECOND: u64 = 20;
/// What there is of each product in the beginning.
const STOCK: i64 = 10_000;

/// What the runs have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) orders: u32,
}

impl Plan {
    /// A generator for one purpose: what one actor draws moves no other's draws.
    pub(crate) fn rng(&self, purpose: u32, a: u32, b: u32) -> StdRng {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        for (at, part) in [purpose, a, b].into_iter().enumerate() {
            seed[8 + 4 * at..12 + 4 * at].copy_from_slice(&part.to_le_bytes());
        }
        StdRng::from_seed(seed)
    }
}

/// What came of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Orders whose caller was told that they are done.
    pub(crate) finished: usize,
    pub(crate) crashes: u32,
    /// Attempts at orders, and pages read.
    pub(crate) transactions: u32,
    pub(crate) anomalies: Anomalies,
    pub(crate) requests: Requests,
}

/// The store under test and the record of what happened on it.
pub(crate) struct Stage<'a, S: Subject> {
    pub(crate) subject: &'a mut S,
    pub(crate) history: History<S::Place>,
}

impl<S: Subject> Stage<'_, S> {
    /// Reads `key` for `txn`, and records what was found.
    pub(crate) async fn read(
        &mut self,
        txn: Txn,
        tx: &mut S::Transaction,
        key: &str,
    ) -> Result<Option<Value>, Failure> {
        let found = self.subject.get(tx, key).await?.map(|bytes| Value::decode(&bytes)).transpose()?;
        let stamp = found.as_ref().map(|value| value.stamp);
        self.history.record(txn, Event::Read { key: key.to_owned(), found: stamp });
        Ok(found)
    }

    /// Reads every key under `prefix` for `txn`, and records what was found.
    pub(crate) async fn scan(
        &mut self,
        txn: Txn,
        tx: &mut S::Transaction,
        prefix: &str,
    ) -> Result<Vec<Value>, Failure> {
        let pairs = self.subject.scan(tx, prefix).await?;
        let mut found = Vec::with_capacity(pairs.len());
        let mut values = Vec::with_capacity(pairs.len());
        for (key, bytes) in pairs {
            let value = Value::decode(&bytes)?;
            found.push((key, value.stamp));
            values.push(value);
        }
        self.history.record(txn, Event::Scan { prefix: prefix.to_owned(), found });
        Ok(values)
    }

    /// Writes `key` for the transaction of `stamp`, and records it.
    pub(crate) async fn write(
        &mut self,
        tx: &mut S::Transaction,
        key: String,
        stamp: Stamp,
        body: Body,
    ) -> Result<(), Failure> {
        let place = self.subject.put(tx, &key, Value { stamp, body }.encode()?).await?;
        self.history.record(stamp.txn, Event::Write { key, stamp, place });
        Ok(())
    }

    /// Puts the products on their shelves.
    async fn stock(&mut self) -> Result<(), Failure> {
        let txn = self.history.begin();
        let mut tx = self.subject.begin(Caller::Page).await?;
        for product in 0..LANES {
            let stamp = Stamp { txn, write: product };
            let body = Body::Stock { left: STOCK, taken_by: Vec::new() };
            self.write(&mut tx, stock_key(product), stamp, body).await?;
        }
        if let super::subject::Finish::Committed(place) = self.subject.commit(tx).await? {
            self.history.record(txn, Event::Commit { place });
        }
        self.subject.pass_time().await
    }

    /// Looks at what stands in the end: once everything is still, nobody writes any more.
    async fn audit(&mut self, orders: u32) -> Result<(), Failure> {
        self.subject.pass_time().await?;
        let mut tx = self.subject.begin(Caller::Page).await?;
        for prefix in ["stock/", "charge/", "order/"] {
            for (key, bytes) in self.subject.scan(&mut tx, prefix).await? {
                match Value::decode(&bytes)?.body {
                    Body::Stock { taken_by, .. } => {
                        self.history
                            .effects
                            .extend(taken_by.into_iter().map(|order| (Effect::Reserved, order)));
                    }
                    Body::Charge { order, .. } => self.history.effects.push((Effect::Charged, order)),
                    Body::Record { .. } => {
                        let order = (0..orders).find(|order| Order(*order).record_key() == key);
                        self.history.effects.extend(order.map(|order| (Effect::Recorded, order)));
                    }
                    Body::Reservation { .. } | Body::Latest { .. } | Body::Index { .. } => {}
                }
            }
        }
        self.subject.commit(tx).await.map(drop)
    }
}

/// Runs `plan` on `subject`. `finished` hears of each order that is done.
pub(crate) async fn run<S: Subject>(
    plan: Plan,
    subject: &mut S,
    finished: impl Fn(),
) -> Result<(Outcome, History<S::Place>), Failure> {
    let mut stage = Stage { subject, history: History::new() };
    stage.stock().await?;
    let mut schedule = plan.rng(0, 0, 0);
    let mut workers: Vec<Worker<S>> = (0..LANES).map(|lane| Worker::new(plan, lane)).collect();
    let mut readers: Vec<Reader<S>> = (0..READERS).map(|reader| Reader::new(plan, reader)).collect();
    let mut steps = 0;
    let mut done = 0;
    while workers.iter().any(Worker::is_busy) {
        let actor = schedule.random_range(0..workers.len() + readers.len());
        match workers.get_mut(actor) {
            Some(worker) => worker.step(&mut stage).await?,
            None => {
                let current = workers.iter().map(Worker::order).collect::<Vec<_>>();
                readers[actor - workers.len()].step(&mut stage, &current).await?;
            }
        }
        steps += 1;
        if steps % STEPS_PER_SECOND == 0 {
            stage.subject.pass_time().await?;
        }
        while done < stage.history.finished.len() {
            finished();
            done += 1;
        }
    }
    let requests = stage.subject.requests();
    let transactions = stage.history.transactions();
    stage.audit(plan.orders).await?;
    let outcome = Outcome {
        finished: done,
        crashes: workers.iter().map(Worker::crashes).sum(),
        transactions,
        anomalies: checker::check(&stage.history),
        requests,
    };
    Ok((outcome, stage.history))
}
