//! The conformance suite catches every store that breaks the contract, each with the check that is meant for it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_core::conformance::{self, CHECKS, Options};
use aft_core::{Object, ObjectInfo, Storage, StorageError};
use aft_memory::MemoryStorage;
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};

/// One way to break the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    OverwritesSilently,
    IgnoresExisting,
    ChecksThenPuts,
    WinsTwiceAndTears,
    /// Large objects go up in parts, and nobody looks when the last has come.
    PartsAreUnguarded,
    /// As moto 5.2.5: objects of some size alone.
    OneSizeRaces,
    AlreadyExistsAsUnavailable,
    ReadsStale,
    ListIgnoresStartAfter,
    ListIncludesStartAfter,
    ListDropsOne,
    ListTwice,
    ListOnePage,
    ListByFolder,
    ListSortsSlashFirst,
    ListLagsDelete,
    ListWrongSize,
    RangeOffByOne,
    RangePastEndFails,
    RangeHugeFails,
    GetDropsTail,
    GetsMoreThanAsked,
    EmptyIsNotFound,
    FolderIsObject,
    AbsentIsUnavailable,
    ErrorLosesPath,
    DeleteFailsOnAbsent,
    DeleteFirstThousand,
    DeleteByPrefix,
    NeverCreatesTwice,
    AcceptsIllegalPaths,
    RefusesLeadingDots,
    FoldsCase,
    SecondsDiffer,
    TouchedByLosers,
    ClockJumps,
    Hangs,
}

use Flaw::*;

/// Each flaw, and the checks of which at least one must report it first.
const FLAWS: &[(Flaw, &[&str])] = &[
    (OverwritesSilently, &["create_over_existing"]),
    (IgnoresExisting, &["create_over_existing"]),
    (ChecksThenPuts, &["create_race"]),
    (WinsTwiceAndTears, &["create_race"]),
    (PartsAreUnguarded, &["create_race_large"]),
    (OneSizeRaces, &["create_race"]),
    (AlreadyExistsAsUnavailable, &["create_over_existing"]),
    (ReadsStale, &["read_after_create"]),
    (ListIgnoresStartAfter, &["list_start_after"]),
    (ListIncludesStartAfter, &["list_start_after"]),
    (ListDropsOne, &["list_complete"]),
    (ListTwice, &["list_complete"]),
    (ListOnePage, &["list_complete"]),
    (ListByFolder, &["list_start_after", "list_prefix"]),
    (ListSortsSlashFirst, &["list_order_of_marks"]),
    (ListLagsDelete, &["list_after_changes"]),
    (ListWrongSize, &["list_complete"]),
    (RangeOffByOne, &["range_edges"]),
    (RangePastEndFails, &["range_edges"]),
    (RangeHugeFails, &["range_edges"]),
    (GetDropsTail, &["large_object"]),
    (GetsMoreThanAsked, &["large_object"]),
    (EmptyIsNotFound, &["empty_object"]),
    (FolderIsObject, &["absent_object"]),
    (AbsentIsUnavailable, &["absent_object"]),
    (ErrorLosesPath, &["absent_object"]),
    (DeleteFailsOnAbsent, &["delete_absent"]),
    (DeleteFirstThousand, &["delete_many"]),
    (DeleteByPrefix, &["delete_absent"]),
    (NeverCreatesTwice, &["create_after_delete"]),
    (AcceptsIllegalPaths, &["illegal_paths"]),
    (RefusesLeadingDots, &["odd_paths"]),
    (FoldsCase, &["odd_paths", "list_prefix"]),
    (SecondsDiffer, &["last_modified_agrees"]),
    (TouchedByLosers, &["last_modified_agrees"]),
    (ClockJumps, &["last_modified_is_monotone"]),
    (Hangs, &["delete_many"]),
];

/// A memory store with one flaw.
struct Broken {
    inner: MemoryStorage,
    /// What was overwritten, by flaws that overwrite; what was ever created, by those that remember.
    aside: MemoryStorage,
    calls: AtomicUsize,
    flaw: Flaw,
}

impl Broken {
    fn new(flaw: Flaw) -> Self {
        Self { inner: MemoryStorage::new(), aside: MemoryStorage::new(), calls: AtomicUsize::new(0), flaw }
    }

