//! Collecting garbage: deleting what no transaction can reach any more (I8), decided by the store's clock alone.
//!
//! No node is asked and none has to agree, so a dead one never holds anything up. Every deletion is idempotent and the collector
//! can die anywhere. The order matters in four places: the store's time is taken before anything is listed, so that what was listed
//! is at least that new; a checkpoint is read before what went before it is deleted ([`proof`]); an old manifest goes before
//! what only it needs, so that one which is still there is whole; and values are taken for orphans only by a manifest that was read
//! after their decisions were found missing (HAZARDS 1).
//!
//! Rules judge by dates and lists, and both may be wrong. So all that is about to be deleted is compared with what is surely
//! [`needed`], and listings with what they must show. What is damaged is named in the report, and what does not depend on it goes on.

mod explain;
mod feed;
mod guards;
pub(in crate::node) mod needed;
mod outcomes;
pub(in crate::node) mod proof;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures::{FutureExt, StreamExt, TryStreamExt};
use tracing::field::Empty;

pub use explain::GarbageExplanation;
pub use report::{GarbageClass, GarbageKind, GarbageReport};

use self::needed::{Needed, is_damage};
use crate::error::{Error, ErrorKind};
use crate::format::garbage::Garbage;
use crate::format::manifest::Manifest;
use crate::format::name::{CHECKPOINTS, EPOCHS, FileId, GARBAGE, INDEX, ObjectName, RECENT, ValueName};
use crate::node::spans::{OK, noted};
use crate::node::store::retry_read;
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::collect::{garbage_may_go, manifest_may_go};
use crate::protocol::timeliness::StoreTime;
use crate::storage::{ObjectInfo, StorageError};
use crate::txn_id::TxnId;

/// A collection under way.
pub(super) struct Collection<'a> {
    pub(super) node: &'a Arc<Node>,
    pub(super) dry_run: bool,
    /// The store's time, known before anything was listed.
    pub(super) now: StoreTime,
    pub(super) report: GarbageReport,
    /// In a dry run: what would be gone by now.
    gone: BTreeSet<String>,
    /// What commits need that no index holds.
    pub(super) needed: Needed,
    /// Recent files whose commits are in `needed`.
    recent_read: BTreeSet<FileId>,
    /// Values that rows name although a list calls them garbage.
    named: Arc<HashSet<(TxnId, ValueName)>>,
    /// Whether the settled checkpoint was found whole, where it was read.
    proven: Option<bool>,
    /// The decisions that were listed and are not deleted, with their lengths.
    pub(super) decided: BTreeMap<TxnId, u64>,
    /// Lists of garbage that stay.
    pending: Vec<ObjectInfo>,
    /// The files of outcomes, with their numbers.
    outcome_files: Vec<(u64, FileId, ObjectInfo)>,
    /// What a rule would have let go and is needed: how many of each class, and the first.
    refused: BTreeMap<GarbageKind, (u64, String)>,
    /// The object that somebody asks about.
    watched: Option<explain::Watched>,
}

/// How reading a list of objects ended.
enum Read {
    Whole(Garbage),
    Gone,
    Damaged,
}

/// The manifests that are there, by number.
#[derive(Default)]
pub(super) struct Manifests {
    /// Those that count.
    pub(super) all: BTreeMap<u64, Manifest>,
    /// Those that count for nobody, being void or in need of a damaged file, but are there.
    aside: BTreeMap<u64, Manifest>,
    /// Whether one of these needs a damaged file.
    pub(super) damaged: bool,
    /// Whether any cannot be read: it may name anything.
    unreadable: bool,
    /// The objects of all manifests.
    listed: Vec<(u64, ObjectInfo)>,
    /// What says of manifests that they landed in time.
    seals: Vec<(u64, ObjectInfo)>,
    /// What manifests named that this collection deleted.
    dropped: BTreeSet<String>,
    /// The newest that is older than any running transaction.
    pub(super) settled: Option<u64>,
}

