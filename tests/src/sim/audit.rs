//! The auditor: what is read in the end, on nodes old and new, and what nodes say of every id.

use std::time::Duration;

use aft_core::Begin;
use tokio::time::sleep;

use crate::checker::FinalRead;
use crate::history::{self, History, Op};
use crate::sim::cluster::Cluster;
use crate::sim::recorder::{Client, How};
use crate::sim::run::VISIBLE_MS;
use crate::sim::upkeep::settle;
use crate::sim::workload::Shared;

/// What every session of the auditor begins with.
const AUDITOR: &str = "auditor";

/// Looks at a run that is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Audit<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) shared: &'a Shared,
    pub(crate) feed_alone: bool,
}

impl Audit<'_> {
    fn problem(self, what: String) {
        self.shared.recorder.problem(what);
    }

    /// Reads everything on two fresh nodes and those that are left, and asks what became of every id. Returns the fresh ones.
    pub(crate) async fn read(self) -> Vec<Client> {
        let Some(first) = self.cluster.auditor("auditor").await else { return Vec::new() };
        // Anyone who works with the store is enough for the last commits of dead nodes to be found.
        for _ in 0..VISIBLE_MS / 2_000 {
            sleep(Duration::from_secs(2)).await;
            if let Err(error) = first.aft.begin().await {
                self.problem(format!("the auditor could not begin: {error}"));
            }
        }
        self.read_all(&first).await;
        for id in self.shared.recorder.ids() {
            match first.aft.outcome(id).await {
                Ok(outcome) => self.shared.recorder.said(id, outcome),
                Err(error) => self.problem(format!("the outcome of {id}: {error}")),
            }
        }
        // A sweep changes what is published, never what is committed.
        match first.aft.sweep().await {
            // Where nobody sweeps, commits whose client never learned of them are published by nobody.
            Ok(report) if report.published > 0 && !self.feed_alone => {
                self.problem(format!("{} commits were not yet published long after", report.published));
            }
            Ok(_) => {}
            Err(error) => self.problem(format!("the last sweep: {error}")),
        }
        let second = self.cluster.auditor("auditor2").await;
        if let Some(second) = &second {
            self.read_all(second).await;
        }
        if self.shared.upkeep {
            for old in self.cluster.survivors() {
                self.read_all(&old).await;
            }
        }
        // The last of these reads may have begun in this very millisecond, where all that it needed was cached; what comes now comes later.
        sleep(Duration::from_millis(1)).await;
        [Some(first), second].into_iter().flatten().collect()
    }

    /// Lets all garbage be collected, by two nodes, and reads everything once more: on one of them, on another that was open all the
    /// while, and on a new one, whose reads are returned.
    pub(crate) async fn settle(self, nodes: &[Client]) -> Vec<Op> {
        let [first, second] = nodes else { return Vec::new() };
        let old = self.cluster.survivors().into_iter().next();
        self.cluster.end_all_but(old.as_ref());
        settle([first, second], self.shared).await;
        self.read_all(first).await;
        if let Some(old) = &old {
            self.read_all(old).await;
        }
        match self.cluster.auditor("auditor3").await {
            Some(third) => self.read_all(&third).await,
            None => Vec::new(),
        }
    }

    async fn read_all(self, client: &Client) -> Vec<Op> {
        let recorder = &self.shared.recorder;
        let Some(mut tx) = recorder.begin(client, Begin::new(), &How::default()).await else {
            self.problem(format!("{} could not begin", client.node));
            return Vec::new();
        };
        if tx.scan("", &self.shared.universe, None).await.is_none() {
            self.problem(format!("{} could not scan", client.node));
        }
        let reads = tx.reads().cloned().collect();
        tx.commit().await;
        reads
    }
}

/// What the auditor read from this time of the run on, with the names that the history found for deletes.
pub(crate) fn final_reads(history: &History, from_ms: u64) -> Vec<FinalRead> {
    let of_auditor = |entry: &&history::Transaction| {
        entry.session.starts_with(AUDITOR)
            && entry.began_ms >= from_ms
            && !entry.ops.iter().any(|op| matches!(op, Op::Write { .. }))
    };
    let audits = history.transactions.iter().filter(of_auditor);
    let reads = audits.flat_map(|entry| {
        entry.ops.iter().filter_map(|op| match op {
            Op::Read { key, value, version } => Some(FinalRead {
                node: entry.node.clone(),
                key: key.clone(),
                value: value.clone(),
                version: *version,
            }),
            Op::Write { .. } => None,
        })
    });
    reads.collect()
}
