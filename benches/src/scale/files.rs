//! A store of files under a clock that the program moves: days pass in it within seconds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aft_core::{Clock, Object, ObjectInfo, Storage, StorageError};
use aft_s3::FileStorage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;

/// Where the clock begins.
const EPOCH_MS: u64 = 1_800_000_000_000;

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(super) struct MovedClock(AtomicU64);

impl MovedClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for MovedClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(EPOCH_MS + self.ms())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.ms())
    }
}

/// Files, dated by a clock of their own. The dates lie in a file beside the store, for the next process.
#[derive(Clone)]
pub(super) struct DatedFiles {
    files: FileStorage,
    dates_file: PathBuf,
    pub(super) clock: Arc<MovedClock>,
    dates: Arc<Mutex<BTreeMap<String, u64>>>,
    ranges: Arc<Mutex<Vec<(String, Range<u64>)>>>,
    latency: Duration,
}

impl DatedFiles {
    /// The store in this folder, as it was left.
    pub(super) fn open(folder: &Path) -> Self {
        let dates_file = folder.join("dates");
        let text = std::fs::read_to_string(&dates_file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let mut dates: BTreeMap<_, _> = lines
            .map(|(date, path)| (path.to_owned(), date.parse().expect("a date in milliseconds")))
            .collect();
        let clock = MovedClock::default();
        clock.advance(Duration::from_millis(dates.remove("now").unwrap_or(0)));
        Self {
            files: FileStorage::open(folder.join("store")).expect("a folder").with_sync(false),
            dates_file,
            clock: Arc::new(clock),
            dates: Arc::new(Mutex::new(dates)),
            ranges: Arc::default(),
            latency: Duration::ZERO,
        }
    }

    /// Writes the dates down.
    pub(super) fn save(&self) {
        let dates = self.dates.lock();
        let mut text: String = dates.iter().map(|(path, date)| format!("{date} {path}\n")).collect();
        text.extend([self.clock.ms().to_string(), " now\n".to_owned()]);
        std::fs::write(&self.dates_file, text).expect("the dates are written");
    }

    /// The same store, where each request takes this long.
    pub(super) fn with_latency(&self, latency: Duration) -> Self {
        Self { latency, ranges: Arc::default(), ..self.clone() }
    }

    /// The range requests so far.
    pub(super) fn ranges(&self) -> Vec<(String, Range<u64>)> {
        self.ranges.lock().clone()
    }

    /// Bytes of all objects.
    pub(super) async fn bytes(&self) -> u64 {
        let sizes = self.files.list("", None).map(|object| object.map_or(0, |object| object.size));
        sizes.fold(0, async |sum, size| sum + size).await
    }

    fn date(&self, path: &str) -> SystemTime {
        let dates = self.dates.lock();
        UNIX_EPOCH + Duration::from_millis(EPOCH_MS + dates.get(path).copied().unwrap_or(0))
    }

    async fn wait(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }
}

impl fmt::Debug for DatedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatedFiles").field("files", &self.files).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for DatedFiles {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.wait().await;
        let object = self.files.get(path).await?;
        Ok(Object { last_modified: self.date(path), ..object })
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.wait().await;
        self.ranges.lock().push((path.to_owned(), range.clone()));
        self.files.get_range(path, range).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.wait().await;
        self.files.create(path, bytes).await?;
        self.dates.lock().insert(path.to_owned(), self.clock.ms());
        Ok(())
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let (prefix, start_after) = (prefix.to_owned(), start_after.map(str::to_owned));
        let listed = async move {
            self.wait().await;
            self.files.list(&prefix, start_after.as_deref())
        };
        let date = |object: ObjectInfo| ObjectInfo { last_modified: self.date(&object.path), ..object };
        stream::once(listed).flatten().map(move |object| object.map(date)).boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.wait().await;
        self.files.delete(paths).await
    }
}
