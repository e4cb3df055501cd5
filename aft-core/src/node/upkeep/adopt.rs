//! Adopting a store: making one whole whose objects are not dated any more when they were made, since it was copied, restored, or
//! its dates were changed.
//!
//! What counts is judged by the dates that the store gave its objects. In a copy these say when it was copied. But nearly
//! everything that counts is also told by something else: commits by the feed, by checkpoints and by their lists, checkpoints
//! by their seals. So the marker is made anew, and says up to which date everything counts as in time. What only a date could tell is whether a
//! decision that nobody published was in time: that is for a person to say.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::format::decision::{Decision, Verdict};
use crate::format::garbage::Garbage;
use crate::format::marker::Marker;
use crate::format::name::{ADOPTION, GARBAGE, MARKER, OUTCOMES, ObjectName};
use crate::node::exchange::register::RegisterState;
use crate::node::open::{Builder, Opened, get_marker, make_marker, prove_create};
use crate::node::store::{Store, retry_read};
use crate::node::unencodable;
use crate::node::{Node, format_error};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::timeliness::StoreTime;
use crate::rng::NodeRng;
use crate::storage::{Object, StorageError};
use crate::txn_id::TxnId;

/// So many decisions that nobody published are named.
const NAMED: usize = 1000;
/// So many decisions are read at a time.
const READ_AT_ONCE: usize = 1024;

/// What becomes of decisions that nobody published, when a store is [adopted](Builder::adopt): each was either acknowledged moments
/// before its process died or the store was copied, or it landed too late to count, and only its date could have told which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unpublished {
    /// Where there are any, the store is not adopted, and the report names them.
    #[default]
    Refuse,
    /// They count as committed. Right where processes were stopped before the copy and none was slow.
    Commit,
    /// They are made aborts. Right where whoever was acknowledged runs its work again.
    Abort,
}

/// What [`Builder::adopt`] found and did.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// # drop(aft);
/// let storage = std::sync::Arc::new(aft_memory::MemoryStorage::new());
/// aft_core::Aft::open(storage.clone(), aft_core::Config::default()).await?.close().await?;
/// let report = aft_core::Aft::builder(storage).adopt(aft_core::Unpublished::Refuse).await?;
/// assert!(report.adopted && report.unpublished.is_empty());
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AdoptReport {
    /// Whether the store is adopted now; `false` where there are decisions that nobody published and nothing was said of them.
    pub adopted: bool,
    /// What the store dates up to this counts as in time from now on.
    pub adopted_until: Option<SystemTime>,
    /// Objects of the store.
    pub objects: u64,
    /// Commits that are not in the index yet.
    pub commits: u64,
    /// Decisions that nobody published, the first thousand, by id.
    pub unpublished: Vec<TxnId>,
    /// Those beyond.
    pub more_unpublished: u64,
    /// Decisions that were known to be void and are aborts now.
    pub void: u64,
}

