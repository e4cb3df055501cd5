//! What aft needs from a store: five operations, every object written once.

use std::fmt;
use std::ops::Range;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The cause that a [`StorageError`] or an [`Error`](crate::Error) keeps.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A store of objects that are written once and never changed.
///
/// aft builds on exactly these five operations (one of them, `get`, in two forms; `keeps_versions` asks the adapter, not the store); there is no overwriting put at all. An adapter proves that it keeps
/// the contract by running [`conformance`](crate::conformance) (feature `conformance`) in one line.
///
/// # Contract
///
/// - Paths are UTF-8, `/`-separated, relative, without empty, `.` or `..` segments; each segment is made of ASCII
///   letters, digits, `-`, `_` and `.` and is at most 200 bytes long.
/// - `create` is atomic: of any number of concurrent creators of one path exactly one gets `Ok`, and a reader sees
///   the whole object or none. When it returns `Ok` the object is durable.
/// - `get`, `get_range` and `list` are strongly consistent: they see every `create` that returned `Ok` before they began.
/// - `last_modified` is the store's own clock, the one clock all nodes share. It is compared in whole seconds. For
///   one object, `get` and `list` agree on it once it is truncated to whole seconds. It may lie before the moment
///   the object became visible by at most [`Config::visibility_delay`](crate::Config::visibility_delay), never after it by
///   more than rounding.
/// - An error that leaves the effect of a `create` or `delete` open is [`StorageError::Unknown`], never anything else.
/// - Every operation ends within a bounded time.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// The whole object at `path`.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] where there is none; `Unavailable` or `Denied` where the store could not be asked.
    async fn get(&self, path: &str) -> Result<Object, StorageError>;

    /// The same, where the object has at most `most` bytes: aft knows how long any of its objects can be, and one that became longer,
    /// by accident or on purpose, must not take the memory of whoever reads it.
    ///
    /// An adapter does it with one request, and learns the size before it reads the body. The default reads the whole object first, which
    /// will do only where objects are in memory anyway.
    ///
    /// # Errors
    /// As [`get`](Storage::get); [`StorageError::too_large`] where it has more.
    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        let object = self.get(path).await?;
        let size = object.bytes.len() as u64;
        if size > most { Err(StorageError::too_large(path, size, most)) } else { Ok(object) }
    }

    /// The bytes `range` of the object at `path`. A range that reaches past the end is cut off at the end; one that
    /// starts past the end, or is empty, is empty.
    ///
    /// # Errors
    /// As [`get`](Storage::get).
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError>;

    /// Makes the object only where none is. Atomic; durable when it returns `Ok`.
    ///
    /// An adapter does it with one plain request, however large the object is: never in parts. Many servers that guard a plain
    /// put (`If-None-Match: *`) ignore the condition when a multipart or resumable upload completes, or let several of them
    /// win; `docs/stores.md` names those that were seen.
    ///
    /// # Errors
    /// [`StorageError::AlreadyExists`] where there is one (or, with a client that retries inside, where an earlier
    /// try of this very call made it, or where the store reported a conflict without effect: the caller reads back);
    /// `Unavailable` where nothing happened; `Unknown` where it may have happened or may still happen.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError>;

    /// Every object whose path begins with `prefix` (a plain string prefix) and sorts after `start_after` (bytewise,
    /// exclusive), in any order. A path that is no prefix of anything lists nothing.
    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>>;

    /// Deletes the objects at `paths`. Idempotent: an absent path is no error.
    ///
    /// # Errors
    /// `Unavailable`, `Unknown` or `Denied`; some of the paths may be gone then. Deleting again is always safe.
    async fn delete(&self, paths: &[String]) -> Result<(), StorageError>;

    /// Whether answers of the store so far showed that it keeps what is deleted: as older versions, which still take their room. It
    /// sends nothing and may be `false` where nothing showed it; a collection of garbage says so in its report, and nothing else depends on
    /// it.
    ///
    /// An adapter over another passes on what that one says.
    fn keeps_versions(&self) -> bool {
        false
    }
}

/// A whole object, as [`Storage::get`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Bytes,
    /// When it was made, by the store's clock.
    pub last_modified: SystemTime,
}

