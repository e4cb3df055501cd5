//! The keys and values that both sides write and read, and aft's side of it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aft_core::{Aft, Commit, Config, Storage};
use bytes::Bytes;
use object_store::path::Path;

/// The prefix of every key.
pub const PREFIX: &str = "orders/";

/// What is written or read: so many keys, with values of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many keys.
    pub keys: usize,
    /// The size of each value in bytes.
    pub bytes: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.keys == 1 { "" } else { "s" };
        write!(f, "{} key{plural} x {}", self.keys, Size(self.bytes))
    }
}

/// A size as text: `100 B`, `8 KiB`.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1024 && bytes.is_multiple_of(1024) => write!(f, "{} KiB", bytes / 1024),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// A fixed set of keys, each by both its names, taken in turn.
#[derive(Debug)]
pub struct Keys {
    names: Vec<String>,
    paths: Vec<Path>,
    next: AtomicUsize,
}

impl Keys {
    /// So many keys.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let names: Vec<_> = (0..count).map(|n| format!("{PREFIX}{n:07}")).collect();
        let paths = names.iter().map(|name| Path::from(name.as_str())).collect();
        Self { names, paths, next: AtomicUsize::new(0) }
    }

    /// The next `count` keys, of which there must be a multiple.
    fn turn(&self, count: usize) -> Range<usize> {
        let start = self.next.fetch_add(count, Ordering::Relaxed) % self.names.len();
        start..(start + count).min(self.names.len())
    }

    /// The next `count` keys as aft knows them.
    pub fn names(&self, count: usize) -> &[String] {
        &self.names[self.turn(count)]
    }

    /// The next `count` keys as the plain alternative knows them.
    pub fn paths(&self, count: usize) -> &[Path] {
        &self.paths[self.turn(count)]
    }

    /// The next key of a walk that jumps about.
    pub fn far(&self) -> usize {
        self.next.fetch_add(7_919, Ordering::Relaxed) % self.names.len()
    }

    /// One key as aft knows it.
    #[must_use]
    pub fn name(&self, n: usize) -> &str {
        &self.names[n]
    }

    /// One key as the plain alternative knows it.
    #[must_use]
    pub fn path(&self, n: usize) -> &Path {
        &self.paths[n]
    }

    /// Every key as aft knows it.
    #[must_use]
    pub fn all_names(&self) -> &[String] {
        &self.names
    }

    /// Every key as the plain alternative knows it.
    #[must_use]
    pub fn all_paths(&self) -> &[Path] {
        &self.paths
    }
}

/// A value.
#[must_use]
pub fn value(bytes: usize) -> Bytes {
    // No run of equal bytes, in case anything below compresses.
    (0..bytes).map(|n| u8::try_from((n * 167 + n / 251) % 256).unwrap_or_default()).collect()
}

/// Opens a store with the default settings.
///
/// # Panics
/// Where that fails.
pub async fn open(storage: Arc<dyn Storage>) -> Aft {
    open_with(storage, Config::default()).await
}

/// Opens a store.
///
/// # Panics
/// Where that fails.
pub async fn open_with(storage: Arc<dyn Storage>, config: Config) -> Aft {
    Aft::open(storage, config).await.expect("the store opens")
}

/// Writes `keys` in one transaction.
///
/// # Panics
/// Where that fails.
pub async fn commit(aft: &Aft, keys: &[String], value: &Bytes) -> Commit {
    let mut tx = aft.begin().await.expect("begin");
    for key in keys {
        tx.put(key, value.clone()).expect("put");
    }
    tx.commit().await.expect("commit")
}

/// Writes every key, `per_commit` in each transaction, and publishes them.
///
/// # Panics
/// Where that fails.
pub async fn fill(aft: &Aft, keys: &Keys, value: &Bytes, per_commit: usize) {
    for names in keys.names.chunks(per_commit) {
        commit(aft, names, value).await;
    }
    aft.publish().await.expect("publish");
}
