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
use crate::text::serde_as_text;
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
/// store and not in the token; a joined token has the values of all its branches inside. The text is a third longer.
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
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// let id = tx.id();
    /// tx.put("order/4711", "picked")?;
    /// let token = tx.suspend().await?;
    /// assert_eq!(token.txn_id(), id);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn txn_id(&self) -> TxnId {
        self.state.txn
    }

    /// The token as bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let token = aft.begin().await?.suspend().await?;
    /// assert_eq!(aft_core::Token::from_bytes(token.to_bytes())?.txn_id(), token.txn_id());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The token that [`to_bytes`](Self::to_bytes) gave.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for anything else, also where a single bit is damaged; [`ErrorKind::Unsupported`] for a
    /// token of another format version.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let token = aft.begin().await?.suspend().await?;
    /// let tx = aft.resume(&aft_core::Token::from_bytes(token.to_bytes())?).await?;
    /// assert_eq!(tx.id(), token.txn_id());
    /// assert!(aft_core::Token::from_bytes("no token").is_err());
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, Error> {
        // A copy: it may be a slice of a whole payload.
        let bytes = Bytes::copy_from_slice(&bytes.into());
        let state = Suspended::decode(&bytes).map_err(|cause| {
            if let FormatError::UnsupportedVersion(_) = cause {
                return another_version().with_source(cause);
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

fn another_version() -> Error {
    Error::new(ErrorKind::Unsupported, "the token is of another format version; use the aft that made it")
}

/// Whether the text begins as [`PREFIX`] does, with another number.
fn is_of_another_version(text: &str) -> bool {
    let prefix = text.split_once('.').map(|(prefix, _)| prefix);
    let number = prefix.and_then(|prefix| prefix.strip_prefix("aft")?.strip_suffix('t'));
    number.is_some_and(|number| number.parse::<u16>().is_ok())
}

serde_as_text!(Token);

impl FromStr for Token {
    type Err = Error;

    /// As [`from_bytes`](Self::from_bytes), for what a token prints.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid("this text is no token; expected what Token prints");
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(if is_of_another_version(text) { another_version() } else { invalid() });
        };
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|cause| invalid().with_source(cause))?;
        Self::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::format::envelope::checksum;
    use crate::format::record::Value;
    use crate::format::token::SuspendedWrite;
    use crate::key_range::KeyRange;
    use crate::receipt::Receipt;
    use crate::version::{Timestamp, Version};

    fn sample() -> Token {
        let txn = TxnId::from_parts(77, &mut crate::rng::seeded(1));
        let version = Version::new(Timestamp::from_ms(99), txn);
        let inline = Bytes::from("booked");
        let value = Value::Inline { offset: 0, len: inline.len() as u64, checksum: checksum(&inline) };
        let write = SuspendedWrite { writer: 5, value, inline: Some(inline) };
        Token::new(Suspended {
            store_id: "store".to_owned(),
            txn,
            age_ms: 3,
            seen_until: 4,
            base: 5,
            request_key: Some(Bytes::from("order-4711")),
            latest: false,
            publish_before_ack: true,
            serializable: false,
            guarded: [Bytes::from("flight")].into(),
            receipts: [(version, Receipt::new(version, txn))].into(),
            reads: [(Bytes::from("flight"), version), (Bytes::from("none"), Version::ABSENT)].into(),
            ranges: vec![KeyRange::prefix("seat/")],
            floors: [(Bytes::from("hotel"), version)].into(),
            writes: [(Bytes::from("flight"), write)].into(),
            result: Some((5, Bytes::from("done"))),
            lineage: [5].into(),
        })
        .unwrap()
    }

    #[test]
    fn a_token_is_its_bytes_and_its_text() {
        let token = sample();
        assert_eq!(Token::from_bytes(token.to_bytes()).unwrap(), token);
        let text = token.to_string();
        assert_eq!(text.parse::<Token>().unwrap(), token);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{text}");
        assert!(!format!("{token:?}").contains("booked"), "a log does not show what is written");
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let bytes = sample().to_bytes();
        for len in 0..bytes.len() {
            let error = Token::from_bytes(bytes.slice(..len)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "cut at {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = Token::from_bytes(damaged).unwrap_err();
            let of_version = (4..6).contains(&(bit / 8));
            let kind = if of_version { ErrorKind::Unsupported } else { ErrorKind::InvalidInput };
            assert_eq!(error.kind(), kind, "bit {bit}");
            assert!(error.source().is_some_and(|cause| cause.is::<FormatError>()));
        }
    }

    #[test]
    fn every_cut_and_every_other_letter_of_the_text_is_refused() {
        let text = sample().to_string();
        for at in 0..text.len() {
            assert_eq!(
                text[..at].parse::<Token>().unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "cut at {at}"
            );
            for other in ["A", "b", "7", "_", "+", "=", ".", " ", "é"] {
                let damaged = [&text[..at], other, &text[at + 1..]].concat();
                assert!(damaged == text || damaged.parse::<Token>().is_err(), "{damaged}");
            }
        }
        for more in ["A", "=", "==", "\n"] {
            assert!(format!("{text}{more}").parse::<Token>().is_err(), "{more:?}");
        }
    }

    #[test]
    fn what_is_no_token_is_invalid_and_another_version_is_unsupported() {
        let token = sample();
        let encoded = &token.to_string()[PREFIX.len()..];
        let receipt = Receipt::new(Version::new(Timestamp::from_ms(99), token.txn_id()), token.txn_id());
        for text in [
            "",
            "aft1t",
            PREFIX,
            encoded,
            &receipt.to_string(),
            "aftt.",
            "aft+2x.",
            "bft1t.",
            " aft1t.",
            "aft-2t.",
        ] {
            let kind = text.parse::<Token>().unwrap_err().kind();
            assert_eq!(kind, ErrorKind::InvalidInput, "{text:?}");
        }
        for prefix in ["AFT1T.", "aft1.", "aft1t:"] {
            let kind = format!("{prefix}{encoded}").parse::<Token>().unwrap_err().kind();
            assert_eq!(kind, ErrorKind::InvalidInput, "{prefix:?}");
        }
        let later = format!("aft2t.{encoded}").parse::<Token>().unwrap_err();
        let mut bytes = token.to_bytes().to_vec();
        bytes[4] = 2;
        let inside = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes)).parse::<Token>().unwrap_err();
        for error in [later, inside, Token::from_bytes(bytes).unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
    }

    #[test]
    fn joins_name_what_is_wrong() {
        let token = sample();
        assert_eq!(Token::join([]).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(Token::join([token.clone(), token.clone(), token.clone()]).unwrap(), token);
        let with = |change: fn(&mut Suspended)| {
            let mut state = token.state.clone();
            change(&mut state);
            Token::join([token.clone(), Token::new(state).unwrap()]).unwrap_err()
        };
        let foreign = with(|state| state.store_id = "another".to_owned());
        assert_eq!(foreign.kind(), ErrorKind::InvalidInput);
        let conflicts = [
            with(|state| state.reads.extend([(Bytes::from("flight"), Version::ABSENT)])),
            with(|state| {
                state.lineage = [6].into();
                state.result = None;
                state.writes.values_mut().for_each(|write| write.writer = 6);
            }),
            with(|state| {
                state.lineage = [6].into();
                state.writes.clear();
                state.result = Some((6, Bytes::new()));
            }),
        ];
        let found = conflicts.map(|error| {
            assert_eq!((error.kind(), error.txn_id()), (ErrorKind::Conflict, Some(token.txn_id())));
            error.source().and_then(|cause| cause.downcast_ref::<Unjoinable>().cloned()).unwrap()
        });
        let flight = || Bytes::from("flight");
        assert_eq!(found, [Unjoinable::Reads(flight()), Unjoinable::Writes(flight()), Unjoinable::Results]);
    }
}
