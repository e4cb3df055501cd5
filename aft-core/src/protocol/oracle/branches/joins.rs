//! Random trees of forks and joins.

use super::*;

#[derive(Debug, Clone)]
enum Act {
    /// A token goes to a function: the first one, so that there are branches, or any. The node knows some more commits, or
    /// only those that were read and some others.
    Resume {
        from: Option<prop::sample::Index>,
        more: BTreeSet<Number>,
        only_what_was_read: bool,
        steps: Vec<Step>,
    },
    Join(prop::sample::Index, prop::sample::Index),
}

const MOST_COMMITS: Number = 7;

fn value() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..4).prop_map(Bytes::from)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let content = prop_oneof![
        1 => Just(Content::Deleted),
        2 => value().prop_map(Content::Inline),
        1 => value().prop_map(Content::Stored),
    ];
    let limit = prop_oneof![1usize..3, Just(usize::MAX)];
    let step = prop_oneof![
        4 => (1..=MOST_COMMITS).prop_map(Step::Arrive),
        8 => (0..KEYS.len()).prop_map(Step::Get),
        2 => (range(), limit).prop_map(|(range, limit)| Step::Scan(range, limit)),
        3 => (0..KEYS.len(), content).prop_map(|(key, content)| Step::Put(key, content)),
        1 => value().prop_map(Step::SetResult),
    ];
    prop::collection::vec(step, 1..8)
}

fn numbers() -> impl Strategy<Value = BTreeSet<Number>> {
    prop::collection::btree_set(1..=MOST_COMMITS, 0..5)
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let index = any::<prop::sample::Index>;
    let resume = (prop::option::of(index()), numbers(), prop::bool::weighted(0.3), steps());
    let act = prop_oneof![
        3 => resume.prop_map(|(from, more, only_what_was_read, steps)| {
            Act::Resume { from, more, only_what_was_read, steps }
        }),
        2 => (index(), index()).prop_map(|(a, b)| Act::Join(a, b)),
    ];
    prop::collection::vec(act, 2..9)
}

fn some(world: &History, numbers: impl Iterator<Item = Number>) -> History {
    History(numbers.filter_map(|number| Some((number, world.0.get(&number)?.clone()))).collect())
}

/// A transaction begins, is suspended, and its tokens are resumed and joined.
fn grow(world: &History, known: &BTreeSet<Number>, first: &[Step], acts: &[Act]) -> Vec<Branch> {
    let mut number = 1;
    let begun = some(world, known.iter().copied());
    let mut attempt = Attempt::begin(number, begun.0.iter().map(|(number, writes)| (*number, writes)));
    first.iter().for_each(|step| attempt.step(step, world));
    let mut branches = vec![attempt.suspend(world)];
    for act in acts {
        match act {
            Act::Resume { from, more, only_what_was_read, steps } => {
                number += 1;
                let from = from.map_or(&branches[0], |from| from.get(&branches));
                let kept: Vec<_> = if *only_what_was_read {
                    from.reads.values().copied().collect()
                } else {
                    from.known.iter().copied().collect()
                };
                let view = some(world, kept.iter().chain(more).copied());
                let mut attempt = Attempt::resume(from, number, &view);
                steps.iter().for_each(|step| attempt.step(step, world));
                branches.push(attempt.suspend(world));
            }
            Act::Join(a, b) => {
                let joined = a.get(&branches).join(b.get(&branches), world);
                branches.extend(joined);
            }
        }
    }
    branches
}

fn tokens(a: &Suspended, b: &Suspended) -> Option<Suspended> {
    join(a.clone(), b.clone()).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Joins succeed exactly where the definition says so, with exactly the expected state, and what goes on from them
    /// reads as atomically as ever; that is checked in [`Branch::join`], [`Branch::check`] and [`Reader`].
    #[test]
    fn join_is_its_definition(
        arrivals in arrivals(MOST_COMMITS), known in numbers(), first in steps(), acts in acts(),
    ) {
        let world = History(arrivals.into_iter().collect());
        let branches = grow(&world, &known, &first, &acts);
        let last = &branches[branches.len().saturating_sub(4)..];
        for a in last {
            let same = a.join(a, &world).expect("a branch joins itself");
            prop_assert_eq!(&same.token, &a.token, "idempotent");
            for b in last {
                a.join(b, &world);
                let ab = tokens(&a.token, &b.token);
                prop_assert_eq!(&ab, &tokens(&b.token, &a.token), "commutative");
                for c in last {
                    let left = ab.as_ref().and_then(|ab| tokens(ab, &c.token));
                    let right = tokens(&b.token, &c.token).and_then(|bc| tokens(&a.token, &bc));
                    prop_assert_eq!(left, right, "associative");
                }
            }
        }
    }
}
