//! What guards promise, by histories written by hand and by brute force.

use aft_tests::checker::{Expectations, Kind, check};
use aft_tests::history::{History, Op, Status, Transaction};

use crate::random::Random;
use crate::written::{allowed, history, judged, kinds, violation};

fn default() -> Expectations {
    Expectations::default()
}

#[test]
fn a_lost_update() {
    let said = violation(Kind::LostUpdate, &["a w:x=0", "b g:x r:x=0 w:x=1", "c g:x r:x=0 w:x=2", "d r:x=2"]);
    assert!(said.contains("and both wrote it"), "{said}");
    violation(Kind::LostUpdate, &["b g:x r:x=- w:x=1", "c g:x r:x=- w:x=2"]);
    // One of them did not guard it, or did not write it, or did not commit, or read another version.
    allowed(&["a w:x=0", "b g:x r:x=0 w:x=1", "c r:x=0 w:x=2"]);
    allowed(&["a w:x=0", "b g:x r:x=0 w:x=1", "c g:x r:x=0 w:y=2"]);
    allowed(&["a w:x=0", "b g:x r:x=0 w:x=1", "c! g:x r:x=0 w:x=2"]);
    allowed(&["a w:x=0", "b g:x r:x=0 w:x=1", "c g:x r:x=1 w:x=2"]);
}

/// Nobody has read it, and its register says that it committed.
#[test]
fn a_lost_update_by_one_of_unknown_outcome() {
    judged(&["a w:x=0 @1", "b? g:x r:x=0 w:x=1 @2", "c g:x r:x=0 w:x=2 @3"], &default(), &[Kind::LostUpdate]);
    judged(&["a w:x=0 @1", "b? g:x r:x=0 w:x=1", "c g:x r:x=0 w:x=2 @3"], &default(), &[]);
}

#[test]
fn write_skew_of_serializable_transactions() {
    let lines = ["a w:x=0 w:y=0 @1", "b serial r:x=0 r:y=0 w:x=1 @2", "c serial r:x=0 r:y=0 w:y=1 @3"];
    judged(&lines, &default(), &[Kind::NotSerializable]);
    // Of two that guard what they write alone it is allowed.
    let lines = ["a w:x=0 w:y=0 @1", "b g:x r:x=0 r:y=0 w:x=1 @2", "c g:y r:x=0 r:y=0 w:y=1 @3"];
    judged(&lines, &default(), &[]);
}

/// Who guards what it only reads keeps others from superseding it, whatever else they guard.
#[test]
fn write_skew_of_those_who_guard_what_they_read() {
    let skew = [
        "a w:x=0 w:y=0 @1",
        "b g:x g:y r:x=0 r:y=0 w:x=1 @2",
        "c g:x g:y r:x=0 r:y=0 w:y=1 @3",
        "d w:x=9 @9",
    ];
    judged(&skew, &default(), &[Kind::NotSerializable]);
    // One of the two did not guard what it only read: then it comes first.
    let half = ["a w:x=0 w:y=0 @1", "b g:x r:x=0 r:y=0 w:x=1 @2", "c g:x g:y r:x=0 r:y=0 w:y=1 @3"];
    judged(&half, &default(), &[]);
    // Through one that guards nothing, and read what the one had written.
    let read_guard = "c g:x r:x=0 r:z=1 w:y=1 @4";
    judged(
        &["a w:x=0 @1", "b g:x r:x=0 w:x=1 @2", "d r:x=1 w:z=1 @3", read_guard],
        &default(),
        &[Kind::NotSerializable],
    );
}

/// A reader alone can be what has no place.
#[test]
fn a_reader_between_two_that_are_serial() {
    let writers = ["b serial w:x=1 @2", "c serial r:x=1 w:y=1 @3"];
    judged(&[writers[0], writers[1], "d serial r:x=- r:y=1 @4"], &default(), &[Kind::NotSerializable]);
    judged(&[writers[0], writers[1], "d serial r:x=- r:y=- @4"], &default(), &[]);
}

