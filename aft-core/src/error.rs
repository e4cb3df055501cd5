//! Errors: what happened, to which transaction, what became of it, and what the caller can do.

use std::fmt;
use std::sync::Arc;

use crate::receipt::Receipt;
use crate::storage::{BoxError, StorageError};
use crate::txn_id::TxnId;

/// What a caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The transaction did not commit and never will. Run it again as a new transaction.
    Aborted,
    /// The transaction is older than [`Config::transaction_lifetime`](crate::Config::transaction_lifetime). It did not commit through this
    /// call. Run it again as a new transaction.
    Expired,
    /// The commit may or may not have happened, and could not be settled within its bound. Ask
    /// [`Aft::outcome`](crate::Aft::outcome) with the id, or commit again under the same id; never assume either.
    OutcomeUnknown,
    /// A version that the transaction must read is not to be had any more. Run it again as a new transaction.
    VersionUnavailable,
    /// This node's clock is off by more than [`Config::max_clock_skew`](crate::Config::max_clock_skew). Nothing was committed. Mend the clock.
    ClockSkew,
    /// The store could not be asked. Nothing was committed. Try again later.
    Unavailable,
    /// A stored object is damaged; the message names it. What does not need it goes on working.
    Corrupt,
    /// The store was copied, or the dates of its objects were changed, so that they do not tell any more what counts. Nothing was read
    /// or written. Adopt it ([`Builder::adopt`](crate::Builder::adopt), `aft adopt`), once no process uses it.
    DatesChanged,
    /// The store cannot be used as asked: another format version, no atomic create, opened read-only.
    Unsupported,
    /// There is no aft store at this place. Opening it for writing makes one.
    NoStore,
    /// The store refuses these credentials.
    Denied,
    /// Another transaction committed first, or the branches of one cannot be joined ([`Token::join`](crate::Token::join)). Nothing was
    /// committed. Run it, or them, again.
    Conflict,
    /// The [request key](crate::Begin::request) was used before with another [input](crate::Begin::input). Nothing was done for this one. Give
    /// another request another key.
    InputMismatch,
    /// The commit happened, but was not published within its bound; [`Error::receipt`] has its receipt. Do not run it
    /// again; pass the receipt on, or call [`Aft::publish`](crate::Aft::publish).
    Unpublished,
    /// The caller's own error, from [`Error::application`].
    Application,
    /// The caller passed something that cannot be used. Nothing was written.
    InvalidInput,
    /// The node was closed.
    Closed,
    /// A fault of aft itself. Nothing was written. Please report it, with the text and its causes.
    Internal,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Aborted => "aborted",
            Self::Expired => "expired",
            Self::OutcomeUnknown => "outcome unknown",
            Self::VersionUnavailable => "version unavailable",
            Self::ClockSkew => "clock skew",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::DatesChanged => "dates changed",
            Self::Unsupported => "unsupported",
            Self::NoStore => "no store",
            Self::Denied => "denied",
            Self::Conflict => "conflict",
            Self::InputMismatch => "input mismatch",
            Self::Unpublished => "unpublished",
            Self::Application => "application error",
            Self::InvalidInput => "invalid input",
            Self::Closed => "closed",
            Self::Internal => "internal error",
        })
    }
}

