//! Counts the anomalies in a history. The one checker of both runs.
//!
//! The definitions are those of Bailis et al., "Scalable Atomic Visibility with RAMP Transactions" (SIGMOD 2014):
//!
//! - **dirty read**: a value of a transaction that had not committed when it was read;
//! - **fractured read**: a transaction read one key as transaction `t` wrote it, and another key that `t` also writes
//!   older than that (absent is oldest, and what a scan does not return is absent);
//! - **read your writes**: a transaction read a key that it had written, and found something else.
//!
//! A **doubled effect** is one that stands in the store more often than the once for which its caller asked.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::history::{Effect, Event, History, Stamp, Txn};

/// What the checker counted. The first three are transactions in which it happened at least once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Anomalies {
    pub(crate) dirty_reads: u32,
    pub(crate) fractured_reads: u32,
    pub(crate) read_your_writes: u32,
    pub(crate) doubled_effects: u32,
    /// Effects of finished orders that are not in the store at the end.
    pub(crate) lost_effects: u32,
}

impl Anomalies {
    pub(crate) fn total(&self) -> u32 {
        self.dirty_reads
            + self.fractured_reads
            + self.read_your_writes
            + self.doubled_effects
            + self.lost_effects
    }
}

/// Counts the anomalies of `history`.
pub(crate) fn check<P: Ord + Copy>(history: &History<P>) -> Anomalies {
    let (doubled_effects, lost_effects) = effects(history);
    let mut anomalies = Anomalies { doubled_effects, lost_effects, ..Anomalies::default() };
    let writes = Writes::of(history);
    let mut committed: HashSet<Txn> = HashSet::new();
    let mut readers: HashMap<Txn, Reader> = HashMap::new();
    for (txn, event) in &history.events {
        let reader = readers.entry(*txn).or_default();
        match event {
            Event::Read { key, found } => reader.observe(*txn, key, *found, &committed),
            Event::Scan { prefix, found } => {
                for (key, stamp) in found {
                    reader.observe(*txn, key, Some(*stamp), &committed);
                }
                reader.observe_absent(prefix, found, &writes);
            }
            Event::Write { key, stamp, .. } => {
                reader.written.insert(key.clone(), *stamp);
            }
            Event::Commit { .. } => {
                committed.insert(*txn);
            }
        }
    }
    for reader in readers.values() {
        anomalies.dirty_reads += u32::from(reader.dirty);
        anomalies.read_your_writes += u32::from(reader.lost_own_write);
        anomalies.fractured_reads += u32::from(reader.is_fractured(&writes));
    }
    anomalies
}

/// Every write of the run, and where it stands in the order of its key.
struct Writes<P> {
    places: HashMap<Stamp, P>,
    /// What each transaction wrote, in the whole run: also after somebody read it.
    by_txn: HashMap<Txn, HashMap<String, Stamp>>,
}

impl<P: Ord + Copy> Writes<P> {
    fn of(history: &History<P>) -> Self {
        let mut writes = Self { places: HashMap::new(), by_txn: HashMap::new() };
        for (txn, event) in &history.events {
            match event {
                Event::Write { key, stamp, place } => {
                    writes.by_txn.entry(*txn).or_default().insert(key.clone(), *stamp);
                    writes.places.extend(place.map(|place| (*stamp, place)));
                }
                Event::Commit { place: Some(place) } => {
                    let stamps = writes.by_txn.get(txn).into_iter().flat_map(HashMap::values);
                    writes.places.extend(stamps.map(|stamp| (*stamp, *place)));
                }
                Event::Commit { place: None } | Event::Read { .. } | Event::Scan { .. } => {}
            }
        }
        writes
    }

    /// Whether `found` is older than `stamp`, both of one key. Something without a place is in no order.
    fn is_older(&self, found: Option<Stamp>, stamp: Stamp) -> bool {
        let Some(place) = self.places.get(&stamp) else { return false };
        found.is_none_or(|found| self.places.get(&found).is_some_and(|found| found < place))
    }
}

/// What one transaction saw.
#[derive(Default)]
struct Reader {
    written: HashMap<String, Stamp>,
    /// What others had written, as it was found; None for absent.
    seen: HashSet<(String, Option<Stamp>)>,
    dirty: bool,
    lost_own_write: bool,
}

impl Reader {
    fn observe(&mut self, me: Txn, key: &str, found: Option<Stamp>, committed: &HashSet<Txn>) {
        if let Some(own) = self.written.get(key) {
            self.lost_own_write |= found != Some(*own);
        }
        if found.is_some_and(|stamp| stamp.txn == me) {
            return;
        }
        self.dirty |= found.is_some_and(|stamp| !committed.contains(&stamp.txn));
        self.seen.insert((key.to_owned(), found));
    }

    /// A scan says of every key in its range that it is not there, unless it returns it.
    fn observe_absent<P>(&mut self, prefix: &str, found: &[(String, Stamp)], writes: &Writes<P>) {
        let missing = |key: &str| key.starts_with(prefix) && !found.iter().any(|(other, _)| other == key);
        self.lost_own_write |= self.written.keys().any(|key| missing(key));
        // Only keys that somebody writes can matter.
        let keys = writes.by_txn.values().flat_map(HashMap::keys).filter(|key| missing(key));
        self.seen.extend(keys.map(|key| (key.clone(), None)));
    }

    fn is_fractured<P: Ord + Copy>(&self, writes: &Writes<P>) -> bool {
        let seen_txns: HashSet<Txn> = self.seen.iter().filter_map(|(_, found)| Some((*found)?.txn)).collect();
        self.seen.iter().any(|(key, found)| {
            let cowritten = seen_txns.iter().filter_map(|txn| writes.by_txn.get(txn)?.get(key));
            cowritten.into_iter().any(|stamp| writes.is_older(*found, *stamp))
        })
    }
}

