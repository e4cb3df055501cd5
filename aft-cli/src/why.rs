//! `aft why`: what a read that begins now gets, by which rule, and why it is not another version.
//!
//! The reads are real ones, in one transaction; what is said of the other versions follows from what these returned and from what the commits
//! wrote, which is all that the read-atomic protocol goes by.

mod verdict;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use aft_core::{Aft, ErrorKind, RecentCommit, StoreInfo, Transaction, Version, VersionInfo};
use comfy_table::{ColumnConstraint, Table};
use serde_json::{Value, json};

use self::verdict::{Candidate, Read, Verdict, verdicts};
use crate::args::Why;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, size, table, thousands, time};
use crate::store::Store;
use crate::versions;

/// All that is known of a read.
struct Explained {
    key: Key,
    /// What was read before, in order.
    before: Vec<Read>,
    /// Every version of the key that is known, newest first.
    candidates: Vec<(VersionInfo, Verdict)>,
    /// What was read; `None`: nothing, or a deletion of which nothing is known any more.
    read: Option<Version>,
    /// Why the value cannot be had.
    unreadable: Option<String>,
    store: StoreInfo,
    recent_commits: u64,
    feed_objects: u64,
    requests: u64,
}

pub(crate) async fn run(args: Why, store: &Store, output: &Output) -> Result<(), Failure> {
    let aft = store.open_to_read().await?;
    let explained = explain(&aft, args).await?;
    if output.is_json() { output.json(&explained.document()) } else { explained.print(output) }
}

async fn explain(aft: &Aft, args: Why) -> Result<Explained, Failure> {
    let tx = aft.begin().await?;
    for key in &args.with {
        read(&tx, key).await?;
    }
    let unreadable = read(&tx, &args.key).await?;
    let reads: BTreeMap<_, _> = tx.reads().map(|(key, version)| (key.to_vec(), version)).collect();
    let version = |key: &Key| reads.get(key.as_ref()).copied().flatten();
    let candidates = aft.versions(&args.key).await?;
    let commits: BTreeMap<_, _> = aft.recent().map(|commit| (commit.version(), commit)).collect();
    let wrote = |version: Version, key: &Key| {
        commits.get(&version).is_some_and(|commit: &RecentCommit| commit.wrote(key.as_ref()))
    };
    let before = args.with.iter().map(|with| {
        let read = version(with);
        let floor = read.filter(|read| wrote(*read, &args.key));
        let folded = read.is_some_and(|read| !commits.contains_key(&read));
        Read { key: with.clone(), version: read, floor, folded }
    });
    let before: Vec<_> = before.collect();
    let chosen = version(&args.key);
    let versions = candidates.iter().map(|info| Candidate {
        version: info.version,
        deleted: info.deleted,
        folded: info.recent.is_none(),
    });
    let verdicts = verdicts(&versions.collect::<Vec<_>>(), chosen, &before, wrote);
    let (stats, store) = (aft.stats(), aft.store_info());
    Ok(Explained {
        key: args.key,
        before,
        candidates: candidates.into_iter().zip(verdicts).collect(),
        read: chosen,
        unreadable,
        store,
        recent_commits: stats.recent_commits,
        feed_objects: stats.feed_objects,
        requests: stats.requests.requests(),
    })
}

/// Reads a key; why its value cannot be had, where it was chosen and is damaged or gone.
async fn read(tx: &Transaction, key: &Key) -> Result<Option<String>, Failure> {
    match tx.get_stream(key).await {
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::VersionUnavailable) => {
            let chosen = tx.reads().any(|(read, _)| read == key.as_ref());
            let failure = Failure::from(error);
            if chosen { Ok(Some(failure.line())) } else { Err(failure) }
        }
        Err(error) => Err(error.into()),
    }
}

impl Explained {
    /// The version that was read, where it is known.
    fn chosen(&self) -> Option<&VersionInfo> {
        self.candidates.iter().map(|(info, _)| info).find(|info| Some(info.version) == self.read)
    }

    /// What a reader gets.
    fn answer(&self) -> String {
        match self.chosen() {
            Some(info) if info.deleted => {
                format!("{} is absent: the version that is read deleted it", self.key)
            }
            Some(info) => format!("{} is there: {}, in {}", self.key, size(info.bytes), info.object),
            None => format!("{} is absent: {}", self.key, self.never()),
        }
    }

    /// What is known of a key of which no version is.
    fn never(&self) -> String {
        match self.store.purged {
            None => "it was never written; no deletion has left the index yet".to_owned(),
            Some(purged) => format!(
                "no version of it is known; it was never written, or it was deleted by {}: deletions up to then have left the index",
                decided(purged)
            ),
        }
    }

    fn print(&self, output: &Output) -> Result<(), Failure> {
        output.lines([self.answer()])?;
        if let Some(why) = &self.unreadable {
            output.lines([format!("its value cannot be read: {why}")])?;
        }
        for read in &self.before {
            output.lines([read.told(&self.key)])?;
        }
        if !self.candidates.is_empty() {
            output.lines([String::new(), self.table().trim_fmt()])?;
        }
        let StoreInfo { checkpoint, horizon, runs, rows, listed, .. } = &self.store;
        let built_on = match horizon.filter(|_| *checkpoint > 0) {
            Some(horizon) => format!(
                "checkpoint {checkpoint}, which has all that was published before {} ({} runs, {} rows)",
                time(horizon),
                thousands(*runs),
                thousands(*rows)
            ),
            None => "no checkpoint".to_owned(),
        };
        output.lines([
            String::new(),
            format!("built on {built_on}"),
            format!(
                "beyond that {} feed objects were read; {} commits are not folded",
                thousands(self.feed_objects),
                thousands(self.recent_commits)
            ),
            format!("the feed was listed {}", listed.map_or("never".to_owned(), time)),
            format!("{} requests", thousands(self.requests)),
        ])
    }

    fn table(&self) -> Table {
        let mut table = table(["decided", "transaction", "value", "", "why", "object"]);
        for (info, verdict) in &self.candidates {
            let value = if info.deleted { "deleted".to_owned() } else { size(info.bytes) };
            let (decided, txn) = (decided(info.version), info.version.txn_id().to_string());
            table.add_row([
                decided,
                txn,
                value,
                verdict.name().to_owned(),
                verdict.why(),
                info.object.clone(),
            ]);
        }
        for column in [0, 1, 5] {
            if let Some(column) = table.column_mut(column) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        table
    }

    fn document(&self) -> Value {
        let candidate = |(info, verdict): &(VersionInfo, Verdict)| {
            let mut document = versions::document(info);
            document["verdict"] = verdict.name().replace(' ', "_").into();
            document["why"] = verdict.why().into();
            document
        };
        let store = &self.store;
        json!({
            "key": self.key, "present": self.chosen().is_some_and(|info| !info.deleted),
            "read": self.chosen().map(versions::document), "answer": self.answer(), "unreadable": self.unreadable,
            "candidates": self.candidates.iter().map(candidate).collect::<Vec<_>>(),
            "with": self.before.iter().map(Read::document).collect::<Vec<_>>(),
            "checkpoint": store.checkpoint, "horizon": store.horizon.map(time), "runs": store.runs, "rows": store.rows,
            "deletions_forgotten_until": store.purged.map(decided),
            "feed_listed": store.listed.map(time), "feed_objects": self.feed_objects,
            "recent_commits": self.recent_commits, "requests": self.requests,
        })
    }
}

/// When a version was decided.
fn decided(version: Version) -> String {
    time(UNIX_EPOCH + Duration::from_millis(version.clock_ms()))
}