/// An error of aft.
///
/// `Display` says what happened, to which transaction or object, what became of it and what can be done; the cause is
/// kept as [`source`](std::error::Error::source) and is not part of the text.
///
/// # Examples
///
/// ```
/// use aft_core::{Error, ErrorKind};
///
/// let error = Error::application(std::io::Error::other("no such customer"));
/// assert_eq!(error.kind(), ErrorKind::Application);
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    txn: Option<TxnId>,
    receipt: Option<Receipt>,
    object: Option<String>,
    source: Option<BoxError>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            txn: None,
            receipt: None,
            object: None,
            source: None,
        }))
    }

    /// The caller's own error, to be returned from a closure that aft runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use aft_core::{Error, ErrorKind};
    /// use std::error::Error as _;
    ///
    /// let error = Error::application(std::io::Error::other("no such customer"));
    /// assert_eq!(error.kind(), ErrorKind::Application);
    /// assert_eq!(error.source().unwrap().to_string(), "no such customer");
    /// ```
    pub fn application(cause: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Application, "the application's own error; nothing was committed")
            .with_source(cause)
    }

    /// An error of the store while doing `what` ("reading the marker").
    pub(crate) fn storage(what: impl fmt::Display, cause: StorageError) -> Self {
        if let Some(too_large) = cause.is_too_large() {
            let path = cause.path();
            let message =
                format!("{what} failed: the object {path:?} is damaged, {too_large}; it was left as it is");
            return Self::new(ErrorKind::Corrupt, message).with_object(path);
        }
        let (kind, advice) = match &cause {
            StorageError::Denied { .. } => (
                ErrorKind::Denied,
                "it is the credentials, their permissions, or this machine's clock: see the cause",
            ),
            StorageError::Invalid { .. } => (ErrorKind::Unsupported, "see the cause"),
            StorageError::NotFound { .. } => {
                (ErrorKind::VersionUnavailable, "an object that should exist is gone")
            }
            StorageError::AlreadyExists { .. }
            | StorageError::Unavailable { .. }
            | StorageError::Unknown { .. } => (ErrorKind::Unavailable, "try again later"),
        };
        Self::new(kind, format!("{what} failed; {advice}")).with_source(cause)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidInput, message)
    }

    pub(crate) fn with_source(self, cause: impl Into<BoxError>) -> Self {
        self.change(|inner| inner.source = Some(cause.into()))
    }

    pub(crate) fn with_txn(self, txn: TxnId) -> Self {
        self.change(|inner| inner.txn = Some(txn))
    }

    /// Names the object that it is about.
    pub(crate) fn with_object(self, path: &str) -> Self {
        self.change(|inner| inner.object = Some(path.to_owned()))
    }

    /// The object that it is about, where that is known.
    pub(crate) fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    pub(crate) fn with_receipt(self, receipt: Receipt) -> Self {
        self.change(|inner| inner.receipt = Some(receipt))
    }

    /// The same failure as part of another one: a shared cause keeps one chain.
    pub(crate) fn wrapped(self, message: impl Into<String>) -> Self {
        Self::new(self.kind(), message).with_source(self)
    }

    fn change(self, apply: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = match Arc::try_unwrap(self.0) {
            Ok(inner) => inner,
            // Shared already: its text stays, and the shared one becomes the cause only of itself.
            Err(shared) => Inner {
                kind: shared.kind,
                message: shared.message.clone(),
                txn: shared.txn,
                receipt: shared.receipt.clone(),
                object: shared.object.clone(),
                source: shared.source.as_ref().map(|_| BoxError::from(SharedSource(shared.clone()))),
            },
        };
        apply(&mut inner);
        Self(Arc::new(inner))
    }

    /// What the caller should do about it.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let refused = aft.begin().await?.put("", "v").unwrap_err();
    /// assert_eq!(refused.kind(), aft_core::ErrorKind::InvalidInput);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The transaction that it happened to, where there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
    /// let tx = aft.begin().await?;
    /// aft.close().await?;
    /// assert_eq!(tx.get("k").await.unwrap_err().kind(), aft_core::ErrorKind::Closed);
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn txn_id(&self) -> Option<TxnId> {
        self.0.txn
    }

    /// The receipt of a commit that did happen ([`ErrorKind::Unpublished`]).
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        self.0.receipt.as_ref()
    }
}

/// Stands for the source of a shared error, whose own text was already printed.
struct SharedSource(Arc<Inner>);

impl SharedSource {
    fn cause(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }
}

impl fmt::Debug for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.cause(), f)
    }
}

impl fmt::Display for SharedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause().map_or(Ok(()), |cause| fmt::Display::fmt(cause, f))
    }
}

impl std::error::Error for SharedSource {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause()?.source()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.txn {
            Some(txn) => write!(f, "transaction {txn}: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("txn", &self.0.txn)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_cause_is_printed_once_also_when_the_error_is_shared() {
        let error = Error::storage(
            "reading the marker",
            StorageError::unavailable("aft.json").with_source("refused"),
        );
        let other = error.clone().with_txn(TxnId::from_bytes([7; 16]));
        for error in [error, other] {
            let mut chain = vec![error.to_string()];
            let mut cause = error.source();
            while let Some(next) = cause {
                chain.push(next.to_string());
                cause = next.source();
            }
            assert_eq!(chain.len(), 3, "{chain:?}");
            assert!(chain[0].contains("reading the marker failed") && chain[2] == "refused", "{chain:?}");
            assert!(!chain[0].contains("refused") && !chain[1].contains("refused"), "{chain:?}");
        }
    }
}
