//! How the sides of a case compare: run in turn, a little of each at a time, so that a machine that slows down slows
//! both.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::cases::{Case, Run};
use crate::counts::Row;

/// How long one side's turn takes, unless one operation takes longer.
const TURN: Duration = Duration::from_millis(5);
/// How many rounds there are, and when to stop before.
const ROUNDS: usize = 51;
const FEWEST_ROUNDS: usize = 7;
const ENOUGH: Duration = Duration::from_millis(2_000);

/// A number and what half of all rounds lie between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The lower quartile.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The upper quartile.
    pub high: f64,
}

impl Spread {
    /// Of these numbers, of which there must be one.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn of(mut all: Vec<f64>) -> Self {
        all.sort_unstable_by(f64::total_cmp);
        let at = |quarter: usize| all[(all.len() - 1) * quarter / 4];
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// How one of aft's sides compares.
#[derive(Debug, Clone)]
pub struct Compared {
    /// What was done, to how much of it, under which circumstances.
    pub line: [String; 3],
    /// Time of aft over time of the plain alternative.
    pub ratio: Spread,
    /// Seconds that aft took, and the plain alternative.
    pub seconds: [f64; 2],
}

/// Compares the sides of a case.
///
/// # Panics
/// Where a store fails.
#[must_use]
pub fn compare(runtime: &Runtime, case: &Case) -> Vec<Compared> {
    let calibrated: Vec<u64> = case.sides.iter().map(|(_, run)| per_turn(runtime, run)).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); case.sides.len()];
    let mut spent = Duration::ZERO;
    for round in 0..ROUNDS {
        if round >= FEWEST_ROUNDS && spent > ENOUGH {
            break;
        }
        for turn in 0..case.sides.len() {
            // Nobody always comes first.
            let side = (round + turn) % case.sides.len();
            let elapsed = runtime.block_on(case.sides[side].1(calibrated[side]));
            times[side].push(elapsed.as_secs_f64() / calibrated[side] as f64);
            spent += elapsed;
        }
    }
    let plain = &times[0];
    let compared = case.sides.iter().zip(&times).skip(1).map(|((name, _), aft)| {
        let how = name.strip_prefix("aft").unwrap_or(name).trim();
        Compared {
            line: [case.group.to_owned(), case.what.to_string(), how.to_owned()],
            ratio: Spread::of(aft.iter().zip(plain).map(|(aft, plain)| aft / plain).collect()),
            seconds: [Spread::of(aft.clone()).median, Spread::of(plain.clone()).median],
        }
    });
    compared.collect()
}

/// How many operations fill a turn.
fn per_turn(runtime: &Runtime, run: &Run) -> u64 {
    let mut count = 1;
    // The first one makes what the case needs.
    let mut elapsed = runtime.block_on(run(1));
    while elapsed < TURN && count < 1 << 20 {
        let missing = TURN.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        count = (count * 2).max((count as f64 * missing.min(10.0)) as u64);
        elapsed = runtime.block_on(run(count));
    }
    ((count as f64 * TURN.as_secs_f64() / elapsed.as_secs_f64()).ceil() as u64).clamp(1, count)
}

/// A Markdown table: one line per operation, one column per backend.
#[must_use]
pub fn table(columns: &[(String, Vec<Compared>)], show: impl Fn(&Compared) -> String) -> String {
    let mut table = String::from("| operation | what | aft |");
    table.extend(columns.iter().map(|(name, _)| format!(" {name} |")));
    table.push_str("\n|---|---|---|");
    table.extend(columns.iter().map(|_| "---|"));
    table.push('\n');
    let mut lines: Vec<&[String; 3]> = Vec::new();
    for compared in columns.iter().flat_map(|(_, all)| all) {
        if !lines.contains(&&compared.line) {
            lines.push(&compared.line);
        }
    }
    for line in lines {
        let _ = write!(table, "| {} |", line.join(" | "));
        for (_, all) in columns {
            let cell = all.iter().find(|compared| compared.line == *line).map_or_else(String::new, &show);
            let _ = write!(table, " {cell} |");
        }
        table.push('\n');
    }
    table
}

/// The ratio and its spread.
#[must_use]
pub fn ratio(compared: &Compared) -> String {
    let Spread { low, median, high } = compared.ratio;
    format!("**{}** ({}–{})", number(median), number(low), number(high))
}

/// The times behind the ratio, aft's and the plain one.
#[must_use]
pub fn times(compared: &Compared) -> String {
    let [aft, plain] = compared.seconds;
    format!("{} / {}", time(aft), time(plain))
}

/// Two digits are all that a noisy machine is good for.
fn number(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 10.0 => format!("{ratio:.0}"),
        ratio if ratio >= 1.0 => format!("{ratio:.1}"),
        ratio if ratio >= 0.1 => format!("{ratio:.2}"),
        ratio => format!("{ratio:.3}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds >= 1e-6 => format!("{:.1} µs", seconds * 1e6),
        seconds => format!("{:.0} ns", seconds * 1e9),
    }
}

/// Request counts as a Markdown table.
#[must_use]
pub fn count_table(rows: &[Row]) -> String {
    let mut table = String::from(
        "| operation | aft: requests | bytes written | bytes read | plain |\n|---|---|---|---|---|\n",
    );
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
        let _ = writeln!(table, "| {operation} | {requests} | {written} | {read} | {plain} |");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(line: [&str; 3], median: f64) -> Compared {
        let ratio = Spread { low: median * 0.9, median, high: median * 1.1 };
        Compared { line: line.map(str::to_owned), ratio, seconds: [2e-3, 1e-6] }
    }

    #[test]
    fn backends_stand_beside_each_other() {
        let memory = vec![compared(["commit", "2 keys", ""], 12.34)];
        let files = vec![compared(["get", "1 key", "cached"], 0.05), compared(["commit", "2 keys", ""], 1.0)];
        let columns = [("memory".to_owned(), memory), ("files".to_owned(), files)];
        let expected = "| operation | what | aft | memory | files |\n|---|---|---|---|---|\n\
            | commit | 2 keys |  | **12** (11–14) | **1.0** (0.90–1.1) |\n\
            | get | 1 key | cached |  | **0.050** (0.045–0.055) |\n";
        assert_eq!(table(&columns, ratio), expected);
        assert!(table(&columns, times).contains("2.0 ms / 1.0 µs"));
    }

    #[test]
    fn half_of_all_rounds_lie_in_the_spread() {
        let spread = Spread::of(vec![5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { low: 2.0, median: 3.0, high: 4.0 });
    }
}
