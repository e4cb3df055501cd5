//! Refreshing: learning what other nodes published (AFT, section 4.1, turned from push to pull).

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tracing::Instrument;

use crate::clock::millis;
use crate::error::{Error, ErrorKind};
use crate::format::bounds;
use crate::format::envelope::checksum;
use crate::format::feed::{Entry, Feed, Home};
use crate::format::name::{FEED, FeedName};
use crate::format::recent::{PrunedCommit, Recent};
use crate::format::record::Value;
use crate::node::index::load::recent_commit;
use crate::node::stats::add;
use crate::node::store::retry_read;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::protocol::knowledge::feed_state::{OwnCommit, OwnObject};
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{self, Commit};
use crate::storage::ObjectInfo;
use crate::txn_id::TxnId;

/// A refresh begins anew where it took longer than what it reads is kept.
const REFRESH_TRIES: u32 = 3;

/// What a refresh is to do.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The least time in the names that it lists.
    cursor: Option<u64>,
    /// Whether it looks for a newer checkpoint.
    look: bool,
    /// Whether it begins from a manifest: at a cold start, and where the feed may have been collected since the last refresh.
    whole: bool,
    /// Whether it may go on from the last refresh, where nothing was collected since.
    goes_on: bool,
}

/// A feed object as it was read.
pub(crate) struct FeedObject {
    pub(crate) name: FeedName,
    last_modified: StoreTime,
    /// Whether it is dated too late to publish anything.
    late: bool,
    pub(crate) commits: Vec<Arc<Commit>>,
    published: Vec<TxnId>,
    pruned: Vec<PrunedCommit>,
    swept_through: Option<StoreTime>,
    instead_of: Vec<FeedName>,
}

/// A feed object that is to be read.
struct Unread {
    name: FeedName,
    last_modified: StoreTime,
    size: u64,
    late: bool,
}

/// A feed object that cannot be understood, and why.
pub(crate) type Damaged = (FeedName, Error);

