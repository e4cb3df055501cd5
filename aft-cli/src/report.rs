//! `aft report`: one page of HTML about a store.

mod chart;
mod page;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use aft_core::{CheckpointInfo, Entry, KeyActivity};
use bytes::Bytes;
use serde_json::json;

use crate::args::Report as Args;
use crate::cost::{Estimate, Workload, estimate};
use crate::failure::Failure;
use crate::output::{Output, size};
use crate::store::Store;
use crate::survey::warnings::{self, Warning};
use crate::survey::{Scan, Survey, since};

/// How many keys are listed, of the largest and of those written most.
const KEYS: usize = 20;
/// How many checkpoints are read at most: one request for each.
const CHECKPOINTS: usize = 60;
/// Of how many commits the average is taken.
const SAMPLE: usize = 1000;
/// Minutes in a month of 30 days.
const MONTH: f64 = 30.0 * 24.0 * 60.0;
/// How long after its last word a node is taken for one that runs.
const RUNS: u64 = 60;

/// What the page tells.
#[derive(Debug)]
struct Report {
    store: String,
    survey: Survey,
    scan: Scan,
    warnings: Vec<Warning>,
    /// When the recent commits happened, oldest first.
    commits: Vec<SystemTime>,
    busiest: Vec<KeyActivity>,
    /// Their sizes and names, the largest first.
    largest: Vec<(u64, Bytes)>,
    /// Oldest first.
    checkpoints: Vec<CheckpointInfo>,
    /// The month that was priced, where anything was committed lately.
    cost: Option<(Workload, Estimate)>,
}

pub(crate) async fn run(args: Args, store: &Store, output: &Output) -> Result<(), Failure> {
    let path = place(&args.file, store)?;
    let aft = store.open_to_read().await?;
    let mut largest = Largest::default();
    let scan = Scan::of(store, &aft, |entry| largest.note(entry)).await?;
    let mut checkpoints = aft.checkpoints(CHECKPOINTS).await?;
    checkpoints.reverse();
    let survey = Survey::of(&aft).await?;
    let warnings = warnings::of(&survey, Some(&scan));
    let commits = aft.commit_times(std::time::UNIX_EPOCH);
    let cost = priced(&aft, &survey, &scan).await?;
    let (store, busiest, largest) = (store.shown(), aft.busiest_keys(KEYS), largest.sorted());
    let report = Report { store, survey, scan, warnings, commits, busiest, largest, checkpoints, cost };
    let html = page::html(&report);
    write(&path, html.as_bytes()).map_err(|cause| {
        Failure::io(format!("cannot write the report to {}", path.display()), cause)
            .advice("what was in the file before is unchanged")
    })?;
    let (shown, bytes) = (path.display().to_string(), html.len() as u64);
    let document = json!({ "file": shown, "bytes": bytes, "warnings": report.warnings });
    output.done(&document, format!("{shown}: {}, {} warnings", size(bytes), report.warnings.len()))
}

/// The largest keys that were seen.
#[derive(Debug, Default)]
struct Largest(BinaryHeap<(Reverse<u64>, Bytes)>);

impl Largest {
    fn note(&mut self, entry: &Entry) {
        // Of those of one size the first stay.
        if self.0.len() == KEYS && self.0.peek().is_some_and(|(Reverse(least), _)| entry.len <= *least) {
            return;
        }
        // A copy: a slice would hold on to a block of the index.
        self.0.push((Reverse(entry.len), Bytes::copy_from_slice(&entry.key)));
        if self.0.len() > KEYS {
            self.0.pop();
        }
    }

    fn sorted(self) -> Vec<(u64, Bytes)> {
        self.0.into_sorted_vec().into_iter().map(|(Reverse(size), key)| (size, key)).collect()
    }
}

/// What a month would cost that is like the last minutes.
async fn priced(
    aft: &aft_core::Aft,
    survey: &Survey,
    scan: &Scan,
) -> Result<Option<(Workload, Estimate)>, Failure> {
    let sample = aft.recent_commits(SAMPLE);
    let written: usize = sample.iter().map(|commit| commit.writes.len()).sum();
    // Of the longest time that is known.
    let Some(rate) = survey.rates().into_iter().flatten().last().filter(|rate| *rate > 0.0) else {
        return Ok(None);
    };
    let keys = (written.checked_div(sample.len()).unwrap_or(1).max(1) as u64).min(10_000);
    let bytes = scan.value_bytes.checked_div(scan.keys).unwrap_or(0).min((32 << 20) / keys);
    let runs = survey.nodes.iter().filter(|node| since(survey.now, node.last).as_secs() < RUNS).count();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate, far from the limits"
    )]
    let commits = (rate * MONTH).round() as u64;
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    let stored_gb = scan.census.all.bytes as f64 / f64::from(1 << 30);
    let nodes = runs.max(1) as u64;
    let workload = Workload { commits, keys, bytes, reads: 0, nodes, opens: 0, stored_gb };
    let estimate = estimate(&workload).await?;
    Ok(Some((workload, estimate)))
}

/// Where the page goes: not into the store.
fn place(file: &Path, store: &Store) -> Result<PathBuf, Failure> {
    let bad = |cause| Failure::usage(format!("bad path of a report: {}", file.display())).because(cause);
    let path = file.canonicalize().or_else(|_| std::path::absolute(file)).map_err(bad)?;
    if path.is_dir() {
        return Err(Failure::usage(format!("{} is a directory; a report is a file", path.display())));
    }
    let folder = path.parent().unwrap_or(Path::new("/")).canonicalize().map_err(bad)?;
    let inside = store.directory().and_then(|store| store.canonicalize().ok());
    if inside.is_some_and(|store| folder.starts_with(store)) {
        return Err(Failure::usage(format!("{} lies in the store itself", path.display())));
    }
    Ok(path)
}

/// Writes a whole file beside its place, and puts it there in one step.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        // A pipe or a device: nothing that could be replaced.
        return File::options().write(true).open(path)?.write_all(bytes);
    }
    let mut beside = tempfile::Builder::new();
    // As any other file of this user: the mode is what the umask leaves of it.
    #[cfg(unix)]
    beside.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = beside.prefix(".aft-report-").tempfile_in(path.parent().unwrap_or(Path::new("/")))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
