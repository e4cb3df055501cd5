//! `aft log`.

mod follow;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Aft, Clock, CommitInfo, Error, RecentCommit, SystemClock};
use comfy_table::{ColumnConstraint, Table};
use serde::Serialize;

use crate::args::Log;
use crate::failure::Failure;
use crate::key::{Key, Prefix};
use crate::output::{Output, table, time};
use crate::signals::interrupted;
use crate::store::Store;

/// How many commits are shown where nobody says it.
const LIMIT: usize = 20;
/// How many keys of a commit are shown to people.
const SHOWN: usize = 3;

/// A commit, for programs.
#[derive(Debug, Serialize)]
struct Entry {
    time: String,
    txn_id: String,
    version: String,
    decided_by: String,
    /// When other processes were told, by the store's clock; null where that is not known.
    published: Option<String>,
    /// The node that told them, where it is known.
    node: Option<String>,
    /// The sum of the lengths of the values.
    bytes: u64,
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
        let CommitInfo { txn_id, version, writes, decided_by, published, bytes, node, .. } = commit;
        let written = |(key, deleted): (bytes::Bytes, bool)| Written { key: Key::from_bytes(key), deleted };
        Self {
            time: time(UNIX_EPOCH + Duration::from_millis(version.clock_ms())),
            txn_id: txn_id.to_string(),
            version: version.to_string(),
            decided_by: decided_by.to_string(),
            published: published.map(time),
            node,
            bytes,
            keys: writes.into_iter().map(written).collect(),
        }
    }
}

/// Which commits are wanted.
#[derive(Debug)]
struct Wanted {
    /// The least clock of a version, in milliseconds since 1970.
    since_ms: u64,
    key: Option<Key>,
    prefix: Option<Prefix>,
    node: Option<String>,
}

impl Wanted {
    fn new(args: &Log) -> Self {
        let since = args.since.map(|since| since.moment(SystemClock::new().now()));
        let since_ms = since.map_or(0, millis);
        Self { since_ms, key: args.key.clone(), prefix: args.prefix.clone(), node: args.node.clone() }
    }

    fn wants(&self, commit: &RecentCommit) -> bool {
        commit.version().clock_ms() >= self.since_ms
            && self.key.as_ref().is_none_or(|key| commit.wrote(key.as_ref()))
            && self.prefix.as_ref().is_none_or(|prefix| commit.wrote_below(prefix.as_bytes()))
    }

    /// The first so many of these commits that are wanted.
    async fn of(
        &self,
        aft: &Aft,
        commits: impl Iterator<Item = RecentCommit>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let wanted = commits.filter(|commit| self.wants(commit));
        let Some(node) = &self.node else {
            return Ok(wanted.take(limit).map(|commit| commit.info().into()).collect());
        };
        let wanted: Vec<_> = wanted.collect();
        let nodes = aft.publishers(wanted.iter().map(RecentCommit::version)).await?;
        let of_node = wanted.into_iter().filter(|commit| nodes.get(&commit.version()) == Some(node));
        let entry = |commit: RecentCommit| Entry { node: Some(node.clone()), ..commit.info().into() };
        Ok(of_node.take(limit).map(entry).collect())
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
    let wanted = Wanted::new(&args);
    let limit = args.limit.unwrap_or(if args.since.is_some() { usize::MAX } else { LIMIT });
    let aft = store.open_to_read().await?;
    if args.follow {
        return tokio::select! {
            ended = follow::run(&aft, &wanted, limit, args.interval, output) => ended,
            () = interrupted() => Ok(()),
        };
    }
    let entries = wanted.of(&aft, aft.recent(), limit).await?;
    if output.is_json() {
        return output.json(&serde_json::json!({ "commits": entries }));
    }
    if entries.is_empty() {
        output.note("no recent commits");
    } else {
        output.lines([lines(&entries).trim_fmt()])?;
    }
    if let Some(horizon) = aft.store_info().horizon
        && args.since.is_some_and(|_| wanted.since_ms < millis(horizon))
    {
        let horizon = time(horizon);
        output.note(format!(
            "commits published before {horizon} are folded into the index: they are not known one by one"
        ));
    }
    Ok(())
}

fn millis(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
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

    fn empty() -> Entry {
        let none = String::new;
        let (published, node, bytes, keys) = (None, None, 0, Vec::new());
        Entry {
            time: none(),
            txn_id: none(),
            version: none(),
            decided_by: none(),
            published,
            node,
            bytes,
            keys,
        }
    }

    #[test]
    fn ids_are_in_one_line_however_narrow_the_terminal_is() {
        let id = "0198f3f4-0000-7000-8000-000000000000";
        let key = Written { key: Key::from_bytes("a key of several words that is long"), deleted: false };
        let entry =
            Entry { time: "2026-11-29T12:00:00.000Z".into(), txn_id: id.into(), keys: vec![key], ..empty() };
        let mut table = lines(&[entry]);
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(60);
        let shown = table.trim_fmt();
        assert!(shown.contains(id) && shown.contains("2026-11-29T12:00:00.000Z"), "{shown}");
    }

    #[test]
    fn a_few_keys_are_shown_and_the_rest_counted() {
        let entry = |count: usize| Entry {
            keys: (0..count)
                .map(|n| Written { key: Key::from_bytes(format!("k{n}")), deleted: n == 1 })
                .collect(),
            ..empty()
        };
        assert_eq!(entry(2).keys(), "+k0  -k1");
        assert_eq!(entry(5).keys(), "+k0  -k1  +k2  and 2 more");
    }
}
