//! Which bundles of feed objects are read, and which are made: so that what a node reads at a refresh grows with the logarithm of what was published,
//! and not with it (the idea of levels is that of log-structured merge trees: O'Neil et al., 1996).
//!
//! A bundle saves requests and decides nothing: what a listing of the feed shows and no bundle brought is read from the feed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::format::name::{BundleName, FeedName, TIME_MOST_MS};
use crate::protocol::knowledge::refresh::Unread;

/// So many feed objects, or bundles of one level, that were read one by one are bundled.
pub(crate) const LEAST: usize = 8;
/// Fewer nodes than this need no bundles: each reads what the other publishes, once.
const LEAST_NODES: usize = 3;
/// The longest feed object that is copied, in bytes: of a longer one the request is the lesser part.
pub(crate) const COPY_MOST: u64 = 64 << 10;
/// The most bytes of copies in one bundle.
const BYTES_MOST: usize = 8 << 20;
/// The most bytes that a refresh keeps to bundle them.
const GATHERED_MOST: usize = 32 << 20;
/// How often a refresh asks for bundles: what a bundle that was read did not hold may be in another one.
pub(crate) const ROUNDS: usize = 3;

/// Whether bundles are asked for before these feed objects are read.
#[must_use]
pub(crate) fn are_asked_for(unread: &[Unread]) -> bool {
    let nodes: BTreeSet<u64> = unread.iter().map(|it| it.name.node).collect();
    unread.len() >= LEAST && nodes.len() >= LEAST_NODES
}

/// The bundles that are read at once for these feed objects, beside those that were read before: those of high level first, each that may hold two or more
/// that none before it may. Spans overlap, and a bundle need not hold what lies in its span: what is left then is asked for again, [`ROUNDS`] times in all.
/// Those whose copies were bundled once more are left out, as far as names tell.
#[must_use]
pub(crate) fn to_read(
    mut bundles: Vec<BundleName>,
    read: &BTreeSet<BundleName>,
    unread: &BTreeSet<FeedName>,
) -> Vec<BundleName> {
    bundles.sort_unstable_by_key(|name| (std::cmp::Reverse(name.level), *name));
    let mut left = unread.clone();
    let mut chosen: Vec<BundleName> = Vec::new();
    for bundle in bundles {
        let held = in_span(&bundle, &left);
        if held.len() < 2 || read.contains(&bundle) {
            continue;
        }
        if !chosen.iter().chain(read).any(|other| copies(other, &bundle)) {
            held.iter().for_each(|name| {
                left.remove(name);
            });
            chosen.push(bundle);
        }
    }
    chosen
}

/// Whether a bundle seems to have been made of this one and others.
fn copies(higher: &BundleName, lower: &BundleName) -> bool {
    higher.level > lower.level
        && higher.made_ms > lower.made_ms
        && higher.first_ms <= lower.first_ms
        && lower.last_ms <= higher.last_ms
}

/// The feed objects that a bundle may hold.
fn in_span(bundle: &BundleName, unread: &BTreeSet<FeedName>) -> Vec<FeedName> {
    let from = FeedName { time_ms: bundle.first_ms, node: 0, seq: 0 };
    let to = FeedName { time_ms: bundle.last_ms, node: u64::MAX, seq: u32::MAX };
    if from > to { Vec::new() } else { unread.range(from..=to).copied().collect() }
}

/// What is bundled after a refresh: what was read one by one, and bundles by their level.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    levels: BTreeMap<u8, Vec<Input>>,
    bytes: usize,
}

/// A feed object, or a bundle, that was read.
#[derive(Debug)]
struct Input {
    /// When it was made, of a bundle.
    made_ms: u64,
    copies: Vec<(FeedName, Bytes)>,
}

/// A bundle that is to be made.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) level: u8,
    /// When the latest of what it copies was made.
    made_ms: u64,
    pub(crate) copies: Vec<(FeedName, Bytes)>,
}

impl Gathering {
    /// Notes a feed object that was read by itself.
    pub(crate) fn single(&mut self, name: FeedName, object: &Bytes) {
        if object.len() as u64 <= COPY_MOST {
            self.input(0, Input { made_ms: 0, copies: vec![(name, object.clone())] });
        }
    }

    /// Notes a bundle that was read, with those of its copies that are worth copying again.
    pub(crate) fn bundle(&mut self, name: &BundleName, copies: Vec<(FeedName, Bytes)>) {
        self.input(name.level, Input { made_ms: name.made_ms, copies });
    }

