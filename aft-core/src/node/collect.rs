//! Collecting garbage: deleting what no transaction can reach any more (I8), decided by the store's clock alone.
//!
//! No node is asked and none has to agree, so a dead one never holds anything up. Every deletion is idempotent and the collector
//! can die anywhere. The order matters in three places: the store's time is taken before anything is listed, so that what was listed
//! is at least that new; an old manifest goes before what only it needs, so that one which is still there is whole; and
//! values are taken for orphans only by a manifest that was read after their decisions were found missing (HAZARDS 1).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{FutureExt, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::format::garbage::Garbage;
use crate::format::manifest::Manifest;
use crate::format::name::{CHECKPOINTS, EPOCHS, FEED, FileId, GARBAGE, INDEX, ObjectName, RECENT};
use crate::node::store::patiently;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::collect::{garbage_may_go, manifest_may_go};
use crate::protocol::timeliness::StoreTime;
use crate::storage::{ObjectInfo, StorageError};
use crate::txn_id::TxnId;

/// A class of garbage, named by what was collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GarbageKind {
    /// Decisions whose commits are in the index.
    FoldedDecisions,
    /// Values that newer versions superseded.
    SupersededValues,
    /// Lists of the two above, once everything in them is deleted, and those of checkpoints that never came to be.
    GarbageLists,
    /// Manifests that a newer one replaced.
    Manifests,
    /// Feed objects whose commits are in the index, and those that landed late.
    FeedObjects,
    /// Files of recent commits that no manifest names.
    RecentFiles,
    /// Files of sorted runs that no manifest names.
    RunFiles,
    /// Claims of request keys whose outcome need not be remembered any longer.
    Claims,
    /// Decisions that need not be remembered any longer: aborts, void ones, those of requests.
    Outcomes,
    /// Values of transactions that never committed.
    OrphanValues,
    /// Objects by which nodes shared out background work.
    Epochs,
}

impl GarbageKind {
    /// Why objects of this class may go.
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::FoldedDecisions => "the commit is in the index, and its id is too old to commit again",
            Self::SupersededValues => "every running transaction knows the newer version",
            Self::GarbageLists => "everything in it is deleted, or its checkpoint never came to be",
            Self::Manifests => "a newer checkpoint is older than any running transaction",
            Self::FeedObjects => {
                "a checkpoint older than any running transaction has its commits in the index"
            }
            Self::RecentFiles | Self::RunFiles => {
                "no checkpoint that anyone can still read through names it, and none under way can"
            }
            Self::Claims => "the request committed longer ago than outcome_retention",
            Self::Outcomes => "decided longer ago than outcome_retention",
            Self::OrphanValues => "no decision and no row names it, and its transaction can never commit",
            Self::Epochs => "the epoch is over",
        }
    }
}

/// One class of a [`GarbageReport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GarbageClass {
    /// Objects deleted; in a dry run, to be deleted.
    pub objects: u64,
    /// Their bytes, as far as listings told them.
    pub bytes: u64,
    /// Objects of this kind that stay.
    pub kept: u64,
}

/// What a collection of garbage did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GarbageReport {
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// The store's time that everything was judged by.
    pub now: Option<SystemTime>,
    /// The checkpoint that is older than any running transaction, by which most is judged; `None` where there is none yet, and
    /// then most things stay.
    pub settled_checkpoint: Option<u64>,
    /// Each class that there is anything of.
    pub classes: BTreeMap<GarbageKind, GarbageClass>,
    /// Why a class was left out this time.
    pub left_out: Vec<String>,
}

impl GarbageReport {
    /// Objects of all classes that were deleted, or would be.
    #[must_use]
    pub fn objects(&self) -> u64 {
        self.classes.values().map(|class| class.objects).sum()
    }

    pub(super) fn class(&mut self, kind: GarbageKind) -> &mut GarbageClass {
        self.classes.entry(kind).or_default()
    }
}

/// A collection under way.
pub(super) struct Collection<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) dry_run: bool,
    /// The store's time, known before anything was listed.
    pub(super) now: StoreTime,
    pub(super) report: GarbageReport,
    /// In a dry run: what would be gone by now.
    gone: BTreeSet<String>,
}

