//! What must be seen: commits behind receipts, commits older than the bound, and in the end every acked commit.

use super::report::{Kind, Report};
use super::resolve::names::version_text;
use super::resolve::{Resolved, Tx};
use super::{Expectations, FinalRead, Summary, Visibility};
use crate::history::{Status, Version};

pub(super) fn check(
    resolved: &Resolved<'_>,
    expectations: &Expectations,
    report: &mut Report,
    summary: &mut Summary,
) {
    receipts(resolved, report, summary);
    let acked = Acked::new(resolved);
    if let Some(visibility) = expectations.visibility {
        within_bound(resolved, &acked, visibility, report, summary);
    }
    for read in &expectations.final_reads {
        summary.final_reads += 1;
        final_read(resolved, &acked, read, report);
    }
}

/// A transaction that began after a receipt reads, of each key that the receipt's commit wrote, that or newer.
fn receipts(resolved: &Resolved<'_>, report: &mut Report, summary: &mut Summary) {
    for tx in resolved.all().filter(|&tx| resolved.judged[tx as usize]) {
        for receipt in &resolved.transaction(tx).after {
            let Some(&winner) = resolved.winners.get(receipt).filter(|&&winner| winner != tx) else {
                continue;
            };
            for read in &resolved.reads[tx as usize] {
                if resolved.last_write(winner, read.key).is_none() {
                    continue;
                }
                summary.receipt_reads += 1;
                let version = resolved.version[winner as usize];
                let older = match resolved.read_version(read) {
                    // No version is needed to tell that nothing is older than something.
                    Some(Version::ABSENT) => true,
                    Some(found) => version.is_some_and(|version| found < version),
                    None => false,
                };
                if older {
                    report.add(Kind::ReceiptNotSeen, || {
                        let text = format!(
                            "{}, though it began after the receipt of {}",
                            resolved.operation(tx, read.op as usize),
                            resolved.last_write_of(winner, read.key),
                        );
                        (resolved.involved(&[tx, winner]), text)
                    });
                }
            }
        }
    }
}

/// A commit of a key, from the moment somebody was told of it.
#[derive(Debug, Clone, Copy)]
struct Ack {
    at_ms: u64,
    /// The commit with the greatest version of all that were acked until then.
    newest: (Version, Tx),
}

/// The acked commits of each key, by the time of their ack.
struct Acked(Vec<Vec<Ack>>);

impl Acked {
    fn new(resolved: &Resolved<'_>) -> Self {
        let mut acked = vec![Vec::new(); resolved.keys.len()];
        let mut replayed_ms = vec![None; resolved.history.transactions.len()];
        for attempts in &resolved.attempts {
            let replays =
                attempts.iter().map(|&tx| resolved.transaction(tx)).filter(|replay| replay.replayed);
            if let Some(&winner) = resolved.winners.get(&resolved.transaction(attempts[0]).id) {
                replayed_ms[winner as usize] = replays.map(|replay| replay.ended_ms).min();
            }
        }
        for tx in resolved.all().filter(|&tx| resolved.effective[tx as usize]) {
            let transaction = resolved.transaction(tx);
            let own = (transaction.status == Status::Committed).then_some(transaction.ended_ms);
            let Some(at_ms) = own.into_iter().chain(replayed_ms[tx as usize]).min() else { continue };
            // Without a version it is at least newer than nothing.
            let version = resolved.version[tx as usize].unwrap_or(Version(0, 1));
            for &(key, _) in &resolved.writes[tx as usize] {
                acked[key as usize].push(Ack { at_ms, newest: (version, tx) });
            }
        }
        for acks in &mut acked {
            acks.sort_by_key(|ack| ack.at_ms);
            let mut newest = (Version::ABSENT, 0);
            for ack in acks {
                newest = newest.max(ack.newest);
                ack.newest = newest;
            }
        }
        Self(acked)
    }

    /// The newest commit of `key` that was acked at `until_ms` or before.
    fn newest(&self, key: u32, until_ms: u64) -> Option<(Version, Tx)> {
        let acks = &self.0[key as usize];
        let count = acks.partition_point(|ack| ack.at_ms <= until_ms);
        acks[..count].last().map(|ack| ack.newest)
    }
}

/// A transaction that begins once faults stopped long enough ago sees every commit acked long enough ago.
fn within_bound(
    resolved: &Resolved<'_>,
    acked: &Acked,
    visibility: Visibility,
    report: &mut Report,
    summary: &mut Summary,
) {
    let Visibility { bound_ms, faults_stopped_ms } = visibility;
    for tx in resolved.all().filter(|&tx| resolved.judged[tx as usize]) {
        let began_ms = resolved.transaction(tx).began_ms;
        let Some(until_ms) = began_ms.checked_sub(bound_ms).filter(|&ms| ms >= faults_stopped_ms) else {
            continue;
        };
        for read in &resolved.reads[tx as usize] {
            let Some((version, missed)) = acked.newest(read.key, until_ms) else { continue };
            summary.visibility_reads += 1;
            if read.from != Some(missed) && resolved.read_version(read).is_some_and(|found| found < version) {
                report.add(Kind::NotVisible, || {
                    let text = format!(
                        "{} and began at {began_ms} ms, more than {bound_ms} ms after the ack of {}",
                        resolved.operation(tx, read.op as usize),
                        resolved.last_write_of(missed, read.key),
                    );
                    (resolved.involved(&[tx, missed]), text)
                });
            }
        }
    }
}

/// In the end every acked commit is there, or a newer one.
fn final_read(resolved: &Resolved<'_>, acked: &Acked, read: &FinalRead, report: &mut Report) {
    let FinalRead { node, key: name, value, version: said } = read;
    let found = match (value, said) {
        (Some(value), Some(version)) => {
            format!("{node} finds {name} = {value:?} at {}", version_text(*version))
        }
        (Some(value), None) => format!("{node} finds {name} = {value:?}"),
        (None, _) => format!("{node} finds {name} never written"),
    };
    let key = resolved.key(name);
    let source = resolved.final_source(read);
    let writer = source.map(|source| source.writer);
    if let Some(source) = source {
        if !resolved.effective[source.writer as usize] {
            report.add(Kind::AbortedRead, || {
                let text =
                    format!("in the end {found}, which never took effect: {}", resolved.write_of(source));
                (resolved.involved(&[source.writer]), text)
            });
        } else if key.and_then(|key| resolved.last_write(source.writer, key)) != Some(source.op) {
            report.add(Kind::IntermediateRead, || {
                let text = format!(
                    "in the end {found}, which was overwritten at once: {}",
                    resolved.write_of(source)
                );
                (resolved.involved(&[source.writer]), text)
            });
        }
    } else if value.is_some() {
        report.add(Kind::ThinAirRead, || (Vec::new(), format!("in the end {found}, which nobody wrote")));
        return;
    }
    let known = match writer {
        Some(writer) => resolved.version[writer as usize],
        None => Some(Version::ABSENT),
    };
    if let (Some(known), Some(said)) = (known, said)
        && known != *said
    {
        report.add(Kind::VersionMismatch, || {
            let text = format!("in the end {found}, whose version is {}", version_text(known));
            (resolved.involved(writer.as_slice()), text)
        });
    }
    if let Some(key) = key
        && let Some((version, lost)) = acked.newest(key, u64::MAX)
        && writer != Some(lost)
        && known.or(*said).is_some_and(|known| known < version)
    {
        report.add(Kind::LostCommit, || {
            let text = format!("in the end {found}, but acked was {}", resolved.last_write_of(lost, key));
            (resolved.involved(&[lost]), text)
        });
    }
}