impl Node {
    /// Learns every commit published before this call.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<(), Error> {
        self.refreshing.fresh(|| Arc::clone(self).fly_refresh()).await
    }

    /// Refreshes where the last refresh began longer than the allowed staleness ago (I7).
    pub(crate) async fn refresh_if_stale(self: &Arc<Self>) -> Result<(), Error> {
        // One flight may have begun before the limit; a second one cannot.
        for _ in 0..2 {
            if !self.is_stale() {
                return Ok(());
            }
            self.refreshing.any(|| Arc::clone(self).fly_refresh()).await?;
        }
        if self.is_stale() { self.refresh().await } else { Ok(()) }
    }

    fn is_stale(&self) -> bool {
        let now = self.now();
        let began = self.feed_state.lock().began;
        // The node's own, which may be less than what all nodes may have.
        let most_ms = millis(self.config.max_staleness);
        began.is_none_or(|began| now.elapsed_since(began) > most_ms)
    }

    fn fly_refresh(self: Arc<Self>) -> futures::future::BoxFuture<'static, Result<(), Error>> {
        let span = tracing::debug_span!("refresh");
        async move { self.refresh_once().await }.instrument(span).boxed()
    }

    async fn refresh_once(self: Arc<Self>) -> Result<(), Error> {
        for _ in 0..REFRESH_TRIES {
            let began = self.now();
            let plan = self.plan_refresh(began);
            let mut newest = self.shown_time(Planted::CursorByAnyDate);
            // What a refresh that failed was shown, it did not take in.
            self.feed_state.lock().showing = None;
            if planted(Planted::RefreshByOwnClock) {
                newest = Some(StoreTime(began.wall_ms / 1000));
            }
            // A refresh that took as long as the feed is kept may have missed what was collected meanwhile.
            let complete = if plan.whole {
                self.refresh_whole(plan).await?
                    && self.now().elapsed_since(began) <= self.limits.feed_kept_ms()
            } else {
                self.refresh_feed(plan).await?;
                !self.slept(self.now())
            };
            if !complete && !planted(Planted::TrustOldFeed) {
                continue;
            }
            let base = self.note_refreshed(plan, began, newest);
            add(&self.counters.refreshes, 1);
            self.seal(base.number()).await;
            self.date_clock().await;
            Node::sweep_beside(&self);
            return Ok(());
        }
        let message = "a refresh took longer than the feed is kept, again and again; try again";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Notes that a refresh is complete, and forgets what none asks for any more; what the view builds on now.
    fn note_refreshed(&self, plan: Plan, began: LocalTime, newest: Option<StoreTime>) -> Arc<Base> {
        let base = Arc::clone(self.view.read().base());
        let mut known = self.feed_state.lock();
        known.basis = known.basis.max(newest);
        known.shown = known.shown.max(known.showing.take());
        known.began = Some(began);
        known.reload = false;
        if plan.look || plan.whole {
            (known.looked, known.look) = (Some(began), false);
        }
        known.forget_old(&self.limits, &base);
        base
    }

    fn plan_refresh(&self, now: LocalTime) -> Plan {
        let slept = self.slept(now) && !planted(Planted::TrustOldFeed);
        let known = self.feed_state.lock();
        let look_interval = millis(self.config.sweep_interval);
        let look = known.look || known.looked.is_none_or(|looked| now.elapsed_since(looked) > look_interval);
        let goes_on = known.began.is_some() && !known.reload;
        let whole = slept || !goes_on;
        Plan { cursor: known.basis.map(|basis| self.limits.refresh_from_ms(basis)), look, whole, goes_on }
    }

    /// Whether the last refresh lies so far back that the feed since then may have been collected.
    fn slept(&self, now: LocalTime) -> bool {
        let began = self.feed_state.lock().began;
        began.is_some_and(|began| now.elapsed_since(began) > self.limits.feed_kept_ms())
    }

    /// What the feed says since the last refresh, and the newest manifest where it is time to look for one.
    async fn refresh_feed(&self, plan: Plan) -> Result<(), Error> {
        let above = self.view.read().base().number();
        let manifest = async {
            if !plan.look {
                return Ok(None);
            }
            let numbers = self.list_manifests(above).await?;
            match self.newest_manifest(&numbers).await {
                // What this node builds on is as good as before.
                Err(error) if error.kind() == ErrorKind::Corrupt => Ok(None),
                found => found,
            }
        };
        let feed = async {
            let unseen = self.unseen_in_time(self.list_feed(plan.cursor).await?, None);
            // What counts first: it may tell all that the late ones do.
            let (late, unseen): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|it| it.late);
            let mut damaged = self.read_feed(unseen, |object| self.take_in(object)).await?;
            damaged.extend(self.read_feed(late, |object| self.take_in(object)).await?);
            self.heal(damaged).await
        };
        let (found, ()) = futures::try_join!(manifest.boxed(), feed.boxed())?;
        // Only after the feed: what it folded and this node had not seen must have come in before.
        if let Some(found) = found {
            self.adopt(&found.base);
        }
        Ok(())
    }

    /// Everything anew: a manifest, what it says is recent, and the feed since then. Nothing of it is seen before all of it is there;
    /// `false` where what was listed has been collected meanwhile.
    async fn refresh_whole(&self, plan: Plan) -> Result<bool, Error> {
        let numbers = self.list_manifests(0).await?;
        // Only what a manifest folded is ever collected; and what the newest folded, this node has.
        if plan.goes_on && numbers.first().copied().unwrap_or(0) == self.view.read().base().number() {
            self.refresh_feed(Plan { look: false, ..plan }).await?;
            return Ok(true);
        }
        let mut damage = self.expect_base(&numbers).await?;
        let own = self.view.read().base().number();
        if damage.is_some() && !self.list_manifests(own).await?.is_empty() {
            return Ok(false);
        }
        let mut from = 0;
        let (found, recent, listed) = loop {
            let found = match self.newest_manifest(&numbers[from..]).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    damage.get_or_insert(error);
                    None
                }
                found => found?,
            };
            let Some(found) = found else {
                if self.is_overtaken(&numbers).await? {
                    return Ok(false);
                }
                if let Some(error) = damage {
                    return Err(error);
                }
                self.check_any_counts(&numbers)?;
                break (None, None, self.list_feed(None).await?);
            };
            let Some(manifest) = found.base.manifest() else { continue };
            from = numbers
                .iter()
                .position(|number| *number == manifest.number)
                .map_or(numbers.len(), |at| at + 1);
            let cursor = self.limits.refresh_from_ms(StoreTime(manifest.basis));
            let feed = self.list_feed(Some(cursor));
            match futures::join!(self.recent(manifest).boxed(), feed.boxed()) {
                (Ok(recent), listed) => break (Some(found), Some(recent), listed?),
                (Err(error), _) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(error = &error as &dyn std::error::Error, "a checkpoint cannot be used");
                    damage.get_or_insert(error);
                }
                (Err(error), _) => return Err(error),
            }
        };
        let in_recent = recent.as_ref().map_or_else(BTreeSet::new, |it| it.seen.iter().copied().collect());
        let unseen = self.unseen_in_time(listed, Some(&in_recent));
        let objects = parking_lot::Mutex::new(Vec::new());
        let damaged = self.read_feed(unseen, |object| objects.lock().push(object)).await?;
        if let Some(found) = &found
            && let Some(instead_of) = damage.or_else(|| found.instead_of.clone())
        {
            // Older than the newest: still whole, if it is still there now.
            if !planted(Planted::TrustOldManifest) && self.manifest(found.base.number()).await?.is_none() {
                return if self.is_overtaken(&numbers).await? { Ok(false) } else { Err(instead_of) };
            }
            tracing::error!(
                error = &instead_of as &dyn std::error::Error,
                number = found.base.number(),
                "an older checkpoint is used in place of a damaged one"
            );
        }
        let base = found.map_or_else(Arc::default, |found| found.base);
        self.take_in_whole(base, recent, objects.into_inner());
        self.heal(damaged).await?;
        Ok(true)
    }

    /// Whether there is a newer manifest than these by now: then those may be gone, with what they need, and nothing is wrong.
    async fn is_overtaken(&self, numbers: &[u64]) -> Result<bool, Error> {
        let Some(newest) = numbers.first().filter(|_| !planted(Planted::NeverOvertaken)) else {
            return Ok(false);
        };
        Ok(!self.list_manifests(*newest).await?.is_empty())
    }

    async fn list_feed(&self, cursor: Option<u64>) -> Result<Vec<ObjectInfo>, Error> {
        let start_after = cursor.map(FeedName::cursor);
        retry_read(&self.rng, || self.store.list(FEED, start_after.as_deref()))
            .await
            .map_err(|error| Error::storage("listing the feed", error))
    }

    /// The feed objects of a listing that were not taken in yet; or, where a view is made anew, those not in this set.
    fn unseen_in_time(&self, listed: Vec<ObjectInfo>, anew: Option<&BTreeSet<FeedName>>) -> Vec<Unread> {
        let mut unseen = Vec::new();
        let mut own = Vec::new();
        let now = self.now();
        let (mut known, mut time) = (self.feed_state.lock(), self.time.lock());
        for ObjectInfo { path, size, last_modified } in listed {
            let last_modified = StoreTime::of(last_modified);
            time.note(last_modified, &path, now, &self.limits);
            let Some(name) = FeedName::parse(&path) else {
                tracing::warn!(path, "an object that is none of aft's lies in the feed; it is left alone");
                continue;
            };
            // An object whose date was changed shows no more than its name does: others may lie behind it.
            let latest = StoreTime(name.time_ms.saturating_add(self.limits.publish_ms) / 1000);
            known.showing = known.showing.max(Some(last_modified.min(latest)));
            let mine = known.own.remove(&name);
            if let Some(OwnObject { sent, answered, .. }) = mine {
                time.check.measure(sent, answered, last_modified);
            }
            let taken_in =
                anew.map_or_else(|| known.seen.contains(&name), |in_recent| in_recent.contains(&name));
            if !self.limits.feed_in_time(name.time_ms, last_modified) {
                // It publishes nothing; but what it tells of is committed. Of its own objects a node knows that.
                let told = mine.is_some() || taken_in || known.seen.contains(&name);
                if !told && !known.late.contains(&name) && !planted(Planted::LateSaysNothing) {
                    unseen.push(Unread { name, last_modified, size, late: true });
                }
                continue;
            }
            if let Some(OwnObject { commits, .. }) = mine {
                known.seen.insert(name);
                for OwnCommit { decided_by, version, pruned } in commits {
                    known.note_published(decided_by, last_modified);
                    own.push((version, last_modified));
                    if let Some(values) = pruned {
                        let (published, txn) = (last_modified.0, version.txn);
                        known.note_pruned(PrunedCommit { published, decided_by, txn, values });
                    }
                }
                if anew.is_none() {
                    continue;
                }
            }
            if !taken_in {
                unseen.push(Unread { name, last_modified, size, late: false });
            }
        }
        drop((known, time));
        let mut view = self.view.write();
        own.into_iter().for_each(|(version, published)| view.note_published(version, published));
        unseen
    }

    /// Reads feed objects; which of them are damaged.
    async fn read_feed(
        &self,
        unseen: Vec<Unread>,
        take: impl Fn(FeedObject) + Send + Sync,
    ) -> Result<Vec<Damaged>, Error> {
        let take = &take;
        futures::stream::iter(unseen)
            .map(|unread: Unread| {
                async move {
                    match self.feed_object(&unread).await {
                        Ok(Some(object)) => take(object),
                        Ok(None) => {}
                        Err(error) if error.kind() == ErrorKind::Corrupt => {
                            return Ok(Some((unread.name, error)));
                        }
                        // Whoever made it knew that it is late, and told its commits elsewhere before it went.
                        Err(error) if error.kind() == ErrorKind::VersionUnavailable && unread.late => {}
                        Err(error) => return Err(error),
                    }
                    Ok(None)
                }
                .boxed()
            })
            .buffer_unordered(self.config.parallel_requests)
            .try_filter_map(|damaged| async { Ok(damaged) })
            .try_collect()
            .await
    }

    async fn feed_object(&self, unread: &Unread) -> Result<Option<FeedObject>, Error> {
        let Unread { name, last_modified, size, late } = *unread;
        let path = name.to_string();
        if size > bounds::FEED_OBJECT {
            let message = format!("the feed object {path:?} has {size} bytes, more than any node writes");
            return Err(Error::new(ErrorKind::Corrupt, message).with_object(&path));
        }
        let read = retry_read(&self.rng, || self.store.get_sized(&path, size)).await;
        if read.is_err() && planted(Planted::SkipUnreadableFeedObject) {
            return Ok(None);
        }
        let object =
            read.map_err(|error| Error::storage(format_args!("reading the feed object {path:?}"), error))?;
        let feed = Feed::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
        let mut commits = Vec::with_capacity(feed.entries.len());
        let mut published = Vec::with_capacity(feed.entries.len());
        let mut pruned = Vec::new();
        for entry in feed.entries {
            match entry {
                Entry::Pruned { decided_by, txn, values } => {
                    published.push(decided_by);
                    pruned.push(PrunedCommit { published: last_modified.0, decided_by, txn, values });
                }
                Entry::Commit { decided_by, home, restored, record } => {
                    published.push(decided_by);
                    let home = match home {
                        Home::Decision { base } => view::Home::Decision { base },
                        Home::Feed { base } => view::Home::Feed { name, base },
                    };
                    // Only commits in time are published, so none can be dated after its feed object; one that claims so would
                    // drag every clock along.
                    let landed = last_modified.ms().min(name.time_ms.saturating_add(self.limits.publish_ms));
                    let landed = if late { landed } else { last_modified.ms() };
                    let latest = landed + self.limits.skew_ms + self.limits.visibility_ms + 1000;
                    if record.clock.ms() > latest {
                        let message = format!(
                            "the feed object {path:?} carries a commit from the future: {}",
                            record.txn
                        );
                        return Err(Error::new(ErrorKind::Corrupt, message));
                    }
                    let commit = Commit::new(&record, decided_by, home);
                    commits.push(Arc::new(Commit { restored, ..commit }));
                }
            }
        }
        // The values are here already; a cold start, though, may bring far more of them than anyone reads.
        let cold = self.feed_state.lock().began.is_none();
        for commit in commits.iter().filter(|commit| !cold && matches!(commit.home, view::Home::Feed { .. }))
        {
            self.cache_inline(commit, &commit.payload_in(&object.bytes)).await;
        }
        let swept_through = feed.swept_through.map(StoreTime);
        let instead_of = feed.instead_of;
        Ok(Some(FeedObject {
            name,
            last_modified,
            late,
            commits,
            published,
            pruned,
            swept_through,
            instead_of,
        }))
    }

    fn take_in(&self, object: FeedObject) {
        if object.late {
            return self.take_in_late(&object);
        }
        let commits: Vec<_> = {
            let known = self.feed_state.lock();
            let first = |commit: &Commit| known.first_published(commit.decided_by, object.last_modified);
            object.commits.iter().map(|commit| (Arc::clone(commit), Some(first(commit)))).collect()
        };
        self.learn_published(commits);
        self.note_feed_object(&object);
    }

    fn note_feed_object(&self, object: &FeedObject) {
        let mut known = self.feed_state.lock();
        object.published.iter().for_each(|id| known.note_published(*id, object.last_modified));
        object.pruned.iter().for_each(|pruned| known.note_pruned(pruned.clone()));
        if let Some(through) = object.swept_through {
            known.swept_through = known.swept_through.max(Some(through));
            known.last_sweep = known.last_sweep.max(Some(object.last_modified));
        }
        known.seen.insert(object.name);
        known.seen.extend(object.instead_of.iter().copied());
    }

    /// Builds on another manifest, with everything that it did not fold, in one step.
    fn take_in_whole(&self, base: Arc<Base>, recent: Option<Recent>, objects: Vec<FeedObject>) {
        let (late, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| object.late);
        let told = recent.iter().flat_map(|recent| &recent.commits).map(recent_commit);
        let fed: Vec<_> = {
            let mut known = self.feed_state.lock();
            let published = recent.iter().flat_map(|recent| &recent.published);
            published.for_each(|(id, dated)| known.note_published(*id, StoreTime(*dated)));
            let fed = objects.iter().flat_map(|object| {
                object.commits.iter().map(|commit| (Arc::clone(commit), object.last_modified))
            });
            fed.map(|(commit, dated)| {
                let first = known.first_published(commit.decided_by, dated);
                (commit, first)
            })
            .collect()
        };
        let mut greatest = base.greatest().clock;
        {
            let mut view = self.view.write();
            view.rebase(Arc::clone(&base));
            for (commit, published) in told.chain(fed) {
                greatest = greatest.max(commit.version.clock);
                view.insert_published(commit, Some(published));
            }
        }
        self.time.lock().hybrid.observe(greatest);
        objects.iter().for_each(|object| self.note_feed_object(object));
        let mut known = self.feed_state.lock();
        if let Some(recent) = recent {
            known.seen.extend(recent.seen);
            known.dead.extend(recent.dead);
            recent.pruned.into_iter().for_each(|pruned| known.note_pruned(pruned));
        }
        if let Some(manifest) = base.manifest() {
            known.swept_through = known.swept_through.max(Some(StoreTime(manifest.swept_through)));
            known.last_sweep = known.last_sweep.max(Some(StoreTime(manifest.swept_through)));
            // Its maker was shown that much.
            known.basis = known.basis.max(Some(StoreTime(manifest.basis)));
            known.shown = known.shown.max(Some(StoreTime(manifest.basis)));
        }
        drop(known);
        late.iter().for_each(|object| self.take_in_late(object));
    }

    /// Builds on a newer manifest: all that it did not fold is in the view already.
    pub(crate) fn adopt(&self, base: &Arc<Base>) {
        {
            let mut view = self.view.write();
            if base.number() <= view.base().number() {
                return;
            }
            view.rebase(Arc::clone(base));
        }
        self.time.lock().hybrid.observe(base.greatest().clock);
        tracing::debug!(number = base.number(), "builds on a newer checkpoint");
    }

    /// Puts a commit's inline values into the data cache; damaged ones are left for their reader to report.
    pub(crate) async fn cache_inline(&self, commit: &Commit, payload: &[Bytes]) {
        let mut payload = payload.iter();
        for (ordinal, write) in (0u32..).zip(&commit.writes) {
            if let Value::Inline { checksum: expected, .. } = write.value
                && let Some(value) = payload.next()
                && checksum(value) == expected
            {
                self.cache.put((commit.version.txn, ordinal), value).await;
            }
        }
    }
}
