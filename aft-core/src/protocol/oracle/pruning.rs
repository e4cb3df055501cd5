//! Pruning a batch (AFT, algorithm 2) against its purpose: no reader can tell.

use super::*;
use crate::protocol::prune::superseded;

/// A commit set cut in two: what a node knows already, and the batch it receives.
fn worlds() -> impl Strategy<Value = (Vec<(Number, Writes)>, usize)> {
    (arrivals(8), 0usize..8).prop_map(|(arrivals, known)| {
        let known = known.min(arrivals.len());
        (arrivals, known)
    })
}

/// The commits of the batch that are told in full.
fn kept(batch: &[(Number, Writes)]) -> Vec<&(Number, Writes)> {
    let commits: Vec<_> = batch.iter().map(|(number, writes)| commit(*number, writes)).collect();
    let pruned = superseded(&commits);
    assert_eq!(pruned.len(), batch.len());
    batch.iter().zip(pruned).filter(|(_, pruned)| !pruned).map(|(commit, _)| commit).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A commit is pruned exactly if every key it wrote was overwritten in the batch; never the newest of a key.
    #[test]
    fn a_commit_is_pruned_where_each_of_its_keys_was_overwritten((arrivals, _) in worlds()) {
        let kept = kept(&arrivals);
        let full = History(arrivals.iter().cloned().collect());
        for (number, writes) in &arrivals {
            let overwritten = writes.keys().all(|key| full.newest(*key) > *number);
            prop_assert_eq!(kept.iter().all(|(kept, _)| kept != number), overwritten);
        }
        let told = History(kept.into_iter().cloned().collect());
        for key in 0..KEYS.len() {
            prop_assert_eq!(told.newest(key), full.newest(key));
        }
    }

    /// Who begins after the batch reads the same versions with it whole and with it pruned, whatever else is known.
    #[test]
    fn who_begins_later_reads_the_same((arrivals, known) in worlds(), order in Just([0, 1, 2, 3, 4]).prop_shuffle()) {
        let (known, batch) = arrivals.split_at(known);
        let kept = kept(batch);
        let of = |(number, writes): &'_ (Number, Writes)| (*number, writes.clone());
        let whole: Vec<_> = known.iter().chain(batch).map(of).collect();
        let told: Vec<_> = known.iter().chain(kept).map(of).collect();
        let mut whole = Reader::begin(whole.iter().map(|(number, writes)| (*number, writes)));
        let mut told = Reader::begin(told.iter().map(|(number, writes)| (*number, writes)));
        for key in order {
            let read = whole.read(key);
            prop_assert_eq!(told.read(key), read);
            prop_assert_eq!(read, whole.history.newest(key), "nothing arrives, so every read is the newest");
        }
    }

    /// Who is in the middle of reading when a pruned batch arrives still reads atomically, by the whole write sets.
    #[test]
    fn who_is_reading_stays_atomic((arrivals, known) in worlds(), order in Just([0, 1, 2, 3, 4]).prop_shuffle(), before in 0usize..5) {
        let (known, batch) = arrivals.split_at(known);
        let mut reader = Reader::begin(known.iter().map(|(number, writes)| (*number, writes)));
        for (at, key) in order.into_iter().enumerate() {
            if at == before {
                kept(batch).into_iter().for_each(|(number, writes)| reader.arrive(*number, writes));
            }
            reader.read(key);
        }
        prop_assert!(History(arrivals.iter().cloned().collect()).is_atomic(&reader.model));
    }
}

#[test]
fn a_version_that_comes_twice_does_not_supersede_itself() {
    let writes = Writes::from([(0, Written::Inline)]);
    let twice = [commit(1, &writes), commit(1, &writes)];
    assert_eq!(superseded(&twice), [false, false]);
    assert_eq!(superseded(&[]), Vec::<bool>::new());
    assert_eq!(superseded(&[commit(1, &Writes::new())]), [true], "only its id is worth telling");
}

#[test]
fn a_batch_supersedes_in_parts_and_along_a_chain() {
    let set = |keys: &[usize]| keys.iter().map(|key| (*key, Written::Inline)).collect::<Writes>();
    let batch =
        [commit(1, &set(&[0, 1])), commit(2, &set(&[0])), commit(3, &set(&[1])), commit(4, &set(&[0]))];
    assert_eq!(superseded(&batch), [true, true, false, false]);
}
