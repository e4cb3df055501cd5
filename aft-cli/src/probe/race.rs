//! Races: many create one path at the same moment. Exactly one may win; who lost reads back at once, as aft does, and
//! must see the winner's bytes; and nobody ever sees anything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aft_core::{Storage, StorageError};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::connections::Connections;
use super::plan::{Plan, Trouble, patiently};

/// How many bytes a racer writes, race by race: a decision of a few bytes, what fits into a server's first buffer and what does not.
/// One server was seen to have two winners with 1,200 bytes, and never with 4,096. All are enough that a torn object would show.
const RACER_BYTES: [usize; 4] = [1200, 4096, 128 << 10, 64];

/// What was seen of all races.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Races with an answer.
    pub(crate) rounds: usize,
    /// How many created one path in each.
    pub(crate) racers: usize,
    /// Races with exactly one winner.
    pub(crate) one_winner: usize,
    /// Races with more than one: each loses commits.
    pub(crate) several_winners: usize,
    /// The most winners that one path had.
    pub(crate) most_winners: usize,
    /// Races in which the object was made, and its maker was told that it exists already. aft reads back, so it does no harm.
    pub(crate) unclaimed: usize,
    /// Losers that read back before the winner was answered, and found nothing yet. Does no harm either.
    pub(crate) early_losers: usize,
    /// Races that were run again, since an error left open who won.
    pub(crate) repeated: usize,
    /// What else must not happen, and in how many races it did.
    pub(crate) violations: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Why the store is unsafe, if it is.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.several_winners > 0 {
            reasons.push(format!(
                "in {} of {} races more than one of {} creators of one object won, up to {} of them: commits would be lost",
                self.several_winners, self.rounds, self.racers, self.most_winners
            ));
        }
        let others = self.violations.iter();
        reasons.extend(others.map(|(what, races)| format!("in {races} of {} races {what}", self.rounds)));
        reasons
    }
}

/// What a racer found when it read back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// This object.
    Object(Bytes),
    /// Nothing, and the winner was not answered yet when it asked.
    NothingYet,
    /// Nothing, although the winner was answered before it asked.
    Nothing,
    /// It could not be read.
    Unread,
}

/// How a racer's create ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Won,
    Lost(Seen),
    /// It may have won.
    Open,
    /// Nothing happened.
    Refused,
}

