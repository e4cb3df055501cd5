//! One test for each anomaly that an earlier implementation or draft had, named after it (`docs/testing.md`).

use super::*;
use crate::format::decision::{Decision, Verdict};
use crate::format::name::{FeedName, ObjectName};
use crate::protocol::choose::{Unsatisfiable, scan_view as scan};
use crate::protocol::view::Place;
use crate::protocol::write_buffer::{Own, WriteBuffer};

const A: usize = 0;
const SLASH: usize = 2;
const B: usize = 3;
const Z: usize = 4;

fn wrote(keys: &[usize]) -> Writes {
    keys.iter().map(|key| (*key, Written::Inline)).collect()
}

fn begin(commits: &[(Number, Writes)]) -> Reader {
    Reader::begin(commits.iter().map(|(number, writes)| (*number, writes)))
}

/// A read set that read `key` of the commit `number`, as a token brings it to a node that does not know the commit.
fn brought(key_read: usize, number: Number, writes: &Writes) -> ReadSet {
    let commit = commit(number, writes);
    let found = Found::Recent { ordinal: commit.writes.position(KEYS[key_read]).unwrap() as u32, commit };
    let mut reads = ReadSet::default();
    reads.record(&key(key_read), Some(&found));
    reads.is_of(0, false);
    reads
}

/// Of what was read a commit has left the view since, or the versions are older than the read: what it demands is known all the same.
#[test]
fn lower_bound_looked_for_in_a_view_that_does_not_hold_the_commit() {
    let x = commit(3, &wrote(&[A, B]));
    let found = |key: usize| Found::Recent {
        ordinal: x.writes.position(KEYS[key]).unwrap() as u32,
        commit: Arc::clone(&x),
    };
    let older = Found::Recent { ordinal: 0, commit: commit(1, &wrote(&[B])) };
    let choose = |left, newest, versions: &[Found]| {
        let mut reads = ReadSet::default();
        reads.is_of(0, true);
        reads.record(&key(A), Some(&found(A)));
        reads.is_of(left, newest);
        let chosen = choose::choose(&key(B), &reads, versions, &crate::protocol::base::Base::default());
        chosen.map(|found| found.map(|found| found.version())).map_err(|lost| lost.floor)
    };
    let folds = || choose(1, true, std::slice::from_ref(&older));
    let outrun = || choose(0, false, std::slice::from_ref(&older));
    assert_eq!(choose(0, true, &[older.clone(), found(B)]), Ok(Some(version(3))));
    assert_eq!((folds(), outrun()), (Err(version(3)), Err(version(3))));
    #[cfg(feature = "planted-bugs")]
    {
        use crate::planted::{Planted, plant};
        plant(Some(Planted::FloorsForgetFolds));
        let forgets = folds();
        plant(Some(Planted::FloorsOfOldViews));
        let of_old = outrun();
        plant(None);
        assert_eq!((forgets, of_old), (Ok(Some(version(1))), Ok(Some(version(1)))), "they are noticed");
    }
}

#[test]
fn lower_bound_ignored_for_another_version_at_hand() {
    // a@3 was read and demands b@3, which this node lacks; b@1 and, cowritten with nothing, b@2 are at hand.
    let reads = brought(A, 3, &wrote(&[A, B]));
    let mut view = View::default();
    view.insert(commit(1, &wrote(&[B])));
    view.insert(commit(2, &wrote(&[B])));
    let floor = version(3);
    assert_eq!(choose::choose_in(KEYS[B], &reads, &view).map(|_| ()), Err(Unsatisfiable { floor }));
    view.insert(commit(3, &wrote(&[A, B])));
    assert_eq!(choose::choose_in(KEYS[B], &reads, &view).unwrap().unwrap().version(), floor);
    view.insert(commit(4, &wrote(&[B])));
    assert_eq!(choose::choose_in(KEYS[B], &reads, &view).unwrap().unwrap().version(), version(4));
}

#[test]
fn lower_bound_ignored_where_the_key_is_unknown_is_never_absent() {
    let reads = brought(A, 3, &wrote(&[A, B]));
    let lost = choose::choose_in(KEYS[B], &reads, &View::default()).map(|_| ());
    assert_eq!(lost, Err(Unsatisfiable { floor: version(3) }));
}