#[test]
fn one_that_began_later_sees_what_was_acknowledged() {
    let late = |began: u64| format!("b serial r:x=- began:{began} ended:30");
    let written = "a serial w:x=1 @2 began:1 ended:10";
    judged(&[written, &late(11)], &default(), &[Kind::NotSerializable]);
    judged(&[written, &late(10)], &default(), &[]);
    // Nobody knows when one of unknown outcome took effect.
    judged(&["a? serial w:x=1 @2 began:1 ended:10", &late(11)], &default(), &[]);
    let said = check(&history(&[written, &late(11)]), &default()).unwrap_err()[0].to_string();
    assert!(
        said.contains("a#0 [version 2.9] ended at 10 ms") && said.contains("b#0 began at 11 ms"),
        "{said}"
    );
}

/// Small histories of serializable transactions, right or spoiled: the graph finds a cycle if and only if no order of them explains all.
#[test]
fn serializable_if_and_only_if_some_order_explains_it() {
    let mut random = Random::new(7);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..20_000 {
        let history = small(&mut random);
        let serializable = has_order(&history);
        let verdict = check(&history, &default());
        // Other promises may be broken as well.
        let found = kinds(&verdict).contains(&Kind::NotSerializable);
        assert_eq!(found, !serializable, "{history:#?}\n{verdict:#?}");
        *(if serializable { &mut right } else { &mut wrong }) += 1;
    }
    assert!(right > 1_000 && wrong > 1_000, "{right} right, {wrong} wrong");
}

const KEYS: [&str; 2] = ["x", "y"];

/// Four transactions over two keys; each reads any version that there is, writes in the order of their versions, and takes some time.
fn small(random: &mut Random) -> History {
    let mut transactions: Vec<Transaction> = Vec::new();
    for n in 0..4_u64 {
        let mut transaction = Transaction::new(format!("s{n}"), 0);
        (transaction.status, transaction.serializable) = (Status::Committed, true);
        transaction.version = Some(aft_tests::history::Version(n + 1, 1));
        (transaction.began_ms, transaction.ended_ms) = (10 * n, 10 * n + random.below(35) as u64);
        for key in KEYS {
            if random.one_in(2) {
                let values = transactions.iter().flat_map(|it| &it.ops).filter_map(|op| match op {
                    Op::Write { key: written, value } if &**written == key => Some(value.clone()),
                    _ => None,
                });
                let mut values: Vec<_> = values.map(Some).collect();
                values.insert(0, None);
                // Most often the newest.
                let at = if random.one_in(3) { random.below(values.len()) } else { values.len() - 1 };
                transaction.read(key, values[at].clone(), None);
            }
            if random.one_in(2) {
                transaction.write(key, format!("{n}"));
            }
        }
        transactions.push(transaction);
    }
    History { transactions }
}

/// Whether some order of the transactions that agrees with time lets each read what the last one before it wrote, and has writes of a key in the order of
/// their versions.
fn has_order(history: &History) -> bool {
    let all = &history.transactions;
    orders(all.len()).iter().any(|order| {
        let in_time =
            |at: usize| order[at..].iter().all(|&later| all[later].ended_ms >= all[order[at]].began_ms);
        (0..order.len()).all(in_time) && explains(all, order)
    })
}

fn explains(all: &[Transaction], order: &[usize]) -> bool {
    let mut state: [(Option<String>, usize); 2] = Default::default();
    order.iter().all(|&at| {
        let before = state.clone();
        let slot = |key: &str| usize::from(key == KEYS[1]);
        all[at].ops.iter().all(|op| match op {
            Op::Read { key, value, .. } => before[slot(key)].0.as_deref() == value.as_deref(),
            Op::Write { key, value } => {
                let slot = slot(key);
                let newer = state[slot].0.is_none() || state[slot].1 < at;
                state[slot] = (Some(value.to_string()), at);
                newer
            }
        })
    })
}

fn orders(n: usize) -> Vec<Vec<usize>> {
    let Some(last) = n.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| {
        (0..=order.len()).map(move |at| {
            let mut order = order.clone();
            order.insert(at, last);
            order
        })
    };
    orders(last).into_iter().flat_map(insert).collect()
}

/// A first write that guarded nothing is no violation, as long as it may have come before all.
#[test]
fn a_first_write_that_guarded_nothing() {
    judged(&["a w:x=0 @1", "b serial r:x=- w:x=1 @2"], &default(), &[]);
    judged(
        &["a w:x=0 @1", "b serial r:x=0 w:x=1 @2", "c serial r:x=0 @3 began:5"],
        &default(),
        &[Kind::NotSerializable],
    );
}
