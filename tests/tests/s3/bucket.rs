//! Where a test works: a prefix of its own in the bucket, and nodes on it.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Config, Storage, StorageError, TxnId};
use aft_s3::Options;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};

use crate::Failure;

/// A prefix of the bucket that nothing else uses.
#[derive(Debug, Clone)]
pub struct Bucket {
    url: String,
}

impl Bucket {
    /// A new one below the URL.
    pub fn new(url: &str) -> Self {
        Self { url: format!("{}/aft-test-{}", url.trim_end_matches('/'), TxnId::new()) }
    }

    /// One within this one.
    pub fn below(&self, name: &str) -> Self {
        Self { url: format!("{}/{name}", self.url) }
    }

    /// The last part of its name.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn storage(&self) -> Arc<dyn Storage> {
        aft_s3::open(&self.url, Options::default()).unwrap()
    }

    /// A client that waits longer than aft's own do: a thousand deletes in one request take a busy server its time.
    pub fn patient_storage(&self) -> Arc<dyn Storage> {
        let options = Options { request_timeout: Duration::from_secs(150), ..Options::default() };
        aft_s3::open(&self.url, options).unwrap()
    }

    /// A node with [`config`].
    pub async fn node(&self) -> Aft {
        self.node_with(config()).await
    }

    pub async fn node_with(&self, config: Config) -> Aft {
        Aft::open(self.storage(), config).await.unwrap()
    }

    /// How many objects there are below a prefix.
    pub async fn count(&self, prefix: &str) -> usize {
        self.storage().list(prefix, None).try_fold(0, async |count, _| Ok(count + 1)).await.unwrap()
    }

    /// Deletes everything.
    pub async fn empty(&self) -> Result<(), String> {
        let storage = self.patient_storage();
        let deleted: Result<(), StorageError> = async {
            let listed: Vec<_> = storage.list("", None).map_ok(|info| info.path).try_collect().await?;
            for some in listed.chunks(1000) {
                storage.delete(some).await?;
            }
            Ok(())
        }
        .await;
        deleted.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    /// The end of a test: whatever it did, every object that should be there is, and is what was written.
    pub async fn is_clean(&self) -> Result<(), Failure> {
        let node = self.node().await;
        let report = node.check().await.unwrap();
        node.close().await.unwrap();
        if report.is_clean() && report.left_out.is_empty() {
            return Ok(());
        }
        Err(Failure::Differs(format!("the store is not whole: {:?} {:?}", report.problems, report.left_out)))
    }
}

/// Nothing happens beside what a test does, and each begin may find what is new.
pub fn config() -> Config {
    let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(24 * 3600));
    Config { background: false, feed_interval: hour, sweep_interval: day, ..Config::default() }
}

/// A node of another process on the store at a URL.
pub fn open(url: String, config: Config) -> BoxFuture<'static, Aft> {
    async move { Aft::open(aft_s3::open(&url, Options::default()).unwrap(), config).await.unwrap() }.boxed()
}