#[test]
fn lower_bound_ignored_by_a_scan_where_the_key_is_unknown() {
    let mut reads = brought(A, 3, &wrote(&[A, B]));
    let lost = scan(KeyRange::all(), usize::MAX, &mut reads, &View::default()).map(|_| ());
    assert_eq!(lost, Err(Unsatisfiable { floor: version(3) }), "a scan may not read b as absent");
    let mut view = View::default();
    view.insert(commit(1, &wrote(&[Z])));
    let lost = scan(KeyRange::all(), usize::MAX, &mut reads, &view).map(|_| ());
    assert_eq!(lost, Err(Unsatisfiable { floor: version(3) }));
    assert!(scan(KeyRange::from("x"..), usize::MAX, &mut reads, &view).is_ok(), "nothing is lost there");
    view.insert(commit(3, &wrote(&[A, B])));
    assert_eq!(scan(KeyRange::all(), usize::MAX, &mut reads, &view).unwrap().rows.len(), 3);
}

#[test]
fn lower_bound_lost_to_an_older_commit_of_the_same_keys() {
    // Read a@3 (cowritten b@3), then z@1 (cowritten b@1): the floor of b stays 3.
    let mut reader = begin(&[(1, wrote(&[B, Z])), (3, wrote(&[A, B]))]);
    assert_eq!((reader.read(A), reader.read(Z)), (3, 1));
    assert_eq!(reader.reads.floor_written(KEYS[B]), version(3));
    assert_eq!(reader.read(B), 3);
}

#[test]
fn upper_bound_not_applied() {
    let mut reader = begin(&[(1, wrote(&[A, B]))]);
    assert_eq!(reader.read(A), 1);
    reader.arrive(2, &wrote(&[A, B]));
    assert_eq!(reader.read(B), 1, "b@2 needs a@2, and a was read at 1");
}

#[test]
fn upper_bound_applied_to_a_newer_read() {
    let mut reader = begin(&[(1, wrote(&[A, B])), (2, wrote(&[A]))]);
    assert_eq!((reader.read(A), reader.read(B)), (2, 1), "b@1 needs a@1 or newer");
}

#[test]
fn absent_read_not_recorded() {
    // HAZARDS 22, first sequence.
    let mut reader = begin(&[]);
    assert_eq!(reader.read(A), 0);
    reader.arrive(1, &wrote(&[A, B]));
    assert_eq!(reader.read(B), 0, "b@1 needs a@1, and a was read as absent");
    assert_eq!(reader.read(A), 0);
}

#[test]
fn older_cached_version_taken_below_the_floor() {
    // HAZARDS 22, second sequence (k = a, l = b, m = z; versions 10, 20, 30, 40 are 1, 2, 3, 4).
    let mut reader = begin(&[(1, wrote(&[B])), (2, wrote(&[Z])), (3, wrote(&[A, B]))]);
    assert_eq!((reader.read(A), reader.read(Z)), (3, 2));
    reader.arrive(4, &wrote(&[B, Z]));
    assert_eq!(reader.read(B), 3);
}

#[test]
fn own_write_hides_what_was_read() {
    // HAZARDS 22, third sequence: the own write answers for a, but a was read at 1 all the same.
    let mut reader = begin(&[(1, wrote(&[A]))]);
    let mut own = WriteBuffer::default();
    assert_eq!(reader.read(A), 1);
    own.put(key(A), Some(Bytes::from("mine")), None, |_| Ok::<_, ()>(())).unwrap();
    reader.arrive(2, &wrote(&[A, B]));
    assert_eq!(own.get(KEYS[A]), Some(Own::Held(&Bytes::from("mine"))));
    assert_eq!(reader.read(B), 0);
}

#[test]
fn own_write_hides_what_a_scan_read() {
    let mut reader = begin(&[(1, wrote(&[A]))]);
    reader.page(&KeyRange::from(KEYS[A]..=KEYS[A]), usize::MAX);
    reader.arrive(2, &wrote(&[A, B]));
    assert_eq!(reader.read(B), 0, "whatever the transaction itself wrote to a");
}

#[test]
fn key_with_a_slash_taken_for_a_path() {
    // The paper's implementation joins key and version with a slash, and compares what it splits off again.
    let mut reader = begin(&[(1, wrote(&[A, SLASH]))]);
    assert_eq!(reader.read(SLASH), 1);
    reader.arrive(2, &wrote(&[A, SLASH]));
    assert_eq!(reader.read(A), 1);
    reader.arrive(3, &wrote(&[SLASH]));
    let mut later = begin(&[(1, wrote(&[A])), (2, wrote(&[SLASH]))]);
    assert_eq!((later.read(A), later.read(SLASH)), (1, 2), "a key below another is a key of its own");
    let mut scan = begin(&[(1, wrote(&[A])), (2, wrote(&[SLASH]))]);
    assert_eq!(scan.page(&KeyRange::prefix("a/"), usize::MAX).0, [(SLASH, 2)]);
}

