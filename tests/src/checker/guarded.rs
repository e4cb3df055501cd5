//! What guards promise: no lost update among those who guard a key, and that all follow the order in which they were decided.
//!
//! **No lost update.** Of the transactions that guard a key, read one version of it, and write it, one takes effect.
//!
//! **Strict serializability.** Of the transactions that took effect and have a decision (they wrote, or guarded), one was decided before another
//!
//! - if the other read its value,
//! - if it guarded what the other one guarded and superseded: also where it did not write it,
//! - if it was acknowledged before the other began,
//! - if it wrote a version of a key that only serializable transactions write (but for the first write of each, where each of them that read the key has
//!   read that or a later one), and the other the next.
//!
//! Where all are serializable, that is the direct serialization graph (Adya, "Weak consistency", 1999, section 3.1) with real time (Herlihy and Wing,
//! "Linearizability", 1990). It has no cycle, and nor has it where others are among them that guard a part of what they read, or nothing.
//!
//! Real time would be an edge for each pair. Instead moments are nodes, each before the next: a transaction is before the first moment after
//! its end, and the moment of its begin is before it.

use std::collections::{HashMap, HashSet};

use super::Summary;
use super::cycle;
use super::graph::{Edge, Graph};
use super::report::{Involved, Kind, Report};
use super::resolve::{Resolved, Tx};
use crate::history::{Status, Version};

/// Why one comes before another.
#[derive(Debug, Clone, Copy)]
enum Why {
    /// The other's operation `read` found its value.
    Read { read: u32 },
    /// The other wrote the next version of this key.
    Wrote { key: u32 },
    /// Its own operation `read` found what the other superseded.
    Superseded { read: u32 },
    /// It had ended when the other began.
    Time,
}

pub(super) fn check(resolved: &Resolved<'_>, report: &mut Report, summary: &mut Summary) {
    let superseded = lost_updates(resolved, report, summary);
    decided_in_order(resolved, &superseded, report, summary);
}

/// Who guarded a version of a key and wrote the next, and by which operation it had read it.
type Superseded = HashMap<(u32, Option<Tx>), (Tx, u32)>;

/// Also where nobody has read it, and the register alone says that it committed.
fn took_effect(resolved: &Resolved<'_>, tx: Tx) -> bool {
    let transaction = resolved.transaction(tx);
    let settled = transaction.status == Status::Unknown && transaction.version.is_some();
    resolved.effective[tx as usize] || settled
}

fn version(resolved: &Resolved<'_>, tx: Tx) -> Option<Version> {
    resolved.version[tx as usize].or(resolved.transaction(tx).version)
}

fn guards(resolved: &Resolved<'_>, tx: Tx, key: u32) -> bool {
    let transaction = resolved.transaction(tx);
    transaction.serializable || transaction.guarded.contains(resolved.keys[key as usize])
}

fn lost_updates(resolved: &Resolved<'_>, report: &mut Report, summary: &mut Summary) -> Superseded {
    let mut superseded = Superseded::new();
    for tx in resolved.all().filter(|&tx| took_effect(resolved, tx)) {
        for read in &resolved.reads[tx as usize] {
            if !guards(resolved, tx, read.key) || resolved.last_write(tx, read.key).is_none() {
                continue;
            }
            summary.guarded_updates += 1;
            let Some((other, op)) = superseded.insert((read.key, read.from), (tx, read.op)) else { continue };
            report.add(Kind::LostUpdate, || {
                let read = resolved.operation(tx, read.op as usize);
                let text = format!(
                    "{read} guarded, and so {}; and both wrote it",
                    resolved.operation(other, op as usize)
                );
                (resolved.involved(&[tx, other]), text)
            });
        }
    }
    superseded
}

fn decided_in_order(
    resolved: &Resolved<'_>,
    superseded: &Superseded,
    report: &mut Report,
    summary: &mut Summary,
) {
    let is_serializable = |tx: Tx| resolved.transaction(tx).serializable;
    let is_decided = |tx: &Tx| {
        let guards = is_serializable(*tx) || !resolved.transaction(*tx).guarded.is_empty();
        took_effect(resolved, *tx) && (guards || !resolved.writes[*tx as usize].is_empty())
    };
    let decided: Vec<Tx> = resolved.all().filter(is_decided).collect();
    let serializable: Vec<Tx> = decided.iter().copied().filter(|tx| is_serializable(*tx)).collect();
    let writers = writers(resolved, &serializable);
    let mut edges = Vec::new();
    for of_key in writers.iter().flatten() {
        let key = of_key.key;
        for pair in of_key.writers.windows(2) {
            edges.push(Edge { from: pair[0], to: pair[1], why: Why::Wrote { key } });
        }
    }
    for &tx in &decided {
        for read in &resolved.reads[tx as usize] {
            let why = Why::Superseded { read: read.op };
            if let Some(from) = read.from.filter(|&from| took_effect(resolved, from)) {
                edges.push(Edge { from, to: tx, why: Why::Read { read: read.op } });
            }
            if !guards(resolved, tx, read.key) {
                continue;
            }
            summary.guarded_reads += 1;
            if let Some(&(next, _)) = superseded.get(&(read.key, read.from)).filter(|(next, _)| *next != tx) {
                edges.push(Edge { from: tx, to: next, why });
            }
            let Some(of_key) = writers[read.key as usize].as_ref().filter(|_| is_serializable(tx)) else {
                continue;
            };
            let place = |from| of_key.writers.iter().position(|&writer| writer == from);
            let next = read.from.map_or(Some(0), |from| place(from).map(|at| at + 1));
            if let Some(&next) = next.and_then(|at| of_key.writers.get(at)).filter(|&&next| next != tx) {
                edges.push(Edge { from: tx, to: next, why });
            }
        }
    }
    summary.serializable = serializable.len();
    let nodes = in_time(resolved, &decided, &mut edges);
    let graph = Graph::new(nodes, edges);
    summary.edges += graph.edges();
    // Reads and time alone are for the other rules.
    let by_guards = |cycle: &Vec<Edge<Why>>| {
        cycle.iter().any(|edge| matches!(edge.why, Why::Superseded { .. } | Why::Wrote { .. }))
    };
    for cycle in cycle::cycles(&graph).into_iter().filter(by_guards) {
        report.add(Kind::NotSerializable, || explain(resolved, &cycle));
    }
}