impl Builder {
    /// Makes a store whole whose objects were copied or dated anew, so that opening it is refused with
    /// [`DatesChanged`](ErrorKind::DatesChanged): a copy made by other tools, a restored backup, a folder after `cp -r`. No process may use
    /// the store meanwhile. The store keeps its id: receipts and tokens of the original hold here as far as their commits were copied.
    ///
    /// Call [`check`](Builder::check) afterwards: a copy may lack objects.
    ///
    /// # Errors
    /// [`NoStore`](ErrorKind::NoStore); [`Corrupt`](ErrorKind::Corrupt) where what is needed to read the store is missing or damaged;
    /// [`ClockSkew`](ErrorKind::ClockSkew) where an object is dated in the future of this machine's clock; what [`open`](Builder::open) says of
    /// stores that cannot be used. It may be interrupted anywhere and called again.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// # use std::{sync::Arc, time::SystemTime};
    /// use aft_core::{Aft, Config, ErrorKind, Unpublished};
    ///
    /// let storage = Arc::new(aft_memory::MemoryStorage::new());
    /// Aft::open(storage.clone(), Config::default()).await?.close().await?;
    /// // As after `cp -r`: every object has another date.
    /// for path in storage.paths() {
    ///     storage.redate(&path, SystemTime::now() - std::time::Duration::from_secs(7_200));
    /// }
    /// let refused = Aft::open(storage.clone(), Config::default()).await.unwrap_err();
    /// assert_eq!(refused.kind(), ErrorKind::DatesChanged);
    /// Aft::builder(storage.clone()).adopt(Unpublished::Refuse).await?;
    /// Aft::open(storage, Config::default()).await?;
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub async fn adopt(self, unpublished: Unpublished) -> Result<AdoptReport, Error> {
        let (store, rng) = self.prepare()?;
        let (object, interrupted) = match get_marker(&store, &rng, MARKER).await? {
            Some(object) => (object, false),
            None => match get_marker(&store, &rng, ADOPTION).await? {
                Some(object) => (object, true),
                None => {
                    return Err(Error::new(
                        ErrorKind::NoStore,
                        "there is no aft store at this place: no aft.json in it",
                    ));
                }
            },
        };
        let old = Marker::decode(&object.bytes).map_err(|cause| format_error(MARKER, cause))?;
        if !interrupted {
            prove_create(&store, &rng, &object).await?;
        }
        let now_ms = self.now().wall_ms;
        let (newest, objects) = newest_date(&store, &rng).await?;
        if newest.ms() > now_ms.saturating_add(old.settings.max_clock_skew_ms) {
            let message = "an object of the store is dated in the future of this machine's clock; nothing was adopted: mend the clock";
            return Err(Error::new(ErrorKind::ClockSkew, message));
        }
        let until = Some(newest.0);
        let marker = Marker::new(old.store_id.clone(), now_ms, until, old.settings.clone());
        let node = self.adopting(store, rng, &marker, newest)?;
        let mut report = node.review(objects).await?;
        report.adopted_until = Some(UNIX_EPOCH + Duration::from_secs(newest.0));
        if unpublished == Unpublished::Refuse && !report.unpublished.is_empty() {
            return Ok(report);
        }
        node.abort_dead(unpublished, &mut report).await?;
        node.replace_marker(&marker).await?;
        report.adopted = true;
        tracing::info!(?report, "adopted the store");
        Ok(report)
    }

    /// A node that reads the store as it will be once it is adopted, and writes nothing of itself.
    fn adopting(
        self,
        store: Store,
        rng: NodeRng,
        marker: &Marker,
        newest: StoreTime,
    ) -> Result<Arc<Node>, Error> {
        let config = self.effective(&marker.settings);
        let last_modified = UNIX_EPOCH + Duration::from_secs(newest.0);
        let object = Object { bytes: marker.encode(), last_modified };
        let opened = Opened { object, marker: marker.clone(), last_modified: newest, made: None };
        let store = store.with_timeout(config.request_timeout);
        let node = Arc::new(self.read_only().node(store, rng, config, opened)?);
        node.known.write(Knowledge::doubt_direct);
        Ok(node)
    }
}

/// The newest date of the store's objects, and how many there are.
async fn newest_date(store: &Store, rng: &NodeRng) -> Result<(StoreTime, u64), Error> {
    let (newest, objects) = (AtomicU64::new(0), AtomicU64::new(0));
    let note = |date: SystemTime| {
        newest.fetch_max(StoreTime::of(date).0, Ordering::Relaxed);
        objects.fetch_add(1, Ordering::Relaxed);
        false
    };
    let listed = retry_read(rng, || {
        objects.store(0, Ordering::Relaxed);
        store.list_where("", None, |object| note(object.last_modified))
    });
    listed.await.map_err(|error| Error::storage("listing the store", error))?;
    Ok((StoreTime(newest.into_inner()), objects.into_inner()))
}

impl Node {
    /// Reads what the store knows, and which decisions nobody published.
    async fn review(self: &Arc<Self>, objects: u64) -> Result<AdoptReport, Error> {
        self.refresh().await?;
        let mut report = AdoptReport { objects, ..AdoptReport::default() };
        report.commits = self.known.read(|known| known.view().commit_count() as u64);
        let carried = self.listed_as_folded().await?;
        let mut ids = self.list_decisions(0).await?;
        self.known.read(|known| ids.retain(|id| !known.is_published(*id) && !carried.contains(id)));
        for some in ids.chunks(READ_AT_ONCE) {
            for id in self.commits_among(some).await? {
                if self.known.read(|known| known.is_dead(id)) {
                    continue;
                }
                if report.unpublished.len() < NAMED {
                    report.unpublished.push(id);
                } else {
                    report.more_unpublished += 1;
                }
            }
        }
        Ok(report)
    }

