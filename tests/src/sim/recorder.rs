//! Writes down what clients saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use aft_core::{Aft, Begin, CommitOutcome, Error, ErrorKind, Outcome, Receipt, TxnId, Version};
use aft_memory::SimulatedStorage;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::history::{self, History, Key, Op, Status, Value};

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
    ids: std::collections::BTreeSet<TxnId>,
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
        let attempt = {
            let mut state = self.state.lock();
            state.attempts += 1;
            state.attempts
        };
        let mut entry = history::Transaction::new(client.session.as_str(), tx.id().as_u128());
        entry.node.clone_from(&client.node);
        entry.attempt = attempt;
        entry.status = Status::Aborted;
        entry.began_ms = began_ms;
        entry.after.clone_from(&how.after);
        let name = format!("{:x}.{attempt}", tx.id().as_u128() & 0xffff_ffff);
        Some(Recorded {
            tx: Some(tx),
            entry,
            name,
            own: BTreeMap::new(),
            writes: 0,
            shared: how.shared,
            client: client.clone(),
            recorder: Arc::clone(self),
        })
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

    fn finish(&self, entry: history::Transaction) {
        self.state.lock().history.transactions.push(entry);
    }

    /// The history, with what could only be known in the end: which attempt of an id won, and so which delete a read found.
    /// `outcomes` are the final outcomes of all ids that were ever used for writing.
    pub(crate) fn history(&self, outcomes: &BTreeMap<u128, Outcome>) -> (History, Vec<String>) {
        let state = self.state.lock();
        let (mut history, mut problems) = (state.history.clone(), state.problems.clone());
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

fn chain(error: &Error) -> String {
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
}

/// A transaction whose every operation is written down. Dropped before it ended, it is written down as what it then is.
#[derive(Debug)]
pub(crate) struct Recorded {
    tx: Option<aft_core::Transaction>,
    entry: history::Transaction,
    /// What its values begin with.
    name: String,
    own: BTreeMap<String, (Value, bool)>,
    writes: u64,
    shared: bool,
    client: Client,
    recorder: Arc<Recorder>,
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let mut entry = std::mem::take(&mut self.entry);
        entry.ended_ms = self.recorder.now_ms();
        self.client
            .network
            .note(&format!("{} attempt {} ends {:?}", entry.session, entry.attempt, entry.status));
        self.recorder.finish(entry);
    }
}

impl Recorded {
    pub(crate) fn id(&self) -> Option<TxnId> {
        self.tx.as_ref().map(aft_core::Transaction::id)
    }

    /// Reads some keys, side by side. False where a fault ended the transaction.
    pub(crate) async fn read(&mut self, keys: &[String]) -> bool {
        let Some(tx) = &mut self.tx else { return false };
        let values = match keys {
            [key] => tx.get(key).await.map(|value| vec![value]),
            keys => tx.get_many(keys).await,
        };
        match values {
            Ok(values) => {
                for (key, value) in keys.iter().zip(values) {
                    self.note_read(key, value.as_deref());
                }
                true
            }
            Err(error) => {
                self.recorder.explain(&self.client, &error, "read");
                false
            }
        }
    }

