//! An open transaction as bytes: what a token holds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::{self, FormatError, Kind, checksum};
use crate::format::record::{CommitRecord, Guard, Value, WireRecord, Write};
use crate::key_range::KeyRange;
use crate::receipt::Receipt;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// An open transaction at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspended {
    /// The id of its store.
    pub store_id: String,
    /// The transaction.
    pub txn: TxnId,
    /// How old it was when it was suspended, in milliseconds.
    pub age_ms: u64,
    /// Every commit that was published before this date of the store, in seconds since 1970, was known to it when it began.
    pub seen_until: u64,
    /// The number of the newest manifest that it has read through, 0 for none.
    pub base: u64,
    /// Its request key.
    pub request_key: Option<Bytes>,
    /// Whether it began with a refresh.
    pub latest: bool,
    /// Whether its commit waits for publication.
    pub publish_before_ack: bool,
    /// Whether it guards whatever it reads and writes.
    pub serializable: bool,
    /// The keys that it guards; it has read them.
    pub guarded: BTreeSet<Bytes>,
    /// The commits that it has read, or must see.
    pub receipts: BTreeMap<Version, Receipt>,
    /// What it has read: each key with its version, [`Version::ABSENT`] where it was absent.
    pub reads: BTreeMap<Bytes, Version>,
    /// The ranges that it has scanned: sorted, and no two overlap or touch.
    pub ranges: Vec<KeyRange>,
    /// The least versions at which keys that it has not read may be read.
    pub floors: BTreeMap<Bytes, Version>,
    /// What it has written.
    pub writes: BTreeMap<Bytes, SuspendedWrite>,
    /// The stored result, and the attempt that set it.
    pub result: Option<(u64, Bytes)>,
    /// The attempts that were suspended on the way here.
    pub lineage: BTreeSet<u64>,
}

/// A write of a suspended transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspendedWrite {
    /// The attempt that wrote it.
    pub writer: u64,
    /// What it wrote.
    pub value: Value,
    /// The value, where it is an inline one.
    pub inline: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
struct WireToken<'a> {
    store_id: &'a str,
    age_ms: u64,
    seen_until: u64,
    base: u64,
    latest: bool,
    publish_before_ack: bool,
    serializable: bool,
    lineage: Vec<u64>,
    /// Of every write, in order, and then of the result: its place in the lineage.
    writers: Vec<u32>,
    receipts: Vec<WireReceipt>,
    #[serde(borrow)]
    reads: Vec<WireVersion<'a>>,
    #[serde(borrow)]
    floors: Vec<WireVersion<'a>>,
    #[serde(borrow)]
    ranges: Vec<WireRange<'a>>,
    #[serde(borrow)]
    record: WireRecord<'a>,
}

#[derive(Serialize, Deserialize)]
struct WireReceipt {
    clock: u64,
    txn: [u8; 16],
    decided_by: Option<[u8; 16]>,
}

/// The first key of a range, and the first one after it.
type WireRange<'a> = (&'a serde_bytes::Bytes, Option<&'a serde_bytes::Bytes>);

#[derive(Serialize, Deserialize)]
struct WireVersion<'a> {
    #[serde(borrow)]
    key: &'a serde_bytes::Bytes,
    /// The place of its version among the receipts, from 1; 0 for absent.
    version: u32,
}

const MALFORMED_ORDER: FormatError = FormatError::Malformed("entries that are not sorted");

