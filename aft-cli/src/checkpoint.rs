//! `aft checkpoint`.

use serde_json::json;

use crate::failure::Failure;
use crate::output::{Output, size, table, thousands, time};
use crate::store::{self, Store};

pub(crate) async fn run(store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_existing().await?;
    let report = store.showing(output, "folding", aft.checkpoint()).await?;
    store::close(aft, output).await;
    let horizon = report.horizon.map(time);
    if output.is_json() {
        return output.json(&json!({
            "number": report.number, "made": report.made, "horizon": horizon,
            "folded": report.folded, "recent": report.recent,
            "rows_written": report.rows_written, "bytes_written": report.bytes_written,
            "runs_merged": report.runs_merged, "runs": report.runs, "rows": report.rows,
            "tombstones_purged": report.tombstones_purged, "garbage": report.garbage,
        }));
    }
    if !report.made {
        return output.lines([format!("another process was faster: checkpoint {} is its", report.number)]);
    }
    let mut table =
        table(["checkpoint".to_owned(), report.number.to_string()].each_ref().map(String::as_str));
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("horizon", horizon.unwrap_or_else(|| "none".to_owned()));
    row("commits folded", thousands(report.folded));
    row("commits still recent", thousands(report.recent));
    row("rows written", thousands(report.rows_written));
    row("bytes written", size(report.bytes_written));
    row("runs merged", thousands(report.runs_merged));
    row("runs", thousands(report.runs));
    row("rows", thousands(report.rows));
    row("deletions purged", thousands(report.tombstones_purged));
    row("objects found to be garbage", thousands(report.garbage));
    output.lines([table.trim_fmt()])
}
