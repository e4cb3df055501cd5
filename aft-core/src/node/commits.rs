//! The commits that a node knows one by one, those that are not folded into the index, for whoever looks into a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::format::feed::{Entry, Feed};
use crate::format::name::{FEED, FeedName};
use crate::node::handle::Aft;
use crate::node::store::retry_read;
use crate::node::{Node, format_error};
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Commit, View};
use crate::protocol::write_set::ValueRef;
use crate::storage::{ObjectInfo, StorageError};
use crate::txn_id::TxnId;
use crate::version::Version;

/// A commit that a node knows of; from [`Aft::recent_commits`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommitInfo {
    /// The transaction.
    pub txn_id: TxnId,
    /// The version of everything it wrote.
    pub version: Version,
    /// The keys it wrote, sorted, and whether it deleted them.
    pub writes: Vec<(Bytes, bool)>,
    /// The id of its decision: the transaction's own, or that of the group that it was decided in.
    pub decided_by: TxnId,
    /// The date of the feed object that told other nodes of it first, by the store's clock, in whole seconds; `None` where this node does not know it.
    pub published: Option<SystemTime>,
    /// The sum of the lengths of the values that it wrote, in bytes.
    pub bytes: u64,
    /// The node that told other nodes of it, which is the one that committed it unless that died before: 16 hexadecimal digits, as in the
    /// names of its feed objects. `None` where the commit does not say it ([`Aft::publishers`] asks): its values do not lie in the feed.
    pub node: Option<String>,
}

/// One write of a commit; from [`RecentCommit::writes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecentWrite {
    /// The key.
    pub key: Bytes,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The length of the value in bytes; 0 where it was deleted.
    pub bytes: u64,
    /// The path of the object that holds the value, of several the first; of a deletion that of the decision.
    pub object: String,
}

/// A commit that a node knows of, to be looked at; from [`Aft::recent`]. It takes a few bytes beside what the node holds in any case.
#[derive(Debug, Clone)]
pub struct RecentCommit {
    commit: Arc<Commit>,
    published: Option<StoreTime>,
    node: Arc<Node>,
}

impl RecentCommit {
    /// The version of everything it wrote.
    #[must_use]
    pub fn version(&self) -> Version {
        self.commit.version
    }

    /// Whether it wrote a key that begins with `prefix`, or deleted one.
    #[must_use]
    pub fn wrote_below(&self, prefix: &[u8]) -> bool {
        self.commit.writes.keys().any(|key| key.starts_with(prefix))
    }

    /// Whether it wrote this key, or deleted it.
    #[must_use]
    pub fn wrote(&self, key: &[u8]) -> bool {
        self.commit.writes.position(key).is_some()
    }

    /// What is known of it.
    #[must_use]
    pub fn info(&self) -> CommitInfo {
        info(&self.commit, self.published)
    }

    /// Its writes, in the order of their keys.
    pub fn writes(&self) -> impl Iterator<Item = RecentWrite> {
        let write = |(ordinal, (key, value)): (usize, (&[u8], ValueRef<'_>))| RecentWrite {
            key: Bytes::copy_from_slice(key),
            deleted: matches!(value, ValueRef::Tombstone),
            bytes: length(value),
            object: self.node.path(self.commit.object(ordinal)),
        };
        self.commit.writes.iter().enumerate().map(write)
    }
}

impl Aft {
    /// The newest `limit` commits that the node knows, newest first. No request.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// for commit in aft.recent_commits(10) {
    ///     println!("{} wrote {} keys", commit.txn_id, commit.writes.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn recent_commits(&self, limit: usize) -> Vec<CommitInfo> {
        self.node().known.read(|known| {
            let view = known.view();
            let newest = view.newest_first().take(limit);
            newest.map(|commit| info(commit, dated(view, commit.version))).collect()
        })
    }

    /// Every commit that the node knows, newest first, to be filtered: as of this call, and some 40 bytes each until the iterator is
    /// dropped. No request.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("stock/apples", "99")?;
    /// tx.commit().await?;
    /// for commit in aft.recent().filter(|commit| commit.wrote_below(b"stock/")) {
    ///     for write in commit.writes() {
    ///         println!("{}: {:?}, {} bytes in {}", commit.version(), write.key, write.bytes, write.object);
    ///     }
    /// }
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = RecentCommit> + use<> {
        let node = Arc::clone(self.node());
        let commits: Vec<_> = node.known.read(|known| {
            let recent = known.view().recent();
            recent.map(|(commit, published)| (Arc::clone(commit), published.map(|it| it.dated))).collect()
        });
        let one = move |(commit, published)| RecentCommit { commit, published, node: Arc::clone(&node) };
        commits.into_iter().rev().map(one)
    }

