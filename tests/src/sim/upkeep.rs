//! Who keeps the store small: makers of checkpoints and collectors of garbage, beside the clients, at random moments; and what must be
//! left in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Begin, CheckpointReport, Config, GarbageReport, Maintenance, Storage};
use aft_memory::Faults;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use crate::history::{Op, Status};
use crate::sim::archive::Archive;
use crate::sim::chaos::heavy;
use crate::sim::recorder::{Client, How};
use crate::sim::truth::Truth;
use crate::sim::workload::Shared;

/// Settings under which a commit is folded and its leftovers collected within two minutes.
pub(crate) fn shorter_windows(config: Config) -> Config {
    let secs = Duration::from_secs;
    Config {
        max_staleness: secs(1),
        transaction_lifetime: secs(20),
        commit_deadline: secs(8),
        visibility_delay: secs(6),
        request_timeout: secs(5),
        outcome_retention: secs(60),
        ..config
    }
}

/// The worst weather under [`shorter_windows`].
pub(crate) fn heavy_but_shorter() -> Faults {
    Faults { slow_delay: Duration::from_millis(4_500), dated_early: Duration::from_millis(5_300), ..heavy() }
}

/// What some nodes do by themselves.
pub(crate) fn maintenance() -> Maintenance {
    Maintenance {
        checkpoint_interval: Duration::from_secs(20),
        checkpoint_commits: 60,
        collect_interval: Duration::from_secs(25),
    }
}

/// What was done, by kind.
pub(crate) type Done = BTreeMap<String, u64>;

fn count(shared: &Shared, what: &str, times: u64) {
    *shared.upkept.lock().entry(what.to_owned()).or_default() += times;
}

/// Makes checkpoints and collects garbage from time to time, until it is stopped.
pub(crate) async fn keep(client: Client, shared: Arc<Shared>, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Where transactions travel, the nodes are to build on different checkpoints: one makes most of them.
    let pause_ms = if shared.relays && !client.node.starts_with("n0.") { 300_000 } else { 30_000 };
    loop {
        sleep(Duration::from_millis(2_000 + rng.next_u64() % pause_ms)).await;
        if client.is_crashed() {
            return;
        }
        match rng.next_u64() % 5 {
            0 | 1 => {
                checkpoint(&client, &shared).await;
            }
            2 => drop(collect(&client, &shared).await),
            3 => drop(tokio::join!(checkpoint(&client, &shared), collect(&client, &shared))),
            _ => {
                checkpoint(&client, &shared).await;
                collect(&client, &shared).await;
            }
        }
    }
}

async fn checkpoint(client: &Client, shared: &Shared) -> Option<CheckpointReport> {
    match client.aft.checkpoint().await {
        Ok(report) => {
            count(shared, if report.made { "checkpoints made" } else { "checkpoints lost to others" }, 1);
            count(shared, "commits folded", report.folded);
            count(shared, "tombstones purged", report.tombstones_purged);
            count(shared, "runs merged", report.runs_merged);
            Some(report)
        }
        Err(error) => {
            shared.recorder.explain(client, &error, "checkpoint");
            count(shared, "checkpoints that failed", 1);
            None
        }
    }
}

async fn collect(client: &Client, shared: &Shared) -> Option<GarbageReport> {
    match client.aft.collect_garbage(false).await {
        Ok(report) => {
            for (kind, class) in &report.classes {
                count(shared, &format!("collected: {kind:?}"), class.objects);
            }
            Some(report)
        }
        Err(error) => {
            shared.recorder.explain(client, &error, "collect");
            count(shared, "collections that failed", 1);
            None
        }
    }
}

/// Longer than every window: even claims may be collected once in between.
const LONG: Duration = Duration::from_secs(650);

/// Writes every key once more, each as it is always written, so that the next fold weighs more than all that were before and merges them: no older version keeps a
/// value alive.
async fn overwrite(client: &Client, shared: &Shared) {
    for serializable in [true, false] {
        let how = How { serializable, ..How::default() };
        let Some(mut tx) = shared.recorder.begin(client, Begin::new(), &how).await else {
            return shared.recorder.problem(format!("in the calm {} could not begin", client.node));
        };
        let keys = shared.universe.iter().filter(|key| key.starts_with("serial/") == serializable);
        for (n, key) in keys.enumerate() {
            if n % 3 == 0 { tx.delete(key) } else { tx.put(key, 4_000) }
        }
        if tx.commit().await != Status::Committed {
            shared.recorder.problem(format!("in the calm {} could not commit", client.node));
        }
    }
}