impl Manifests {
    /// The horizon of the newest manifest that is older than any running transaction.
    fn settled_horizon(&self) -> Option<StoreTime> {
        self.settled.and_then(|number| self.all.get(&number)).map(|manifest| StoreTime(manifest.horizon))
    }
}

impl Node {
    /// Deletes what no transaction can reach any more; in a dry run only says what that is.
    pub(crate) async fn collect_garbage(self: &Arc<Self>, dry_run: bool) -> Result<GarbageReport, Error> {
        let span =
            tracing::info_span!("aft.collect", dry_run, objects = Empty, bytes = Empty, outcome = Empty);
        let collected = noted(span, self.collect(dry_run), |span, report: &GarbageReport| {
            let bytes: u64 = report.classes.values().map(|class| class.bytes).sum();
            span.record("objects", report.objects()).record("bytes", bytes);
            OK
        });
        collected.await
    }

    async fn collect(self: &Arc<Self>, dry_run: bool) -> Result<GarbageReport, Error> {
        let mut collection = self.collection(dry_run).await?;
        collection.run().await?;
        collection.report.keeps_versions = self.store.keeps_versions();
        if !dry_run && collection.report.keeps_versions && collection.report.objects() > 0 {
            tracing::warn!(
                "the store keeps versions of what was collected: it frees nothing until a lifecycle rule expires noncurrent versions"
            );
        }
        tracing::info!(report = ?collection.report, "collected garbage");
        Ok(collection.report)
    }

    /// A collection that has not begun, with the store's time to judge by.
    async fn collection(self: &Arc<Self>, dry_run: bool) -> Result<Collection<'_>, Error> {
        if !dry_run {
            self.check_writable()?;
        }
        self.check_dates().await?;
        self.known.look_again();
        self.refresh().await?;
        let now = self.store_time().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "the store's time is not known yet; try again")
        })?;
        self.check_time(now)?;
        let report = GarbageReport {
            dry_run,
            now: Some(UNIX_EPOCH + Duration::from_secs(now.0)),
            ..GarbageReport::default()
        };
        Ok(Collection {
            node: self,
            dry_run,
            now,
            report,
            gone: BTreeSet::new(),
            needed: Needed::default(),
            recent_read: BTreeSet::new(),
            named: Arc::default(),
            proven: None,
            decided: BTreeMap::new(),
            pending: Vec::new(),
            outcome_files: Vec::new(),
            refused: BTreeMap::new(),
            watched: None,
        })
    }

    /// Refuses where the store's newest date, by which everything is judged, is later than this node's clock can explain: one object with
    /// a wrong date would make everything look old. A date far behind is that of a quiet store, and only delays.
    fn check_time(&self, newest: StoreTime) -> Result<(), Error> {
        let now = self.now();
        let skewed = self.known.read(|known| known.skewed_by(now, Some(newest)));
        let Some(by) = skewed.filter(|_| !planted(Planted::CollectByAnyTime)) else { return Ok(()) };
        let (by, side) = (by.unsigned_abs(), if by > 0 { "ahead of" } else { "behind" });
        let (bound, newest) = (self.limits.skew_ms, newest.0);
        Err(Error::new(
            ErrorKind::ClockSkew,
            format!(
                "nothing was collected: this machine's clock is at least {by} ms {side} the store's newest date, {newest} s after 1970, and {bound} ms are allowed; mend the clock, or find the object that is dated wrongly and delete it"
            ),
        ))
    }
}

