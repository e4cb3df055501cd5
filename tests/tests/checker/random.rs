//! Random histories of a correct store in memory, and spoiled ones, against a decision by brute force.

use aft_tests::checker::{Expectations, FinalRead, Kind, Visibility, check};
use aft_tests::history::{History, Op, Status, Transaction, Value, Version};

use crate::written::kinds;

/// A small generator of random numbers (SplitMix64), so that a seed says everything.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

struct Size {
    transactions: usize,
    sessions: usize,
    keys: usize,
    ops: usize,
    /// How many of the last commits a reader may miss.
    lag: usize,
    /// Which of those it misses is random for each, not only how many; costs time.
    any_subset: bool,
}

/// What a correct store did: for each key its commits in order, each the place in the order and the value.
struct Model {
    keys: Vec<Vec<(usize, Value)>>,
    /// The place in the order of each session's last own commit of each key.
    own: Vec<Vec<Option<usize>>>,
    commits: usize,
}

/// A history of a store that is right: each transaction sees some set of commits, its session's own among them, and
/// of each key the newest in the set. Commits have the place in the order as their version.
fn correct(random: &mut Random, size: &Size) -> (History, Model) {
    let mut model = Model {
        keys: vec![Vec::new(); size.keys],
        own: vec![vec![None; size.keys]; size.sessions],
        commits: 0,
    };
    let mut history = History::default();
    for number in 0..size.transactions {
        let session = random.below(size.sessions);
        let mut transaction = Transaction::new(format!("n{session}/c1"), number as u128 + 1);
        transaction.began_ms = number as u64 * 10;
        transaction.ended_ms = transaction.began_ms + 5;
        run(random, size, &model, session, &mut transaction);
        transaction.status = match random.below(10) {
            0 => Status::Aborted,
            1 | 2 => Status::Unknown,
            _ => Status::Committed,
        };
        let lands = match transaction.status {
            Status::Committed => true,
            Status::Aborted => false,
            Status::Unknown => random.one_in(2),
        };
        if lands {
            model.commits += 1;
            let place = model.commits;
            if transaction.status == Status::Committed {
                transaction.version = Some(Version(place as u64, 1));
            }
            for (key, value) in last_writes(&transaction) {
                model.keys[key].push((place, value));
                if transaction.status == Status::Committed {
                    model.own[session][key] = Some(place);
                }
            }
        }
        history.transactions.push(transaction);
    }
    (history, model)
}

fn name(key: usize) -> String {
    format!("k{key}")
}

fn number(key: &str) -> usize {
    key[1..].parse().unwrap()
}

fn last_writes(transaction: &Transaction) -> Vec<(usize, Value)> {
    let mut writes: Vec<(usize, Value)> = Vec::new();
    for op in &transaction.ops {
        if let Op::Write { key, value } = op {
            writes.retain(|(other, _)| *other != number(key));
            writes.push((number(key), value.clone()));
        }
    }
    writes
}

fn run(random: &mut Random, size: &Size, model: &Model, session: usize, transaction: &mut Transaction) {
    let behind = model.commits.saturating_sub(random.below(size.lag + 1));
    let hidden = if size.any_subset { random.next() } else { 0 };
    let sees = |place: usize, key: usize| {
        let own = model.own[session][key] == Some(place);
        own || place <= behind && (!size.any_subset || hidden >> (place % 64) & 1 == 0)
    };
    for op in 0..1 + random.below(size.ops) {
        let key = random.below(size.keys);
        if random.one_in(2) {
            transaction.write(name(key), format!("{}.{op}", transaction.id));
            continue;
        }
        let own = last_writes(transaction).into_iter().find(|(other, _)| *other == key);
        if let Some((_, value)) = own {
            transaction.read(name(key), Some(value), None);
            continue;
        }
        let found = model.keys[key].iter().rev().find(|(place, _)| sees(*place, key));
        let version = found.map_or(Version::ABSENT, |&(place, _)| Version(place as u64, 1));
        transaction.read(name(key), found.map(|(_, value)| value.clone()), Some(version));
    }
}

