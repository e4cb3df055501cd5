//! Writes down what clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aft_core::{Aft, Begin, Error, ErrorKind, Outcome, Receipt, TxnId, Version};
use aft_memory::SimulatedStorage;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::history::{self, History, Key, Op, Status, Value};
use crate::sim::notes::Notes;
use crate::sim::recorded::{Parcel, Recorded};
use crate::sim::run::id_text;

/// What every client of a run writes into.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    network: SimulatedStorage,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    /// Errors that no fault explains.
    problems: Vec<String>,
    /// Receipts of acknowledged commits, for others to begin after.
    receipts: Vec<Receipt>,
    attempts: u64,
    /// Every id under which anything was to be written.
    ids: BTreeSet<TxnId>,
    /// The ids that each request key led to.
    requests: BTreeMap<String, BTreeSet<u128>>,
}

impl Recorder {
    pub(crate) fn new(network: SimulatedStorage) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), network, state: Mutex::default() })
    }

    /// True time since the run began, in milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Notes something that must not happen.
    pub(crate) fn problem(&self, what: String) {
        self.network.note(&format!("PROBLEM {what}"));
        self.state.lock().problems.push(what);
    }

    /// One of the last receipts, by a number drawn elsewhere.
    pub(crate) fn receipt(&self, draw: usize) -> Option<Receipt> {
        let state = self.state.lock();
        let recent = state.receipts.len().saturating_sub(20);
        let recent = &state.receipts[recent..];
        (!recent.is_empty()).then(|| recent[draw % recent.len()].clone())
    }

    /// Begins a transaction that is written down. `None` where a fault kept it from beginning.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        client: &Client,
        begin: Begin,
        how: &How,
    ) -> Option<Recorded> {
        let began_ms = self.now_ms();
        let tx = match client.aft.begin_with(begin).await {
            Ok(tx) => tx,
            Err(error) => {
                self.explain(client, &error, "begin");
                return None;
            }
        };
        let mut notes = Notes::new(self, client, tx.id());
        notes.entry.began_ms = began_ms;
        notes.entry.after.clone_from(&how.after);
        Some(Recorded::new(tx, notes, how.shared, how.request.clone()))
    }

    /// Resumes a transaction that somebody suspended; see [`begin`](Self::begin).
    pub(crate) async fn resume(self: &Arc<Self>, client: &Client, parcel: &Parcel) -> Option<Recorded> {
        let tx = match client.aft.resume(&parcel.token).await {
            Ok(tx) => tx,
            Err(error) => {
                self.explain(client, &error, "resume");
                return None;
            }
        };
        let mut notes = Notes::new(self, client, tx.id());
        // What it read elsewhere is older than what this client has seen since: a session of its own.
        notes.entry.session = format!("{}/t{}", client.session, notes.entry.attempt).into();
        notes.inherit(parcel);
        Some(Recorded::new(tx, notes, true, parcel.request.clone()))
    }

    /// The number of a new attempt.
    pub(crate) fn next_attempt(&self) -> u64 {
        let mut state = self.state.lock();
        state.attempts += 1;
        state.attempts
    }

    /// An id under which something may be written from now on, and the request key that led to it.
    pub(crate) fn note_id(&self, id: TxnId, request: Option<&str>) {
        let mut state = self.state.lock();
        state.ids.insert(id);
        if let Some(request) = request {
            state.requests.entry(request.to_owned()).or_default().insert(id.as_u128());
        }
    }

    /// The receipt of an acknowledged commit.
    pub(crate) fn note_receipt(&self, receipt: &Receipt) {
        self.state.lock().receipts.push(receipt.clone());
    }

    /// Whether a fault explains an error of this kind; otherwise it is a problem.
    pub(crate) fn explain(&self, client: &Client, error: &Error, doing: &str) -> bool {
        use ErrorKind::{ClockSkew, Closed, Denied, Expired, Unavailable};
        let explained = match error.kind() {
            Unavailable | Expired | ClockSkew => true,
            Denied | Closed => client.is_crashed(),
            _ => false,
        };
        if !explained {
            self.problem(format!("{} {doing}: {}", client.session, chain(error)));
        }
        explained
    }

    pub(crate) fn finish(&self, entry: history::Transaction) {
        self.state.lock().history.transactions.push(entry);
    }

    /// The history, with what could only be known in the end: which attempt of an id won, and so which delete a read found.
    /// `outcomes` are the final outcomes of all ids that were ever used for writing.
    pub(crate) fn history(&self, outcomes: &BTreeMap<u128, Outcome>) -> (History, Vec<String>) {
        let state = self.state.lock();
        let (mut history, mut problems) = (state.history.clone(), state.problems.clone());
        for (request, ids) in &state.requests {
            let committed =
                ids.iter().filter(|id| matches!(outcomes.get(id), Some(Outcome::Committed { .. })));
            let committed: Vec<_> = committed.map(|id| id_text(*id)).collect();
            if committed.len() > 1 {
                problems.push(format!("the request {request} was committed more than once: {committed:?}"));
            }
        }
        drop(state);
        for entry in &mut history.transactions {
            if let Some(Outcome::Committed { receipt, result }) = outcomes.get(&entry.id) {
                let won = result.as_deref() == Some(entry.attempt.to_string().as_bytes());
                if won && entry.status == Status::Unknown {
                    entry.version = Some(version(receipt.version()));
                }
            }
            if let Some(problem) = contradiction(entry, outcomes.get(&entry.id)) {
                problems.push(problem);
            }
        }
        let deletes = winning_deletes(&history, outcomes);
        for entry in &mut history.transactions {
            for op in &mut entry.ops {
                let Op::Read { key, value: value @ None, version: Some(version) } = op else { continue };
                if *version == history::Version::ABSENT {
                    continue;
                }
                *value = deletes.get(&(version.1, Arc::clone(key))).cloned();
                if value.is_none() {
                    problems.push(format!("{} read a delete of {key} that nobody made", entry.session));
                }
            }
        }
        (history, problems)
    }
}

