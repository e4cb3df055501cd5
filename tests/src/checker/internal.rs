//! Reads that are wrong by themselves, whatever the order of the transactions.

use super::report::{Kind, Report};
use super::resolve::{Marks, Read, Resolved, Source, Tx};
use crate::history::{Op, Status};

/// A read that is wrong, and the operation that shows it, if there is one.
#[derive(Debug)]
pub(super) struct Fault {
    kind: Kind,
    tx: Tx,
    op: u32,
    because: Option<Source>,
}

/// What a transaction did with a key so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Touched {
    own_write: Option<u32>,
    first_read: Option<u32>,
}

/// The first reads of each key that found what other transactions (or nobody) wrote; wrong ones go to `faults`.
///
/// A value of an aborted attempt or from thin air has no place in any order, so those reads are not returned; an
/// intermediate one is.
pub(super) fn reads(
    resolved: &Resolved<'_>,
    tx: Tx,
    touched: &mut Marks<Touched>,
    faults: &mut Vec<Fault>,
) -> Vec<Read> {
    touched.next_turn();
    let ops = &resolved.transaction(tx).ops;
    let mut reads = Vec::new();
    for (index, operation) in ops.iter().enumerate() {
        let op = index as u32;
        let key = resolved.op_keys[tx as usize][index];
        let so_far = touched.get(key).unwrap_or_default();
        let Op::Read { value, .. } = operation else {
            touched.set(key, Touched { own_write: Some(op), ..so_far });
            continue;
        };
        let (kind, because) = if let Some(own) = so_far.own_write {
            let Op::Write { value: written, .. } = &ops[own as usize] else { continue };
            let fault = (value.as_ref() != Some(written)).then_some(Kind::OwnWriteNotSeen);
            (fault, Some(Source { writer: tx, op: own }))
        } else if let Some(first) = so_far.first_read {
            let Op::Read { value: before, .. } = &ops[first as usize] else { continue };
            ((value != before).then_some(Kind::NonRepeatableRead), Some(Source { writer: tx, op: first }))
        } else {
            touched.set(key, Touched { first_read: Some(op), ..so_far });
            let source = value.as_deref().map(|value| resolved.source(key, value));
            let fault = fault_of_first_read(resolved, tx, key, source);
            if matches!(fault, None | Some(Kind::IntermediateRead)) {
                reads.push(Read { key, from: source.flatten().map(|source| source.writer), op });
            }
            (fault, source.flatten())
        };
        if let Some(kind) = kind {
            faults.push(Fault { kind, tx, op, because });
        }
    }
    reads
}

/// `source` is `None` for a read of nothing, `Some(None)` for a value that nobody wrote.
fn fault_of_first_read(
    resolved: &Resolved<'_>,
    tx: Tx,
    key: u32,
    source: Option<Option<Source>>,
) -> Option<Kind> {
    let Some(source) = source? else { return Some(Kind::ThinAirRead) };
    if source.writer == tx {
        return Some(Kind::FutureRead);
    }
    let writer = resolved.transaction(source.writer);
    if writer.status == Status::Aborted || writer.replayed {
        Some(Kind::AbortedRead)
    } else if resolved.last_write(source.writer, key) != Some(source.op) {
        Some(Kind::IntermediateRead)
    } else {
        None
    }
}

/// Reports the faults of the transactions that are judged.
pub(super) fn report(resolved: &Resolved<'_>, faults: &[Fault], report: &mut Report) {
    for &Fault { kind, tx, op, because } in faults.iter().filter(|fault| resolved.judged[fault.tx as usize]) {
        report.add(kind, || {
            let mut involved = vec![tx];
            let mut text = resolved.operation(tx, op as usize);
            match because {
                None => text += ", which nobody wrote",
                Some(source) => {
                    text += match kind {
                        Kind::OwnWriteNotSeen | Kind::NonRepeatableRead => ", but before that ",
                        Kind::FutureRead => ", but only later ",
                        Kind::IntermediateRead => ", which was overwritten at once: ",
                        _ => ", which never took effect: ",
                    };
                    text += &resolved.write_of(source);
                    if kind == Kind::IntermediateRead {
                        let key = resolved.op_keys[tx as usize][op as usize];
                        text += &format!(", then {}", resolved.last_write_of(source.writer, key));
                    }
                    if source.writer != tx {
                        involved.push(source.writer);
                    }
                }
            }
            (resolved.involved(&involved), text)
        });
    }
}
