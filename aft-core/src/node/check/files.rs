//! The files beside the objects of transactions: whether each that a manifest names is there, and what none names.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;

use super::Check;
use super::commits::copy_damage;
use super::index::Manifests;
use crate::error::Error;
use crate::format::bundle::Bundle;
use crate::format::garbage::Garbage;
use crate::format::manifest::{FileRef, Manifest};
use crate::format::name::{BUNDLES, GARBAGE, INDEX, OUTCOMES, ObjectName, RECENT};
use crate::protocol::timeliness::StoreTime;
use crate::storage::ObjectInfo;

impl Check<'_> {
    /// Reads every garbage file, and every file of outcomes: what it names is no orphan, and is folded.
    pub(super) async fn garbage_files(&self) -> Result<(), Error> {
        let mut lists = self.list(GARBAGE).await?;
        lists.extend(self.list(OUTCOMES).await?);
        self.each(lists, |(name, object): (ObjectName, ObjectInfo)| {
            async move {
                // One that is gone was worked off.
                let Some(read) = self.get(&object.path, object.size).await? else { return Ok(()) };
                match Garbage::decode(&read.bytes) {
                    Ok(garbage) => {
                        if let ObjectName::Outcomes(..) = name {
                            let mut outcomes = self.outcomes.lock();
                            for id in &garbage.decisions {
                                // Of several lists the newest.
                                let list = outcomes.entry(*id).or_default();
                                if *list < object.path {
                                    list.clone_from(&object.path);
                                }
                            }
                        }
                        self.folded.lock().extend(garbage.decisions);
                        let values = garbage.values.into_iter();
                        values.for_each(|(txn, value)| self.name_value(ObjectName::Value(txn, value)));
                    }
                    Err(cause) => self.unreadable(&object.path, "a list of garbage", &cause),
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    /// Reads every bundle: nothing needs one, and a damaged one makes refreshes dearer.
    pub(super) async fn bundles(&self) -> Result<(), Error> {
        let bundles = self.list(BUNDLES).await?;
        self.each(bundles, |(_, object): (ObjectName, ObjectInfo)| {
            async move {
                let Some(read) = self.get(&object.path, object.size).await? else { return Ok(()) };
                let wrong = match Bundle::decode(&read.bytes) {
                    Ok(Bundle { copies }) => copies.iter().find_map(|(name, copy)| copy_damage(*name, copy)),
                    Err(cause) => Some(cause.to_string()),
                };
                if let Some(wrong) = wrong {
                    let what = format_args!("a bundle of feed objects, which nothing needs: {wrong}");
                    self.damaged(&object.path, what);
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    /// Whether the files of all manifests are there, with their lengths; and files that none names. The manifests as they are
    /// afterwards.
    pub(super) async fn files(&self, before: Manifests, now: StoreTime) -> Result<Manifests, Error> {
        let mut listed: BTreeMap<ObjectName, ObjectInfo> = BTreeMap::new();
        for folder in [INDEX, RECENT, GARBAGE, OUTCOMES] {
            listed.extend(self.list(folder).await?);
        }
        let newest = before.base.number();
        let older: Vec<_> = before.all.range(..newest).map(|(_, manifest)| manifest.recent).collect();
        self.each(older, |file: FileRef| {
            async move {
                // Whether one that is gone may be is seen below.
                self.recent(&file).await.map(|_| ())
            }
            .boxed()
        })
        .await?;
        let after = self.manifests().await?;
        for (number, manifest) in &before.all {
            // What only an old manifest needs may go once that one is gone.
            if !after.all.contains_key(number) {
                continue;
            }
            for (name, bytes) in files_of(manifest) {
                let path = self.path(name);
                match listed.get(&name) {
                    Some(object) if object.size == bytes => {}
                    Some(object) => {
                        let size = object.size;
                        self.damaged(
                            &path,
                            format_args!("a file of checkpoint {number}: {size} of {bytes} bytes"),
                        );
                    }
                    None => self.missing(&path, format_args!("a file that checkpoint {number} needs")),
                }
            }
        }
        if before.is_partial || after.is_partial {
            self.leave_out("files that no checkpoint names: what the damaged checkpoint names is not known");
            return Ok(after);
        }
        let manifests = before.all.values().chain(after.all.values());
        let named: BTreeSet<_> = manifests.flat_map(Manifest::objects).collect();
        let newest = after.base.number();
        for (name, object) in listed {
            // That of a checkpoint which is gone stays as long as outcomes do.
            let outlives = matches!(name, ObjectName::Outcomes(number, _) if number < newest && !after.all.contains_key(&number));
            let dated = StoreTime::of(object.last_modified);
            if !outlives && !named.contains(&name) && self.node.limits.unreferenced_file_may_go(dated, now) {
                self.orphan(object.path);
            }
        }
        Ok(after)
    }

    /// Whether anything is wrong with the files of the index.
    pub(super) fn index_is_damaged(&self) -> bool {
        let report = self.report.lock();
        report.more_problems > 0 || report.problems.iter().any(|problem| problem.path.starts_with(INDEX))
    }
}

/// The files that a manifest needs for as long as it is there, and their lengths. A list of garbage goes before it does.
fn files_of(manifest: &Manifest) -> impl Iterator<Item = (ObjectName, u64)> {
    let recent = (ObjectName::Recent(manifest.recent.id), manifest.recent.bytes);
    let outcomes = manifest.outcomes.map(|file| (ObjectName::Outcomes(manifest.number, file.id), file.bytes));
    let beside = [recent].into_iter().chain(outcomes);
    manifest.files().map(|file| (ObjectName::Run(file.id), file.bytes)).chain(beside)
}
