//! Cloning: one consistent moment of a store, while it is in use, as a store of its own at another place.
//!
//! What is cloned is what one node knows at one moment: a manifest and the commits beyond it, which are whole transactions. The
//! manifest's files and the values that rows name are copied byte for byte under their own names, so that a second clone into the same
//! place copies only what is new; the commits beyond it are folded into a small run of the clone's own, so that the clone needs no feed. Files
//! may go while they are copied, since the source collects garbage: then a newer manifest made them superfluous, and the clone
//! goes on with that one's moment. So it is always one moment, however long it took.
//!
//! Nothing at the place counts before its marker is there, which is made last ([`land`]). And what is copied is dated anew, so that
//! dates say nothing about it: the marker says up to which date (`adopted_until`).

mod data;
mod land;
mod moment;
mod outcomes;
mod place;

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use self::moment::Moment;
use crate::error::{Error, ErrorKind};
use crate::node::Node;
use crate::node::check::CheckReport;
use crate::node::handle::Aft;
use crate::node::store::Store;
use crate::storage::Storage;

/// How often a clone begins with a newer moment, because what it copies was collected.
const ROUNDS: u32 = 20;
/// About how many bytes of values and decisions are in memory at once.
const BYTES_AT_ONCE: u32 = 64 << 20;

/// How to clone; see [`Aft::clone_to`].
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// use aft_core::CloneOptions;
///
/// let copy = std::sync::Arc::new(aft_memory::MemoryStorage::new());
/// let progress = |done: aft_core::CloneProgress| println!("{} of {}", done.objects, done.objects_known);
/// let options = CloneOptions { check: true, progress: Some(std::sync::Arc::new(progress)), ..CloneOptions::default() };
/// aft.clone_to(copy, options).await?;
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct CloneOptions {
    /// Makes a checkpoint of the source first, so that most of it is in files that later clones need not copy again. The only
    /// thing that a clone ever writes to its source.
    pub checkpoint: bool,
    /// Verifies the whole clone at the end, as [`Aft::check`] does.
    pub check: bool,
    /// Is told how far the clone is, after each object.
    pub progress: Option<Arc<dyn Fn(CloneProgress) + Send + Sync>>,
}

impl fmt::Debug for CloneOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { checkpoint, check, progress } = self;
        f.debug_struct("CloneOptions")
            .field("checkpoint", checkpoint)
            .field("check", check)
            .field("progress", &progress.is_some())
            .finish()
    }
}

/// How far a clone is. What is to be copied becomes known on the way: values when the file that names them is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CloneProgress {
    /// Objects that are there now, copied or found.
    pub objects: u64,
    /// Objects that are known to be needed.
    pub objects_known: u64,
    /// Bytes of the first.
    pub bytes: u64,
    /// Bytes of the second.
    pub bytes_known: u64,
}

/// What a clone is, and what making it took.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// let copy = std::sync::Arc::new(aft_memory::MemoryStorage::new());
/// let report = aft.clone_to(copy, aft_core::CloneOptions::default()).await?;
/// assert_eq!((report.source_checkpoint, report.checkpoint, report.commits), (0, 1, 1));
/// assert_ne!(report.source, report.store_id);
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CloneReport {
    /// The id of the store that was cloned.
    pub source: String,
    /// The id of the clone: a new one, also where the place held a clone before.
    pub store_id: String,
    /// The checkpoint of the source that the clone is of, and of the commits beyond it; 0 for none.
    pub source_checkpoint: u64,
    /// The one checkpoint of the clone.
    pub checkpoint: u64,
    /// Rows in its index; of a key that several runs hold, all of them.
    pub rows: u64,
    /// Commits beyond the source's checkpoint, which the clone has in a run of its own.
    pub commits: u64,
    /// Files of the index that were copied.
    pub files_copied: u64,
    /// Files of the index that were there from an earlier clone.
    pub files_kept: u64,
    /// Value objects that were copied.
    pub values_copied: u64,
    /// Value objects that were there, as far as rows were read: those of files that were there are not counted.
    pub values_kept: u64,
    /// Decisions that were copied: outcomes of requests and of young transactions.
    pub decisions_copied: u64,
    /// Decisions that were there.
    pub decisions_kept: u64,
    /// Claims of request keys that were copied.
    pub claims_copied: u64,
    /// Claims that were there.
    pub claims_kept: u64,
    /// Objects of an earlier clone that were deleted, since this one does not need them.
    pub deleted: u64,
    /// Bytes that were copied.
    pub bytes_copied: u64,
    /// How many moments were begun with: more than one where the source collected what was being copied.
    pub moments: u64,
    /// What could not be read and is not in the clone, each with its path: decisions and claims. The keys are all there.
    pub left_out: Vec<String>,
    /// What [`CloneOptions::check`] found.
    pub check: Option<CheckReport>,
}

/// A clone under way.
struct Cloning<'a> {
    /// The source.
    node: &'a Arc<Node>,
    /// Where the clone is made.
    storage: Arc<dyn Storage>,
    there: Store,
    options: CloneOptions,
    report: Mutex<CloneReport>,
    progress: Mutex<CloneProgress>,
    bytes: Semaphore,
}

