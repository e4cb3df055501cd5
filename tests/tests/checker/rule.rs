//! The rule of Read Atomic: what it forbids and what it allows.

use aft_tests::checker::{Expectations, Kind, check};
use aft_tests::history::History;

use crate::written::{allowed, history, judged, violation};

#[test]
fn correct() {
    allowed(&[]);
    allowed(&["a w:x=1 w:y=1", "b r:x=1 r:y=1", "c r:x=- r:y=-", "a r:x=1 w:x=2 r:x=2", "b r:x=2 r:y=1"]);
}

#[test]
fn fractured_new_then_old() {
    let text = violation(Kind::NotAtomic, &["a w:x=1 w:y=1", "a w:x=2 w:y=2", "b r:x=2 r:y=1"]);
    assert!(text.contains("b#0 reads y = \"1\" (operation 1) from a#0"), "{text}");
    assert!(text.contains("a#1 writes y = \"2\" (operation 1)"), "{text}");
}

#[test]
fn fractured_old_then_new() {
    violation(Kind::NotAtomic, &["a w:x=1 w:y=1", "a w:x=2 w:y=2", "b r:x=1 r:y=2"]);
}

/// No session orders the two writers: the reader alone contradicts itself.
#[test]
fn fractured_between_sessions() {
    violation(Kind::NotAtomic, &["a w:x=1 w:y=1", "b w:x=2 w:y=2", "c r:x=2 r:y=1"]);
}

#[test]
fn fractured_through_an_absent_read() {
    violation(Kind::NotAtomic, &["a w:x=1 w:y=1", "b r:x=1 r:y=-"]);
    violation(Kind::NotAtomic, &["a w:x=1 w:y=1", "b r:y=- r:x=1"]);
}

/// A scan of k1 to k3 is three reads; the commit in its midst shows in one key only.
#[test]
fn fractured_scan() {
    violation(Kind::NotAtomic, &["a w:k1=1 w:k3=1", "b r:k1=- r:k2=- r:k3=1"]);
    violation(Kind::NotAtomic, &["a w:k1=1 w:k3=1", "a w:k1=2 w:k2=2 w:k3=2", "b r:k1=1 r:k2=2 r:k3=1"]);
    allowed(&["a w:k1=1 w:k3=1", "b r:k1=1 r:k2=- r:k3=1", "a w:k2=2", "b r:k1=1 r:k2=2 r:k3=1"]);
}

/// A delete is a write: "del" here.
#[test]
fn fractured_through_a_delete() {
    let commits = ["a w:x=1 w:y=1", "a w:x=del w:y=2"];
    violation(Kind::NotAtomic, &[commits[0], commits[1], "b r:x=1 r:y=2"]);
    violation(Kind::NotAtomic, &[commits[0], commits[1], "b r:x=del r:y=1"]);
    violation(Kind::NotAtomic, &[commits[0], commits[1], "b r:x=- r:y=2"]);
    allowed(&[commits[0], commits[1], "b r:x=del r:y=2", "c r:x=1 r:y=1"]);
}

#[test]
fn own_write_not_seen() {
    violation(Kind::OwnWriteNotSeen, &["a w:x=1", "a w:x=2 r:x=1"]);
    violation(Kind::OwnWriteNotSeen, &["a w:x=2 r:x=-"]);
    violation(Kind::OwnWriteNotSeen, &["a w:x=1 w:x=2 r:x=1"]);
    violation(Kind::OwnWriteNotSeen, &["a w:x=1", "b w:x=del r:x=1"]);
    allowed(&["a w:x=1", "a r:x=1 w:x=2 r:x=2 w:x=del r:x=del"]);
}

#[test]
fn older_own_session_value() {
    let text = violation(Kind::NotAtomic, &["a w:x=1", "a w:x=2", "a r:x=1"]);
    assert!(text.contains("later in its session"), "{text}");
    violation(Kind::NotAtomic, &["a w:x=1", "a r:x=-"]);
    violation(Kind::NotAtomic, &["a w:x=1", "a w:x=2", "a w:y=1", "a r:x=1"]);
    // b's value is before a's first, though a read it in between.
    violation(Kind::NotAtomic, &["b w:x=0", "a r:x=0 w:x=1", "a w:x=2", "a r:x=0"]);
}

