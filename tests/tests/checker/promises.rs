//! What aft promises past the rule: versions, exactly once, receipts, durability, visibility.

use aft_tests::checker::{Expectations, FinalRead, Kind, Visibility};
use aft_tests::history::History;

use crate::written::{history, judged, version};

fn default() -> Expectations {
    Expectations::default()
}

/// With the history's own versions only.
fn versions(lines: &[&str], expected: &[Kind]) {
    judged(lines, &default(), expected);
}

#[test]
fn versions_that_are_right() {
    versions(&["a w:x=1 w:y=1 @5", "b r:x=1@5 r:z=-@0 w:x=2 @6", "c r:x=2@6 r:y=1@5", "c! r:x=1@5"], &[]);
}

/// No order contradicts the reader, but the versions do.
#[test]
fn fractured_by_version_alone() {
    let lines = ["a w:x=1 @5", "b w:x=2 w:y=2 @6", "c r:x=1 r:y=2"];
    versions(&lines, &[Kind::Fractured]);
    versions(&["a w:x=1 @7", lines[1], lines[2]], &[]);
    versions(&["a w:x=1", lines[1], lines[2]], &[]);
}

#[test]
fn fractured_both_ways() {
    let both = [Kind::NotAtomic, Kind::Fractured];
    versions(&["a w:x=1 w:y=1 @5", "a w:x=2 w:y=2 @6", "b r:x=2 r:y=1"], &both);
    versions(&["a w:x=1 w:y=1 @5", "a w:x=2 w:y=2 @6", "b r:x=1 r:y=2"], &both);
    versions(&["a w:x=1 w:y=1 @5", "b r:x=1 r:y=-"], &both);
    versions(&["a w:x=1 w:y=1 w:z=1 w:u=1 @5", "b r:y=- r:x=1"], &both);
}

#[test]
fn a_read_says_another_version() {
    versions(&["a w:x=1 @5", "b r:x=1@4"], &[Kind::VersionMismatch]);
    versions(&["a w:x=1 @5", "b r:y=-@4"], &[Kind::VersionMismatch]);
    // Of a commit whose ack was lost the readers know the version.
    versions(&["a? w:x=1", "b r:x=1@4", "c r:x=1@4"], &[]);
    versions(&["a? w:x=1", "b r:x=1@4", "c r:x=1@5"], &[Kind::VersionMismatch]);
}

#[test]
fn a_version_not_above_what_was_read() {
    versions(&["a w:x=1 @5", "b r:x=1 w:y=1 @4"], &[Kind::VersionOrder]);
    versions(&["a w:x=1 @5", "b r:x=1 w:y=1 @6"], &[]);
}

#[test]
fn a_version_not_above_its_session() {
    versions(&["a w:x=1 @5", "a w:y=1 @4"], &[Kind::VersionOrder]);
    // Also what an earlier transaction of the session only read.
    versions(&["b w:z=1 @5", "a r:z=1", "a w:y=1 @4"], &[Kind::VersionOrder]);
    // An unknown commit may have been made later than what the session did next.
    versions(&["a? w:x=1 @5", "a w:y=1 @4", "b r:x=1"], &[]);
}

#[test]
fn older_than_the_own_session_by_version() {
    versions(&["b w:x=0 @3", "a w:x=1 @5", "a r:x=0"], &[Kind::OlderThanOwnSession]);
    versions(&["b w:x=0 @6", "a w:x=1 @5", "a r:x=0"], &[]);
}

#[test]
fn a_version_twice() {
    versions(&["a w:x=1 @5", "b w:y=1 @5"], &[Kind::DuplicateVersion]);
}

#[test]
fn retries_that_are_right() {
    versions(&["a id:7 w:x=1 @5 result:ok", "b id:7 w:x=2 replay @5 result:ok", "c! id:7 w:x=3"], &[]);
    versions(&["a? id:7 w:x=1", "b id:7 w:x=2 replay @5", "c r:x=1@5"], &[]);
    versions(&["a! id:7 w:x=1 decided", "b! id:7 w:x=2 decided"], &[]);
    // Writes that travelled in a token are the winner's.
    versions(&["a! id:7 w:x=1 w:y=1", "b id:7 w:x=1 w:y=2 @5", "c r:x=1@5 r:y=2"], &[]);
    versions(&["a? id:7 w:x=1", "b id:7 w:x=1 w:y=2 @5", "c r:x=1@5 r:y=2"], &[]);
}