impl Aft {
    /// Clones one consistent moment of this store, while it is in use, into a new store at `storage`, which may be of another kind: every
    /// commit that was acknowledged before this call, each whole, with its values, and the outcomes of requests within
    /// [`Config::outcome_retention`](crate::Config::outcome_retention): a request that was finished by then is replayed by the clone too.
    ///
    /// The clone is a store of its own, with an id of its own: tokens and receipts of one are of no use with the other, and nothing
    /// passes between them later. The place must be empty, or hold a clone of this store into which nothing was committed since: that is brought to the
    /// newest moment then, and only what it lacks is copied. Where a clone was interrupted, the next one goes on. Nobody may have the
    /// place open meanwhile.
    ///
    /// Everything is verified as it is copied: each block and row of the index, each value by its checksum. At the end the clone is
    /// opened. Costs a get and a create per file, stored value and outcome that is copied, however many keys there are; a list of
    /// what is at the place; and what a sweep reads. The source may be opened read-only. Memory: about 200 MB, the commits that are not in
    /// the index, and some 50 bytes for each stored value at the place and each outcome.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput): the place holds something else. [`Corrupt`](ErrorKind::Corrupt): an object that the clone needs
    /// is damaged or missing, by its path. [`ClockSkew`](ErrorKind::ClockSkew): the place dates its objects long before the source does.
    /// [`Unavailable`](ErrorKind::Unavailable), [`Denied`](ErrorKind::Denied). What was copied stays, and the next clone goes on from there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use aft_core::{Aft, CloneOptions, Config};
    /// use aft_memory::MemoryStorage;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await?;
    /// let mut tx = aft.begin().await?;
    /// tx.put("greeting", "hello")?;
    /// tx.commit().await?;
    ///
    /// let place = Arc::new(MemoryStorage::new());
    /// let report = aft.clone_to(place.clone(), CloneOptions::default()).await?;
    /// assert_eq!(report.rows, 1);
    ///
    /// let clone = Aft::open(place, Config::default()).await?;
    /// let tx = clone.begin().await?;
    /// assert_eq!(tx.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
    /// # Ok::<(), aft_core::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn clone_to(
        &self,
        storage: Arc<dyn Storage>,
        options: CloneOptions,
    ) -> BoxFuture<'_, Result<CloneReport, Error>> {
        async move {
            self.node().check_open()?;
            let config = &self.node().config;
            let there = Store::new(Arc::clone(&storage), config.request_timeout, config.max_requests);
            let cloning = Cloning {
                node: self.node(),
                storage,
                there,
                options,
                report: Mutex::default(),
                progress: Mutex::default(),
                bytes: Semaphore::new(BYTES_AT_ONCE as usize),
            };
            cloning.run().await
        }
        .boxed()
    }
}

impl Cloning<'_> {
    async fn run(self) -> Result<CloneReport, Error> {
        let node = self.node;
        self.count(|report| report.source.clone_from(&node.marker.store_id));
        let found = self.look_at_place().await?;
        if self.options.checkpoint {
            node.checkpoint().await?;
        }
        let mut here = self.data_there().await?;
        let mut moment = self.moment().await?;
        let mut rounds = 0;
        let index = loop {
            rounds += 1;
            self.count(|report| report.moments += 1);
            match self.copy_data(&moment, &mut here).await {
                Ok(index) => break index,
                Err(error) => moment = self.newer_moment(moment, error, rounds).await?,
            }
        };
        self.land(found, &moment, index).await?;
        let mut report = self.report.into_inner();
        if self.options.check {
            let builder = Aft::builder(self.storage).config(node.config.clone());
            let builder = builder.clock(Arc::clone(&node.clock)).rng_seed(node.rng.next());
            report.check = Some(builder.check().await?);
        }
        tracing::info!(?report, "cloned the store");
        Ok(report)
    }

    /// What to go on with where something could not be read: the moment of a newer checkpoint, since the source may have collected what it
    /// made superfluous; the failure itself where there is none.
    async fn newer_moment(&self, moment: Moment, error: Error, rounds: u32) -> Result<Moment, Error> {
        let gone = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::VersionUnavailable);
        if !gone || rounds >= ROUNDS {
            return Err(error);
        }
        let newer = self.moment().await?;
        if newer.base.number() <= moment.base.number() {
            return Err(error);
        }
        tracing::info!(checkpoint = newer.base.number(), "the clone goes on with a newer checkpoint");
        Ok(newer)
    }

    /// Notes what was done.
    fn count(&self, note: impl FnOnce(&mut CloneReport)) {
        note(&mut self.report.lock());
    }

    fn leave_out(&self, path: &str, error: &Error) {
        tracing::warn!(path, error = error as &dyn std::error::Error, "is not in the clone");
        let line = format!("{path}: {error}");
        self.count(|report| {
            if !report.left_out.contains(&line) {
                report.left_out.push(line);
            }
        });
    }

    /// Says that an object is needed.
    fn needs(&self, bytes: u64) {
        self.tell(|progress| {
            progress.objects_known += 1;
            progress.bytes_known += bytes;
        });
    }

    /// Says that an object that was needed is there.
    fn has(&self, bytes: u64) {
        self.tell(|progress| {
            progress.objects += 1;
            progress.bytes += bytes;
        });
    }

    fn tell(&self, note: impl FnOnce(&mut CloneProgress)) {
        let told = {
            let mut progress = self.progress.lock();
            note(&mut progress);
            *progress
        };
        if let Some(progress) = &self.options.progress {
            progress(told);
        }
    }

    /// Room in memory for so many bytes.
    async fn room(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, BYTES_AT_ONCE);
        self.bytes.acquire_many(bytes).await.ok()
    }
}

/// Refuses the place.
fn refused(why: impl fmt::Display) -> Error {
    Error::invalid(format!("the place cannot take the clone: {why}; it was left as it is"))
}
