//! `aft gc --explain`.

use serde_json::{Value, json};

use super::name;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, size, table, time};
use crate::store::Store;

/// Says of one object why it stays, or may go; without writing a byte.
pub(super) async fn run(path: String, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let explained = aft.explain_garbage(path).await?;
    let key = explained.key.as_ref().map(|key| Key::from_bytes(&**key));
    let fate = match (explained.bytes, explained.garbage) {
        (None, _) => "not there",
        (_, Some(_)) => "goes",
        (_, None) => "stays",
    };
    if output.is_json() {
        let class = explained.garbage.and_then(|kind| serde_json::to_value(kind).ok());
        return output.json(&json!({
            "object": explained.path, "what": explained.object, "txn_id": explained.txn_id, "key": key,
            "size": explained.bytes, "dated": explained.dated.map(time), "fate": fate.replace(' ', "_"),
            "class": class.unwrap_or(Value::Null), "why": explained.why, "until": explained.until.map(time),
            "now": explained.now.map(time), "settled_checkpoint": explained.settled_checkpoint,
            "left_out": explained.left_out,
        }));
    }
    let mut table = table(["object", &explained.path]);
    let mut row = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.add_row([name.to_owned(), value]);
        }
    };
    row("what it is", Some(explained.object));
    row("key", key.map(|key| key.to_string()));
    row("size", explained.bytes.map(size));
    row("dated", explained.dated.map(time));
    row(
        "a collection now",
        Some(explained.garbage.map_or(fate.to_owned(), |kind| format!("deletes it: {}", name(kind)))),
    );
    row("because", Some(explained.why));
    row("until, about", explained.until.map(time));
    row("the store's time", explained.now.map(time));
    output.lines([table.trim_fmt()])?;
    for left_out in &explained.left_out {
        output.note(format!("left out: {left_out}"));
    }
    Ok(())
}
