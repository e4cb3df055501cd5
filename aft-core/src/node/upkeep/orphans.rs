//! Collecting orphan values: those of transactions that never committed.
//!
//! The decisions are listed first, then the newest manifest is read, then its files (HAZARDS 1): a decision that was collected before it
//! was missed had been folded into that manifest or an older one. A listing may hide the newest: so that one is asked for by its name at
//! last, and as long as it is there no decision was collected that only a newer one has folded. When the values themselves are listed
//! does not matter; they come last, folder by folder, so that no more than one folder's are held at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::manifest::{Manifest, RunFile};
use crate::format::name::{FileId, INDEX, ObjectName, ValueName};
use crate::node::store::retry_read;
use crate::node::upkeep::collect::needed::is_damage;
use crate::node::upkeep::collect::{Collection, GarbageKind, Manifests};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::clock_check::LocalTime;
use crate::storage::ObjectInfo;
use crate::txn_id::TxnId;

/// A value that no decision names.
struct Candidate {
    object: ObjectInfo,
    txn: TxnId,
    value: ValueName,
    /// Whether a row may name it.
    named: bool,
}

/// What rows may name values.
struct Index {
    base: Arc<Base>,
    files: BTreeMap<FileId, RunFile>,
    /// When it was asked for.
    read: LocalTime,
}

/// How a look at the index ended.
enum Named {
    FeedState,
    /// The files went meanwhile.
    Overtaken,
    /// What it names is not known.
    Damaged(Error),
}

