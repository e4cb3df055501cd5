//! What clients do: requests from a queue that delivers at least once, each until it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_core::{Begin, CommitOutcome, Error, ErrorKind, Outcome, Receipt, Transaction, TxnId};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{sleep, timeout};

use super::log::{Attempt, Log, text};
use super::{Node, Nodes};

/// Keys that all transactions share.
pub const KEYS: usize = 40;
/// Longer than any operation of aft.
const FOREVER_MS: u64 = 600_000;
/// Deliveries of one request before it counts as lost.
const TRIES: usize = 100;

/// The requests, of which some are delivered twice at once.
pub struct Queue {
    total: usize,
    next: AtomicUsize,
    done: AtomicUsize,
    again: Mutex<Vec<usize>>,
}

impl Queue {
    pub fn new(total: usize) -> Self {
        Self { total, next: AtomicUsize::new(0), done: AtomicUsize::new(0), again: Mutex::default() }
    }

    fn take(&self, twice: bool) -> Option<usize> {
        if let Some(again) = self.again.lock().pop() {
            return Some(again);
        }
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        if twice && n < self.total && way(n) != Way::Plain {
            self.again.lock().push(n);
        }
        (n < self.total).then_some(n)
    }

    /// How many deliveries have ended.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }
}

/// How a request is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// `Aft::run`.
    Run,
    /// By hand, under a request key.
    Key,
    /// A transaction of its own: should its outcome be unknown, the client asks for it or not.
    Plain,
}

pub fn way(n: usize) -> Way {
    [Way::Run, Way::Key, Way::Run, Way::Plain][n % 4]
}

#[derive(Debug, Clone)]
enum Step {
    Read(Vec<String>),
    Scan,
    Put(String, usize),
}

pub struct Worker {
    number: usize,
    rng: StdRng,
    nodes: Arc<Nodes>,
    log: Arc<Log>,
    queue: Arc<Queue>,
    /// Of commits that another node told it of than the one that made them: only who passes these on must see them.
    receipts: Vec<Receipt>,
}

