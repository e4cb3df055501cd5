//! `aft log`.

use std::time::{Duration, UNIX_EPOCH};

use aft_core::CommitInfo;
use comfy_table::{ColumnConstraint, Table};
use serde::Serialize;

use crate::args::Log;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, table, time};
use crate::store::Store;

/// How many keys of a commit are shown to people.
const SHOWN: usize = 3;

/// A commit, for programs.
#[derive(Debug, Serialize)]
struct Entry {
    time: String,
    txn_id: String,
    version: String,
    /// Every key it wrote, sorted, and whether it deleted it.
    keys: Vec<Written>,
}

#[derive(Debug, Serialize)]
struct Written {
    key: Key,
    deleted: bool,
}

impl From<CommitInfo> for Entry {
    fn from(commit: CommitInfo) -> Self {
        let CommitInfo { txn_id, version, writes, .. } = commit;
        let written = |(key, deleted): (bytes::Bytes, bool)| Written { key: Key::from_bytes(key), deleted };
        Self {
            time: time(UNIX_EPOCH + Duration::from_millis(version.clock_ms())),
            txn_id: txn_id.to_string(),
            version: version.to_string(),
            keys: writes.into_iter().map(written).collect(),
        }
    }
}

impl Entry {
    fn keys(&self) -> String {
        let mut text = String::new();
        for Written { key, deleted } in self.keys.iter().take(SHOWN) {
            let (space, sign) = (if text.is_empty() { "" } else { "  " }, if *deleted { '-' } else { '+' });
            text.push_str(&format!("{space}{sign}{key}"));
        }
        match self.keys.len().saturating_sub(SHOWN) {
            0 => text,
            more => text + &format!("  and {more} more"),
        }
    }
}

pub(crate) async fn run(args: Log, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let entries: Vec<Entry> = aft.recent_commits(args.limit).into_iter().map(Entry::from).collect();
    if output.is_json() {
        return output.json(&serde_json::json!({ "commits": entries }));
    }
    if entries.is_empty() {
        output.note("no recent commits");
        return Ok(());
    }
    output.lines([lines(&entries).trim_fmt()])
}

fn lines(entries: &[Entry]) -> Table {
    let mut table = table(["time", "transaction", "keys (+ written, - deleted)"]);
    for entry in entries {
        table.add_row([&entry.time, &entry.txn_id, &entry.keys()]);
    }
    // An id is to be copied: it stays in one line, however narrow the terminal is.
    for column in 0..2 {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_one_line_however_narrow_the_terminal_is() {
        let id = "0198f3f4-0000-7000-8000-000000000000";
        let key = Written { key: Key::from_bytes("a key of several words that is long"), deleted: false };
        let entry = Entry {
            time: "2026-11-29T12:00:00.000Z".into(),
            txn_id: id.into(),
            version: String::new(),
            keys: vec![key],
        };
        let mut table = lines(&[entry]);
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(60);
        let shown = table.trim_fmt();
        assert!(shown.contains(id) && shown.contains("2026-11-29T12:00:00.000Z"), "{shown}");
    }

    #[test]
    fn a_few_keys_are_shown_and_the_rest_counted() {
        let entry = |count: usize| Entry {
            time: String::new(),
            txn_id: String::new(),
            version: String::new(),
            keys: (0..count)
                .map(|n| Written { key: Key::from_bytes(format!("k{n}")), deleted: n == 1 })
                .collect(),
        };
        assert_eq!(entry(2).keys(), "+k0  -k1");
        assert_eq!(entry(5).keys(), "+k0  -k1  +k2  and 2 more");
    }
}
