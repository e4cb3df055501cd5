//! Branches of a transaction, forked, suspended, resumed and joined at random, against the definition.
//!
//! The oracle knows no floors, no ranges and no order of attempts. Of a token it knows what was read, key by key, what stands
//! written, and what each attempt behind it wrote. Two branches are one transaction exactly if their reads together are a
//! function and an atomic read set, and nothing was written both by an attempt that only the one has behind it and by an
//! attempt that only the other has: after their fork.

mod joins;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::format::token::{Suspended, SuspendedWrite};
use crate::protocol::branches::{join, restore_reads};
use crate::protocol::write_buffer::{Own, WriteBuffer};
use crate::receipt::Receipt;

/// What can be written: the keys by their ordinals, and the result.
type Slot = usize;

const RESULT: Slot = KEYS.len();

/// What was written to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Deleted,
    Inline(Bytes),
    Stored(Bytes),
}

/// A token, and what the oracle knows of it.
#[derive(Debug, Clone)]
struct Branch {
    token: Suspended,
    /// What was read, every key of the scanned ranges included.
    reads: Reads,
    /// What stands written, and by which attempt.
    written: BTreeMap<Slot, (u64, Content)>,
    /// The attempts behind it, and what each of them wrote.
    attempts: BTreeMap<u64, BTreeSet<Slot>>,
    /// The commits that a view on the way here held.
    known: BTreeSet<Number>,
    /// The commits that every view on the way here held.
    begun: History,
}

/// The union of two maps; `None` where they differ in a key of both.
fn union<V: Clone + PartialEq>(a: &BTreeMap<usize, V>, b: &BTreeMap<usize, V>) -> Option<BTreeMap<usize, V>> {
    let agree = a.iter().all(|(key, value)| b.get(key).is_none_or(|other| other == value));
    agree.then(|| a.iter().chain(b).map(|(key, value)| (*key, value.clone())).collect())
}

impl Branch {
    /// Whether an attempt that is behind this branch and not behind the other wrote the slot.
    fn wrote_after_the_fork(&self, other: &Self, slot: Slot) -> bool {
        let own = self.attempts.iter().filter(|(attempt, _)| !other.attempts.contains_key(attempt));
        own.into_iter().any(|(_, wrote)| wrote.contains(&slot))
    }

    /// What stands written in both together; `None` where both wrote a slot.
    fn written_with(&self, other: &Self) -> Option<BTreeMap<Slot, (u64, Content)>> {
        let mut written = BTreeMap::new();
        for slot in 0..=RESULT {
            let (ours, theirs) = (self.written.get(&slot), other.written.get(&slot));
            let after_the_fork =
                (self.wrote_after_the_fork(other, slot), other.wrote_after_the_fork(self, slot));
            let stands = match after_the_fork {
                (true, true) => return None,
                (true, false) => ours,
                (false, true) => theirs,
                (false, false) => {
                    assert_eq!(ours, theirs, "nothing was written since the fork");
                    ours
                }
            };
            written.extend(stands.map(|content| (slot, content.clone())));
        }
        Some(written)
    }

    /// Joins two branches, and demands what the definition says.
    fn join(&self, other: &Self, world: &History) -> Option<Self> {
        let reads = union(&self.reads, &other.reads).filter(|reads| world.is_atomic(reads));
        let expected = reads.zip(self.written_with(other));
        let joined = join(self.token.clone(), other.token.clone());
        let (token, (reads, written)) = match (joined, expected) {
            (Ok(token), Some(expected)) => (token, expected),
            (Err(_), None) => return None,
            (joined, expected) => panic!("{joined:?}, and by definition {expected:?}"),
        };
        let attempts = self.attempts.clone().into_iter().chain(other.attempts.clone()).collect();
        let mut begun = self.begun.clone();
        begun.0.retain(|number, _| other.begun.0.contains_key(number));
        let known = self.known.union(&other.known).copied().collect();
        let joined = Self { token, reads, written, attempts, known, begun };
        joined.check(world);
        Some(joined)
    }