impl Suspended {
    /// The token's bytes.
    ///
    /// # Errors
    /// Where it is over 4 GiB, or a version of it has no receipt.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let versions: BTreeMap<_, _> =
            (1u32..).zip(self.receipts.keys()).map(|(n, version)| (*version, n)).collect();
        let place = |version: Version| match version {
            Version::ABSENT => Ok(0),
            version => {
                versions.get(&version).copied().ok_or(FormatError::Malformed("a version without a receipt"))
            }
        };
        let keyed = |map: &'_ BTreeMap<Bytes, Version>| -> Result<Vec<(Bytes, u32)>, FormatError> {
            map.iter().map(|(key, version)| Ok((key.clone(), place(*version)?))).collect()
        };
        let (reads, floors) = (keyed(&self.reads)?, keyed(&self.floors)?);
        let attempts: BTreeMap<_, _> =
            (0u32..).zip(&self.lineage).map(|(n, attempt)| (*attempt, n)).collect();
        let writers = self.writes.values().map(|write| write.writer).chain(self.result.iter().map(|it| it.0));
        let writers = writers
            .map(|writer| {
                attempts.get(&writer).copied().ok_or(FormatError::Malformed("a write of another line"))
            })
            .collect::<Result<_, _>>()?;
        let record = CommitRecord {
            txn: self.txn,
            clock: Timestamp::default(),
            request_key: self.request_key.clone(),
            result: self.result.as_ref().map(|(_, result)| result.clone()),
            guards: self.guarded.iter().cloned().map(open_guard).collect(),
            writes: self
                .writes
                .iter()
                .map(|(key, it)| Write { key: key.clone(), value: it.value.clone() })
                .collect(),
        };
        let receipt = |receipt: &Receipt| WireReceipt {
            clock: receipt.version.clock.bits(),
            txn: *receipt.version.txn.as_bytes(),
            decided_by: (receipt.decided_by != receipt.version.txn).then_some(*receipt.decided_by.as_bytes()),
        };
        let wire = WireToken {
            store_id: &self.store_id,
            age_ms: self.age_ms,
            seen_until: self.seen_until,
            base: self.base,
            latest: self.latest,
            publish_before_ack: self.publish_before_ack,
            serializable: self.serializable,
            lineage: self.lineage.iter().copied().collect(),
            writers,
            receipts: self.receipts.values().map(receipt).collect(),
            reads: reads.iter().map(|(key, version)| WireVersion::new(key, *version)).collect(),
            floors: floors.iter().map(|(key, version)| WireVersion::new(key, *version)).collect(),
            ranges: self.ranges.iter().map(wire_range).collect(),
            record: WireRecord::new(&record),
        };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        let payload: Vec<_> = self.writes.values().filter_map(|write| write.inline.clone()).collect();
        envelope::seal(Kind::Token, &meta, &payload)
    }

    /// Reads a token's bytes, checked against every rule of the format and every checksum.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Suspended::encode`] did not make.
    pub fn decode(bytes: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Token, bytes)?;
        let (wire, rest) = postcard::take_from_bytes::<WireToken<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() {
            return Err(FormatError::Malformed("more meta than one token"));
        }
        let lineage = sorted(wire.lineage.iter().map(|attempt| (*attempt, ())))?;
        let receipts = sorted(wire.receipts.iter().map(|receipt| {
            let txn = TxnId::from_bytes(receipt.txn);
            let version = Version::new(Timestamp::from_bits(receipt.clock), txn);
            (version, Receipt::new(version, receipt.decided_by.map_or(txn, TxnId::from_bytes)))
        }))?;
        if receipts.contains_key(&Version::ABSENT) {
            return Err(FormatError::Malformed("a receipt of nothing"));
        }
        let versions: Vec<_> = receipts.keys().copied().collect();
        let mut writers = wire.writers.iter().map(|place| {
            let writer = usize::try_from(*place).ok().and_then(|place| wire.lineage.get(place));
            writer.copied().ok_or(FormatError::Malformed("a write of another line"))
        });
        let no_writer = FormatError::Malformed("a write without its attempt");
        let record = wire.record.into_record(&meta)?;
        let open = |guard: &Guard| *guard == open_guard(guard.key.clone());
        if record.clock != Timestamp::default() || !record.guards.iter().all(open) {
            return Err(FormatError::Malformed("a transaction that is not open"));
        }
        let guarded = sorted(record.guards.into_iter().map(|guard| (guard.key, ())))?;
        let mut writes = BTreeMap::new();
        let mut at = payload_start;
        for Write { key, value } in record.writes {
            let writer = writers.next().ok_or(no_writer.clone())??;
            let inline = take_inline(bytes, &mut at, &value)?;
            writes.insert(key, SuspendedWrite { writer, value, inline });
        }
        let result = match record.result {
            Some(result) => Some((writers.next().ok_or(no_writer)??, result)),
            None => None,
        };
        if at != bytes.len() || writers.next().is_some() {
            return Err(FormatError::Malformed("a payload that is not its values"));
        }
        let reads = versioned(&wire.reads, &versions, &meta, true)?;
        if !guarded.keys().all(|key| reads.contains_key(key)) {
            return Err(FormatError::Malformed("a guard of a key that was not read"));
        }
        Ok(Self {
            store_id: wire.store_id.to_owned(),
            txn: record.txn,
            age_ms: wire.age_ms,
            seen_until: wire.seen_until,
            base: wire.base,
            request_key: record.request_key,
            latest: wire.latest,
            publish_before_ack: wire.publish_before_ack,
            serializable: wire.serializable,
            guarded: guarded.into_keys().collect(),
            reads,
            floors: versioned(&wire.floors, &versions, &meta, false)?,
            ranges: ranges(&wire.ranges, &meta)?,
            writes,
            result,
            receipts,
            lineage: lineage.into_keys().collect(),
        })
    }
}

