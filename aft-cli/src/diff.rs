//! `aft diff`: which keys differ between two versions.

use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Error, ErrorKind, KeyChange, KeyRange, Version, VersionInfo};
use comfy_table::{CellAlignment, ColumnConstraint};
use serde_json::{Value, json};

use crate::args::Diff;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, count, size, table, time};
use crate::point::Point;
use crate::store::Store;
use crate::versions;

pub(crate) async fn run(args: Diff, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let (from, to) = (args.from.version(&aft).await?, args.to.version(&aft).await?);
    if from > to {
        let message = format!("{} is newer than {}", args.from, args.to);
        return Err(Failure::usage(message).advice("name the older one first"));
    }
    let changes = match from.zip(to) {
        Some((from, to)) => {
            let changes = aft.changes(from, to, KeyRange::prefix(&args.prefix)).await;
            changes.map_err(|error| not_known(&args.from, error))?
        }
        // Nothing was ever committed.
        None => Vec::new(),
    };
    if output.is_json() {
        let changes: Vec<_> = changes.iter().map(document).collect();
        let text = |version: Option<Version>| version.map(|version| version.to_string());
        return output.json(&json!({
            "from": text(from), "to": text(to), "prefix": args.prefix, "changes": changes,
        }));
    }
    if changes.is_empty() {
        output.note("no key differs");
        return Ok(());
    }
    print(&changes, output)
}

fn not_known(from: &Point, error: Error) -> Failure {
    if error.kind() != ErrorKind::VersionUnavailable {
        return error.into();
    }
    let message = format!("what changed since {from} cannot be told");
    Failure::new(Exit::KeyNotFound, message)
        .because(error)
        .advice("`aft versions KEY` shows what is still known of one key")
}

/// What became of a key.
fn what(change: &KeyChange) -> &'static str {
    match &change.before {
        _ if change.after.deleted => "removed",
        None => "added",
        Some(_) => "changed",
    }
}

fn print(changes: &[KeyChange], output: &Output) -> Result<(), Failure> {
    let mut table = table(["", "before", "after", "key", "transaction", "decided"]);
    let shown = |version: Option<&VersionInfo>| version.map_or(String::new(), |it| size(it.bytes));
    for change in changes {
        let after = Some(&change.after).filter(|after| !after.deleted);
        table.add_row([
            what(change).to_owned(),
            shown(change.before.as_ref()),
            shown(after),
            Key::from_bytes(change.key.clone()).to_string(),
            change.after.version.txn_id().to_string(),
            versions::decided(&change.after),
        ]);
    }
    for column in [1, 2] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Ids are to be copied.
    if let Some(column) = table.column_mut(4) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
    let [added, removed, changed] =
        ["added", "removed", "changed"].map(|kind| changes.iter().filter(|it| what(it) == kind).count());
    let sum = format!("{}: {added} added, {removed} removed, {changed} changed", count(changes.len(), "key"));
    output.lines([table.trim_fmt(), sum])
}

/// A change, for programs.
fn document(change: &KeyChange) -> Value {
    let state = |it: &VersionInfo| json!({ "version": it.version.to_string(), "size": it.bytes });
    let decided = UNIX_EPOCH + Duration::from_millis(change.after.version.clock_ms());
    let after = Some(&change.after).filter(|after| !after.deleted);
    json!({
        "key": Key::from_bytes(change.key.clone()), "change": what(change), "before": change.before.as_ref().map(state),
        "after": after.map(state), "version": change.after.version.to_string(),
        "txn_id": change.after.version.txn_id().to_string(), "decided": time(decided),
    })
}