    /// The token says what the oracle knows, no more and no less.
    fn check(&self, world: &History) {
        let token = &self.token;
        assert_eq!(
            Suspended::decode(&token.encode().unwrap()).as_ref(),
            Ok(token),
            "a token is what its bytes say"
        );
        let mut floors = BTreeMap::new();
        for (ordinal, name) in KEYS.iter().enumerate() {
            let scanned = token.ranges.iter().any(|range| range.contains(name)).then_some(Version::ABSENT);
            let read = token.reads.get(*name).copied().or(scanned);
            let expected = self.reads.get(&ordinal).copied();
            assert_eq!(read, expected.map(version), "what was read of {ordinal}");
            let cowrote = |number: &&Number| world.0.get(*number).is_some_and(|it| it.contains_key(&ordinal));
            let floor = self.reads.values().filter(cowrote).max().filter(|_| expected.is_none());
            floors.extend(floor.map(|floor| (key(ordinal), version(*floor))));
        }
        assert_eq!(token.floors, floors);
        let commits = self.reads.values().copied().filter(|number| *number != 0).map(version);
        let receipts = commits.map(|version| (version, Receipt::new(version, version.txn)));
        assert_eq!(token.receipts, receipts.collect(), "the commits that were read");
        let written = token.writes.iter().map(|(key, write)| (ordinal(key), (write.writer, content(write))));
        let result = token.result.clone().map(|(writer, result)| (RESULT, (writer, Content::Inline(result))));
        let expected =
            self.written.iter().map(|(slot, (writer, content))| (*slot, (*writer, known(content))));
        assert_eq!(
            written
                .chain(result.map(|(slot, (writer, it))| (slot, (writer, known(&it)))))
                .collect::<Vec<_>>(),
            expected.collect::<Vec<_>>()
        );
        assert!(token.lineage.iter().eq(self.attempts.keys()));
        assert_eq!(token.age_ms, self.attempts.keys().copied().map(age_ms).max().unwrap());
        assert_eq!(token.seen_until, u64::MAX - token.age_ms);
        assert_eq!(token.base, token.age_ms);
        assert_eq!(token.latest, self.attempts.keys().copied().any(latest));
    }
}

/// What a token says of a value: a stored one is not at hand.
fn known(content: &Content) -> (u8, u64, u64) {
    match content {
        Content::Deleted => (0, 0, 0),
        Content::Inline(value) => (1, value.len() as u64, checksum(value)),
        Content::Stored(value) => (2, value.len() as u64, checksum(value)),
    }
}

fn content(write: &SuspendedWrite) -> (u8, u64, u64) {
    match &write.value {
        Value::Tombstone => known(&Content::Deleted),
        Value::Inline { .. } => known(&Content::Inline(write.inline.clone().unwrap())),
        Value::Stored(stored) => {
            assert_eq!(stored.parts[0].attempt, write.writer, "the object is its writer's");
            (2, stored.len, stored.checksum)
        }
    }
}

// ---- an attempt: from one token to the next -------------------------------------------------------------------------

/// Ages that neither grow nor shrink along a line.
fn age_ms(attempt: u64) -> u64 {
    attempt * 7 % 11
}

fn latest(attempt: u64) -> bool {
    attempt.is_multiple_of(3)
}

#[derive(Debug, Clone)]
enum Step {
    /// A commit becomes known.
    Arrive(Number),
    Get(usize),
    Scan(KeyRange, usize),
    Put(usize, Content),
    SetResult(Bytes),
}

/// A transaction that is open on some node.
struct Attempt {
    number: u64,
    reader: Reader,
    own: WriteBuffer,
    result: Option<(u64, Bytes)>,
    /// Where it went on from: nothing, or a token.
    from: Branch,
}

