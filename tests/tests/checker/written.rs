//! Histories written by hand: one line is one transaction.
//!
//! `a w:x=1 r:y=2 r:z=-` is a transaction of session `a` that committed, wrote x, read y, and found z never written.
//! `a!` aborted, `a?` has an unknown outcome. More words say more: `id:7`, `@5` (its version), `r:x=1@5` (the version
//! that a read says it found), `g:x` (it guards x), `serial` (it guards everything), `replay`, `decided` (with `!`), `result:ok`, `after:7` (a receipt), `began:3`, `ended:4`.

use aft_tests::checker::{Expectations, Kind, Summary, Violation, check};
use aft_tests::history::{History, Status, Transaction, Version};

/// Versions by their clock alone; 0 is absent.
pub fn version(clock: &str) -> Version {
    let clock = clock.parse().unwrap();
    if clock == 0 { Version::ABSENT } else { Version(clock, 9) }
}

pub fn history(lines: &[&str]) -> History {
    History { transactions: lines.iter().map(|line| transaction(line)).collect() }
}

fn transaction(line: &str) -> Transaction {
    let mut words = line.split_whitespace();
    let session = words.next().unwrap();
    let mut transaction = Transaction::new(session.trim_end_matches(['!', '?']), 0);
    transaction.status = match session.chars().last() {
        Some('!') => Status::Aborted,
        Some('?') => Status::Unknown,
        _ => Status::Committed,
    };
    for word in words {
        let (what, rest) = word.split_once(':').unwrap_or((word, ""));
        match what {
            "w" => {
                let (key, value) = rest.split_once('=').unwrap();
                transaction.write(key, value);
            }
            "r" => {
                let (key, found) = rest.split_once('=').unwrap();
                let (value, said) =
                    found.split_once('@').map_or((found, None), |(v, s)| (v, Some(version(s))));
                transaction.read(key, (value != "-").then(|| value.into()), said);
            }
            "id" => transaction.id = rest.parse().unwrap(),
            "after" => transaction.after.push(rest.parse().unwrap()),
            "began" => transaction.began_ms = rest.parse().unwrap(),
            "ended" => transaction.ended_ms = rest.parse().unwrap(),
            "result" => transaction.result = Some(rest.into()),
            "g" => drop(transaction.guarded.insert(rest.into())),
            "serial" => transaction.serializable = true,
            "replay" => transaction.replayed = true,
            "decided" => transaction.abort_decided = true,
            own => transaction.version = Some(version(own.strip_prefix('@').unwrap())),
        }
    }
    transaction
}

/// The kinds of violation in a verdict, each once.
pub fn kinds(verdict: &Result<Summary, Vec<Violation>>) -> Vec<Kind> {
    let mut kinds: Vec<Kind> =
        verdict.as_ref().err().into_iter().flatten().map(|violation| violation.kind).collect();
    kinds.dedup();
    kinds
}

/// The history's verdict by the bare rule, which must be the same after a trip through JSON lines.
fn verdict(lines: &[&str]) -> Result<Summary, Vec<Violation>> {
    let bare = Expectations { committed_only: true, ..Expectations::default() };
    let history = history(lines);
    let verdict = check(&history, &bare);
    let mut json = Vec::new();
    history.write_json_lines(&mut json).unwrap();
    let again = check(&History::read_json_lines(json.as_slice()).unwrap(), &bare);
    assert_eq!(kinds(&verdict), kinds(&again), "not the same through JSON lines:\n{lines:#?}");
    verdict
}

/// Read Atomic allows it: by the bare rule, and with the reads of aborted transactions judged too.
#[track_caller]
pub fn allowed(lines: &[&str]) {
    assert_eq!(kinds(&verdict(lines)), [], "{lines:#?}");
    assert_eq!(kinds(&check(&history(lines), &Expectations::default())), [], "{lines:#?}");
}

/// It is a violation of just this kind; returns the first one's explanation.
#[track_caller]
pub fn violation(kind: Kind, lines: &[&str]) -> String {
    let verdict = verdict(lines);
    assert_eq!(kinds(&verdict), [kind], "{lines:#?}");
    verdict.unwrap_err()[0].explanation.clone()
}

/// With all that the checker decides, it has violations of just these kinds.
#[track_caller]
pub fn judged(lines: &[&str], expectations: &Expectations, expected: &[Kind]) {
    let verdict = check(&history(lines), expectations);
    assert_eq!(kinds(&verdict), expected, "{lines:#?}\n{verdict:#?}");
}