    /// What is too much for memory is left to those who come next.
    fn input(&mut self, level: u8, input: Input) {
        let bytes: usize = input.copies.iter().map(|(_, copy)| copy.len()).sum();
        if !input.copies.is_empty() && self.bytes + bytes <= GATHERED_MOST {
            self.bytes += bytes;
            self.levels.entry(level).or_default().push(input);
        }
    }

    /// What is worth bundling: [`LEAST`] or more of one level that are one bundle together, in the order of their names. What is longer stays as it is:
    /// there the bytes count, and not the requests.
    pub(crate) fn drafts(self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for (level, mut inputs) in self.levels {
            let Some(level) = level.checked_add(1) else { continue };
            inputs.sort_by_key(|input| input.copies.first().map(|(name, _)| *name));
            let mut rest = inputs.into_iter().peekable();
            while rest.peek().is_some() {
                let (mut bytes, mut count) = (0, 0);
                let mut draft = Draft { level, made_ms: 0, copies: Vec::new() };
                let mut copies = BTreeMap::new();
                while let Some(input) = rest.next_if(|next| {
                    bytes += next.copies.iter().map(|(_, copy)| copy.len()).sum::<usize>();
                    count == 0 || bytes <= BYTES_MOST
                }) {
                    count += 1;
                    draft.made_ms = draft.made_ms.max(input.made_ms);
                    for (name, copy) in input.copies {
                        copies.entry(name).or_insert(copy);
                    }
                }
                draft.copies = copies.into_iter().collect();
                if count >= LEAST {
                    drafts.push(draft);
                }
            }
        }
        drafts
    }
}

