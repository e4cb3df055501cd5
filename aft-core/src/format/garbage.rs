//! What `garbage/<file id>` and `outcomes/<number>-<file id>` hold: a list of decisions and values, from the fold of one checkpoint.
//!
//! In `garbage/` it is what nobody can reach any more: that an object is named there makes it garbage, whoever looks. In `outcomes/` it
//! is the contrary: decisions that the checkpoint folded and that stay for their outcome, since a request key leads to them; no values.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::bounds;
use crate::format::envelope::{self, FormatError, Kind};
use crate::format::name::ValueName;
use crate::txn_id::TxnId;

/// The content of a garbage file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Garbage {
    /// Ids of decisions whose commits are in the index now, or were superseded.
    pub decisions: Vec<TxnId>,
    /// Value objects that no row names any more, each with the transaction that it belongs to.
    pub values: Vec<(TxnId, ValueName)>,
}

#[derive(Serialize, Deserialize)]
struct WireGarbage {
    decisions: Vec<[u8; 16]>,
    values: Vec<([u8; 16], u64, u32)>,
}

impl Garbage {
    /// How many objects it names.
    #[must_use]
    pub fn entries(&self) -> u64 {
        (self.decisions.len() as u64).saturating_add(self.values.len() as u64)
    }

    /// The object.
    ///
    /// # Errors
    /// Where it would be over 4 GiB.
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let value = |(txn, value): &(TxnId, ValueName)| (*txn.as_bytes(), value.attempt, value.n);
        let wire = WireGarbage {
            decisions: self.decisions.iter().map(|txn| *txn.as_bytes()).collect(),
            values: self.values.iter().map(value).collect(),
        };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        if (envelope::HEADER_LEN + meta.len()) as u64 > bounds::LIST {
            return Err(FormatError::Malformed("more than one list can name"));
        }
        envelope::seal(Kind::Garbage, &meta, &[])
    }

    /// Reads a garbage file.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Garbage::encode`] did not make.
    pub fn decode(object: &Bytes) -> Result<Self, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Garbage, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireGarbage>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() || payload_start != object.len() {
            return Err(FormatError::Malformed("more than one garbage file"));
        }
        let value = |(txn, attempt, n)| (TxnId::from_bytes(txn), ValueName { attempt, n });
        Ok(Self {
            decisions: wire.decisions.into_iter().map(TxnId::from_bytes).collect(),
            values: wire.values.into_iter().map(value).collect(),
        })
    }
}
