//! Whole histories of a store, as nodes learn of them: random names and dates, objects that show late, land late or are collected, listings
//! that are cut short, nodes that die or sleep; against what the store holds, of which no node knows the whole.
//!
//! The world knows of every commit when the first feed object that counts carried it. Of every refresh it asks whether all that the next
//! one will not list is known (I7); of every checkpoint whether it folds exactly what was published before its horizon, and whether all
//! that it calls settled is folded, whatever is decided or found later (I6, I9).

mod checks;
mod nodes;

use std::collections::BTreeSet;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;

use super::*;
use crate::format::feed::{Entry, EntryHome, Feed};
use crate::format::manifest::{FileRef, Manifest};
use crate::format::name::FileId;
use crate::format::recent::Recent;
use crate::format::record::{CommitRecord, Value, Write};
use crate::protocol::knowledge::refresh::Listed;
use crate::protocol::timeliness::tests::limits;
use crate::protocol::view::Home;
use crate::version::Version;

const NODES: usize = 3;
const STEPS: usize = 70;
const BEGIN_MS: u64 = 1_700_000_000_000;

/// A commit that counts, by its number in the world.
type Number = usize;

#[derive(Debug)]
struct Decided {
    record: CommitRecord,
    lands_ms: u64,
    visible_ms: u64,
    /// When the first feed object that counts and carries it publishes it: what no node is told.
    published: Option<StoreTime>,
    /// The date that this object had at first.
    dated: Option<StoreTime>,
    /// Whether any such object tells no more of it than its id.
    by_id: bool,
}

impl Decided {
    fn id(&self) -> TxnId {
        self.record.txn
    }

    fn version(&self) -> Version {
        self.record.version()
    }

    fn commit(&self) -> Arc<Commit> {
        Arc::new(Commit::new(&self.record, self.id(), Home::Decision { inline_offset: 0 }))
    }
}

#[derive(Debug)]
struct Object {
    name: FeedName,
    dated: StoreTime,
    visible_ms: u64,
    in_time: bool,
    collected: bool,
    swept_through: Option<StoreTime>,
    /// Its commits, and whether each is told by its id alone.
    commits: Vec<(Number, bool)>,
}

#[derive(Debug)]
struct Made {
    base: Arc<Base>,
    recent: Recent,
    dated: StoreTime,
    visible_ms: u64,
    /// All that is in its runs.
    folded: BTreeSet<Number>,
}

#[derive(Debug)]
struct Node {
    number: u64,
    /// How far its clock is ahead of the store's.
    ahead_ms: i64,
    objects: u32,
    known: Knowledge,
    /// Own commits that wait for publication.
    waiting: Vec<Number>,
    /// Whether its last refresh was shown all that there was.
    shown_all: bool,
}

#[derive(Debug)]
struct World {
    rng: StdRng,
    limits: Limits,
    now_ms: u64,
    decided: Vec<Decided>,
    feed: Vec<Object>,
    made: Vec<Made>,
    nodes: Vec<Node>,
    seen: Seen,
}

