//! `aft status`.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Aft, Cost, NodeInfo};
use comfy_table::CellAlignment;
use serde_json::{Map, Value, json};

use crate::args::Status;
use crate::failure::Failure;
use crate::gc;
use crate::output::{Output, count, size, table, thousands, time, wrapped};
use crate::store::Store;
use crate::survey::warnings::{self, Warning};
use crate::survey::{MINUTES, Scan, Survey, about, ahead, since};

/// How many nodes are shown to people, and to programs.
const SHOWN: usize = 10;
const SHOWN_JSON: usize = 1000;
/// How wide the column of names is.
const NAME: usize = 24;

/// All that is told.
struct Told<'a> {
    store: &'a Store,
    survey: &'a Survey,
    scan: Option<&'a Scan>,
    warnings: &'a [Warning],
    settings: Map<String, Value>,
    requests: Cost,
}

pub(crate) async fn run(args: Status, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let survey = Survey::of(&aft).await?;
    let scan = if args.scan { Some(Scan::of(store, &aft, |_| {}).await?) } else { None };
    let warnings = warnings::of(&survey, scan.as_ref());
    let mut requests = aft.stats().requests;
    // The census is not the node's.
    requests.lists += u64::from(args.scan);
    let (scan, settings) = (scan.as_ref(), settings(&aft)?);
    let told = Told { store, survey: &survey, scan, warnings: &warnings, settings, requests };
    if output.is_json() { output.json(&told.document()) } else { output.lines([told.text()]) }
}

