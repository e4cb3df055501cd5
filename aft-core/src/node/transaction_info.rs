//! What a store still knows of one transaction, for whoever looks into it.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::format::decision::{Decision, Verdict};
use crate::format::name::{FeedName, ObjectName};
use crate::format::record::{CommitRecord, Guard, Value, Write};
use crate::node::exchange::outcome::Outcome;
use crate::node::handle::Aft;
use crate::node::store::{Store, retry_read};
use crate::node::{Node, format_error};
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Found, Home};
use crate::storage::StorageError;
use crate::txn_id::TxnId;
use crate::version::Version;

/// So many keys of a commit that no feed object is known to carry are looked up in the index.
const LOOKED_UP: usize = 16;

/// What is known of a transaction; from [`Aft::transaction`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransactionInfo {
    /// The id that was asked for: a transaction's, or a group's.
    pub txn_id: TxnId,
    /// What became of it.
    pub outcome: Outcome,
    /// What its decision says, while the object can still be read.
    pub decision: Option<DecisionInfo>,
    /// Of a commit whose decision can be read: how others know of it.
    pub publication: Option<Publication>,
}

/// The decision of a transaction, as its object says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionInfo {
    /// The id that it is named by: the transaction's own, or that of the group that it was decided in.
    pub id: TxnId,
    /// The path of the object.
    pub object: String,
    /// The length of the object in bytes.
    pub bytes: u64,
    /// The date of the object, by the store's clock, in whole seconds.
    pub dated: SystemTime,
    /// The transactions that it says commit of: one, or the members of a group. Of an abort none. Where the outcome is no commit and this names
    /// any, the decision came too late to count.
    pub members: Vec<TxnId>,
    /// The request key that led to the transaction.
    pub request_key: Option<Bytes>,
    /// The guards that the transaction held.
    pub guards: Vec<GuardInfo>,
    /// What it wrote, sorted by key. Of a group that is asked for by its own id: what the member with the greatest version wrote.
    pub writes: Vec<WriteInfo>,
}

/// A guard that a transaction held; from [`DecisionInfo::guards`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GuardInfo {
    /// The guarded key.
    pub key: Bytes,
    /// The version of it that only this transaction could supersede; `None` where the key was absent.
    pub over: Option<Version>,
    /// Which try for that version the guard was, from 0.
    pub slot: u32,
}

/// One key that a transaction wrote; from [`DecisionInfo::writes`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WriteInfo {
    /// The key.
    pub key: Bytes,
    /// Whether it was deleted.
    pub deleted: bool,
    /// The length of the value in bytes; 0 where it was deleted.
    pub bytes: u64,
    /// The path of the value object that holds the value, of several the first; `None` where the decision itself holds it, and of a deletion.
    pub object: Option<String>,
    /// How many parts the value has in value objects; 0 where it has none there.
    pub parts: u64,
}

/// How other nodes know of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Publication {
    /// No feed object and no checkpoint that this node knows tells of it: its own node, and who has its receipt, see it; others after its node
    /// published it, or a sweep.
    Unpublished,
    /// A feed object told of it, and it is too young to be folded.
    Published {
        /// The date of the feed object that told of it first, by the store's clock, in whole seconds; `None` where this node does not know it.
        since: Option<SystemTime>,
        /// The path of the feed object, where the commit's own record names it: not where all values lie in the decision or in value objects.
        object: Option<String>,
        /// The random number of the node that made that object.
        node: Option<u64>,
    },
    /// It is in the index.
    Folded,
}