#[test]
fn aborted_read() {
    violation(Kind::AbortedRead, &["a! w:x=1", "b r:x=1"]);
}

#[test]
fn intermediate_read() {
    violation(Kind::IntermediateRead, &["a w:x=1 w:x=2", "b r:x=1"]);
    violation(Kind::IntermediateRead, &["a w:x=1 w:x=del", "b r:x=1"]);
}

#[test]
fn thin_air() {
    violation(Kind::ThinAirRead, &["a w:x=1", "b r:x=7"]);
    // The value of another key.
    violation(Kind::ThinAirRead, &["a w:x=1 w:y=2", "b r:x=2"]);
}

#[test]
fn future_read() {
    violation(Kind::FutureRead, &["a r:x=1 w:x=1"]);
    violation(Kind::NotAtomic, &["a r:x=1", "a w:x=1"]);
    violation(Kind::NotAtomic, &["a r:x=1 w:y=1", "b r:y=1 w:x=1"]);
}

#[test]
fn non_repeatable_read() {
    violation(Kind::NonRepeatableRead, &["a w:x=1", "a w:x=2", "b r:x=1 r:x=2"]);
    violation(Kind::NonRepeatableRead, &["a w:x=1", "b r:x=- r:x=1"]);
    violation(Kind::NonRepeatableRead, &["a w:x=1", "b r:x=1 r:x=-"]);
    allowed(&["a w:x=1", "b r:x=1 r:y=- r:x=1 r:y=-"]);
}

#[test]
fn value_written_twice() {
    violation(Kind::DuplicateValue, &["a w:x=1", "b w:x=1"]);
    violation(Kind::DuplicateValue, &["a w:x=1 w:x=1"]);
    allowed(&["a w:x=1", "b w:y=1"]);
}

#[test]
fn non_monotonic_reads_are_allowed() {
    allowed(&["a w:x=1", "a w:x=2", "b r:x=2", "b r:x=1"]);
    allowed(&["a w:x=1", "b r:x=1", "b r:x=-"]);
}

#[test]
fn causal_violation_is_allowed() {
    allowed(&["a w:x=1", "b r:x=1 w:y=1", "c r:y=1 r:x=-"]);
}

#[test]
fn lost_update_is_allowed() {
    allowed(&["a w:x=0", "b r:x=0 w:x=1", "c r:x=0 w:x=2", "d r:x=2"]);
}

#[test]
fn long_fork_is_allowed() {
    allowed(&["a w:x=1", "b w:y=1", "c r:x=1 r:y=-", "d r:x=- r:y=1"]);
}

#[test]
fn write_skew_is_allowed() {
    allowed(&["a w:x=0 w:y=0", "b r:x=0 r:y=0 w:x=1", "c r:x=0 r:y=0 w:y=1", "d r:x=1 r:y=1"]);
}

/// Two readers ask for opposite orders of two writers, neither contradicts itself.
#[test]
fn readers_that_disagree() {
    let commits = ["a w:x=1 w:y=1 w:p=1", "b w:x=2 w:y=2 w:q=1"];
    violation(Kind::NotAtomic, &[commits[0], commits[1], "c r:x=1 r:q=1", "d r:y=2 r:p=1"]);
    allowed(&[commits[0], commits[1], "c r:x=1 r:q=1", "d r:y=1 r:q=1"]);
}

/// Each pair of writers could have an order, the three together have none.
#[test]
fn cycle_of_three() {
    let commits = ["a w:x=1 w:z=3", "b w:x=2 w:y=1", "c w:y=2 w:z=1"];
    let readers = ["r r:z=3 r:x=2", "s r:x=2 r:y=2", "t r:y=2 r:z=3"];
    // a before b (r: z of a, x of b), b before c (s), and t: c before a.
    violation(Kind::NotAtomic, &[commits[0], commits[1], commits[2], readers[0], readers[1], readers[2]]);
    allowed(&[commits[0], commits[1], commits[2], readers[0], readers[1]]);
}

