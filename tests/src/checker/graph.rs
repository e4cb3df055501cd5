//! The rule of Read Atomic: a graph of what must come before what, which may have no cycle.
//!
//! A history is Read Atomic if its transactions fit in one order, the initial state first, that extends session
//! order (so) and reads-from (wr) and in which, for each read of key x by t from a, every other b that writes x and
//! is a direct predecessor of t, (b, t) in so or wr, comes before a (Biswas and Enea, "On the complexity of checking
//! transactional consistency", OOPSLA 2019). All of that are edges, so such an order exists if and only if they have
//! no cycle. A transaction that began after a receipt has the receipt's commit as one more direct predecessor: that
//! is what a receipt says.
//!
//! # Why the edges are few
//!
//! so relates a transaction to all earlier ones of its session, so the rule asks b → a of each earlier b that writes
//! x. It is enough to add it for the *last* such b, with so as a chain of neighbours. Let b1 be an earlier one: b1 →
//! b is a path along the chain.
//!
//! - b ≠ a, b1 ≠ a: the path b1 → b → a is what the rule asks.
//! - b = a: the path b1 → b is what the rule asks.
//! - b1 = a: the rule asks nothing of b1; b → a was added, and closes the cycle with a = b1 → b.
//!
//! The order of the initial state needs no edges either: nothing leads to it but a b → initial of the rule, and that
//! alone is a violation. So there are at most one edge for each transaction, one for each read and receipt, and for
//! each pair of a reader and a transaction it read from, one for each key that the one read and the other wrote.

use super::Summary;
use super::cycle;
use super::report::{Kind, Report};
use super::resolve::{Marks, Read, Resolved, Tx};
use crate::history::Status;

/// How a transaction is a direct predecessor of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Via {
    /// It is earlier in the session.
    Session,
    /// The reader began after its receipt.
    Receipt,
    /// The reader read from it.
    ReadsFrom,
}

/// Why one transaction comes before another.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// The one is a direct predecessor of the other; `read` is the operation that reads from it.
    Precedes { via: Via, read: u32 },
    /// `reader` had the one as a direct predecessor, and its operation `read` still found the other's value of a key
    /// that the one writes too.
    Overwritten { reader: Tx, read: u32, via: Via },
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Edge<W> {
    pub(super) from: Tx,
    pub(super) to: Tx,
    pub(super) why: W,
}

/// Edges by where they start.
#[derive(Debug)]
pub(super) struct Graph<W> {
    edges: Vec<Edge<W>>,
    /// Of each transaction, where its edges start; and one more, for the end.
    starts: Vec<usize>,
}

