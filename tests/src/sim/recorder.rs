//! Writes down what clients saw.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use aft_core::{Aft, Begin, Error, ErrorKind, Outcome, Receipt, TxnId, Version};
use aft_memory::SimulatedStorage;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::history::{self, History, Key, Op, Status, Value};
use crate::sim::mischief::in_the_aftermath;
use crate::sim::notes::{Absent, Notes};
use crate::sim::recorded::{Parcel, Recorded};
use crate::sim::run::id_text;
use crate::sim::truth::Truth;

/// What every client of a run writes into.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    network: SimulatedStorage,
    /// Whether values go up and come down as streams.
    pub(crate) streams: bool,
    /// Until when listings lie, by the run's time.
    pub(crate) lied_until_ms: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    /// Of each attempt, how it first found each key absent.
    absent: BTreeMap<u64, BTreeMap<String, Absent>>,
    /// What nodes said of ids in the end, and when.
    said: Vec<(TxnId, Outcome, u64)>,
    /// Errors that no fault explains.
    problems: Vec<String>,
    /// Receipts of acknowledged commits, for others to begin after.
    receipts: Vec<Receipt>,
    /// Acknowledged commits: that lie in the feed, and that shared a decision elsewhere.
    direct: u64,
    shared: u64,
    attempts: u64,
    /// Every id under which anything was to be written.
    ids: BTreeSet<TxnId>,
    /// The ids that nobody asked for, and whose attempt each is.
    unasked: BTreeMap<TxnId, u64>,
    /// The ids that each request key led to.
    requests: BTreeMap<String, BTreeSet<u128>>,
}