/// What the history's end looks like to every node.
fn expectations(model: &Model) -> Expectations {
    let read = |(key, commits): (usize, &Vec<(usize, Value)>)| FinalRead {
        node: "n1".into(),
        key: name(key).into(),
        value: commits.last().map(|(_, value)| value.clone()),
        version: Some(commits.last().map_or(Version::ABSENT, |&(place, _)| Version(place as u64, 1))),
    };
    Expectations { final_reads: model.keys.iter().enumerate().map(read).collect(), ..Expectations::default() }
}

/// Lets one read, the first of its key in a transaction that has not written it, find something else. Returns whether
/// there was one. What the reader says of versions is forgotten.
fn spoil(random: &mut Random, history: &mut History) -> bool {
    let mut candidates = Vec::new();
    for (index, transaction) in history.transactions.iter().enumerate() {
        for (at, op) in transaction.ops.iter().enumerate() {
            let Op::Read { key, .. } = op else { continue };
            let touches = |other: &&Op| matches!(other, Op::Write { key: other, .. } | Op::Read { key: other, .. } if other == key);
            if transaction.ops.iter().filter(touches).count() == 1 {
                candidates.push((index, at));
            }
        }
    }
    if candidates.is_empty() {
        return false;
    }
    let (index, at) = candidates[random.below(candidates.len())];
    let Op::Read { key, .. } = history.transactions[index].ops[at].clone() else { return false };
    let mut values: Vec<Option<Value>> = vec![None];
    for transaction in &history.transactions {
        for op in &transaction.ops {
            if let Op::Write { key: other, value } = op
                && *other == key
            {
                values.push(Some(value.clone()));
            }
        }
    }
    let value = values.swap_remove(random.below(values.len()));
    history.transactions[index].ops[at] = Op::Read { key, value, version: None };
    true
}

/// The rule, by trying every order. Slow, and as close to its words as code can be.
mod brute_force {
    use super::*;

    /// The transaction that wrote `value` and whether that was its last write of `key`.
    fn writer(history: &History, key: &str, value: &Value) -> Option<(usize, bool)> {
        history.transactions.iter().enumerate().find_map(|(index, transaction)| {
            let wrote = transaction
                .ops
                .iter()
                .any(|op| matches!(op, Op::Write { key: k, value: v } if **k == *key && v == value));
            let last = last_writes(transaction).iter().any(|(k, v)| *k == number(key) && v == value);
            wrote.then_some((index, last))
        })
    }

    struct Facts {
        /// (earlier, later) in session order or reads-from: the initial state is no transaction.
        precedes: Vec<Vec<bool>>,
        /// (reader, key, what it read: a transaction or the initial state).
        reads: Vec<(usize, usize, Option<usize>)>,
        writes: Vec<Vec<usize>>,
    }

    pub fn is_atomic(history: &History) -> bool {
        let Some(facts) = facts(history) else { return false };
        let mut order: Vec<usize> = (0..history.transactions.len()).collect();
        some_order(&mut order, 0, &facts)
    }

    /// `None` if a read is wrong by itself.
    fn facts(history: &History) -> Option<Facts> {
        let all = &history.transactions;
        let mut reads = Vec::new();
        let mut read_from = vec![false; all.len()];
        for (reader, transaction) in all.iter().enumerate() {
            for (at, op) in transaction.ops.iter().enumerate() {
                let Op::Read { key, value, .. } = op else { continue };
                let own =
                    transaction.ops[..at].iter().any(|op| matches!(op, Op::Write { key: k, .. } if k == key));
                if own {
                    continue;
                }
                let Some(value) = value else {
                    reads.push((reader, number(key), None));
                    continue;
                };
                let (from, last) = writer(history, key, value)?;
                if !last || from == reader || all[from].status == Status::Aborted {
                    return None;
                }
                read_from[from] = true;
                reads.push((reader, number(key), Some(from)));
            }
        }
        let effective = |tx: usize| {
            all[tx].status == Status::Committed || all[tx].status == Status::Unknown && read_from[tx]
        };
        let mut precedes = vec![vec![false; all.len()]; all.len()];
        for later in 0..all.len() {
            for earlier in 0..later {
                let unbound = all[earlier].status == Status::Unknown && effective(earlier);
                precedes[earlier][later] = all[earlier].session == all[later].session && !unbound;
            }
        }
        for &(reader, _, from) in &reads {
            if let Some(from) = from {
                precedes[from][reader] = true;
            }
        }
        let writes = (0..all.len()).map(|tx| {
            let writes = if effective(tx) { last_writes(&all[tx]) } else { Vec::new() };
            writes.into_iter().map(|(key, _)| key).collect()
        });
        Some(Facts { precedes, reads, writes: writes.collect() })
    }