impl<'a> WireVersion<'a> {
    fn new(key: &'a Bytes, version: u32) -> Self {
        Self { key: serde_bytes::Bytes::new(key), version }
    }
}

/// A guard that is not made yet, as a token's record tells it: which key is guarded.
fn open_guard(key: Bytes) -> Guard {
    Guard { key, over: Version::ABSENT, slot: 0 }
}

fn wire_range(range: &KeyRange) -> WireRange<'_> {
    let (start, end) = range.ends();
    (serde_bytes::Bytes::new(start), end.map(|end| serde_bytes::Bytes::new(end)))
}

fn ranges(wire: &[WireRange<'_>], meta: &Bytes) -> Result<Vec<KeyRange>, FormatError> {
    let slice = |key: &serde_bytes::Bytes| meta.slice_ref(key);
    let mut ranges: Vec<KeyRange> = Vec::new();
    for (start, end) in wire {
        let range = KeyRange::between(slice(start), end.map(slice));
        if range.is_empty() || ranges.last().is_some_and(|last| !last.precedes(&range)) {
            return Err(MALFORMED_ORDER);
        }
        ranges.push(range);
    }
    Ok(ranges)
}

/// The value of a write where it is inline: the bytes of the token from `at` on, verified.
fn take_inline(bytes: &Bytes, at: &mut usize, value: &Value) -> Result<Option<Bytes>, FormatError> {
    let Value::Inline { len, checksum: expected, .. } = value else { return Ok(None) };
    let end =
        usize::try_from(*len).ok().and_then(|len| at.checked_add(len)).filter(|end| *end <= bytes.len());
    let end = end.ok_or(FormatError::Malformed("a payload that is not its values"))?;
    let inline = bytes.slice(*at..end);
    *at = end;
    if checksum(&inline) != *expected {
        return Err(FormatError::Checksum);
    }
    Ok(Some(inline))
}

fn sorted<K: Ord, V>(entries: impl Iterator<Item = (K, V)>) -> Result<BTreeMap<K, V>, FormatError> {
    let mut map = BTreeMap::new();
    for (key, value) in entries {
        if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(MALFORMED_ORDER);
        }
        map.insert(key, value);
    }
    Ok(map)
}

fn versioned(
    wire: &[WireVersion<'_>],
    versions: &[Version],
    meta: &Bytes,
    absent: bool,
) -> Result<BTreeMap<Bytes, Version>, FormatError> {
    for entry in wire {
        if entry.key.is_empty() || entry.key.len() > MAX_KEY_BYTES {
            return Err(FormatError::Malformed("a key of an impossible length"));
        }
        if entry.version as usize > versions.len() || (entry.version == 0 && !absent) {
            return Err(FormatError::Malformed("a version without a receipt"));
        }
    }
    sorted(wire.iter().map(|entry| {
        let version = (entry.version as usize).checked_sub(1).and_then(|place| versions.get(place).copied());
        (meta.slice_ref(entry.key), version.unwrap_or(Version::ABSENT))
    }))
}
