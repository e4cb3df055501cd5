//! Where the bytes go: memory, files, S3. Each place is fresh, and has room for both sides.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aft_core::{Storage, TxnId};
use aft_memory::MemoryStorage;
use aft_s3::{FileStorage, Options};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use tempfile::TempDir;

use crate::plain::Plain;

/// How many requests the plain side keeps under way where requests wait: aft's own default.
const PARALLEL: usize = 16;

/// A kind of place.
#[derive(Debug, Clone)]
pub enum Backend {
    /// This process's memory.
    Memory,
    /// Files in a folder below this one, synced on both sides.
    Files(PathBuf),
    /// Objects below this URL.
    S3(Arc<S3>),
}

/// A prefix of a bucket.
#[derive(Debug)]
pub struct S3 {
    /// With the prefix, no slash at the end.
    url: String,
    client: Arc<dyn ObjectStore>,
    /// The prefix of this run within the bucket.
    prefix: String,
    next: AtomicU64,
}

impl S3 {
    /// The server that `AFT_TEST_S3_URL` names; `None` where it is not set.
    fn from_env() -> Option<Self> {
        let url = std::env::var("AFT_TEST_S3_URL").ok()?;
        let (bucket, prefix) =
            url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, "")))?;
        let run = format!("bench-{}", TxnId::new());
        let prefix = [prefix.trim_matches('/'), &run].into_iter().filter(|part| !part.is_empty());
        let prefix = prefix.collect::<Vec<_>>().join("/");
        let builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_allow_http(true);
        let client = Arc::new(builder.build().expect("the usual AWS_ variables are set"));
        Some(Self { url: format!("s3://{bucket}/{prefix}"), client, prefix, next: AtomicU64::new(0) })
    }

    fn place(&self) -> Place {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let storage = aft_s3::open(&format!("{}/{n}/aft", self.url), Options::default()).expect("a store");
        let plain = PrefixStore::new(Arc::clone(&self.client), format!("{}/{n}/plain", self.prefix));
        Place { storage, plain: Plain::new(Arc::new(plain), PARALLEL), _folder: None }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Files(_) => "files",
            Self::S3(_) => "s3",
        })
    }
}

impl Backend {
    /// All that there are; files go into `folder`. Says so where one is left out.
    #[must_use]
    #[allow(clippy::print_stderr, reason = "what is left out must be visible")]
    pub fn all(folder: PathBuf) -> Vec<Self> {
        let mut all = vec![Self::Memory, Self::Files(folder)];
        match S3::from_env() {
            Some(s3) => all.push(Self::S3(Arc::new(s3))),
            None => eprintln!("SKIPPED: S3; set AFT_TEST_S3_URL=s3://bucket/prefix to measure a server"),
        }
        all
    }

    /// Whether a request waits for something else than this process.
    #[must_use]
    pub fn waits(&self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// A fresh place.
    ///
    /// # Panics
    /// Where there is none to be had.
    #[must_use]
    pub fn place(&self) -> Place {
        match self {
            Self::Memory => Place {
                storage: Arc::new(MemoryStorage::new()),
                plain: Plain::new(Arc::new(InMemory::new()), 1),
                _folder: None,
            },
            Self::Files(folder) => {
                let folder = TempDir::with_prefix_in("aft-bench-", folder).expect("a folder");
                let plain = folder.path().join("plain");
                std::fs::create_dir(&plain).expect("a folder");
                let plain = LocalFileSystem::new_with_prefix(plain).expect("a folder").with_fsync(true);
                Place {
                    storage: Arc::new(FileStorage::open(folder.path().join("aft")).expect("a folder")),
                    plain: Plain::new(Arc::new(plain), PARALLEL),
                    _folder: Some(Arc::new(folder)),
                }
            }
            Self::S3(s3) => s3.place(),
        }
    }

    /// Removes what this run left on a server; files go with their places.
    pub async fn clear(&self) {
        if let Self::S3(s3) = self {
            let store = PrefixStore::new(Arc::clone(&s3.client), s3.prefix.as_str());
            Plain::new(Arc::new(store), PARALLEL).clear().await;
        }
    }
}

/// A fresh, empty store for each side.
#[derive(Debug, Clone)]
pub struct Place {
    /// For aft.
    pub storage: Arc<dyn Storage>,
    /// For the plain alternative.
    pub plain: Plain,
    /// Removed with the last clone.
    _folder: Option<Arc<TempDir>>,
}
