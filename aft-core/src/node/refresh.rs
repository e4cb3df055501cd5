//! Refreshing: learning what other nodes published (AFT, section 4.1, turned from push to pull).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use tracing::Instrument;

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::feed::{Entry, Feed, Home};
use crate::format::name::{FEED, FeedName};
use crate::format::record::Value;
use crate::node::stats::add;
use crate::node::store::patiently;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::timeliness::Limits;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{self, Commit};
use crate::storage::ObjectInfo;
use crate::txn_id::TxnId;

/// What a node knows of the feed.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The newest `last_modified` that was known when the last complete refresh began: where the next one looks from.
    basis: Option<StoreTime>,
    /// When the last complete refresh began.
    pub(crate) began: Option<LocalTime>,
    /// Feed objects taken in, as far back as refreshes still list.
    seen: BTreeSet<FeedName>,
    /// Own feed objects whose date is not known yet, and when they were sent and answered.
    own: BTreeMap<FeedName, (LocalTime, LocalTime)>,
    /// Decisions that some feed object carried, as far back as sweeps still look.
    pub(crate) published: BTreeSet<TxnId>,
    /// Decisions found to be aborts or void, as far back as sweeps still look.
    pub(crate) dead: BTreeSet<TxnId>,
    /// Every commit decided before this was published.
    pub(crate) swept_through: Option<StoreTime>,
    /// When the last sweep was published.
    pub(crate) last_sweep: Option<StoreTime>,
    /// The last epoch in which this node offered to sweep.
    pub(crate) offered_epoch: Option<u64>,
}

/// Own feed objects are remembered until a refresh shows their date; more of them are not needed.
const OWN_REMEMBERED: usize = 64;
/// A larger feed object is none of ours.
const LARGEST_FEED_OBJECT: u64 = 256 << 20;

impl Known {
    /// What is known of a store whose marker was made at `made`: nothing was decided before.
    pub(crate) fn since(made: StoreTime) -> Self {
        Self { swept_through: Some(made), last_sweep: Some(made), ..Self::default() }
    }

    pub(crate) fn note_own(&mut self, name: FeedName, sent: LocalTime, answered: LocalTime) {
        self.own.insert(name, (sent, answered));
        if self.own.len() > OWN_REMEMBERED {
            self.own.pop_first();
        }
    }
}

