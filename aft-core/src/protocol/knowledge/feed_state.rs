//! What a node knows of the feed and of the checkpoints, beside the commits themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::name::{FeedName, Job, ValueName};
use crate::format::recent::PrunedCommit;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::protocol::timeliness::{Limits, PublishedAt, StoreTime};
use crate::txn_id::TxnId;
use crate::version::Version;

/// What a node knows of the feed and of the checkpoints.
#[derive(Debug, Default)]
pub(super) struct FeedState {
    /// The newest `last_modified` that listings of the feed had shown when the last complete refresh began: where the next one looks from.
    pub(super) basis: Option<StoreTime>,
    /// The newest date that the listings of complete refreshes showed of the feed, and the last one's so far.
    pub(super) shown: Option<StoreTime>,
    pub(super) showing: Option<StoreTime>,
    /// All that was published before this was in those listings, as far as what they showed tells.
    pub(super) shown_until: Option<StoreTime>,
    /// Whether any listing showed anything.
    shown_any: bool,
    /// That a listing lied, lately.
    pub(super) lied: Option<Lied>,
    /// When the last complete refresh began.
    pub(super) began: Option<LocalTime>,
    /// Feed objects taken in, as far back as refreshes still list.
    pub(super) seen: BTreeSet<FeedName>,
    /// Late feed objects of other nodes that were read. No checkpoint names them: each node reads them once.
    pub(super) late: BTreeSet<FeedName>,
    /// Feed objects that are damaged and that nobody has replaced; what they told was learned from the decisions. Only of a node that writes nothing.
    pub(super) damaged: BTreeSet<FeedName>,
    /// Decisions whose commits the next sweep publishes again, and the feed object that told them: one that is late, or an own one whose date no listing
    /// showed.
    pub(super) found: BTreeMap<TxnId, FeedName>,
    /// Whether decisions that cannot be read are passed over: a caller asked for what can still be had.
    pub(super) forgiving: bool,
    /// Whether decisions in the feed say nothing that count only since the store is adopted.
    pub(super) doubts_direct: bool,
    /// Own feed objects whose date is not known yet.
    pub(super) own: BTreeMap<FeedName, OwnObject>,
    /// Decisions that some feed object carried, as far back as sweeps still look, and when the first such object was dated:
    /// [`NOT_DATED`] where that is not known yet.
    pub(super) published: BTreeMap<TxnId, StoreTime>,
    /// Commits that their batch superseded, by their own ids, until they are as old as what is folded.
    pub(super) pruned: BTreeMap<TxnId, PrunedCommit>,
    /// Decisions found to be aborts or void, as far back as sweeps still look.
    pub(super) dead: BTreeSet<TxnId>,
    /// Every commit decided before this was published, by what this node has been shown or has made.
    pub(super) swept_through: Option<StoreTime>,
    /// The same, by what everybody is shown who builds on what this node was shown.
    pub(super) told_through: Option<StoreTime>,
    /// What newer sweeps say, by when what they published was dated at the latest.
    pub(super) sweeps: BTreeMap<StoreTime, StoreTime>,
    /// When the last sweep was published.
    pub(super) last_sweep: Option<StoreTime>,
    /// The last epoch of each job in which this node offered to do it.
    pub(super) offered: BTreeMap<Job, u64>,
    /// When this node last looked for a newer checkpoint.
    pub(super) looked: Option<LocalTime>,
    /// Whether the next refresh must begin from a manifest, as at a cold start.
    pub(super) reload: bool,
    /// How often a refresh was asked to look for a newer checkpoint, and how many of these times the last that looked knew of when it began: what
    /// is asked while one is under way is for the next.
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// For which sweep and checkpoint what can be forgotten was.
    forgot: Option<(StoreTime, u64)>,
    /// Checkpoints that were seen to be sealed: they count, whatever their date.
    pub(super) sealed: BTreeSet<u64>,
    /// Index files found damaged or missing.
    pub(super) distrusted: BTreeSet<String>,
}

/// The date of a feed object whose date is not known yet: later than any.
pub(super) const NOT_DATED: StoreTime = StoreTime(u64::MAX);

/// Own feed objects are remembered until a refresh shows their date; more of them are not needed.
const OWN_REMEMBERED: usize = 64;

/// A feed object of this node.
#[derive(Debug)]
pub(super) struct OwnObject {
    pub(super) sent: LocalTime,
    pub(super) answered: LocalTime,
    pub(super) commits: Vec<OwnCommit>,
}

