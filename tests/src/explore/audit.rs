//! Judges an execution that has ended: nothing is under way any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Begin, Outcome, TxnId};
use tokio::time::sleep;

use super::actor::Actor;
use super::execution::Theatre;
use super::scenario::Scenario;
use crate::checker::{Expectations, FinalRead, Visibility, check};
use crate::history::{self, History, Op, Status};
use crate::sim::recorder::{How, Recorder};
use crate::sim::truth::Truth;

/// Longer than any id can stay undecided and then commit.
const LONG: Duration = Duration::from_secs(120);
/// What the sessions of the audit begin with.
const AUDIT: &str = "audit of ";

/// What an execution showed.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What must not be.
    pub(crate) violations: Vec<String>,
    /// What the actors saw, without times, ids and versions: equal for executions that no program can tell apart.
    pub(crate) behaviour: String,
}

/// Asks the nodes that are left, and two that open the store now, what became of everything.
pub(crate) async fn audit(theatre: &Theatre, scenario: &Scenario, alive: &[Actor]) -> Verdict {
    theatre.stage.open();
    let recorder = &theatre.recorder;
    let mut ids: BTreeSet<TxnId> = recorder.ids().into_iter().collect();
    ids.extend(alive.first().map(|actor| actor.id));
    let (transactions, told) = (recorder.count(), theatre.told.lock().clone());
    let mut outcomes = BTreeMap::new();
    if let Some(first) = theatre.open("auditor", None).await {
        for id in ids.iter().copied() {
            for actor in alive.iter().chain([&first]) {
                if let Some(outcome) = actor.outcome(id).await {
                    outcomes.insert(id, outcome);
                }
            }
        }
        // Whoever died left it to others to publish what it had committed.
        first.sweep().await;
        read_all(&first, scenario).await;
    }
    for actor in alive {
        read_all(actor, scenario).await;
    }
    sleep(LONG).await;
    if let Some(second) = theatre.open("auditor2", None).await {
        for id in ids {
            second.outcome(id).await;
        }
        read_all(&second, scenario).await;
    }
    one_outcome(recorder, &theatre.told.lock());
    let outcomes = outcomes.into_iter().map(|(id, outcome)| (id.as_u128(), outcome)).collect();
    let truth = Truth::of_outcomes(outcomes);
    let (history, mut violations) = recorder.history(&truth);
    let behaviour = behaviour(&history, transactions, &told);
    violations.extend(judge(history, scenario, &truth.outcomes));
    Verdict { violations, behaviour }
}

/// Reads every key in one transaction of a session of its own.
async fn read_all(actor: &Actor, scenario: &Scenario) {
    let session = format!("{AUDIT}{}", actor.client.session);
    let client = crate::sim::recorder::Client { session, ..actor.client.clone() };
    let begin = Begin::new().latest();
    let Some(mut tx) = actor.recorder.begin(&client, begin, &How::default()).await else {
        return actor.recorder.problem(format!("{} could not begin", client.session));
    };
    let keys: Vec<String> = scenario.keys.iter().map(ToString::to_string).collect();
    if tx.scan("", &keys, None).await.is_none() {
        actor.recorder.problem(format!("{} could not scan", client.session));
    }
    tx.commit().await;
}

/// Whoever was told how an id ended was told the same (I10).
fn one_outcome(recorder: &Recorder, told: &[(String, TxnId, Outcome)]) {
    let mut known = BTreeMap::new();
    for (who, id, outcome) in told {
        let settled = matches!(outcome, Outcome::Committed { .. } | Outcome::Aborted);
        match known.get(id) {
            None if settled => drop(known.insert(id, (who, outcome))),
            Some((before, first)) if *first != outcome => recorder.problem(format!(
                "{before} was told that {id} is {first:?}, and later {who} that it is {outcome:?}"
            )),
            _ => {}
        }
    }
}

/// What the checker finds.
fn judge(mut history: History, scenario: &Scenario, outcomes: &BTreeMap<u128, Outcome>) -> Vec<String> {
    settle(&mut history, outcomes);
    let audits = history.transactions.iter().filter(|entry| entry.session.starts_with(AUDIT));
    let final_reads = audits.flat_map(|entry| {
        entry.ops.iter().filter_map(|op| match op {
            Op::Read { key, value, version } => Some(FinalRead {
                node: entry.node.clone(),
                key: Arc::clone(key),
                value: value.clone(),
                version: *version,
            }),
            Op::Write { .. } => None,
        })
    });
    let visibility = scenario.real_time.then_some(Visibility { bound_ms: 1, faults_stopped_ms: 0 });
    let expectations =
        Expectations { final_reads: final_reads.collect(), visibility, ..Expectations::default() };
    let found = check(&history, &expectations).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

/// Attempts whose client never learned how they ended: now it is known.
fn settle(history: &mut History, outcomes: &BTreeMap<u128, Outcome>) {
    for entry in &mut history.transactions {
        if entry.status != Status::Unknown {
            continue;
        }
        match outcomes.get(&entry.id) {
            Some(Outcome::Committed { .. }) if entry.version.is_some() => {
                // Acknowledged by the register itself, and nobody needed to see it before. Its session may go on.
                entry.status = Status::Committed;
                entry.ended_ms = u64::MAX;
                entry.session = format!("{} ({})", entry.session, entry.attempt).into();
            }
            _ => entry.status = Status::Aborted,
        }
    }
}

/// What the first `count` transactions saw, and what outcomes were told.
fn behaviour(history: &History, count: usize, told: &[(String, TxnId, Outcome)]) -> String {
    let entries = &history.transactions[..count.min(history.transactions.len())];
    let mut lines: Vec<String> = entries.iter().map(|entry| line(entry, history)).collect();
    lines.extend(told.iter().map(|(who, _, outcome)| match outcome {
        Outcome::Committed { result, .. } => format!("{who}: told committed {result:?}"),
        outcome => format!("{who}: told {outcome:?}"),
    }));
    lines.sort();
    lines.join("\n")
}

fn line(entry: &history::Transaction, history: &History) -> String {
    let reads = entry.ops.iter().filter_map(|op| match op {
        Op::Read { key, value, .. } => Some(format!(" {key}={}", writer(key, value.as_ref(), history))),
        Op::Write { .. } => None,
    });
    let reads: String = reads.collect();
    let history::Transaction { session, status, replayed, .. } = entry;
    format!("{session}: {status:?} replayed {replayed}{reads}")
}

fn writer(key: &history::Key, value: Option<&history::Value>, history: &History) -> String {
    let wrote = |entry: &&history::Transaction| {
        entry
            .ops
            .iter()
            .any(|op| matches!(op, Op::Write { key: k, value: v } if k == key && Some(v) == value))
    };
    history.transactions.iter().find(wrote).map_or_else(|| "absent".to_owned(), |it| it.session.to_string())
}