impl Draft {
    /// The name of the bundle, by this maker, made now by its clock.
    #[must_use]
    pub(crate) fn name(&self, now_ms: u64, node: u64, seq: u32) -> Option<BundleName> {
        let (first_ms, last_ms) = (self.copies.first()?.0.time_ms, self.copies.last()?.0.time_ms);
        let made_ms = now_ms.max(self.made_ms.saturating_add(1)).min(TIME_MOST_MS);
        Some(BundleName { last_ms, first_ms, made_ms, level: self.level, node, seq })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(time_ms: u64) -> FeedName {
        FeedName { time_ms, node: time_ms % 5, seq: 0 }
    }

    fn bundle(level: u8, first_ms: u64, last_ms: u64) -> BundleName {
        BundleName { last_ms, first_ms, made_ms: 100 * u64::from(level), level, node: 1, seq: 0 }
    }

    #[test]
    fn what_was_bundled_once_more_is_not_read_again() {
        let later = BundleName { made_ms: 201, ..bundle(1, 3, 9) };
        let bundles =
            [bundle(1, 0, 9), later, bundle(1, 10, 19), bundle(2, 0, 15), bundle(1, 20, 29), bundle(1, 9, 0)];
        let unread: BTreeSet<_> = (0..21).map(feed).collect();
        let all = to_read(bundles.to_vec(), &BTreeSet::new(), &unread);
        assert_eq!(all, [bundle(2, 0, 15), bundle(1, 10, 19)], "for one feed object no bundle is read");
        let read = [bundle(2, 0, 15)].into();
        assert_eq!(to_read(bundles.to_vec(), &read, &unread), [later, bundle(1, 10, 19)]);
    }

    #[test]
    fn a_store_with_two_nodes_asks_for_none() {
        let unread = |nodes: u64, objects: u64| {
            let name = |n| FeedName { time_ms: n, node: n % nodes, seq: 0 };
            let unread = |n| Unread {
                name: name(n),
                last_modified: crate::protocol::timeliness::StoreTime(0),
                size: 1,
                late: false,
            };
            are_asked_for(&(0..objects).map(unread).collect::<Vec<_>>())
        };
        assert!(!unread(2, 1_000) && !unread(7, 7) && unread(3, 8));
    }

    #[test]
    fn what_is_too_long_is_not_bundled() {
        let mut gathering = Gathering::default();
        let long = Bytes::from(vec![0; usize::try_from(COPY_MOST).unwrap() + 1]);
        (0..20).for_each(|n| gathering.single(feed(n), &long));
        let half = Bytes::from(vec![0; BYTES_MOST / 2]);
        (0..5).for_each(|n| gathering.bundle(&bundle(3, n, n), vec![(feed(100 + n), half.clone())]));
        assert!(gathering.drafts().is_empty());
    }

    /// However much there is of one level: each bundle is of eight or more, and small enough.
    #[test]
    fn much_of_one_level_becomes_several_bundles() {
        let mut gathering = Gathering::default();
        let copy = Bytes::from(vec![0; 60 << 10]);
        (0..500).for_each(|n| gathering.single(feed(n), &copy));
        (0..20).for_each(|n| {
            gathering.bundle(&bundle(2, n, n), vec![(feed(n), copy.clone()), (feed(n + 1), copy.clone())])
        });
        let drafts = gathering.drafts();
        let shape: Vec<_> = drafts.iter().map(|draft| (draft.level, draft.copies.len())).collect();
        assert_eq!(shape, [(1, 136), (1, 136), (1, 136), (1, 92), (3, 21)]);
    }

    /// As many functions as that start at the same moment bundle the same; those who come next do not read all of it.
    #[test]
    fn of_many_bundles_of_the_same_one_is_read() {
        let same = |node| BundleName { node, ..bundle(1, 0, 50) };
        let unread: BTreeSet<_> = (0..60).map(feed).collect();
        assert_eq!(to_read((0..100).map(same).collect(), &BTreeSet::new(), &unread).len(), 1);
    }

    /// A model of a busy store: feed objects appear one by one, under names that are not in their order, and nodes that know nothing read all of them.
    fn read_by_newcomers(published: u64, every: u64) -> (u64, u64, u64) {
        let mut stored: BTreeMap<BundleName, Vec<(FeedName, Bytes)>> = BTreeMap::new();
        let (mut most, mut made, mut copied) = (0, 0, 0);
        let named = |n: u64| feed(n + n * 7_919 % 40);
        for now in (every..=published).step_by(usize::try_from(every).unwrap()) {
            let mut left: BTreeSet<_> = (0..now).map(named).collect();
            let (mut gathering, mut read) = (Gathering::default(), BTreeSet::new());
            for _ in 0..ROUNDS {
                for name in to_read(stored.keys().copied().collect(), &read, &left) {
                    stored[&name].iter().for_each(|(name, _)| {
                        left.remove(name);
                    });
                    gathering.bundle(&name, stored[&name].clone());
                    read.insert(name);
                }
            }
            let bundles = read.len();
            most = most.max(bundles + left.len());
            left.iter().for_each(|name| gathering.single(*name, &Bytes::from_static(b"feed")));
            for draft in gathering.drafts() {
                made += 1;
                copied += draft.copies.len() as u64;
                stored.insert(draft.name(now, 0, 0).unwrap(), draft.copies);
            }
        }
        (most as u64, made, copied)
    }

    /// The count that matters: of a thousand feed objects a newcomer reads a few dozen objects at most, and each feed object was copied a few times.
    #[test]
    fn what_a_newcomer_reads_grows_with_the_logarithm_of_what_was_published() {
        for (published, every, most_read, most_copies) in
            [(64, 1, 20, 2), (1_000, 1, 36, 4), (3_000, 10, 44, 5)]
        {
            let (read, made, copied) = read_by_newcomers(published, every);
            println!("{published} published: at most {read} read, {made} bundles made, {copied} copies");
            assert!(read <= most_read, "{read} of {published}");
            assert!(made <= published / 5, "{made} of {published}");
            assert!(copied <= most_copies * published, "{copied} of {published}");
        }
    }

    proptest! {
        /// Whatever bundles there are: each that is read may hold two, and none is read that is in another one.
        #[test]
        fn no_bundle_is_read_in_vain(
            spans in prop::collection::vec((1u8..4, 0u64..60, 0u64..20, 0u64..3), 0..12), unread in prop::collection::btree_set(0u64..80, 0..40),
        ) {
            let named = |(level, first_ms, len, made_ms)| BundleName { last_ms: first_ms + len, first_ms, made_ms, level, node: 1, seq: 0 };
            let bundles: Vec<_> = spans.into_iter().map(named).collect();
            let unread: BTreeSet<_> = unread.into_iter().map(feed).collect();
            let chosen = to_read(bundles.clone(), &BTreeSet::new(), &unread);
            let mut left = unread.clone();
            for bundle in &chosen {
                let held = in_span(bundle, &left);
                prop_assert!(held.len() > 1 && !chosen.iter().any(|other| copies(other, bundle)));
                held.iter().for_each(|name| { left.remove(name); });
            }
            for bundle in bundles {
                let in_another = chosen.iter().any(|other| copies(other, &bundle));
                prop_assert!(chosen.contains(&bundle) || in_another || in_span(&bundle, &left).len() < 2);
            }
            prop_assert_eq!(to_read(chosen.clone(), &chosen.iter().copied().collect(), &unread), []);
        }
    }
}
