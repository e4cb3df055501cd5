//! Stores that break one rule each must be found unsafe, good ones safe, and such that cannot be asked neither.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use aft_core::{Object, ObjectInfo};
use aft_memory::MemoryStorage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::*;

/// What is wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Nothing,
    /// Every fifth object can be created twice.
    TwoWinners,
    /// Objects of so many bytes can be created twice.
    TwoWinnersOf(usize),
    /// As every fifth, but the last creator's bytes stay, and only the first is told that he won.
    LoserStays,
    /// An object cannot be read until it was asked for once.
    ReadsLate,
    /// A listing lacks the newest object.
    ListsLate,
    /// A listing still has what was deleted.
    ListsDeleted,
    ListIgnoresStartAfter,
    ListIncludesStartAfter,
    /// A listing ends after a thousand objects.
    OnePage,
    /// A bulk delete leaves every hundredth object, and says nothing.
    DeleteSkips,
    RangeOffByOne,
    /// The clock is this many seconds ahead.
    Ahead(i64),
    /// Sorts `/` first.
    SlashFirst,
    /// Cannot be reached from the request with this number on.
    Unreachable(usize),
    /// Answers nothing at all from this request on.
    Silent(usize),
    /// Every so many requests fail.
    Shaky(usize),
    /// Deletes nothing.
    NeverDeletes,
}

use Flaw::*;

struct Broken {
    inner: MemoryStorage,
    /// What was deleted.
    deleted: MemoryStorage,
    requests: AtomicUsize,
    /// One create at a time, so that a flaw is what it is whatever threads do.
    turn: tokio::sync::Mutex<()>,
    flaw: Flaw,
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.flaw)
    }
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        Self {
            inner: MemoryStorage::new(),
            deleted: MemoryStorage::new(),
            requests: AtomicUsize::new(0),
            turn: tokio::sync::Mutex::default(),
            flaw,
        }
    }

    fn dated(&self, time: SystemTime) -> SystemTime {
        match self.flaw {
            Ahead(seconds) if seconds < 0 => time - Duration::from_secs(seconds.unsigned_abs()),
            Ahead(seconds) => time + Duration::from_secs(seconds.unsigned_abs()),
            _ => time,
        }
    }

    async fn arrive(&self, path: &str) -> Result<(), StorageError> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        match self.flaw {
            Unreachable(from) if number >= from => {
                Err(StorageError::unavailable(path).with_source("no route"))
            }
            Silent(from) if number >= from => std::future::pending().await,
            Shaky(every) if number % every == every - 1 => Err(StorageError::unavailable(path)),
            _ => {
                tokio::task::yield_now().await;
                Ok(())
            }
        }
    }

    async fn list_all(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StorageError> {
        use futures::TryStreamExt;
        self.arrive(prefix).await?;
        let after = after.filter(|_| self.flaw != ListIgnoresStartAfter);
        let mut listed: Vec<ObjectInfo> = self.inner.list(prefix, after).try_collect().await?;
        match self.flaw {
            ListsLate => {
                let newest =
                    listed.iter().max_by_key(|info| info.last_modified).map(|info| info.path.clone());
                listed.retain(|info| Some(&info.path) != newest.as_ref());
            }
            ListsDeleted => listed.extend(self.deleted.list(prefix, after).try_collect::<Vec<_>>().await?),
            ListIncludesStartAfter => {
                let at = after.filter(|after| after.starts_with(prefix));
                listed.extend(at.map(|path| ObjectInfo {
                    path: path.into(),
                    size: 1,
                    last_modified: SystemTime::UNIX_EPOCH,
                }));
            }
            OnePage => listed.truncate(1000),
            SlashFirst => {
                let key = |path: &str| path.replace('/', "\u{1}");
                listed = self.inner.list(prefix, None).try_collect().await?;
                listed.retain(|info| after.is_none_or(|after| key(&info.path) > key(after)));
            }
            _ => {}
        }
        for info in &mut listed {
            info.last_modified = self.dated(info.last_modified);
        }
        Ok(listed)
    }
}

