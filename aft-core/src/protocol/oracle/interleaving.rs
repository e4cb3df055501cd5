//! Random transactions: reads, repeated reads, scans and own writes while commits arrive in any order.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::protocol::write_buffer::{Own, WriteBuffer};

#[derive(Debug, Clone)]
enum Step {
    /// The next commit becomes known.
    Arrive,
    /// A commit that is known arrives once more.
    ArriveAgain(prop::sample::Index),
    Get(usize),
    /// A buffered write; `None` deletes.
    Put(usize, Option<u8>),
    Scan {
        range: KeyRange,
        limits: Vec<usize>,
        /// Whether a commit arrives between two pages.
        torn: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let limits = prop::collection::vec(prop_oneof![Just(1usize), 2usize..4, Just(usize::MAX)], 1..4);
    prop_oneof![
        4 => Just(Step::Arrive),
        1 => any::<prop::sample::Index>().prop_map(Step::ArriveAgain),
        6 => (0..KEYS.len()).prop_map(Step::Get),
        1 => (0..KEYS.len(), any::<Option<u8>>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => (range(), limits, any::<bool>()).prop_map(|(range, limits, torn)| Step::Scan { range, limits, torn }),
    ]
}

/// A transaction with own writes, as a node runs it: own writes answer first, a scan notes the store's versions all
/// the same.
struct Transaction {
    reader: Reader,
    own: WriteBuffer,
    own_model: BTreeMap<usize, Option<Bytes>>,
    coming: VecDeque<(Number, Writes)>,
}

fn value(own: Own<'_>) -> Option<Bytes> {
    match own {
        Own::Held(value) => Some(value.clone()),
        Own::Deleted => None,
        Own::Stored(_) => panic!("nothing here was suspended"),
    }
}

impl Transaction {
    fn arrive(&mut self) {
        if let Some((number, writes)) = self.coming.pop_front() {
            self.reader.arrive(number, &writes);
            self.reader.check();
        }
    }

    fn get(&mut self, ordinal: usize) {
        let own = self.own.get(KEYS[ordinal]).map(value);
        assert_eq!(own.as_ref(), self.own_model.get(&ordinal), "read your writes");
        if own.is_none() {
            let read = self.reader.read(ordinal);
            assert_eq!(self.reader.read(ordinal), read, "repeatable");
        }
    }

    fn put(&mut self, ordinal: usize, value: Option<u8>) {
        let value = value.map(|byte| Bytes::from(vec![byte; usize::from(byte % 3)]));
        self.own.put(key(ordinal), value.clone(), None, |_| Ok::<_, ()>(())).unwrap();
        self.own_model.insert(ordinal, value);
    }

    fn scan(&mut self, range: &KeyRange, limits: &[usize], torn: bool) {
        let mut once = self.reader.reads.clone();
        let whole = choose::scan_view(range.clone(), usize::MAX, &mut once, &self.reader.view).unwrap();
        let whole_rows: Vec<_> =
            whole.rows.iter().map(|(key, found)| (ordinal(key), number(found.version()))).collect();
        let mut limits = limits.iter().cycle();
        let mut rest = Some(range.clone());
        let mut rows = Vec::new();
        while let Some(range) = rest {
            let (page, left) = self.reader.page(&range, *limits.next().unwrap());
            rows.extend(page);
            rest = left;
            if torn {
                self.arrive();
            }
        }
        if !torn {
            assert_eq!(rows, whole_rows, "page by page is one page");
            for probe in KEYS.iter().copied().chain([&b"a-"[..], b"a\0", b"zz", b"\xff\xff"]) {
                assert_eq!(self.reader.reads.version_read(probe), once.version_read(probe), "{probe:?}");
            }
        }
        // The rows with own writes over them, as the transaction sees them.
        let own = self.own.range(range).map(|(key, own)| (ordinal(key), value(own))).collect::<Vec<_>>();
        let in_range = |(ordinal, _): &(&usize, &Option<Bytes>)| range.contains(KEYS[**ordinal]);
        let model = self.own_model.iter().filter(in_range).map(|(ordinal, value)| (*ordinal, value.clone()));
        assert_eq!(own, model.collect::<Vec<_>>(), "a scan sees the own writes of its range");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    /// Each choice is the newest that the definition allows; the rest is in [`Reader::check`].
    #[test]
    fn every_read_set_is_atomic_and_as_fresh_as_atomicity_allows(
        arrivals in arrivals(7), known in 0usize..7, steps in prop::collection::vec(step(), 1..24),
    ) {
        let known = known.min(arrivals.len());
        let reader = Reader::begin(arrivals[..known].iter().map(|(number, writes)| (*number, writes)));
        let coming = arrivals[known..].iter().cloned().collect();
        let mut txn = Transaction { reader, own: WriteBuffer::default(), own_model: BTreeMap::new(), coming };
        for step in steps {
            match step {
                Step::Arrive => txn.arrive(),
                Step::ArriveAgain(which) => {
                    let (number, writes) = which.get(&arrivals);
                    if txn.reader.history.0.contains_key(number) {
                        txn.reader.arrive(*number, writes);
                    }
                }
                Step::Get(ordinal) => txn.get(ordinal),
                Step::Put(ordinal, value) => txn.put(ordinal, value),
                Step::Scan { range, limits, torn } => txn.scan(&range, &limits, torn),
            }
        }
    }
}