impl Aft {
    /// What is known of a transaction: what became of it, and, while its decision can be read, when and where that was made, what the transaction
    /// wrote, its guards and its request key, and how others know of it. What [`outcome`](Self::outcome) answers, this answers too.
    ///
    /// A refresh where one is due, the requests of [`outcome`](Self::outcome), and one get. Of a commit that no feed object is known to carry 16 of its
    /// keys at most are looked up in the index too: two ranged gets per run and key at most, as for [`Transaction::get`](crate::Transaction::get).
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("k", "value")?;
    /// let receipt = tx.commit().await?.receipt;
    /// let told = aft.transaction(receipt.txn_id()).await?;
    /// let decision = told.decision.unwrap();
    /// assert_eq!((&decision.writes[0].key[..], decision.writes[0].bytes), (&b"k"[..], 5));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn transaction(&self, id: TxnId) -> BoxFuture<'_, Result<TransactionInfo, Error>> {
        async move {
            self.node().check_open()?;
            self.node().transaction_info(id).await
        }
        .boxed()
    }
}

/// A decision object as it was read.
struct Read {
    dated: StoreTime,
    bytes: u64,
    records: Vec<CommitRecord>,
}

impl Node {
    pub(crate) async fn transaction_info(self: &Arc<Self>, id: TxnId) -> Result<TransactionInfo, Error> {
        self.refresh_if_stale().await?;
        let decided_by = self.decision_of(id).await?;
        let outcome = self.outcome(&self.store, id).await?;
        let mut info = TransactionInfo { txn_id: id, outcome, decision: None, publication: None };
        if info.outcome == Outcome::Undecided {
            return Ok(info);
        }
        let Some(Read { dated, bytes, records }) = self.read_decision(&self.store, decided_by).await? else {
            return Ok(info);
        };
        let members = records.iter().map(|record| record.txn).collect();
        let mut decision = DecisionInfo {
            id: decided_by,
            object: self.path(ObjectName::Decision(decided_by)),
            bytes,
            dated: UNIX_EPOCH + Duration::from_secs(dated.0),
            members,
            request_key: None,
            guards: Vec::new(),
            writes: Vec::new(),
        };
        let version = match &info.outcome {
            Outcome::Committed { receipt, .. } => Some(receipt.version()),
            _ => None,
        };
        let own = |record: &CommitRecord| version.map_or(record.txn == id, |it| record.version() == it);
        if let Some(record) = records.into_iter().find(own) {
            if let Some(version) = version {
                let publication = match self.publication_told(&record, version, decided_by) {
                    Some(told) => told,
                    None => self.standing_of(&record, version, dated).await?,
                };
                info.publication = Some(publication);
            }
            decision.request_key = record.request_key;
            decision.guards = record.guards.into_iter().map(GuardInfo::from).collect();
            decision.writes =
                record.writes.into_iter().map(|write| self.written(record.txn, write)).collect();
        }
        info.decision = Some(decision);
        Ok(info)
    }

    /// What the feed tells of the publication of a decision; `None` where it tells nothing that this node knows.
    fn publication_told(
        &self,
        record: &CommitRecord,
        version: Version,
        decided_by: TxnId,
    ) -> Option<Publication> {
        self.known.read(|known| {
            let view = known.view();
            let versions = record.writes.first().map_or(&[][..], |write| view.versions(&write.key));
            let recent = versions.iter().find(|found| found.version() == version).and_then(Found::commit);
            let dated = view.publication(version).map(|it| it.dated);
            if dated.is_none() {
                if !known.is_published(decided_by) {
                    return None;
                }
                // It may be in the view all the same: asking for its outcome makes it known, folded or not.
                if known.told(decided_by).is_none() {
                    return Some(Publication::Folded);
                }
            }
            let carried = recent.and_then(|commit| match commit.home() {
                Home::Feed { name, .. } => Some(name),
                Home::Decision { .. } => None,
            });
            let name: Option<FeedName> = carried.or_else(|| decided_by.direct_name());
            Some(Publication::Published {
                since: dated.map(|dated| UNIX_EPOCH + Duration::from_secs(dated.0)),
                object: name.map(|name| self.path(ObjectName::Feed(name))),
                node: name.map(|name| name.node),
            })
        })
    }