impl Recorder {
    pub(crate) fn new(network: SimulatedStorage, streams: bool) -> Arc<Self> {
        let (lied_until_ms, state) = (Arc::default(), Mutex::default());
        Arc::new(Self { start: Instant::now(), network, streams, lied_until_ms, state })
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
        let begin = if how.serializable { begin.serializable() } else { begin };
        let tx = match client.aft.begin_with(begin).await {
            Ok(tx) => tx,
            Err(error) => {
                self.explain(client, &error, "begin");
                return None;
            }
        };
        let mut notes = Notes::new(self, client, tx.id_unasked());
        notes.entry.began_ms = began_ms;
        notes.entry.after.clone_from(&how.after);
        notes.entry.serializable = how.serializable;
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

    /// As [`note_id`](Self::note_id), of an id that nobody was told.
    pub(crate) fn note_unasked(&self, id: TxnId, attempt: u64) {
        self.state.lock().unasked.insert(id, attempt);
    }

    pub(crate) fn unasked(&self) -> BTreeMap<TxnId, u64> {
        self.state.lock().unasked.clone()
    }

    /// The receipt of an acknowledged commit.
    pub(crate) fn note_receipt(&self, receipt: &Receipt) {
        let mut state = self.state.lock();
        state.receipts.push(receipt.clone());
        state.direct += u64::from(receipt.decided_by().is_direct());
        state.shared += u64::from(receipt.txn_id().is_in_group() && !receipt.decided_by().is_direct());
    }

    /// How many acknowledged commits lie in the feed, and how many shared a decision elsewhere.
    pub(crate) fn decided(&self) -> [(&'static str, u64); 2] {
        let state = self.state.lock();
        [("commits decided in the feed", state.direct), ("commits that shared a decision", state.shared)]
    }

    /// Whether a fault explains an error of this kind; otherwise it is a problem.
    pub(crate) fn explain(&self, client: &Client, error: &Error, doing: &str) -> bool {
        use ErrorKind::{ClockSkew, Closed, Corrupt, Denied, Expired, Unavailable, VersionUnavailable};
        let explained = match error.kind() {
            Unavailable | Expired | ClockSkew => true,
            Denied | Closed => client.is_crashed(),
            // Whoever is not shown the newest checkpoint may need what was collected, and says so.
            Corrupt | VersionUnavailable => in_the_aftermath(&self.lied_until_ms, self.now_ms()),
            _ => false,
        };
        if !explained {
            self.problem(format!("{} {doing}: {}", client.session, chain(error)));
        }
        explained
    }

    pub(crate) fn finish(&self, entry: history::Transaction, absent: BTreeMap<String, Absent>) {
        let mut state = self.state.lock();
        state.absent.insert(entry.attempt, absent);
        state.history.transactions.push(entry);
    }

    /// What a node said of an id, to be compared with the truth.
    pub(crate) fn said(&self, id: TxnId, outcome: Outcome) {
        let now_ms = self.now_ms();
        self.state.lock().said.push((id, outcome, now_ms));
    }

    /// What nodes said of ids in the end.
    pub(crate) fn outcomes(&self) -> BTreeMap<u128, Outcome> {
        self.state.lock().said.iter().map(|(id, outcome, _)| (id.as_u128(), outcome.clone())).collect()
    }

    /// The history, with what could only be known in the end: which attempt of an id won, and so which delete a read found.
    pub(crate) fn history(&self, truth: &Truth) -> (History, Vec<String>) {
        let state = self.state.lock();
        let (mut history, mut problems) = (state.history.clone(), state.problems.clone());
        problems.extend(state.contradictions(truth));
        for entry in &mut history.transactions {
            if let Some(Outcome::Committed { receipt, result }) = truth.outcomes.get(&entry.id) {
                let won = result.as_deref() == Some(entry.attempt.to_string().as_bytes());
                if won && entry.status == Status::Unknown {
                    entry.version = Some(version(receipt.version()));
                }
            }
            if let Some(problem) = contradiction(entry, truth.outcomes.get(&entry.id)) {
                problems.push(problem);
            }
        }
        let deletes = Deletes::of(&history, truth);
        for entry in &mut history.transactions {
            let absent = &state.absent[&entry.attempt];
            // What it chose it chose within its lifetime, however late the answer came.
            let latest_ms = truth.latest_ms(entry.id, entry.began_ms);
            entry.ops.retain_mut(|op| {
                let Op::Read { key, value: value @ None, version: read @ Some(_) } = op else { return true };
                let (Some(at), Some(found)) = (*read, absent.get(&**key)) else { return true };
                match deletes.read(key, at, found.at_ms.min(latest_ms), found.checkpoints) {
                    Ok(Some((named, known))) => (*value, *read) = (named, known),
                    Ok(None) => return false,
                    Err(()) => {
                        problems.push(format!("{} read a delete of {key} that nobody made", entry.session));
                    }
                }
                true
            });
        }
        (history, problems)
    }
}

impl State {
    /// What nodes said of ids that is not true, and requests that ran twice.
    fn contradictions(&self, truth: &Truth) -> Vec<String> {
        let mut problems = Vec::new();
        for (request, ids) in &self.requests {
            let outcomes = ids.iter().filter_map(|id| Some((id, truth.outcomes.get(id)?)));
            let committed: Vec<_> =
                outcomes.filter(|(_, outcome)| matches!(outcome, Outcome::Committed { .. })).collect();
            let twice = committed.iter().enumerate().any(|(n, (_, first))| {
                committed[n + 1..].iter().any(|(_, second)| !truth.may_repeat(first, second))
            });
            if twice {
                let ids: Vec<_> = committed.into_iter().map(|(id, _)| id_text(*id)).collect();
                problems.push(format!("the request {request} was committed more than once: {ids:?}"));
            }
        }
        for (id, said, at_ms) in &self.said {
            let requested = self.requests.values().any(|ids| ids.contains(&id.as_u128()));
            if !truth.allows(*id, requested, said, *at_ms) {
                let known = truth.outcomes.get(&id.as_u128());
                problems.push(format!("in the end {id} was said to be {said:?}, and is {known:?}"));
            }
        }
        problems
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

/// The name of a delete that was read, and its version where that is known.
type DeleteRead = (Option<Value>, Option<history::Version>);

/// The deletes that took effect: of each key by version, each with its name.
struct Deletes<'a> {
    of: BTreeMap<Key, BTreeMap<history::Version, Value>>,
    truth: &'a Truth,
}

impl<'a> Deletes<'a> {
    fn of(history: &History, truth: &'a Truth) -> Self {
        let mut of: BTreeMap<Key, BTreeMap<_, _>> = BTreeMap::new();
        for entry in &history.transactions {
            let Some(Outcome::Committed { receipt, result }) = truth.outcomes.get(&entry.id) else {
                continue;
            };
            if result.as_deref() != Some(entry.attempt.to_string().as_bytes()) {
                continue;
            }
            // Of the writes of one key the last stays.
            let mut last = BTreeMap::new();
            for op in &entry.ops {
                if let Op::Write { key, value } = op {
                    last.insert(key, value);
                }
            }
            for (key, value) in last {
                if value.starts_with('x') {
                    of.entry(Arc::clone(key))
                        .or_default()
                        .insert(version(receipt.version()), Arc::clone(value));
                }
            }
        }
        Self { of, truth }
    }

    /// What a read that found nothing at version `at` found at `at_ms`, through one of two checkpoints or one between: the name of a
    /// delete, and its version where it was read; `None` where it cannot be told.
    ///
    /// A delete that every running transaction knew may have left the index. A read in its place finds nothing at all, or nothing
    /// at the version below which it must not read; it stands for the newest such delete. Younger ones are read by version.
    ///
    /// A delete leaves by a checkpoint, and whoever builds on an older one reads what it knows: that is less than all of that age where
    /// listings lie (seed 13 with lies and dates).
    fn read(
        &self,
        key: &Key,
        at: history::Version,
        at_ms: u64,
        checkpoints: [u64; 2],
    ) -> Result<Option<DeleteRead>, ()> {
        let none = BTreeMap::new();
        let of = self.of.get(key).unwrap_or(&none);
        let folded = |version: &history::Version| self.truth.may_be_folded(version.1, at_ms);
        let [before, after] = checkpoints.map(|checkpoint| {
            let left = |version: &history::Version| {
                *version > at && folded(version) && self.truth.may_have_left(*version, checkpoint)
            };
            of.iter().rev().find(|(version, _)| left(version))
        });
        match after {
            _ if before != after => Ok(None),
            Some((_, name)) => Ok(Some((Some(Arc::clone(name)), None))),
            None if at == history::Version::ABSENT => Ok(Some((None, Some(at)))),
            None => of.get(&at).map(|name| Some((Some(Arc::clone(name)), Some(at)))).ok_or(()),
        }
    }
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
    pub(crate) serializable: bool,
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
