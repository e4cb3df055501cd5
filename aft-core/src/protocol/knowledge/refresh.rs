//! What a refresh lists, reads and takes in.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::format::feed::{Entry, Feed};
use crate::format::name::FeedName;
use crate::format::recent::{PrunedCommit, Recent};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::protocol::knowledge::Knowledge;
use crate::protocol::knowledge::draft::recent_commit;
use crate::protocol::knowledge::feed_state::{OwnCommit, OwnObject};
use crate::protocol::timeliness::{Limits, PublishedAt, StoreTime};
use crate::protocol::view::Commit;
use crate::txn_id::TxnId;

/// What a refresh is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// When it began.
    began: LocalTime,
    /// The newest date that listings of the feed had shown when it began: what the next refresh looks from.
    newest: Option<StoreTime>,
    /// The least time in the names that it lists.
    pub(crate) cursor: Option<u64>,
    /// Whether it looks for a newer checkpoint, and how often that was asked for.
    pub(crate) look: bool,
    asked: u64,
    /// Whether it begins from a manifest: at a cold start, and where the feed may have been collected since the last refresh.
    pub(crate) whole: bool,
    /// Whether it may go on from the last refresh, where nothing was collected since.
    pub(crate) goes_on: bool,
}

impl Plan {
    /// The same, where it has looked for a newer checkpoint.
    pub(crate) const fn having_looked(self) -> Self {
        Self { look: false, ..self }
    }
}

/// An object as a listing of the feed shows it.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) last_modified: StoreTime,
}

/// What a listing of the feed shows that was not taken in yet.
#[derive(Debug, Default)]
pub(crate) struct Unseen {
    /// Feed objects that are to be read.
    pub(crate) unread: Vec<Unread>,
    /// Paths that are no names of feed objects.
    pub(crate) foreign: Vec<String>,
}

/// A feed object that is to be read.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) name: FeedName,
    pub(crate) last_modified: StoreTime,
    pub(crate) size: u64,
    /// Whether it is dated too late to publish anything.
    pub(crate) late: bool,
}

/// A feed object as it was read.
#[derive(Debug)]
pub(crate) struct FeedObject {
    name: FeedName,
    last_modified: StoreTime,
    late: bool,
    pub(crate) commits: Vec<Arc<Commit>>,
    /// The ids of the decisions that it carries.
    carried: Vec<TxnId>,
    /// When it publishes them.
    publication: PublishedAt,
    pruned: Vec<PrunedCommit>,
    swept_through: Option<StoreTime>,
    instead_of: Vec<FeedName>,
    /// That it is a decision which is no commit.
    dead: Option<TxnId>,
}

/// A feed object carries this transaction's commit, whose version was taken later than its feed object landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FromTheFuture(pub(crate) TxnId);

impl FeedObject {
    /// A direct decision: these commits of it, if it counts.
    pub(crate) fn direct(
        unread: &Unread,
        id: TxnId,
        commits: Option<Vec<Arc<Commit>>>,
        limits: &Limits,
    ) -> Self {
        let Unread { name, last_modified, .. } = *unread;
        let publication =
            PublishedAt { at: limits.feed_published(name.time_ms, last_modified), dated: last_modified };
        let dead = commits.is_none().then_some(id);
        Self {
            name,
            last_modified,
            late: false,
            carried: commits.iter().map(|_| id).collect(),
            commits: commits.unwrap_or_default(),
            publication,
            pruned: Vec::new(),
            swept_through: None,
            instead_of: Vec::new(),
            dead,
        }
    }

    /// Whether it is a decision.
    pub(crate) const fn is_direct(&self) -> bool {
        self.name.is_direct()
    }

