//! `aft txn` and `aft cancel`: what became of a transaction, and giving one up.

use aft_core::{Outcome, TxnId};
use serde_json::{Value, json};

use crate::args::{Cancel, Txn};
use crate::decision;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, put_bytes, size, table, time};
use crate::store::{self, Store};

/// The longest stored result that is shown to people.
const SHOWN: usize = 1024;

pub(crate) async fn show(args: Txn, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let told = aft.transaction(args.id).await?;
    let most = if args.all_keys { usize::MAX } else { decision::SHOWN };
    let now = decision::now(&aft, &told, most).await?;
    if output.is_json() {
        let mut document = document(args.id, &told.outcome);
        decision::put(&mut document, &told, &now);
        return output.json(&document);
    }
    let mut table = table(["transaction", &args.id.to_string()]);
    for (name, value) in rows(args.id, &told.outcome).into_iter().chain(decision::rows(&told)) {
        table.add_row([name, &value]);
    }
    let keys = told.decision.as_ref().filter(|decision| !decision.members.is_empty());
    let keys = keys.map(|it| format!("\n{}", decision::keys(it, &now)));
    output.lines([table.trim_fmt()].into_iter().chain(keys))
}

/// What became of a transaction, as rows for people.
pub(crate) fn rows(id: TxnId, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("started", time(id.started_at())),
        ("outcome", format!("{}: {}", name(outcome), meaning(outcome))),
    ];
    if let Outcome::Committed { receipt, result } = outcome {
        rows.push(("version", receipt.version().to_string()));
        rows.push(("receipt", receipt.to_string()));
        rows.push(("result", result.as_deref().map_or("none".to_owned(), shown)));
    }
    rows
}

pub(crate) async fn cancel(args: Cancel, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_existing().await?;
    let outcome = aft.cancel(args.id).await?;
    store::close(aft, output).await;
    let meaning = match &outcome {
        Outcome::Committed { .. } => "not cancelled: it had committed, and stays so",
        outcome => meaning(outcome),
    };
    output.done(&document(args.id, &outcome), format!("{}: {meaning}", name(&outcome)))
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed { .. } => "committed",
        Outcome::Aborted => "aborted",
        Outcome::Undecided => "undecided",
        Outcome::Forgotten => "forgotten",
    }
}

fn meaning(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed { .. } => "all that it wrote is there",
        Outcome::Aborted => "it did not commit and never will",
        Outcome::Undecided => "there is no decision; it may still commit, and `aft cancel` prevents that",
        Outcome::Forgotten => "it can no longer commit, and whether it once did is not recorded any more",
    }
}

/// The outcome, for programs.
pub(crate) fn document(id: TxnId, outcome: &Outcome) -> Value {
    let mut document = json!({
        "txn_id": id.to_string(), "started": time(id.started_at()), "outcome": name(outcome),
    });
    if let Outcome::Committed { receipt, result } = outcome {
        document["version"] = receipt.version().to_string().into();
        document["receipt"] = receipt.to_string().into();
        if let Some(result) = result {
            put_bytes(&mut document, "result", result);
        }
    }
    document
}

/// A stored result for people, spelled like a key: one line, whatever its bytes.
fn shown(result: &[u8]) -> String {
    match result.len() {
        0 => "empty".to_owned(),
        length if length > SHOWN => format!("{}; --json has it", size(length as u64)),
        _ => Key::from_bytes(result).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_one_line_whatever_it_holds() {
        assert_eq!(shown(b"two\nlines \xff"), "two\\x0alines \\xff");
        assert_eq!(shown(b""), "empty");
        assert_eq!(shown(&[b'x'; 2048]), "2.00 KiB; --json has it");
    }
}
