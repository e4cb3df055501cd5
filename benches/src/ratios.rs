//! Ratios from what criterion measured: the median of aft over the median of the plain alternative.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::counts::Row;

/// The order of the groups in the table; others come after them.
const GROUPS: [&str; 6] =
    ["commit", "16 commits at once", "get", "get with so many keys in the view", "scan", "open"];
/// The order of the columns.
const BACKENDS: [&str; 3] = ["memory", "files", "s3"];

/// `benchmark.json`.
#[derive(Debug, Deserialize)]
struct Name {
    group_id: String,
    function_id: Option<String>,
    value_str: Option<String>,
}

/// `estimates.json`.
#[derive(Debug, Deserialize)]
struct Estimates {
    median: Median,
}

/// A median with its interval, in nanoseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Median {
    /// The median.
    pub point_estimate: f64,
    /// What it lies in, with 95 % confidence.
    pub confidence_interval: Interval,
}

/// An interval, in nanoseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Interval {
    /// From here.
    pub lower_bound: f64,
    /// To here.
    pub upper_bound: f64,
}

/// A line of the table: the group, the shape and the function.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    rank: usize,
    group: String,
    /// The numbers in the shape, so that 10 comes after 2.
    size: Vec<u64>,
    shape: String,
    function: String,
}

/// A cell: aft and the plain alternative.
#[derive(Debug, Clone, Copy)]
struct Cell {
    aft: Median,
    plain: Median,
}

/// What criterion has measured so far.
#[derive(Debug, Default)]
pub struct Measured {
    cells: BTreeMap<(Line, usize), Cell>,
}

impl Measured {
    /// Reads criterion's folder.
    ///
    /// # Errors
    /// Where a file cannot be read or is not criterion's.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut medians = BTreeMap::new();
        for found in results(folder)? {
            let name: Name = serde_json::from_slice(&std::fs::read(found.join("benchmark.json"))?)?;
            let estimates: Estimates = serde_json::from_slice(&std::fs::read(found.join("estimates.json"))?)?;
            let key =
                (name.group_id, name.value_str.unwrap_or_default(), name.function_id.unwrap_or_default());
            medians.insert(key, estimates.median);
        }
        let mut cells = BTreeMap::new();
        for ((group, shape, function), aft) in &medians {
            let plain = medians.get(&(group.clone(), shape.clone(), "plain".to_owned()));
            let (Some((name, backend)), Some(plain)) = (group.split_once('/'), plain) else { continue };
            let Some(column) = BACKENDS.iter().position(|known| *known == backend) else { continue };
            if function != "plain" {
                cells.insert((Line::new(name, shape, function), column), Cell { aft: *aft, plain: *plain });
            }
        }
        Ok(Self { cells })
    }

    /// The ratios as a Markdown table: one line per operation, one column per backend.
    #[must_use]
    pub fn ratios(&self) -> String {
        self.table(|cell| {
            let (aft, plain) = (cell.aft.confidence_interval, cell.plain.confidence_interval);
            let low = aft.lower_bound / plain.upper_bound;
            let high = aft.upper_bound / plain.lower_bound;
            let ratio = cell.aft.point_estimate / cell.plain.point_estimate;
            format!("**{}** ({}–{})", number(ratio), number(low), number(high))
        })
    }

    /// The medians behind the ratios, aft's and the plain one.
    #[must_use]
    pub fn medians(&self) -> String {
        self.table(|cell| format!("{} / {}", time(cell.aft.point_estimate), time(cell.plain.point_estimate)))
    }

    fn table(&self, show: impl Fn(&Cell) -> String) -> String {
        let used = |column: &usize| self.cells.keys().any(|(_, at)| at == column);
        let columns: Vec<_> = (0..BACKENDS.len()).filter(used).collect();
        let mut table = String::from("| operation | what | aft |");
        table.extend(columns.iter().map(|column| format!(" {} |", BACKENDS[*column])));
        table.push_str("\n|---|---|---|");
        table.extend(columns.iter().map(|_| "---|"));
        table.push('\n');
        let mut lines: Vec<_> = self.cells.keys().map(|(line, _)| line).collect();
        lines.dedup();
        for line in lines {
            let how = line.function.strip_prefix("aft").unwrap_or(&line.function).trim();
            let _ = write!(table, "| {} | {} | {how} |", line.group, line.shape);
            for column in &columns {
                let cell = self.cells.get(&(line.clone(), *column)).map_or_else(String::new, &show);
                let _ = write!(table, " {cell} |");
            }
            table.push('\n');
        }
        table
    }
}