#[test]
fn exactly_once() {
    let two = [Kind::TwoOutcomes];
    // Two attempts acked as their own commits.
    versions(&["a id:7 w:x=1 @5", "b id:7 w:x=2 @5"], &two);
    versions(&["a id:7 w:x=1", "b id:7 w:x=2"], &two);
    // Two attempts that readers saw, though neither was acked.
    versions(&["a? id:7 w:x=1", "b? id:7 w:x=2", "c r:x=1", "c r:x=2"], &two);
    versions(&["a id:7 w:x=1", "b? id:7 w:x=2", "c r:x=2"], &two);
    // Replays that tell another version, or another result.
    versions(&["a id:7 w:x=1 @5", "b id:7 replay @6"], &two);
    versions(&["a id:7 w:x=1 result:ok", "b id:7 replay result:failed"], &two);
    versions(&["a id:7 w:x=1 result:ok", "b id:7 replay"], &two);
    versions(&["a? id:7 w:x=1 result:ok", "b id:7 replay @5", "c id:7 replay @6"], &two);
    // Committed and aborted.
    versions(&["a id:7 w:x=1", "b! id:7 w:x=2 decided"], &two);
    versions(&["a? id:7 w:x=1", "b! id:7 w:x=2 decided", "c r:x=1"], &two);
    versions(&["a? id:7 w:x=1", "b! id:7 w:x=2 decided"], &[]);
    // A replay of what no attempt committed.
    versions(&["a! id:7 w:x=1", "b id:7 replay @5"], &two);
    versions(&["b id:7 replay @5"], &two);
}

#[test]
fn a_dropped_attempt_is_not_read() {
    versions(&["a id:7 w:x=1 @5", "b id:7 w:x=2 replay @5", "c r:x=2"], &[Kind::AbortedRead]);
    versions(&["a id:7 w:x=1 @5", "b! id:7 w:x=2", "c r:x=2"], &[Kind::AbortedRead]);
}

#[test]
fn receipts_are_seen() {
    let commits = ["a w:x=1 @4", "a id:7 w:x=2 w:y=2 @5"];
    let not_seen = [Kind::NotAtomic, Kind::ReceiptNotSeen];
    versions(&[commits[0], commits[1], "b after:7 r:x=2 r:y=2"], &[]);
    versions(&[commits[0], commits[1], "c w:x=3 @6", "b after:7 r:x=3"], &[]);
    versions(&[commits[0], commits[1], "b after:7 r:x=1"], &not_seen);
    versions(&[commits[0], commits[1], "b after:7 r:y=-"], &not_seen);
    // By the versions alone: c's commit is in no order with a's.
    versions(&["c w:x=1 @4", commits[1], "b after:7 r:x=1"], &[Kind::ReceiptNotSeen]);
    // Without versions: an absent read is always older.
    versions(&["a id:7 w:x=1", "b after:7 r:x=-"], &not_seen);
    // The receipt of a replay is the winner's, whose client never learned of it.
    versions(&["a? id:7 w:x=1", "b id:7 w:x=2 replay @5", "c after:7 r:x=-"], &not_seen);
    versions(&[commits[0], commits[1], "b after:7 w:z=1 @4"], &[Kind::VersionOrder, Kind::DuplicateVersion]);
}

fn finals(reads: &[(&str, Option<&str>, Option<&str>)]) -> Expectations {
    let read = |&(key, value, said): &(&str, Option<&str>, Option<&str>)| FinalRead {
        node: "n1".into(),
        key: key.into(),
        value: value.map(Into::into),
        version: said.map(version),
    };
    Expectations { final_reads: reads.iter().map(read).collect(), ..Expectations::default() }
}