/// Makes checkpoints and collects until nothing more is to go.
pub(crate) async fn settle(nodes: [&Client; 2], shared: &Shared) {
    for round in 0..6 {
        // Twice: a filter of a file keeps one orphan in a hundred, and the next file's another one.
        if round == 0 || round == 2 {
            overwrite(nodes[0], shared).await;
        }
        sleep(if round == 5 { Duration::from_secs(200) } else { LONG }).await;
        let [maker, collector] = if round % 2 == 0 { nodes } else { [nodes[1], nodes[0]] };
        let made = if round == 5 { None } else { checkpoint(maker, shared).await };
        let collected = collect(collector, shared).await;
        if round < 5 && !made.is_some_and(|report| report.made) {
            shared.recorder.problem(format!("in the calm {} could not make a checkpoint", maker.node));
        }
        if collected.is_none() {
            shared.recorder.problem(format!("in the calm {} could not collect", collector.node));
        }
    }
    // Only a date says how late it is: something must be written.
    for node in nodes {
        if let Err(error) = node.aft.sweep().await {
            shared.recorder.problem(format!("in the calm a sweep: {error}"));
        }
        collect(node, shared).await;
    }
    match nodes[0].aft.collect_garbage(true).await {
        Ok(report) if report.objects() > 0 || !report.left_out.is_empty() => {
            shared.recorder.problem(format!("nothing should be left to collect: {report:?}"));
        }
        Ok(_) => {}
        Err(error) => shared.recorder.problem(format!("the last collection: {error}")),
    }
}

/// How the version of what is absent prints: no clock.
const ABSENT: &str = "0000000000000000-";

/// How many objects of a folder may be left where nothing happens but checkpoints and collections.
const LEFT_AT_MOST: [(&str, usize); 10] = [
    ("commits/", 0),
    ("outcomes/", 2),
    // A light one may be as young as whoever started last.
    ("checkpoints/", 4),
    ("recent/", 3),
    ("garbage/", 1),
    ("index/", 2),
    ("feed/", 24),
    ("bundles/", 8),
    ("epochs/", 40),
    ("aft.json", 1),
];

/// Judges what is left in the store. `reads`: what a cold node found in the end, under every key.
pub(crate) async fn leftovers(archive: &Archive, reads: &[Op], truth: &Truth, shared: &Shared) {
    let paths: Vec<_> = archive.paths().await.into_iter().map(|object| object.path).collect();
    let below = |folder: &str| paths.iter().filter(|path| path.starts_with(folder)).collect::<Vec<_>>();
    for (folder, most) in LEFT_AT_MOST {
        let left = below(folder);
        if left.len() > most {
            shared.recorder.problem(format!("{} objects are left below {folder}: {left:?}", left.len()));
        }
    }
    // Claims stay where the newest of their key leads to no commit. And where a collector died between two claims of a key and the key was
    // claimed anew: the newest may then outlive its decision. That happens to one key in some thousand runs.
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    for path in below("requests/") {
        newest.extend(path.rsplit_once('/').map(|(key, _)| (key, &**path)));
    }
    let mut left = Vec::new();
    for path in newest.into_values() {
        let claim = archive.get(path).await.map(|object| object.bytes).unwrap_or_default();
        left.extend(truth.names_a_commit(&claim).then_some(path));
    }
    // Claims that were dated anew, or that a listing hid, may outlive their decisions as well.
    if left.len() > 1 && !shared.mischief {
        shared.recorder.problem(format!("{left:?} are left, though their requests were committed long ago"));
    }
    // Of each key the newest version may be guarded, and its absence for ever.
    let mut guarded: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for path in below("guards/") {
        let mut parts = path.split('/').skip(2);
        if let (Some(key), Some(over)) = (parts.next(), parts.next()) {
            guarded.entry(key).or_default().extend((!over.starts_with(ABSENT)).then_some(over));
        }
    }
    for (key, versions) in guarded.into_iter().filter(|(_, versions)| versions.len() > 1) {
        shared.recorder.problem(format!("guards of {key} are left over {versions:?}"));
    }
    // Of each key the newest version has a value object, or none.
    let alive: BTreeSet<u128> = reads
        .iter()
        .filter_map(|op| match op {
            Op::Read { value: Some(_), version: Some(version), .. } => Some(version.1),
            _ => None,
        })
        .collect();
    let mut counted: BTreeMap<u128, usize> = BTreeMap::new();
    for path in below("values/") {
        let txn = path.split('/').nth(2).map(|id| id.replace('-', ""));
        let txn = txn.and_then(|id| u128::from_str_radix(&id, 16).ok()).unwrap_or(0);
        *counted.entry(txn).or_default() += 1;
        if !alive.contains(&txn) {
            shared.recorder.problem(format!("{path} is left, and no newest version names it"));
        }
    }
    let of = |txn: u128| {
        reads
            .iter()
            .filter(|op| matches!(op, Op::Read { value: Some(_), version: Some(version), .. } if version.1 == txn))
            .count()
    };
    for (txn, left) in counted {
        if left > of(txn) {
            shared.recorder.problem(format!("{left} values of {txn:x} are left, for {} keys", of(txn)));
        }
    }
}
