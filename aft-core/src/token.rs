//! Tokens: open transactions that travel.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::error::{Error, ErrorKind};
use crate::format::envelope::FormatError;
use crate::format::token::Suspended;
use crate::protocol::branches::{Unjoinable, join};
use crate::txn_id::TxnId;

/// An open transaction, to be passed to the next function in its payload: what it has read and written so far. Made by
/// [`Transaction::suspend`](crate::Transaction::suspend); [`Aft::resume`](crate::Aft::resume) goes on with it, on any node of the same store.
///
/// A token never changes: a function that is retried resumes the same state again, and whichever attempt commits first is the one that
/// counts (AFT, section 3.1, where a transaction cannot leave its node). It is bytes ([`to_bytes`](Self::to_bytes)) or text
/// ([`Display`](fmt::Display), URL-safe base64 after `aft1t.`), with a format version and checksums inside. It is not signed: whoever
/// can alter it can alter what the transaction writes, as whoever can write to the bucket can.
///
/// **Size.** About 120 bytes; for each key read its length and 2 to 4 bytes, for each commit read from 26 bytes and the keys that it wrote
/// beside, and for each key written its length, its value and about 12 bytes. Values over
/// [`Config::inline_value_bytes`](crate::Config::inline_value_bytes), and the largest of the others where they come to more than 64 KiB together, are in the
/// store and not in the token. The text is a third longer.
///
/// # Examples
///
/// ```
/// # use std::sync::Arc;
/// # use aft_core::{Aft, Config, Token};
/// # use aft_memory::MemoryStorage;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let store = Arc::new(MemoryStorage::new());
/// let first = Aft::open(store.clone(), Config::default()).await?;
/// let mut tx = first.begin().await?;
/// tx.put("order/4711", "picked")?;
/// let payload: String = tx.suspend().await?.to_string();
///
/// // Another function, on another machine.
/// let second = Aft::open(store, Config::default()).await?;
/// let mut tx = second.resume(&payload.parse::<Token>()?).await?;
/// assert_eq!(tx.get("order/4711").await?.as_deref(), Some(&b"picked"[..]));
/// tx.put("invoice/4711", "sent")?;
/// tx.commit().await?; // both steps at once
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub(crate) state: Suspended,
    /// Its encoding.
    bytes: Bytes,
}

/// What a token's text begins with: the format's version and what it is.
const PREFIX: &str = "aft1t.";

impl Token {
    pub(crate) fn new(state: Suspended) -> Result<Self, Error> {
        let bytes = state.encode().map_err(|cause| {
            Error::invalid("the transaction cannot be suspended").with_source(cause).with_txn(state.txn)
        })?;
        Ok(Self { state, bytes })
    }

    /// The transaction.
    #[must_use]
    pub fn txn_id(&self) -> TxnId {
        self.state.txn
    }

    /// The token as bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The token that [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything else, also where a single bit is damaged; [`ErrorKind::Unsupported`] for a
    /// token of another format version.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        // A copy: it may be a slice of a whole payload.
        let bytes = Bytes::copy_from_slice(&bytes.into());
        let state = Suspended::decode(&bytes).map_err(|cause| {
            if let FormatError::UnsupportedVersion(_) = cause {
                let message = "the token is of another format version; use the aft that made it";
                return Error::new(ErrorKind::Unsupported, message).with_source(cause);
            }
            Error::invalid("these bytes are no token, or a damaged one; expected what Token::to_bytes gave")
                .with_source(cause)
        })?;
        Ok(Self { state, bytes })
    }

    /// Joins the branches of one transaction that went to several functions side by side: the token of a transaction that has read what
    /// any of them read and written what any of them wrote. What the branches inherited from the token that they all resumed is no
    /// conflict; a branch that overwrote it wins over one that did not.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] where two branches wrote one key or set the result, or where their reads together are not one atomic
    /// read set (one read a commit that the other just missed): run the branches again. [`ErrorKind::InvalidInput`] where
    /// the tokens are of different transactions or there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use aft_core::{Aft, Config, ErrorKind, Token};
    /// # use aft_memory::MemoryStorage;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
    /// let fork = aft.begin().await?.suspend().await?;
    /// let mut left = aft.resume(&fork).await?;
    /// left.put("flight", "booked")?;
    /// let mut right = aft.resume(&fork).await?;
    /// right.put("hotel", "booked")?;
    /// let both = Token::join([left.suspend().await?, right.suspend().await?])?;
    /// aft.resume(&both).await?.commit().await?;
    ///
    /// let mut again = aft.resume(&fork).await?;
    /// again.put("hotel", "another")?;
    /// let error = Token::join([both, again.suspend().await?]).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Conflict);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn join(tokens: impl IntoIterator<Item = Self>) -> Result<Self, Error> {
        let mut states = tokens.into_iter().map(|token| token.state);
        let first = states.next().ok_or_else(|| Error::invalid("there are no tokens to join"))?;
        let txn = first.txn;
        let joined = states.try_fold(first, join).map_err(|cause| {
            let (kind, message) = match cause {
                Unjoinable::Foreign => {
                    (ErrorKind::InvalidInput, "only tokens of one transaction can be joined")
                }
                _ => (
                    ErrorKind::Conflict,
                    "the branches cannot be joined; nothing was committed; run them again",
                ),
            };
            Error::new(kind, message).with_source(cause).with_txn(txn)
        })?;
        Self::new(joined)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(&self.bytes))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Suspended { txn, reads, writes, .. } = &self.state;
        f.debug_struct("Token")
            .field("txn", txn)
            .field("reads", &reads.len())
            .field("writes", &writes.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl FromStr for Token {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid("this text is no token; expected what Token prints");
        let encoded = text.strip_prefix(PREFIX).ok_or_else(invalid)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|cause| invalid().with_source(cause))?;
        Self::from_bytes(bytes)
    }
}