impl Node {
    /// Learns every commit published before this call.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<(), Error> {
        self.refreshing.fresh(|| Arc::clone(self).fly_refresh()).await
    }

    /// Refreshes where the last refresh began longer than the allowed staleness ago.
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
        let began = self.known.lock().began;
        began.is_none_or(|began| now.elapsed_since(began) > self.limits.staleness_ms)
    }

    fn fly_refresh(self: Arc<Self>) -> futures::future::BoxFuture<'static, Result<(), Error>> {
        let span = tracing::debug_span!("refresh");
        async move { self.refresh_once().await }.instrument(span).boxed()
    }

    async fn refresh_once(self: Arc<Self>) -> Result<(), Error> {
        let began = self.now();
        let mut newest = self.time.lock().newest;
        if planted(Planted::RefreshByOwnClock) {
            newest = Some(StoreTime(began.wall_ms / 1000));
        }
        let (cursor, cold) = {
            let known = self.known.lock();
            (known.basis.map(|basis| self.limits.refresh_from_ms(basis)), known.began.is_none())
        };
        let start_after = cursor.map(FeedName::cursor);
        let listed = patiently(&self.rng, || self.store.list(FEED, start_after.as_deref()))
            .await
            .map_err(|error| Error::storage("listing the feed", error))?;
        let unseen = self.sort_out(listed)?;
        futures::stream::iter(unseen)
            .map(|(name, last_modified, size)| self.take_in(name, last_modified, size, cold).boxed())
            .buffer_unordered(self.config.parallel_requests)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        // Only now: had an object not been read, the next refresh must list it again.
        let mut known = self.known.lock();
        known.basis = known.basis.max(newest);
        known.began = Some(began);
        known.forget_old(&self.limits);
        drop(known);
        add(&self.counters.refreshes, 1);
        Node::sweep_beside(&self);
        Ok(())
    }

    /// The feed objects of a listing that count and were not taken in yet.
    fn sort_out(&self, listed: Vec<ObjectInfo>) -> Result<Vec<(FeedName, StoreTime, u64)>, Error> {
        let mut unseen = Vec::new();
        let (mut known, mut time) = (self.known.lock(), self.time.lock());
        for ObjectInfo { path, size, last_modified } in listed {
            let last_modified = StoreTime::of(last_modified);
            time.note(last_modified);
            let Some(name) = FeedName::parse(&path) else {
                tracing::warn!(path, "an object that is none of aft's lies in the feed; it is left alone");
                continue;
            };
            if let Some((sent, answered)) = known.own.remove(&name) {
                time.check.measure(sent, answered, last_modified);
            }
            if !self.limits.feed_in_time(name.time_ms, last_modified) {
                tracing::debug!(path, "a feed object landed late and does not count");
            } else if name.node == self.number {
                known.seen.insert(name);
            } else if size > LARGEST_FEED_OBJECT {
                let message = format!("the feed object {path:?} has {size} bytes, more than any node writes");
                return Err(Error::new(ErrorKind::Corrupt, message));
            } else if !known.seen.contains(&name) {
                unseen.push((name, last_modified, size));
            }
        }
        Ok(unseen)
    }

    async fn take_in(
        &self,
        name: FeedName,
        last_modified: StoreTime,
        size: u64,
        cold: bool,
    ) -> Result<(), Error> {
        let path = name.to_string();
        let read = patiently(&self.rng, || self.store.get_sized(&path, size)).await;
        if read.is_err() && planted(Planted::SkipUnreadableFeedObject) {
            return Ok(());
        }
        let object =
            read.map_err(|error| Error::storage(format_args!("reading the feed object {path:?}"), error))?;
        let feed = Feed::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
        let mut commits = Vec::with_capacity(feed.entries.len());
        let mut published = Vec::with_capacity(feed.entries.len());
        for entry in feed.entries {
            match entry {
                Entry::Pruned { decided_by, .. } => published.push(decided_by),
                Entry::Commit { decided_by, home, record } => {
                    published.push(decided_by);
                    let home = match home {
                        Home::Decision { base } => view::Home::Decision { base },
                        Home::Feed { base } => view::Home::Feed { name, base },
                    };
                    // Only commits in time are published, so none can be dated after its feed object; one that claims so would
                    // drag every clock along.
                    let latest = last_modified.ms() + self.limits.skew_ms + self.limits.visibility_ms + 1000;
                    if record.clock.ms() > latest {
                        let message = format!(
                            "the feed object {path:?} carries a commit from the future: {}",
                            record.txn
                        );
                        return Err(Error::new(ErrorKind::Corrupt, message));
                    }
                    commits.push(Arc::new(Commit::new(&record, decided_by, home)));
                }
            }
        }
        self.learn(commits.iter().cloned());
        {
            let mut known = self.known.lock();
            known.published.extend(published);
            if let Some(through) = feed.swept_through {
                known.swept_through = known.swept_through.max(Some(StoreTime(through)));
                known.last_sweep = known.last_sweep.max(Some(last_modified));
            }
            known.seen.insert(name);
        }
        // The values are here already; a cold start, though, may bring far more of them than anyone reads.
        if !cold {
            for commit in commits.iter().filter(|commit| matches!(commit.home, view::Home::Feed { .. })) {
                self.cache_inline(commit, &commit.payload_in(&object.bytes)).await;
            }
        }
        Ok(())
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

impl Known {
    /// Drops what no refresh and no sweep can ask for any more.
    fn forget_old(&mut self, limits: &Limits) {
        if let Some(basis) = self.basis {
            let oldest = FeedName { time_ms: limits.refresh_from_ms(basis), node: 0, seq: 0 };
            self.seen = self.seen.split_off(&oldest);
            self.own = self.own.split_off(&oldest);
        }
        if let Some(swept) = self.swept_through {
            let oldest = TxnId::window_start(limits.sweep_from_ms(swept));
            self.published = self.published.split_off(&oldest);
            self.dead = self.dead.split_off(&oldest);
        }
    }
}
