//! Exactly once: an id has one outcome, and one of its attempts takes effect.

use super::Summary;
use super::report::{Kind, Report};
use super::resolve::{Resolved, Tx};
use crate::history::{Status, Transaction};

pub(super) fn check(resolved: &Resolved<'_>, report: &mut Report, summary: &mut Summary) {
    for attempts in
        resolved.attempts.iter().filter(|attempts| attempts.len() > 1 || alone(resolved, attempts))
    {
        summary.retried_ids += usize::from(attempts.len() > 1);
        one_effect(resolved, attempts, report);
        one_answer(resolved, attempts, report);
        no_abort_beside_commit(resolved, attempts, report);
        replays_have_a_winner(resolved, attempts, report);
    }
}

/// A single attempt can only be wrong if it was a replay.
fn alone(resolved: &Resolved<'_>, attempts: &[Tx]) -> bool {
    attempts.first().is_some_and(|&tx| resolved.transaction(tx).replayed)
}

/// At most one attempt was acked as its own commit or had a value read.
fn one_effect(resolved: &Resolved<'_>, attempts: &[Tx], report: &mut Report) {
    let effective: Vec<Tx> = attempts.iter().copied().filter(|&tx| resolved.effective[tx as usize]).collect();
    if effective.len() > 1 {
        two(resolved, &effective, "took effect, though they are attempts of one id", report);
    }
}

/// All acks tell the same version and result.
fn one_answer(resolved: &Resolved<'_>, attempts: &[Tx], report: &mut Report) {
    let acks = || of(resolved, attempts, |transaction| transaction.status == Status::Committed);
    let versions = || {
        let settled = |transaction: &Transaction| transaction.status != Status::Aborted;
        of(resolved, attempts, settled).filter(|&tx| resolved.transaction(tx).version.is_some())
    };
    let version_of = |tx| resolved.transaction(tx).version;
    let result_of = |tx| &resolved.transaction(tx).result;
    if let Some(first) = versions().next()
        && let Some(other) = versions().find(|&tx| version_of(tx) != version_of(first))
    {
        two(resolved, &[first, other], "have different versions, though they are one transaction", report);
    }
    if let Some(first) = acks().next()
        && let Some(other) = acks().find(|&tx| result_of(tx) != result_of(first))
    {
        let [one, two_] = [first, other].map(result_of);
        let problem =
            format!("were told different results, {one:?} and {two_:?}, though they are one transaction");
        two(resolved, &[first, other], &problem, report);
    }
}

/// An id that was decided as aborted has no ack and no effect.
fn no_abort_beside_commit(resolved: &Resolved<'_>, attempts: &[Tx], report: &mut Report) {
    let aborted = of(resolved, attempts, |transaction| {
        transaction.status == Status::Aborted && transaction.abort_decided
    })
    .next();
    let committed = attempts
        .iter()
        .copied()
        .find(|&tx| resolved.effective[tx as usize] || resolved.transaction(tx).status == Status::Committed);
    if let (Some(aborted), Some(committed)) = (aborted, committed) {
        two(resolved, &[aborted, committed], "say that their id was aborted, and that it committed", report);
    }
}

/// Where there is a replay, some attempt committed or may have.
fn replays_have_a_winner(resolved: &Resolved<'_>, attempts: &[Tx], report: &mut Report) {
    let replay = of(resolved, attempts, |transaction| transaction.replayed).next();
    let may_have_won = |transaction: &Transaction| match transaction.status {
        Status::Committed => !transaction.replayed,
        Status::Unknown => true,
        Status::Aborted => false,
    };
    if let Some(replay) = replay
        && of(resolved, attempts, may_have_won).next().is_none()
    {
        report.add(Kind::TwoOutcomes, || {
            let text = format!("{} replays a commit that no attempt of its id made", resolved.name(replay));
            (resolved.involved(&[replay]), text)
        });
    }
}

fn of(
    resolved: &Resolved<'_>,
    attempts: &[Tx],
    wanted: impl Fn(&Transaction) -> bool,
) -> impl Iterator<Item = Tx> {
    attempts.iter().copied().filter(move |&tx| wanted(resolved.transaction(tx)))
}

fn two(resolved: &Resolved<'_>, transactions: &[Tx], problem: &str, report: &mut Report) {
    report.add(Kind::TwoOutcomes, || {
        let names: Vec<String> = transactions.iter().map(|&tx| resolved.name(tx)).collect();
        (resolved.involved(transactions), format!("{} {problem}", names.join(" and ")))
    });
}