impl Collection<'_> {
    /// All of it; what manifests are left.
    async fn run(&mut self) -> Result<Manifests, Error> {
        let mut manifests = self.manifests().await?;
        self.report.settled_checkpoint = manifests.settled;
        if manifests.unreadable {
            self.leave_out(
                "everything but epochs and claims, since what the damaged checkpoint needs is not known"
                    .into(),
            );
            self.claims().await?;
            self.epochs().await?;
            return Ok(manifests);
        }
        self.need_view();
        let feed = self.list_feed(&manifests).await?;
        self.list_decisions().await?;
        self.expect_decisions().await?;
        self.list_outcomes().await?;
        self.settle(&mut manifests).await?;
        self.feed(&manifests, feed).await?;
        self.bundles(&manifests).await?;
        self.files(&manifests, RECENT, GarbageKind::RecentFiles).await?;
        self.files(&manifests, INDEX, GarbageKind::RunFiles).await?;
        self.guards(&manifests).await?;
        let claims_done = self.claims().await?;
        self.outcomes(&manifests, claims_done).await?;
        self.orphans(&manifests).await?;
        self.tell_refused();
        self.epochs().await?;
        Ok(manifests)
    }

    /// Reads every manifest.
    async fn manifests(&mut self) -> Result<Manifests, Error> {
        let mut manifests = Manifests::default();
        // Before the listing: what this node builds on only since then need not be in it.
        let built_on = self.node.known.base().number();
        for object in self.list(CHECKPOINTS, |_| true).await? {
            match ObjectName::parse(&object.path, self.node.shards) {
                Some(ObjectName::Checkpoint(number)) => manifests.listed.push((number, object)),
                Some(ObjectName::Seal(number)) => {
                    self.node.known.write(|known| known.note_sealed(number));
                    manifests.seals.push((number, object));
                }
                _ => {}
            }
        }
        manifests.listed.sort_unstable_by_key(|(number, _)| *number);
        self.expect_manifest(&manifests, built_on).await?;
        for (number, object) in manifests.listed.clone() {
            let sealed = manifests.seals.iter().any(|(listed, _)| *listed == number);
            match self.node.manifest_listed(number, sealed).await {
                Ok(Some((manifest, _))) => {
                    if self.node.limits.settles(StoreTime::of(object.last_modified), self.now) {
                        manifests.settled = manifests.settled.max(Some(number));
                    }
                    manifests.all.insert(number, manifest);
                }
                Ok(None) => self.set_aside(number, &object, &mut manifests).await?,
                Err(error) if is_damage(&error) => {
                    self.leave_out(format!("checkpoint {number}: {error}"));
                    manifests.damaged = true;
                    self.set_aside(number, &object, &mut manifests).await?;
                }
                Err(error) => return Err(error),
            }
        }
        self.expect_all_manifests(&manifests).await?;
        Ok(manifests)
    }

    /// Reads a manifest that counts for nobody: what it names stays as long as it is there.
    async fn set_aside(&self, number: u64, object: &ObjectInfo, to: &mut Manifests) -> Result<(), Error> {
        let path = &object.path;
        let read = match retry_read(&self.node.rng, || self.node.store.get_sized(path, object.size)).await {
            Ok(read) => read,
            // Another collector was here: it is as if it had not been listed.
            Err(StorageError::NotFound { .. }) => {
                to.listed.retain(|(listed, _)| *listed != number);
                return Ok(());
            }
            Err(error) if error.is_too_large().is_some() => {
                to.unreadable = true;
                return Ok(());
            }
            Err(error) => return Err(Error::storage(format_args!("reading {path:?}"), error)),
        };
        match Manifest::decode(&read.bytes) {
            Ok(manifest) if manifest.number == number && manifest.store_id == self.node.marker.store_id => {
                to.aside.insert(number, manifest);
            }
            _ => to.unreadable = true,
        }
        Ok(())
    }

    /// Deletes manifests that nobody can begin from any more, and what only they needed: of each manifest that settled, oldest first,
    /// first all before it, then what its list says is garbage. So a manifest that is there is whole, and a list is there
    /// until everything in it is gone. But first the settled one is read: once this is done, nothing can stand in for it.
    async fn settle(&mut self, manifests: &mut Manifests) -> Result<(), Error> {
        let mut lists: BTreeMap<FileId, ObjectInfo> = BTreeMap::new();
        for object in self.list(GARBAGE, |_| true).await? {
            if let Some(ObjectName::Garbage(id)) = ObjectName::parse(&object.path, self.node.shards) {
                lists.insert(id, object);
            }
        }
        self.expect_lists(manifests, &lists).await?;
        let mut due = BTreeMap::new();
        let settled = manifests.settled.unwrap_or(0);
        for (number, manifest) in &manifests.all {
            let Some(list) = manifest.garbage.as_ref().and_then(|garbage| lists.remove(&garbage.id)) else {
                continue;
            };
            if garbage_may_go(*number, settled) || planted(Planted::CollectGarbageEarly) {
                due.insert(*number, list);
            } else {
                self.pending.push(list);
            }
        }
        let old = manifests.listed.iter().any(|(number, _)| manifest_may_go(*number, settled));
        if !due.is_empty() || old {
            self.work_off(manifests, due).await?;
        }
        self.report.class(GarbageKind::GarbageLists).kept += self.pending.len() as u64;
        self.report.class(GarbageKind::Manifests).kept += manifests.listed.len() as u64;
        // What is left is named by no manifest that counts: it may be a checkpoint's that is under way.
        let in_use = self.in_use(manifests);
        let (old, young): (Vec<_>, Vec<_>) = lists
            .into_values()
            .partition(|object| !in_use.contains(&object.path) && self.is_unreferenced(manifests, object));
        self.report.class(GarbageKind::GarbageLists).kept += young.len() as u64;
        self.delete(GarbageKind::GarbageLists, old).await
    }

    /// Deletes old manifests and what these lists name, by number of their manifests.
    async fn work_off(
        &mut self,
        manifests: &mut Manifests,
        due: BTreeMap<u64, ObjectInfo>,
    ) -> Result<(), Error> {
        let (mut damaged, mut numbers, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for (number, object) in due {
            match self.read_list(&object).await? {
                Read::Whole(garbage) => {
                    numbers.push((number, object));
                    lists.push(garbage);
                }
                // Another collector was here.
                Read::Gone => {}
                Read::Damaged => damaged.push(object),
            }
        }
        let proven = self.prove(manifests, &lists, damaged.is_empty()).await?;
        self.pending.extend(damaged);
        if !proven {
            self.pending.extend(numbers.into_iter().map(|(_, object)| object));
            return Ok(());
        }
        let mut lists = numbers.into_iter().zip(lists);
        for ((number, object), garbage) in lists.by_ref() {
            let list = manifests.all.get(&number).and_then(|it| it.garbage).map(|it| it.id);
            self.delete_manifests(manifests, number).await?;
            if !self.empty(garbage).await? {
                // Its manifest stays, so that the rest is found again: a list without a manifest is nobody's.
                self.pending.push(object);
                self.pending.extend(lists.map(|((_, object), _)| object));
                return Ok(());
            }
            self.delete(GarbageKind::GarbageLists, vec![object]).await?;
            self.node.worked_off.lock().extend(list.filter(|_| !self.dry_run));
        }
        self.delete_manifests(manifests, u64::MAX).await
    }

    /// Deletes the manifests below this number that may go.
    async fn delete_manifests(&mut self, manifests: &mut Manifests, below: u64) -> Result<(), Error> {
        let least = manifests.settled.unwrap_or(0).min(below);
        // Seals first: none is left for a manifest that could land once more.
        let seals = manifests.seals.extract_if(.., |(number, _)| manifest_may_go(*number, least));
        let seals = seals.map(|(_, object)| object).collect();
        self.delete(GarbageKind::Manifests, seals).await?;
        let old = manifests.listed.extract_if(.., |(number, _)| manifest_may_go(*number, least));
        let old: Vec<_> = old.collect();
        if old.is_empty() {
            return Ok(());
        }
        let numbers: BTreeSet<_> = old.iter().map(|(number, _)| *number).collect();
        let gone = manifests.all.iter().filter(|(number, _)| numbers.contains(number));
        let files: Vec<_> = gone.flat_map(|(_, manifest)| manifest.objects()).collect();
        manifests.dropped.extend(files.into_iter().map(|name| self.node.path(name)));
        self.forget_outcome_lists(manifests, &numbers).await?;
        self.delete(GarbageKind::Manifests, old.into_iter().map(|(_, object)| object).collect()).await?;
        manifests.all.retain(|number, _| !numbers.contains(number));
        manifests.aside.retain(|number, _| !numbers.contains(number));
        Ok(())
    }

    /// Reads a list of objects.
    async fn read_list(&mut self, object: &ObjectInfo) -> Result<Read, Error> {
        let path = &object.path;
        match retry_read(&self.node.rng, || self.node.store.get_sized(path, object.size)).await {
            Ok(read) => match Garbage::decode(&read.bytes).map_err(|cause| format_error(path, cause)) {
                Ok(garbage) => Ok(Read::Whole(garbage)),
                Err(error) => {
                    self.leave_out(format!("what a list names, which cannot be read: {error}"));
                    Ok(Read::Damaged)
                }
            },
            Err(StorageError::NotFound { .. }) => Ok(Read::Gone),
            Err(error) => {
                let too_large = error.is_too_large().is_some();
                let error = Error::storage(format_args!("reading {path:?}"), error);
                if !too_large {
                    return Err(error);
                }
                self.leave_out(format!("what a list names, which cannot be read: {error}"));
                Ok(Read::Damaged)
            }
        }
    }

    /// Deletes what a list names; whether that was all that will ever be garbage by it. (A value that a row names is found again when that
    /// row is superseded.)
    async fn empty(&mut self, garbage: Garbage) -> Result<bool, Error> {
        let node = Arc::clone(self.node);
        let mut all = true;
        let (mut decisions, mut values) = (Vec::new(), Vec::new());
        for id in garbage.decisions {
            let path = node.path(ObjectName::Decision(id));
            // No list has an id that could still commit.
            if self.needed.has_decision(id) || !node.limits.is_forgotten(id.start_ms(), self.now) {
                self.refuse(GarbageKind::FoldedDecisions, path);
                all = false;
            } else {
                self.decided.remove(&id);
                decisions.push(path);
            }
        }
        for (txn, value) in garbage.values {
            let path = node.path(ObjectName::Value(txn, value));
            if self.needed.has_value(txn, value) {
                self.refuse(GarbageKind::SupersededValues, path);
                all = false;
            } else if self.named.contains(&(txn, value)) {
                self.refuse(GarbageKind::SupersededValues, path);
            } else {
                values.push(path);
            }
        }
        self.watch(GarbageKind::FoldedDecisions, decisions.iter().map(String::as_str));
        self.watch(GarbageKind::SupersededValues, values.iter().map(String::as_str));
        self.report.class(GarbageKind::FoldedDecisions).objects += decisions.len() as u64;
        self.report.class(GarbageKind::SupersededValues).objects += values.len() as u64;
        self.delete_paths(&values).await?;
        self.delete_paths(&decisions).await?;
        Ok(all)
    }

    /// Files that no manifest names which is there. It may be a checkpoint's that is under way: so it must be too old for that as well.
    async fn files(&mut self, manifests: &Manifests, folder: &str, kind: GarbageKind) -> Result<(), Error> {
        let in_use = self.in_use(manifests);
        let unused = self
            .list_sorted(folder, |object| {
                !in_use.contains(&object.path) && self.is_unreferenced(manifests, object)
            })
            .await?;
        let unused = self.count_kept(kind, unused);
        self.delete(kind, unused).await
    }

    /// What the manifests name that are there, void ones too.
    fn in_use(&self, manifests: &Manifests) -> BTreeSet<String> {
        let aside = manifests.aside.values().filter(|_| !planted(Planted::ForgetVoidManifests));
        let all = manifests.all.values().chain(aside);
        all.flat_map(Manifest::objects).map(|name| self.node.path(name)).collect()
    }

    /// Whether a file that no manifest names cannot be one of a checkpoint under way either, nor of one that the listing of the
    /// checkpoints did not show: that was begun after the newest full one that it did show, and so its files are newer. It builds on one of them, and takes over nothing
    /// that those left behind which were deleted.
    pub(super) fn is_unreferenced(&self, manifests: &Manifests, object: &ObjectInfo) -> bool {
        let dated = StoreTime::of(object.last_modified);
        let newest = manifests.all.values().next_back();
        let by_light = planted(Planted::FilesByLightOnes);
        let begun = newest.map(|newest| StoreTime(if by_light { newest.begun } else { newest.full_begun }));
        planted(Planted::CollectFilesEarly)
            || self.node.limits.unreferenced_file_may_go(dated, self.now)
                && (planted(Planted::TrustListings)
                    || manifests.dropped.contains(&object.path)
                    || begun.is_some_and(|begun| self.node.limits.is_before(dated, begun)))
    }

    async fn epochs(&mut self) -> Result<(), Error> {
        let (limits, now) = (self.node.limits, self.now);
        let over = |object: &ObjectInfo| limits.epoch_may_go(StoreTime::of(object.last_modified), now);
        let epochs = self.list_sorted(EPOCHS, over).await?;
        let epochs = self.count_kept(GarbageKind::Epochs, epochs);
        self.delete(GarbageKind::Epochs, epochs).await
    }

    /// Every decision that is there.
    async fn list_decisions(&mut self) -> Result<(), Error> {
        for folder in self.node.shards.commit_folders() {
            for object in self.list(&folder, |_| true).await? {
                if let Some(ObjectName::Decision(id)) = ObjectName::parse(&object.path, self.node.shards) {
                    self.decided.insert(id, object.size);
                }
            }
        }
        Ok(())
    }

    /// The objects of a folder that may go, and how many others there are.
    pub(super) async fn list_sorted(
        &self,
        folder: &str,
        may_go: impl Fn(&ObjectInfo) -> bool + Send + Sync,
    ) -> Result<(Vec<ObjectInfo>, u64), Error> {
        let kept = std::sync::atomic::AtomicU64::new(0);
        let listed = self
            .list(folder, |object| {
                let goes = may_go(object) && ObjectName::parse(&object.path, self.node.shards).is_some();
                if !goes {
                    kept.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
                goes
            })
            .await?;
        Ok((listed, kept.into_inner()))
    }

    fn count_kept(&mut self, kind: GarbageKind, (old, kept): (Vec<ObjectInfo>, u64)) -> Vec<ObjectInfo> {
        self.report.class(kind).kept += kept;
        old
    }

    /// Leaves something out because what it depends on is missing or damaged.
    pub(super) fn leave_out(&mut self, what: String) {
        self.report.is_damaged = true;
        self.leave_for_later(what);
    }

    /// Leaves something out that the next collection, or another one at work, sees to.
    pub(super) fn leave_for_later(&mut self, what: String) {
        if !self.report.left_out.contains(&what) {
            tracing::warn!(what, "left out of the collection");
            self.report.left_out.push(what);
        }
    }

    pub(super) async fn list(
        &self,
        folder: &str,
        keep: impl Fn(&ObjectInfo) -> bool + Send + Sync,
    ) -> Result<Vec<ObjectInfo>, Error> {
        let keep = |object: &ObjectInfo| !self.gone.contains(&object.path) && keep(object);
        retry_read(&self.node.rng, || self.node.store.list_where(folder, None, &keep))
            .await
            .map_err(|error| Error::storage(format_args!("listing {folder:?}"), error))
    }

    pub(super) async fn delete(&mut self, kind: GarbageKind, objects: Vec<ObjectInfo>) -> Result<(), Error> {
        self.watch(kind, objects.iter().map(|object| object.path.as_str()));
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
                retry_read(&node.rng, || node.store.delete(batch))
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
