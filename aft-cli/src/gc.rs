//! `aft gc`.

mod explain;

use std::collections::BTreeMap;

use aft_core::{GarbageClass, GarbageKind, GarbageReport};
use comfy_table::CellAlignment;
use serde_json::{Map, Value, json};

use crate::args::Gc;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, count, size, table, thousands, time};
use crate::store::{self, Store};

/// What becomes of objects that are deleted where versions are kept.
const KEPT: &str = ", and kept by the bucket as noncurrent versions";
/// What to do where versions are kept.
pub(crate) const KEEPS_VERSIONS: &str = "the bucket keeps versions, so deleting frees nothing by itself: give it a lifecycle rule with \
                                         NoncurrentVersionExpiration and ExpiredObjectDeleteMarker, and none that expires current \
                                         versions (docs/operating.md)";

pub(crate) async fn run(args: Gc, store: &Store, output: &Output) -> Result<(), Failure> {
    if let Some(path) = args.explain {
        return explain::run(path, store, output).await;
    }
    let aft = if args.dry_run { store.open_to_read().await? } else { store.open_existing().await? };
    if !args.dry_run {
        let what = format!(
            "What no transaction can reach any more is deleted from {} (--dry-run says what that is).",
            store.shown()
        );
        output.confirm(what).await?;
    }
    let report = store.showing(output, "collecting", aft.collect_garbage(args.dry_run)).await?;
    let checkpoint = aft.store_info().checkpoint;
    store::close(aft, output).await;
    if output.is_json() {
        output.json(&json!({
            "dry_run": report.dry_run, "now": report.now.map(time), "checkpoint": checkpoint,
            "settled_checkpoint": report.settled_checkpoint, "objects": report.objects(),
            "classes": document(&report.classes), "left_out": report.left_out, "damaged": report.is_damaged,
            "keeps_versions": report.keeps_versions,
        }))?;
        return verdict(&report);
    }
    if report.classes.is_empty() {
        output.lines(["there is nothing that could be garbage"])?;
    } else {
        output.lines([lines(&report.classes, if report.dry_run { "would go" } else { "gone" })])?;
    }
    let verb = if report.dry_run { "would be deleted" } else { "deleted" };
    let objects = usize::try_from(report.objects()).unwrap_or(usize::MAX);
    let kept = if report.keeps_versions && objects > 0 { KEPT } else { "" };
    output.lines([format!("{} {verb}{kept}", count(objects, "object"))])?;
    // What is damaged is told with the verdict, in the end.
    for left_out in report.left_out.iter().filter(|_| !report.is_damaged) {
        output.note(format!("left out: {left_out}"));
    }
    if report.keeps_versions {
        output.note(format!("hint: {KEEPS_VERSIONS}"));
    }
    if checkpoint == 0 {
        output.note("hint: there is no checkpoint yet, and without one most things stay; make one with `aft checkpoint`");
    } else if report.settled_checkpoint.is_none() {
        output.note(
            "hint: no checkpoint is older yet than any transaction that may be running, and until then most things stay",
        );
    }
    verdict(&report)
}

/// Fails where something was left out because the store is damaged.
fn verdict(report: &GarbageReport) -> Result<(), Failure> {
    if !report.is_damaged {
        return Ok(());
    }
    let failure = Failure::new(
        Exit::BadStore,
        "some garbage was left out, since something in the store is missing or damaged",
    );
    Err(failure
        .items(report.left_out.iter().cloned())
        .advice("everything else was collected; `aft check` says what is wrong"))
}

/// What a class is called, in the words of its JSON name.
pub(crate) fn name(kind: GarbageKind) -> String {
    let name = serde_json::to_value(kind).ok();
    name.as_ref().and_then(Value::as_str).unwrap_or("other").replace('_', " ")
}

/// The classes as a table, each with why it goes.
fn lines(classes: &BTreeMap<GarbageKind, GarbageClass>, gone: &str) -> String {
    let mut table = table(["garbage", gone, "bytes", "kept", "why"]);
    for (kind, class) in classes {
        let why = if class.objects > 0 { kind.why() } else { "" };
        let bytes = if class.bytes > 0 { size(class.bytes) } else { String::new() };
        table.add_row([name(*kind), thousands(class.objects), bytes, thousands(class.kept), why.to_owned()]);
    }
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// The classes for programs, by name.
pub(crate) fn document(classes: &BTreeMap<GarbageKind, GarbageClass>) -> Map<String, Value> {
    let class = |(kind, class): (&GarbageKind, &GarbageClass)| {
        let name = serde_json::to_value(kind).ok()?.as_str()?.to_owned();
        let document = json!({
            "objects": class.objects, "bytes": class.bytes, "kept": class.kept, "why": kind.why(),
        });
        Some((name, document))
    };
    classes.iter().filter_map(class).collect()
}
