//! `aft check`.

use aft_core::{CheckProblem, CheckProblemKind, CheckReport};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::gc;
use crate::output::{Output, count, size, table, thousands};
use crate::store::Store;

pub(crate) async fn run(store: &Store, output: &Output) -> Result<(), Failure> {
    let report = store.showing(output, "checking", store.check()).await?;
    if output.is_json() {
        output.json(&document(&report)?)?;
    } else {
        print(&report, output)?;
    }
    if report.is_clean() { Ok(()) } else { Err(failure(&report)) }
}

pub(crate) fn document(report: &CheckReport) -> Result<Value, Failure> {
    let mut document = serde_json::to_value(report).map_err(|cause| Failure::stdout(cause.into()))?;
    document["clean"] = report.is_clean().into();
    document["garbage"] = json!(gc::document(&report.garbage));
    Ok(document)
}

fn print(report: &CheckReport, output: &Output) -> Result<(), Failure> {
    let mut table = table(["verified", ""]);
    let counts = [
        ("checkpoints", report.manifests),
        ("files of the index", report.run_files),
        ("rows in them", report.rows),
        ("commits not in it yet", report.commits),
        ("commits the next sweep publishes", report.unpublished),
        ("decisions", report.decisions),
        ("feed objects", report.feed_objects),
        ("claims of requests", report.claims),
        ("guards", report.guards),
        ("values of their own", report.values),
    ];
    for (name, count) in counts {
        table.add_row([name.to_owned(), thousands(count)]);
    }
    table.add_row(["bytes read".to_owned(), size(report.bytes_read)]);
    output.lines([table.trim_fmt()])?;
    for (kind, class) in report.garbage.iter().filter(|(_, class)| class.objects > 0) {
        let objects = usize::try_from(class.objects).unwrap_or(usize::MAX);
        output.lines([format!(
            "garbage, for the next `aft gc`: {}, {}",
            gc::name(*kind),
            count(objects, "object")
        )])?;
    }
    for path in &report.orphans {
        output.lines([format!("nothing names {path}")])?;
    }
    if report.more_orphans > 0 {
        output.lines([format!("nothing names {} more objects", thousands(report.more_orphans))])?;
    }
    for left_out in &report.left_out {
        output.lines([format!("not checked: {left_out}")])?;
    }
    if report.is_clean() { output.lines(["nothing is missing, nothing is damaged"]) } else { Ok(()) }
}

pub(crate) fn failure(report: &CheckReport) -> Failure {
    let named = report.problems.iter().map(|CheckProblem { path, kind, what }| {
        let kind = match kind {
            CheckProblemKind::Missing => "missing",
            CheckProblemKind::Damaged => "damaged",
            CheckProblemKind::Unsupported => "another format version",
            CheckProblemKind::DatesChanged => "dates changed",
            CheckProblemKind::Unpublished => "unpublished",
            _ => "wrong",
        };
        format!("{kind}: {path}: {what}")
    });
    let more = (report.more_problems > 0).then(|| format!("and {} more", thousands(report.more_problems)));
    let problems = usize::try_from(report.problems.len() as u64 + report.more_problems).unwrap_or(usize::MAX);
    let lost = report.problems.iter().any(|problem| problem.kind == CheckProblemKind::Unpublished);
    let what = if lost { "missing, damaged or unpublished" } else { "missing or damaged" };
    let advice = if lost {
        "keys that do not need them can still be read and written; `aft sweep --all` publishes again what is decided and not published"
    } else {
        "keys that do not need them can still be read and written; the next process that writes replaces a damaged feed object; what else is damaged can only be put back from a copy with its date"
    };
    Failure::new(Exit::BadStore, format_args!("{} {what}", count(problems, "object")))
        .items(named.chain(more))
        .advice(advice)
}