    fn some_order(order: &mut Vec<usize>, fixed: usize, facts: &Facts) -> bool {
        if fixed == order.len() {
            return fits(order, facts);
        }
        (fixed..order.len()).any(|next| {
            order.swap(fixed, next);
            let found = some_order(order, fixed + 1, facts);
            order.swap(fixed, next);
            found
        })
    }

    fn fits(order: &[usize], facts: &Facts) -> bool {
        let mut place = vec![0; order.len()];
        for (at, &tx) in order.iter().enumerate() {
            // The initial state has place 0.
            place[tx] = at + 1;
        }
        let all = 0..order.len();
        let extends = all.clone().all(|a| all.clone().all(|b| !facts.precedes[a][b] || place[a] < place[b]));
        extends
            && facts.reads.iter().all(|&(reader, key, from)| {
                all.clone().all(|b| {
                    let asked =
                        Some(b) != from && facts.precedes[b][reader] && facts.writes[b].contains(&key);
                    !asked || place[b] < from.map_or(0, |from| place[from])
                })
            })
    }
}

const SMALL: Size = Size { transactions: 6, sessions: 3, keys: 3, ops: 4, lag: 6, any_subset: true };

#[test]
fn a_correct_store_has_no_violation() {
    for seed in 0..2_000 {
        let random = &mut Random::new(seed);
        let (history, model) = correct(random, &SMALL);
        let verdict = check(&history, &expectations(&model));
        assert_eq!(kinds(&verdict), [], "seed {seed}: {verdict:#?}");
        assert!(brute_force::is_atomic(&history), "seed {seed}");
    }
}

/// Both ways: what brute force condemns is found, and nothing else. Where all versions are known, the decision by
/// versions finds it too.
#[test]
fn spoiled_reads_are_found_if_and_only_if_they_matter() {
    let (mut found, mut cycles, mut harmless) = (0, 0, 0);
    for seed in 0..6_000 {
        let random = &mut Random::new(seed);
        let (mut history, _) = correct(random, &SMALL);
        for _ in 0..1 + random.below(2) {
            spoil(random, &mut history);
        }
        let mut bare = history.clone();
        for transaction in &mut bare.transactions {
            transaction.version = None;
            for op in &mut transaction.ops {
                if let Op::Read { version, .. } = op {
                    *version = None;
                }
            }
        }
        let by_rule = kinds(&check(&bare, &Expectations::default()));
        assert_eq!(
            by_rule.is_empty(),
            brute_force::is_atomic(&history),
            "seed {seed}: {by_rule:?}\n{history:#?}"
        );
        let by_versions = kinds(&check(&history, &Expectations::default()));
        let version_kinds = [Kind::Fractured, Kind::VersionOrder, Kind::OlderThanOwnSession];
        if by_rule == [Kind::NotAtomic] && all_versions_known(&history) {
            cycles += 1;
            assert!(by_versions.iter().any(|kind| version_kinds.contains(kind)), "seed {seed}: {history:#?}");
        }
        if by_rule.is_empty() { harmless += 1 } else { found += 1 }
    }
    println!("{found} found, {cycles} of them cycles with all versions known; {harmless} harmless");
    assert!(found > 2_000 && cycles > 300 && harmless > 2_000);
}