/// A commit in a feed object of this node.
#[derive(Debug, Clone)]
pub(crate) struct OwnCommit {
    pub(crate) decided_by: TxnId,
    pub(crate) version: Version,
    /// The value objects that it named, where it is told by its id alone.
    pub(crate) pruned: Option<Vec<ValueName>>,
}

/// A listing of the feed did not show what an earlier one had shown. When they tell the truth again there may be much to catch up on, and single objects may be
/// lacking for a while longer. So what was to be listed since is listed again, and what sweeps say is not believed, until E and P have passed since.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lied {
    /// Where refreshes went on before the first that noticed it.
    from: Option<StoreTime>,
    /// When the first refresh began after the last lie.
    caught_up: Option<LocalTime>,
}

impl FeedState {
    /// What is known of a store whose marker was made at `made`: nothing was decided before.
    pub(super) fn since(made: StoreTime, forgiving: bool) -> Self {
        let made = Some(made);
        let (swept_through, told_through, last_sweep) = (made, made, made);
        Self { swept_through, told_through, last_sweep, shown: made, forgiving, ..Self::default() }
    }

    /// Remembers an own feed object until its date is known. Of so many the first is published again.
    pub(super) fn note_own(
        &mut self,
        name: FeedName,
        (sent, answered): (LocalTime, LocalTime),
        commits: Vec<OwnCommit>,
    ) {
        self.own.insert(name, OwnObject { sent, answered, commits });
        if self.own.len() > OWN_REMEMBERED
            && let Some((name, object)) = self.own.pop_first()
        {
            self.publish_again(name, object);
        }
    }

    /// An own feed object that no listing has shown, or that was dated late since: others may know when its commits were published, and this node
    /// does not. So the next sweep publishes them again, and no checkpoint of this node is made before.
    pub(super) fn publish_again(&mut self, name: FeedName, object: OwnObject) {
        if planted(Planted::UndatedIsForgotten) {
            return;
        }
        let others: BTreeSet<_> =
            self.own.values().flat_map(|own| &own.commits).map(|it| it.decided_by).collect();
        for id in object.commits.into_iter().map(|commit| commit.decided_by) {
            let undated = self.published.get(&id).is_none_or(|dated| *dated == NOT_DATED);
            if undated && !others.contains(&id) {
                self.found.insert(id, name);
            }
        }
    }

    /// Where refreshes go on.
    pub(super) fn listed_from(&self) -> Option<StoreTime> {
        // Where another rule for this is broken, it would be hidden by this one.
        let other = [Planted::RefreshByOwnClock, Planted::CursorByAnyDate].into_iter().any(planted);
        let again = self.lied.map(|lied| lied.from).filter(|_| !planted(Planted::CatchUpOnce) && !other);
        again.unwrap_or(self.basis)
    }

    /// Notes what the listing of a complete refresh showed. One that shows the newest object shows all that was
    /// published before, but for what was not visible yet, and that the age of transactions answers for. One that does not lies: the newest is never
    /// collected, since horizons lie before what was shown. All that it leaves sure is what was visible when the newest one was made.
    pub(super) fn note_shown(&mut self, began: LocalTime, before: Option<StoreTime>, limits: &Limits) {
        let showing = self.showing.take();
        // A feed that never had anything in it shows nothing.
        let lies = self.shown_any && (showing.is_none() || showing < self.shown);
        self.shown_any |= showing.is_some();
        self.shown = self.shown.max(showing);
        self.note_lie(lies, began, before, limits);
        let Some(newest) = self.shown else { return };
        if lies {
            self.shown_until = Some(limits.seen_until(newest));
        } else if self.lied.is_none() || self.shown_until.is_none() {
            // What was adopted counts as published when it was copied, whatever its name says.
            let newest = newest.max(limits.adopted_until.unwrap_or(newest));
            self.shown_until = self.shown_until.max(Some(StoreTime(newest.0.saturating_add(1))));
        }
    }

    fn note_lie(&mut self, lies: bool, began: LocalTime, before: Option<StoreTime>, limits: &Limits) {
        if lies {
            let from = self.lied.map_or(before, |lied| lied.from);
            self.lied = Some(Lied { from, caught_up: None });
            return;
        }
        let Some(lied) = &mut self.lied else { return };
        let caught_up = *lied.caught_up.get_or_insert(began);
        if began.elapsed_since(caught_up) > limits.visibility_ms + limits.publish_ms {
            self.lied = None;
        }
    }