#[test]
fn no_acked_commit_is_lost() {
    let lost = [Kind::LostCommit];
    let commits = ["a w:x=1 @5", "b w:x=2 @6", "c? w:x=3", "d! w:x=4", "e w:z=1 w:z=2"];
    judged(&commits, &finals(&[("x", Some("2"), Some("6")), ("y", None, Some("0"))]), &[]);
    judged(&commits, &finals(&[("x", Some("1"), Some("5"))]), &lost);
    judged(&commits, &finals(&[("x", Some("1"), None)]), &lost);
    judged(&commits, &finals(&[("x", None, None)]), &lost);
    judged(&commits, &finals(&[("z", None, None)]), &lost);
    // Of the unknown one only the reader knows the version.
    judged(&commits, &finals(&[("x", Some("3"), Some("7"))]), &[]);
    judged(&commits, &finals(&[("x", Some("3"), Some("4"))]), &lost);
    judged(&commits, &finals(&[("x", Some("4"), None)]), &[Kind::AbortedRead]);
    judged(&commits, &finals(&[("x", Some("9"), None)]), &[Kind::ThinAirRead]);
    judged(&commits, &finals(&[("y", Some("9"), None)]), &[Kind::ThinAirRead]);
    judged(&commits, &finals(&[("z", Some("1"), None)]), &[Kind::IntermediateRead]);
    judged(&commits, &finals(&[("x", Some("2"), Some("7"))]), &[Kind::VersionMismatch]);
    // Acked by its replay alone.
    let retried = ["a? id:7 w:x=1", "b id:7 w:x=2 replay @5"];
    judged(&retried, &finals(&[("x", None, None)]), &lost);
    judged(&retried, &finals(&[("x", Some("1"), Some("5"))]), &[]);
}

/// What a final read finds has committed, and is judged like what any transaction found.
#[test]
fn a_final_read_proves_a_commit() {
    let lines = ["a? id:7 w:x=1", "b id:7 w:x=2 @5"];
    judged(&lines, &finals(&[("x", Some("1"), None)]), &[Kind::TwoOutcomes]);
}

#[test]
fn commits_are_visible_within_the_bound() {
    let within = |bound_ms, faults_stopped_ms| Expectations {
        visibility: Some(Visibility { bound_ms, faults_stopped_ms }),
        ..Expectations::default()
    };
    let lines = ["a w:x=1 @5 ended:100", "a w:x=2 @6 ended:200", "b began:300 r:x=1"];
    judged(&lines, &within(100, 0), &[Kind::NotVisible]);
    judged(&lines, &within(101, 0), &[]);
    judged(&lines, &within(100, 200), &[Kind::NotVisible]);
    judged(&lines, &within(100, 201), &[]);
    let absent = ["a w:x=1 ended:100", "b began:300 r:x=-"];
    judged(&absent, &within(200, 0), &[Kind::NotVisible]);
    judged(&absent, &within(201, 0), &[]);
    // Newer than what had to be seen will do.
    judged(&["a w:x=1 @5 ended:100", "c w:x=2 @6 ended:900", "b began:300 r:x=2"], &within(10, 0), &[]);
    // A commit whose ack was lost may show whenever it likes, but for its replay.
    judged(&["a? id:7 w:x=1 ended:1", "b began:300 r:x=-", "c r:x=1"], &within(10, 0), &[]);
    let replayed = ["a? id:7 w:x=1 ended:1", "c id:7 replay @5 ended:100", "b began:300 r:x=-"];
    judged(&replayed, &within(200, 0), &[Kind::NotVisible]);
    judged(&replayed, &within(201, 0), &[]);
}

/// JSON lines have no ids; a judge that sees only them must come to the same end.
#[test]
fn json_lines_without_ids() {
    let lines = history(&[
        "a! id:7 w:x=1 w:y=1 r:x=1",
        "b id:7 w:x=1 w:y=2 @5",
        "c id:7 r:z=- w:x=3 r:x=3 replay @5",
        "d w:p=1",
        "e w:p=1",
    ]);
    let mut json = Vec::new();
    lines.write_json_lines(&mut json).unwrap();
    let again = History::read_json_lines(json.as_slice()).unwrap();
    let ops = |index: usize| format!("{:?}", again.transactions[index].ops.len());
    let json = String::from_utf8(json).unwrap();
    assert_eq!([ops(0), ops(1), ops(2), ops(3), ops(4)], ["1", "2", "1", "1", "1"], "{json}");
}
