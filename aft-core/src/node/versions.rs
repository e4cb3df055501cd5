//! Which versions of a key a store still knows, for whoever looks into it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::name::{FileId, ObjectName};
use crate::format::row::{Row, RowValue};
use crate::node::Node;
use crate::node::handle::Aft;
use crate::node::index::fetch::INDEX_TRIES;
use crate::node::transaction::checked_key;
use crate::node::transaction::read::index_moves;
use crate::protocol::view::{Found, View};
use crate::txn_id::TxnId;
use crate::version::Version;

/// A version of a key that the store still knows; from [`Aft::versions`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VersionInfo {
    /// The version: when its commit was decided, by a hybrid clock, and the transaction.
    pub version: Version,
    /// Whether the key was deleted.
    pub deleted: bool,
    /// The length of the value in bytes; 0 where it was deleted.
    pub bytes: u64,
    /// The path of the object that holds the value, of several the first; of a deletion that of the object that tells of it.
    pub object: String,
    /// What is known beside, while the commit is not folded into the index.
    pub recent: Option<RecentVersion>,
}

/// What is known of a version whose commit is not folded yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecentVersion {
    /// The id of its decision: the transaction's own, or that of the group that it was decided in.
    pub decided_by: TxnId,
    /// The date of the feed object that told other nodes of it first, by the store's clock, in whole seconds; `None` where this node does not know it.
    pub published: Option<SystemTime>,
    /// How many keys its commit wrote, this one included.
    pub keys: u64,
}

impl Aft {
    /// Every version of a key that commits which are not folded and the index still know, newest first, deletions included; what a transaction reads
    /// that begins now is the first. Of folded versions a run of the index keeps the newest, and older ones go when runs are merged.
    ///
    /// A refresh where one is due; of the index two ranged gets per run at most, as for [`Transaction::get`](crate::Transaction::get).
    ///
    /// # Errors
    /// As [`Transaction::get`](crate::Transaction::get).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// for value in ["one", "three"] {
    ///     let mut tx = aft.begin().await?;
    ///     tx.put("k", value)?;
    ///     tx.commit().await?;
    /// }
    /// let versions = aft.versions("k").await?;
    /// assert_eq!((versions[0].bytes, versions[1].bytes), (5, 3));
    /// assert!(versions[0].version > versions[1].version);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn versions(&self, key: impl AsRef<[u8]>) -> BoxFuture<'_, Result<Vec<VersionInfo>, Error>> {
        let key = checked_key(key.as_ref());
        async move { self.node().versions(&key?).await }.boxed()
    }
}

impl Node {
    async fn versions(self: &Arc<Self>, key: &Bytes) -> Result<Vec<VersionInfo>, Error> {
        self.check_open()?;
        self.refresh_if_stale().await?;
        for _ in 0..INDEX_TRIES {
            // Of one moment: what one base folded is missing from the views that build on it.
            let (base, recent) = self.known.read(|known| {
                let view = known.view();
                let recent = view.versions(key).iter().map(|found| (found.clone(), published(view, found)));
                (Arc::clone(known.base()), recent.collect::<Vec<_>>())
            });
            let rows = match self.rows_by_run(&self.store, &base, std::slice::from_ref(key)).await {
                Ok(rows) => rows,
                Err(failure) => {
                    self.recover_index(&base, failure).await?;
                    continue;
                }
            };
            let mut versions: BTreeMap<Version, VersionInfo> =
                rows.iter().map(|(file, row)| (row.version, self.folded(*file, row))).collect();
            for (found, published) in &recent {
                versions.extend(self.recent_version(found, *published).map(|info| (info.version, info)));
            }
            return Ok(versions.into_values().rev().collect());
        }
        Err(index_moves())
    }

    fn folded(&self, file: FileId, row: &Row) -> VersionInfo {
        let (deleted, bytes, object) = match &row.value {
            RowValue::Tombstone => (true, 0, None),
            RowValue::Inline(value) => (false, value.len() as u64, None),
            RowValue::Stored(stored) => {
                let first =
                    stored.parts.first().map(|part| ObjectName::Value(row.version.txn, part.object()));
                (false, stored.len, first.map(|name| self.path(name)))
            }
        };
        let object = object.unwrap_or_else(|| self.path(ObjectName::Run(file)));
        VersionInfo { version: row.version, deleted, bytes, object, recent: None }
    }

    fn recent_version(&self, found: &Found, published: Option<SystemTime>) -> Option<VersionInfo> {
        let Found::Recent { commit, ordinal } = found else { return None };
        let object = commit.object(*ordinal as usize);
        let (decided_by, keys) = (commit.decided_by(), commit.writes.len() as u64);
        Some(VersionInfo {
            version: found.version(),
            deleted: found.is_tombstone(),
            bytes: found.value_len(),
            object: self.path(object),
            recent: Some(RecentVersion { decided_by, published, keys }),
        })
    }
}

/// When the feed told of a version, as far as is known.
fn published(view: &View, found: &Found) -> Option<SystemTime> {
    let published = view.publication(found.version())?;
    // As listings date it: from when on it counts as published lies P later.
    Some(UNIX_EPOCH + Duration::from_secs(published.dated.0))
}