fn all_versions_known(history: &History) -> bool {
    history.transactions.iter().all(|transaction| transaction.status != Status::Unknown)
}

const MIDDLE: Size =
    Size { transactions: 2_000, sessions: 20, keys: 40, ops: 12, lag: 30, any_subset: false };

/// In a long history one fracture is found, and the cycle that shows it is short.
#[test]
fn one_fracture_in_a_long_history() {
    for seed in 0..20 {
        let random = &mut Random::new(seed);
        let (mut history, model) = correct(random, &MIDDLE);
        let mut expectations = expectations(&model);
        expectations.visibility = Some(Visibility { bound_ms: 400 * 10, faults_stopped_ms: 0 });
        let verdict = check(&history, &expectations);
        assert_eq!(kinds(&verdict), [], "seed {seed}: {verdict:#?}");
        plant_fracture(&mut history);
        let violations = check(&history, &Expectations::default()).unwrap_err();
        let fracture = violations.iter().find(|violation| violation.kind == Kind::NotAtomic);
        assert!(
            fracture.is_some_and(|fracture| fracture.transactions.len() <= 4),
            "seed {seed}: {violations:#?}"
        );
        assert!(violations.iter().any(|violation| violation.kind == Kind::Fractured), "seed {seed}");
    }
}

/// Adds a session that commits two keys twice, and a reader that sees half of the second commit.
fn plant_fracture(history: &mut History) {
    let id = history.transactions.len() as u128 + 1;
    let middle = history.transactions.len() / 2;
    let mut reader = Transaction::new("planted/reader", id + 2);
    reader.status = Status::Committed;
    for (offset, value) in ["old", "new"].into_iter().enumerate() {
        let mut writer = Transaction::new("planted/writer", id + offset as u128);
        writer.status = Status::Committed;
        writer.version = Some(Version(1 << 40 | offset as u64, 2));
        writer.write(name(0), value);
        writer.write(name(1), value);
        history.transactions.insert(middle + offset, writer);
    }
    reader.read(name(0), Some("old".into()), None);
    reader.read(name(1), Some("new".into()), None);
    history.transactions.insert(middle + 2, reader);
}

/// 100,000 transactions; with `AFT_HISTORY=FILE` also written there, for `check-history`.
#[test]
#[ignore = "for a release build: cargo test --release -p aft-tests --test checker -- --ignored --nocapture"]
#[allow(clippy::disallowed_methods, reason = "it measures the checker itself")]
fn a_hundred_thousand_transactions() {
    let size =
        Size { transactions: 100_000, sessions: 200, keys: 1_000, ops: 20, lag: 300, any_subset: false };
    let (mut history, model) = correct(&mut Random::new(1), &size);
    for spoiled in [false, true] {
        if spoiled {
            plant_fracture(&mut history);
        }
        let started = std::time::Instant::now();
        let verdict = check(&history, &expectations(&model));
        println!("{:?}: {verdict:#?}", started.elapsed());
        assert_eq!(verdict.is_err(), spoiled);
        if let (false, Ok(path)) = (spoiled, std::env::var("AFT_HISTORY")) {
            history.write_json_lines(std::io::BufWriter::new(std::fs::File::create(path).unwrap())).unwrap();
        }
    }
    // Every read of the second half finds anything: knots of many thousand transactions.
    let mut random = Random::new(2);
    let mut seen: Vec<Vec<Value>> = vec![Vec::new(); size.keys];
    for transaction in &mut history.transactions {
        for op in &mut transaction.ops {
            match op {
                Op::Write { key, value } => seen[number(key)].push(value.clone()),
                Op::Read { key, value, version } if !seen[number(key)].is_empty() && random.one_in(2) => {
                    let values = &seen[number(key)];
                    *value = Some(values[random.below(values.len())].clone());
                    *version = None;
                }
                Op::Read { .. } => {}
            }
        }
    }
    let started = std::time::Instant::now();
    let violations = check(&history, &Expectations::default()).unwrap_err();
    println!("{:?}: {} violations, {:?}", started.elapsed(), violations.len(), kinds(&Err(violations)));
}
