//! The read set's shortcuts against the plain definition of what it stands for.

use super::*;

/// What a read set is told: reads by name, and ranges.
#[derive(Debug, Clone)]
enum Note {
    Read(usize),
    Range(KeyRange),
}

fn notes() -> impl Strategy<Value = Vec<Note>> {
    let note = prop_oneof![
        3 => (0..KEYS.len()).prop_map(Note::Read),
        1 => range().prop_map(Note::Range),
    ];
    prop::collection::vec(note, 0..8)
}

/// Ranges over short keys of few bytes, so that many touch.
fn bounds() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let key = || prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(2)], 0..3);
    (key(), key())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// For a key that was not read yet, a commit is admitted exactly if none of the keys it wrote was read below it.
    /// Holds for the sets that transactions can build: what they read was admissible when they read it.
    #[test]
    fn admits_is_its_definition(arrivals in arrivals(7), known in 0usize..7, notes in notes()) {
        let known = known.min(arrivals.len());
        let mut reader = Reader::begin(arrivals[..known].iter().map(|(number, writes)| (*number, writes)));
        for note in notes {
            match note {
                Note::Read(key) => {
                    reader.read(key);
                }
                Note::Range(range) => {
                    reader.page(&range, usize::MAX);
                }
            }
        }
        for (number, writes) in &arrivals[known..] {
            reader.arrive(*number, writes);
        }
        for (number, writes) in reader.history.0.clone() {
            let unread = writes.keys().any(|key| !reader.model.contains_key(key));
            if unread {
                let atomic = writes.keys().all(|key| reader.model.get(key).is_none_or(|read| *read >= number));
                prop_assert_eq!(reader.reads.admits(&commit(number, &writes)), atomic, "commit {}", number);
            }
        }
        // A floor is the greatest version read among the commits that also wrote the key.
        for (ordinal, name) in KEYS.iter().enumerate().filter(|(ordinal, _)| !reader.model.contains_key(ordinal)) {
            let wrote = |number: &&Number| reader.history.0.get(number).is_some_and(|writes| writes.contains_key(&ordinal));
            let floor = reader.model.values().filter(wrote).max().copied().unwrap_or(0);
            prop_assert_eq!(reader.reads.floor_written(name), version(floor));
        }
    }

    /// Merged or not, the ranges hold the keys that were scanned and no others; no two of them overlap or touch.
    #[test]
    fn ranges_merge_and_hold_the_same_keys(
        scanned in prop::collection::vec(bounds(), 0..12), probes in prop::collection::vec(bounds(), 8),
    ) {
        let mut reads = ReadSet::default();
        for (from, to) in &scanned {
            reads.record_range(KeyRange::from(from..to));
        }
        let every = scanned.iter().chain(&probes).flat_map(|(a, b)| [a, b]);
        for probe in every {
            let inside = scanned.iter().any(|(from, to)| from <= probe && probe < to);
            prop_assert_eq!(reads.read(probe).is_some(), inside, "{:?}", probe);
            prop_assert_eq!(reads.version_read(probe), inside.then_some(Version::ABSENT));
        }
        let ranges = reads.ranges();
        for (at, range) in ranges.iter().enumerate() {
            prop_assert!(!range.is_empty());
            prop_assert!(ranges[at + 1..].iter().all(|other| range.union(other).is_none()), "{:?}", ranges);
        }
    }
}

#[test]
fn a_page_by_page_scan_leaves_one_range() {
    let set = |key| Writes::from([(key, Written::Inline)]);
    let commits: Vec<_> = (0..KEYS.len()).map(|key| (key as Number + 1, set(key))).collect();
    let mut reader = Reader::begin(commits.iter().map(|(number, writes)| (*number, writes)));
    let mut rest = Some(KeyRange::all());
    while let Some(range) = rest {
        rest = reader.page(&range, 1).1;
    }
    assert_eq!(reader.reads.ranges(), [KeyRange::all()]);
}