/// The order that a session gives two writers reaches a reader of another session.
#[test]
fn session_order_of_writers() {
    // t wrote x after b in b's session: its writes go before b's by the reader, against the session.
    violation(Kind::NotAtomic, &["b w:x=1", "b w:x=2 w:y=2", "c r:y=2 r:x=1"]);
    // Without the session either order will do.
    allowed(&["b w:x=1", "d w:x=2 w:y=2", "c r:y=2 r:x=1"]);
}

#[test]
fn unknown_counts_once_it_was_read() {
    // Nobody read it: nobody misses it.
    allowed(&["a? w:x=1 w:y=1", "b r:x=- r:y=-"]);
    allowed(&["a? w:x=1 w:y=1", "b r:x=1 r:y=1"]);
    violation(Kind::NotAtomic, &["a? w:x=1 w:y=1", "b r:x=1 r:y=-"]);
    violation(Kind::IntermediateRead, &["a? w:x=1 w:x=2", "b r:x=1"]);
}

/// The session did not learn that it committed; it may land after what the session did next.
#[test]
fn unknown_does_not_bind_its_session() {
    allowed(&["a w:x=1", "a? w:x=2", "a r:x=1", "b r:x=2"]);
    // But what came before it binds it, and the session stays bound to what came before.
    violation(Kind::NotAtomic, &["a w:x=1", "a? w:x=2", "a r:x=-", "b r:x=2"]);
    judged(&["a w:x=1", "a? r:x=- w:y=2", "b r:y=2"], &Expectations::default(), &[Kind::NotAtomic]);
}

/// Aborted transactions get the atomic view too; the bare rule does not look at them.
#[test]
fn reads_of_the_aborted() {
    let lines = ["a w:x=1 w:y=1", "b! r:x=1 r:y=-"];
    judged(&lines, &Expectations::default(), &[Kind::NotAtomic]);
    let bare = Expectations { committed_only: true, ..Expectations::default() };
    judged(&lines, &bare, &[]);
    judged(&["a w:x=1", "b? r:x=7"], &bare, &[]);
    judged(&["a w:x=1", "b? r:x=7"], &Expectations::default(), &[Kind::ThinAirRead]);
    // What one of unknown outcome read counts when it turns out to be committed, also by a chain of such.
    judged(&["b? r:z=7 w:x=1", "c? r:x=1 w:y=1", "d r:y=1"], &bare, &[Kind::ThinAirRead]);
}

#[test]
fn a_violation_says_who() {
    let lines = history(&["a w:x=1 w:y=1", "c w:z=1", "c id:31 r:x=1 r:y=-"]);
    let violations = check(&lines, &Expectations::default()).unwrap_err();
    let involved: Vec<_> = violations[0]
        .transactions
        .iter()
        .map(|involved| (&*involved.session, involved.index, involved.id, involved.position))
        .collect();
    assert_eq!(involved, [("c", 1, 31, 2), ("a", 0, 0, 0)]);
    assert_eq!(
        violations[0].to_string(),
        "NotAtomic: c#1 [id 1f] reads y as never written (operation 1), but c#1 [id 1f] reads x = \"1\" \
         (operation 0) from a#0; and a#0 writes y = \"1\" (operation 1)"
    );
}

#[test]
fn json_lines_are_as_agreed() {
    let lines =
        history(&["n3/c1 w:key=value r:other=-", "n3/c1! r:key=value", "n3/c1? w:key=2", "n3/c1 r:key=2"]);
    let mut json = Vec::new();
    lines.write_json_lines(&mut json).unwrap();
    let json = String::from_utf8(json).unwrap();
    assert_eq!(
        json,
        r#"{"session":"n3/c1","status":"committed","ops":[["w","key","value"],["r","other",null]]}
{"session":"n3/c1","status":"aborted","ops":[["r","key","value"]]}
{"session":"n3/c1?2","status":"unknown","ops":[["w","key","2"]]}
{"session":"n3/c1","status":"committed","ops":[["r","key","2"]]}
"#
    );
    for bad in [
        r#"{"session":"a","status":"maybe","ops":[]}"#,
        r#"{"session":"a","status":"committed","ops":[["w","k",null]]}"#,
        r#"{"session":"a","status":"committed","ops":[["d","k","v"]]}"#,
        r#"{"session":"a"}"#,
        "a",
    ] {
        let error = History::read_json_lines(format!("\n{bad}\n").as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }
}