/// Who wrote a key, in the order of their versions.
struct Writers {
    key: u32,
    writers: Vec<Tx>,
}

/// Of each key that serializable transactions write and nobody else does, but for a first version that all of them have seen.
fn writers(resolved: &Resolved<'_>, members: &[Tx]) -> Vec<Option<Writers>> {
    let mut all: Vec<Vec<(Option<Version>, Tx)>> = vec![Vec::new(); resolved.keys.len()];
    for tx in resolved.all().filter(|&tx| took_effect(resolved, tx)) {
        for &(key, _) in &resolved.writes[tx as usize] {
            all[key as usize].push((version(resolved, tx), tx));
        }
    }
    let reads = members.iter().flat_map(|&tx| &resolved.reads[tx as usize]);
    let unseen: HashSet<u32> = reads.filter(|read| read.from.is_none()).map(|read| read.key).collect();
    let counts = |(key, mut writers): (u32, Vec<(Option<Version>, Tx)>)| {
        writers.sort_unstable();
        let others = usize::from(!unseen.contains(&key));
        let serial = |(_, tx): &(Option<Version>, Tx)| resolved.transaction(*tx).serializable;
        let alone = writers.iter().skip(others).all(serial) && writers.iter().all(|it| it.0.is_some());
        alone.then(|| Writers { key, writers: writers.into_iter().map(|(_, tx)| tx).collect() })
    };
    (0..).zip(all).map(counts).collect()
}

/// Adds the moments and what they order; the number of nodes.
fn in_time(resolved: &Resolved<'_>, members: &[Tx], edges: &mut Vec<Edge<Why>>) -> usize {
    let transactions = resolved.all().len();
    let mut moments: Vec<u64> = members.iter().map(|&tx| resolved.transaction(tx).began_ms).collect();
    moments.sort_unstable();
    moments.dedup();
    let node = |at: usize| (transactions + at) as Tx;
    let why = Why::Time;
    edges.extend((1..moments.len()).map(|at| Edge { from: node(at - 1), to: node(at), why }));
    for &tx in members {
        let transaction = resolved.transaction(tx);
        let began = moments.partition_point(|&moment| moment < transaction.began_ms);
        edges.push(Edge { from: node(began), to: tx, why });
        let ended_ms = transaction.ended_ms.max(transaction.began_ms);
        let after = moments.partition_point(|&moment| moment <= ended_ms);
        // One of unknown outcome may have committed at any later time.
        if transaction.status == Status::Committed && after < moments.len() {
            edges.push(Edge { from: tx, to: node(after), why });
        }
    }
    transactions + moments.len()
}

fn explain(resolved: &Resolved<'_>, cycle: &[Edge<Why>]) -> (Vec<Involved>, String) {
    let is_moment = |tx: Tx| tx as usize >= resolved.all().len();
    let mut text = String::from("these transactions cannot have been decided in any order:");
    let mut involved = Vec::new();
    for Edge { from, to, why } in cycle.iter().copied() {
        let name = |tx| resolved.name(tx);
        let line = match why {
            Why::Read { read } => {
                format!("{} before {}: {}", name(from), name(to), resolved.operation(to, read as usize))
            }
            Why::Wrote { key } => {
                let [one, two] = [from, to].map(|tx| resolved.last_write_of(tx, key));
                format!("{} before {}: {one}, and then {two}", name(from), name(to))
            }
            Why::Superseded { read } => {
                let key = resolved.op_keys[from as usize][read as usize];
                let (read, wrote) =
                    (resolved.operation(from, read as usize), resolved.last_write_of(to, key));
                format!("{} before {}: {read}, and then {wrote}", name(from), name(to))
            }
            Why::Time if is_moment(from) && is_moment(to) => continue,
            Why::Time if is_moment(to) => {
                format!("{} ended at {} ms,", name(from), resolved.transaction(from).ended_ms)
            }
            Why::Time => format!("and {} began at {} ms", name(to), resolved.transaction(to).began_ms),
        };
        text += "\n  ";
        text += &line;
        involved.extend([from, to].into_iter().filter(|tx| !is_moment(*tx)));
    }
    involved.sort_unstable();
    involved.dedup();
    (resolved.involved(&involved), text)
}