    /// Notes what a sweep says that was published by then. It may be known before what it published is shown, and that before what it found
    /// published already: whoever took it at its word would look no more for what is on its way, and call it settled.
    pub(super) fn note_sweep(&mut self, through: StoreTime, dated: StoreTime) {
        let told = self.sweeps.entry(dated).or_insert(through);
        *told = (*told).max(through);
    }

    /// Believes the sweeps whose publications were shown, like everything that was visible when the newest object that is shown was made. For a while after
    /// listings lied, none: they may lack some of it.
    pub(super) fn believe_sweeps(&mut self, limits: &Limits) {
        if self.lied.is_some() && !planted(Planted::BelieveAtOnce) {
            return;
        }
        let shown = self.shown.map_or(StoreTime(0), |shown| limits.seen_until(shown));
        let late =
            if planted(Planted::SweepsOutrun) { BTreeMap::new() } else { self.sweeps.split_off(&shown) };
        let through = std::mem::replace(&mut self.sweeps, late).into_values().max();
        self.swept_through = self.swept_through.max(through);
        self.told_through = self.told_through.max(through);
    }

    /// The newest moment that any sweep says.
    pub(super) fn newest_sweep(&self) -> Option<StoreTime> {
        self.swept_through.max(self.sweeps.values().max().copied())
    }

    pub(super) fn note_published(&mut self, decided_by: TxnId, at: StoreTime) {
        let first = self.published.entry(decided_by).or_insert(at);
        *first = (*first).min(at);
        self.found.remove(&decided_by);
    }

    /// When a commit was published that this feed object carries: an earlier one may have carried it before, and been folded and
    /// collected since.
    pub(super) fn first_published(&self, decided_by: TxnId, publication: PublishedAt) -> PublishedAt {
        let PublishedAt { at, dated } = publication;
        if planted(Planted::TrustLaterCopy) {
            return publication;
        }
        let first = self.published.get(&decided_by).map_or(at, |first| at.min(*first));
        PublishedAt { at: first, dated }
    }

    pub(super) fn note_pruned(&mut self, pruned: PrunedCommit) {
        let known = self.pruned.entry(pruned.txn).or_insert_with(|| pruned.clone());
        known.published = known.published.min(pruned.published);
    }

    /// Drops what no refresh and no sweep can ask for any more.
    pub(super) fn forget_old(&mut self, limits: &Limits, base: &Base) {
        let (horizon, settled_ms) = (base.horizon(), base.settled_ms());
        // An older one is listed anew where it is needed.
        self.sealed = self.sealed.split_off(&base.number());
        if let Some(basis) = self.listed_from() {
            let oldest = FeedName { time_ms: limits.refresh_from_ms(basis), node: 0, seq: 0 };
            self.seen = self.seen.split_off(&oldest);
            let shown = self.own.split_off(&oldest);
            for (name, object) in std::mem::replace(&mut self.own, shown) {
                self.publish_again(name, object);
            }
            self.late = self.late.split_off(&oldest);
            self.damaged = self.damaged.split_off(&oldest);
        }
        self.found = self.found.split_off(&TxnId::window_start(settled_ms));
        // Only where one of the two moved on: there may be many.
        if let Some(swept) = self.swept_through.filter(|swept| self.forgot != Some((*swept, base.number()))) {
            self.forgot = Some((swept, base.number()));
            let oldest = TxnId::window_start(limits.sweep_window_from_ms(swept));
            // In the window of sweeps, or not folded yet: the next checkpoint must know of them. Or not settled: were they published
            // again, only the first date would tell that they are folded.
            let settled = oldest.min(TxnId::window_start(settled_ms));
            let folded = |(id, dated): (&TxnId, &StoreTime)| (*dated < horizon).then_some(*id);
            let folded: Vec<_> = self.published.range(..settled).filter_map(folded).collect();
            folded.iter().for_each(|id| {
                self.published.remove(id);
            });
            self.pruned.retain(|_, pruned| pruned.published >= horizon.0);
            // Whoever begins from a checkpoint of this node looks back as far as that one tells.
            let told = self.told_through.map_or(0, |told| limits.sweep_window_from_ms(told));
            self.dead = self.dead.split_off(&oldest.min(TxnId::window_start(told)));
        }
    }
}
