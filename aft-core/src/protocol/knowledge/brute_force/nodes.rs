//! What nodes do: as the edge drives what they know, with a store that answers as it likes.

use rand::seq::SliceRandom;

use super::*;
use crate::protocol::knowledge::draft::{Draft, Named};
use crate::protocol::knowledge::refresh::{FeedObject, Plan, Unseen};

/// A node looks for a newer checkpoint this often.
const LOOK_MS: u64 = 60_000;

impl World {
    pub(super) fn publish_waiting(&mut self, n: usize) {
        let now_ms = self.now_ms;
        let lands = |it: &Number| self.decided[*it].lands_ms <= now_ms;
        let (landed, waiting): (Vec<_>, Vec<_>) = self.nodes[n].waiting.iter().copied().partition(lands);
        if !landed.is_empty() && self.publish(n, &landed, None) {
            self.nodes[n].waiting = waiting;
        }
    }

    /// A refresh; whether it was complete.
    pub(super) fn refresh(&mut self, n: usize) -> Result<bool, String> {
        let began = self.local(n);
        let plan = self.nodes[n].known.begin_refresh(began, LOOK_MS);
        let done = if plan.whole { self.refresh_whole(n, plan) } else { self.refresh_feed(n, plan) };
        let Some((listed_ms, shown_all)) = done else { return Ok(false) };
        let node = &mut self.nodes[n];
        node.known.note_refreshed(plan);
        node.shown_all = shown_all;
        self.seen.refreshes += 1;
        self.check_known(n, listed_ms)?;
        Ok(true)
    }

    /// When the feed was listed, and whether all was shown; `None` where it failed half way.
    fn refresh_feed(&mut self, n: usize, plan: Plan) -> Option<(u64, bool)> {
        let newest = self.newest_visible();
        let listed_ms = self.now_ms;
        let (listed, all) = self.list(plan.cursor);
        self.now_ms += self.up_to(2_000);
        let objects = self.read(n, listed, None);
        let fails = self.rng.random_bool(0.1);
        let taken = if fails { self.rng.random_range(0..=objects.len()) } else { objects.len() };
        let node = &mut self.nodes[n];
        objects[..taken].iter().for_each(|object| node.known.take_in(object));
        if fails {
            return None;
        }
        if let Some(newest) = newest.filter(|_| plan.look) {
            node.known.adopt(&self.made[newest].base);
        }
        Some((listed_ms, all))
    }

    fn refresh_whole(&mut self, n: usize, plan: Plan) -> Option<(u64, bool)> {
        let newest = self.newest_visible();
        let number = newest.map_or(0, |newest| self.made[newest].base.number());
        if plan.goes_on && number == self.nodes[n].known.base().number() {
            return self.refresh_feed(n, plan.having_looked());
        }
        let made = newest.map(|newest| &self.made[newest]);
        let base = made.map_or_else(Arc::default, |made| Arc::clone(&made.base));
        let recent = made.map(|made| made.recent.clone());
        let cursor = base.manifest().map(|it| self.limits.refresh_from_ms(StoreTime(it.basis)));
        let listed_ms = self.now_ms;
        let (listed, all) = self.list(cursor);
        self.now_ms += self.up_to(2_000);
        let seen = recent.iter().flat_map(|it| it.seen.iter().copied()).collect();
        let objects = self.read(n, listed, Some(&seen));
        if self.rng.random_bool(0.1) {
            return None;
        }
        self.nodes[n].known.take_in_whole(&base, recent, objects);
        self.seen.whole += 1;
        Some((listed_ms, all))
    }

    /// What a node reads of a listing, in the order in which it comes: what counts before what is late.
    fn read(&mut self, n: usize, listed: Vec<Listed>, anew: Option<&BTreeSet<FeedName>>) -> Vec<FeedObject> {
        let now = self.local(n);
        let Unseen { mut unread, foreign } = self.nodes[n].known.unseen(listed, anew, now);
        assert!(foreign.is_empty());
        unread.shuffle(&mut self.rng);
        unread.sort_by_key(|it| it.late);
        let object = |name| self.feed.iter().find(|it| it.name == name).expect("it was listed");
        let read = unread.iter().map(|it| FeedObject::new(it, self.content(object(it.name)), &self.limits));
        read.map(|it| it.expect("no commit is from the future")).collect()
    }

    fn newest_visible(&self) -> Option<usize> {
        self.made.iter().rposition(|made| made.visible_ms <= self.now_ms)
    }