/// What a race came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Judgement {
    /// These many winners, and what else was wrong.
    Settled { winners: usize, violations: Vec<&'static str> },
    /// The object is there, and nobody was told that he made it.
    Unclaimed { violations: Vec<&'static str> },
    /// Errors left it open.
    Inconclusive,
}

/// Runs the races, and notes what is seen as it is seen.
///
/// # Errors
/// Where the store cannot be asked, or too many races stay open.
pub(crate) async fn run(
    connections: &Connections,
    plan: &Plan,
    tally: &mut Tally,
    advance: impl Fn(),
) -> Result<(), Trouble> {
    tally.racers = plan.racers;
    let mut number = 0;
    while tally.rounds < plan.rounds {
        let path = format!("{}race/{number:06}", plan.prefix);
        let bytes = RACER_BYTES[number % RACER_BYTES.len()];
        number += 1;
        let (judgement, early, open) = round(connections, &path, plan.racers, bytes).await?;
        let violations = match judgement {
            Judgement::Inconclusive => {
                tally.repeated += 1;
                if tally.repeated > plan.rounds + 3 {
                    let cause = open.unwrap_or_else(|| StorageError::unavailable(path));
                    return Err(Trouble::new(
                        "racing for an object: too many races were left open by errors",
                        cause,
                    ));
                }
                continue;
            }
            Judgement::Unclaimed { violations } => {
                tally.unclaimed += 1;
                violations
            }
            Judgement::Settled { winners, violations } => {
                tally.one_winner += usize::from(winners == 1);
                tally.several_winners += usize::from(winners > 1);
                tally.most_winners = tally.most_winners.max(winners);
                violations
            }
        };
        tally.rounds += 1;
        tally.early_losers += early;
        for violation in violations {
            *tally.violations.entry(violation).or_default() += 1;
        }
        advance();
    }
    Ok(())
}

/// One race: what it came to, how many losers were early, and an error that left it open.
async fn round(
    connections: &Connections,
    path: &str,
    racers: usize,
    bytes: usize,
) -> Result<(Judgement, usize, Option<StorageError>), Trouble> {
    let over = AtomicBool::new(false);
    let racing = async {
        let answers = race(connections, path, racers, bytes).await;
        over.store(true, Ordering::Release);
        answers
    };
    let (answers, watched) = tokio::join!(racing, watch(connections, path, &over));
    let (answers, open) = answers?;
    let mut settled = Vec::new();
    for number in 0..connections.count() {
        let connection = connections.pin(number);
        match patiently(|| connection.get(path)).await {
            Ok(object) => settled.push(Some(object.bytes)),
            Err(StorageError::NotFound { .. }) => settled.push(None),
            Err(cause) => return Err(Trouble::new("reading what was raced for", cause)),
        }
    }
    let early = answers.iter().filter(|(_, answer)| *answer == Answer::Lost(Seen::NothingYet)).count();
    Ok((judge(&answers, &watched, &settled, bytes), early, open))
}

type Answers = Vec<(usize, Answer)>;

/// Lets all racers create `path` at the same moment, each through its own connection as far as there are enough.
async fn race(
    connections: &Connections,
    path: &str,
    racers: usize,
    bytes: usize,
) -> Result<(Answers, Option<StorageError>), Trouble> {
    let (start, won) = (Arc::new(Barrier::new(racers)), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for racer in 0..racers {
        let (connection, path) = (connections.pin(racer), path.to_owned());
        let (start, won) = (Arc::clone(&start), Arc::clone(&won));
        tasks.spawn(async move {
            start.wait().await;
            (racer, one(&connection, &path, (racer, bytes), &won).await)
        });
    }
    let (mut answers, mut open, mut failed) = (Vec::with_capacity(racers), None, None);
    // All of them, also after a failure: a create that is given up half-way may still land.
    while let Some(answer) = tasks.join_next().await {
        let lost = |error: tokio::task::JoinError| {
            Trouble::new("racing for an object", StorageError::unknown(path).with_source(error))
        };
        let (racer, answer) = answer.map_err(lost)?;
        match answer {
            Ok((answer, error)) => {
                answers.push((racer, answer));
                open = open.or(error);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match failed {
        Some(cause) => Err(Trouble::new("racing for an object", cause)),
        None => Ok((answers, open)),
    }
}

/// One racer: creates, and reads back where it lost.
async fn one(
    connection: &Connections,
    path: &str,
    (racer, bytes): (usize, usize),
    won: &AtomicBool,
) -> Result<(Answer, Option<StorageError>), StorageError> {
    match connection.create(path, racer_bytes(racer, bytes)).await {
        Ok(()) => {
            won.store(true, Ordering::Release);
            Ok((Answer::Won, None))
        }
        Err(StorageError::AlreadyExists { .. }) => {
            let answered = won.load(Ordering::Acquire);
            let seen = match connection.get(path).await {
                Ok(object) => Seen::Object(object.bytes),
                Err(StorageError::NotFound { .. }) if answered => Seen::Nothing,
                Err(StorageError::NotFound { .. }) => Seen::NothingYet,
                Err(error) if error.is_transient() => return Ok((Answer::Lost(Seen::Unread), Some(error))),
                Err(error) => return Err(error),
            };
            Ok((Answer::Lost(seen), None))
        }
        Err(error @ StorageError::Unknown { .. }) => Ok((Answer::Open, Some(error))),
        Err(error @ StorageError::Unavailable { .. }) => Ok((Answer::Refused, Some(error))),
        Err(error) => Err(error),
    }
}

/// What a bystander sees of `path` until the race is over.
async fn watch(connections: &Connections, path: &str, over: &AtomicBool) -> Vec<Bytes> {
    let mut seen: Vec<Bytes> = Vec::new();
    let mut wait = Duration::from_millis(1);
    while !over.load(Ordering::Acquire) {
        // What it cannot read it does not see: errors are the racers' to report.
        if let Ok(object) = connections.get(path).await
            && !seen.contains(&object.bytes)
        {
            seen.push(object.bytes);
        }
        tokio::time::sleep(wait).await;
        // Often in the first moments, which matter, and seldom in a race that takes seconds.
        wait = (wait * 2).min(Duration::from_millis(50));
    }
    seen
}

const LOST_NOTHING: &str =
    "a creator that had lost read back after the winner was answered, and found nothing";
const GONE: &str = "a connection did not find the object after the race was over";
const OTHER: &str = "the object that stayed is not what the winner wrote";
const DIFFER: &str = "two connections read different objects at one path after the race was over";
const CHANGED: &str = "a reader saw another object than the one that stayed, or a part of it";

/// Judges a race with `size` bytes by the answers, by what a bystander saw, and by what each connection reads once it is over.
fn judge(
    answers: &[(usize, Answer)],
    watched: &[Bytes],
    settled: &[Option<Bytes>],
    size: usize,
) -> Judgement {
    let winners: Vec<usize> =
        answers.iter().filter(|(_, answer)| *answer == Answer::Won).map(|(racer, _)| *racer).collect();
    let open = answers.iter().any(|(_, answer)| *answer == Answer::Open);
    if winners.len() > 1 {
        // All else follows from it.
        return Judgement::Settled { winners: winners.len(), violations: Vec::new() };
    }
    let stays = settled.iter().flatten().next();
    if winners.is_empty() && (open || stays.is_none()) {
        return Judgement::Inconclusive;
    }
    let mut violations = Vec::new();
    let mut violated = |broken: bool, what: &'static str| {
        if broken {
            violations.push(what);
        }
    };
    let found = |seen: &Seen| answers.iter().any(|(_, answer)| *answer == Answer::Lost(seen.clone()));
    violated(found(&Seen::Nothing), LOST_NOTHING);
    violated(settled.iter().any(Option::is_none), GONE);
    violated(settled.iter().flatten().any(|bytes| Some(bytes) != stays), DIFFER);
    let racers = answers.iter().map(|(racer, _)| *racer);
    let mut candidates: Vec<usize> = if winners.is_empty() { racers.collect() } else { winners.clone() };
    candidates.retain(|racer| stays.is_none_or(|bytes| *bytes == racer_bytes(*racer, size)));
    violated(candidates.is_empty(), OTHER);
    let read_back = answers.iter().filter_map(|(_, answer)| match answer {
        Answer::Lost(Seen::Object(bytes)) => Some(bytes),
        _ => None,
    });
    violated(read_back.chain(watched).any(|bytes| Some(bytes) != stays), CHANGED);
    if winners.is_empty() {
        Judgement::Unclaimed { violations }
    } else {
        Judgement::Settled { winners: 1, violations }
    }
}

fn racer_bytes(racer: usize, bytes: usize) -> Bytes {
    let word = (racer as u64).to_be_bytes();
    word.repeat(bytes / word.len()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn racer_bytes(racer: usize) -> Bytes {
        super::racer_bytes(racer, 64)
    }

    fn lost(racer: usize) -> Answer {
        Answer::Lost(Seen::Object(racer_bytes(racer)))
    }

    fn judged(answers: &[Answer], watched: &[Bytes], settled: &[Option<usize>]) -> Judgement {
        let answers: Vec<_> = answers.iter().cloned().enumerate().collect();
        let settled: Vec<_> = settled.iter().map(|racer| racer.map(racer_bytes)).collect();
        judge(&answers, watched, &settled, 64)
    }

    #[test]
    fn each_race_is_judged_by_what_all_saw() {
        let settled = |winners, violations: &[&'static str]| Judgement::Settled {
            winners,
            violations: violations.to_vec(),
        };
        let both = &[Some(1), Some(1)];
        let race = |loser| [loser, Answer::Won];
        assert_eq!(judged(&race(lost(1)), &[racer_bytes(1)], both), settled(1, &[]));
        assert_eq!(judged(&race(Answer::Lost(Seen::NothingYet)), &[], both), settled(1, &[]));
        assert_eq!(judged(&race(Answer::Lost(Seen::Unread)), &[], both), settled(1, &[]));
        assert_eq!(judged(&race(Answer::Open), &[], both), settled(1, &[]));
        assert_eq!(judged(&race(Answer::Won), &[], both), settled(2, &[]));
        assert_eq!(judged(&race(Answer::Lost(Seen::Nothing)), &[], both), settled(1, &[LOST_NOTHING]));
        assert_eq!(judged(&race(lost(0)), &[], both), settled(1, &[CHANGED]));
        let torn = racer_bytes(1).slice(1..);
        assert_eq!(judged(&race(lost(1)), &[torn], both), settled(1, &[CHANGED]));
        assert_eq!(judged(&race(lost(1)), &[], &[Some(1), None]), settled(1, &[GONE]));
        assert_eq!(judged(&race(lost(1)), &[], &[Some(1), Some(0)]), settled(1, &[DIFFER]));
        assert_eq!(judged(&race(lost(0)), &[], &[Some(0), Some(0)]), settled(1, &[OTHER]));
        assert_eq!(
            judged(&race(Answer::Lost(Seen::Nothing)), &[], &[None, None]),
            settled(1, &[LOST_NOTHING, GONE])
        );
    }

    #[test]
    fn without_a_winner_only_an_object_that_is_there_settles_a_race() {
        let early = Answer::Lost(Seen::NothingYet);
        assert_eq!(judged(&[lost(1), lost(1)], &[], &[Some(1)]), Judgement::Unclaimed { violations: vec![] });
        assert_eq!(
            judged(&[lost(7), lost(7)], &[], &[Some(7)]),
            Judgement::Unclaimed { violations: vec![OTHER] }
        );
        assert_eq!(judged(&[early.clone(), early], &[], &[None]), Judgement::Inconclusive);
        assert_eq!(judged(&[lost(1), Answer::Open], &[], &[Some(1)]), Judgement::Inconclusive);
        assert_eq!(judged(&[Answer::Refused, Answer::Refused], &[], &[None]), Judgement::Inconclusive);
    }
}