#[async_trait]
impl Storage for Broken {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        self.arrive(path).await?;
        let Object { bytes, last_modified } = self.inner.get(path).await?;
        if self.flaw == ReadsLate && self.deleted.create(path, Bytes::new()).await.is_ok() {
            return Err(StorageError::not_found(path));
        }
        Ok(Object { bytes, last_modified: self.dated(last_modified) })
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        self.arrive(path).await?;
        let end = if self.flaw == RangeOffByOne { range.end.saturating_add(1) } else { range.end };
        self.inner.get_range(path, range.start..end).await
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.arrive(path).await?;
        let _turn = self.turn.lock().await;
        let made = self.inner.create(path, bytes.clone()).await;
        let flawed = match self.flaw {
            TwoWinners | LoserStays => path.ends_with(['0', '5']),
            TwoWinnersOf(size) => bytes.len() == size,
            _ => false,
        };
        if made.is_err() && flawed && path.contains("/race/") {
            self.inner.delete(&[path.to_owned()]).await?;
            self.inner.create(path, bytes).await?;
            return if self.flaw == LoserStays { made } else { Ok(()) };
        }
        made
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let (prefix, after) = (prefix.to_owned(), start_after.map(str::to_owned));
        futures::stream::once(async move { self.list_all(&prefix, after.as_deref()).await })
            .flat_map(|listed| match listed {
                Ok(listed) => futures::stream::iter(listed.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => futures::stream::iter(vec![Err(error)]),
            })
            .boxed()
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        self.arrive(paths.first().map_or("", String::as_str)).await?;
        for (number, path) in paths.iter().enumerate() {
            if self.flaw == NeverDeletes || (self.flaw == DeleteSkips && number % 100 == 99) {
                continue;
            }
            if self.flaw == ListsDeleted && self.inner.get(path).await.is_ok() {
                let _ = self.deleted.create(path, Bytes::new()).await;
            }
            self.inner.delete(std::slice::from_ref(path)).await?;
        }
        Ok(())
    }
}

fn quick() -> Plan {
    Plan {
        prefix: "aft-probe-test/".to_owned(),
        rounds: 12,
        racers: 8,
        objects: 200,
        latencies: 5,
        clock_samples: 3,
        clock_spacing: Duration::from_millis(1),
        max_clock_skew: Duration::from_secs(10),
        timeout: Duration::from_secs(300),
        cleanup_timeout: Duration::from_secs(60),
    }
}

async fn probed(store: &Arc<dyn Storage>, plan: Plan) -> (Probe, End) {
    let mut probe = Probe::new("test://", vec![Arc::clone(store); 3], Arc::new(SystemClock::new()), plan);
    let (end, _) = probe.run(&Progress::new(true, "probe", 0), std::future::pending).await;
    (probe, end)
}

