//! What a probe found, for people and for programs.

use std::time::Duration;

use comfy_table::CellAlignment;
use serde::Serialize;
use serde_json::{Value, json};

use super::clocks::Difference;
use super::latency::Latency;
use super::race::Tally;
use crate::gc::KEEPS_VERSIONS;
use crate::output::{table, thousands, wrapped};
use crate::requests::Requests;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// The store keeps it, as far as was seen.
    Held,
    /// The store does not keep it, and aft depends on it.
    Broken,
    /// The store does it otherwise, and aft does not depend on it.
    Differs,
    /// The store could not be asked.
    Failed,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) detail: String,
}

/// Everything that a probe found.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) url: String,
    pub(crate) connections: usize,
    pub(crate) max_clock_skew: Duration,
    pub(crate) races: Tally,
    pub(crate) findings: Vec<Finding>,
    pub(crate) clock: Option<Difference>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) requests: Requests,
    pub(crate) took: Duration,
    /// What of its own the probe could not remove.
    pub(crate) left_over: Vec<String>,
    /// Whether answers showed that the store keeps what is deleted.
    pub(crate) keeps_versions: bool,
}

impl Report {
    pub(crate) fn new(url: &str, connections: usize, max_clock_skew: Duration) -> Self {
        Self {
            url: url.to_owned(),
            connections,
            max_clock_skew,
            races: Tally::default(),
            findings: Vec::new(),
            clock: None,
            latencies: Vec::new(),
            requests: Requests::default(),
            took: Duration::ZERO,
            left_over: Vec::new(),
            keeps_versions: false,
        }
    }

    /// Why the store is unsafe; empty where nothing was found.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = self.races.reasons();
        let broken = self.findings.iter().filter(|finding| finding.outcome == Outcome::Broken);
        reasons.extend(broken.map(|finding| format!("{}: {}", finding.name, finding.detail)));
        if let Some(clock) = self.clock.filter(|clock| clock.exceeds(self.max_clock_skew)) {
            reasons.push(format!(
                "{clock} of this machine's, and {} is allowed: a node on a machine with such a clock refuses to \
                 commit; which of the two clocks is wrong cannot be told from here",
                humantime::format_duration(self.max_clock_skew)
            ));
        }
        reasons
    }

    /// For programs. `complete` says whether everything was asked.
    pub(crate) fn document(&self, complete: bool) -> Value {
        let reasons = self.reasons();
        json!({
            "store": self.url, "verdict": if reasons.is_empty() { "safe" } else { "unsafe" }, "reasons": reasons,
            "complete": complete, "connections": self.connections, "races": self.races, "checks": self.findings,
            "clock": self.clock, "max_clock_skew_ms": u64::try_from(self.max_clock_skew.as_millis()).ok(),
            "latencies": self.latencies, "requests": self.requests, "seconds": self.took.as_secs_f64(),
            "left_over": self.left_over, "keeps_versions": self.keeps_versions,
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.checks()];
        if !self.latencies.is_empty() {
            parts.push(self.latency_table());
        }
        if self.keeps_versions {
            let kept =
                format!("{KEEPS_VERSIONS}. What this probe wrote and deleted stays there too until then.");
            parts.push(wrapped(&kept, 100));
        }
        parts.push(self.verdict());
        parts.join("\n\n")
    }

    fn checks(&self) -> String {
        let mut table = table(["check", "", "what was seen"]);
        let races = &self.races;
        if races.rounds > 0 {
            let broken = !races.reasons().is_empty();
            let mut seen = format!(
                "one winner in {} of {} races of {}, on {} connections",
                thousands(races.one_winner as u64),
                thousands(races.rounds as u64),
                races.racers,
                self.connections
            );
            let mut add = |count: usize, what: &str| {
                if count > 0 {
                    seen += &format!("; {} {what}", thousands(count as u64));
                }
            };
            add(races.most_winners.saturating_sub(1).min(1) * races.most_winners, "winners at most");
            add(races.unclaimed, "whose winner was told that it lost");
            add(races.early_losers, "losers read before the winner was answered");
            add(races.repeated, "repeated after errors");
            table.add_row(["create races", shown(broken), &seen]);
        }
        for finding in &self.findings {
            let shown = match finding.outcome {
                Outcome::Held => "ok",
                Outcome::Broken => "BROKEN",
                Outcome::Differs => "differs",
                Outcome::Failed => "error",
            };
            let detail = match finding.outcome {
                Outcome::Differs => format!("aft does not need it: {}", finding.detail),
                Outcome::Held | Outcome::Broken | Outcome::Failed => finding.detail.clone(),
            };
            table.add_row([finding.name, shown, &detail]);
        }
        if let Some(clock) = self.clock {
            let note = match clock.exceeds(self.max_clock_skew) {
                true => "",
                false if clock.may_exceed(self.max_clock_skew) => "; that may be too much",
                false => "",
            };
            table.add_row(["clock", shown(clock.exceeds(self.max_clock_skew)), &format!("{clock}{note}")]);
        }
        table.trim_fmt()
    }

    fn latency_table(&self) -> String {
        let ms = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.2}"));
        let mut table = table(["latency", "count", "median ms", "p99 ms", "failed"]);
        for latency in &self.latencies {
            table.add_row([
                latency.operation.to_owned(),
                thousands(latency.count as u64),
                ms(latency.median_ms),
                ms(latency.p99_ms),
                latency.failed.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt()
    }

    fn verdict(&self) -> String {
        let Requests { writes, reads, lists, deletes } = self.requests;
        let spent = format!(
            "It took {:.1} s and {} requests ({} creates, {} gets, {} lists, {} deletes).",
            self.took.as_secs_f64(),
            thousands(self.requests.total()),
            thousands(writes),
            thousands(reads),
            thousands(lists),
            thousands(deletes)
        );
        let reasons = self.reasons();
        if reasons.is_empty() {
            let text = format!(
                "safe: {} showed nothing that would harm aft. That is evidence and no proof: a fault that shows in \
                 one race of a thousand is likely to be missed by fewer; --rounds asks more often. {spent}",
                self.url
            );
            return wrapped(&text, 100);
        }
        let mut lines = vec![format!("unsafe: do not keep aft's data in {}", self.url)];
        lines.extend(reasons.iter().map(|reason| format!("- {reason}")));
        lines.push(spent);
        lines.join("\n")
    }
}

fn shown(broken: bool) -> &'static str {
    if broken { "BROKEN" } else { "ok" }
}
