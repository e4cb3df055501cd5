//! Refreshing: learning what other nodes published (AFT, section 4.1, turned from push to pull).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tracing::field::Empty;

use crate::clock::millis;
use crate::error::{Error, ErrorKind};
use crate::format::bounds;
use crate::format::envelope::checksum;
use crate::format::feed::Feed;
use crate::format::name::{FEED, FeedName};
use crate::node::exchange::register::RegisterState;
use crate::node::spans::{OK, noted};
use crate::node::stats::add;
use crate::node::store::retry_read;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::bundles::{Gathering, are_asked_for};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::knowledge::refresh::{FeedObject, FromTheFuture, Listed, Plan, Unread, Unseen};
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Commit, Home};
use crate::protocol::write_set::ValueRef;
use crate::storage::{Object, ObjectInfo};
use crate::txn_id::TxnId;

/// A refresh begins anew where it took longer than what it reads is kept.
const REFRESH_TRIES: u32 = 3;

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
        // The node's own, which may be less than what all nodes may have.
        let most_ms = millis(self.config.max_staleness);
        let now = self.now();
        self.known.read(|known| known.is_stale(now, most_ms))
    }

    fn fly_refresh(self: Arc<Self>) -> futures::future::BoxFuture<'static, Result<(), Error>> {
        let span = tracing::debug_span!("aft.refresh", outcome = Empty);
        noted(span, self.refresh_once(), |_, ()| OK).boxed()
    }

    async fn refresh_once(self: Arc<Self>) -> Result<(), Error> {
        for _ in 0..REFRESH_TRIES {
            let began = self.now();
            let look_interval_ms = millis(self.config.sweep_interval);
            let plan = self.known.write(|known| known.begin_refresh(began, look_interval_ms));
            // A refresh that took as long as the feed is kept may have missed what was collected meanwhile.
            let complete = if plan.whole {
                self.refresh_whole(plan).await?
                    && self.now().elapsed_since(began) <= self.limits.feed_kept_ms()
            } else {
                if let Err(error) = self.refresh_feed(plan).await {
                    // A newer checkpoint may know what cannot be read any more.
                    let above = self.known.base().number();
                    if error.kind() != ErrorKind::Corrupt || self.list_manifests(above).await?.is_empty() {
                        return Err(error);
                    }
                    self.known.write(Knowledge::begin_anew);
                    continue;
                }
                let now = self.now();
                !self.known.read(|known| known.slept(now))
            };
            if !complete && !planted(Planted::TrustOldFeed) {
                continue;
            }
            self.known.write(|known| known.note_refreshed(plan));
            add(&self.counters.refreshes, 1);
            self.seal(self.known.base().number()).await;
            self.date_clock().await;
            Node::sweep_beside(&self);
            Node::bundle_beside(&self);
            Node::checkpoint_beside(&self);
            return Ok(());
        }
        let message = "a refresh took longer than the feed is kept, again and again; try again";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// What the feed says since the last refresh, and the newest manifest where it is time to look for one.
    async fn refresh_feed(&self, plan: Plan) -> Result<(), Error> {
        let above = self.known.base().number();
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
            let unseen = self.unseen(self.list_feed(plan.cursor).await?, None);
            // What counts first: it may tell all that the late ones do.
            let (late, unseen): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|it| it.late);
            let mut damaged =
                self.read_feed(unseen, |object| self.known.write(|known| known.take_in(&object))).await?;
            damaged.extend(
                self.read_feed(late, |object| self.known.write(|known| known.take_in(&object))).await?,
            );
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
        if plan.goes_on && numbers.first().copied().unwrap_or(0) == self.known.base().number() {
            self.refresh_feed(plan.having_looked()).await?;
            return Ok(true);
        }
        let mut damage = self.expect_base(&numbers).await?;
        let own = self.known.base().number();
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
        let unseen = self.unseen(listed, Some(&in_recent));
        self.note_start(unseen.len());
        let objects = parking_lot::Mutex::new(Vec::new());
        // All of it is read anew.
        self.bundles.lock().read.clear();
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
        let objects = objects.into_inner();
        self.known.write(|known| known.take_in_whole(&base, recent, objects));
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
    fn unseen(&self, listed: Vec<ObjectInfo>, anew: Option<&BTreeSet<FeedName>>) -> Vec<Unread> {
        let now = self.now();
        let listed = listed.into_iter().map(|ObjectInfo { path, size, last_modified }| Listed {
            path,
            size,
            last_modified: StoreTime::of(last_modified),
        });
        let listed = listed.collect();
        let Unseen { unread, foreign } = self.known.write(|known| known.unseen(listed, anew, now));
        for path in foreign {
            tracing::warn!(path, "an object that is none of aft's lies in the feed; it is left alone");
        }
        add(&self.counters.feed_objects, unread.len() as u64);
        unread
    }

    /// Reads feed objects; which of them are damaged.
    async fn read_feed(
        &self,
        unseen: Vec<Unread>,
        take: impl Fn(FeedObject) + Send + Sync,
    ) -> Result<Vec<Damaged>, Error> {
        let take = &take;
        // One that is late is read as it is: it tells what must be published again.
        let (late, in_time): (Vec<_>, Vec<_>) = unseen.into_iter().partition(|it| it.late);
        let bundled = are_asked_for(&in_time);
        let gathering = parking_lot::Mutex::new(Gathering::default());
        let in_time = if bundled { self.read_bundles(in_time, &gathering, take).await } else { in_time };
        let (gathered, gathers) = (&gathering, bundled && self.may_bundle());
        let damaged = futures::stream::iter(late.into_iter().chain(in_time))
            .map(|unread: Unread| {
                async move {
                    match self.feed_object(&unread).await {
                        Ok(Some((object, bytes))) => {
                            if gathers && !unread.late {
                                gathered.lock().single(unread.name, &bytes);
                            }
                            take(object);
                        }
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
            .await?;
        if gathers {
            self.bundles.lock().drafts = gathering.into_inner().drafts();
        }
        Ok(damaged)
    }

    async fn feed_object(&self, unread: &Unread) -> Result<Option<(FeedObject, Bytes)>, Error> {
        let Unread { name, size, .. } = *unread;
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
        let told = self.told_by(unread, &object.bytes)?;
        self.cache_told(&told, &object.bytes).await;
        Ok(Some((told, object.bytes)))
    }

    /// What a feed object tells whose bytes these are.
    pub(super) fn told_by(&self, unread: &Unread, object: &Bytes) -> Result<FeedObject, Error> {
        let path = unread.name.to_string();
        if let Some(id) = unread.name.decision() {
            return self.direct_told_by(unread, id, object);
        }
        let feed = Feed::decode_as(unread.name, object).map_err(|cause| format_error(&path, cause))?;
        FeedObject::new(unread, feed, &self.limits).map_err(|FromTheFuture(txn)| {
            let message = format!("the feed object {path:?} carries a commit from the future: {txn}");
            Error::new(ErrorKind::Corrupt, message)
        })
    }

    /// What a decision in the feed tells.
    fn direct_told_by(&self, unread: &Unread, id: TxnId, object: &Bytes) -> Result<FeedObject, Error> {
        let last_modified = UNIX_EPOCH + Duration::from_secs(unread.last_modified.0);
        let object = Object { bytes: object.clone(), last_modified };
        let commits = match self.judge(&unread.name.to_string(), id, object)? {
            RegisterState::Committed { commits, .. } => {
                Some(commits.into_iter().map(|it| it.commit).collect())
            }
            RegisterState::Dead { .. } | RegisterState::Forgotten | RegisterState::Empty => None,
        };
        Ok(FeedObject::direct(unread, id, commits, &self.limits))
    }

    /// The values are here already. A cold start may bring far more of them than anyone reads: it keeps half a cache.
    pub(super) async fn cache_told(&self, told: &FeedObject, object: &Bytes) {
        if self.known.read(Knowledge::is_cold) {
            let len = object.len() as u64;
            let kept = self.kept_at_start.fetch_add(len, Ordering::Relaxed);
            if kept.saturating_add(len) > self.config.cache_bytes / 2 {
                return;
            }
        }
        let direct = told.is_direct();
        let here = |commit: &&Arc<Commit>| direct || matches!(commit.home(), Home::Feed { .. });
        for commit in told.commits.iter().filter(here) {
            self.cache_inline(commit, &commit.payload_in(object)).await;
        }
    }

    /// Builds on a newer manifest: all that it did not fold is in the view already.
    pub(crate) fn adopt(&self, base: &Arc<Base>) {
        if self.known.write(|known| known.adopt(base)) {
            tracing::debug!(number = base.number(), "builds on a newer checkpoint");
        }
    }

    /// Puts a commit's inline values into the data cache; damaged ones are left for their reader to report.
    pub(crate) async fn cache_inline(&self, commit: &Commit, payload: &[Bytes]) {
        let mut payload = payload.iter();
        for (ordinal, value) in (0u32..).zip(commit.writes.values()) {
            if let ValueRef::Inline { checksum: expected, .. } = value
                && let Some(value) = payload.next()
                && checksum(value) == expected
            {
                self.cache.put((commit.version.txn, ordinal), value).await;
            }
        }
    }
}
