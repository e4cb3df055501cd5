//! What one attempt at a transaction did.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use aft_core::{Error, ErrorKind, Receipt, Transaction, TxnId};
use bytes::Bytes;

use crate::history::{self, Op, Status, Value};
use crate::sim::recorded::Parcel;
use crate::sim::recorder::{Client, Recorder, chain, value_name, version};
use crate::sim::run::id_text;

/// How a key was first found absent: when, by the run's time, and on which checkpoints the node built before the read and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Absent {
    pub(crate) at_ms: u64,
    pub(crate) checkpoints: [u64; 2],
}

/// The record of an attempt. Dropped, it is written down as what it then is.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(crate) entry: history::Transaction,
    /// What its values begin with.
    name: String,
    /// Its own writes, and whether they are deletes.
    own: BTreeMap<String, (Value, bool)>,
    /// How it first found each key absent.
    pub(crate) absent: BTreeMap<String, Absent>,
    /// The checkpoint that the node built on before the read that is under way.
    checkpoint: u64,
    writes: u64,
    pub(crate) client: Client,
    pub(crate) recorder: Arc<Recorder>,
}

impl Drop for Notes {
    fn drop(&mut self) {
        let mut entry = std::mem::take(&mut self.entry);
        entry.ended_ms = self.recorder.now_ms();
        let (id, ended) = (id_text(entry.id), entry.status);
        self.client
            .network
            .note(&format!("{} attempt {} of {id} ends {ended:?}", entry.session, entry.attempt));
        self.recorder.finish(entry, std::mem::take(&mut self.absent));
    }
}

impl Notes {
    pub(crate) fn new(recorder: &Arc<Recorder>, client: &Client, id: TxnId) -> Self {
        let attempt = recorder.next_attempt();
        let mut entry = history::Transaction::new(client.session.as_str(), id.as_u128());
        entry.node.clone_from(&client.node);
        entry.attempt = attempt;
        entry.status = Status::Aborted;
        entry.began_ms = recorder.now_ms();
        let name = format!("{:x}.{attempt}", id.as_u128() & 0xffff_ffff);
        let (own, absent, checkpoint) = (BTreeMap::new(), BTreeMap::new(), client.aft.stats().checkpoint);
        let (client, recorder) = (client.clone(), Arc::clone(recorder));
        Self { entry, name, own, absent, checkpoint, writes: 0, client, recorder }
    }

    /// Takes over what was done before the transaction was suspended.
    pub(crate) fn inherit(&mut self, parcel: &Parcel) {
        self.entry.ops.clone_from(&parcel.ops);
        self.entry.guarded.clone_from(&parcel.guarded);
        self.entry.serializable = parcel.serializable;
        self.entry.began_ms = parcel.began_ms;
        self.entry.after.clone_from(&parcel.after);
        self.absent.clone_from(&parcel.absent);
        for op in &parcel.ops {
            if let Op::Write { key, value } = op {
                self.own.insert(key.to_string(), (Arc::clone(value), value.starts_with('x')));
            }
        }
    }

    pub(crate) fn wrote(&self) -> bool {
        !self.own.is_empty()
    }

    /// A read begins, of one key or many.
    pub(crate) fn begin_read(&mut self) {
        self.checkpoint = self.client.aft.stats().checkpoint;
    }

    pub(crate) fn read(&mut self, tx: &Transaction, key: &str, value: Option<&[u8]>) {
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
        if value.is_none() {
            let checkpoints = [self.checkpoint, self.client.aft.stats().checkpoint];
            let found = Absent { at_ms: self.recorder.now_ms(), checkpoints };
            self.absent.entry(key.to_owned()).or_insert(found);
        }
        self.entry.read(key, value, read);
    }

    /// Writes a fresh value, padded to `len` bytes.
    pub(crate) fn put(&mut self, tx: &mut Transaction, key: &str, len: usize) {
        let (name, bytes) = self.value(len);
        self.write(tx, key, name, Some(bytes));
    }

    /// Writes a fresh value as a stream. Where that fails, nothing is written under the key, and the transaction goes on.
    pub(crate) async fn put_stream(&mut self, tx: &mut Transaction, key: &str, len: usize) {
        let (name, bytes) = self.value(len);
        let chunks = bytes.chunks(70).map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk)));
        match tx.put_stream(key, futures::stream::iter(chunks)).await {
            Ok(_) => self.wrote_value(key, name, false),
            Err(error) => {
                self.recorder.explain(&self.client, &error, "put_stream");
            }
        }
    }

    fn value(&mut self, len: usize) -> (Value, Vec<u8>) {
        self.writes += 1;
        let name: Value = format!("{}.{}", self.name, self.writes).into();
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(b'#');
        bytes.resize(bytes.len().max(len), b'.');
        (name, bytes)
    }

    /// Deletes a key, under a fresh name.
    pub(crate) fn delete(&mut self, tx: &mut Transaction, key: &str) {
        self.writes += 1;
        let name: Value = format!("x{}.{}", self.name, self.writes).into();
        self.write(tx, key, name, None);
    }

    fn write(&mut self, tx: &mut Transaction, key: &str, name: Value, bytes: Option<Vec<u8>>) {
        let deleted = bytes.is_none();
        let done = match bytes {
            Some(bytes) => tx.put(key, bytes),
            None => tx.delete(key),
        };
        if let Err(error) = done {
            self.recorder.problem(format!("{} write: {}", self.client.session, chain(&error)));
            return;
        }
        self.wrote_value(key, name, deleted);
    }

    fn wrote_value(&mut self, key: &str, name: Value, deleted: bool) {
        self.own.insert(key.to_owned(), (Arc::clone(&name), deleted));
        self.entry.write(key, name);
    }

    /// What the client learned: it committed. `wrote`: a decision was made for it.
    pub(crate) fn acked(&mut self, receipt: &Receipt, wrote: bool) {
        self.entry.status = Status::Committed;
        self.entry.version = wrote.then(|| version(receipt.version()));
        if wrote {
            self.recorder.note_receipt(receipt);
        }
    }

    /// What the client learned: it may not have committed.
    pub(crate) fn refused(&mut self, error: &Error, wrote: bool) {
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
                if !matches!(kind, ErrorKind::Aborted | ErrorKind::Conflict) {
                    self.recorder.explain(&self.client, error, "commit");
                }
            }
        }
    }
}
