//! `aft request`: which transaction a request key leads to.

use aft_core::Outcome;
use serde_json::json;

use crate::args::Request;
use crate::decision;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table, time};
use crate::store::Store;
use crate::txn;

pub(crate) async fn run(args: Request, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let Some(request) = aft.request(&args.key).await? else {
        let message = format!("no request of the key {} is known", args.key);
        let advice = "it was never used, or is forgotten; the next attempt under it begins a transaction";
        return Err(Failure::new(Exit::KeyNotFound, message).advice(advice));
    };
    let kept_until = request.kept_until.map(time);
    if output.is_json() {
        let mut document = txn::document(request.transaction.txn_id, &request.transaction.outcome);
        decision::put(&mut document, &request.transaction, &[]);
        let claim = json!({
            "object": request.object, "number": request.number, "dated": time(request.claimed), "has_input": request.has_input,
        });
        document["request_key"] = args.key.to_string().into();
        document["claim"] = claim;
        document["kept_until"] = kept_until.into();
        return output.json(&document);
    }
    let mut table = table(["request", &args.key.to_string()]);
    let input = if request.has_input { ", for one input" } else { "" };
    let given_up = match request.number {
        0 => String::new(),
        1 => ", after one that can never commit".to_owned(),
        number => format!(", after {number} that can never commit"),
    };
    table.add_row(["claimed".to_owned(), format!("{}{input}{given_up}", time(request.claimed))]);
    table.add_row(["claim".to_owned(), request.object.clone()]);
    table.add_row(["transaction".to_owned(), request.transaction.txn_id.to_string()]);
    for (name, value) in txn::rows(request.transaction.txn_id, &request.transaction.outcome) {
        table.add_row([name.to_owned(), value]);
    }
    if let Some(kept_until) = kept_until {
        table.add_row(["remembered".to_owned(), format!("until {kept_until} at least")]);
    }
    table.add_row(["next attempt", next_attempt(&request.transaction.outcome)]);
    output.lines([table.trim_fmt()])
}

/// What whoever comes next under the key gets.
fn next_attempt(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed { .. } => "gets this result, and commits nothing",
        Outcome::Undecided => {
            "goes on under this id; where that is older than transaction_lifetime, aborts it and begins a new transaction"
        }
        Outcome::Aborted | Outcome::Forgotten => "begins a new transaction",
    }
}