impl<W> Graph<W> {
    pub(super) fn new(nodes: usize, mut edges: Vec<Edge<W>>) -> Self {
        // Stable, so that the same history gives the same cycle.
        edges.sort_by_key(|edge| edge.from);
        let mut starts = vec![0; nodes + 1];
        for edge in &edges {
            starts[edge.from as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        Self { edges, starts }
    }

    pub(super) fn edges(&self) -> usize {
        self.edges.len()
    }

    pub(super) fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// The edges that start at `node`.
    pub(super) fn from(&self, node: Tx) -> &[Edge<W>] {
        &self.edges[self.starts[node as usize]..self.starts[node as usize + 1]]
    }
}

pub(super) fn check(resolved: &Resolved<'_>, report: &mut Report, summary: &mut Summary) {
    let mut builder = Builder {
        resolved,
        edges: Vec::new(),
        report,
        found: Marks::new(resolved.keys.len()),
        last_writer: Marks::new(resolved.keys.len()),
    };
    for session in &resolved.sessions {
        builder.session(session);
    }
    let graph = Graph::new(resolved.history.transactions.len(), builder.edges);
    summary.edges = graph.edges();
    for cycle in cycle::cycles(&graph) {
        report.add(Kind::NotAtomic, || explain(resolved, &cycle));
    }
}

struct Builder<'a, 'r> {
    resolved: &'a Resolved<'a>,
    edges: Vec<Edge<Why>>,
    report: &'r mut Report,
    /// What the transaction whose turn it is read, by key.
    found: Marks<Option<Read>>,
    /// Who wrote a key last in the session whose turn it is.
    last_writer: Marks<Option<Tx>>,
}

impl Builder<'_, '_> {
    fn session(&mut self, session: &[Tx]) {
        let resolved = self.resolved;
        self.last_writer.next_turn();
        let mut previous = None;
        for &tx in session.iter().filter(|&&tx| resolved.judged[tx as usize]) {
            if let Some(from) = previous {
                self.edges.push(Edge { from, to: tx, why: Why::Precedes { via: Via::Session, read: 0 } });
            }
            self.reader(tx);
            // Nobody told the session that an unknown one committed, so what follows need not come after it.
            if resolved.effective[tx as usize] && resolved.transaction(tx).status == Status::Unknown {
                continue;
            }
            previous = Some(tx);
            if resolved.effective[tx as usize] {
                for &(key, _) in &resolved.writes[tx as usize] {
                    self.last_writer.set(key, Some(tx));
                }
            }
        }
    }

    fn reader(&mut self, reader: Tx) {
        let resolved = self.resolved;
        let reads = &resolved.reads[reader as usize];
        self.found.next_turn();
        for read in reads {
            self.found.set(read.key, Some(*read));
        }
        for read in reads {
            if let Some(before) = self.last_writer.get(read.key).flatten() {
                self.overwritten(before, reader, read, Via::Session);
            }
        }
        let mut from: Vec<(Tx, u32)> =
            reads.iter().filter_map(|read| read.from.map(|from| (from, read.op))).collect();
        from.sort_unstable();
        from.dedup_by_key(|&mut (from, _)| from);
        for (before, read) in from {
            self.predecessor(before, reader, read, Via::ReadsFrom);
        }
        for receipt in &resolved.transaction(reader).after {
            if let Some(&before) = resolved.winners.get(receipt).filter(|&&winner| winner != reader) {
                self.predecessor(before, reader, 0, Via::Receipt);
            }
        }
    }

    fn predecessor(&mut self, before: Tx, reader: Tx, read: u32, via: Via) {
        self.edges.push(Edge { from: before, to: reader, why: Why::Precedes { via, read } });
        let writes = &self.resolved.writes[before as usize];
        let reads = &self.resolved.reads[reader as usize];
        if writes.len() <= reads.len() {
            for &(key, _) in writes {
                if let Some(read) = self.found.get(key).flatten() {
                    self.overwritten(before, reader, &read, via);
                }
            }
        } else {
            for read in reads {
                if self.resolved.last_write(before, read.key).is_some() {
                    self.overwritten(before, reader, read, via);
                }
            }
        }
    }

    /// `before` is a direct predecessor of `reader` and writes what `read` read.
    fn overwritten(&mut self, before: Tx, reader: Tx, read: &Read, via: Via) {
        match read.from {
            Some(from) if from == before => {}
            Some(from) => {
                let why = Why::Overwritten { reader, read: read.op, via };
                self.edges.push(Edge { from: before, to: from, why });
            }
            None => {
                let resolved = self.resolved;
                self.report.add(Kind::NotAtomic, || {
                    let text = format!(
                        "{}, but {}; and {}",
                        resolved.operation(reader, read.op as usize),
                        seen(resolved, before, reader, via),
                        resolved.last_write_of(before, read.key),
                    );
                    (resolved.involved(&[reader, before]), text)
                });
            }
        }
    }
}

/// In words, how `reader` saw `before`.
fn seen(resolved: &Resolved<'_>, before: Tx, reader: Tx, via: Via) -> String {
    let [saw, name] = [reader, before].map(|tx| resolved.name(tx));
    match via {
        Via::Session => format!("{saw} is later in its session than {name}"),
        Via::Receipt => format!("{saw} began after the receipt of {name}"),
        Via::ReadsFrom => {
            let read = resolved.reads[reader as usize].iter().find(|read| read.from == Some(before));
            let read = read.map(|read| resolved.operation(reader, read.op as usize));
            format!("{} from {name}", read.unwrap_or_default())
        }
    }
}

fn explain(resolved: &Resolved<'_>, cycle: &[Edge<Why>]) -> (Vec<super::Involved>, String) {
    let mut text = String::from("no order of these transactions explains what they read:");
    let mut involved = Vec::new();
    let mut readers = Vec::new();
    for edge in cycle {
        involved.push(edge.from);
        let [from, to] = [edge.from, edge.to].map(|tx| resolved.name(tx));
        text += &match edge.why {
            Why::Precedes { via: Via::ReadsFrom, read } => {
                format!("\n  {from} before {to}: {}", resolved.operation(edge.to, read as usize))
            }
            Why::Precedes { via, .. } => {
                format!("\n  {from} before {to}: {}", seen(resolved, edge.from, edge.to, via))
            }
            Why::Overwritten { reader, read, via } => {
                let key = resolved.op_keys[reader as usize][read as usize];
                readers.push(reader);
                format!(
                    "\n  {from} before {to}: {} from {to}; but {}, and {}",
                    resolved.operation(reader, read as usize),
                    seen(resolved, edge.from, reader, via),
                    resolved.last_write_of(edge.from, key),
                )
            }
        };
    }
    readers.retain(|reader| !involved.contains(reader));
    readers.sort_unstable();
    readers.dedup();
    readers.extend(involved);
    (resolved.involved(&readers), text)
}
