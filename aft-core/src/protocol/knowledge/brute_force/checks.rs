//! What must hold: of each sentence that a node goes by, what it says of the whole store.

use super::*;
use crate::protocol::knowledge::draft::Draft;

impl World {
    /// Whether a node can read a commit; `by_id`: or knows that its batch superseded it.
    fn has(&self, n: usize, number: Number, by_id: bool) -> bool {
        let (known, it) = (&self.nodes[n].known, &self.decided[number]);
        known.view().contains(it.version())
            || self
                .made
                .iter()
                .any(|made| made.base.number() == known.base().number() && made.folded.contains(&number))
            || (by_id && known.is_published(it.id()))
    }

    /// After a refresh: of what it was shown, and of what the next one will not list, nothing is missing.
    pub(super) fn check_known(&self, n: usize, listed_ms: u64) -> Result<(), String> {
        let node = &self.nodes[n];
        let cursor = node.known.feed.basis.map_or(0, |basis| self.limits.refresh_from_ms(basis));
        for object in self.feed.iter().filter(|it| it.in_time) {
            let shown = node.shown_all && object.visible_ms <= listed_ms;
            if !shown && object.name.time_ms >= cursor {
                continue;
            }
            if let Some((number, _)) =
                object.commits.iter().find(|(number, by_id)| !self.has(n, *number, *by_id))
            {
                let why = if shown { "was shown" } else { "will never be listed" };
                return Err(format!("{number} is not known, though {} {why}", object.name));
            }
        }
        let (seen_until, shown_until) = (node.known.seen_until(), node.known.shown_until());
        for object in self.feed.iter().filter(|it| it.in_time && node.shown_all) {
            let seen = object.dated < seen_until;
            if !seen && (object.dated >= shown_until || object.visible_ms > listed_ms) {
                continue;
            }
            if let Some((number, _)) = object.commits.iter().find(|(it, by_id)| !self.has(n, *it, *by_id)) {
                let how = if seen { "seen" } else { "shown" };
                return Err(format!("{number} is not known, though {} is {how}", object.name));
            }
        }
        Ok(())
    }

    /// What is in the runs after a checkpoint, where that is what it says.
    pub(super) fn check_draft(&mut self, draft: &Draft) -> Result<BTreeSet<Number>, String> {
        let before = self.made.last().map_or_else(BTreeSet::new, |made| made.folded.clone());
        let told =
            draft.fold.iter().map(|it| it.decided_by()).chain(draft.pruned.iter().map(|it| it.decided_by));
        let told: BTreeSet<_> = told.collect();
        let numbers = || 0..self.decided.len();
        let folded: BTreeSet<_> =
            numbers().filter(|it| before.contains(it) || told.contains(&self.decided[*it].id())).collect();
        let due = |it: &Number| self.decided[*it].published.is_some_and(|dated| dated < draft.horizon);
        let all: BTreeSet<_> = numbers().filter(due).collect();
        if folded != all {
            let horizon = draft.horizon;
            return Err(format!("{folded:?} are folded, and {all:?} were published before {horizon:?}"));
        }
        let late = |it: &&Number| self.decided[**it].dated > Some(draft.folded_until);
        let pruned: BTreeSet<_> = draft.pruned.iter().map(|it| it.decided_by).collect();
        let in_runs = folded.difference(&before).filter(|it| !pruned.contains(&self.decided[**it].id()));
        if let Some(number) = in_runs.copied().find(|it| late(&it)) {
            return Err(format!("{number} was published after {:?}", draft.folded_until));
        }
        if draft.folded_until >= draft.horizon && draft.folded_until > StoreTime(0) {
            return Err(format!("{:?} is not before the horizon", draft.folded_until));
        }
        self.check_recent(draft, &folded)?;
        self.seen.folded += draft.fold.len() as u64;
        self.seen.pruned += draft.pruned.len() as u64;
        let settled = |it: &Number| self.decided[*it].id().start_ms() < draft.settled_ms;
        self.seen.settled += numbers().filter(settled).count() as u64;
        Ok(folded)
    }

    /// Whoever begins from it and lists the feed from its basis misses nothing.
    pub(super) fn check_recent(&self, draft: &Draft, folded: &BTreeSet<Number>) -> Result<(), String> {
        let recent = &draft.recent;
        let commits: BTreeSet<_> = recent.commits.iter().map(|it| it.decided_by).collect();
        let pruned: BTreeSet<_> = recent.pruned.iter().map(|it| it.decided_by).collect();
        let cursor = self.limits.refresh_from_ms(draft.basis);
        let skipped =
            |it: &&Object| it.in_time && (it.name.time_ms < cursor || recent.seen.contains(&it.name));
        for object in self.feed.iter().filter(skipped) {
            let there = |(number, by_id): &(Number, bool)| {
                let id = self.decided[*number].id();
                folded.contains(number) || commits.contains(&id) || (*by_id && pruned.contains(&id))
            };
            if let Some((number, _)) = object.commits.iter().find(|it| !there(it)) {
                return Err(format!(
                    "{number} is lost to whoever begins here: {} is not listed",
                    object.name
                ));
            }
        }
        Ok(())
    }

    /// Of all that is settled, whatever came to be known since, nothing is left out of the runs.
    pub(super) fn check_settled(&self, numbers: &[Number]) -> Result<(), String> {
        let Some(made) = self.made.last() else { return Ok(()) };
        let settled_ms = made.base.settled_ms();
        let open =
            |it: &&Number| self.decided[**it].id().start_ms() < settled_ms && !made.folded.contains(it);
        match numbers.iter().find(open) {
            Some(number) => Err(format!("{number} is settled and not folded")),
            None => Ok(()),
        }
    }
}
