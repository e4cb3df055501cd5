//! A recent file: `recent/<file id>`, the commits of a checkpoint that are too young for its index, with their write sets.
//!
//! It also says what a node would know that had read the feed itself: which feed objects are in it, when each commit was
//! published, and which decisions are dead. Inline values stay where they are: in the decision or the feed object.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::envelope::{self, FormatError, Kind};
use crate::format::feed::WireFeedName;
use crate::format::name::{FeedName, ValueName};
use crate::format::record::{CommitRecord, WireRecord};
use crate::txn_id::TxnId;

/// The content of a recent file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    /// The commits.
    pub commits: Vec<RecentCommit>,
    /// The feed objects whose commits are all in here or in the index.
    pub seen: Vec<FeedName>,
    /// The ids of decisions that a feed object carried, also of pruned commits, and when the first that was in time did:
    /// seconds since 1970, by the store's clock.
    pub published: Vec<(TxnId, u64)>,
    /// Decisions that are aborts or void.
    pub dead: Vec<TxnId>,
    /// Commits that their batch superseded, and that are as young as `commits`.
    pub pruned: Vec<PrunedCommit>,
}

/// A commit whose every key was overwritten in the feed object that told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedCommit {
    /// When the first in-time feed object carried it: seconds since 1970, by the store's clock.
    pub published: u64,
    /// The id that its decision is named by.
    pub decided_by: TxnId,
    /// The transaction.
    pub txn: TxnId,
    /// The value objects that it named.
    pub values: Vec<ValueName>,
}

/// One commit of a recent file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentCommit {
    /// When the first in-time feed object published it: seconds since 1970, by the store's clock.
    pub published: u64,
    /// The date of that object as the checkpoint's maker saw it: seconds since 1970, by the store's clock.
    pub dated: u64,
    /// The id that its decision is named by.
    pub decided_by: TxnId,
    /// Whether a request key led to it.
    pub keyed: bool,
    /// Whether it was lost and [published again](crate::format::feed::Entry::Commit).
    pub restored: bool,
    /// Where its inline values are.
    pub home: Home,
    /// Its record.
    pub record: CommitRecord,
}

/// Which object holds the inline values of a commit, and where the first of them begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The decision object.
    Decision {
        /// Bytes from the object's start.
        inline_offset: u64,
    },
    /// A feed object.
    Feed {
        /// Which one.
        name: FeedName,
        /// Bytes from the object's start.
        inline_offset: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct WireRecent<'a> {
    #[serde(borrow)]
    commits: Vec<WireCommit<'a>>,
    seen: Vec<WireFeedName>,
    published: Vec<([u8; 16], u64)>,
    dead: Vec<[u8; 16]>,
    pruned: Vec<WirePruned>,
}

#[derive(Serialize, Deserialize)]
struct WirePruned {
    published: u64,
    decided_by: [u8; 16],
    txn: [u8; 16],
    values: Vec<(u64, u32)>,
}

#[derive(Serialize, Deserialize)]
struct WireCommit<'a> {
    published: u64,
    dated: u64,
    decided_by: [u8; 16],
    keyed: bool,
    restored: bool,
    home: WireHome,
    #[serde(borrow)]
    record: WireRecord<'a>,
}

#[derive(Serialize, Deserialize)]
enum WireHome {
    Decision { inline_offset: u64 },
    Feed { name: WireFeedName, inline_offset: u64 },
}

impl Recent {
    /// The object.
    ///
    /// # Errors
    /// Where it would be over 4 GiB.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let wire = WireRecent {
            commits: self.commits.iter().map(WireCommit::new).collect(),
            seen: self.seen.iter().map(|name| WireFeedName::new(*name)).collect(),
            published: self.published.iter().map(|(txn, at)| (*txn.as_bytes(), *at)).collect(),
            dead: self.dead.iter().map(|txn| *txn.as_bytes()).collect(),
            pruned: self.pruned.iter().map(WirePruned::new).collect(),
        };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        envelope::seal(Kind::Recent, &meta, &[])
    }

    /// Reads a recent file, checked against every rule of the format.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Recent::encode`] did not make.
    pub fn decode(object: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Recent, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireRecent<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() || payload_start != object.len() {
            return Err(FormatError::Malformed("more than one recent file"));
        }
        let commits = wire.commits.into_iter().map(|commit| commit.into_commit(&meta));
        Ok(Self {
            commits: commits.collect::<Result<_, _>>()?,
            seen: wire.seen.into_iter().map(WireFeedName::into_name).collect::<Result<_, _>>()?,
            published: wire.published.into_iter().map(|(txn, at)| (TxnId::from_bytes(txn), at)).collect(),
            dead: wire.dead.into_iter().map(TxnId::from_bytes).collect(),
            pruned: wire.pruned.into_iter().map(WirePruned::into_pruned).collect(),
        })
    }
}

impl<'a> WireCommit<'a> {
    fn new(commit: &'a RecentCommit) -> Self {
        let home = match commit.home {
            Home::Decision { inline_offset } => WireHome::Decision { inline_offset },
            Home::Feed { name, inline_offset } => {
                WireHome::Feed { name: WireFeedName::new(name), inline_offset }
            }
        };
        Self {
            published: commit.published,
            dated: commit.dated,
            decided_by: *commit.decided_by.as_bytes(),
            keyed: commit.keyed,
            restored: commit.restored,
            home,
            record: WireRecord::new(&commit.record),
        }
    }

    fn into_commit(self, meta: &Bytes) -> Result<RecentCommit, FormatError> {
        let home = match self.home {
            WireHome::Decision { inline_offset } => Home::Decision { inline_offset },
            WireHome::Feed { name, inline_offset } => Home::Feed { name: name.into_name()?, inline_offset },
        };
        let record = self.record.into_record(meta)?;
        let (Home::Decision { inline_offset } | Home::Feed { inline_offset, .. }) = home;
        if inline_offset.checked_add(record.inline_len()).is_none() {
            return Err(FormatError::Malformed("a value past the end of all objects"));
        }
        Ok(RecentCommit {
            published: self.published,
            dated: self.dated,
            decided_by: TxnId::from_bytes(self.decided_by),
            keyed: self.keyed,
            restored: self.restored,
            home,
            record,
        })
    }
}

impl WirePruned {
    fn new(pruned: &PrunedCommit) -> Self {
        Self {
            published: pruned.published,
            decided_by: *pruned.decided_by.as_bytes(),
            txn: *pruned.txn.as_bytes(),
            values: pruned.values.iter().map(|value| (value.attempt, value.n)).collect(),
        }
    }

    fn into_pruned(self) -> PrunedCommit {
        PrunedCommit {
            published: self.published,
            decided_by: TxnId::from_bytes(self.decided_by),
            txn: TxnId::from_bytes(self.txn),
            values: self.values.into_iter().map(|(attempt, n)| ValueName { attempt, n }).collect(),
        }
    }
}