impl Attempt {
    fn begin<'a>(number: u64, known: impl IntoIterator<Item = (Number, &'a Writes)>) -> Self {
        let reader = Reader::begin(known);
        let token = Suspended {
            store_id: "store".to_owned(),
            txn: TxnId::from_bytes([0xee; 16]),
            age_ms: age_ms(number),
            seen_until: u64::MAX - age_ms(number),
            base: age_ms(number),
            request_key: Some(Bytes::from("request")),
            latest: latest(number),
            publish_before_ack: false,
            serializable: false,
            guarded: BTreeSet::new(),
            receipts: BTreeMap::new(),
            reads: BTreeMap::new(),
            ranges: Vec::new(),
            floors: BTreeMap::new(),
            writes: BTreeMap::new(),
            result: None,
            lineage: BTreeSet::new(),
        };
        let from = Branch {
            token,
            reads: Reads::new(),
            written: BTreeMap::new(),
            attempts: BTreeMap::new(),
            known: BTreeSet::new(),
            begun: reader.begun.clone(),
        };
        Self { number, reader, own: WriteBuffer::new(number), result: None, from }.started()
    }

    /// Goes on with a token, as `node/transaction/travel.rs` does, on a node that knows these commits: at least those that were read.
    fn resume(from: &Branch, number: u64, view: &History) -> Self {
        let mut reader = Reader::begin(view.0.iter().map(|(number, writes)| (*number, writes)));
        let knows_all = from.known.iter().all(|known| view.0.contains_key(known));
        reader.begun = if knows_all { from.begun.clone() } else { History::default() };
        reader.model = from.reads.clone();
        reader.reads =
            restore_reads(&from.token, &reader.view, &BTreeMap::new()).expect("it knows what was read");
        reader.check();
        let mut own = WriteBuffer::new(number);
        for (key, SuspendedWrite { writer, value, inline }) in from.token.writes.clone() {
            own.restore(Write { key, value }, writer, inline);
        }
        let result = from.token.result.clone();
        Self { number, reader, own, result, from: from.clone() }.started()
    }

    fn started(mut self) -> Self {
        self.from.attempts.insert(self.number, BTreeSet::new());
        self.from.begun = self.reader.begun.clone();
        (0..KEYS.len()).for_each(|ordinal| self.check_own(ordinal));
        self
    }

    fn check_own(&self, ordinal: usize) {
        let own = self.own.get(KEYS[ordinal]);
        let written = self.from.written.get(&ordinal);
        match (own, written.map(|(_, content)| content)) {
            (None, None) | (Some(Own::Deleted), Some(Content::Deleted)) => {}
            (Some(Own::Held(held)), Some(Content::Inline(value) | Content::Stored(value))) => {
                assert_eq!(held, value);
            }
            (Some(Own::Stored(stored)), Some(value @ Content::Stored(_))) => {
                assert_eq!((2, stored.len, stored.checksum), known(value));
            }
            (own, written) => panic!("{own:?}, but {written:?} was written"),
        }
    }

    fn write(&mut self, slot: Slot, content: Content) {
        self.from.written.insert(slot, (self.number, content));
        self.from.attempts.get_mut(&self.number).unwrap().insert(slot);
    }

    fn step(&mut self, step: &Step, world: &History) {
        match step {
            Step::Arrive(number) => {
                if let Some(writes) =
                    world.0.get(number).filter(|_| !self.reader.history.0.contains_key(number))
                {
                    self.reader.arrive(*number, writes);
                }
            }
            Step::Get(ordinal) => {
                self.check_own(*ordinal);
                if self.own.get(KEYS[*ordinal]).is_none() {
                    self.reader.read(*ordinal);
                }
            }
            Step::Scan(range, limit) => drop(self.reader.page(range, *limit)),
            Step::Put(ordinal, content) => {
                let (value, object) = match content {
                    Content::Deleted => (None, None),
                    Content::Inline(value) => (Some(value), None),
                    Content::Stored(value) => (Some(value), Some(0)),
                };
                self.own.put(key(*ordinal), value.cloned(), object, |_| Ok::<_, ()>(())).unwrap();
                self.write(*ordinal, content.clone());
            }
            Step::SetResult(result) => {
                self.result = Some((self.number, result.clone()));
                self.write(RESULT, Content::Inline(result.clone()));
            }
        }
    }

    /// Stops, as `node/transaction/travel.rs` does.
    fn suspend(mut self, world: &History) -> Branch {
        let (writes, payload) = self.own.write_set();
        let mut payload = payload.into_iter();
        let suspend = |(Write { key, value }, writer)| {
            let inline = value.is_inline().then(|| payload.next().unwrap());
            (key, SuspendedWrite { writer, value, inline })
        };
        let token = &mut self.from.token;
        token.writes = writes.into_iter().zip(self.own.writers()).map(suspend).collect();
        token.result = self.result;
        let reads = &mut self.reader.reads;
        token.receipts.extend(reads.found().map(|found| (found.version(), found.receipt())));
        token.reads =
            reads.iter().map(|(key, read)| (key.clone(), read.unwrap_or(Version::ABSENT))).collect();
        token.ranges = reads.ranges().to_vec();
        token.floors = reads.unread_floors().collect();
        token.lineage.insert(self.number);
        token.age_ms = token.age_ms.max(age_ms(self.number));
        token.seen_until = token.seen_until.min(u64::MAX - age_ms(self.number));
        token.base = token.base.max(age_ms(self.number));
        token.latest |= latest(self.number);
        self.from.reads = self.reader.model;
        self.from.known.extend(self.reader.history.0.keys());
        self.from.check(world);
        self.from
    }
}