    /// # Errors
    /// [`FromTheFuture`]: only commits in time are published, so none can be dated after its feed object; one that claims so would drag
    /// every clock along.
    pub(crate) fn new(unread: &Unread, feed: Feed, limits: &Limits) -> Result<Self, FromTheFuture> {
        let Unread { name, last_modified, late, .. } = *unread;
        let mut commits = Vec::with_capacity(feed.entries.len());
        let mut carried = Vec::with_capacity(feed.entries.len());
        let publication =
            PublishedAt { at: limits.feed_published(name.time_ms, last_modified), dated: last_modified };
        let mut pruned = Vec::new();
        let landed = last_modified.ms();
        let landed = if late { landed.min(latest_ms(name, limits)) } else { landed };
        let latest = landed + limits.skew_ms + limits.visibility_ms + 1000;
        for entry in feed.entries {
            match entry {
                Entry::Pruned { decided_by, txn, values } => {
                    carried.push(decided_by);
                    pruned.push(PrunedCommit { published: publication.at.0, decided_by, txn, values });
                }
                Entry::Commit { decided_by, home, restored, record } => {
                    carried.push(decided_by);
                    if record.clock.ms() > latest {
                        return Err(FromTheFuture(record.txn));
                    }
                    let mut commit = Commit::new(&record, decided_by, home.of(name));
                    commit.restored = restored;
                    commits.push(Arc::new(commit));
                }
            }
        }
        let swept_through = feed.swept_through.map(StoreTime);
        let instead_of = feed.instead_of;
        Ok(Self {
            name,
            last_modified,
            late,
            commits,
            carried,
            publication,
            pruned,
            swept_through,
            instead_of,
            dead: None,
        })
    }
}

/// The latest date at which a feed object of this name is in time, in milliseconds.
fn latest_ms(name: FeedName, limits: &Limits) -> u64 {
    name.time_ms.saturating_add(limits.publish_ms)
}

impl Knowledge {
    /// Whether the last refresh began longer than this ago (I7).
    pub(crate) fn is_stale(&self, now: LocalTime, most_ms: u64) -> bool {
        self.refreshed_ms_ago(now).is_none_or(|ago| ago > most_ms)
    }

    /// How long ago the last complete refresh began.
    pub(crate) fn refreshed_ms_ago(&self, now: LocalTime) -> Option<u64> {
        self.feed.began.map(|began| now.elapsed_since(began))
    }

    /// Whether no refresh was complete yet.
    pub(crate) const fn is_cold(&self) -> bool {
        self.feed.began.is_none()
    }

    /// Whether the last refresh lies so far back that the feed since then may have been collected.
    pub(crate) fn slept(&self, now: LocalTime) -> bool {
        self.is_stale(now, self.limits.feed_kept_ms()) && !self.is_cold()
    }

    /// Begins a refresh; it looks for a newer checkpoint where none was looked for within this time.
    pub(crate) fn begin_refresh(&mut self, now: LocalTime, look_interval_ms: u64) -> Plan {
        let mut newest = self.shown_time(now, Planted::CursorByAnyDate);
        if planted(Planted::RefreshByOwnClock) {
            newest = Some(StoreTime(now.wall_ms / 1000));
        }
        // What a refresh that failed was shown, it did not take in.
        self.feed.showing = None;
        let slept = self.slept(now) && !planted(Planted::TrustOldFeed);
        let looked = self.feed.looked;
        let look =
            self.looks_next() || looked.is_none_or(|looked| now.elapsed_since(looked) > look_interval_ms);
        let goes_on = !self.is_cold() && !self.feed.reload;
        let cursor = self.feed.listed_from().map(|basis| self.limits.refresh_from_ms(basis));
        Plan { began: now, newest, cursor, look, asked: self.feed.asked, whole: slept || !goes_on, goes_on }
    }

    /// When the last complete refresh began.
    pub(crate) const fn refreshed(&self) -> Option<LocalTime> {
        self.feed.began
    }

    /// Notes that a refresh is complete, and forgets what none asks for any more.
    pub(crate) fn note_refreshed(&mut self, plan: Plan) {
        let known = &mut self.feed;
        known.reload = false;
        let before = known.basis;
        known.basis = before.max(plan.newest);
        known.note_shown(plan.began, before, &self.limits);
        known.believe_sweeps(&self.limits);
        known.began = Some(plan.began);
        if plan.look || plan.whole {
            known.looked = Some(plan.began);
            known.answered = if planted(Planted::ForgetLateAsk) { known.asked } else { plan.asked };
        }
        known.forget_old(&self.limits, self.view.base());
    }

