//! The history resolved: keys as numbers, who wrote what each read found, which transactions count, their versions.

pub(super) mod names;

use std::collections::HashMap;

use super::internal::{self, Fault};
use super::report::{Kind, Report};
use super::{Expectations, FinalRead};
use crate::history::{History, Op, Status, Transaction, Version};

/// A transaction, by its place in the history.
pub(super) type Tx = u32;

/// A read of what another transaction wrote; only the first one of each key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    pub(super) key: u32,
    /// The transaction that wrote what was found; `None` for the initial state.
    pub(super) from: Option<Tx>,
    /// Which operation it is.
    pub(super) op: u32,
}

/// The write that made a value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) writer: Tx,
    pub(super) op: u32,
}

pub(super) struct Resolved<'a> {
    pub(super) history: &'a History,
    pub(super) keys: Vec<&'a str>,
    /// The transactions of each session, in its order.
    pub(super) sessions: Vec<Vec<Tx>>,
    /// Of each transaction, its place in its session.
    pub(super) place: Vec<u32>,
    /// Of each transaction, the key of each operation.
    pub(super) op_keys: Vec<Vec<u32>>,
    /// Of each transaction, the keys it writes, sorted, each with the last operation that writes it.
    pub(super) writes: Vec<Vec<(u32, u32)>>,
    /// Of each transaction, its reads of what others wrote, in its order, one for each key.
    pub(super) reads: Vec<Vec<Read>>,
    /// Whether a transaction's reads are judged.
    pub(super) judged: Vec<bool>,
    /// Whether a transaction's writes took effect.
    pub(super) effective: Vec<bool>,
    /// The versions of the effective ones, as far as they can be known.
    pub(super) version: Vec<Option<Version>>,
    /// The entries of each id that is known, by id.
    pub(super) attempts: Vec<Vec<Tx>>,
    /// The entry of each id that took effect.
    pub(super) winners: HashMap<u128, Tx>,
    numbers: HashMap<&'a str, u32>,
    sources: HashMap<(u32, &'a str), Source>,
}

impl<'a> Resolved<'a> {
    pub(super) fn new(history: &'a History, expectations: &Expectations, report: &mut Report) -> Self {
        let count = history.transactions.len();
        let mut resolved = Self {
            history,
            keys: Vec::new(),
            sessions: Vec::new(),
            place: Vec::with_capacity(count),
            op_keys: Vec::with_capacity(count),
            writes: Vec::with_capacity(count),
            reads: Vec::with_capacity(count),
            judged: vec![false; count],
            effective: vec![false; count],
            version: vec![None; count],
            attempts: Vec::new(),
            winners: HashMap::new(),
            numbers: HashMap::new(),
            sources: HashMap::new(),
        };
        resolved.number();
        resolved.find_sources(report);
        let faults = resolved.find_reads();
        resolved.decide_who_counts(expectations);
        resolved.find_versions();
        internal::report(&resolved, &faults, report);
        resolved
    }

