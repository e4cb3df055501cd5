//! Whether everything took effect once: judged when the network is good again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aft_core::{Aft, Outcome, Storage};
use aft_tests::checker::{Expectations, FinalRead, Summary, check};
use aft_tests::history::{self, History, Op, Status};
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::log::{Log, State, text, value_name, version_of};
use super::work::{KEYS, Way, way};
use super::{Nodes, open};

/// What was judged, and what went wrong on the way.
pub struct Verdict {
    errors: BTreeMap<String, u64>,
    unknown: usize,
    unknown_committed: usize,
    requests: usize,
    rows: usize,
    summary: Summary,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { errors, unknown, unknown_committed, requests, rows, summary } = self;
        let errors: Vec<_> = errors.iter().map(|(what, count)| format!("{what} {count}")).collect();
        writeln!(f, "errors that clients saw: {}", errors.join(", "))?;
        writeln!(
            f,
            "{unknown} attempts of unknown outcome, of which {unknown_committed} had committed; all are settled"
        )?;
        write!(f, "{requests} request keys, {rows} rows; checker: {summary}")
    }
}

/// The register of each transaction.
type Truth = BTreeMap<u128, Outcome>;

pub async fn verdict(log: &Log, nodes: &Nodes, direct: Arc<dyn Storage>) -> Result<Verdict, Vec<String>> {
    let mut state = std::mem::take(&mut *log.state.lock());
    let mut problems = std::mem::take(&mut state.problems);
    let mut all = Vec::new();
    for at in 0..super::NODES {
        all.push(nodes.pick(at));
    }
    all.push(open(direct, "auditor".into()).await);
    let truth = truth(&state, &all[0].aft, &mut problems).await;
    contradictions(&state, &truth, &mut problems);
    once(&state, &truth, &mut problems);
    let (unknown, unknown_committed) = settle(&mut state, &truth);
    let model = model(&state.entries);

    let mut final_reads = Vec::new();
    let mut rows = 0;
    for node in &all {
        let found = everything(&node.aft).await;
        rows = found.keys().filter(|key| key.starts_with("row/")).count();
        compare(&node.name, &found, &model, &mut problems);
        final_reads.extend(found.into_iter().map(|(key, (version, value))| FinalRead {
            node: node.name.clone(),
            key: key.into(),
            value,
            version: Some(version),
        }));
    }
    let report = all[0].aft.check().await.unwrap();
    problems.extend(report.problems.iter().map(|problem| format!("the store: {problem:?}")));

    let expectations = Expectations { final_reads, ..Expectations::default() };
    let requests = state.results.len();
    match check(&History { transactions: state.entries }, &expectations) {
        Ok(summary) if problems.is_empty() => {
            Ok(Verdict { errors: state.errors, unknown, unknown_committed, requests, rows, summary })
        }
        Ok(_) => Err(problems),
        Err(violations) => {
            problems.extend(violations.iter().map(|violation| format!("checker: {violation}")));
            Err(problems)
        }
    }
}

/// Asks for every id; those of which somebody does not know are decided by asking.
async fn truth(state: &State, aft: &Aft, problems: &mut Vec<String>) -> Truth {
    let unknown: BTreeSet<u128> =
        state.entries.iter().filter(|it| it.status == Status::Unknown).map(|it| it.id).collect();
    let ask = async |id: &u128| {
        let txn = state.ids[id].0;
        let open = unknown.contains(id);
        let outcome = if open { aft.cancel(txn).await } else { aft.outcome(txn).await };
        (*id, open, outcome)
    };
    let asked: Vec<_> = stream::iter(state.ids.keys()).map(ask).buffer_unordered(16).collect().await;
    let mut truth = Truth::new();
    for (id, open, outcome) in asked {
        // A register that denies what the feed tells is an error, and no outcome: the sentence of whoever was told otherwise follows.
        let outcome = outcome.unwrap_or_else(|error| {
            problems.push(format!("what became of {} is not to be had: {error}", state.ids[&id].0));
            Outcome::Undecided
        });
        if open && !matches!(outcome, Outcome::Committed { .. } | Outcome::Aborted) {
            problems.push(format!("{} is left undecided: {outcome:?}", state.ids[&id].0));
        }
        truth.insert(id, outcome);
    }
    truth
}

/// Whether this attempt is the one that its register names.
fn won(entry: &history::Transaction, truth: &Truth) -> Option<history::Version> {
    match &truth[&entry.id] {
        Outcome::Committed { receipt, result } => {
            let own = result.as_deref() == Some(entry.attempt.to_string().as_bytes());
            own.then(|| version_of(receipt.version()))
        }
        _ => None,
    }
}

