//! Sweeping: publishing the commits whose node died between decision and feed (I6; AFT, section 4.2, without its fault
//! manager).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

use crate::clock::millis;
use crate::error::Error;
use crate::format::name::{FEED, FeedName, Job, ObjectName};
use crate::node::Node;
use crate::node::exchange::heal::publication;
use crate::node::exchange::register::RegisterState;
use crate::node::open::ignores_create;
use crate::node::stats::add;
use crate::node::store::retry_read;
use crate::planted::{Planted, planted};
use crate::protocol::feed_queue::{Publication, Told, objects_of};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::timeliness::StoreTime;
use crate::txn_id::TxnId;

/// What a sweep did.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// aft.publish().await?;
/// let report = aft.sweep().await?;
/// assert_eq!((report.listed, report.published), (1, 0));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SweepReport {
    /// Decisions in the window that the sweep listed.
    pub listed: u64,
    /// Commits that no feed object had carried, and that this sweep published.
    pub published: u64,
    /// Aborts and void commits among those that it read.
    pub dead: u64,
    /// Every commit decided before this moment (by the store's clock) is published now. `None` where the store's
    /// time is not known yet.
    pub swept_through: Option<SystemTime>,
}

/// What no feed object carried yet.
#[derive(Debug, Default)]
pub(crate) struct Unpublished {
    /// Decisions in the window that were listed.
    listed: u64,
    /// Commits.
    pub(crate) found: Vec<Publication>,
    /// Aborts and void commits among those that were read.
    dead: u64,
    /// Decisions that could not be read, and why.
    pub(crate) damaged: Vec<(TxnId, Error)>,
}

impl Node {
    /// Finds and publishes every commit that was decided before this call and that no feed object carried.
    pub(crate) async fn sweep(self: &Arc<Self>) -> Result<SweepReport, Error> {
        self.check_writable()?;
        self.refresh().await?;
        self.publish().await?;
        let told_late = self.publish_told_late().await?;
        // Taken before the listing: what is decided meanwhile may be missed by it (HAZARDS 21).
        let mut through = self.shown_time(Planted::SweptThroughByAnyDate);
        let Unpublished { listed, found, dead, mut damaged } = self.find_unpublished().await?;
        if planted(Planted::SweptThroughAfterList) {
            through = self.store_time();
        }
        let published = told_late + found.len() as u64;
        self.publish_found(&found, through.filter(|_| damaged.is_empty())).await?;
        if let Some((_, error)) = damaged.pop() {
            return Err(error.wrapped(format!(
                "the sweep published {} commits, but could not read one decision; it will be looked at again",
                found.len()
            )));
        }
        let swept_through = through.map(|through| UNIX_EPOCH + Duration::from_secs(through.0));
        add(&self.counters.sweeps, 1);
        Ok(SweepReport { listed, published, dead, swept_through })
    }

    /// Every commit that was decided before this call and that no feed object carried, as far as this node knows.
    pub(crate) async fn find_unpublished(&self) -> Result<Unpublished, Error> {
        let from_ms = self.known.read(Knowledge::sweep_from_ms);
        let candidates = self.list_decisions(from_ms).await?;
        let mut report = Unpublished { listed: candidates.len() as u64, ..Unpublished::default() };
        let unpublished = self.known.read(|known| known.unswept(candidates));
        let looked = self.look_at(&unpublished).await;
        for (id, looked) in looked {
            match looked {
                Ok(RegisterState::Committed { commits, .. }) => {
                    tracing::info!(txn = %id, "found a commit that its node did not publish");
                    report.found.extend(commits.iter().map(publication));
                }
                Ok(RegisterState::Dead { .. }) => {
                    report.dead += 1;
                    self.known.write(|known| known.note_dead(id));
                }
                // Collected between the listing and the look: it was folded, so it had been published.
                Ok(RegisterState::Empty | RegisterState::Forgotten) => {}
                Err(error) => report.damaged.push((id, error)),
            }
        }
        Ok(report)
    }

    /// Every decision whose id starts then or later, in every shard, oldest first. A listing that lacks any which this node knows to be
    /// there is refused.
    pub(crate) async fn list_decisions(&self, from_ms: u64) -> Result<Vec<TxnId>, Error> {
        let from = TxnId::window_start(from_ms);
        let expected = self.decisions_to_show(from);
        let lists = self
            .decision_folders()
            .map(|folder| async move { self.list_decisions_in(&folder, from).await }.boxed());
        let listed: Vec<_> = futures::stream::iter(lists.collect::<Vec<_>>())
            .buffer_unordered(self.config.parallel_requests)
            .try_collect()
            .await?;
        let ids: BTreeSet<_> = listed.into_iter().flatten().collect();
        self.expect_listed(&expected, &ids).await?;
        Ok(ids.into_iter().collect())
    }

