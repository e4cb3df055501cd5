//! A feed object: a batch of commit records, from one node to all.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::decision::Decision;
use crate::format::envelope::{self, FormatError, Kind};
use crate::format::name::{FeedName, ValueName};
use crate::format::recent::Home;
use crate::format::record::{CommitRecord, WireRecord};
use crate::planted::{Planted, planted};
use crate::txn_id::TxnId;

/// The content of a feed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its name: whoever finds it under another one has found something else.
    pub name: FeedName,
    /// Every commit decided before this second (since 1970, by the store's clock) was published before or is in
    /// here: set by a sweep.
    pub swept_through: Option<u64>,
    /// Feed objects that were found damaged: what they said is published anew, in objects before this one or in here.
    pub instead_of: Vec<FeedName>,
    /// The commits.
    pub entries: Vec<Entry>,
}

/// One commit of a feed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A commit with its write set.
    Commit {
        /// The id that its decision is named by.
        decided_by: TxnId,
        /// Where its inline values are.
        home: EntryHome,
        /// Whether it was lost, and is published again though every commit of its age is thought to be folded.
        restored: bool,
        /// Its record.
        record: CommitRecord,
    },
    /// A commit whose every key was overwritten by decided commits of this batch: its id, so that a sweep knows it,
    /// and its value objects, so that they are collected (AFT, algorithm 2).
    Pruned {
        /// The id that its decision is named by.
        decided_by: TxnId,
        /// The transaction.
        txn: TxnId,
        /// The value objects that it named.
        values: Vec<ValueName>,
    },
}

/// Which object holds the inline values of a commit that a feed object tells, and where the first of them begins there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryHome {
    /// The decision object.
    Decision {
        /// Bytes from the object's start.
        inline_offset: u64,
    },
    /// This feed object.
    Feed {
        /// Bytes from the object's start; not stored, since it follows from the order of the entries.
        inline_offset: u64,
    },
}

impl EntryHome {
    /// The same, told of an entry of the feed object with this name.
    #[must_use]
    pub const fn of(self, name: FeedName) -> Home {
        match self {
            Self::Decision { inline_offset } => Home::Decision { inline_offset },
            Self::Feed { inline_offset } => Home::Feed { name, inline_offset },
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireFeed<'a> {
    name: WireFeedName,
    swept_through: Option<u64>,
    instead_of: Vec<WireFeedName>,
    #[serde(borrow)]
    entries: Vec<WireEntry<'a>>,
}

#[derive(Serialize, Deserialize)]
enum WireEntry<'a> {
    Commit {
        decided_by: [u8; 16],
        decision_offset: Option<u64>,
        restored: bool,
        #[serde(borrow)]
        record: WireRecord<'a>,
    },
    Pruned {
        decided_by: [u8; 16],
        txn: [u8; 16],
        values: Vec<(u64, u32)>,
    },
}

impl Feed {
    /// The object, with the inline values of its [`EntryHome::Feed`] entries in `payload`, in order.
    ///
    /// # Errors
    /// Where the meta is over 4 GiB.
    pub fn encode(&self, payload: &[Bytes]) -> Result<Bytes, FormatError> {
        let entries = self.entries.iter().map(WireEntry::new).collect();
        let instead_of = self.instead_of.iter().copied().map(WireFeedName::new).collect();
        let name = WireFeedName::new(self.name);
        let wire = WireFeed { name, swept_through: self.swept_through, instead_of, entries };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        envelope::seal(Kind::Feed, &meta, payload)
    }

    /// Reads a feed object, checked against every rule of the format.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Feed::encode`] did not make.
    pub fn decode(object: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Feed, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireFeed<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() {
            return Err(FormatError::Malformed("more meta than one feed"));
        }
        let mut next = payload_start as u64;
        let mut entries = Vec::with_capacity(wire.entries.len());
        for entry in wire.entries {
            entries.push(entry.into_entry(&meta, &mut next)?);
        }
        if next != object.len() as u64 {
            return Err(FormatError::Malformed("a payload that is not its values"));
        }
        let instead_of = wire.instead_of.into_iter().map(WireFeedName::into_name);
        let instead_of = instead_of.collect::<Result<_, _>>()?;
        Ok(Self { name: wire.name.into_name()?, swept_through: wire.swept_through, instead_of, entries })
    }

    /// Whether these bytes are what a node makes under this name, a feed object or a direct decision.
    ///
    /// # Errors
    /// As [`decode_as`](Self::decode_as).
    pub fn check(name: FeedName, object: &Bytes) -> Result<(), FormatError> {
        let Some(id) = name.decision() else { return Self::decode_as(name, object).map(drop) };
        if Decision::decode(object)?.decision.id == id {
            Ok(())
        } else {
            Err(FormatError::Malformed("the decision of another id"))
        }
    }

    /// Reads the feed object of this name: one that was made under another one is as good as damaged.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_as(name: FeedName, object: &Bytes) -> Result<Self, FormatError> {
        let feed = Self::decode(object)?;
        if feed.name == name || planted(Planted::AnyNameWillDo) {
            Ok(feed)
        } else {
            Err(FormatError::Malformed("the feed object of another name"))
        }
    }
}

impl<'a> WireEntry<'a> {
    fn new(entry: &'a Entry) -> Self {
        match entry {
            Entry::Commit { decided_by, home, restored, record } => Self::Commit {
                decided_by: *decided_by.as_bytes(),
                decision_offset: match home {
                    EntryHome::Decision { inline_offset } => Some(*inline_offset),
                    EntryHome::Feed { .. } => None,
                },
                restored: *restored,
                record: WireRecord::new(record),
            },
            Entry::Pruned { decided_by, txn, values } => Self::Pruned {
                decided_by: *decided_by.as_bytes(),
                txn: *txn.as_bytes(),
                values: values.iter().map(|value| (value.attempt, value.n)).collect(),
            },
        }
    }

    /// `next` is where the next inline value of this object begins.
    fn into_entry(self, meta: &Bytes, next: &mut u64) -> Result<Entry, FormatError> {
        Ok(match self {
            Self::Commit { decided_by, decision_offset, restored, record } => {
                let record = record.into_record(meta)?;
                let home = match decision_offset {
                    Some(inline_offset) => EntryHome::Decision { inline_offset },
                    None => {
                        let inline_offset = *next;
                        *next = inline_offset.saturating_add(record.inline_len());
                        EntryHome::Feed { inline_offset }
                    }
                };
                Entry::Commit { decided_by: TxnId::from_bytes(decided_by), home, restored, record }
            }
            Self::Pruned { decided_by, txn, values } => Entry::Pruned {
                decided_by: TxnId::from_bytes(decided_by),
                txn: TxnId::from_bytes(txn),
                values: values.into_iter().map(|(attempt, n)| ValueName { attempt, n }).collect(),
            },
        })
    }
}

/// The name of a feed object within another object.
#[derive(Serialize, Deserialize)]
pub(super) struct WireFeedName {
    time_ms: u64,
    node: u64,
    seq: u32,
}

impl WireFeedName {
    pub(super) fn new(name: FeedName) -> Self {
        Self { time_ms: name.time_ms, node: name.node, seq: name.seq }
    }

    /// A time over 48 bits would print as a name that does not parse.
    pub(super) fn into_name(self) -> Result<FeedName, FormatError> {
        if self.time_ms >= 1 << 48 {
            return Err(FormatError::Malformed("a feed object of an impossible time"));
        }
        Ok(FeedName { time_ms: self.time_ms, node: self.node, seq: self.seq })
    }
}
