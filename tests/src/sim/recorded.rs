//! A transaction whose every operation is written down.

use std::collections::{BTreeMap, BTreeSet};

use aft_core::{Commit, CommitOutcome, Error, ErrorKind, Outcome, Token, Transaction, TxnId};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::history::{Key, Op, Status, Value};
use crate::sim::notes::{Absent, Notes};
use crate::sim::recorder::{chain, value_name};

/// A transaction of a client. Dropped before it ended, it is written down as what it then is.
#[derive(Debug)]
pub(crate) struct Recorded {
    tx: Option<Transaction>,
    notes: Notes,
    /// Whether others may hold its id.
    shared: bool,
    request: Option<String>,
    /// Whether nobody asks for its id.
    unasked: bool,
}

/// A suspended transaction on its way, with what it did so far.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) token: Token,
    pub(crate) ops: Vec<Op>,
    pub(crate) guarded: BTreeSet<Key>,
    pub(crate) serializable: bool,
    pub(crate) began_ms: u64,
    pub(crate) after: Vec<u128>,
    /// How it first found each key absent.
    pub(crate) absent: BTreeMap<String, Absent>,
    pub(crate) request: Option<String>,
}

impl Parcel {
    /// Two branches as one; `None` where they cannot be joined.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        let token = Token::join([self.token, other.token]).ok()?;
        // What both inherited counts once.
        let all = || self.ops.iter().chain(other.ops.iter().filter(|op| !self.ops.contains(op)));
        // All reads of the store come before all writes: a branch did not see what the other wrote.
        let reads = all().filter(|op| matches!(op, Op::Read { version: Some(_), .. }));
        let writes = all().filter(|op| matches!(op, Op::Write { .. }));
        let ops = reads.chain(writes).cloned().collect();
        let mut absent = other.absent;
        for (key, found) in self.absent {
            let first = absent.entry(key).or_insert(found);
            *first = found.min(*first);
        }
        let guarded = self.guarded.union(&other.guarded).cloned().collect();
        let serializable = self.serializable || other.serializable;
        Some(Self {
            token,
            ops,
            guarded,
            serializable,
            began_ms: self.began_ms.min(other.began_ms),
            absent,
            ..self
        })
    }
}

impl Recorded {
    pub(crate) fn new(tx: Transaction, notes: Notes, shared: bool, request: Option<String>) -> Self {
        Self { tx: Some(tx), notes, shared, request, unasked: false }
    }

    /// One whose id nobody asks for, so that it may commit in a group; in a session of its own, since others run beside it.
    pub(crate) fn unasked(mut self) -> Self {
        let entry = &mut self.notes.entry;
        entry.session = format!("{}/g{}", entry.session, entry.attempt).into();
        self.unasked = true;
        self
    }

    pub(crate) fn id(&self) -> Option<TxnId> {
        self.tx.as_ref().map(Transaction::id)
    }

    /// Reads some keys, side by side. False where a fault ended the transaction.
    pub(crate) async fn read(&mut self, keys: &[String]) -> bool {
        let Some(tx) = &mut self.tx else { return false };
        self.notes.begin_read();
        let values = match keys {
            [key] if self.notes.recorder.streams => streamed(tx, key).await.map(|value| vec![value]),
            [key] => tx.get(key).await.map(|value| vec![value]),
            keys => tx.get_many(keys).await,
        };
        match values {
            Ok(values) => {
                for (key, value) in keys.iter().zip(values) {
                    self.notes.read(tx, key, value.as_deref());
                }
                true
            }
            Err(error) => {
                self.notes.recorder.explain(&self.notes.client, &error, "read");
                false
            }
        }
    }

