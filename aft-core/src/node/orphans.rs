//! Collecting orphan values: those of transactions that never committed.
//!
//! The decisions are listed first, then the newest manifest is read, then its files (HAZARDS 1): a decision that was collected before it
//! was missed had been folded into that manifest or an older one. When the values themselves are listed does not matter; they
//! come last, folder by folder, so that no more than one folder's are held at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::collect::{Collection, GarbageKind, Manifests};
use crate::error::{Error, ErrorKind};
use crate::format::manifest::{Manifest, RunFile};
use crate::format::name::{FileId, ObjectName, ValueName};
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
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
}

impl Collection<'_> {
    /// Values whose transaction has no decision and can never commit, and which no row names of any manifest that stays: those of older
    /// ones that are superseded go with the garbage of the manifest that lost them, and until then the older ones are whole.
    pub(super) async fn orphans(
        &mut self,
        manifests: &Manifests,
        decided: &BTreeSet<TxnId>,
    ) -> Result<(), Error> {
        let mut index = None;
        for folder in self.node.shards.value_folders() {
            let candidates = self.candidates(&folder, decided).await?;
            if candidates.is_empty() {
                continue;
            }
            // Only now that the decisions are listed.
            let index = match &index {
                Some(index) => index,
                None => &*index.insert(self.index(manifests).await?),
            };
            if !self.orphans_among(candidates, index).await? {
                self.report.left_out.push("orphan values: another collection is at work".into());
                break;
            }
        }
        Ok(())
    }

    /// The files of the newest manifest, and of those that stay.
    async fn index(&self, manifests: &Manifests) -> Result<Index, Error> {
        if !planted(Planted::OrphansByOldIndex) {
            self.node.known.lock().look = true;
            self.node.refresh().await?;
        }
        let base = Arc::clone(self.node.view.read().base());
        let stay = manifests.all.range(manifests.settled.unwrap_or(0)..).map(|(_, manifest)| manifest);
        let files = stay.chain(base.manifest()).flat_map(Manifest::files);
        let files = files.map(|file| (file.id, file.clone())).collect();
        Ok(Index { base, files })
    }

    async fn candidates(&mut self, folder: &str, decided: &BTreeSet<TxnId>) -> Result<Vec<Candidate>, Error> {
        let mut candidates = Vec::new();
        for object in self.list(folder, |_| true).await? {
            if let Some(ObjectName::Value(txn, value)) = ObjectName::parse(&object.path, self.node.shards) {
                let old = planted(Planted::CollectYoungValues)
                    || self.node.limits.orphan_value_may_go(txn.start_ms(), self.now);
                if old && !decided.contains(&txn) {
                    candidates.push(Candidate { object, txn, value, named: false });
                    continue;
                }
            }
            self.report.class(GarbageKind::OrphanValues).kept += 1;
        }
        Ok(candidates)
    }

    /// Collects those that no row names; `false` where the files went meanwhile, and nothing was collected.
    async fn orphans_among(&mut self, mut candidates: Vec<Candidate>, index: &Index) -> Result<bool, Error> {
        for file in index.files.values() {
            let tail = match self.node.tail(&self.node.store, file).await {
                Ok(tail) => tail,
                Err(error) if self.is_overtaken(&error, file.id, &index.base).await? => {
                    self.report.class(GarbageKind::OrphanValues).kept += candidates.len() as u64;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            for candidate in &mut candidates {
                candidate.named |= tail.may_name(candidate.txn, candidate.value);
            }
        }
        let named = |it: &Candidate| it.named && !planted(Planted::OrphansWithoutIndex);
        let (named, orphans): (Vec<_>, Vec<_>) = candidates.into_iter().partition(named);
        self.report.class(GarbageKind::OrphanValues).kept += named.len() as u64;
        let orphans = orphans.into_iter().map(|it| it.object).collect();
        self.delete(GarbageKind::OrphanValues, orphans).await?;
        Ok(true)
    }

    /// Whether the manifest that named the file has gone since it was read: then the file may be gone, and nothing is wrong.
    async fn is_overtaken(&self, error: &Error, file: FileId, base: &Base) -> Result<bool, Error> {
        if error.kind() != ErrorKind::VersionUnavailable || planted(Planted::NeverOvertaken) {
            return Ok(false);
        }
        self.node.known.lock().look = true;
        self.node.refresh().await?;
        let newest = Arc::clone(self.node.view.read().base());
        let mut needed = newest.manifest().into_iter().flat_map(Manifest::files);
        Ok(newest.number() > base.number() || !needed.any(|needed| needed.id == file))
    }
}