impl Collection<'_> {
    /// Values whose transaction has no decision and can never commit, and which no row names of any manifest that stays: those of older
    /// ones that are superseded go with the garbage of the manifest that lost them, and until then the older ones are whole.
    pub(super) async fn orphans(&mut self, manifests: &Manifests) -> Result<(), Error> {
        // A checkpoint that the listing did not show has files all the same, and rows in them that may name anything.
        let trusted = planted(Planted::TrustListings) || planted(Planted::OrphansByOldIndex);
        if manifests.all.is_empty() && !trusted && self.has_files().await? {
            self.leave_out(
                "orphan values: there are files of an index, and no checkpoint that counts".into(),
            );
            return Ok(());
        }
        if manifests.damaged {
            self.leave_out("orphan values: what a damaged checkpoint names is not known".into());
            return Ok(());
        }
        let mut index = None;
        for folder in self.node.shards.value_folders() {
            let candidates = self.candidates(&folder).await?;
            if candidates.is_empty() {
                continue;
            }
            // Only now that the decisions are listed.
            let index = match &index {
                Some(index) => index,
                None => &*index.insert(self.index(manifests).await?),
            };
            if !self.orphans_among(candidates, index).await? {
                break;
            }
        }
        Ok(())
    }

    async fn has_files(&self) -> Result<bool, Error> {
        let any = retry_read(&self.node.rng, || self.node.store.find(INDEX, 1, |_| true)).await;
        let any = any.map_err(|error| Error::storage(format_args!("listing {INDEX:?}"), error))?;
        Ok(any.is_some())
    }

    /// The files of the newest manifest, and of those that stay.
    async fn index(&self, manifests: &Manifests) -> Result<Index, Error> {
        let read = self.node.now();
        if !planted(Planted::OrphansByOldIndex) {
            self.node.known.look_again();
            self.node.refresh().await?;
        }
        let base = self.node.known.base();
        let files = manifests.all.values().chain(base.manifest()).flat_map(Manifest::files);
        let files = files.map(|file| (file.id, file.clone())).collect();
        Ok(Index { base, files, read })
    }

    async fn candidates(&mut self, folder: &str) -> Result<Vec<Candidate>, Error> {
        let mut candidates = Vec::new();
        for object in self.list(folder, |_| true).await? {
            if let Some(ObjectName::Value(txn, value)) = ObjectName::parse(&object.path, self.node.shards) {
                let old = planted(Planted::CollectYoungValues)
                    || self.node.limits.orphan_value_may_go(txn.start_ms(), self.now);
                if old && !self.decided.contains_key(&txn) {
                    if self.needed.has_value(txn, value) {
                        self.refuse(GarbageKind::OrphanValues, object.path);
                    } else {
                        candidates.push(Candidate { object, txn, value, named: false });
                    }
                    continue;
                }
            }
            self.report.class(GarbageKind::OrphanValues).kept += 1;
        }
        Ok(candidates)
    }

    /// Collects those that no row names and that have no decision; `false` where the rest is for another time.
    async fn orphans_among(&mut self, mut candidates: Vec<Candidate>, index: &Index) -> Result<bool, Error> {
        let named = self.look_up(&mut candidates, index).await?;
        match &named {
            Named::FeedState => {}
            Named::Overtaken => self.leave_for_later("orphan values: another collection is at work".into()),
            Named::Damaged(error) => {
                self.leave_out(format!("orphan values, since what the index names is not known: {error}"));
            }
        }
        if !matches!(named, Named::FeedState) {
            self.report.class(GarbageKind::OrphanValues).kept += candidates.len() as u64;
            return Ok(false);
        }
        let named = |it: &Candidate| it.named && !planted(Planted::OrphansWithoutIndex);
        let (named, orphans): (Vec<_>, Vec<_>) = candidates.into_iter().partition(named);
        self.report.class(GarbageKind::OrphanValues).kept += named.len() as u64;
        let decided = self.decided_after_all(&orphans).await?;
        // A decision that was collected before it was asked for is in the index only if that was read shortly before.
        if self.node.now().elapsed_since(index.read) > self.node.limits.feed_kept_ms() {
            self.leave_for_later("orphan values: the rest is for the next collection".into());
            self.report.class(GarbageKind::OrphanValues).kept += orphans.len() as u64;
            return Ok(false);
        }
        let (decided, orphans): (Vec<_>, Vec<_>) =
            orphans.into_iter().partition(|it| decided.contains(&it.txn));
        decided.into_iter().for_each(|it| self.refuse(GarbageKind::OrphanValues, it.object.path));
        if !orphans.is_empty() && !self.is_still_there(&index.base).await? {
            self.leave_for_later(
                "orphan values: the checkpoint that this node builds on is gone, another collection is at work"
                    .into(),
            );
            self.report.class(GarbageKind::OrphanValues).kept += orphans.len() as u64;
            return Ok(false);
        }
        let orphans = orphans.into_iter().map(|it| it.object).collect();
        self.delete(GarbageKind::OrphanValues, orphans).await?;
        Ok(true)
    }

    /// Whether the manifest of this base is there: if it is not, a newer one has settled, and decisions that only that one folded may be gone.
    async fn is_still_there(&self, base: &Base) -> Result<bool, Error> {
        let trusted = planted(Planted::OrphansByOldIndex) || planted(Planted::OrphansByHiddenIndex);
        if base.number() == 0 || trusted {
            return Ok(true);
        }
        self.is_there(&self.node.path(ObjectName::Checkpoint(base.number()))).await
    }

    /// The transactions of these values that have a decision, although no listing showed it: asked for by its name.
    async fn decided_after_all(&self, orphans: &[Candidate]) -> Result<BTreeSet<TxnId>, Error> {
        let ids: BTreeSet<_> = orphans.iter().map(|it| it.txn).collect();
        if planted(Planted::TrustListings) {
            return Ok(BTreeSet::new());
        }
        let looks = ids.into_iter().map(|id| {
            async move {
                let there = self.is_there(&self.node.path(ObjectName::Decision(id))).await?;
                Ok::<_, Error>(there.then_some(id))
            }
            .boxed()
        });
        futures::stream::iter(looks.collect::<Vec<_>>())
            .buffer_unordered(self.node.config.parallel_requests)
            .try_filter_map(|id| async move { Ok(id) })
            .try_collect()
            .await
    }

    /// Marks those that a row may name.
    async fn look_up(&self, candidates: &mut [Candidate], index: &Index) -> Result<Named, Error> {
        for file in index.files.values() {
            let tail = match self.node.tail(&self.node.store, file).await {
                Ok(tail) => tail,
                Err(error) if self.is_overtaken(&error, file.id, &index.base).await? => {
                    return Ok(Named::Overtaken);
                }
                Err(error) if is_damage(&error) && !planted(Planted::NeverOvertaken) => {
                    return Ok(Named::Damaged(error));
                }
                Err(error) => return Err(error),
            };
            for candidate in &mut *candidates {
                candidate.named |= tail.may_name(candidate.txn, candidate.value);
            }
        }
        Ok(Named::FeedState)
    }

    /// Whether the manifest that named the file has gone since it was read: then the file may be gone, and nothing is wrong.
    async fn is_overtaken(&self, error: &Error, file: FileId, base: &Base) -> Result<bool, Error> {
        if error.kind() != ErrorKind::VersionUnavailable || planted(Planted::NeverOvertaken) {
            return Ok(false);
        }
        self.node.known.look_again();
        self.node.refresh().await?;
        let newest = self.node.known.base();
        let mut needed = newest.manifest().into_iter().flat_map(Manifest::files);
        Ok(newest.number() > base.number() || !needed.any(|needed| needed.id == file))
    }
}