/// The manifests that are there and count, by number.
pub(super) struct Manifests {
    pub(super) all: BTreeMap<u64, Manifest>,
    /// The objects of all manifests, void ones too.
    listed: Vec<(u64, ObjectInfo)>,
    /// Their seals.
    seals: Vec<(u64, ObjectInfo)>,
    /// The newest that is older than any running transaction.
    pub(super) settled: Option<u64>,
}

impl Node {
    /// Deletes what no transaction can reach any more; in a dry run only says what that is.
    pub(crate) async fn collect_garbage(self: &Arc<Self>, dry_run: bool) -> Result<GarbageReport, Error> {
        if !dry_run {
            self.check_writable()?;
        }
        self.check_dates().await?;
        self.known.lock().look = true;
        self.refresh().await?;
        let now = self.store_time().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "the store's time is not known yet; try again")
        })?;
        let report = GarbageReport {
            dry_run,
            now: Some(UNIX_EPOCH + Duration::from_secs(now.0)),
            ..GarbageReport::default()
        };
        let mut collection = Collection { node: self, dry_run, now, report, gone: BTreeSet::new() };
        collection.run().await?;
        tracing::info!(report = ?collection.report, "collected garbage");
        Ok(collection.report)
    }
}

impl Collection<'_> {
    async fn run(&mut self) -> Result<(), Error> {
        let manifests = self.manifests().await?;
        self.report.settled_checkpoint = manifests.settled;
        self.settle(&manifests).await?;
        self.feed(&manifests).await?;
        self.files(&manifests, RECENT, GarbageKind::RecentFiles).await?;
        self.files(&manifests, INDEX, GarbageKind::RunFiles).await?;
        let claims_done = self.claims().await?;
        let decided = self.outcomes(&manifests, claims_done).await?;
        self.orphans(&manifests, &decided).await?;
        self.epochs().await
    }

    /// Reads every manifest. One that cannot be read stops the collection: it may name anything.
    async fn manifests(&self) -> Result<Manifests, Error> {
        let listed = self.list(CHECKPOINTS, |_| true).await?;
        let mut seals = Vec::new();
        let listed: Vec<_> = listed
            .into_iter()
            .filter_map(|object| match ObjectName::parse(&object.path, self.node.shards) {
                Some(ObjectName::Checkpoint(number)) => Some((number, object)),
                Some(ObjectName::Seal(number)) => {
                    self.node.known.lock().sealed.insert(number);
                    seals.push((number, object));
                    None
                }
                _ => None,
            })
            .collect();
        let mut all = BTreeMap::new();
        let mut settled = None;
        for (number, object) in &listed {
            let found = self.node.manifest(*number).await.map_err(|error| {
                error.wrapped(
                    "nothing was collected: a checkpoint cannot be read, and what it needs is not known",
                )
            })?;
            if let Some((manifest, _)) = found {
                if self.node.limits.settles(StoreTime::of(object.last_modified), self.now) {
                    settled = settled.max(Some(*number));
                }
                all.insert(*number, manifest);
            }
        }
        Ok(Manifests { all, listed, seals, settled })
    }

    /// Deletes manifests that nobody can begin from any more, and what only they needed: of each manifest that settled, oldest first,
    /// first all before it, then what its list says is garbage. So a manifest that is there is whole, and a list is there
    /// until everything in it is gone.
    async fn settle(&mut self, manifests: &Manifests) -> Result<(), Error> {
        let mut lists: BTreeMap<FileId, ObjectInfo> = BTreeMap::new();
        for object in self.list(GARBAGE, |_| true).await? {
            if let Some(ObjectName::Garbage(id)) = ObjectName::parse(&object.path, self.node.shards) {
                lists.insert(id, object);
            }
        }
        let settled = manifests.settled.unwrap_or(0);
        let (mut seals, mut listed) = (manifests.seals.clone(), manifests.listed.clone());
        for (number, manifest) in &manifests.all {
            let list = manifest.garbage.as_ref().and_then(|garbage| lists.remove(&garbage.id));
            if !garbage_may_go(*number, settled) && !planted(Planted::CollectGarbageEarly) {
                self.report.class(GarbageKind::GarbageLists).kept += u64::from(list.is_some());
                continue;
            }
            let may_go = |(other, _): &mut (u64, _)| manifest_may_go(*other, settled.min(*number));
            // A seal goes first: none is left for a manifest that could land once more.
            for objects in [&mut seals, &mut listed] {
                let old = objects.extract_if(.., may_go).map(|(_, object)| object).collect();
                self.delete(GarbageKind::Manifests, old).await?;
            }
            if let Some(list) = list {
                if let Some(garbage) = self.garbage(&list).await? {
                    self.empty(garbage).await?;
                }
                self.delete(GarbageKind::GarbageLists, vec![list]).await?;
            }
        }
        self.report.class(GarbageKind::Manifests).kept += listed.len() as u64;
        // What is left is named by no manifest: it may be a checkpoint's that is under way.
        let (old, young): (Vec<_>, Vec<_>) =
            lists.into_values().partition(|object| is_unreferenced(self.node, object, self.now));
        self.report.class(GarbageKind::GarbageLists).kept += young.len() as u64;
        self.delete(GarbageKind::GarbageLists, old).await
    }

    async fn garbage(&self, object: &ObjectInfo) -> Result<Option<Garbage>, Error> {
        let path = &object.path;
        match patiently(&self.node.rng, || self.node.store.get_sized(path, object.size)).await {
            Ok(read) => Garbage::decode(&read.bytes).map(Some).map_err(|cause| format_error(path, cause)),
            // Another collector was here.
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::storage(format_args!("reading {path:?}"), error)),
        }
    }

    async fn empty(&mut self, garbage: Garbage) -> Result<(), Error> {
        let path = |name: ObjectName| self.node.path(name);
        let decisions: Vec<_> =
            garbage.decisions.into_iter().map(|id| path(ObjectName::Decision(id))).collect();
        let values: Vec<_> =
            garbage.values.into_iter().map(|(txn, value)| path(ObjectName::Value(txn, value))).collect();
        self.report.class(GarbageKind::FoldedDecisions).objects += decisions.len() as u64;
        self.report.class(GarbageKind::SupersededValues).objects += values.len() as u64;
        self.delete_paths(&values).await?;
        self.delete_paths(&decisions).await
    }

    async fn feed(&mut self, manifests: &Manifests) -> Result<(), Error> {
        let settled = manifests.settled.and_then(|number| manifests.all.get(&number));
        let horizon = if planted(Planted::CollectFeedEarly) {
            manifests.all.values().last().map_or(StoreTime(0), |it| StoreTime(it.basis))
        } else {
            settled.map_or(StoreTime(0), |manifest| StoreTime(manifest.horizon))
        };
        let limits = self.node.limits;
        let old = |object: &ObjectInfo| limits.feed_may_go(StoreTime::of(object.last_modified), horizon);
        let feed = self.list_and_count(FEED, GarbageKind::FeedObjects, old).await?;
        self.delete(GarbageKind::FeedObjects, feed).await
    }

    /// Files that no manifest names which anyone can still read through. One that no manifest names at all may be a checkpoint's
    /// that is under way: so it must be too old for that as well.
    async fn files(&mut self, manifests: &Manifests, folder: &str, kind: GarbageKind) -> Result<(), Error> {
        let settled = manifests.settled.unwrap_or(0);
        let in_use: BTreeSet<String> = manifests
            .all
            .range(settled..)
            .flat_map(|(_, manifest)| manifest.objects())
            .map(|name| self.node.path(name))
            .collect();
        let (node, now) = (Arc::clone(self.node), self.now);
        let unused =
            |object: &ObjectInfo| !in_use.contains(&object.path) && is_unreferenced(&node, object, now);
        let unused = self.list_and_count(folder, kind, unused).await?;
        self.delete(kind, unused).await
    }

    /// Decisions that are old enough to be forgotten for good; returns the ids of those that stay. Not before the claims that lead to
    /// them are gone.
    async fn outcomes(&mut self, manifests: &Manifests, claims_done: bool) -> Result<BTreeSet<TxnId>, Error> {
        let settled_ms = manifests.all.values().last().map_or(0, |manifest| manifest.settled_ms);
        let retention = self.node.marker.settings.outcome_retention_ms;
        let may_go = |id: TxnId| {
            claims_done && self.node.limits.outcome_may_go(id.start_ms(), self.now, retention, settled_ms)
        };
        let folders: Vec<_> = self.node.shards.commit_folders().collect();
        let (mut old, mut kept) = (Vec::new(), BTreeSet::new());
        for folder in folders {
            for object in self.list(&folder, |_| true).await? {
                match ObjectName::parse(&object.path, self.node.shards) {
                    Some(ObjectName::Decision(id)) if may_go(id) => old.push(object),
                    Some(ObjectName::Decision(id)) => {
                        kept.insert(id);
                    }
                    _ => {}
                }
            }
        }
        self.report.class(GarbageKind::Outcomes).kept += kept.len() as u64;
        self.delete(GarbageKind::Outcomes, old).await?;
        Ok(kept)
    }

    async fn epochs(&mut self) -> Result<(), Error> {
        let (limits, now) = (self.node.limits, self.now);
        let over = |object: &ObjectInfo| limits.epoch_may_go(StoreTime::of(object.last_modified), now);
        let epochs = self.list_and_count(EPOCHS, GarbageKind::Epochs, over).await?;
        self.delete(GarbageKind::Epochs, epochs).await
    }

    /// The objects of a folder that may go; the others are counted as kept.
    async fn list_and_count(
        &mut self,
        folder: &str,
        kind: GarbageKind,
        may_go: impl Fn(&ObjectInfo) -> bool + Send + Sync,
    ) -> Result<Vec<ObjectInfo>, Error> {
        let kept = std::sync::atomic::AtomicU64::new(0);
        let listed = self
            .list(folder, |object| {
                let goes = ObjectName::parse(&object.path, self.node.shards).is_some() && may_go(object);
                if !goes {
                    kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                goes
            })
            .await?;
        self.report.class(kind).kept += kept.into_inner();
        Ok(listed)
    }

    pub(super) async fn list(
        &self,
        folder: &str,
        keep: impl Fn(&ObjectInfo) -> bool + Send + Sync,
    ) -> Result<Vec<ObjectInfo>, Error> {
        let keep = |object: &ObjectInfo| !self.gone.contains(&object.path) && keep(object);
        patiently(&self.node.rng, || self.node.store.list_where(folder, None, &keep))
            .await
            .map_err(|error| Error::storage(format_args!("listing {folder:?}"), error))
    }

    pub(super) async fn delete(&mut self, kind: GarbageKind, objects: Vec<ObjectInfo>) -> Result<(), Error> {
        let class = self.report.class(kind);
        class.objects += objects.len() as u64;
        class.bytes += objects.iter().map(|object| object.size).sum::<u64>();
        let paths: Vec<_> = objects.into_iter().map(|object| object.path).collect();
        self.delete_paths(&paths).await
    }

    pub(super) async fn delete_paths(&mut self, paths: &[String]) -> Result<(), Error> {
        if self.dry_run {
            self.gone.extend(paths.iter().cloned());
            return Ok(());
        }
        let node = self.node;
        let batches = paths.chunks(1000).map(|batch| {
            async move {
                patiently(&node.rng, || node.store.delete(batch))
                    .await
                    .map_err(|error| Error::storage("deleting garbage", error))
            }
            .boxed()
        });
        futures::stream::iter(batches.collect::<Vec<_>>())
            .buffer_unordered(self.node.config.parallel_requests)
            .try_for_each(|()| async { Ok(()) })
            .await
    }
}

/// Whether a file that no manifest names cannot be one of a checkpoint under way either.
fn is_unreferenced(node: &Node, object: &ObjectInfo, now: StoreTime) -> bool {
    planted(Planted::CollectFilesEarly)
        || node.limits.unreferenced_file_may_go(StoreTime::of(object.last_modified), now)
}