    /// The feed objects of a listing that were not taken in yet; or, where a view is made anew, those not in this set.
    pub(crate) fn unseen(
        &mut self,
        listed: Vec<Listed>,
        anew: Option<&BTreeSet<FeedName>>,
        now: LocalTime,
    ) -> Unseen {
        let mut unseen = Unseen::default();
        for Listed { path, size, last_modified } in listed {
            self.time.note(last_modified, &path, now, &self.limits);
            let Some(name) = FeedName::parse(&path) else {
                unseen.foreign.push(path);
                continue;
            };
            // An object whose date was changed shows no more than its name does: others may lie behind it.
            let latest = StoreTime(latest_ms(name, &self.limits) / 1000);
            self.feed.showing = self.feed.showing.max(Some(last_modified.min(latest)));
            let mine = self.feed.own.remove(&name);
            let taken_in =
                anew.map_or_else(|| self.feed.seen.contains(&name), |in_recent| in_recent.contains(&name));
            let dated = self.limits.adopting(None).feed_in_time(name.time_ms, last_modified);
            if self.feed.doubts_direct && name.is_direct() && !taken_in && !dated {
                continue;
            }
            if !self.limits.feed_in_time(name.time_ms, last_modified) {
                if let Some(OwnObject { sent, answered, .. }) = &mine
                    && planted(Planted::LateMeasuresClock)
                {
                    self.time.check.measure(*sent, *answered, last_modified);
                }
                // It publishes nothing; but what it tells of is committed. Of its own objects a node knows that.
                let told = mine.is_some() || taken_in || self.feed.seen.contains(&name);
                if let Some(id) = name.decision().filter(|_| !told && !planted(Planted::DirectIsNeverLate)) {
                    // It is void, and told elsewhere by nobody.
                    if !self.is_published(id) {
                        self.feed.dead.insert(id);
                    }
                    continue;
                }
                if !told && !self.feed.late.contains(&name) && !planted(Planted::LateSaysNothing) {
                    unseen.unread.push(Unread { name, last_modified, size, late: true });
                }
                mine.into_iter().for_each(|object| self.feed.publish_again(name, object));
                continue;
            }
            if let Some(OwnObject { sent, answered, commits }) = mine {
                // One that is late may have been dated anew: its date says nothing of this node's clock.
                self.time.check.measure_listed(&self.limits, sent, answered, last_modified);
                self.date_own(name, commits, last_modified);
                if anew.is_none() {
                    continue;
                }
            }
            if !taken_in {
                unseen.unread.push(Unread { name, last_modified, size, late: false });
            }
        }
        unseen
    }

    /// The date of an own feed object that is in time is known now.
    fn date_own(&mut self, name: FeedName, commits: Vec<OwnCommit>, last_modified: StoreTime) {
        self.feed.seen.insert(name);
        let published = self.limits.feed_published(name.time_ms, last_modified);
        for OwnCommit { decided_by, version, pruned } in commits {
            self.feed.note_published(decided_by, published);
            self.view.note_published(version, PublishedAt { at: published, dated: last_modified });
            if let Some(values) = pruned {
                let (published, txn) = (published.0, version.txn);
                self.feed.note_pruned(PrunedCommit { published, decided_by, txn, values });
            }
        }
    }

    /// Takes in what a feed object tells.
    pub(crate) fn take_in(&mut self, object: &FeedObject) {
        if object.late {
            return self.take_in_late(object);
        }
        let first = |commit: &Commit| self.feed.first_published(commit.decided_by(), object.publication);
        let commits: Vec<_> =
            object.commits.iter().map(|commit| (Arc::clone(commit), Some(first(commit)))).collect();
        self.learn(commits);
        self.note_carried(object);
        self.note_feed_object(object);
    }

    /// Notes that commits of the view are carried by this object, too: they were published by somebody who did not know of an earlier one.
    fn note_carried(&mut self, object: &FeedObject) {
        for commit in &object.commits {
            self.view.note_published(commit.version, object.publication);
        }
    }

