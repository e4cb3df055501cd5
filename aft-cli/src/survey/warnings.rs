//! What an operator should know of a store, and what to do about it.

use std::time::Duration;

use serde::Serialize;

use super::{Scan, Survey, about, ahead, since};
use crate::gc::KEEPS_VERSIONS;
use crate::output::{count, time};

/// So many commits beyond the last checkpoint are much to read for whoever opens the store.
const MANY: u64 = 1000;
/// A checkpoint is made every few minutes where anything is: after this nobody makes one.
const LONG: Duration = Duration::from_secs(60 * 60);
/// What is decided is published within seconds by whoever lives.
const SOON: Duration = Duration::from_secs(60);

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// For programs.
    pub(crate) kind: &'static str,
    pub(crate) what: String,
    pub(crate) advice: String,
}

impl Warning {
    fn new(kind: &'static str, what: String, advice: impl Into<String>) -> Self {
        Self { kind, what, advice: advice.into() }
    }
}

/// What is wrong with a store, as far as is known.
pub(crate) fn of(survey: &Survey, scan: Option<&Scan>) -> Vec<Warning> {
    let mut found = Vec::new();
    found.extend(checkpoints(survey));
    found.extend(this_clock(survey));
    found.extend(clocks(survey));
    found.extend(damaged(survey));
    found.extend(scan.and_then(|scan| unpublished(survey, scan)));
    if scan.is_some_and(|scan| scan.garbage.is_damaged) {
        let what = "something in the store is missing or damaged: a collection would leave garbage out";
        found.push(Warning::new("damaged", what.into(), "run `aft check`, which names it"));
    }
    if survey.info.keeps_versions || scan.is_some_and(|scan| scan.garbage.keeps_versions) {
        let what = "the bucket keeps what is deleted as noncurrent versions";
        found.push(Warning::new("keeps_versions", what.into(), KEEPS_VERSIONS));
    }
    found
}

fn checkpoints(survey: &Survey) -> Option<Warning> {
    let made = survey.info.full_checkpoint_made;
    let late = made.is_none_or(|made| since(survey.now, made) > LONG);
    if !late || survey.stats.recent_commits < MANY {
        return None;
    }
    let when = match made {
        Some(made) => {
            format!("the last checkpoint that folds anything was made {} ago", about(since(survey.now, made)))
        }
        None => "no checkpoint was ever made".to_owned(),
    };
    let commits = usize::try_from(survey.stats.recent_commits).unwrap_or(usize::MAX);
    let what = format!(
        "{when}, and {} are not in the index: every node holds them, and reads them when it starts",
        count(commits, "commit")
    );
    Some(Warning::new(
        "no_checkpoint",
        what,
        "run `aft checkpoint`, now and every few minutes; or set Config::maintenance in a server",
    ))
}

fn this_clock(survey: &Survey) -> Option<Warning> {
    let newest = survey.info.newest_date?;
    let behind = newest.duration_since(survey.now).ok().filter(|behind| *behind > survey.max_skew / 2)?;
    let what = format!(
        "this machine's clock is at least {} behind the store's, or an object is dated in the future: the newest date is {}",
        about(behind),
        time(newest)
    );
    Some(Warning::new(
        "own_clock",
        what,
        "compare this machine's clock with a time server; `aft probe` measures it against the store",
    ))
}

fn clocks(survey: &Survey) -> impl Iterator<Item = Warning> + '_ {
    let bound = i64::try_from(survey.max_skew.as_millis() / 2).unwrap_or(i64::MAX);
    survey.nodes.iter().filter_map(move |node| {
        let ms = node.clock_ahead_ms.filter(|ms| ms.abs() > bound)?;
        let what = format!(
            "the clock of node {} is off by about {}, and past {} it cannot commit any more",
            node.node,
            ahead(ms),
            about(survey.max_skew)
        );
        let advice = "set its clock by a time server; a node that reads what one with a clock ahead wrote seems to be ahead too";
        Some(Warning::new("node_clock", what, advice))
    })
}

fn damaged(survey: &Survey) -> impl Iterator<Item = Warning> + '_ {
    survey.info.damaged.iter().map(|path| {
        let what = format!("the feed object {path} is damaged; what it told is known from the decisions");
        Warning::new("damaged_feed", what, "the next process that writes replaces it (`aft sweep` does); then find out what the storage below did, with `aft check`")
    })
}

fn unpublished(survey: &Survey, scan: &Scan) -> Option<Warning> {
    let old = |id: &&aft_core::TxnId| since(survey.now, id.started_at()) > SOON;
    let old: Vec<_> = scan.unpublished.iter().filter(old).collect();
    let first = old.first()?;
    let what = format!(
        "{} decided and not published, the first by transaction {first} of {}: no other process sees what they wrote",
        count(old.len(), "decision"),
        time(first.started_at())
    );
    Some(Warning::new(
        "unpublished",
        what,
        "run `aft sweep`; a process that lives sweeps by itself every minute",
    ))
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use aft_core::{NodeInfo, Stats, StoreInfo};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn moment(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn survey() -> Survey {
        let info: StoreInfo = serde_json::from_value(json!({
            "store_id": "", "format_version": 1, "newest": null, "swept_through": null, "checkpoint": 0,
            "horizon": null, "runs": 0, "rows": 0,
        }))
        .unwrap();
        let max_skew = Duration::from_secs(10);
        let (stats, nodes) = (Stats::default(), Vec::new());
        Survey { now: moment(NOW), info, stats, max_skew, nodes, listed: moment(NOW), commits: [None; 3] }
    }

    fn kinds(survey: &Survey) -> Vec<&'static str> {
        of(survey, None).into_iter().map(|warning| warning.kind).collect()
    }

    #[test]
    fn many_commits_without_a_checkpoint() {
        let mut survey = survey();
        survey.stats.recent_commits = 999;
        assert!(kinds(&survey).is_empty(), "of few commits each start reads little");
        survey.stats.recent_commits = 1000;
        assert_eq!(kinds(&survey), ["no_checkpoint"]);
        survey.info.full_checkpoint_made = Some(moment(NOW - 3_700));
        let warnings = of(&survey, None);
        assert!(warnings[0].what.contains("was made 1h 1m ago, and 1,000 commits"), "{warnings:?}");
        survey.info.full_checkpoint_made = Some(moment(NOW - 3_500));
        assert!(kinds(&survey).is_empty());
    }

    #[test]
    fn clocks_that_are_off_by_more_than_half_of_what_may_be() {
        let mut survey = survey();
        survey.info.newest_date = Some(moment(NOW + 5));
        let node = |ms: Option<i64>| -> NodeInfo {
            let [last, last_named] = [moment(NOW); 2].map(|it| serde_json::to_value(it).unwrap());
            let (objects, commits) = (1, 1);
            serde_json::from_value(json!({
                "node": "a", "objects": objects, "commits": commits, "last": last, "last_named": last_named,
                "clock_ahead_ms": ms,
            }))
            .unwrap()
        };
        survey.nodes = [None, Some(5_000), Some(-5_000)].map(node).into();
        assert!(kinds(&survey).is_empty());
        survey.info.newest_date = Some(moment(NOW + 6));
        survey.nodes = [Some(5_001), Some(-5_001)].map(node).into();
        assert_eq!(kinds(&survey), ["own_clock", "node_clock", "node_clock"]);
    }

    #[test]
    fn a_bucket_that_keeps_versions_and_damage() {
        let mut survey = survey();
        survey.info.keeps_versions = true;
        survey.info.damaged = vec!["feed/x".into()];
        assert_eq!(kinds(&survey), ["damaged_feed", "keeps_versions"]);
    }
}