    pub(super) fn transaction(&self, tx: Tx) -> &'a Transaction {
        &self.history.transactions[tx as usize]
    }

    pub(super) fn all(&self) -> std::ops::Range<Tx> {
        0..self.place.len() as Tx
    }

    /// The write that made `value` of `key`.
    pub(super) fn source(&self, key: u32, value: &str) -> Option<Source> {
        self.sources.get(&(key, value)).copied()
    }

    /// The number of a key, if the history has it.
    pub(super) fn key(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The last operation of `tx` that writes `key`.
    pub(super) fn last_write(&self, tx: Tx, key: u32) -> Option<u32> {
        let writes = &self.writes[tx as usize];
        writes.binary_search_by_key(&key, |&(key, _)| key).ok().map(|at| writes[at].1)
    }

    /// The version that a read found, if it can be known.
    pub(super) fn read_version(&self, read: &Read) -> Option<Version> {
        read.from.map_or(Some(Version::ABSENT), |from| self.version[from as usize])
    }

    /// Gives keys and sessions their numbers.
    fn number(&mut self) {
        let mut session_numbers: HashMap<&str, usize> = HashMap::new();
        for (index, transaction) in self.history.transactions.iter().enumerate() {
            let next = self.sessions.len();
            let session = *session_numbers.entry(&transaction.session).or_insert(next);
            if session == next {
                self.sessions.push(Vec::new());
            }
            self.place.push(self.sessions[session].len() as u32);
            self.sessions[session].push(index as Tx);
            let mut op_keys = Vec::with_capacity(transaction.ops.len());
            for op in &transaction.ops {
                let (Op::Write { key, .. } | Op::Read { key, .. }) = op;
                let next = self.keys.len() as u32;
                let number = *self.numbers.entry(key).or_insert(next);
                if number == next {
                    self.keys.push(key);
                }
                op_keys.push(number);
            }
            self.op_keys.push(op_keys);
        }
        let mut by_id: Vec<(u128, Tx)> =
            self.all().map(|tx| (self.transaction(tx).id, tx)).filter(|&(id, _)| id != 0).collect();
        by_id.sort_unstable();
        for group in by_id.chunk_by(|a, b| a.0 == b.0) {
            self.attempts.push(group.iter().map(|&(_, tx)| tx).collect());
        }
    }

    /// Finds who wrote each value: of several attempts of one id, the one with the best claim.
    fn find_sources(&mut self, report: &mut Report) {
        self.sources.reserve(self.op_keys.iter().map(Vec::len).sum::<usize>() / 2);
        for tx in self.all() {
            let transaction = self.transaction(tx);
            let mut writes = Vec::new();
            for (op, operation) in transaction.ops.iter().enumerate() {
                let Op::Write { value, .. } = operation else { continue };
                let source = Source { writer: tx, op: op as u32 };
                let key = self.op_keys[tx as usize][op];
                writes.push((key, source.op));
                let Some(other) = self.source(key, value) else {
                    self.sources.insert((key, value), source);
                    continue;
                };
                let owner = self.transaction(other.writer);
                if other.writer == tx || transaction.id == 0 || transaction.id != owner.id {
                    report.add(Kind::DuplicateValue, || {
                        let text = format!("{} and {}", self.operation(tx, op), self.write_of(other));
                        (self.involved(&[tx, other.writer]), text)
                    });
                } else if transaction.claim() < owner.claim() {
                    self.sources.insert((key, value), source);
                }
            }
            writes.sort_unstable();
            // Of the writes of one key the last stays.
            writes.reverse();
            writes.dedup_by_key(|&mut (key, _)| key);
            writes.reverse();
            self.writes.push(writes);
        }
    }

    /// Finds the reads that judge the order between transactions, and those that are wrong by themselves.
    fn find_reads(&mut self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut marks = Marks::new(self.keys.len());
        for tx in self.all() {
            let reads = internal::reads(self, tx, &mut marks, &mut faults);
            self.reads.push(reads);
        }
        faults
    }

    fn decide_who_counts(&mut self, expectations: &Expectations) {
        for tx in self.all() {
            let transaction = self.transaction(tx);
            let committed = transaction.status == Status::Committed;
            self.effective[tx as usize] = committed && !transaction.replayed;
            self.judged[tx as usize] = committed || !expectations.committed_only;
        }
        for attempts in &self.attempts {
            if let Some(winner) = self.winner_by_elimination(attempts) {
                self.effective[winner as usize] = true;
                self.judged[winner as usize] = true;
            }
        }
        // What a judged transaction read has committed, and is then judged itself.
        let mut todo: Vec<Tx> = self.all().filter(|&tx| self.judged[tx as usize]).collect();
        let finals = expectations.final_reads.iter().filter_map(|read| self.final_source(read));
        let mut found: Vec<Tx> = finals.map(|source| source.writer).collect();
        loop {
            for writer in found.drain(..) {
                let transaction = self.transaction(writer);
                if transaction.status == Status::Unknown && !self.effective[writer as usize] {
                    self.effective[writer as usize] = true;
                    if !std::mem::replace(&mut self.judged[writer as usize], true) {
                        todo.push(writer);
                    }
                }
            }
            let Some(tx) = todo.pop() else { break };
            found.extend(self.reads[tx as usize].iter().filter_map(|read| read.from));
        }
        for attempts in &self.attempts {
            let winner = attempts
                .iter()
                .filter(|&&tx| self.effective[tx as usize])
                .min_by_key(|&&tx| self.transaction(tx).claim());
            if let Some(&winner) = winner {
                self.winners.insert(self.transaction(winner).id, winner);
            }
        }
    }

    /// The attempt that must have won, because there was a replay and no other attempt can have.
    fn winner_by_elimination(&self, attempts: &[Tx]) -> Option<Tx> {
        let of = |status| attempts.iter().filter(move |&&tx| self.transaction(tx).status == status);
        let replays = of(Status::Committed).filter(|&&tx| self.transaction(tx).replayed).count();
        let won = of(Status::Committed).count() - replays;
        let mut unknown = of(Status::Unknown);
        match (replays, won, unknown.next(), unknown.next()) {
            (1.., 0, Some(&only), None) => Some(only),
            _ => None,
        }
    }

    /// Who wrote what a final read found.
    pub(super) fn final_source(&self, read: &FinalRead) -> Option<Source> {
        self.source(self.key(&read.key)?, read.value.as_deref()?)
    }

    /// The versions of effective transactions: their own, that of a replay of their id, else what their readers say.
    fn find_versions(&mut self) {
        for tx in self.all().filter(|&tx| self.effective[tx as usize]) {
            self.version[tx as usize] = self.transaction(tx).version;
        }
        for attempts in &self.attempts {
            let replay = attempts.iter().map(|&tx| self.transaction(tx)).find(|replay| replay.replayed);
            let Some(&winner) = self.winners.get(&self.transaction(attempts[0]).id) else { continue };
            let version = &mut self.version[winner as usize];
            *version = version.or_else(|| replay?.version);
        }
        for tx in self.all() {
            for read in &self.reads[tx as usize] {
                let Op::Read { version, .. } = &self.transaction(tx).ops[read.op as usize] else { continue };
                if let Some(from) = read.from.filter(|&from| self.effective[from as usize]) {
                    let known = &mut self.version[from as usize];
                    *known = known.or(*version);
                }
            }
        }
    }
}

/// Something for each key, forgotten at once when the next transaction's turn comes.
pub(super) struct Marks<T> {
    turn: u32,
    at: Vec<(u32, T)>,
}

impl<T: Copy + Default> Marks<T> {
    pub(super) fn new(keys: usize) -> Self {
        Self { turn: 0, at: vec![(0, T::default()); keys] }
    }

    pub(super) fn next_turn(&mut self) {
        self.turn += 1;
    }

    pub(super) fn get(&self, key: u32) -> Option<T> {
        let (turn, value) = self.at[key as usize];
        (turn == self.turn).then_some(value)
    }

    pub(super) fn set(&mut self, key: u32, value: T) {
        self.at[key as usize] = (self.turn, value);
    }
}
