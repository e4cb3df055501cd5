//! `aft versions`.

use std::time::{Duration, UNIX_EPOCH};

use aft_core::VersionInfo;
use comfy_table::ColumnConstraint;
use serde_json::{Value, json};

use crate::args::Versions;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, size, table, time};
use crate::store::Store;

pub(crate) async fn run(args: Versions, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let versions = aft.versions(&args.key).await?;
    if versions.is_empty() {
        let message = format!("no version of the key {} is known", args.key);
        return Err(Failure::new(Exit::KeyNotFound, message));
    }
    if output.is_json() {
        let versions: Vec<_> = versions.iter().map(document).collect();
        return output.json(&json!({ "key": args.key, "versions": versions }));
    }
    let mut table = table(["decided", "transaction", "value", "told others", "keys", "object"]);
    for version in &versions {
        table.add_row(row(version));
    }
    // Ids and paths are to be copied.
    for column in [0, 1, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let now = match &versions[0] {
        newest if newest.deleted => {
            "a reader finds no such key now: the newest version deleted it".to_owned()
        }
        newest => format!("a reader gets the newest now: {}", size(newest.bytes)),
    };
    output.lines([table.trim_fmt(), now])
}

pub(crate) fn decided(version: &VersionInfo) -> String {
    time(UNIX_EPOCH + Duration::from_millis(version.version.clock_ms()))
}

fn row(version: &VersionInfo) -> [String; 6] {
    let value = if version.deleted { "deleted".to_owned() } else { size(version.bytes) };
    let (told, keys) = match &version.recent {
        None => ("folded".to_owned(), String::new()),
        Some(recent) => (recent.published.map_or("not yet".to_owned(), time), recent.keys.to_string()),
    };
    [decided(version), version.version.txn_id().to_string(), value, told, keys, version.object.clone()]
}

/// A version, for programs.
pub(crate) fn document(version: &VersionInfo) -> Value {
    let mut document = json!({
        "version": version.version.to_string(), "decided": decided(version), "txn_id": version.version.txn_id().to_string(),
        "deleted": version.deleted, "size": version.bytes, "object": version.object, "folded": version.recent.is_none(),
    });
    if let Some(recent) = &version.recent {
        document["decided_by"] = recent.decided_by.to_string().into();
        document["published"] = recent.published.map(time).into();
        document["keys"] = recent.keys.into();
    }
    document
}