    fn note_feed_object(&mut self, object: &FeedObject) {
        let known = &mut self.feed;
        object.carried.iter().for_each(|id| known.note_published(*id, object.publication.at));
        object.pruned.iter().for_each(|pruned| known.note_pruned(pruned.clone()));
        if let Some(through) = object.swept_through {
            known.note_sweep(through, object.last_modified);
            known.last_sweep = known.last_sweep.max(Some(object.last_modified));
        }
        known.dead.extend(object.dead);
        known.seen.insert(object.name);
        for replaced in &object.instead_of {
            known.seen.insert(*replaced);
            known.damaged.remove(replaced);
        }
    }

    /// Takes in what a late feed object tells and nobody is known to have published. What is older than what is settled is folded, or
    /// was never known to a checkpoint: that is for looking over all decisions to say.
    fn take_in_late(&mut self, object: &FeedObject) {
        let new = |commit: &&Arc<Commit>| !commit.restored && !self.is_published(commit.decided_by());
        let unpublished: Vec<_> = object.commits.iter().filter(new).cloned().collect();
        self.learn(unpublished.iter().map(|commit| (Arc::clone(commit), None)));
        let settled_ms = self.base().settled_ms();
        self.feed.late.insert(object.name);
        let open = unpublished.iter().filter(|commit| commit.version.txn.start_ms() >= settled_ms);
        self.feed.found.extend(open.map(|commit| (commit.decided_by(), object.name)));
    }

    /// Builds on another manifest, with everything that it did not fold, in one step.
    pub(crate) fn take_in_whole(
        &mut self,
        base: &Arc<Base>,
        recent: Option<Recent>,
        objects: Vec<FeedObject>,
    ) {
        let (late, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| object.late);
        let published = recent.iter().flat_map(|recent| &recent.published);
        published.for_each(|(id, dated)| self.feed.note_published(*id, StoreTime(*dated)));
        let told: Vec<_> = recent.iter().flat_map(|recent| &recent.commits).map(recent_commit).collect();
        let fed: Vec<_> = objects
            .iter()
            .flat_map(|object| object.commits.iter().map(|commit| (commit, object.publication)))
            .map(|(commit, published)| {
                (Arc::clone(commit), self.feed.first_published(commit.decided_by(), published))
            })
            .collect();
        // What its maker knew not to be in it, the recent file tells.
        self.view.rebase(Arc::clone(base));
        self.time.hybrid.observe(base.greatest().clock);
        self.learn(told.into_iter().chain(fed).map(|(commit, published)| (commit, Some(published))));
        for object in &objects {
            self.note_carried(object);
            self.note_feed_object(object);
        }
        let known = &mut self.feed;
        if let Some(recent) = recent {
            known.seen.extend(recent.seen);
            known.dead.extend(recent.dead);
            recent.pruned.into_iter().for_each(|pruned| known.note_pruned(pruned));
        }
        if let Some(manifest) = base.manifest() {
            known.swept_through = known.swept_through.max(Some(StoreTime(manifest.swept_through)));
            known.told_through = known.told_through.max(Some(StoreTime(manifest.swept_through)));
            known.last_sweep = known.last_sweep.max(Some(StoreTime(manifest.last_sweep)));
            for (dated, through) in &manifest.sweeps {
                known.note_sweep(StoreTime(*through), StoreTime(*dated));
            }
            // Its maker was shown that much.
            known.basis = known.basis.max(Some(StoreTime(manifest.basis)));
            known.shown = known.shown.max(Some(StoreTime(manifest.basis)));
        }
        late.iter().for_each(|object| self.take_in_late(object));
    }

    /// Whether a feed object that is damaged has nothing that stands in for it yet.
    pub(crate) fn needs_healing(&self, name: FeedName) -> bool {
        !self.feed.seen.contains(&name) || planted(Planted::StandInUnread)
    }

    /// Notes that damaged feed objects need not be read any more.
    pub(crate) fn note_replaced(&mut self, names: impl IntoIterator<Item = FeedName>) {
        self.feed.seen.extend(names);
    }

    /// Notes that feed objects are damaged, and stay so: this node writes nothing.
    pub(crate) fn note_damaged(&mut self, names: impl IntoIterator<Item = FeedName>) {
        self.feed.damaged.extend(names);
    }

    /// Feed objects that are damaged and that nobody has replaced, as far back as refreshes still list.
    pub(crate) fn damaged(&self) -> impl Iterator<Item = FeedName> {
        self.feed.damaged.iter().copied()
    }
}
