//! What a test can make go wrong.

use aft_core::StorageError;
use bytes::{Bytes, BytesMut};

use crate::request::Operation;

/// A [`StorageError`] without its path and cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// [`StorageError::NotFound`].
    NotFound,
    /// [`StorageError::AlreadyExists`].
    AlreadyExists,
    /// [`StorageError::Unavailable`].
    Unavailable,
    /// [`StorageError::Unknown`].
    Unknown,
    /// [`StorageError::Denied`].
    Denied,
    /// [`StorageError::Invalid`].
    Invalid,
}

impl ErrorKind {
    /// The error of this kind for a request at `path`.
    #[must_use]
    pub fn at(self, path: &str) -> StorageError {
        let error = match self {
            Self::NotFound => StorageError::not_found(path),
            Self::AlreadyExists => StorageError::already_exists(path),
            Self::Unavailable => StorageError::unavailable(path),
            Self::Unknown => StorageError::unknown(path),
            Self::Denied => StorageError::denied(path),
            Self::Invalid => StorageError::invalid(path),
        };
        error.with_source("a fault that a test scripted")
    }
}

impl From<&StorageError> for ErrorKind {
    fn from(error: &StorageError) -> Self {
        match error {
            StorageError::NotFound { .. } => Self::NotFound,
            StorageError::AlreadyExists { .. } => Self::AlreadyExists,
            StorageError::Unavailable { .. } => Self::Unavailable,
            StorageError::Unknown { .. } => Self::Unknown,
            StorageError::Denied { .. } => Self::Denied,
            StorageError::Invalid { .. } => Self::Invalid,
        }
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The error, and nothing happens in the store.
    Before(ErrorKind),
    /// The request is served, and then the error is returned in place of its answer.
    After(ErrorKind),
    /// The request waits for [`Gate::release`](crate::Gate::release) and is then served.
    Delay,
    /// The request is served at once, and its answer waits for [`Gate::release`](crate::Gate::release).
    Late,
    /// `Unknown` at once; the effect happens when [`Gate::release`](crate::Gate::release) is called. A read, which has
    /// no effect, is `Unavailable` instead.
    Ghost,
    /// The bytes that a get returns are damaged. Nothing, where no bytes are returned.
    Corrupt(Corruption),
}

/// How bytes are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corruption {
    /// Every bit of the byte at this offset is turned over; past the end, of the last byte.
    Flip(usize),
    /// Everything from this offset on is missing.
    Truncate(usize),
}

impl Corruption {
    pub(crate) fn apply(self, bytes: Bytes) -> Bytes {
        match self {
            Self::Truncate(len) => bytes.slice(..len.min(bytes.len())),
            Self::Flip(_) if bytes.is_empty() => bytes,
            Self::Flip(at) => {
                let at = at.min(bytes.len() - 1);
                let mut damaged = BytesMut::from(&bytes[..]);
                damaged[at] = !damaged[at];
                damaged.freeze()
            }
        }
    }
}

/// A fault and the request that it waits for.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) operation: Operation,
    pub(crate) prefix: String,
    /// How many matching requests pass before the fault strikes.
    pub(crate) passes: u64,
    pub(crate) fault: Fault,
    pub(crate) gate: crate::gate::Gate,
}

impl Rule {
    pub(crate) fn matches(&self, operation: Operation, path: &str) -> bool {
        self.operation == operation && path.starts_with(&self.prefix)
    }
}