/// What happened, so that a test can tell that it was about anything.
#[derive(Debug, Default)]
struct Seen {
    refreshes: u64,
    whole: u64,
    cut_short: u64,
    late: u64,
    found: u64,
    folded: u64,
    pruned: u64,
    collected: u64,
    settled: u64,
    redated: u64,
    light: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let limits = limits();
        let mut world = Self {
            rng: crate::rng::seeded(seed),
            limits,
            now_ms: BEGIN_MS,
            decided: Vec::new(),
            feed: Vec::new(),
            made: Vec::new(),
            nodes: Vec::new(),
            seen: Seen::default(),
        };
        for _ in 0..NODES {
            let node = world.node();
            world.nodes.push(node);
        }
        world
    }

    /// A node that begins now, with a clock as wrong as one may be.
    fn node(&mut self) -> Node {
        let most = self.limits.skew_ms - 1_000;
        let ahead_ms = self.up_to(2 * most).cast_signed() - most.cast_signed();
        let known = Knowledge::new(self.limits, StoreTime(BEGIN_MS / 1000), false, false);
        let number = self.rng.random();
        Node { number, ahead_ms, objects: 0, known, waiting: Vec::new(), shown_all: false }
    }

    /// Anything up to `most`, and often an extreme: a window is only tight where all of its parts are at theirs.
    fn up_to(&mut self, most: u64) -> u64 {
        match self.rng.random_range(0..8) {
            0 => 0,
            1 => most,
            2 => most - self.rng.random_range(0..=most.min(2_000)),
            _ => self.rng.random_range(0..=most),
        }
    }

    fn pass(&mut self) {
        self.now_ms += match self.rng.random_range(0..100) {
            0..50 => self.up_to(3_000),
            50..85 => self.up_to(60_000),
            85..98 => self.up_to(1_200_000),
            _ => self.up_to(7_200_000),
        };
    }

    fn local(&self, n: usize) -> LocalTime {
        let wall_ms = self.now_ms.saturating_add_signed(self.nodes[n].ahead_ms);
        LocalTime { wall_ms, monotonic_ms: self.now_ms - BEGIN_MS + 5_000 }
    }

    /// When what landed is shown by listings: at most E later.
    fn shows(&mut self, lands_ms: u64) -> u64 {
        let most = self.limits.visibility_ms;
        lands_ms + if self.rng.random_bool(0.6) { 0 } else { self.up_to(most) }
    }

    /// A decision, where it counts; of a node that dies, some of them.
    fn commit(&mut self, n: usize) -> Result<(), String> {
        let now = self.local(n);
        let start_ms =
            now.wall_ms - if self.rng.random_bool(0.7) { 100 } else { self.up_to(self.limits.lifetime_ms) };
        let id = TxnId::from_parts(start_ms, &mut self.rng);
        let clock = self.nodes[n].known.reading(now, start_ms, Timestamp::default());
        let slow = self.rng.random_bool(0.2);
        let lands_ms = self.now_ms + self.up_to(if slow { self.limits.deadline_ms } else { 1_000 });
        if self.limits.void(start_ms, clock.ms(), StoreTime(lands_ms / 1000)).is_some() {
            return Ok(());
        }
        let key = Bytes::from(vec![self.rng.random_range(b'a'..b'e')]);
        let writes = vec![Write { key, value: Value::Tombstone }];
        let record =
            CommitRecord { txn: id, clock, request_key: None, result: None, guards: Vec::new(), writes };
        let visible_ms = self.shows(lands_ms);
        let number = self.decided.len();
        self.decided.push(Decided {
            record,
            lands_ms,
            visible_ms,
            published: None,
            dated: None,
            by_id: false,
        });
        let commit = self.decided[number].commit();
        if self.rng.random_bool(0.8) {
            self.nodes[n].known.learn([(commit, None)]);
            self.nodes[n].waiting.push(number);
        }
        self.check_settled(&[number])
    }

    /// Publishes commits; whether the node lived to see it.
    fn publish(&mut self, n: usize, batch: &[Number], swept_through: Option<StoreTime>) -> bool {
        loop {
            let sent = self.local(n);
            let node = &mut self.nodes[n];
            let name =
                FeedName { time_ms: node.known.store_now_ms(sent), node: node.number, seq: node.objects };
            node.objects += 1;
            let slow = self.rng.random_bool(0.2);
            self.now_ms += self.up_to(if slow { 2 * self.limits.publish_ms } else { 500 });
            let dated = StoreTime(self.now_ms / 1000);
            let last = batch.len().saturating_sub(1);
            let commits: Vec<_> = batch
                .iter()
                .enumerate()
                .map(|(at, it)| (*it, at < last && self.rng.random_bool(0.2)))
                .collect();
            let in_time = self.limits.feed_in_time(name.time_ms, dated);
            let published = self.limits.feed_published(name.time_ms, dated);
            for (number, pruned) in commits.iter().filter(|_| in_time) {
                let it = &mut self.decided[*number];
                it.published = Some(it.published.map_or(published, |first| first.min(published)));
                it.dated = Some(it.dated.map_or(dated, |first| first.min(dated)));
                it.by_id |= pruned;
            }
            let visible_ms = self.shows(self.now_ms);
            let own = commits.iter().map(|(number, pruned)| OwnCommit {
                decided_by: self.decided[*number].id(),
                version: self.decided[*number].version(),
                pruned: pruned.then(Vec::new),
            });
            let own: Vec<_> = own.collect();
            self.feed.push(Object {
                name,
                dated,
                visible_ms,
                in_time,
                collected: false,
                swept_through,
                commits,
            });
            if in_time && self.rng.random_bool(0.95) {
                let answered = self.local(n);
                let ids: Vec<_> = own.iter().map(|it| it.decided_by).collect();
                self.nodes[n].known.note_own(name, (sent, answered), own);
                self.nodes[n].known.note_published(ids);
                return true;
            }
            self.seen.late += u64::from(!in_time);
            if self.rng.random_bool(0.3) {
                self.nodes[n] = self.node();
                return false;
            }
        }
    }

    /// A feed object as it is read.
    fn content(&self, object: &Object) -> Feed {
        let entry = |(number, pruned): &(Number, bool)| {
            let it = &self.decided[*number];
            if *pruned {
                return Entry::Pruned { decided_by: it.id(), txn: it.id(), values: Vec::new() };
            }
            let home = EntryHome::Decision { inline_offset: 0 };
            Entry::Commit { decided_by: it.id(), home, restored: false, record: it.record.clone() }
        };
        let entries = object.commits.iter().map(entry).collect();
        Feed {
            name: object.name,
            swept_through: object.swept_through.map(|it| it.0),
            instead_of: Vec::new(),
            entries,
        }
    }

    /// The feed, listed now, from a name on; and whether all is shown.
    fn list(&mut self, cursor: Option<u64>) -> (Vec<Listed>, bool) {
        let shown = |it: &&Object| {
            !it.collected && it.visible_ms <= self.now_ms && it.name.time_ms >= cursor.unwrap_or(0)
        };
        let mut listed: Vec<_> = self.feed.iter().filter(shown).collect();
        listed.sort_by_key(|it| it.name);
        let of = |it: &Object| Listed { path: it.name.to_string(), size: 0, last_modified: it.dated };
        let mut listed: Vec<_> = listed.into_iter().map(of).collect();
        let cut = self.rng.random_bool(0.1) && !listed.is_empty();
        if cut {
            let most = self.rng.random_range(0..listed.len());
            listed.truncate(most);
            self.seen.cut_short += 1;
        }
        (listed, !cut)
    }

    /// Deletes what nobody needs any more.
    fn collect(&mut self) {
        let now = StoreTime(self.now_ms / 1000);
        let settled = self.made.iter().rev().find(|made| self.limits.settles(made.dated, now));
        let Some(horizon) = settled.map(|made| made.base.horizon()) else { return };
        let limits = self.limits;
        let published = |it: &Object| limits.feed_published(it.name.time_ms, it.dated);
        for object in
            self.feed.iter_mut().filter(|it| !it.collected && limits.feed_may_go(published(it), horizon))
        {
            object.collected = true;
            self.seen.collected += 1;
        }
    }

    /// Somebody dates feed objects anew, in whole or in part: they count all the same.
    fn redate(&mut self) {
        let (now, limits) = (StoreTime(self.now_ms / 1000), self.limits);
        let young = self.feed.iter_mut().filter(|it| it.in_time && it.visible_ms <= self.now_ms);
        for object in young.filter(|it| limits.feed_in_time(it.name.time_ms, now)) {
            if self.rng.random_bool(0.3) {
                object.dated = object.dated.max(now);
                self.seen.redated += 1;
            }
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let n = self.rng.random_range(0..NODES);
        self.redate();
        match self.rng.random_range(0..21) {
            0..6 => self.commit(n)?,
            6..10 => self.pass(),
            10..12 => self.publish_waiting(n),
            12..16 => {
                self.refresh(n)?;
            }
            16 => {
                self.sweep(n)?;
            }
            17..19 => self.checkpoint(n)?,
            19 => self.light(n)?,
            _ => self.collect(),
        }
        Ok(())
    }
}

