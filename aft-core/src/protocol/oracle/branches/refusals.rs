//! One test for each way in which branches fail to be one transaction, and for what looks like one and is none.

use super::*;
use crate::protocol::branches::{Lost, Unjoinable};

const A: usize = 0;
const SLASH: usize = 2;
const B: usize = 3;

fn world(commits: &[(Number, &[usize])]) -> History {
    let writes = |keys: &[usize]| keys.iter().map(|key| (*key, Written::Inline)).collect();
    History(commits.iter().map(|(number, keys)| (*number, writes(keys))).collect())
}

/// A branch of `from` that knows every commit up to `newest`.
fn branch(world: &History, from: &Branch, number: u64, newest: Number, steps: &[Step]) -> Branch {
    let view = History(world.0.range(..=newest).map(|(number, writes)| (*number, writes.clone())).collect());
    let mut attempt = Attempt::resume(from, number, &view);
    steps.iter().for_each(|step| attempt.step(step, world));
    attempt.suspend(world)
}

fn fork(world: &History, steps: &[Step]) -> Branch {
    let mut attempt = Attempt::begin(1, []);
    steps.iter().for_each(|step| attempt.step(step, world));
    attempt.suspend(world)
}

fn refused(world: &History, a: &Branch, b: &Branch) -> Unjoinable {
    assert!(a.join(b, world).is_none() && b.join(a, world).is_none());
    join(a.token.clone(), b.token.clone()).unwrap_err()
}

fn put(key: usize, value: &'static str) -> Step {
    Step::Put(key, Content::Inline(Bytes::from(value)))
}

#[test]
fn a_commit_read_in_part_by_each() {
    let world = world(&[(1, &[A]), (2, &[A, B])]);
    let fork = fork(&world, &[]);
    let before = branch(&world, &fork, 2, 1, &[Step::Get(A)]);
    let after = branch(&world, &fork, 3, 2, &[Step::Get(B)]);
    assert_eq!(refused(&world, &before, &after), Unjoinable::Reads(key(A)));
    let unaware = branch(&world, &fork, 4, 1, &[Step::Get(B)]);
    assert_eq!(refused(&world, &unaware, &after), Unjoinable::Reads(key(B)));
    assert!(unaware.join(&before, &world).is_some());
}

#[test]
fn a_commit_in_a_range_that_the_other_found_empty() {
    let world = world(&[(1, &[A, SLASH]), (2, &[B])]);
    let fork = fork(&world, &[]);
    let scanned = |from, to| [Step::Scan(KeyRange::from(KEYS[from]..=KEYS[to]), usize::MAX)];
    let after = branch(&world, &fork, 2, 2, &[Step::Get(A)]);
    let (read, cowritten) = (scanned(A, 1), scanned(SLASH, SLASH));
    for range in [read, cowritten] {
        let before = branch(&world, &fork, 3, 0, &range);
        assert!(matches!(refused(&world, &before, &after), Unjoinable::Reads(_)));
    }
    let elsewhere = branch(&world, &fork, 4, 0, &scanned(B, B));
    assert!(elsewhere.join(&after, &world).is_some(), "nothing of the second commit was read");
}

#[test]
fn a_key_that_both_wrote_since_the_fork_they_share() {
    let world = world(&[]);
    let fork = fork(&world, &[put(A, "inherited"), put(B, "inherited"), Step::SetResult(Bytes::from("old"))]);
    let left = branch(&world, &fork, 2, 0, &[put(A, "left")]);
    let right = branch(&world, &fork, 3, 0, &[Step::Put(B, Content::Deleted)]);
    let both = left.join(&right, &world).expect("each overwrote what the other inherited");
    assert!(both.join(&fork, &world).unwrap().token.writes == both.token.writes);

    let again = branch(&world, &fork, 4, 0, &[put(A, "again")]);
    assert_eq!(refused(&world, &both, &again), Unjoinable::Writes(key(A)));
    let after = branch(&world, &both, 5, 0, &[put(A, "after")]);
    assert!(after.join(&left, &world).is_some(), "it came after the one it overwrote");
    assert_eq!(refused(&world, &after, &again), Unjoinable::Writes(key(A)));

    let results = [6, 7]
        .map(|number| branch(&world, &fork, number, 0, &[Step::SetResult(Bytes::from(number.to_string()))]));
    assert!(results[0].join(&both, &world).is_some());
    assert_eq!(refused(&world, &results[0], &results[1]), Unjoinable::Results);
}

#[test]
fn another_transaction() {
    let token = fork(&world(&[]), &[]).token;
    let foreign = [
        Suspended { store_id: "another".to_owned(), ..token.clone() },
        Suspended { txn: TxnId::from_bytes([1; 16]), ..token.clone() },
        Suspended { request_key: None, ..token.clone() },
    ];
    for other in foreign {
        assert_eq!(join(token.clone(), other), Err(Unjoinable::Foreign));
    }
}

#[test]
fn a_view_that_lacks_what_was_read() {
    let world = world(&[(1, &[A]), (2, &[A, B])]);
    let read = branch(&world, &fork(&world, &[]), 2, 2, &[Step::Get(A)]);
    let mut view = View::default();
    view.insert(commit(1, &world.0[&1]));
    assert_eq!(restore_reads(&read.token, &view, &BTreeMap::new()).map(drop), Err(Lost(version(2))));
}
