//! The decision of a transaction: `commits/<shard>/<id>`, a write-once register.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::format::envelope::{self, FormatError, Kind};
use crate::format::record::{CommitRecord, WireRecord};
use crate::txn_id::TxnId;

/// The content of a decision object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The id that the object is named by: a transaction's, or a group's.
    pub id: TxnId,
    /// The random number of whoever wrote it: how a writer knows its own decision when it reads it back.
    pub attempt: u64,
    /// What was decided.
    pub verdict: Verdict,
}

/// What a decision decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The transactions committed, if the decision is in time: one, or the members of a group.
    Commit(Vec<CommitRecord>),
    /// The transaction will never commit.
    Abort,
}

/// A decision together with where its inline values begin in the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The decision.
    pub decision: Decision,
    /// For each record of a commit, where its first inline value begins, in bytes from the object's start.
    pub inline_offsets: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct WireDecision<'a> {
    id: [u8; 16],
    attempt: u64,
    #[serde(borrow)]
    verdict: WireVerdict<'a>,
}

#[derive(Serialize, Deserialize)]
enum WireVerdict<'a> {
    #[serde(borrow)]
    Commit(Vec<WireRecord<'a>>),
    Abort,
}

impl Decision {
    /// The object, with the inline values of its records in `payload`, in order.
    ///
    /// # Errors
    /// Where the record is over 4 GiB.
    pub fn encode(&self, payload: &[Bytes]) -> Result<Bytes, FormatError> {
        let verdict = match &self.verdict {
            Verdict::Commit(records) => WireVerdict::Commit(records.iter().map(WireRecord::new).collect()),
            Verdict::Abort => WireVerdict::Abort,
        };
        let wire = WireDecision { id: *self.id.as_bytes(), attempt: self.attempt, verdict };
        let meta = postcard::to_stdvec(&wire).map_err(|_| FormatError::Malformed("cannot be encoded"))?;
        envelope::seal(Kind::Decision, &meta, payload)
    }

    /// Reads a decision object, checked against every rule of the format.
    ///
    /// # Errors
    /// [`FormatError`], for any bytes that [`Decision::encode`] did not make.
    pub fn decode(object: &Bytes) -> Result<Decoded, FormatError> {
        let (meta, payload_start) = envelope::open(Kind::Decision, object)?;
        let (wire, rest) = postcard::take_from_bytes::<WireDecision<'_>>(&meta)
            .map_err(|_| FormatError::Malformed("cannot be decoded"))?;
        if !rest.is_empty() {
            return Err(FormatError::Malformed("more meta than one decision"));
        }
        let mut base = payload_start as u64;
        let mut inline_offsets = Vec::new();
        let verdict = match wire.verdict {
            WireVerdict::Abort => Verdict::Abort,
            WireVerdict::Commit(records) if records.is_empty() => {
                return Err(FormatError::Malformed("a commit of nothing"));
            }
            WireVerdict::Commit(records) => {
                let mut decoded = Vec::with_capacity(records.len());
                for record in records {
                    let record = record.into_record(&meta)?;
                    inline_offsets.push(base);
                    base = base.saturating_add(record.inline_len());
                    decoded.push(record);
                }
                Verdict::Commit(decoded)
            }
        };
        if base != object.len() as u64 {
            return Err(FormatError::Malformed("a payload that is not its values"));
        }
        let decision = Self { id: TxnId::from_bytes(wire.id), attempt: wire.attempt, verdict };
        Ok(Decoded { decision, inline_offsets })
    }
}