    /// The nodes that told of these commits, where the feed still says it: those of which [`CommitInfo::node`] says nothing are looked for in the
    /// feed objects of their dates. One list, and a get for each such object; none where all is known.
    ///
    /// # Errors
    /// [`Unavailable`](ErrorKind::Unavailable), [`Denied`](ErrorKind::Denied). What cannot be understood is passed over.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(aft: &aft_core::Aft) -> Result<(), aft_core::Error> {
    /// let commits = aft.recent_commits(10);
    /// let nodes = aft.publishers(commits.iter().map(|commit| commit.version)).await?;
    /// for commit in commits {
    ///     println!("{}: {:?}", commit.txn_id, nodes.get(&commit.version));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn publishers(
        &self,
        commits: impl IntoIterator<Item = Version>,
    ) -> BoxFuture<'_, Result<BTreeMap<Version, String>, Error>> {
        let commits: BTreeSet<_> = commits.into_iter().collect();
        async move {
            self.node().check_open()?;
            self.node().publishers(&commits).await
        }
        .boxed()
    }
}

impl Node {
    async fn publishers(&self, versions: &BTreeSet<Version>) -> Result<BTreeMap<Version, String>, Error> {
        let (mut found, mut sought, mut dates) =
            (BTreeMap::new(), BTreeMap::<TxnId, Vec<Version>>::new(), BTreeSet::new());
        self.known.read(|known| {
            let view = known.view();
            for commit in view.newest_first().filter(|commit| versions.contains(&commit.version)) {
                if let Some(name) = commit.told_in() {
                    found.insert(commit.version, node_id(name));
                } else if let Some(dated) = dated(view, commit.version) {
                    sought.entry(commit.decided_by()).or_default().push(commit.version);
                    dates.insert(dated);
                }
            }
        });
        if sought.is_empty() {
            return Ok(found);
        }
        let wanted = |object: &ObjectInfo| {
            let is_batch = FeedName::parse(&object.path).is_some_and(|name| !name.is_direct());
            is_batch && dates.contains(&StoreTime::of(object.last_modified))
        };
        let listed = retry_read(&self.rng, || self.store.list_where(FEED, None, wanted)).await;
        let listed = listed.map_err(|error| Error::storage("listing the feed", error))?;
        let reads = listed.into_iter().map(|object| async move { self.told_in(&object).await }.boxed());
        let mut reads =
            futures::stream::iter(reads.collect::<Vec<_>>()).buffered(self.config.parallel_requests);
        while let Some(read) = reads.next().await {
            let (name, told) = match read {
                Ok(Some(read)) => read,
                // `Aft::check` tells of it.
                Err(error) if error.kind() == ErrorKind::Corrupt => continue,
                Ok(None) => continue,
                Err(error) => return Err(error),
            };
            // In the order of their names: the first that told of it counts.
            for version in told.iter().filter_map(|id| sought.remove(id)).flatten() {
                found.insert(version, node_id(name));
            }
        }
        Ok(found)
    }

    /// The decisions that a feed object tells of; `None` where it is gone.
    async fn told_in(&self, object: &ObjectInfo) -> Result<Option<(FeedName, Vec<TxnId>)>, Error> {
        let path = &object.path;
        let Some(name) = FeedName::parse(path) else { return Ok(None) };
        let read = match retry_read(&self.rng, || self.store.get_sized(path, object.size)).await {
            Ok(read) => read,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => {
                return Err(Error::storage(format_args!("reading the feed object {path:?}"), error));
            }
        };
        let feed = Feed::decode_as(name, &read.bytes).map_err(|cause| format_error(path, cause))?;
        let decided_by = feed.entries.into_iter().map(|entry| match entry {
            Entry::Commit { decided_by, .. } | Entry::Pruned { decided_by, .. } => decided_by,
        });
        Ok(Some((name, decided_by.collect())))
    }
}

fn info(commit: &Commit, published: Option<StoreTime>) -> CommitInfo {
    let writes = commit.writes.iter();
    let write = |(key, value): (&[u8], ValueRef<'_>)| {
        (Bytes::copy_from_slice(key), matches!(value, ValueRef::Tombstone))
    };
    CommitInfo {
        txn_id: commit.version.txn,
        version: commit.version,
        writes: writes.map(write).collect(),
        decided_by: commit.decided_by(),
        // As listings date it: from when on it counts as published lies P later.
        published: published.map(|dated| UNIX_EPOCH + Duration::from_secs(dated.0)),
        bytes: commit.writes.values().map(length).sum(),
        node: commit.told_in().map(node_id),
    }
}

/// The date of the feed object that told of a commit of the view, as far as is known.
fn dated(view: &View, version: Version) -> Option<StoreTime> {
    view.publication(version).map(|published| published.dated)
}

fn length(value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Tombstone => 0,
        ValueRef::Inline { len, .. } => len,
        ValueRef::Stored(stored) => stored.len,
    }
}

/// A node as the names of its feed objects have it.
fn node_id(name: FeedName) -> String {
    format!("{:016x}", name.node)
}