    /// Whether a commit that nothing known carries is folded, by what the index says of some of its keys.
    async fn standing_of(
        self: &Arc<Self>,
        record: &CommitRecord,
        version: Version,
        dated: StoreTime,
    ) -> Result<Publication, Error> {
        let (base, swept) = self.known.read(|known| (Arc::clone(known.base()), known.newest_sweep()));
        let settled = base.has_folded(version, None, false);
        // What no sweep and no checkpoint can have seen is not in the index.
        if base.manifest().is_none() || (!settled && swept.is_none_or(|swept| dated >= swept)) {
            return Ok(Publication::Unpublished);
        }
        let keys: Vec<Bytes> = record.writes.iter().take(LOOKED_UP).map(|write| write.key.clone()).collect();
        let rows = self.rows(&self.store, &base, keys.clone()).await?;
        let rows: Vec<_> = keys.iter().map(|key| rows.get(key).map(|row| row.version)).collect();
        Ok(if is_carried(version, base.purged(), &rows) {
            Publication::Folded
        } else {
            Publication::Unpublished
        })
    }

    /// Reads a decision object; `None` where it is gone.
    async fn read_decision(&self, store: &Store, id: TxnId) -> Result<Option<Read>, Error> {
        let path = self.path(ObjectName::Decision(id));
        let object = match retry_read(&self.rng, || store.get(&path)).await {
            Ok(object) => object,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => {
                return Err(Error::storage("reading the transaction's decision", error).with_txn(id));
            }
        };
        let decoded = Decision::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
        let records = match decoded.decision.verdict {
            Verdict::Commit(records) => records,
            Verdict::Abort => Vec::new(),
        };
        let (dated, bytes) = (StoreTime::of(object.last_modified), object.bytes.len() as u64);
        Ok(Some(Read { dated, bytes, records }))
    }

    fn written(&self, txn: TxnId, Write { key, value }: Write) -> WriteInfo {
        match value {
            Value::Tombstone => WriteInfo { key, deleted: true, bytes: 0, object: None, parts: 0 },
            Value::Inline { len, .. } => {
                WriteInfo { key, deleted: false, bytes: len, object: None, parts: 0 }
            }
            Value::Stored(stored) => {
                let first = stored.parts.first().map(|part| ObjectName::Value(txn, part.object()));
                let object = first.map(|name| self.path(name));
                let parts = stored.parts.len() as u64;
                WriteInfo { key, deleted: false, bytes: stored.len, object, parts }
            }
        }
    }
}

impl From<Guard> for GuardInfo {
    fn from(Guard { key, over, slot }: Guard) -> Self {
        Self { key, over: Some(over).filter(|over| !over.is_absent()), slot }
    }
}

/// Whether the index has what a commit of this version wrote, or newer, by the rows of some of its keys. Folds take whole commits, so one row of
/// its own says so; a key without a row may have been deleted since, by a deletion that left.
fn is_carried(version: Version, purged: Version, rows: &[Option<Version>]) -> bool {
    rows.contains(&Some(version)) || rows.iter().all(|row| row.map_or(version <= purged, |row| row > version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Timestamp;

    #[test]
    fn a_row_of_its_own_says_that_all_of_it_is_folded_and_older_rows_say_that_it_is_not() {
        let version = |n: u8| Version::new(Timestamp::from_ms(u64::from(n)), TxnId::from_bytes([n; 16]));
        let carried = |purged, rows: &[Option<u8>]| {
            let rows: Vec<_> = rows.iter().map(|row| row.map(version)).collect();
            is_carried(version(5), version(purged), &rows)
        };
        assert!(carried(0, &[None, Some(5)]) && carried(0, &[Some(4), Some(5)]));
        assert!(carried(0, &[Some(6), Some(7)]) && !carried(0, &[Some(6), Some(4)]));
        assert!(!carried(4, &[Some(6), None]) && carried(5, &[Some(6), None]));
        assert!(carried(0, &[]), "it wrote nothing, so nothing of it is missing");
    }
}
