//! Guards: `guards/<shard>/<hash>/<version>/<slot>`, who may supersede a version of a key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::{self, FormatError, Kind};
use crate::format::name::{GuardName, RequestHash};
use crate::format::request::hash_of;
use crate::txn_id::TxnId;
use crate::version::{Timestamp, Version};

/// The claim of a transaction on a version of a key: whoever creates the object of this name first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardClaim {
    /// The transaction.
    pub txn: TxnId,
    /// When its first attempt started, by its clock, in milliseconds since 1970: the older one goes first.
    pub since_ms: u64,
    /// Whether it writes the key.
    pub writes: bool,
    /// The version that it is over, as its name says it.
    pub over: Version,
    /// Its place among the guards over that version, as its name says it.
    pub slot: u32,
    /// The key: 1 to 4096 bytes.
    pub key: Bytes,
}

#[derive(Serialize, Deserialize)]
struct WireGuard<'a> {
    txn: [u8; 16],
    since_ms: u64,
    writes: bool,
    over_clock: u64,
    over_txn: [u8; 16],
    slot: u32,
    #[serde(borrow)]
    key: &'a serde_bytes::Bytes,
}

/// The hash that names a key's guards: nobody can make two keys share one.
#[must_use]
pub fn guarded_hash(key: &[u8]) -> RequestHash {
    RequestHash(hash_of(b"aft guarded key\0", key))
}

impl GuardClaim {
    /// The name of its object.
    #[must_use]
    pub fn name(&self) -> GuardName {
        GuardName { key: guarded_hash(&self.key), over: self.over, slot: self.slot }
    }

    /// The object.
    ///
    /// # Errors
    /// Never in practice: it is small.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let wire = WireGuard {
            txn: *self.txn.as_bytes(),
            since_ms: self.since_ms,
            writes: self.writes,
            over_clock: self.over.clock.bits(),
            over_txn: *self.over.txn.as_bytes(),
            slot: self.slot,
            key: serde_bytes::Bytes::new(&self.key),
        };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        envelope::seal(Kind::Guard, &meta, &[])
    }

    /// Reads a guard.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`GuardClaim::encode`] did not make.
    pub fn decode(object: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Guard, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireGuard<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() || payload_start != object.len() {
            return Err(FormatError::Malformed("more than one guard"));
        }
        if wire.key.is_empty() || wire.key.len() > MAX_KEY_BYTES {
            return Err(FormatError::Malformed("a key of an impossible length"));
        }
        let over = Version::new(Timestamp::from_bits(wire.over_clock), TxnId::from_bytes(wire.over_txn));
        let (txn, key) = (TxnId::from_bytes(wire.txn), Bytes::copy_from_slice(wire.key));
        Ok(Self { txn, since_ms: wire.since_ms, writes: wire.writes, over, slot: wire.slot, key })
    }

    /// Reads the guard of this name: one that was made under another one is as good as damaged.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_as(name: GuardName, object: &Bytes) -> Result<Self, FormatError> {
        let guard = Self::decode(object)?;
        if guard.name() == name {
            Ok(guard)
        } else {
            Err(FormatError::Malformed("the guard of another name"))
        }
    }
}
