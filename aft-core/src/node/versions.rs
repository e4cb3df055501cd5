//! Which versions of a key a store still knows, for whoever looks into it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::format::name::{FileId, ObjectName};
use crate::format::row::{Row, RowValue};
use crate::node::Node;
use crate::node::handle::Aft;
use crate::node::index::fetch::{Answer, INDEX_TRIES};
use crate::node::transaction::checked_key;
use crate::node::transaction::read::index_moves;
use crate::node::transaction::stream::{AT_ONCE, ValueStream};
use crate::protocol::base::Base;
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

    /// The value that a key had at one of its [versions](Self::versions), as a stream; `None` where that version deleted it. Of a version that is
    /// superseded the value is there until a collection takes it.
    ///
    /// The requests of [`versions`](Self::versions), and those of [`Transaction::get_stream`](crate::Transaction::get_stream).
    ///
    /// # Errors
    /// [`VersionUnavailable`](ErrorKind::VersionUnavailable) where the store does not know that version of the key any more, or never did, and where its
    /// value was collected; else as [`Transaction::get_stream`](crate::Transaction::get_stream).
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
    /// let older = aft.versions("k").await?[1].version;
    /// assert_eq!(aft.value_at("k", older).await?.unwrap().len(), 3);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn value_at(
        &self,
        key: impl AsRef<[u8]>,
        version: Version,
    ) -> BoxFuture<'_, Result<Option<ValueStream>, Error>> {
        let key = checked_key(key.as_ref());
        async move { self.node().value_at(&key?, version).await }.boxed()
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
                let recent = view.versions(key).iter().filter_map(|found| self.recent_version(view, found));
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
            versions.extend(recent.into_iter().map(|info| (info.version, info)));
            return Ok(versions.into_values().rev().collect());
        }
        Err(index_moves())
    }

    async fn value_at(self: &Arc<Self>, key: &Bytes, version: Version) -> Result<Option<ValueStream>, Error> {
        self.check_open()?;
        self.refresh_if_stale().await?;
        for _ in 0..INDEX_TRIES {
            let (base, recent) = self.known.read(|known| {
                let recent = known.view().versions(key).iter().find(|found| found.version() == version);
                (Arc::clone(known.base()), recent.cloned())
            });
            let found = match recent {
                Some(found) => Ok(Some(Answer::Found(found))),
                None => self.folded_at(&base, key, version).await,
            };
            match found {
                Ok(Some(answer)) => {
                    let source = self.source(&self.store, answer, AT_ONCE).await?;
                    return Ok(source.map(|source| self.stream_of(&self.store, source)));
                }
                Ok(None) => return Err(unknown_version(key, version)),
                Err(failure) => self.recover_index(&base, failure).await?,
            }
        }
        Err(index_moves())
    }

    /// Where a version of a key is that some run still holds.
    async fn folded_at(&self, base: &Base, key: &Bytes, version: Version) -> Result<Option<Answer>, Error> {
        let rows = self.rows_by_run(&self.store, base, std::slice::from_ref(key)).await?;
        let row = rows.into_iter().map(|(_, row)| row).find(|row| row.version == version);
        Ok(row.map(|row| match row.value {
            RowValue::Tombstone => Answer::Absent,
            // A copy: a slice would hold on to the whole block.
            RowValue::Inline(value) => Answer::Held(Bytes::copy_from_slice(&value)),
            RowValue::Stored(_) => Answer::Found(Found::from_row(&row)),
        }))
    }

    pub(crate) fn folded(&self, file: FileId, row: &Row) -> VersionInfo {
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

    /// A version that the view knows.
    pub(crate) fn recent_version(&self, view: &View, found: &Found) -> Option<VersionInfo> {
        let Found::Recent { commit, ordinal } = found else { return None };
        let object = commit.object(*ordinal as usize);
        let (decided_by, keys) = (commit.decided_by(), commit.writes.len() as u64);
        let published = published(view, found);
        Some(VersionInfo {
            version: found.version(),
            deleted: found.is_tombstone(),
            bytes: found.value_len(),
            object: self.path(object),
            recent: Some(RecentVersion { decided_by, published, keys }),
        })
    }
}

fn unknown_version(key: &[u8], version: Version) -> Error {
    let message = format!(
        "the store does not know the version {version} of the key {:?}: it never was, or it was superseded and is gone",
        key.escape_ascii().to_string()
    );
    Error::new(ErrorKind::VersionUnavailable, message)
}

/// When the feed told of a version, as far as is known.
fn published(view: &View, found: &Found) -> Option<SystemTime> {
    let published = view.publication(found.version())?;
    // As listings date it: from when on it counts as published lies P later.
    Some(UNIX_EPOCH + Duration::from_secs(published.dated.0))
}
