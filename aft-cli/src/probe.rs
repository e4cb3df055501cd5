//! `aft probe`: whether a store keeps what aft builds on, before anyone trusts it.

mod checks;
mod clean;
mod clocks;
mod connections;
mod latency;
mod plan;
mod race;
mod report;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Clock, Storage, StorageError, SystemClock, TxnId};

use crate::args::Probe as Args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, count};
use crate::progress::Progress;
use crate::signals::interrupted;
use crate::store::Store;

use connections::Connections;
use plan::{Plan, Trouble};
use report::{Finding, Outcome, Report};

/// How many objects that could not be removed are named one by one.
const NAMED: usize = 20;
/// How long removing what was made may take.
const CLEANUP: Duration = Duration::from_secs(120);

/// A probe of one store, and what it found so far.
#[derive(Debug)]
struct Probe {
    connections: Connections,
    clock: Arc<dyn Clock>,
    plan: Plan,
    report: Report,
}

/// How a probe ended.
#[derive(Debug)]
enum End {
    /// Everything was asked.
    Complete,
    /// The store could not be asked.
    Trouble(Trouble),
    /// The time was up.
    Late,
    /// Somebody stopped it.
    Interrupted,
}

impl Probe {
    fn new(url: &str, stores: Vec<Arc<dyn Storage>>, clock: Arc<dyn Clock>, plan: Plan) -> Self {
        let connections = Connections::new(stores);
        let report = Report::new(url, connections.count(), plan.max_clock_skew);
        Self { connections, clock, plan, report }
    }

    /// Asks everything. What is found stays found when this ends early, or is dropped.
    async fn ask(&mut self, progress: &Progress) -> Result<(), Trouble> {
        let Self { connections, clock, plan, report } = self;
        race::run(connections, plan, &mut report.races, || progress.advance(1)).await?;
        for group in checks::GROUPS {
            let checked = checks::run(group, connections, plan).await;
            let checked = unless_unsafe(checked, group.name, plan, report)?;
            report.findings.extend(checked);
            progress.advance(1);
        }
        let compared = clocks::run(connections, &**clock, plan).await;
        report.clock = unless_unsafe(answered(compared, report), "clock", plan, report)?.flatten().flatten();
        let measured = latency::run(connections, &**clock, plan).await;
        let measured = unless_unsafe(answered(measured, report), "latency", plan, report)?.flatten();
        report.latencies = measured.unwrap_or_default();
        Ok(())
    }

    /// Asks everything until it is done, fails, takes too long or `stop` ends; then removes what was made.
    async fn run<F>(&mut self, progress: &Progress, stop: impl Fn() -> F) -> (End, Option<StorageError>)
    where
        F: Future<Output = ()>,
    {
        let began = self.clock.monotonic();
        let timeout = self.plan.timeout;
        let end = tokio::select! {
            asked = tokio::time::timeout(timeout, self.ask(progress)) => match asked {
                Ok(Ok(())) => End::Complete,
                Ok(Err(trouble)) => End::Trouble(trouble),
                Err(_) => End::Late,
            },
            () = stop() => End::Interrupted,
        };
        let cause = tokio::select! {
            cause = self.clean() => cause,
            // Stopped a second time: whoever does that wants to go.
            () = stop() => {
                self.report.left_over = self.connections.created();
                None
            }
        };
        self.report.took = self.clock.monotonic().saturating_sub(began);
        self.report.requests = self.connections.requests();
        self.report.keeps_versions = self.connections.keeps_versions();
        (end, cause)
    }

    /// Removes what was made, and notes what could not be.
    async fn clean(&mut self) -> Option<StorageError> {
        let distrust = !self.report.reasons().is_empty();
        let cleaning = clean::run(&self.connections, &self.plan, distrust);
        match tokio::time::timeout(self.plan.cleanup_timeout, cleaning).await {
            Ok(left) => {
                self.report.left_over = left.paths;
                left.cause
            }
            Err(_) => {
                self.report.left_over = self.connections.created();
                let late = format!("not done within {} s", self.plan.cleanup_timeout.as_secs());
                Some(StorageError::unknown(self.plan.prefix.as_str()).with_source(late))
            }
        }
    }
}

/// What a measurement came to; a finding where it met an object that is gone, or one that should not be there.
fn answered<T>(result: Result<T, Trouble>, report: &mut Report) -> Result<Option<T>, Trouble> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Trouble {
            doing,
            cause: cause @ (StorageError::NotFound { .. } | StorageError::AlreadyExists { .. }),
        }) => {
            let detail = format!("{doing}: {cause}");
            report.findings.push(Finding { name: "read after write", outcome: Outcome::Broken, detail });
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

/// A failure to ask ends the probe, unless the store is known to be unsafe: then it is noted, and the rest is asked.
fn unless_unsafe<T>(
    result: Result<T, Trouble>,
    name: &'static str,
    plan: &Plan,
    report: &mut Report,
) -> Result<Option<T>, Trouble> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Trouble { doing, cause }) if !report.reasons().is_empty() => {
            let detail = Failure::storage(doing, cause).line().replace(&plan.prefix, "…/");
            report.findings.push(Finding { name, outcome: Outcome::Failed, detail });
            Ok(None)
        }
        Err(trouble) => Err(trouble),
    }
}