async fn probe_of(flaw: Flaw) -> (Probe, End, Arc<Broken>) {
    let broken = Arc::new(Broken::new(flaw));
    // Only where a page ends, and in many folders, does it take many objects to see what is wrong.
    let plan = Plan { objects: if matches!(flaw, OnePage | SlashFirst) { 1700 } else { 50 }, ..quick() };
    let (probe, end) = probed(&(Arc::clone(&broken) as Arc<dyn Storage>), plan).await;
    (probe, end, broken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_broken_store_is_found_unsafe_and_says_why() {
    for (flaw, why) in [
        (TwoWinners, "of 12 races more than one of 8 creators"),
        (TwoWinnersOf(1200), "of 12 races more than one of 8 creators"),
        (TwoWinnersOf(128 << 10), "of 12 races more than one of 8 creators"),
        (LoserStays, "not what the winner wrote"),
        (ReadsLate, "read after write"),
        (ListsLate, "list after write and delete"),
        (ListsDeleted, "list after write and delete"),
        (ListIgnoresStartAfter, "start_after"),
        (ListIncludesStartAfter, "start_after"),
        (OnePage, "long listings"),
        (DeleteSkips, "delete and bulk delete"),
        (NeverDeletes, "delete"),
        (RangeOffByOne, "range reads"),
        (Ahead(600), "the store's clock is between +"),
        (Ahead(-600), "the store's clock is between -"),
    ] {
        let (probe, end, broken) = probe_of(flaw).await;
        let reasons = probe.report.reasons();
        assert!(reasons.iter().any(|reason| reason.contains(why)), "{flaw:?}: {reasons:?}");
        assert!(matches!(end, End::Complete), "{flaw:?}: {end:?}");
        assert_eq!(probe.report.document(true)["verdict"], "unsafe");
        assert!(probe.report.text().contains("\nunsafe: "), "{}", probe.report.text());
        assert_eq!(probe.report.left_over, broken.inner.paths(), "{flaw:?}");
        assert_eq!(broken.inner.is_empty(), flaw != NeverDeletes, "{flaw:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn good_stores_are_safe_and_left_as_they_were() {
    let files = tempfile::tempdir().unwrap();
    let url = url::Url::from_file_path(files.path()).unwrap();
    let options = aft_s3::Options { sync: false, ..aft_s3::Options::default() };
    let files = aft_s3::open(url.as_str(), options).unwrap();
    for store in [Arc::new(MemoryStorage::new()), files] {
        store.create("kept", Bytes::from_static(b"as it was")).await.unwrap();
        let (probe, end) = probed(&store, quick()).await;
        assert!(matches!(end, End::Complete), "{end:?}");
        assert_eq!(probe.report.reasons(), Vec::<String>::new());
        assert_eq!((probe.report.races.rounds, probe.report.races.one_winner), (12, 12));
        assert_eq!(probe.report.races.most_winners, 1);
        let counts = probe.report.latencies.iter().map(|latency| latency.count);
        assert_eq!(counts.collect::<Vec<_>>(), [5; 5]);
        let document = probe.report.document(true);
        assert_eq!((&document["verdict"], &document["complete"]), (&"safe".into(), &true.into()));
        assert!(probe.report.text().contains("\nsafe: "), "{}", probe.report.text());
        let paths: Vec<_> = store.list("", None).map(|info| info.unwrap().path).collect().await;
        assert_eq!(paths, ["kept"]);
    }
}

/// What aft does not depend on, what is within the limits, and errors that pass are told, and do not make a store unsafe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_no_harm_is_told_and_safe() {
    for (flaw, told) in [
        (Nothing, "one winner in 12 of 12 races of 8, on 3 connections"),
        (SlashFirst, "differs"),
        (Ahead(5), "the store's clock is between +"),
        (Shaky(5_000), "safe"),
    ] {
        let (probe, end, broken) = probe_of(flaw).await;
        assert!(matches!(end, End::Complete), "{flaw:?}: {end:?}");
        assert_eq!(probe.report.reasons(), Vec::<String>::new(), "{flaw:?}");
        assert!(probe.report.text().contains(told), "{flaw:?}: {}", probe.report.text());
        assert!(broken.inner.is_empty() && probe.report.left_over.is_empty(), "{flaw:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_asked_is_an_error_and_never_unsafe() {
    for from in [0, 5, 500, 1_500] {
        let (probe, end, broken) = probe_of(Unreachable(from)).await;
        assert_eq!(probe.report.reasons(), Vec::<String>::new());
        assert!(matches!(end, End::Trouble(_)), "{from}: {end:?}");
        let failure = ended(end, &probe.plan).unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.line().contains("no route"), "{}", failure.line());
        // What is there is named, and also what may be there.
        for path in broken.inner.paths() {
            assert!(probe.report.left_over.contains(&path), "{path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_an_error_in_time() {
    for from in [0, 300] {
        let (probe, end, _) = probe_of(Silent(from)).await;
        assert!(matches!(end, End::Late), "{end:?}");
        assert_eq!(probe.report.reasons(), Vec::<String>::new());
        assert!(!probe.report.left_over.is_empty());
        assert!(from > 0 || !probe.connections.unanswered().is_empty());
        assert_eq!(ended(end, &probe.plan).unwrap_err().exit(), Exit::Unavailable);
    }
}

#[tokio::test]
async fn a_probe_that_is_stopped_cleans_up_and_keeps_what_it_found() {
    let broken = Arc::new(Broken::new(TwoWinners));
    let stores = vec![Arc::clone(&broken) as Arc<dyn Storage>];
    let mut probe = Probe::new("test://", stores, Arc::new(SystemClock::new()), quick());
    let (seen, stops) = (Arc::clone(&broken), AtomicUsize::new(0));
    let stop = || {
        let (seen, first) = (Arc::clone(&seen), stops.fetch_add(1, Ordering::Relaxed) == 0);
        async move {
            // In the middle of the long listings.
            while !first || seen.inner.len() < 500 {
                tokio::task::yield_now().await;
            }
        }
    };
    let (end, cause) = probe.run(&Progress::new(true, "probe", 0), stop).await;
    assert!(matches!((&end, cause), (End::Interrupted, None)), "{end:?}");
    assert!(probe.report.races.several_winners >= 2, "{:?}", probe.report.races);
    assert!(broken.inner.is_empty() && probe.report.left_over.is_empty());
    assert_eq!(ended(end, &probe.plan).unwrap_err().exit(), Exit::Error);
}