impl Line {
    fn new(group: &str, shape: &str, function: &str) -> Self {
        let rank = GROUPS.iter().position(|known| *known == group).unwrap_or(GROUPS.len());
        let words = || shape.split(|c: char| !c.is_ascii_digit());
        let mut size: Vec<u64> = words().filter_map(|word| word.parse().ok()).collect();
        if let Some(last) = size.last_mut().filter(|_| shape.ends_with("KiB")) {
            *last *= 1024;
        }
        Self { rank, group: group.to_owned(), size, shape: shape.to_owned(), function: function.to_owned() }
    }
}

/// The folders below `folder` that hold a result.
fn results(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                continue;
            }
            match entry.file_name() == "new" {
                true if entry.path().join("benchmark.json").exists() => found.push(entry.path()),
                true => {}
                false => left.push(entry.path()),
            }
        }
    }
    Ok(found)
}

/// Three digits are more than a noisy machine is good for.
fn number(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 100.0 => format!("{ratio:.0}"),
        ratio if ratio >= 10.0 => format!("{ratio:.1}"),
        ratio if ratio >= 0.1 => format!("{ratio:.2}"),
        ratio => format!("{ratio:.3}"),
    }
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e6 => format!("{:.1} ms", ns / 1e6),
        ns if ns >= 1e3 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{ns:.0} ns"),
    }
}

/// Request counts as a Markdown table.
#[must_use]
pub fn count_table(rows: &[Row]) -> String {
    let mut table =
        String::from("| operation | aft: requests | written | read | plain |\n|---|---|---|---|---|\n");
    for Row { operation, aft, plain } in rows {
        let kinds = [
            (aft.creates, "create"),
            (aft.gets, "get"),
            (aft.range_gets, "ranged get"),
            (aft.lists, "list"),
            (aft.deletes, "delete"),
        ];
        let some = kinds.into_iter().filter(|(n, _)| *n > 0);
        let some = some.map(|(n, kind)| format!("{n} {kind}{}", if n == 1 { "" } else { "s" }));
        let requests = some.collect::<Vec<_>>().join(", ");
        let requests = if requests.is_empty() { "0".to_owned() } else { requests };
        let (written, read) = (aft.bytes_written, aft.bytes_read);
        let _ = writeln!(table, "| {operation} | {requests} | {written} B | {read} B | {plain} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(folder: &Path, group: &str, function: &str, shape: &str, ns: f64) {
        let folder = folder.join(group.replace('/', "_")).join(function).join(shape).join("new");
        std::fs::create_dir_all(&folder).unwrap();
        let name = format!(r#"{{"group_id":"{group}","function_id":"{function}","value_str":"{shape}"}}"#);
        std::fs::write(folder.join("benchmark.json"), name).unwrap();
        let (low, high) = (ns * 0.9, ns * 1.1);
        let interval = format!(r#"{{"lower_bound":{low},"upper_bound":{high}}}"#);
        let median = format!(r#"{{"point_estimate":{ns},"confidence_interval":{interval}}}"#);
        std::fs::write(folder.join("estimates.json"), format!(r#"{{"median":{median}}}"#)).unwrap();
    }

    #[test]
    fn ratios_stand_beside_each_other_in_order_of_size() {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), "commit/memory", "aft", "10 keys x 1 KiB", 300.0);
        put(folder.path(), "commit/memory", "plain", "10 keys x 1 KiB", 100.0);
        put(folder.path(), "commit/files", "aft", "2 keys x 1 KiB", 1e6);
        put(folder.path(), "commit/files", "plain", "2 keys x 1 KiB", 2e6);
        let measured = Measured::read(folder.path()).unwrap();
        let expected = "| operation | what | aft | memory | files |\n|---|---|---|---|---|\n\
            | commit | 2 keys x 1 KiB |  |  | **0.50** (0.41–0.61) |\n\
            | commit | 10 keys x 1 KiB |  | **3.00** (2.45–3.67) |  |\n";
        assert_eq!(measured.ratios(), expected);
        assert!(measured.medians().contains("1.0 ms / 2.0 ms"));
    }
}
