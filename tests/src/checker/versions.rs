//! The versions: whether they say what they must, and a second decision about atomic reads that rests on them alone.
//!
//! If every version is above those that its transaction read or had a receipt of and above all that its session made
//! and read before, no read is fractured by its definition, and none is older than its session's commits or its
//! receipts (`visible` decides those), then the order of the versions is one that the rule of Read Atomic asks for.
//! So a cycle in the graph of a run whose versions are all known shows here too; the tests hold the two decisions
//! against each other.

use super::report::{Kind, Report};
use super::resolve::names::version_text;
use super::resolve::{Marks, Read, Resolved, Tx};
use crate::history::{Op, Status, Version};

pub(super) fn check(resolved: &Resolved<'_>, report: &mut Report) {
    let mut found = Marks::new(resolved.keys.len());
    let mut last_writer = Marks::new(resolved.keys.len());
    for tx in resolved.all().filter(|&tx| resolved.judged[tx as usize]) {
        said_versions(resolved, tx, report);
        fractured(resolved, tx, &mut found, report);
        above_what_it_read(resolved, tx, report);
    }
    for session in &resolved.sessions {
        in_session(resolved, session, &mut last_writer, report);
    }
    unique(resolved, report);
}

/// What a read says about its version is the version of what it found.
fn said_versions(resolved: &Resolved<'_>, tx: Tx, report: &mut Report) {
    for read in &resolved.reads[tx as usize] {
        let Op::Read { version: Some(said), .. } = &resolved.transaction(tx).ops[read.op as usize] else {
            continue;
        };
        if let Some(version) = resolved.read_version(read).filter(|version| version != said) {
            report.add(Kind::VersionMismatch, || {
                let found = match read.from {
                    Some(from) => resolved.last_write_of(from, read.key),
                    None => "it was never written".into(),
                };
                let text = format!(
                    "{}, whose version is {}: {found}",
                    resolved.operation(tx, read.op as usize),
                    version_text(version),
                );
                (resolved.involved(&with(tx, read.from)), text)
            });
        }
    }
}

/// If a transaction read version i of some key, then of every key that i also wrote it read i or newer.
fn fractured(resolved: &Resolved<'_>, tx: Tx, found: &mut Marks<Option<Read>>, report: &mut Report) {
    let reads = &resolved.reads[tx as usize];
    found.next_turn();
    for read in reads {
        found.set(read.key, Some(*read));
    }
    let mut from: Vec<(Tx, u32)> = reads.iter().filter_map(|read| Some((read.from?, read.op))).collect();
    from.sort_unstable();
    from.dedup_by_key(|&mut (from, _)| from);
    for (writer, read) in from {
        let Some(version) = resolved.version[writer as usize] else { continue };
        let writes = &resolved.writes[writer as usize];
        let cowritten: Box<dyn Iterator<Item = Read>> = if writes.len() <= reads.len() {
            Box::new(writes.iter().filter_map(|&(key, _)| found.get(key).flatten()))
        } else {
            Box::new(reads.iter().copied().filter(|read| resolved.last_write(writer, read.key).is_some()))
        };
        for other in cowritten {
            if resolved.read_version(&other).is_some_and(|older| older < version) {
                report.add(Kind::Fractured, || {
                    let text = format!(
                        "{} from {}; but {}, and {}",
                        resolved.operation(tx, read as usize),
                        resolved.name(writer),
                        resolved.operation(tx, other.op as usize),
                        resolved.last_write_of(writer, other.key),
                    );
                    (resolved.involved(&with(tx, Some(writer))), text)
                });
            }
        }
    }
}