    /// Those of these decisions that say commit.
    async fn commits_among(&self, ids: &[TxnId]) -> Result<Vec<TxnId>, Error> {
        let looks: Vec<_> = ids
            .iter()
            .map(|id| async { (*id, self.read_register(&self.store, *id).await) }.boxed())
            .collect();
        let looked: Vec<_> =
            futures::stream::iter(looks).buffer_unordered(self.config.parallel_requests).collect().await;
        let mut commits = Vec::new();
        for (id, looked) in looked {
            if let RegisterState::Committed { .. } = looked? {
                commits.push(id);
            }
        }
        commits.sort_unstable();
        Ok(commits)
    }

    /// The decisions that checkpoints list as folded.
    async fn listed_as_folded(&self) -> Result<BTreeSet<TxnId>, Error> {
        let mut listed = BTreeSet::new();
        for folder in [GARBAGE, OUTCOMES] {
            let objects = retry_read(&self.rng, || self.store.list(folder, None)).await;
            for object in
                objects.map_err(|error| Error::storage(format_args!("listing {folder:?}"), error))?
            {
                let path = &object.path;
                match retry_read(&self.rng, || self.store.get_sized(path, object.size)).await {
                    Ok(read) => listed.extend(
                        Garbage::decode(&read.bytes).map_err(|cause| format_error(path, cause))?.decisions,
                    ),
                    Err(StorageError::NotFound { .. }) => {}
                    Err(error) => return Err(Error::storage(format_args!("reading {path:?}"), error)),
                }
            }
        }
        Ok(listed)
    }

    /// Makes aborts of the decisions that are known to be void, though they say commit, and where that was asked for of those that nobody
    /// published: by its date none of them would be told from a commit any more.
    async fn abort_dead(
        self: &Arc<Self>,
        unpublished: Unpublished,
        report: &mut AdoptReport,
    ) -> Result<(), Error> {
        let dead: Vec<_> = self.known.read(|known| known.dead().collect());
        for some in dead.chunks(READ_AT_ONCE) {
            for id in self.commits_among(some).await? {
                self.make_abort(id).await?;
                report.void += 1;
            }
        }
        if unpublished == Unpublished::Abort {
            for id in report.unpublished.clone() {
                self.make_abort(id).await?;
            }
            // Those that were not named: they are found again.
            while report.more_unpublished > 0 {
                let more = self.review(report.objects).await?;
                for id in &more.unpublished {
                    self.make_abort(*id).await?;
                }
                report.more_unpublished = more.more_unpublished;
            }
        }
        Ok(())
    }

    /// Puts an abort in a decision's place. Nobody else uses the store.
    async fn make_abort(&self, id: TxnId) -> Result<(), Error> {
        let abort = Decision { id, attempt: self.rng.next(), verdict: Verdict::Abort };
        let bytes = abort.encode(&[]).map_err(|cause| unencodable("the abort", cause).with_txn(id))?;
        self.replace(&self.path(ObjectName::Decision(id)), bytes).await
    }

    /// Puts the marker of an adopted store in the place of the old one. A copy of it lies beside it meanwhile, whose date says what time
    /// it is in the store: that is when the marker is made. One that was long in coming is made anew by its own date.
    async fn replace_marker(&self, marker: &Marker) -> Result<(), Error> {
        self.replace(ADOPTION, marker.encode()).await?;
        let dated = self.date_of(ADOPTION).await?;
        make_marker(self.limits, dated, |made_ms| {
            let Marker { store_id, adopted_until, settings, .. } = marker.clone();
            let marker = Marker::new(store_id, made_ms, adopted_until, settings);
            async move {
                self.replace(MARKER, marker.encode()).await?;
                self.date_of(MARKER).await
            }
        })
        .await?;
        let paths = [ADOPTION.to_owned()];
        let deleted = retry_read(&self.rng, || self.store.delete(&paths)).await;
        deleted.map_err(|error| Error::storage("deleting the copy of the marker", error))
    }

    /// The date of a marker that was just made.
    async fn date_of(&self, path: &str) -> Result<StoreTime, Error> {
        let found = get_marker(&self.store, &self.rng, path).await?;
        let gone = || Error::storage("reading the store's marker", StorageError::not_found(path));
        found.map(|found| StoreTime::of(found.last_modified)).ok_or_else(gone)
    }

    /// Deletes an object and makes it anew.
    async fn replace(&self, path: &str, bytes: bytes::Bytes) -> Result<(), Error> {
        let paths = [path.to_owned()];
        let deleted = retry_read(&self.rng, || self.store.delete(&paths)).await;
        deleted.map_err(|error| Error::storage(format_args!("replacing {path:?}"), error))?;
        let created = self.create_own(&self.store, path, bytes).await;
        created.map_err(|error| Error::storage(format_args!("replacing {path:?}"), error))
    }
}