    /// A sweep; whether it came to its end.
    pub(super) fn sweep(&mut self, n: usize) -> Result<bool, String> {
        if !self.refresh(n)? {
            return Ok(false);
        }
        self.publish_waiting(n);
        let told = self.nodes[n].known.told_late();
        for ids in told.values() {
            let of = |id: &TxnId| self.decided.iter().position(|it| it.id() == *id);
            let numbers: Vec<_> = ids.iter().filter_map(of).collect();
            if !self.publish(n, &numbers, None) {
                return Ok(false);
            }
            self.nodes[n].known.forget_told_late(ids);
        }
        let now = self.local(n);
        let through = self.nodes[n].known.shown_time(now, Planted::SweptThroughByAnyDate);
        let from = TxnId::window_start(self.nodes[n].known.sweep_from_ms());
        let listed = self.decided.iter().filter(|it| it.visible_ms <= self.now_ms && it.id() >= from);
        let listed: Vec<_> = listed.map(|it| (it.id(), StoreTime(it.lands_ms / 1000))).collect();
        let known = &mut self.nodes[n].known;
        listed.iter().for_each(|(id, dated)| known.note_date(*dated, &id.to_string(), now));
        self.now_ms += self.up_to(2_000);
        let unswept = self.nodes[n].known.unswept(listed.into_iter().map(|(id, _)| id).collect());
        let found: Vec<_> =
            (0..self.decided.len()).filter(|it| unswept.contains(&self.decided[*it].id())).collect();
        self.seen.found += found.len() as u64;
        let commits: Vec<_> = found.iter().map(|it| (self.decided[*it].commit(), None)).collect();
        self.nodes[n].known.learn(commits);
        if !self.publish(n, &found, through) {
            return Ok(false);
        }
        let now_ms = self.local(n).wall_ms;
        if let Some(through) = through {
            self.nodes[n].known.note_swept(through, now_ms);
        }
        Ok(true)
    }

    /// A checkpoint, where no other node was faster.
    pub(super) fn checkpoint(&mut self, n: usize) -> Result<(), String> {
        self.nodes[n].known.look_again();
        if !self.sweep(n)? || !self.refresh(n)? {
            return Ok(());
        }
        let newest = self.made.last().map_or(0, |made| made.base.number());
        let now = self.local(n);
        let known = &self.nodes[n].known;
        let Ok(gathered) = known.gather(now) else { return Ok(()) };
        if known.base().number() != newest {
            return Ok(());
        }
        let draft = gathered.draft();
        self.now_ms += self.up_to(5_000);
        // Others tell those who start next what there is, while this one folds.
        while self.rng.random_bool(0.3) {
            let n = self.rng.random_range(0..NODES);
            self.light(n)?;
        }
        let newest = self.made.last().map_or(0, |made| made.base.number());
        let folded = self.check_draft(&draft)?;
        let dated = StoreTime(self.now_ms / 1000);
        if self.limits.manifest_void(draft.begun, dated) {
            return Ok(());
        }
        let base = Arc::new(Base::new(manifest(newest + 1, &draft)));
        let visible_ms = self.shows(self.now_ms);
        self.nodes[n].known.adopt(&base);
        let all = (0..self.decided.len()).collect::<Vec<_>>();
        self.made.push(Made { base, recent: draft.recent, dated, visible_ms, folded });
        self.check_settled(&all)
    }
}

impl World {
    /// A checkpoint that folds nothing, where no other node was faster.
    pub(super) fn light(&mut self, n: usize) -> Result<(), String> {
        let now = self.local(n);
        let Ok(gathered) = self.nodes[n].known.gather(now) else { return Ok(()) };
        let draft = gathered.light();
        self.now_ms += self.up_to(2_000);
        let newest = self.made.last().map_or(0, |made| made.base.number());
        let dated = StoreTime(self.now_ms / 1000);
        if draft.base.number() != newest || self.limits.manifest_void(draft.begun, dated) {
            return Ok(());
        }
        let folded = self.made.last().map_or_else(BTreeSet::new, |made| made.folded.clone());
        self.check_recent(&draft, &folded)?;
        let base = Arc::new(Base::new(manifest(newest + 1, &draft)));
        let visible_ms = self.shows(self.now_ms);
        self.nodes[n].known.adopt(&base);
        self.made.push(Made { base, recent: draft.recent, dated, visible_ms, folded });
        self.seen.light += 1;
        let all = (0..self.decided.len()).collect::<Vec<_>>();
        self.check_settled(&all)
    }
}

fn manifest(number: u64, draft: &Draft) -> Manifest {
    let file = FileRef { id: FileId(TxnId::window_start(0)), bytes: 0, entries: 0, checksum: 0 };
    let greatest = draft.fold.iter().map(|commit| commit.version).max();
    let greatest = greatest.into_iter().chain([draft.base.greatest()]).max().unwrap_or(Version::ABSENT);
    let (purged, runs) = (Version::ABSENT, Vec::new());
    let named = Named { greatest, purged, runs, recent: file, garbage: None, outcomes: None };
    draft.manifest(number, String::new(), number, named)
}
