//! Runs many seeds of the simulator: `simulate --seeds 10000`, `simulate --seed 7 --trace`.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

use aft_core::planted::Planted;
use aft_tests::sim::{Options, Report, run};
use clap::Parser;

/// Simulates nodes and faults, and judges what their clients saw.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed; with `--seeds 1` the only one.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many threads.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Plants a bug, by its name in `aft_core::planted`.
    #[arg(long)]
    bug: Option<String>,
    /// Lets nodes make checkpoints and collect garbage in every seed, and not only in every fifth.
    #[arg(long)]
    upkeep: bool,
    /// Whether listings lie.
    #[arg(long)]
    lies: Option<bool>,
    /// Whether objects and the whole store are dated anew.
    #[arg(long)]
    redates: Option<bool>,
    /// Prints all events of each failing seed, and not only those that concern the violation.
    #[arg(long)]
    trace: bool,
    /// Writes the history of the last seed as JSON lines.
    #[arg(long)]
    history: Option<std::path::PathBuf>,
}

/// What many runs came to.
#[derive(Debug, Default)]
struct Total {
    runs: u64,
    failed: Vec<u64>,
    transactions: usize,
    committed: usize,
    unknown: usize,
    replayed: usize,
    checks: BTreeMap<&'static str, usize>,
    nodes: u64,
    requests: u64,
    faults: BTreeMap<&'static str, u64>,
    upkeep: BTreeMap<String, u64>,
}

impl Total {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.nodes += report.nodes;
        self.requests += report.requests.requests();
        self.transactions += report.history.transactions.len();
        if let Some(summary) = &report.summary {
            self.committed += summary.committed;
            self.unknown += summary.unknown;
            self.replayed += summary.replayed;
            for (check, times) in [
                ("reads judged by the rule of Read Atomic", summary.reads),
                ("reads of absent keys among them", summary.absent_reads),
                ("edges of the graph without a cycle", summary.edges),
                ("ids with several attempts, one outcome each", summary.retried_ids),
                ("reads compared with a receipt", summary.receipt_reads),
                ("reads compared with what had to be visible", summary.visibility_reads),
                ("final reads compared with what was acked", summary.final_reads),
            ] {
                *self.checks.entry(check).or_default() += times;
            }
        }
        for (fault, times) in &report.faults {
            *self.faults.entry(fault).or_default() += times;
        }
        for (what, times) in &report.upkeep {
            *self.upkeep.entry(what.clone()).or_default() += times;
        }
        if !report.violations.is_empty() {
            self.failed.push(report.seed);
        }
    }

    fn print(&self) {
        let Self {
            runs,
            transactions,
            committed,
            unknown,
            replayed,
            checks,
            nodes,
            requests,
            faults,
            upkeep,
            failed,
        } = self;
        println!(
            "{runs} seeds, {nodes} nodes, {transactions} transactions ({committed} committed, {replayed} of them replayed, {unknown} unknown), {requests} requests"
        );
        println!("checks made:");
        for (check, times) in checks {
            println!("{times:>10}  {check}");
        }
        println!("faults injected:");
        for (fault, times) in faults {
            println!("{times:>10}  {fault}");
        }
        println!("decisions, checkpoints and garbage:");
        for (what, times) in upkeep {
            println!("{times:>10}  {what}");
        }
        println!("{} passed, {} failed", runs - failed.len() as u64, failed.len());
        if !failed.is_empty() {
            println!("failed seeds: {failed:?}");
        }
    }
}

fn show(report: &Report, arguments: &Arguments) {
    println!("seed {} fails:", report.seed);
    for violation in report.violations.iter().take(12) {
        println!("  {violation}");
    }
    let mut bug = arguments.bug.as_ref().map_or(String::new(), |bug| format!(" --bug {bug}"));
    if arguments.upkeep {
        bug += " --upkeep";
    }
    for (flag, value) in [("lies", arguments.lies), ("redates", arguments.redates)] {
        if let Some(value) = value {
            bug += &format!(" --{flag} {value}");
        }
    }
    println!(
        "replay: cargo run --release -p aft-tests --bin simulate -- --seeds 1 --seed {}{bug} --trace",
        report.seed
    );
    let events: Vec<_> =
        if arguments.trace { report.events.iter().collect() } else { report.around().collect() };
    for event in events {
        println!("{event}");
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bug = match &arguments.bug {
        None => None,
        Some(name) => match Planted::ALL.iter().find(|bug| format!("{bug:?}") == *name) {
            Some(bug) => Some(*bug),
            None => {
                println!("no such bug; there are {:?}", Planted::ALL);
                return ExitCode::from(2);
            }
        },
    };
    let (upkeep, lies, redates) = (arguments.upkeep.then_some(true), arguments.lies, arguments.redates);
    let options = Options { bug, upkeep, lies, redates, ..Options::default() };
    let total = parking_lot::Mutex::new(Total::default());
    let next = std::sync::atomic::AtomicU64::new(arguments.seed);
    let end = arguments.seed + arguments.seeds;
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.min(arguments.seeds) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run(seed, &options);
                    let mut total = total.lock();
                    total.add(&report);
                    if !report.violations.is_empty() && total.failed.len() <= 5 {
                        show(&report, &arguments);
                    }
                    if total.runs.is_multiple_of(500) {
                        println!(
                            "… {} of {} seeds, {} failed",
                            total.runs,
                            arguments.seeds,
                            total.failed.len()
                        );
                    }
                    if seed + 1 == end
                        && let Some(path) = &arguments.history
                    {
                        let written = File::create(path)
                            .and_then(|file| report.history.write_json_lines(BufWriter::new(file)));
                        println!("{}: {written:?}", path.display());
                    }
                }
            });
        }
    });
    let total = total.into_inner();
    total.print();
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
