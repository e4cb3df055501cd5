//! What the two runs showed, for people and for programs.

use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::checker::Anomalies;
use super::run::{Outcome, Plan};
use crate::output::{Output, table, thousands, wrapped};
use crate::requests::Requests;

/// Both runs side by side.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    orders: u32,
    plain: Side,
    aft: Side,
}

/// One run.
#[derive(Debug, Serialize)]
struct Side {
    finished: usize,
    crashes: u32,
    transactions: u32,
    anomalies: Anomalies,
    requests: Requests,
    requests_total: u64,
}

impl From<Outcome> for Side {
    fn from(outcome: Outcome) -> Self {
        let Outcome { finished, crashes, transactions, anomalies, requests } = outcome;
        Self { finished, crashes, transactions, anomalies, requests, requests_total: requests.total() }
    }
}

/// A row of counts with its name; None is a line between the parts of a table.
pub(super) type Row<const RUNS: usize> = Option<(&'static str, [u64; RUNS])>;

/// A table of the counts of several runs.
pub(super) fn side_by_side<const RUNS: usize, const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: Vec<Row<RUNS>>,
) -> Table {
    let mut table = table(header);
    for row in rows {
        match row {
            Some((name, counts)) => {
                let counts = counts.into_iter().map(thousands);
                table.add_row([name.to_owned()].into_iter().chain(counts))
            }
            None => table.add_row([""; COLUMNS]),
        };
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

impl Report {
    pub(crate) fn new(plan: Plan, plain: Outcome, aft: Outcome) -> Self {
        Self { seed: plan.seed, orders: plan.orders, plain: plain.into(), aft: aft.into() }
    }

    /// The anomalies of the run on aft.
    pub(crate) fn aft_anomalies(&self) -> u32 {
        self.aft.anomalies.total()
    }

    /// The rows of the table; None is a line between its parts.
    fn rows(&self) -> Vec<Row<2>> {
        let row = |name, value: fn(&Side) -> u64| Some((name, [&self.plain, &self.aft].map(value)));
        vec![
            row("orders finished", |side| side.finished as u64),
            row("crashes, each retried", |side| side.crashes.into()),
            row("transactions checked", |side| side.transactions.into()),
            None,
            row("dirty reads", |side| side.anomalies.dirty_reads.into()),
            row("fractured reads", |side| side.anomalies.fractured_reads.into()),
            row("read-your-writes violations", |side| side.anomalies.read_your_writes.into()),
            row("doubled effects", |side| side.anomalies.doubled_effects.into()),
            row("lost effects", |side| side.anomalies.lost_effects.into()),
            None,
            row("store writes", |side| side.requests.writes),
            row("store reads", |side| side.requests.reads),
            row("store lists", |side| side.requests.lists),
            row("store requests in all", |side| side.requests_total),
        ]
    }

    fn table(&self) -> Table {
        side_by_side(["", "plain keys", "aft"], self.rows())
    }

    /// Prints the table and what it means.
    pub(crate) fn print(&self, output: &Output) -> Result<(), crate::failure::Failure> {
        if output.is_json() {
            return output.json(self);
        }
        output.lines([self.table().trim_fmt(), String::new(), self.meaning()])
    }

    fn meaning(&self) -> String {
        let (plain, aft) = (&self.plain, &self.aft);
        let number = |count: u32| thousands(count.into());
        let found = plain.anomalies;
        let verdict = match self.aft_anomalies() {
            0 => {
                "On aft, with the same crashes and retries and counted by the same checker, none of it happened: an \
                 attempt's writes become visible together or never, and retries under one id commit at most once."
            }
            _ => "On aft the checker found anomalies too: that is a bug, please report it with the seed.",
        };
        let text = format!(
            "Each order runs through three functions (reserve, charge, record) that write six keys; some attempts \
             crash half-way and are retried. On plain keys {} transactions read data of attempts that had not \
             finished, {} saw one part of an attempt without another, {} did not find what they had just written, \
             and {} reservations and charges were made again by retries. {verdict} It took {} requests to the \
             store, where plain keys took {}. Run it again with --seed {} for the same counts, or with another.",
            number(found.dirty_reads),
            number(found.fractured_reads),
            number(found.read_your_writes),
            number(found.doubled_effects),
            thousands(aft.requests_total),
            thousands(plain.requests_total),
            self.seed,
        );
        wrapped(&text, 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(dirty_reads: u32) -> Outcome {
        let anomalies = Anomalies { dirty_reads, ..Anomalies::default() };
        let requests = Requests { writes: 1, reads: 1_234, lists: 2, deletes: 0 };
        Outcome { finished: 5, crashes: 2, transactions: 17, anomalies, requests }
    }

    #[test]
    fn the_table_shows_both_runs_and_the_text_speaks_of_what_was_found() {
        let plan = Plan { seed: 9, orders: 5 };
        let good = Report::new(plan, outcome(3), outcome(0));
        let shown = good.table().trim_fmt();
        assert!(
            shown.lines().any(|line| line.split_whitespace().eq(["dirty", "reads", "3", "0"])),
            "{shown}"
        );
        assert!(shown.contains("1,234"), "{shown}");
        assert!(good.meaning().contains("none of it happened") && good.meaning().contains("--seed 9"));
        let bad = Report::new(plan, outcome(3), outcome(1));
        assert!(bad.meaning().contains("that is a bug") && bad.aft_anomalies() == 1);
        let json = serde_json::to_value(&good).unwrap();
        assert_eq!(json["plain"]["anomalies"]["dirty_reads"], 3);
        assert_eq!(json["aft"]["requests_total"], 1_237);
    }
}