impl Told<'_> {
    fn document(&self) -> Value {
        let (survey, info) = (self.survey, &self.survey.info);
        let kind = if survey.is_light() { "light" } else { "full" };
        let mut commits = Map::new();
        for (minutes, rate) in MINUTES.iter().zip(survey.rates()) {
            commits.insert(minutes.to_string(), json!(rate));
        }
        json!({
            "store": self.store.shown(), "store_id": info.store_id, "format_version": info.format_version,
            "recent_commits": survey.stats.recent_commits, "recent_keys": survey.stats.recent_keys,
            "newest_commit": info.newest.map(|version| time(UNIX_EPOCH + Duration::from_millis(version.clock_ms()))),
            "newest_version": info.newest.map(|version| version.to_string()),
            "swept_through": info.swept_through.map(time), "checkpoint": info.checkpoint, "horizon": info.horizon.map(time),
            "runs": info.runs, "rows": info.rows, "settings": self.settings, "requests": self.requests,
            "commits_a_minute": commits, "nodes_heard": survey.nodes.len(),
            "nodes": survey.nodes.iter().take(SHOWN_JSON).map(node).collect::<Vec<_>>(),
            "checkpoint_kind": (info.checkpoint > 0).then_some(kind), "checkpoint_made": info.checkpoint_made.map(time),
            "full_checkpoint_made": info.full_checkpoint_made.map(time), "lag_seconds": survey.lag().map(|lag| lag.as_secs()),
            "tombstones": info.tombstones, "index_bytes": info.index_bytes, "stored_bytes": info.stored_bytes,
            "listed_garbage": info.listed_garbage, "keeps_versions": info.keeps_versions,
            "scan": self.scan.map(scan), "warnings": self.warnings,
        })
    }

    fn text(&self) -> String {
        let mut text = Groups::default();
        text.group("store");
        text.row("url", self.store.shown());
        text.row("store id", &self.survey.info.store_id);
        text.row("format version", self.survey.info.format_version);
        self.commits(&mut text);
        self.checkpoint(&mut text);
        if let Some(scan) = self.scan {
            scanned(&mut text, scan);
        }
        self.nodes(&mut text);
        text.group("settings");
        for (name, value) in &self.settings {
            text.row(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        text.group("requests for this");
        let Cost { gets, range_gets, lists, creates, .. } = self.requests;
        let kinds = format!("get {gets}, range {range_gets}, list {lists}, create {creates}");
        text.row("in all", format!("{} ({kinds})", self.requests.requests()));
        text.group(if self.warnings.is_empty() { "no warnings" } else { "warnings" });
        for warning in self.warnings {
            text.block(&format!("{}. To do: {}.", warning.what, warning.advice));
        }
        text.0.trim_end().to_owned()
    }

    fn commits(&self, text: &mut Groups) {
        let (survey, stats) = (self.survey, &self.survey.stats);
        text.group("commits");
        text.row("recent commits", thousands(stats.recent_commits));
        text.row("keys in them", thousands(stats.recent_keys));
        let rates: Vec<_> =
            survey.rates().into_iter().zip(MINUTES).map(|(rate, minutes)| rated(rate, minutes)).collect();
        text.row("commits a minute", rates.join(", "));
        let newest = survey.info.newest.map(|version| UNIX_EPOCH + Duration::from_millis(version.clock_ms()));
        text.row("newest commit", self.moment(newest));
        text.row("swept through", self.moment(survey.info.swept_through));
    }

    fn checkpoint(&self, text: &mut Groups) {
        let info = &self.survey.info;
        text.group("checkpoint");
        if info.checkpoint == 0 {
            text.row("checkpoint", "none");
            return;
        }
        let kind = if self.survey.is_light() { "light: it folds nothing" } else { "full" };
        text.row("checkpoint", format!("{} ({kind})", info.checkpoint));
        text.row("made", self.moment(info.checkpoint_made));
        if self.survey.is_light() {
            text.row("last full one", self.moment(info.full_checkpoint_made));
        }
        text.row("horizon", info.horizon.map_or("none".to_owned(), time));
        text.row("lag of the index", self.survey.lag().map_or("none".to_owned(), about));
        text.row("sorted runs", thousands(info.runs));
        text.row(
            "rows in them",
            format!(
                "{}, deletions {} (of keys at most as many)",
                thousands(info.rows),
                thousands(info.tombstones)
            ),
        );
        let (index, values) = (size(info.index_bytes), size(info.stored_bytes));
        text.row("bytes", format!("{index} of keys and small values, {values} of other values"));
        let garbage = usize::try_from(info.listed_garbage).unwrap_or(usize::MAX);
        text.row("garbage it found", count(garbage, "object"));
    }

    fn nodes(&self, text: &mut Groups) {
        let nodes = &self.survey.nodes;
        text.group(&format!("nodes heard of in the last 15 minutes: {}", thousands(nodes.len() as u64)));
        if nodes.is_empty() {
            return;
        }
        let mut table = table(["node", "last heard of", "published", "commits", "clock"]);
        for node in nodes.iter().take(SHOWN) {
            let clock = node.clock_ahead_ms.map_or("not known".to_owned(), ahead);
            let last = format!("{} ago", about(since(self.survey.now, node.last)));
            table.add_row([node.node.clone(), last, thousands(node.objects), thousands(node.commits), clock]);
        }
        for column in 2..5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in table.trim_fmt().lines() {
            text.line(line);
        }
        if nodes.len() > SHOWN {
            text.line(&format!("and {} more", thousands((nodes.len() - SHOWN) as u64)));
        }
    }

    /// A moment, and how long ago that is.
    fn moment(&self, moment: Option<SystemTime>) -> String {
        let shown = |moment| format!("{} ({} ago)", time(moment), about(since(self.survey.now, moment)));
        moment.map_or("none".to_owned(), shown)
    }
}

/// What a scan found, for people.
fn scanned(text: &mut Groups, scan: &Scan) {
    text.group("counted exactly");
    text.row("keys", thousands(scan.keys));
    text.row("bytes of their values", size(scan.value_bytes));
    let waiting =
        if scan.unpublished.is_empty() { "" } else { " (those of the last seconds are on their way)" };
    text.row("unpublished decisions", format!("{}{waiting}", thousands(scan.unpublished.len() as u64)));
    let all = scan.census.all;
    text.group(&format!("objects: {}, {}", thousands(all.objects), size(all.bytes)));
    for (class, tally) in &scan.census.classes {
        text.row(class, format!("{}, {}", thousands(tally.objects), size(tally.bytes)));
    }
    text.group(&format!("garbage, for the next `aft gc`: {}", thousands(scan.garbage.objects())));
    for (kind, class) in scan.garbage.classes.iter().filter(|(_, class)| class.objects > 0) {
        let bytes = if class.bytes > 0 { format!(", {}", size(class.bytes)) } else { String::new() };
        text.row(&gc::name(*kind), format!("{}{bytes}: {}", thousands(class.objects), kind.why()));
    }
}

/// What a scan found, for programs.
fn scan(scan: &Scan) -> Value {
    let unpublished: Vec<_> = scan.unpublished.iter().take(SHOWN_JSON).map(ToString::to_string).collect();
    json!({
        "keys": scan.keys, "value_bytes": scan.value_bytes, "classes": scan.census.classes,
        "objects": scan.census.all.objects, "bytes": scan.census.all.bytes,
        "garbage": gc::document(&scan.garbage.classes), "garbage_objects": scan.garbage.objects(),
        "left_out": scan.garbage.left_out, "damaged": scan.garbage.is_damaged,
        "unpublished": scan.unpublished.len(), "unpublished_ids": unpublished,
    })
}

/// A node, for programs.
fn node(node: &NodeInfo) -> Value {
    json!({
        "node": node.node, "objects": node.objects, "commits": node.commits, "last": time(node.last),
        "last_named": time(node.last_named), "clock_ahead_ms": node.clock_ahead_ms,
    })
}

/// `12 (in 5 minutes)`.
fn rated(rate: Option<f64>, minutes: u64) -> String {
    let over = if minutes == 1 { "the last one".to_owned() } else { minutes.to_string() };
    match rate {
        None => format!("? over {over}"),
        Some(rate) if rate.fract() == 0.0 => format!("{rate:.0} over {over}"),
        Some(rate) => format!("{rate:.1} over {over}"),
    }
}

/// Rows in groups, each with a line above.
#[derive(Debug, Default)]
struct Groups(String);

impl Groups {
    fn group(&mut self, name: &str) {
        let between = if self.0.is_empty() { "" } else { "\n" };
        self.0.push_str(&format!("{between}{name}\n"));
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(&format!("  {}\n", line.trim_end()));
    }

    fn row(&mut self, name: &str, value: impl Display) {
        self.line(&format!("{name:<NAME$}  {value}"));
    }

    /// A text of several lines.
    fn block(&mut self, text: &str) {
        for (at, line) in wrapped(text, 100).lines().enumerate() {
            self.line(&format!("{} {line}", if at == 0 { '-' } else { ' ' }));
        }
    }
}

/// The settings in force, durations as text.
fn settings(aft: &Aft) -> Result<Map<String, Value>, Failure> {
    let settings = serde_json::to_value(aft.config()).map_err(|cause| Failure::stdout(cause.into()))?;
    let Value::Object(mut fields) = settings else { return Ok(Map::new()) };
    for value in fields.values_mut() {
        if let Ok(duration) = serde_json::from_value::<Duration>(value.clone()) {
            *value = humantime::format_duration(duration).to_string().into();
        }
    }
    Ok(fields)
}
