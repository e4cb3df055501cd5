//! `aft clone`.

use std::sync::Arc;

use aft_core::{CloneOptions, CloneReport};

use crate::args::CloneTo;
use crate::check;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, count, size, table, thousands};
use crate::progress::Progress;
use crate::store::{self, Store};

pub(crate) async fn run(args: CloneTo, store: &Store, output: &Output) -> Result<(), Failure> {
    let place = Store::find(Some(&args.place))?;
    let aft = if args.checkpoint { store.open_existing().await? } else { store.open_to_read().await? };
    let bar = Arc::new(Progress::of_bytes(output.is_json(), "cloning", Some(0)));
    let shown = Arc::clone(&bar);
    let options = CloneOptions {
        checkpoint: args.checkpoint,
        check: args.check,
        progress: Some(Arc::new(move |progress| shown.reach_of(progress.bytes, progress.bytes_known))),
    };
    let made = aft.clone_to(place.storage()?, options).await;
    drop(bar);
    let report = made.map_err(|error| {
        Failure::from(error).within(format!("cannot clone the store {} to {}", store.shown(), place.shown()))
    })?;
    store::close(aft, output).await;
    if output.is_json() {
        let mut document = serde_json::to_value(&report).map_err(|cause| Failure::stdout(cause.into()))?;
        if let Some(checked) = &report.check {
            document["check"] = check::document(checked)?;
        }
        output.json(&document)?;
    } else {
        print(&report, &place.shown(), output)?;
    }
    verdict(&report)
}

fn print(report: &CloneReport, place: &str, output: &Output) -> Result<(), Failure> {
    let mut table = table(["clone", place]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    let copied = |copied, kept| format!("{} copied, {} there before", thousands(copied), thousands(kept));
    row("store id", report.store_id.clone());
    row("of checkpoint", report.source_checkpoint.to_string());
    row("commits beyond it", thousands(report.commits));
    row("rows of the index", thousands(report.rows));
    row("files of the index", copied(report.files_copied, report.files_kept));
    row("values of their own", copied(report.values_copied, report.values_kept));
    row("decisions", copied(report.decisions_copied, report.decisions_kept));
    row("claims of requests", copied(report.claims_copied, report.claims_kept));
    row("bytes copied", size(report.bytes_copied));
    row("objects of the clone before, deleted", thousands(report.deleted));
    output.lines([table.trim_fmt()])?;
    match &report.check {
        Some(checked) if checked.is_clean() => {
            output.lines(["checked: nothing is missing, nothing is damaged"])
        }
        _ => Ok(()),
    }
}

/// Fails where the clone lacks anything.
fn verdict(report: &CloneReport) -> Result<(), Failure> {
    if let Some(checked) = report.check.as_ref().filter(|checked| !checked.is_clean()) {
        return Err(check::failure(checked));
    }
    if report.left_out.is_empty() {
        return Ok(());
    }
    let objects = count(report.left_out.len(), "object");
    Err(Failure::new(Exit::BadStore, format_args!("the clone was made, without {objects} of the source that cannot be read"))
        .items(report.left_out.iter().cloned())
        .advice("they are outcomes of transactions; whether such a transaction committed is not known, and if it was not published its writes are missing"))
}
