//! What a node knows: its view, what it knows of the feed and of the checkpoints beside that, and of time; and what follows from it.
//!
//! Listings and decoded objects go in, plans come out. All three parts belong together: what was seen of the feed is in the view, and what
//! is folded is told by dates that both of them hold. So they are looked at and changed as one, of one moment: the node keeps the whole
//! behind one lock, and nothing in here waits, asks a store, or reads a clock (I11).

#[cfg(test)]
mod brute_force;
pub(crate) mod draft;
mod feed_state;
mod moments;
pub(crate) mod refresh;
mod sweep;
mod time;

use std::sync::Arc;

pub(crate) use feed_state::OwnCommit;
pub(crate) use moments::KnownBy;
pub(crate) use sweep::Teller;

use crate::format::name::{FeedName, Job};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::protocol::knowledge::feed_state::{FeedState, NOT_DATED};
use crate::protocol::knowledge::time::NodeTime;
use crate::protocol::timeliness::{Limits, PublishedAt, StoreTime};
use crate::protocol::view::{Commit, View};
use crate::txn_id::TxnId;
use crate::version::Timestamp;

/// What a node knows.
#[derive(Debug)]
pub(crate) struct Knowledge {
    limits: Limits,
    view: View,
    feed: FeedState,
    time: NodeTime,
}

impl Knowledge {
    /// What is known of a store in which nothing was decided before `since`. `undated`: of a node that writes nothing. `forgiving`: whether
    /// decisions that cannot be read are passed over.
    pub(crate) fn new(limits: Limits, since: StoreTime, undated: bool, forgiving: bool) -> Self {
        let (feed, time) = (FeedState::since(since, forgiving), NodeTime::new(undated));
        Self { limits, view: View::default(), feed, time }
    }

    /// The commits beyond what is folded.
    pub(crate) const fn view(&self) -> &View {
        &self.view
    }

    /// What is folded.
    pub(crate) fn base(&self) -> &Arc<Base> {
        self.view.base()
    }

    /// Takes commits in that are known to be in time, and when they were published, where that is known.
    pub(crate) fn learn(&mut self, commits: impl IntoIterator<Item = (Arc<Commit>, Option<PublishedAt>)>) {
        let mut greatest = Timestamp::default();
        for (commit, publication) in commits {
            greatest = greatest.max(commit.version.clock);
            self.view.insert_published(commit, publication);
        }
        self.time.hybrid.observe(greatest);
    }

    /// Builds on a newer manifest: all that it did not fold is in the view already. Whether it is newer.
    pub(crate) fn adopt(&mut self, base: &Arc<Base>) -> bool {
        if base.number() <= self.view.base().number() {
            return false;
        }
        self.view.rebase(Arc::clone(base));
        self.time.hybrid.observe(base.greatest().clock);
        true
    }

    /// Whether the next refresh looks for a newer checkpoint.
    pub(crate) const fn looks_next(&self) -> bool {
        self.feed.asked > self.feed.answered
    }

    /// The next refresh that begins looks for a newer checkpoint.
    pub(crate) const fn look_again(&mut self) {
        self.feed.asked += 1;
    }

    /// Notes that a checkpoint is sealed.
    pub(crate) fn note_sealed(&mut self, number: u64) {
        self.feed.sealed.insert(number);
    }

    /// Whether a checkpoint was seen to be sealed.
    pub(crate) fn is_sealed(&self, number: u64) -> bool {
        self.feed.sealed.contains(&number)
    }

    /// Notes that a file of an index is damaged or missing: the next refresh begins from a manifest that does without it.
    pub(crate) fn distrust(&mut self, path: String) {
        self.feed.distrusted.insert(path);
        self.feed.reload = true;
    }

    /// The next refresh begins from a manifest.
    pub(crate) const fn begin_anew(&mut self) {
        self.feed.reload = true;
    }

    /// Nothing older is whole: what can still be read of this manifest goes on.
    pub(crate) fn trust_again(&mut self) {
        self.feed.distrusted.clear();
        self.feed.reload = false;
    }

    /// The first of these paths that is known to be damaged or missing.
    pub(crate) fn distrusted(&self, mut paths: impl Iterator<Item = String>) -> Option<String> {
        paths.find(|path| self.feed.distrusted.contains(path))
    }

    /// Whether this node has not offered yet to do a job in this epoch; it does now.
    pub(crate) fn offer(&mut self, job: Job, epoch: u64) -> bool {
        self.feed.offered.insert(job, epoch) != Some(epoch)
    }

    /// Remembers an own feed object until its date is known.
    pub(crate) fn note_own(
        &mut self,
        name: FeedName,
        (sent, answered): (LocalTime, LocalTime),
        commits: Vec<OwnCommit>,
    ) {
        self.feed.note_own(name, (sent, answered), commits);
    }

    /// Decisions in the feed that were late but for the adoption of the store publish nothing from now on: whether they were in time is for others to say.
    pub(crate) const fn doubt_direct(&mut self) {
        self.feed.doubts_direct = true;
    }

    /// How many own objects in the feed no listing has shown yet.
    pub(crate) fn own_open(&self) -> usize {
        self.feed.own.len()
    }

    /// Notes that a feed object of this node carries these decisions; its date is not known yet.
    pub(crate) fn note_published(&mut self, ids: impl IntoIterator<Item = TxnId>) {
        ids.into_iter().for_each(|id| self.feed.note_published(id, NOT_DATED));
    }

    /// Whether some feed object carried a decision, as far as is known.
    pub(crate) fn is_published(&self, id: TxnId) -> bool {
        self.feed.published.contains_key(&id)
    }

    /// The decisions that some feed object carried, as far back as is known.
    pub(crate) fn published(&self) -> impl Iterator<Item = TxnId> {
        self.feed.published.keys().copied()
    }

    /// Notes that a decision is an abort, or void.
    pub(crate) fn note_dead(&mut self, id: TxnId) {
        self.feed.dead.insert(id);
    }

    /// Whether a decision is known to be an abort, or void.
    pub(crate) fn is_dead(&self, id: TxnId) -> bool {
        self.feed.dead.contains(&id)
    }

    /// Decisions known to be aborts or void.
    pub(crate) fn dead(&self) -> impl Iterator<Item = TxnId> {
        self.feed.dead.iter().copied()
    }

    /// Whether decisions that cannot be read are passed over.
    pub(crate) fn passes_over(&self) -> bool {
        self.feed.forgiving || planted(Planted::UnreadableIsNothing)
    }
}