    /// The folders in which decisions lie: those of all shards, and the feed.
    pub(crate) fn decision_folders(&self) -> impl Iterator<Item = String> + use<> {
        self.shards.commit_folders().chain([FEED.to_owned()])
    }

    /// The decisions of one of these folders from an id on.
    pub(crate) async fn list_decisions_in(&self, folder: &str, from: TxnId) -> Result<Vec<TxnId>, Error> {
        let start_after =
            if folder == FEED { FeedName::cursor(from.start_ms()) } else { format!("{folder}{from}") };
        let listed = retry_read(&self.rng, || self.store.list(folder, Some(&start_after)))
            .await
            .map_err(|error| Error::storage("listing decisions", error))?;
        let mut ids = Vec::with_capacity(listed.len());
        self.note_dates(&listed);
        for object in listed {
            match ObjectName::parse(&object.path, self.shards) {
                Some(ObjectName::Decision(id)) => ids.push(id),
                Some(ObjectName::Feed(_)) => {}
                _ => tracing::warn!(
                    path = object.path,
                    "an object that is none of aft's lies among the decisions; it is left alone"
                ),
            }
        }
        Ok(ids)
    }

    async fn publish_found(&self, found: &[Publication], through: Option<StoreTime>) -> Result<(), Error> {
        self.learn(found.iter().map(|publication| Arc::clone(&publication.commit)));
        let objects = objects_of(found);
        // The claim to have swept comes last: it is true only once everything found is out.
        let (last, first) = objects.split_last().map_or((&[][..], &[][..]), |(last, first)| (*last, first));
        for object in first {
            self.publish_object(object, &Told::default()).await?;
        }
        if last.is_empty() && through.is_none() {
            return Ok(());
        }
        let told = Told { swept_through: through, ..Told::default() };
        self.publish_object(last, &told).await?;
        if let Some(through) = through {
            let now_ms = self.now().wall_ms;
            self.known.write(|known| known.note_swept(through, now_ms));
        }
        Ok(())
    }

    /// Sweeps beside the node's work where the last sweep, anyone's, is too long ago: an acked commit of a dead node must not
    /// depend on somebody having configured maintenance. Nodes share the work out by creating the epoch's object.
    pub(crate) fn sweep_beside(node: &Arc<Self>) {
        if node.read_only || node.check_open().is_err() {
            return;
        }
        let interval = millis(node.config.sweep_interval);
        let now = node.now().wall_ms;
        let epoch = now / interval;
        if !node.known.write(|known| known.offer_sweep(now, interval, epoch)) {
            return;
        }
        let span = tracing::debug_span!("aft.sweep", epoch);
        let mut tasks = node.tasks.lock();
        // Whoever closes the node takes its tasks after that.
        if node.check_open().is_ok() {
            tasks.sweep(tokio::spawn(Arc::clone(node).sweep_for(epoch).instrument(span)));
        }
    }

    /// Creates again what this node just created: a store that takes it does not honour create-if-absent any more, since versioning was
    /// switched on, say (HAZARDS 29), and this node writes nothing to it from now on.
    async fn prove_again(&self, path: &str) {
        if planted(Planted::NoRegularProof) {
            return;
        }
        if let Ok(()) = self.store.create(path, Bytes::new()).await {
            let error = ignores_create("this node commits nothing more");
            tracing::error!(error = &error as &dyn std::error::Error, path, "the store is not safe any more");
            self.honours_create.store(false, Ordering::Release);
        }
    }

    async fn sweep_for(self: Arc<Self>, epoch: u64) {
        match self.takes_epoch(Job::Sweep, epoch).await {
            Ok(true) => self.prove_again(&self.path(ObjectName::Epoch(Job::Sweep, epoch))).await,
            Ok(false) => {
                tracing::debug!("the epoch is not this node's to sweep");
                return;
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no sweep in this epoch");
                return;
            }
        }
        match self.sweep().await {
            Ok(report) => tracing::debug!(?report, "swept"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the sweep did not complete")
            }
        }
    }
}