    /// Reads some keys guarded.
    pub(crate) async fn read_guarded(&mut self, keys: &[String]) -> bool {
        let Some(tx) = &mut self.tx else { return false };
        self.notes.begin_read();
        match tx.get_many_guarded(keys).await {
            Ok(values) => {
                for (key, value) in keys.iter().zip(values) {
                    self.notes.read(tx, key, value.as_deref());
                    self.notes.entry.guarded.insert(key.as_str().into());
                }
                true
            }
            Err(error) => {
                self.notes.recorder.explain(&self.notes.client, &error, "guarded read");
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
        self.notes.begin_read();
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
                    self.notes.read(tx, key, found.get(key.as_bytes()).map(|value| &value[..]));
                }
                let rows = found.iter();
                Some(
                    rows.map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value_name(value)))
                        .collect(),
                )
            }
            Err(error) => {
                self.notes.recorder.explain(&self.notes.client, &error, "scan");
                None
            }
        }
    }

    /// Writes a fresh value, padded to `len` bytes.
    pub(crate) fn put(&mut self, key: &str, len: usize) {
        if let Some(tx) = &mut self.tx {
            self.notes.put(tx, key, len);
        }
    }

    /// As [`put`](Self::put), as a stream where the seed has streams.
    pub(crate) async fn put_or_stream(&mut self, key: &str, len: usize) {
        match &mut self.tx {
            Some(tx) if self.notes.recorder.streams => self.notes.put_stream(tx, key, len).await,
            _ => self.put(key, len),
        }
    }

    /// Deletes a key, under a fresh name.
    pub(crate) fn delete(&mut self, key: &str) {
        if let Some(tx) = &mut self.tx {
            self.notes.delete(tx, key);
        }
    }

    /// Gives up. The abort of a shared id is decided; otherwise nothing happens.
    pub(crate) async fn abort(mut self) {
        let Some(mut tx) = self.tx.take() else { return };
        if self.request.is_some() && !matches!(self.settle(&mut tx).await, Some(None)) {
            return;
        }
        match tx.abort().await {
            Ok(Outcome::Aborted) => self.notes.entry.abort_decided = self.shared,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {}
            Err(error) => {
                self.notes.recorder.explain(&self.notes.client, &error, "abort");
            }
        }
    }

    /// Suspends it, for another client to go on with.
    pub(crate) async fn suspend(mut self) -> Option<Parcel> {
        let mut tx = self.tx.take()?;
        if self.request.is_some() {
            self.settle(&mut tx).await?;
        }
        match tx.suspend().await {
            Ok(token) => {
                let entry = &self.notes.entry;
                let (ops, after) = (entry.ops.clone(), entry.after.clone());
                let (began_ms, absent) = (entry.began_ms, self.notes.absent.clone());
                let (guarded, serializable) = (entry.guarded.clone(), entry.serializable);
                Some(Parcel {
                    token,
                    ops,
                    guarded,
                    serializable,
                    began_ms,
                    after,
                    absent,
                    request: self.request.clone(),
                })
            }
            Err(error) => {
                self.notes.recorder.explain(&self.notes.client, &error, "suspend");
                None
            }
        }
    }

    /// Waits until the id of a request's transaction is certain. `None` where a fault ended it; else what it was finished as before.
    async fn settle(&mut self, tx: &mut Transaction) -> Option<Option<Commit>> {
        let settled = tx.replay().await;
        self.notes.entry.id = tx.id().as_u128();
        match settled {
            Ok(finished) => Some(finished),
            Err(error) => {
                self.notes.refused(&error, true);
                None
            }
        }
    }

    /// Commits, and writes down what the client learned.
    pub(crate) async fn commit(mut self) -> Status {
        let Some(mut tx) = self.tx.take() else { return Status::Aborted };
        if self.request.is_some() {
            match self.settle(&mut tx).await {
                None => return self.notes.entry.status,
                Some(Some(finished)) => return self.committed(finished, true),
                Some(None) => {}
            }
        }
        let wrote = self.notes.wrote() || self.shared;
        let entry = &mut self.notes.entry;
        entry.result = (wrote && !self.unasked).then(|| entry.attempt.to_string());
        if let Some(result) = entry.result.clone()
            && let Err(error) = tx.set_result(result)
        {
            self.notes.recorder.problem(chain(&error));
        }
        if wrote {
            if self.unasked {
                self.notes.recorder.note_unasked(tx.id_unasked(), self.notes.entry.attempt);
            } else {
                self.notes.recorder.note_id(tx.id(), self.request.as_deref());
            }
        }
        // Should the node die from here on, nobody knows.
        self.notes.entry.status = Status::Unknown;
        match tx.commit().await {
            Ok(commit) => self.committed(commit, wrote),
            Err(error) => {
                self.notes.refused(&error, wrote);
                self.notes.entry.status
            }
        }
    }

    fn committed(&mut self, commit: Commit, wrote: bool) -> Status {
        self.notes.acked(&commit.receipt, wrote);
        self.notes.entry.replayed = commit.outcome == CommitOutcome::Replayed;
        if wrote {
            self.notes.entry.result = commit.result.map(|it| String::from_utf8_lossy(&it).into_owned());
        }
        Status::Committed
    }

    /// What it did so far.
    pub(crate) fn reads(&self) -> impl Iterator<Item = &Op> {
        self.notes.entry.ops.iter()
    }
}

/// The value of a key, part by part.
async fn streamed(tx: &mut Transaction, key: &str) -> Result<Option<Bytes>, Error> {
    let Some(parts) = tx.get_stream(key).await? else { return Ok(None) };
    let parts: Vec<Bytes> = parts.try_collect().await?;
    Ok(Some(parts.concat().into()))
}