/// A commit's version is greater than every version it read, and than those of its receipts.
fn above_what_it_read(resolved: &Resolved<'_>, tx: Tx, report: &mut Report) {
    let Some(own) = resolved.version[tx as usize] else { return };
    for read in &resolved.reads[tx as usize] {
        if resolved.read_version(read).is_some_and(|version| version >= own) {
            report.add(Kind::VersionOrder, || {
                let from = read.from.map(|from| resolved.last_write_of(from, read.key));
                let text = format!(
                    "{}, which is not below its own version: {}",
                    resolved.operation(tx, read.op as usize),
                    from.unwrap_or_default(),
                );
                (resolved.involved(&with(tx, read.from)), text)
            });
        }
    }
    let receipts = resolved.transaction(tx).after.iter().filter_map(|receipt| resolved.winners.get(receipt));
    for &winner in receipts.filter(|&&winner| winner != tx) {
        if resolved.version[winner as usize].is_some_and(|version| version >= own) {
            report.add(Kind::VersionOrder, || {
                let [later, earlier] = [tx, winner].map(|tx| resolved.name(tx));
                let text = format!("{later} began after the receipt of {earlier}, but is not above it");
                (resolved.involved(&[tx, winner]), text)
            });
        }
    }
}

/// In a session every commit's version is greater than those of its earlier commits and reads, and no transaction
/// reads a key older than the session's last commit of it.
fn in_session(
    resolved: &Resolved<'_>,
    session: &[Tx],
    last_writer: &mut Marks<Option<Tx>>,
    report: &mut Report,
) {
    last_writer.next_turn();
    let mut newest: Option<(Version, Tx)> = None;
    for &tx in session.iter().filter(|&&tx| resolved.judged[tx as usize]) {
        not_older_than_own(resolved, tx, last_writer, report);
        let version = resolved.version[tx as usize];
        if let (Some(version), Some((seen, before))) = (version, newest)
            && seen >= version
        {
            report.add(Kind::VersionOrder, || {
                let [later, earlier] = [tx, before].map(|tx| resolved.name(tx));
                let seen = version_text(seen);
                let text =
                    format!("{later} is later in its session than {earlier}, which made or read {seen}");
                (resolved.involved(&[tx, before]), text)
            });
        }
        // What comes after a commit of unknown outcome is not bound to it.
        let effective = resolved.effective[tx as usize];
        if effective && resolved.transaction(tx).status == Status::Unknown {
            continue;
        }
        let reads = resolved.reads[tx as usize].iter().filter_map(|read| resolved.read_version(read));
        let seen = reads.chain(version).max().map(|version| (version, tx));
        newest = newest.max(seen);
        if effective {
            for &(key, _) in &resolved.writes[tx as usize] {
                last_writer.set(key, Some(tx));
            }
        }
    }
}

fn not_older_than_own(resolved: &Resolved<'_>, tx: Tx, last_writer: &Marks<Option<Tx>>, report: &mut Report) {
    for read in &resolved.reads[tx as usize] {
        let Some(own) = last_writer.get(read.key).flatten() else { continue };
        if resolved.read_version(read) < resolved.version[own as usize]
            && resolved.read_version(read).is_some()
        {
            report.add(Kind::OlderThanOwnSession, || {
                let text = format!(
                    "{}; but earlier in its session {}",
                    resolved.operation(tx, read.op as usize),
                    resolved.last_write_of(own, read.key),
                );
                (resolved.involved(&[tx, own]), text)
            });
        }
    }
}

/// No two ids have one version.
fn unique(resolved: &Resolved<'_>, report: &mut Report) {
    let mut versions: Vec<(Version, Tx)> =
        resolved.all().filter_map(|tx| Some((resolved.version[tx as usize]?, tx))).collect();
    versions.sort_unstable();
    for pair in versions.windows(2) {
        let [(one, a), (other, b)] = [pair[0], pair[1]];
        let [id, other_id] = [a, b].map(|tx| resolved.transaction(tx).id);
        if one == other && (id != other_id || id == 0) {
            report.add(Kind::DuplicateVersion, || {
                let text = format!("{} and {}", resolved.name(a), resolved.name(b));
                (resolved.involved(&[a, b]), text)
            });
        }
    }
}

fn with(tx: Tx, other: Option<Tx>) -> Vec<Tx> {
    std::iter::once(tx).chain(other).collect()
}
