//! How messages name transactions and operations.

use super::{Resolved, Source, Tx};
use crate::checker::report::Involved;
use crate::history::{Op, Status, Version};

impl Resolved<'_> {
    pub(in crate::checker) fn involved(&self, transactions: &[Tx]) -> Vec<Involved> {
        let involved = |&tx: &Tx| {
            let transaction = self.transaction(tx);
            Involved {
                session: transaction.session.clone(),
                index: self.place[tx as usize] as usize,
                id: transaction.id,
                position: tx as usize,
            }
        };
        transactions.iter().map(involved).collect()
    }

    /// Such as `n3/c1#4 [id 1f, attempt 2 on n3, version 17.1f, unknown]`; plain `n3/c1#4` where no more is known.
    pub(in crate::checker) fn name(&self, tx: Tx) -> String {
        let transaction = self.transaction(tx);
        let mut more = Vec::new();
        if transaction.id != 0 {
            more.push(format!("id {:x}", transaction.id));
        }
        if transaction.attempt != 0 || !transaction.node.is_empty() {
            more.push(format!("attempt {} on {}", transaction.attempt, transaction.node));
        }
        if let Some(version) = self.version[tx as usize].or(transaction.version) {
            more.push(format!("version {}", version_text(version)));
        }
        match transaction.status {
            Status::Committed if transaction.replayed => more.push("replayed".into()),
            Status::Committed => {}
            Status::Aborted => more.push("aborted".into()),
            Status::Unknown => more.push("unknown".into()),
        }
        let name = format!("{}#{}", transaction.session, self.place[tx as usize]);
        if more.is_empty() { name } else { format!("{name} [{}]", more.join(", ")) }
    }

    /// Such as `n3/c1#4 reads x = "v7" (operation 2)`.
    pub(in crate::checker) fn operation(&self, tx: Tx, op: usize) -> String {
        let said = match &self.transaction(tx).ops[op] {
            Op::Write { key, value } => format!("writes {key} = {value:?}"),
            Op::Read { key, value: Some(value), version } => {
                let version = version.map(|version| format!(" at version {}", version_text(version)));
                format!("reads {key} = {value:?}{}", version.unwrap_or_default())
            }
            Op::Read { key, value: None, .. } => format!("reads {key} as never written"),
        };
        format!("{} {said} (operation {op})", self.name(tx))
    }

    pub(in crate::checker) fn write_of(&self, source: Source) -> String {
        self.operation(source.writer, source.op as usize)
    }

    /// The last write of `key` by `tx`, in words.
    pub(in crate::checker) fn last_write_of(&self, tx: Tx, key: u32) -> String {
        match self.last_write(tx, key) {
            Some(op) => self.operation(tx, op as usize),
            None => format!("{} does not write {}", self.name(tx), self.keys[key as usize]),
        }
    }
}

/// Such as `17.1f`, or `absent`.
pub(in crate::checker) fn version_text(version: Version) -> String {
    if version == Version::ABSENT { "absent".into() } else { format!("{}.{:x}", version.0, version.1) }
}
