//! A worker of one lane: takes its orders one after another, crashes where the plan says, and is retried.

use rand::RngExt;

use super::history::{Event, Stamp, Txn};
use super::order::{Body, LANES, Order, Step};
use super::run::{Plan, Stage};
use super::subject::{Caller, Finish, Subject};
use crate::failure::Failure;

/// How many attempts at one order may crash. The next one gets through, as with a platform that retries for long.
const CRASHING_ATTEMPTS: u32 = 3;
/// How likely an attempt crashes.
const CRASH_PROBABILITY: f64 = 0.35;

/// A worker, between two steps.
pub(crate) struct Worker<S: Subject> {
    plan: Plan,
    order: Order,
    attempt: u32,
    crashes: u32,
    running: Option<Attempt<S>>,
}

/// One attempt at an order: gone with its process when it crashes.
struct Attempt<S: Subject> {
    txn: Txn,
    tx: Option<S::Transaction>,
    next: usize,
    crash_after: Option<usize>,
    writes: u32,
    stock: (i64, Vec<u32>),
    latest: Option<u32>,
}

impl<S: Subject> Attempt<S> {
    fn stamp(&mut self) -> Stamp {
        self.writes += 1;
        Stamp { txn: self.txn, write: self.writes }
    }
}

impl<S: Subject> Worker<S> {
    pub(crate) fn new(plan: Plan, lane: u32) -> Self {
        Self { plan, order: Order(lane), attempt: 0, crashes: 0, running: None }
    }

    /// Whether there are orders left.
    pub(crate) fn is_busy(&self) -> bool {
        self.order.0 < self.plan.orders
    }

    /// The order at hand, or the one that would be next.
    pub(crate) fn order(&self) -> Order {
        self.order
    }

    pub(crate) fn crashes(&self) -> u32 {
        self.crashes
    }

    /// Takes one step, if there is anything left to do.
    pub(crate) async fn step(&mut self, stage: &mut Stage<'_, S>) -> Result<(), Failure> {
        if !self.is_busy() {
            return Ok(());
        }
        let order = self.order;
        if self.running.is_none() {
            self.running = Some(self.start(stage));
        }
        let Some(running) = &mut self.running else { return Ok(()) };
        let at = running.next;
        let step = Step::ALL[at];
        if step == Step::Begin {
            let caller = Caller::Order { order: order.0, lane: order.lane(), attempt: self.attempt };
            running.tx = Some(stage.subject.begin(caller).await?);
        } else if step == Step::Commit {
            if let Some(tx) = running.tx.take()
                && let Finish::Committed(place) = stage.subject.commit(tx).await?
            {
                stage.history.record(running.txn, Event::Commit { place });
            }
        } else {
            running.access(step, order, stage).await?;
        }
        running.next += 1;
        if running.crash_after == Some(at) {
            // Whatever the process held is gone; what it wrote stays where it is.
            self.running = None;
            self.crashes += 1;
            self.attempt += 1;
        } else if step == Step::Commit {
            stage.history.finished.push(order.0);
            self.running = None;
            self.attempt = 0;
            self.order = Order(order.0 + LANES);
        }
        Ok(())
    }

    fn start(&self, stage: &mut Stage<'_, S>) -> Attempt<S> {
        let mut rng = self.plan.rng(1, self.order.0, self.attempt);
        let crashes = self.attempt < CRASHING_ATTEMPTS && rng.random_bool(CRASH_PROBABILITY);
        Attempt {
            txn: stage.history.begin(),
            tx: None,
            next: 0,
            crash_after: crashes.then(|| rng.random_range(Step::CRASHES)),
            writes: 0,
            stock: (0, Vec::new()),
            latest: None,
        }
    }
}

impl<S: Subject> Attempt<S> {
    /// One read or write of a function.
    async fn access(&mut self, step: Step, order: Order, stage: &mut Stage<'_, S>) -> Result<(), Failure> {
        let Some(mut tx) = self.tx.take() else { return Ok(()) };
        let (product, customer) = (order.lane(), order.customer());
        let write = match step {
            Step::ReadStock => {
                if let Some(value) = stage.read(self.txn, &mut tx, &order.stock_key()).await?
                    && let Body::Stock { left, taken_by } = value.body
                {
                    self.stock = (left, taken_by);
                }
                None
            }
            Step::WriteStock => {
                let (left, mut taken_by) = std::mem::take(&mut self.stock);
                taken_by.push(order.0);
                Some((order.stock_key(), Body::Stock { left: left - 1, taken_by }))
            }
            Step::WriteReservation => Some((order.reservation_key(), Body::Reservation { product })),
            Step::WriteCharge => {
                let payment = Stamp { txn: self.txn, write: self.writes };
                Some((order.charge_key(payment), Body::Charge { order: order.0, cents: 1_999 }))
            }
            Step::WriteLatest => Some((order.latest_key(), Body::Latest { order: order.0 })),
            Step::ReadLatest => {
                // For the confirmation: "your latest order is …".
                let found = stage.read(self.txn, &mut tx, &order.latest_key()).await?;
                self.latest = found.and_then(|value| match value.body {
                    Body::Latest { order } => Some(order),
                    _ => None,
                });
                None
            }
            Step::WriteRecord => {
                Some((order.record_key(), Body::Record { product, customer, latest: self.latest }))
            }
            Step::WriteIndex => Some((order.index_key(), Body::Index { order: order.0 })),
            Step::Begin | Step::Commit => None,
        };
        if let Some((key, body)) = write {
            let stamp = self.stamp();
            stage.write(&mut tx, key, stamp, body).await?;
        }
        self.tx = Some(tx);
        Ok(())
    }
}
