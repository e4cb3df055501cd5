//! Claims: `requests/<shard>/<hash>/<number>`, which transaction a request key leads to.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::MAX_KEY_BYTES;
use crate::format::envelope::{self, FormatError, Kind};
use crate::format::name::RequestHash;
use crate::txn_id::TxnId;

/// The claim of a request key for a transaction: whoever creates the object with this number first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The transaction.
    pub txn: TxnId,
    /// The request key: 1 to 4096 bytes.
    pub key: Bytes,
    /// The hash of the request's input, where whoever made the claim told it.
    pub input: Option<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
struct WireClaim<'a> {
    txn: [u8; 16],
    #[serde(borrow)]
    key: &'a serde_bytes::Bytes,
    // The hash of the input follows, where there is one.
}

/// The hash that names a request key's objects: nobody can make two keys share one.
#[must_use]
pub fn request_hash(key: &[u8]) -> RequestHash {
    RequestHash(hash_of(b"aft request key\0", key))
}

/// The hash of a request's input: nobody can make two inputs share one.
#[must_use]
pub fn input_hash(input: &[u8]) -> [u8; 32] {
    hash_of(b"aft request input\0", input)
}

/// The hash of bytes that are used as `what` says, which ends with a zero byte: nothing has the hash of what is used otherwise.
pub(super) fn hash_of(what: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(what);
    hash.update(bytes);
    hash.finalize().into()
}

impl Claim {
    /// The object.
    ///
    /// # Errors
    /// Never in practice: a claim is small.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let wire = WireClaim { txn: *self.txn.as_bytes(), key: serde_bytes::Bytes::new(&self.key) };
        let mut meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        meta.extend(self.input.iter().flatten());
        envelope::seal(Kind::Request, &meta, &[])
    }

    /// Reads a claim.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Claim::encode`] did not make.
    pub fn decode(object: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Request, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireClaim<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        let input = if rest.is_empty() { None } else { rest.try_into().ok() };
        if input.is_none() && !rest.is_empty() || payload_start != object.len() {
            return Err(FormatError::Malformed("more than one claim"));
        }
        if wire.key.is_empty() || wire.key.len() > MAX_KEY_BYTES {
            return Err(FormatError::Malformed("a request key of an impossible length"));
        }
        Ok(Self { txn: TxnId::from_bytes(wire.txn), key: Bytes::copy_from_slice(wire.key), input })
    }
}
