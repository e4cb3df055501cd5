//! Guards of versions that nobody can read any more.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use super::needed::is_damage;
use super::{Collection, GarbageKind, Manifests};
use crate::error::Error;
use crate::format::guard::GuardClaim;
use crate::format::name::{GUARDS, GuardName, ObjectName, RequestHash};
use crate::node::format_error;
use crate::node::store::retry_read;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::storage::{ObjectInfo, StorageError};
use crate::version::Version;

/// So many versions are looked up in the index at a time.
const JUDGED_AT_ONCE: usize = 256;

/// The guards over one version of a key, in order.
type Folder = Vec<(GuardName, ObjectInfo)>;

impl Collection<'_> {
    /// Deletes the guards over versions that the settled checkpoint knows to be superseded: every running transaction began with that one or a newer, so
    /// it reads the key at a newer version, and nobody guards this one any more. All of a version go, or none: a place that is free again would be taken by whoever
    /// looks at no later one. Those over the absence of a key stay, since it may be absent again.
    pub(super) async fn guards(&mut self, manifests: &Manifests) -> Result<(), Error> {
        let settled = manifests.settled.and_then(|number| manifests.all.get(&number));
        let Some(base) = settled.map(|manifest| Base::new(manifest.clone())) else { return Ok(()) };
        // What was lost and restored is as old as what is folded, and is not.
        let in_view: HashSet<Version> =
            self.node.known.read(|known| known.view().recent().map(|(commit, _)| commit.version).collect());
        let mut folders: BTreeMap<(RequestHash, Version), Folder> = BTreeMap::new();
        for object in self.list(GUARDS, |_| true).await? {
            let Some(ObjectName::Guard(name)) = ObjectName::parse(&object.path, self.node.shards) else {
                continue;
            };
            let restored = in_view.contains(&name.over) && !planted(Planted::GuardsForgetRestored);
            if name.over == Version::ABSENT || restored || !base.has_folded(name.over, None, false) {
                self.report.class(GarbageKind::Guards).kept += 1;
            } else {
                folders.entry((name.key, name.over)).or_default().push((name, object));
            }
        }
        let mut folders: Vec<_> = folders.into_values().collect();
        while !folders.is_empty() {
            let rest = folders.split_off(folders.len().min(JUDGED_AT_ONCE));
            let some = std::mem::replace(&mut folders, rest);
            self.guards_of(&base, some).await?;
        }
        Ok(())
    }

    async fn guards_of(&mut self, base: &Base, folders: Vec<Folder>) -> Result<(), Error> {
        let node = Arc::clone(self.node);
        let keys = folders.iter().map(|folder| {
            let node = &node;
            async move {
                let Some((name, object)) = folder.first() else { return Ok(None) };
                match retry_read(&node.rng, || node.store.get_sized(&object.path, object.size)).await {
                    Ok(read) => GuardClaim::decode_as(*name, &read.bytes)
                        .map(|guard| Some(guard.key))
                        .map_err(|cause| format_error(&object.path, cause)),
                    // Another collector was here.
                    Err(StorageError::NotFound { .. }) => Ok(None),
                    Err(error) => {
                        Err(Error::storage(format_args!("reading the guard {:?}", object.path), error))
                    }
                }
            }
            .boxed()
        });
        let keys: Vec<_> = keys.collect();
        let keys: Vec<Result<Option<Bytes>, Error>> =
            futures::stream::iter(keys).buffered(node.config.parallel_requests).collect().await;
        let mut known = Vec::with_capacity(folders.len());
        for (folder, key) in folders.into_iter().zip(keys) {
            match key {
                Ok(Some(key)) => known.push((key, folder)),
                Ok(None) => {}
                Err(error) if is_damage(&error) => {
                    self.report.class(GarbageKind::Guards).kept += folder.len() as u64;
                    self.leave_out(format!("guards of a version: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        let mut keys: Vec<_> = known.iter().map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let rows = match node.rows(&node.store, base, keys).await {
            Ok(rows) => rows,
            Err(error) if is_damage(&error) => {
                let kept: usize = known.iter().map(|(_, folder)| folder.len()).sum();
                self.report.class(GarbageKind::Guards).kept += kept as u64;
                self.leave_out(format!("guards: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for (key, folder) in known {
            let over = folder.first().map_or(Version::ABSENT, |(name, _)| name.over);
            // Without a row, the deletion that superseded it has left the index.
            let superseded = rows.get(&key).is_none_or(|row| row.version > over);
            if superseded || planted(Planted::GuardsGoByAge) {
                let objects = folder.into_iter().map(|(_, object)| object).collect();
                self.delete(GarbageKind::Guards, objects).await?;
            } else {
                self.report.class(GarbageKind::Guards).kept += folder.len() as u64;
            }
        }
        Ok(())
    }
}