/// Whether what a client was told of an id is not what the register says in the end (I10).
fn contradiction(entry: &history::Transaction, outcome: Option<&Outcome>) -> Option<String> {
    let outcome = outcome?;
    let told = format!("{} attempt {} was told {:?}", entry.session, entry.attempt, entry.status);
    let contradicts = match (entry.status, outcome) {
        (Status::Committed, Outcome::Committed { receipt, .. }) => {
            entry.version.is_some_and(|told| told != version(receipt.version()))
        }
        (Status::Committed, _) => entry.version.is_some(),
        (Status::Aborted, Outcome::Committed { result, .. }) => {
            entry.abort_decided || result.as_deref() == Some(entry.attempt.to_string().as_bytes())
        }
        _ => false,
    };
    contradicts.then(|| format!("{told}, but the register says {outcome:?}"))
}

/// For each committed id and key, the name of the delete that its winning attempt made.
fn winning_deletes(history: &History, outcomes: &BTreeMap<u128, Outcome>) -> BTreeMap<(u128, Key), Value> {
    let mut deletes = BTreeMap::new();
    for entry in &history.transactions {
        let Some(Outcome::Committed { result, .. }) = outcomes.get(&entry.id) else { continue };
        if result.as_deref() != Some(entry.attempt.to_string().as_bytes()) {
            continue;
        }
        for op in &entry.ops {
            if let Op::Write { key, value } = op {
                deletes.insert((entry.id, Arc::clone(key)), Arc::clone(value));
            }
        }
    }
    deletes
}

/// The version as the checker knows it.
pub(crate) fn version(version: Version) -> history::Version {
    history::Version(version.clock().bits(), version.txn_id().as_u128())
}

/// The name that a stored value carries: what comes before its padding.
pub(crate) fn value_name(bytes: &[u8]) -> Value {
    let name = bytes.split(|byte| *byte == b'#').next().unwrap_or_default();
    String::from_utf8_lossy(name).as_ref().into()
}

pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// One client of one node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) node: String,
    pub(crate) session: String,
    pub(crate) aft: Aft,
    pub(crate) process: aft_memory::Process,
    /// The store as this client's node reaches it: only for notes in the trace.
    pub(crate) network: SimulatedStorage,
}

impl Client {
    pub(crate) fn is_crashed(&self) -> bool {
        self.process.is_crashed()
    }
}

/// How a transaction begins, as far as its record must know.
#[derive(Debug, Clone, Default)]
pub(crate) struct How {
    pub(crate) after: Vec<u128>,
    pub(crate) shared: bool,
    pub(crate) request: Option<String>,
}

impl Recorder {
    /// How many transactions have ended.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().history.transactions.len()
    }

    /// Every id under which anything was to be written.
    pub(crate) fn ids(&self) -> Vec<TxnId> {
        self.state.lock().ids.iter().copied().collect()
    }
}