fn run(seed: u64) -> Result<World, String> {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step()?;
    }
    // The trouble ends: everything lands, is found, and is old.
    for _ in 0..2 {
        world.now_ms += 3_600_000;
        while !world.sweep(0)? {}
    }
    world.now_ms += 3_600_000;
    let before = world.made.len();
    for _ in 0..100 {
        world.checkpoint(0)?;
    }
    if world.made.len() == before {
        return Err("no checkpoint can be made any more".to_owned());
    }
    let folded = world.made.last().map_or(0, |made| made.folded.len());
    if folded != world.decided.len() {
        return Err(format!("{folded} of {} commits are folded in the end", world.decided.len()));
    }
    Ok(world)
}

#[test]
fn nodes_know_what_they_say_that_they_know_whatever_they_were_shown() {
    let mut all = Seen::default();
    for seed in 0..1_500 {
        let world = run(seed).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let seen = world.seen;
        all.refreshes += seen.refreshes;
        all.whole += seen.whole;
        all.cut_short += seen.cut_short;
        all.late += seen.late;
        all.found += seen.found;
        all.folded += seen.folded;
        all.pruned += seen.pruned;
        all.collected += seen.collected;
        all.settled += seen.settled;
        all.redated += seen.redated;
        all.light += seen.light;
    }
    let Seen { refreshes, whole, cut_short, late, found, folded, .. } = all;
    let Seen { pruned, collected, settled, redated, light, .. } = all;
    let least = [refreshes / 10, whole, cut_short, late, found, folded];
    let least = least.into_iter().chain([pruned, collected, settled, redated, light]);
    assert!(least.into_iter().all(|it| it > 500), "{all:?}");
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_are_found() {
    let bugs = [
        (Planted::NoRefreshOverlap, "is not known"),
        (Planted::RefreshByOwnClock, "is not known"),
        (Planted::SeenByWallClock, "is seen"),
        (Planted::FoldByCommitTime, "are folded, and"),
        (Planted::PublishedByDate, "are folded, and"),
        (Planted::ShortSweepWindow, "is settled and not folded"),
        (Planted::SweepsOutrun, "is settled and not folded"),
        (Planted::SettleTooMuch, "is settled and not folded"),
        (Planted::SettleWithoutUnfolded, "is settled and not folded"),
        (Planted::LightSettles, "are folded, and"),
    ];
    crate::planted::must_find(&bugs, 1_500, run);
}