/// Why an object is not read: it is longer than it can be. The source of a [`StorageError::too_large`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has {size} bytes, and as what it is it has at most {most}")]
pub struct TooLarge {
    /// How many bytes it has.
    pub size: u64,
    /// How many it may have.
    pub most: u64,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its path.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was made, by the store's clock.
    pub last_modified: SystemTime,
}

/// What went wrong in a store, and what is certain about the effect.
///
/// `Display` says what happened and to which path; the cause is kept as `source` and printed by none of them twice.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no object at the path.
    #[error("no object at {path:?}")]
    NotFound {
        /// The path that was asked for.
        path: String,
        /// The adapter's own error, where there is one.
        source: Option<BoxError>,
    },
    /// An object is already at the path (or the store says so: see [`Storage::create`]).
    #[error("an object is already at {path:?}")]
    AlreadyExists {
        /// The path that was to be created.
        path: String,
        /// The adapter's own error, where there is one.
        source: Option<BoxError>,
    },
    /// The store could not be asked; nothing happened. Trying again may help.
    #[error("the store is unavailable; nothing happened to {path:?}")]
    Unavailable {
        /// The path of the request.
        path: String,
        /// The adapter's own error, where there is one.
        source: Option<BoxError>,
    },
    /// The request may have taken effect, or may still take effect.
    #[error("the store did not answer; what was asked of {path:?} may or may not have happened")]
    Unknown {
        /// The path of the request.
        path: String,
        /// The adapter's own error, where there is one.
        source: Option<BoxError>,
    },
    /// The store refuses this caller: credentials, permissions. Nothing happened; trying again does not help.
    #[error("the store denies access to {path:?}")]
    Denied {
        /// The path of the request.
        path: String,
        /// The adapter's own error, where there is one.
        source: Option<BoxError>,
    },
    /// The request cannot be served by this store: a bad path, a missing bucket, a full disk, an unsupported feature.
    /// Nothing happened; trying again does not help until somebody changes something.
    #[error("the store cannot serve the request for {path:?}")]
    Invalid {
        /// The path of the request.
        path: String,
        /// The adapter's own error, where there is one.
        source: Option<BoxError>,
    },
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $variant:ident),* $(,)?) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(path: impl Into<String>) -> Self {
                Self::$variant { path: path.into(), source: None }
            }
        )*
    };
}

impl StorageError {
    constructors! {
        /// A [`StorageError::NotFound`] without a source.
        not_found => NotFound,
        /// A [`StorageError::AlreadyExists`] without a source.
        already_exists => AlreadyExists,
        /// A [`StorageError::Unavailable`] without a source.
        unavailable => Unavailable,
        /// A [`StorageError::Unknown`] without a source.
        unknown => Unknown,
        /// A [`StorageError::Denied`] without a source.
        denied => Denied,
        /// A [`StorageError::Invalid`] without a source.
        invalid => Invalid,
    }

    /// A [`StorageError::Invalid`] for an object of `size` bytes where it may have `most`; its source is a [`TooLarge`].
    #[must_use]
    pub fn too_large(path: impl Into<String>, size: u64, most: u64) -> Self {
        Self::invalid(path).with_source(TooLarge { size, most })
    }

    /// How much too large the object is, where that is why it was not read ([`Storage::get_at_most`]).
    #[must_use]
    pub fn is_too_large(&self) -> Option<TooLarge> {
        let Self::Invalid { source: Some(source), .. } = self else { return None };
        source.downcast_ref().copied()
    }

    /// The same error with `cause` as its source.
    #[must_use]
    pub fn with_source(mut self, cause: impl Into<BoxError>) -> Self {
        let (Self::NotFound { source, .. }
        | Self::AlreadyExists { source, .. }
        | Self::Unavailable { source, .. }
        | Self::Unknown { source, .. }
        | Self::Denied { source, .. }
        | Self::Invalid { source, .. }) = &mut self;
        *source = Some(cause.into());
        self
    }

    /// The path of the request that failed.
    #[must_use]
    pub fn path(&self) -> &str {
        let (Self::NotFound { path, .. }
        | Self::AlreadyExists { path, .. }
        | Self::Unavailable { path, .. }
        | Self::Unknown { path, .. }
        | Self::Denied { path, .. }
        | Self::Invalid { path, .. }) = self;
        path
    }

    /// Whether trying the same request again may help: `Unavailable` and `Unknown`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Unknown { .. })
    }
}