pub(crate) async fn run(args: Args, store: Option<&str>, output: &Output) -> Result<(), Failure> {
    if store.is_some() {
        return Err(Failure::usage("a probe takes its store as an argument, and --store names another")
            .advice("leave --store out"));
    }
    let store = Store::find(Some(&args.url))?;
    let plan = plan(&args);
    let first = store.storage()?;
    let more = (1..args.connections).map(|_| {
        // Each store in memory is one of its own.
        if store.is_in_memory() { Ok(Arc::clone(&first)) } else { store.storage() }
    });
    let more = more.collect::<Result<Vec<_>, _>>()?;
    let stores = [Arc::clone(&first)].into_iter().chain(more).collect();
    let progress = Progress::new(output.is_json(), "probe", (args.rounds + checks::GROUPS.len()) as u64);
    let mut probe = Probe::new(&store.shown(), stores, Arc::new(SystemClock::new()), plan);
    let (end, left_by) = probe.run(&progress, interrupted).await;
    drop(progress);
    conclude(&probe, end, left_by, output)
}

fn plan(args: &Args) -> Plan {
    Plan {
        prefix: format!("aft-probe-{}/", TxnId::new()),
        rounds: args.rounds,
        racers: args.racers,
        objects: args.objects,
        latencies: 100,
        clock_samples: 24,
        clock_spacing: Duration::from_millis(50),
        max_clock_skew: args.max_clock_skew.into(),
        timeout: args.timeout.into(),
        cleanup_timeout: CLEANUP,
    }
}

/// Says what was found, and how it ended.
fn conclude(probe: &Probe, end: End, left_by: Option<StorageError>, output: &Output) -> Result<(), Failure> {
    let Probe { report, plan, .. } = probe;
    let is_unsafe = !report.reasons().is_empty();
    let complete = matches!(end, End::Complete);
    if complete || is_unsafe {
        if output.is_json() {
            output.json(&report.document(complete))?;
        } else {
            output.lines([report.text()])?;
        }
    }
    let ended = match (ended(end, plan), is_unsafe) {
        (ended, false) => ended,
        (Ok(()), true) => Err(unsafe_store(report)),
        (Err(early), true) => {
            Err(unsafe_store(report).items([format!("the probe did not get further: {}", early.line())]))
        }
    };
    let remains = remains(probe);
    match ended {
        Err(failure) => Err(failure.items(remains)),
        Ok(()) if report.left_over.is_empty() => {
            remains.into_iter().for_each(|line| output.note(format!("warning: {line}")));
            Ok(())
        }
        Ok(()) => {
            let failure =
                Failure::new(Exit::Error, "the probe could not remove all that it wrote").items(remains);
            Err(match left_by {
                Some(cause) => failure.because(cause),
                None => failure,
            })
        }
    }
}

fn unsafe_store(report: &Report) -> Failure {
    Failure::new(Exit::Unsafe, format!("{} is unsafe for aft", report.url))
}

/// What the probe may leave behind, line by line.
fn remains(probe: &Probe) -> Vec<String> {
    let (unanswered, prefix) = (probe.connections.unanswered(), &probe.plan.prefix);
    let mut lines = Vec::new();
    if !unanswered.is_empty() {
        let creates = count(unanswered.len(), "create");
        lines
            .push(format!("{creates} never answered for certain, and may still make objects below {prefix}"));
    }
    let left = &probe.report.left_over;
    lines.extend(left.iter().take(NAMED).map(|path| format!("not removed: {path}")));
    if left.len() > NAMED {
        lines.push(format!("not removed: {} more, all below {prefix}", left.len() - NAMED));
    }
    lines
}

/// The error of a probe that ended early.
fn ended(end: End, plan: &Plan) -> Result<(), Failure> {
    const NO_VERDICT: &str = "there is no verdict; nothing unsafe was seen as far as it came";
    match end {
        End::Complete => Ok(()),
        End::Trouble(Trouble { doing, cause }) => {
            let failure = Failure::storage(format!("the probe failed: {doing}"), cause);
            // What it writes is removed again: nothing is left in doubt for the user.
            Err(failure.or_unavailable().advice(NO_VERDICT))
        }
        End::Late => {
            let limit = humantime::format_duration(plan.timeout);
            Err(Failure::new(Exit::Unavailable, format!("the probe was not done within {limit}")).advice(
                format!("{NO_VERDICT}; give it more time with --timeout, or less to do with --rounds"),
            ))
        }
        End::Interrupted => Err(Failure::new(Exit::Error, "the probe was stopped").advice(NO_VERDICT)),
    }
}