    async fn overwrite(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.inner.delete(&[path.to_owned()]).await?;
        self.inner.create(path, bytes).await
    }

    fn jump(&self, path: &str) -> Duration {
        let late = self.flaw == ClockJumps && path.ends_with('5');
        Duration::from_secs(if late { 100 } else { 0 })
    }
}

impl fmt::Debug for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.flaw)
    }
}

#[async_trait]
impl Storage for Broken {
    async fn get(&self, path: &str) -> Result<Object, StorageError> {
        let mut object = match self.inner.get(path).await {
            Err(StorageError::NotFound { .. })
                if self.flaw == AbsentIsUnavailable && path.contains("absent_object") =>
            {
                return Err(StorageError::unavailable(path));
            }
            Err(StorageError::NotFound { .. })
                if self.flaw == ErrorLosesPath && path.contains("absent_object") =>
            {
                return Err(StorageError::not_found("?"));
            }
            Err(StorageError::NotFound { .. }) if self.flaw == FolderIsObject => {
                let inside = self.inner.list(&format!("{path}/"), None).next().await;
                let info = inside.ok_or_else(|| StorageError::not_found(path))??;
                Object { bytes: Bytes::new(), last_modified: info.last_modified }
            }
            other => other?,
        };
        match self.flaw {
            ReadsStale if self.calls.fetch_add(1, Ordering::Relaxed) % 2 == 1 => {
                return Err(StorageError::not_found(path));
            }
            GetDropsTail => object.bytes.truncate(1 << 16),
            EmptyIsNotFound if object.bytes.is_empty() => return Err(StorageError::not_found(path)),
            SecondsDiffer => object.last_modified += Duration::from_secs(1),
            _ => {}
        }
        object.last_modified -= self.jump(path);
        Ok(object)
    }

