//! A store of files under a clock that the program moves: days pass in it within seconds.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aft_core::{Object, ObjectInfo, Storage, StorageError};
use aft_s3::FileStorage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;

use crate::moved_clock::MovedClock;

/// A piece of an object that was asked for.
pub(super) type Piece = (String, Range<u64>);

/// Files, dated by a clock of their own. The dates lie in a file beside the store, for the next process.
#[derive(Clone)]
pub(super) struct DatedFiles {
    files: FileStorage,
    dates_file: PathBuf,
    pub(super) clock: Arc<MovedClock>,
    dates: Arc<Mutex<BTreeMap<String, u64>>>,
    ranges: Arc<Mutex<Vec<Piece>>>,
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
    pub(super) fn ranges(&self) -> Vec<Piece> {
        self.ranges.lock().clone()
    }

    /// Bytes of all objects.
    pub(super) async fn bytes(&self) -> u64 {
        let sizes = self.files.list("", None).map(|object| object.map_or(0, |object| object.size));
        sizes.fold(0, async |sum, size| sum + size).await
    }

    fn date(&self, path: &str) -> SystemTime {
        MovedClock::date(self.dates.lock().get(path).copied().unwrap_or(0))
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
