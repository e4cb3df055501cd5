//! What clients saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use aft_core::{Commit, CommitOutcome, Error, ErrorKind, Receipt, Transaction, TxnId, Version};
use aft_tests::history::{self, Status, Value};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Node;

/// What every client writes into.
pub struct Log {
    start: Instant,
    pub state: Mutex<State>,
}

#[derive(Default)]
pub struct State {
    attempts: u64,
    pub entries: Vec<history::Transaction>,
    /// Of each id, itself and the request that led to it.
    pub ids: BTreeMap<u128, (TxnId, Option<usize>)>,
    /// Of each request key, the results that its callers were told.
    pub results: BTreeMap<usize, Vec<String>>,
    /// Errors by what was being done, and their kind.
    pub errors: BTreeMap<String, u64>,
    /// What no fault explains.
    pub problems: Vec<String>,
}

impl Log {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), state: Mutex::default() })
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap()
    }

    /// Counts an error, and notes one that no fault explains.
    pub fn error(&self, doing: &str, error: &Error) {
        let mut state = self.state.lock();
        *state.errors.entry(format!("{doing} {:?}", error.kind())).or_default() += 1;
        // Aborted: its decision landed too late to count.
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::OutcomeUnknown | ErrorKind::Aborted) {
            state.problems.push(format!("{doing}: {error:?}"));
        }
    }

    /// A caller went away in the middle.
    pub fn dropped(&self) {
        *self.state.lock().errors.entry("dropped by the caller".into()).or_default() += 1;
    }

    pub fn problem(&self, text: String) {
        self.state.lock().problems.push(text);
    }

    /// A caller of a request was told its result.
    pub fn finished(&self, request: usize, result: String) {
        self.state.lock().results.entry(request).or_default().push(result);
    }
}

/// One attempt at a transaction. Dropped, it is written down as what it then is.
pub struct Attempt {
    pub entry: history::Transaction,
    pub log: Arc<Log>,
    txn: TxnId,
    request: Option<usize>,
    writes: u64,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut entry = std::mem::take(&mut self.entry);
        entry.ended_ms = self.log.now_ms();
        let mut state = self.log.state.lock();
        state.ids.insert(entry.id, (self.txn, self.request));
        state.entries.push(entry);
    }
}

impl Attempt {
    /// An attempt that has done nothing yet; without another word it ends as one that did not commit.
    pub fn new(log: &Arc<Log>, node: &Node, session: &str, txn: TxnId, request: Option<usize>) -> Self {
        let mut entry = history::Transaction::new(session, txn.as_u128());
        entry.node.clone_from(&node.name);
        entry.status = Status::Aborted;
        entry.began_ms = log.now_ms();
        let mut state = log.state.lock();
        state.attempts += 1;
        entry.attempt = state.attempts;
        drop(state);
        Self { entry, log: Arc::clone(log), txn, request, writes: 0 }
    }

    /// What it stores as its result.
    pub fn result(&self) -> String {
        self.entry.attempt.to_string()
    }

    /// From here on nobody knows whether it commits, until somebody says so.
    pub fn begins_to_commit(&mut self) {
        self.entry.status = Status::Unknown;
        self.entry.result = Some(self.result());
    }

    pub fn read(&mut self, tx: &Transaction, key: &str, value: Option<&Bytes>) {
        let read = tx.reads().find(|(read, _)| *read == key.as_bytes());
        let own = self
            .entry
            .ops
            .iter()
            .any(|op| matches!(op, history::Op::Write { key: own, .. } if **own == *key));
        let found = read.and_then(|(_, version)| version).map_or(history::Version::ABSENT, version_of);
        self.entry.read(key, value.map(|value| value_name(value)), (!own).then_some(found));
    }

    /// Writes a fresh value, padded to `len` bytes.
    pub fn put(&mut self, tx: &mut Transaction, key: &str, len: usize) -> Result<(), Error> {
        self.writes += 1;
        let name = format!("{}.{}", self.entry.attempt, self.writes);
        let mut bytes = format!("{name}#").into_bytes();
        bytes.resize(bytes.len().max(len), b'.');
        tx.put(key, bytes)?;
        self.entry.write(key, name);
        Ok(())
    }

    pub fn acked(&mut self, receipt: &Receipt) {
        self.entry.status = Status::Committed;
        self.entry.version = Some(version_of(receipt.version()));
    }

    /// A commit that returned.
    pub fn committed(&mut self, commit: &Commit) -> String {
        self.acked(&commit.receipt);
        self.entry.replayed = commit.outcome == CommitOutcome::Replayed;
        let result = text(commit.result.as_deref().unwrap_or_default());
        self.entry.result = Some(result.clone());
        result
    }

    /// A commit that failed.
    pub fn refused(&mut self, error: &Error) {
        if error.kind() != ErrorKind::OutcomeUnknown {
            self.entry.status = Status::Aborted;
            self.entry.abort_decided = error.kind() == ErrorKind::Aborted;
        }
    }
}

pub fn version_of(version: Version) -> history::Version {
    history::Version(version.clock().bits(), version.txn_id().as_u128())
}

/// The name that a stored value carries: what comes before its padding.
pub fn value_name(bytes: &[u8]) -> Value {
    text(bytes.split(|byte| *byte == b'#').next().unwrap_or_default()).into()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
