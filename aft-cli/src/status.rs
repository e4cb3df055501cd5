//! `aft status`.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::output::{Output, table, thousands, time};
use crate::store::Store;

pub(crate) async fn run(store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let (info, stats, settings) = (aft.store_info(), aft.stats(), settings(&aft)?);
    let newest = info.newest.map(|version| time(UNIX_EPOCH + Duration::from_millis(version.clock_ms())));
    let swept = info.swept_through.map(time);
    let horizon = info.horizon.map(time);
    if output.is_json() {
        return output.json(&json!({
            "store": store.shown(), "store_id": info.store_id, "format_version": info.format_version,
            "recent_commits": stats.recent_commits, "recent_keys": stats.recent_keys,
            "newest_commit": newest, "newest_version": info.newest.map(|version| version.to_string()),
            "swept_through": swept, "checkpoint": info.checkpoint, "horizon": horizon,
            "runs": info.runs, "rows": info.rows, "settings": settings, "requests": stats.requests,
        }));
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let requests = stats.requests;
    let mut table = table(["store", &store.shown()]);
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("store id", info.store_id);
    row("format version", info.format_version.to_string());
    row("checkpoint", or_none((info.checkpoint > 0).then(|| info.checkpoint.to_string())));
    row("horizon", or_none(horizon));
    row("sorted runs", thousands(info.runs));
    row("rows in them", thousands(info.rows));
    row("newest commit", or_none(newest));
    row("recent commits", thousands(stats.recent_commits));
    row("keys in them", thousands(stats.recent_keys));
    row("swept through", or_none(swept));
    row(
        "requests for this",
        format!(
            "{} (get {}, range {}, list {}, create {})",
            requests.requests(),
            requests.gets,
            requests.range_gets,
            requests.lists,
            requests.creates
        ),
    );
    for (name, value) in settings {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        row(&name, text);
    }
    output.lines([table.trim_fmt()])
}

/// The settings in force, durations as text.
fn settings(aft: &aft_core::Aft) -> Result<Map<String, Value>, Failure> {
    let settings = serde_json::to_value(aft.config()).map_err(|cause| Failure::stdout(cause.into()))?;
    let Value::Object(mut fields) = settings else { return Ok(Map::new()) };
    for value in fields.values_mut() {
        if let Ok(duration) = serde_json::from_value::<Duration>(value.clone()) {
            *value = humantime::format_duration(duration).to_string().into();
        }
    }
    Ok(fields)
}
