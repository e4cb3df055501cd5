//! Every execution of a small scenario: all orders of its nodes' requests, and each accident at each request.
//!
//! A random run finds what is likely; this finds what is possible. Every request of every node waits in front of the store,
//! one at a time has its effect, and a depth-first search runs the scenario anew for every choice that can make a difference.
//!
//! | file | what it does |
//! |---|---|
//! | `scenario`, `actor` | what programs are made of |
//! | `scenarios` | the scenarios |
//! | `request`, `stage` | requests that wait for their turn |
//! | `accident` | the crash or the lost answer of an execution |
//! | `schedule` | which orders there are, without those that nobody can tell apart |
//! | `execution` | one execution |
//! | `audit` | whether the promises held in it: [`crate::checker`], and one outcome for each id |
//!
//! **What is not explored**: two clients of one node, the order of answers to requests that one node has under way at the same
//! time, clocks that are wrong, more than one accident.

mod accident;
mod actor;
mod audit;
mod execution;
mod request;
mod scenario;
mod scenarios;
mod schedule;
mod stage;

use std::collections::BTreeSet;
use std::fmt;

use aft_core::planted::{Planted, plant};

pub use accident::{Accident, Kind};
pub use scenario::Scenario;
pub use scenarios::{scenario, scenarios};

use execution::{Ended, Execution, Plan, execute};
use schedule::Schedule;

/// What is explored.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A bug to plant.
    pub bug: Option<Planted>,
    /// Whether orders that nobody can tell apart are all tried.
    pub unreduced: bool,
    /// Whether nothing goes wrong.
    pub no_accidents: bool,
}

/// What an exploration found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Executions that were run to their end and judged.
    pub executions: usize,
    /// Executions that were given up, because the rest was explored already.
    pub redundant: usize,
    /// Accidents that happened: pairs of a request and what befell its sender.
    pub accidents: usize,
    /// The different things that the scenario's programs saw, where nothing went wrong.
    pub behaviours: BTreeSet<String>,
    /// The first execution in which a promise was broken; the search ends there.
    pub counterexample: Option<Counterexample>,
}

/// An execution in which a promise was broken.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// What went wrong in it.
    pub accident: Option<Accident>,
    /// The effects of all requests, in order.
    pub log: Vec<String>,
    /// The broken promises.
    pub violations: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (step, line) in self.log.iter().enumerate() {
            writeln!(f, "{:>4}  {line}", step + 1)?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "VIOLATION {violation}"))
    }
}

/// Runs every execution of a scenario, up to the first in which a promise is broken.
#[must_use]
pub fn explore(scenario: &Scenario, options: &Options) -> Report {
    let mut search = Search { scenario, unreduced: options.unreduced, report: Report::default() };
    plant(options.bug);
    let sent = search.orders(None);
    if !options.no_accidents {
        for (actor, requests) in sent.into_iter().enumerate() {
            for (request, kind) in (1..=requests).flat_map(|request| Kind::ALL.map(|kind| (request, kind))) {
                if search.report.counterexample.is_none() {
                    search.orders(Some(Accident { actor, request, kind }));
                    search.report.accidents += 1;
                }
            }
        }
    }
    plant(None);
    search.report
}

struct Search<'a> {
    scenario: &'a Scenario,
    unreduced: bool,
    report: Report,
}

impl Search<'_> {
    /// Runs every order under one accident. The most requests that each actor sent.
    fn orders(&mut self, accident: Option<Accident>) -> Vec<usize> {
        let mut schedule = if self.unreduced { Schedule::unreduced() } else { Schedule::default() };
        // What the dead would have read changes nothing in the store. So a death at a read is run once, before it; in other
        // orders it is no different from a death before the next write.
        let mut plan = Plan {
            accident,
            skip_reads: accident.is_some_and(|accident| accident.kind == Kind::CrashDuring),
        };
        let mut most = Vec::new();
        loop {
            let execution = run(self.scenario, plan, &mut schedule);
            most.resize(execution.sent.len(), 0);
            most.iter_mut().zip(&execution.sent).for_each(|(most, sent)| *most = (*most).max(*sent));
            match execution.ended {
                Ended::Redundant => self.report.redundant += 1,
                Ended::Judged(verdict) => {
                    plan.skip_reads |= execution.died_reading;
                    self.report.executions += 1;
                    if accident.is_none() {
                        self.report.behaviours.insert(verdict.behaviour);
                    }
                    if !verdict.violations.is_empty() {
                        let (log, violations) = (execution.log, verdict.violations);
                        self.report.counterexample = Some(Counterexample { accident, log, violations });
                        return most;
                    }
                }
            }
            if !schedule.advance() {
                return most;
            }
        }
    }
}

/// One execution, on a runtime of its own.
#[allow(clippy::expect_used, reason = "without a runtime there is no test")]
fn run(scenario: &Scenario, plan: Plan, schedule: &mut Schedule) -> Execution {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be made");
    runtime.block_on(execute(scenario, plan, |waiting| schedule.choose(waiting)))
}