#[test]
fn empty_value_taken_for_absent() {
    // By the protocol: a value, a row, a version.
    let empty = Writes::from([(A, Written::Empty), (B, Written::Tombstone)]);
    let mut reader = begin(&[(1, empty.clone())]);
    assert_eq!(reader.page(&KeyRange::all(), usize::MAX).0, [(A, 1)]);
    // By the format: an inline value of no bytes stays one, and a tombstone another thing.
    let record = record(1, &empty);
    let decision = Decision { id: record.txn, attempt: 1, verdict: Verdict::Commit(vec![record]) };
    let decoded = Decision::decode(&decision.encode(&[Bytes::new()]).unwrap()).unwrap();
    assert_eq!(decoded.decision, decision);
    let Verdict::Commit(records) = decoded.decision.verdict else { unreachable!() };
    let commit =
        Commit::new(&records[0], decision.id, Home::Decision { inline_offset: decoded.inline_offsets[0] });
    assert!(matches!(commit.place(0), Place::Inline { len: 0, .. }));
    assert_eq!(commit.place(1), Place::Tombstone);
}

#[test]
fn scanned_tombstone_recorded_as_version_0() {
    // HAZARDS 17.
    let deleted = Writes::from([(A, Written::Tombstone), (B, Written::Inline)]);
    let mut reader = begin(&[(1, wrote(&[A])), (2, deleted)]);
    let (rows, _) = reader.page(&KeyRange::from(KEYS[A]..=KEYS[A]), usize::MAX);
    assert_eq!(rows, []);
    assert_eq!(reader.reads.version_read(KEYS[A]), Some(version(2)), "deleted at 2 is not absent at 0");
    assert_eq!(reader.read(B), 2, "had a been read at 0, b@2 would tear");
    assert_eq!(reader.reads.greatest(), version(2));
}

#[test]
fn phantom_tears_a_scan() {
    let mut reader = begin(&[(1, wrote(&[Z]))]);
    assert_eq!(reader.page(&KeyRange::from("a"..="b"), usize::MAX).0, []);
    reader.arrive(2, &wrote(&[B, Z]));
    assert_eq!(reader.read(Z), 1, "z@2 needs b@2, and b was scanned as absent");
    assert_eq!(reader.read(B), 0);
}

#[test]
fn phantom_tears_a_scan_between_two_pages() {
    let mut reader = begin(&[(1, wrote(&[SLASH])), (2, wrote(&[B]))]);
    let (_, rest) = reader.page(&KeyRange::all(), 1);
    reader.arrive(3, &wrote(&[A, B, Z]));
    let (rows, rest) = reader.page(&rest.unwrap(), usize::MAX);
    assert_eq!((rows, rest), (vec![(B, 2)], None), "a was in the first page, absent");
}

#[test]
fn page_of_no_keys_reads_the_whole_range_as_absent() {
    let mut view = View::default();
    view.insert(commit(1, &wrote(&[A, B])));
    let mut reads = ReadSet::default();
    let page = scan(KeyRange::all(), 0, &mut reads, &view).unwrap();
    assert!(page.rest.is_some() || page.rows.len() == 2, "nothing may be passed over");
    let b = choose::choose_in(KEYS[B], &reads, &view).unwrap();
    assert!(b.is_some_and(|b| b.version() == version(1)), "b is there, and was not in the page");
}

#[test]
fn record_that_comes_twice_counted_twice() {
    // HAZARDS 20: the maker's feed object and a sweep's carry one commit. The first stays; it is one version.
    let record = record(1, &wrote(&[A, B]));
    let name = FeedName { time_ms: 5, node: 6, seq: 7 };
    let homes = [Home::Decision { inline_offset: 100 }, Home::Feed { name, inline_offset: 200 }];
    let [first, second] = homes.map(|home| Arc::new(Commit::new(&record, record.txn, home)));
    let mut view = View::default();
    assert!(view.insert(Arc::clone(&first)) && !view.insert(second));
    assert_eq!((view.commit_count(), view.key_count(), view.versions(KEYS[A]).len()), (1, 2, 1));
    let kept = view.versions(KEYS[A])[0].commit().unwrap();
    let Place::Inline { object, start, .. } = kept.place(0) else { panic!("inline") };
    assert_eq!((object, start), (ObjectName::Decision(first.decided_by()), 100));
    assert_eq!(view.newest_first().count(), 1);
    let mut reads = ReadSet::default();
    assert_eq!(scan(KeyRange::all(), 9, &mut reads, &view).unwrap().rows.len(), 2);
}

#[test]
fn versions_of_one_clock_value_left_in_the_order_of_arrival() {
    // Versions 1 and 2 share the clock: the id orders them, whichever came first.
    assert_eq!(version(1).clock, version(2).clock);
    for order in [[1, 2], [2, 1]] {
        let mut reader = begin(&order.map(|number| (number, wrote(&[A]))));
        assert_eq!(reader.read(A), 2);
    }
}