/// What a client was told, and the register denies.
fn contradictions(state: &State, truth: &Truth, problems: &mut Vec<String>) {
    for entry in &state.entries {
        let outcome = &truth[&entry.id];
        let contradicts = match (entry.status, outcome) {
            (Status::Committed, Outcome::Committed { receipt, result }) => {
                let stored = text(result.as_deref().unwrap_or_default());
                entry.version != Some(version_of(receipt.version()))
                    || entry.result.as_ref() != Some(&stored)
                    || (!entry.replayed && won(entry, truth).is_none())
            }
            (Status::Committed, _) => true,
            (Status::Aborted, Outcome::Committed { .. }) => {
                entry.abort_decided || won(entry, truth).is_some()
            }
            _ => false,
        };
        if contradicts {
            let history::Transaction { session, attempt, status, replayed, .. } = entry;
            let replayed = if *replayed { " as a replay" } else { "" };
            problems.push(format!(
                "{session} attempt {attempt} was told {status:?}{replayed}, but the register says {outcome:?}"
            ));
        }
    }
}

/// Every request key led to one commit, and all its callers were told the same.
fn once(state: &State, truth: &Truth, problems: &mut Vec<String>) {
    let mut committed: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (id, (_, request)) in &state.ids {
        if let (Some(n), Outcome::Committed { result, .. }) = (request, &truth[id]) {
            committed.entry(*n).or_default().push(text(result.as_deref().unwrap_or_default()));
        }
    }
    for (n, told) in &state.results {
        let stored = committed.remove(n).unwrap_or_default();
        if stored.len() != 1 || told.iter().any(|told| *told != stored[0]) {
            problems.push(format!("request {n}: stored are {stored:?}, and its callers were told {told:?}"));
        }
    }
    for (n, stored) in committed {
        problems.push(format!("request {n}: stored are {stored:?}, and nobody was told"));
    }
    let most = state.results.keys().next_back().copied().unwrap_or_default();
    let missing = (0..most).filter(|n| way(*n) != Way::Plain && !state.results.contains_key(n));
    problems.extend(missing.map(|n| format!("request {n} was never done")));
}

/// Gives each attempt of unknown outcome the one that it had; how many there were, and how many had committed.
fn settle(state: &mut State, truth: &Truth) -> (usize, usize) {
    let (mut unknown, mut committed) = (0, 0);
    for entry in state.entries.iter_mut().filter(|entry| entry.status == Status::Unknown) {
        unknown += 1;
        entry.version = won(entry, truth);
        if entry.version.is_some() {
            committed += 1;
        } else {
            entry.status = Status::Aborted;
        }
    }
    (unknown, committed)
}

/// What each key holds: the version and the name of its value.
type Content = BTreeMap<String, (history::Version, Option<history::Value>)>;

/// Of each key the write with the greatest version of all that took effect.
fn model(entries: &[history::Transaction]) -> Content {
    let never = || (history::Version::ABSENT, None);
    let mut model: Content = (0..KEYS).map(|n| (format!("k/{n:02}"), never())).collect();
    for entry in entries.iter().filter(|entry| entry.status != Status::Aborted && !entry.replayed) {
        let Some(version) = entry.version else { continue };
        for op in &entry.ops {
            let Op::Write { key, value } = op else { continue };
            let held = model.entry(key.to_string()).or_insert_with(never);
            if held.0 <= version {
                *held = (version, Some(Arc::clone(value)));
            }
        }
    }
    model
}

/// What a node reads of everything, when it has heard of everything.
async fn everything(aft: &Aft) -> Content {
    aft.publish().await.unwrap();
    aft.sweep().await.unwrap();
    aft.refresh().await.unwrap();
    let tx = aft.begin().await.unwrap();
    let rows: BTreeMap<Bytes, Bytes> = tx.scan_prefix("").await.unwrap().into_iter().collect();
    let missing: Vec<_> =
        (0..KEYS).map(|n| format!("k/{n:02}")).filter(|key| !rows.contains_key(key.as_bytes())).collect();
    assert!(tx.get_many(&missing).await.unwrap().iter().all(Option::is_none), "a scan left a key out");
    let versions: BTreeMap<&[u8], _> = tx.reads().collect();
    let version =
        |key: &[u8]| versions.get(key).copied().flatten().map_or(history::Version::ABSENT, version_of);
    let found = rows.iter().map(|(key, value)| (text(key), (version(key), Some(value_name(value)))));
    let absent = missing.iter().map(|key| (key.clone(), (version(key.as_bytes()), None)));
    found.chain(absent).collect()
}

fn compare(node: &str, found: &Content, model: &Content, problems: &mut Vec<String>) {
    let keys: BTreeSet<_> = found.keys().chain(model.keys()).collect();
    for key in keys {
        let (found, model) = (found.get(key), model.get(key));
        if found != model {
            problems.push(format!("{node} holds under {key} {found:?}, and the model {model:?}"));
        }
    }
}