    /// Scans a prefix; `universe` is every key that the run ever uses. Returns what is there, or `None` where a fault ended it.
    pub(crate) async fn scan(
        &mut self,
        prefix: &str,
        universe: &[String],
        page: Option<usize>,
    ) -> Option<Vec<(String, Value)>> {
        let tx = self.tx.as_mut()?;
        let rows = match page {
            None => tx.scan_prefix(prefix).await,
            Some(keys) => {
                let mut pages = tx.scan_pages(aft_core::KeyRange::prefix(prefix), keys);
                let mut rows = Vec::new();
                loop {
                    match pages.next_page().await {
                        Ok(Some(page)) => rows.extend(page),
                        Ok(None) => break Ok(rows),
                        Err(error) => break Err(error),
                    }
                }
            }
        };
        match rows {
            Ok(rows) => {
                let found: BTreeMap<_, _> = rows.into_iter().collect();
                for key in universe.iter().filter(|key| key.starts_with(prefix)) {
                    self.note_read(key, found.get(key.as_bytes()).map(|value| &value[..]));
                }
                let rows = found.iter();
                Some(
                    rows.map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value_name(value)))
                        .collect(),
                )
            }
            Err(error) => {
                self.recorder.explain(&self.client, &error, "scan");
                None
            }
        }
    }

    fn note_read(&mut self, key: &str, value: Option<&[u8]>) {
        let Some(tx) = &self.tx else { return };
        let (value, read) = match self.own.get(key) {
            // An own delete that is read as absent is read as that delete.
            Some((own, true)) if value.is_none() => (Some(Arc::clone(own)), None),
            Some(_) => (value.map(value_name), None),
            None => {
                let read =
                    tx.reads().find(|(read, _)| *read == key.as_bytes()).and_then(|(_, version)| version);
                let read = read.map_or(history::Version::ABSENT, version);
                (value.map(value_name), Some(read))
            }
        };
        self.entry.read(key, value, read);
    }

    /// Writes a fresh value, padded to `len` bytes.
    pub(crate) fn put(&mut self, key: &str, len: usize) {
        self.writes += 1;
        let name: Value = format!("{}.{}", self.name, self.writes).into();
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(b'#');
        bytes.resize(bytes.len().max(len), b'.');
        self.write(key, name, Some(bytes));
    }

    /// Deletes a key, under a fresh name.
    pub(crate) fn delete(&mut self, key: &str) {
        self.writes += 1;
        let name: Value = format!("x{}.{}", self.name, self.writes).into();
        self.write(key, name, None);
    }

    fn write(&mut self, key: &str, name: Value, bytes: Option<Vec<u8>>) {
        let Some(tx) = &mut self.tx else { return };
        let deleted = bytes.is_none();
        let done = match bytes {
            Some(bytes) => tx.put(key, bytes),
            None => tx.delete(key),
        };
        if let Err(error) = done {
            self.recorder.problem(format!("{} write: {}", self.client.session, chain(&error)));
            return;
        }
        self.own.insert(key.to_owned(), (Arc::clone(&name), deleted));
        self.entry.write(key, name);
    }

    /// Gives up. The abort of a shared id is decided; otherwise nothing happens.
    pub(crate) async fn abort(mut self) {
        if let Some(tx) = self.tx.take() {
            match tx.abort().await {
                Ok(Outcome::Aborted) => self.entry.abort_decided = self.shared,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
                Err(error) => {
                    self.recorder.explain(&self.client, &error, "abort");
                }
            }
        }
    }

    /// Commits, and writes down what the client learned.
    pub(crate) async fn commit(mut self) -> Status {
        let Some(mut tx) = self.tx.take() else { return Status::Aborted };
        let wrote = !self.own.is_empty() || self.shared;
        self.entry.result = wrote.then(|| self.entry.attempt.to_string());
        if let Some(result) = self.entry.result.clone()
            && let Err(error) = tx.set_result(result)
        {
            self.recorder.problem(chain(&error));
        }
        if wrote {
            self.recorder.state.lock().ids.insert(tx.id());
        }
        // Should the node die from here on, nobody knows.
        self.entry.status = Status::Unknown;
        let committed = tx.commit().await;
        match committed {
            Ok(commit) => {
                self.acked(&commit.receipt, wrote);
                self.entry.replayed = commit.outcome == CommitOutcome::Replayed;
                if wrote {
                    self.entry.result = commit.result.map(|it| String::from_utf8_lossy(&it).into_owned());
                }
            }
            Err(error) => self.refused(&error, wrote),
        }
        self.entry.status
    }

    fn acked(&mut self, receipt: &Receipt, wrote: bool) {
        self.entry.status = Status::Committed;
        self.entry.version = wrote.then(|| version(receipt.version()));
        if wrote {
            self.recorder.state.lock().receipts.push(receipt.clone());
        }
    }

    fn refused(&mut self, error: &Error, wrote: bool) {
        match error.kind() {
            _ if self.client.is_crashed() => {}
            ErrorKind::OutcomeUnknown => {}
            ErrorKind::Unpublished => {
                if let Some(receipt) = error.receipt() {
                    self.acked(&receipt.clone(), wrote);
                }
            }
            kind => {
                self.entry.status = Status::Aborted;
                self.entry.abort_decided = kind == ErrorKind::Aborted;
                if kind != ErrorKind::Aborted {
                    self.recorder.explain(&self.client, error, "commit");
                }
            }
        }
    }
}

impl Recorded {
    /// What it did so far.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &Op> {
        self.entry.ops.iter()
    }
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