    async fn get_at_most(&self, path: &str, most: u64) -> Result<Object, StorageError> {
        match self.get(path).await? {
            object if object.bytes.len() as u64 > most && self.flaw != GetsMoreThanAsked => {
                Err(StorageError::too_large(path, object.bytes.len() as u64, most))
            }
            object => Ok(object),
        }
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let len = self.inner.get(path).await?.bytes.len() as u64;
        match self.flaw {
            RangeOffByOne => self.inner.get_range(path, range.start..range.end.saturating_sub(1)).await,
            RangePastEndFails if range.start > len => Err(StorageError::invalid(path)),
            RangeHugeFails if range.end > 1 << 50 => Err(StorageError::unavailable(path)),
            _ => self.inner.get_range(path, range).await,
        }
    }

    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        match self.flaw {
            OverwritesSilently => return self.overwrite(path, bytes).await,
            IgnoresExisting => return self.inner.create(path, bytes).await.or(Ok(())),
            PartsAreUnguarded if bytes.len() < 300_000 => {}
            OneSizeRaces if bytes.len() != 1200 => {}
            ChecksThenPuts | PartsAreUnguarded | OneSizeRaces => {
                if self.inner.get(path).await.is_ok() {
                    return Err(StorageError::already_exists(path));
                }
                tokio::task::yield_now().await;
                return self.overwrite(path, bytes).await;
            }
            WinsTwiceAndTears if bytes.len() > 100 => {
                let first = self.inner.create(path, bytes.slice(..10)).await;
                tokio::task::yield_now().await;
                first?;
                return self.overwrite(path, bytes.slice(1..)).await;
            }
            NeverCreatesTwice => self.aside.create(path, Bytes::new()).await?,
            AcceptsIllegalPaths if path.ends_with(' ') || path.contains("a b") => return Ok(()),
            RefusesLeadingDots if path.contains("/.") => return Err(StorageError::invalid(path)),
            FoldsCase => self.aside.create(&path.to_lowercase(), Bytes::new()).await?,
            Hangs if path.contains("delete_many") => return std::future::pending().await,
            _ => {}
        }
        let created = self.inner.create(path, bytes).await;
        match (&created, self.flaw) {
            (Err(StorageError::AlreadyExists { .. }), AlreadyExistsAsUnavailable) => {
                Err(StorageError::unavailable(path))
            }
            (Err(StorageError::AlreadyExists { .. }), TouchedByLosers) if path.ends_with("agrees/000000") => {
                let object = self.inner.get(path).await?;
                tokio::time::sleep(Duration::from_millis(1100)).await;
                self.overwrite(path, object.bytes).await?;
                created
            }
            _ => created,
        }
    }

    fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> BoxStream<'_, Result<ObjectInfo, StorageError>> {
        let plain = |prefix: &str| self.inner.list(prefix, start_after);
        let after = start_after.unwrap_or_default().to_owned();
        match self.flaw {
            ListIgnoresStartAfter => self.inner.list(prefix, None),
            ListIncludesStartAfter => {
                let listed = self.inner.list(prefix, None);
                listed
                    .filter(move |info| {
                        futures::future::ready(info.as_ref().is_ok_and(|info| info.path >= after))
                    })
                    .boxed()
            }
            ListDropsOne => {
                let listed = plain(prefix).enumerate();
                listed.filter_map(|(at, info)| futures::future::ready((at != 77).then_some(info))).boxed()
            }
            ListTwice => plain(prefix).chain(plain(prefix).take(1)).boxed(),
            ListOnePage => plain(prefix).take(1000).boxed(),
            ListByFolder if !prefix.ends_with('/') => plain(&format!("{prefix}/")),
            ListSortsSlashFirst => {
                let first = |path: &str| path.replace('/', "\u{1}");
                let listed = self.inner.list(prefix, None);
                listed
                    .filter(move |info| {
                        futures::future::ready(
                            info.as_ref().is_ok_and(|info| first(&info.path) > first(&after)),
                        )
                    })
                    .boxed()
            }
            ListWrongSize => {
                let listed = plain(prefix);
                listed.map(|info| info.map(|info| ObjectInfo { size: info.size.min(1), ..info })).boxed()
            }
            _ => plain(prefix),
        }
    }

    async fn delete(&self, paths: &[String]) -> Result<(), StorageError> {
        match self.flaw {
            DeleteFailsOnAbsent => {
                for path in paths {
                    self.inner.get(path).await?;
                }
            }
            DeleteFirstThousand => return self.inner.delete(&paths[..paths.len().min(1000)]).await,
            DeleteByPrefix => {
                for path in paths {
                    let mut inside = self.inner.list(path, None);
                    while let Some(info) = inside.next().await {
                        self.inner.delete(&[info?.path]).await?;
                    }
                }
            }
            // The delete is acknowledged and happens with the next one.
            ListLagsDelete if paths.len() == 1 && paths[0].contains("list_after_changes") => {
                let late = self.aside.list("", None).next().await;
                self.aside.create(&paths[0], Bytes::new()).await?;
                if let Some(late) = late {
                    let late = late?.path;
                    self.aside.delete(std::slice::from_ref(&late)).await?;
                    self.inner.delete(&[late]).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.inner.delete(paths).await
    }
}

fn options() -> Options {
    Options {
        rounds: 12,
        objects: 1100,
        large_bytes: 1 << 19,
        check_deadline: Duration::from_secs(20),
        ..Options::default()
    }
}

#[tokio::test]
async fn every_flaw_is_caught_by_its_check() {
    for (flaw, checks) in FLAWS {
        let mut options = options();
        if *flaw == Hangs {
            options.check_deadline = Duration::from_millis(300);
        }
        let storage: Arc<dyn Storage> = Arc::new(Broken::new(*flaw));
        let mut failed = Vec::new();
        for name in CHECKS {
            let fresh: Arc<dyn Storage> = Arc::new(Broken::new(*flaw));
            if let Err(failure) = conformance::run_check(name, fresh, &options).await {
                assert_eq!(failure.check, *name);
                failed.push(*name);
            }
        }
        assert!(checks.iter().any(|check| failed.contains(check)), "{flaw:?} was caught only by {failed:?}");
        let failure = conformance::run(storage, &options).await.expect_err("a broken store passed");
        println!("{flaw:?}: {failure}");
    }
}

#[tokio::test]
async fn a_wrong_prefix_is_told() {
    for prefix in ["", "a", "/", "../", "a//"] {
        let options = Options { prefix: prefix.into(), ..options() };
        let failure = conformance::run(Arc::new(MemoryStorage::new()), &options).await.unwrap_err();
        assert!(failure.to_string().contains("prefix"), "{failure}");
    }
    let missing = conformance::run_check("nothing", Arc::new(MemoryStorage::new()), &options()).await;
    assert!(missing.unwrap_err().to_string().contains("nothing"));
}