impl Worker {
    pub fn new(number: usize, seed: u64, nodes: Arc<Nodes>, log: Arc<Log>, queue: Arc<Queue>) -> Self {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(1_000).wrapping_add(number as u64));
        Self { number, rng, nodes, log, queue, receipts: Vec::new() }
    }

    fn draw(&mut self, below: usize) -> usize {
        usize::try_from(self.rng.next_u64() % below as u64).unwrap_or_default()
    }

    pub async fn work(mut self) {
        loop {
            let twice = self.draw(8) == 0;
            let Some(n) = self.queue.take(twice) else { return };
            self.deliver(n).await;
            self.queue.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs a request until it is done, each time on any node.
    async fn deliver(&mut self, n: usize) {
        for _ in 0..TRIES {
            let draw = self.draw(1 << 20);
            let node = self.nodes.pick(draw);
            let steps = self.steps();
            // Some callers do not wait for the end: what they leave must be whole, or nothing.
            let patience = if self.draw(8) == 0 { self.draw(300) as u64 } else { FOREVER_MS };
            let log = Arc::clone(&self.log);
            let delivery = async {
                match way(n) {
                    Way::Run => self.run(&node, n, steps).await,
                    Way::Key => self.by_hand(&node, n, &steps).await,
                    Way::Plain => self.plain(&node, &steps).await.then(String::new),
                }
            };
            match timeout(Duration::from_millis(patience), delivery).await {
                Ok(Some(_)) if way(n) == Way::Plain => return,
                Ok(Some(result)) => return log.finished(n, result),
                Ok(None) => {}
                Err(_) => log.dropped(),
            }
            let pause = self.draw(200);
            sleep(Duration::from_millis(pause as u64)).await;
        }
        self.log.problem(format!("request {n} was not done in {TRIES} deliveries"));
    }

    /// After all that it was told.
    fn begin(&self) -> Begin {
        self.receipts.iter().fold(Begin::new(), Begin::after)
    }

    fn session(&self, node: &Node) -> String {
        format!("{}/w{}", node.name, self.number)
    }

    fn key(&mut self) -> String {
        format!("k/{:02}", self.draw(KEYS))
    }

    fn steps(&mut self) -> Vec<Step> {
        let steps = 1 + self.draw(5);
        let mut steps: Vec<_> = (0..steps).map(|_| self.step()).collect();
        // Two keys of one commit that others read together.
        steps.push(Step::Put(self.key(), 10));
        steps
    }

    fn step(&mut self) -> Step {
        match self.draw(8) {
            0..2 => Step::Read(vec![self.key()]),
            2..4 => Step::Read((0..4).map(|_| self.key()).collect()),
            4 => Step::Scan,
            5 => Step::Put(self.key(), 300),
            _ => Step::Put(self.key(), 10),
        }
    }

    async fn run(&mut self, node: &Node, n: usize, steps: Vec<Step>) -> Option<String> {
        let attempts: Arc<Mutex<Vec<Attempt>>> = Arc::default();
        let session = self.session(node);
        let owned = (Arc::clone(&attempts), Arc::clone(&self.log), node.clone(), session.clone());
        let ran = node.aft.run_with(self.begin().request(key_of(n)), async move |tx| {
            let (attempts, log, node, session) = &owned;
            let mut attempt = Attempt::new(log, node, session, tx.id(), Some(n));
            attempt.begins_to_commit();
            let result = attempt.result();
            let done = steps_of(&mut attempt, tx, &steps, Some(n)).await;
            attempts.lock().push(attempt);
            done.map(|()| result.into())
        });
        let ran = ran.await;
        let mut attempts = std::mem::take(&mut *attempts.lock());
        let run = match ran {
            Ok(run) => run,
            Err(error) => {
                self.log.error("run", &error);
                for attempt in &mut attempts {
                    attempt.refused(&error);
                    // Which of its ids was aborted the error of a run does not say.
                    attempt.entry.abort_decided = false;
                }
                return None;
            }
        };
        let result = text(&run.result);
        let own = |attempt: &Attempt| attempt.result() == result;
        // A request has one result, so of its attempts one took effect at most.
        for attempt in attempts.iter_mut().filter(|attempt| !own(attempt)) {
            attempt.entry.status = aft_tests::history::Status::Aborted;
        }
        if let Some(attempt) = attempts.iter_mut().find(|attempt| own(attempt)) {
            attempt.acked(&run.receipt);
            return Some(result);
        }
        self.replayed(node, n, run.receipt.txn_id(), &result, |attempt| attempt.acked(&run.receipt));
        if run.outcome == CommitOutcome::Fresh {
            self.log.problem(format!("request {n} was told Committed afresh, as no attempt of its own"));
        }
        Some(result)
    }

    /// Somebody else had done it.
    fn replayed(&self, node: &Node, n: usize, txn: TxnId, result: &str, ack: impl FnOnce(&mut Attempt)) {
        let mut attempt = Attempt::new(&self.log, node, &self.session(node), txn, Some(n));
        ack(&mut attempt);
        attempt.entry.replayed = true;
        attempt.entry.result = Some(result.to_owned());
    }

    async fn by_hand(&mut self, node: &Node, n: usize, steps: &[Step]) -> Option<String> {
        let begun = node.aft.begin_with(self.begin().request(key_of(n))).await;
        let mut tx = begun.map_err(|error| self.log.error("begin", &error)).ok()?;
        if let Some(commit) = tx.replay().await.map_err(|error| self.log.error("replay", &error)).ok()? {
            let result = text(commit.result.as_deref().unwrap_or_default());
            self.replayed(node, n, commit.receipt.txn_id(), &result, |attempt| {
                attempt.acked(&commit.receipt);
            });
            return Some(result);
        }
        let mut attempt = Attempt::new(&self.log, node, &self.session(node), tx.id(), Some(n));
        self.finish(&mut attempt, tx, steps, Some(n)).await.ok()
    }

    /// Works and commits; the result, or whether its outcome is unknown.
    async fn finish(
        &self,
        attempt: &mut Attempt,
        mut tx: Transaction,
        steps: &[Step],
        request: Option<usize>,
    ) -> Result<String, bool> {
        if let Err(error) = steps_of(attempt, &mut tx, steps, request).await {
            self.log.error("read", &error);
            return Err(false);
        }
        tx.set_result(attempt.result()).unwrap();
        attempt.begins_to_commit();
        match tx.commit().await {
            Ok(commit) => Ok(attempt.committed(&commit)),
            Err(error) => {
                self.log.error("commit", &error);
                attempt.refused(&error);
                Err(error.kind() == ErrorKind::OutcomeUnknown)
            }
        }
    }

    /// Whether it is done.
    async fn plain(&mut self, node: &Node, steps: &[Step]) -> bool {
        let tx = match node.aft.begin_with(self.begin()).await {
            Ok(tx) => tx,
            Err(error) => {
                self.log.error("begin", &error);
                return false;
            }
        };
        let id = tx.id();
        let mut attempt = Attempt::new(&self.log, node, &self.session(node), id, None);
        match self.finish(&mut attempt, tx, steps, None).await {
            Ok(_) => true,
            Err(false) => false,
            // Nobody asks: it is settled in the end.
            Err(true) if self.draw(2) == 0 => true,
            Err(true) => self.settle(&mut attempt, id).await,
        }
    }

    /// Asks any node until one knows; whether it committed.
    async fn settle(&mut self, attempt: &mut Attempt, id: TxnId) -> bool {
        for _ in 0..TRIES {
            let draw = self.draw(1 << 20);
            let node = self.nodes.pick(draw);
            match node.aft.cancel(id).await {
                Ok(Outcome::Committed { receipt, .. }) => {
                    attempt.acked(&receipt);
                    if node.name != attempt.entry.node {
                        self.receipts.push(receipt);
                    }
                    return true;
                }
                Ok(Outcome::Aborted) => {
                    attempt.entry.status = aft_tests::history::Status::Aborted;
                    attempt.entry.abort_decided = true;
                    return false;
                }
                Ok(other) => self.log.problem(format!("{id} was cancelled and is {other:?}")),
                Err(error) => self.log.error("cancel", &error),
            }
        }
        self.log.problem(format!("{id} was not settled in {TRIES} tries"));
        false
    }
}

fn key_of(n: usize) -> String {
    format!("request-{n}")
}

/// Reads and writes; under a request key also a row whose name no other attempt uses.
async fn steps_of(
    attempt: &mut Attempt,
    tx: &mut Transaction,
    steps: &[Step],
    request: Option<usize>,
) -> Result<(), Error> {
    if let Some(n) = request {
        attempt.put(tx, &format!("row/{n:06}/{}", attempt.result()), 10)?;
    }
    for step in steps {
        match step {
            Step::Read(keys) => {
                let values = tx.get_many(keys).await?;
                for (key, value) in keys.iter().zip(&values) {
                    attempt.read(tx, key, value.as_ref());
                }
            }
            Step::Scan => {
                let rows = tx.scan_prefix("k/").await?;
                for key in (0..KEYS).map(|n| format!("k/{n:02}")) {
                    let value = rows.iter().find(|(found, _)| found == key.as_bytes());
                    attempt.read(tx, &key, value.map(|(_, value)| value));
                }
            }
            Step::Put(key, len) => attempt.put(tx, key, *len)?,
        }
    }
    Ok(())
}