/// How many effects stand in the store too often, and how many not at all.
fn effects<P>(history: &History<P>) -> (u32, u32) {
    let mut counts: HashMap<(Effect, u32), u32> = HashMap::new();
    for effect in &history.effects {
        *counts.entry(*effect).or_default() += 1;
    }
    let doubled = counts.values().map(|count| count - 1).sum();
    let expected = history.finished.iter().flat_map(|order| {
        [Effect::Reserved, Effect::Charged, Effect::Recorded].map(|effect| (effect, *order))
    });
    let lost = expected.filter(|effect| !counts.contains_key(effect)).count();
    (doubled, u32::try_from(lost).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A history in a few letters: `w1x` transaction 1 writes x (visible at once), `b1x` writes x buffered, `c1`
    /// commits, `r2x1` reads x as transaction 1 wrote it, `r2x0` reads x absent, `s2=x1` scans everything and finds
    /// x of transaction 1.
    fn history(text: &str) -> History<u32> {
        let mut history = History::new();
        for (at, word) in text.split_whitespace().enumerate() {
            let place = u32::try_from(at).unwrap();
            let txn = Txn(word[1..2].parse().unwrap());
            let stamp = |text: &str| match text.parse().unwrap() {
                0 => None,
                number => Some(Stamp { txn: Txn(number), write: 0 }),
            };
            let key = |at: usize| word[at..=at].to_owned();
            // One write to a key by each transaction; so the letter of the key tells its writes apart.
            let own = |key: &str| Stamp { txn, write: u32::from(key.as_bytes()[0]) };
            let found = |key: String, stamp: Option<Stamp>| {
                let stamp = stamp.map(|stamp| Stamp { write: u32::from(key.as_bytes()[0]), ..stamp });
                (key, stamp)
            };
            let event = match &word[..1] {
                "w" => Event::Write { key: key(2), stamp: own(&key(2)), place: Some(place) },
                "b" => Event::Write { key: key(2), stamp: own(&key(2)), place: None },
                "c" => Event::Commit { place: Some(place) },
                "r" => {
                    let (key, found) = found(key(2), stamp(&word[3..4]));
                    Event::Read { key, found }
                }
                "s" => {
                    let pairs: Vec<_> = word.as_bytes()[3..].chunks(2).collect();
                    let pairs = pairs.iter().map(|pair| {
                        let text = std::str::from_utf8(pair).unwrap();
                        let (key, found) = found(text[..1].to_owned(), stamp(&text[1..]));
                        (key, found.unwrap())
                    });
                    Event::Scan { prefix: String::new(), found: pairs.collect() }
                }
                other => panic!("{other}"),
            };
            history.record(txn, event);
        }
        history
    }

    fn counts(text: &str) -> [u32; 3] {
        let found = check(&history(text));
        [found.dirty_reads, found.fractured_reads, found.read_your_writes]
    }

    #[test]
    fn each_anomaly_is_found_and_nothing_else() {
        let cases: &[(&str, [u32; 3])] = &[
            // clean
            ("b1x b1y c1 r2x1 r2y1", [0, 0, 0]),
            ("b1x b1y c1 b2x b2y c2 r3x1 r3y1", [0, 0, 0]),
            ("r2x0 b1x b1y c1 r2y0", [0, 0, 0]),
            ("b1x c1 b2y c2 r3x1 r3y0", [0, 0, 0]),
            ("b1x r1x1 c1", [0, 0, 0]),
            ("b1x b1y c1 b2x c2 r3x2 r3y1", [0, 0, 0]),
            ("b1x b1y c1 s2=x1y1", [0, 0, 0]),
            // dirty: never committed, or not yet
            ("w1x r2x1", [1, 0, 0]),
            ("w1x r2x1 c1", [1, 0, 0]),
            ("b1x r2x1", [1, 0, 0]),
            ("w1x r2x1 r2x1 w3y r2y3", [1, 0, 0]),
            // fractured: older, absent, in either order of reading, written only later, or missing from a scan
            ("b1x b1y c1 b2x b2y c2 r3x2 r3y1", [0, 1, 0]),
            ("b1x b1y c1 b2x b2y c2 r3y1 r3x2", [0, 1, 0]),
            ("b1x b1y c1 r2x1 r2y0", [0, 1, 0]),
            ("r2y0 b1x b1y c1 r2x1", [0, 1, 0]),
            ("b1x b1y c1 s2=x1", [0, 1, 0]),
            ("r2x0 b1x b1y c1 s2=y1", [0, 1, 0]),
            ("w1x r2x1 r2y0 w1y c1", [1, 1, 0]),
            // read your writes: another's value, none, or missing from a scan
            ("w1x w2x r1x2 c2", [1, 0, 1]),
            ("b1x r1x0 c1", [0, 0, 1]),
            ("b1x b1y s1=x1", [0, 0, 1]),
        ];
        for (text, expected) in cases {
            assert_eq!(counts(text), *expected, "{text}");
        }
    }

    #[test]
    fn effects_are_counted_against_what_was_asked_for_once() {
        let mut history = History::<u32>::new();
        history.finished = vec![1, 2];
        for effect in [Effect::Reserved, Effect::Charged, Effect::Recorded] {
            history.effects.push((effect, 1));
        }
        history.effects.extend([(Effect::Charged, 1), (Effect::Charged, 1), (Effect::Charged, 2)]);
        let found = check(&history);
        assert_eq!((found.doubled_effects, found.lost_effects), (2, 2));
        assert_eq!(found.total(), 4);
    }
}
