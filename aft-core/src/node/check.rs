//! Checking a store: everything that should be there is, and is what was written; what is missing, damaged or left over is named.
//!
//! A check asks the store and nothing else: it builds no view and uses no cache, so that it also works where a node cannot open the
//! store, and one damaged object never hides another. It deletes and writes nothing. Only its last step, what a collection would
//! delete, is a dry collection of the node: that one refreshes and asks the view, is left out where it meets damage, and on a node
//! that may write its refresh may do what every refresh may: seal a checkpoint, publish anew what a damaged feed object told.
//!
//! The store may be in use. So what a checkpoint or a collection can take away meanwhile is a *suspect* at first: at the end the
//! manifests are read anew, and only what the newest one that counts still needs is called missing. And the order matters where
//! something is called an orphan, as it does for whoever collects: the store's time first, then decisions, then the index, then
//! garbage files, and values last, so that each name of a value was seen before the value is (HAZARDS 1).

mod commits;
mod files;
mod index;
mod lost;
mod report;
mod suspects;
mod told;
mod values;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

pub use report::{CheckProblem, CheckProblemKind, CheckReport};

use self::suspects::Suspect;
use crate::error::{Error, ErrorKind};
use crate::format::envelope::{FormatError, checksum};
use crate::format::name::{MARKER, ObjectName};
use crate::node::Node;
use crate::node::stats::{RequestCounts, get};
use crate::node::store::{Store, retry_read};
use crate::node::upkeep::collect::needed::is_damage;
use crate::protocol::timeliness::StoreTime;
use crate::storage::{Object, ObjectInfo, StorageError};
use crate::txn_id::TxnId;

/// So many bytes of an object count as one more request under way.
const BYTES_PER_REQUEST: u64 = 16 << 20;

/// A check under way.
struct Check<'a> {
    node: &'a Arc<Node>,
    store: Store,
    requests: Semaphore,
    report: Mutex<CheckReport>,
    /// What is a problem unless a checkpoint or a collection explains it.
    suspects: Mutex<Vec<Suspect>>,
    /// The checksums of the paths of all value objects that something names: eight bytes for each.
    names: Mutex<HashSet<u64>>,
    /// The decisions that lists name of what checkpoints folded.
    folded: Mutex<HashSet<TxnId>>,
    /// Of these, those that lists of outcomes name, and the list.
    outcomes: Mutex<BTreeMap<TxnId, String>>,
    /// The commits under request keys whose decisions were read.
    keyed: Mutex<told::Keyed>,
}

impl Node {
    /// Verifies everything in the store.
    pub(crate) async fn check(self: &Arc<Self>) -> Result<CheckReport, Error> {
        let counts = Arc::new(RequestCounts::default());
        let check = Check {
            node: self,
            store: self.store.counted_by(&counts),
            requests: Semaphore::new(self.config.parallel_requests),
            report: Mutex::default(),
            suspects: Mutex::default(),
            names: Mutex::default(),
            folded: Mutex::default(),
            outcomes: Mutex::default(),
            keyed: Mutex::default(),
        };
        match self.check_dates().await {
            // By dates it is judged what counts: nothing that this store says of itself can be checked.
            Err(error) if error.kind() == ErrorKind::DatesChanged => {
                check.report.lock().add(MARKER, CheckProblemKind::DatesChanged, error.to_string());
                check.leave_out("everything else: what counts is judged by dates");
            }
            checked => {
                checked?;
                check.run().await?;
            }
        }
        let mut report = check.report.into_inner();
        report.bytes_read = get(&counts.bytes_read);
        tracing::info!(problems = report.problems.len(), orphans = report.orphans.len(), "checked the store");
        Ok(report)
    }
}

impl Check<'_> {
    async fn run(&self) -> Result<(), Error> {
        let first = self.manifests().await?;
        let mut commits = self.feed().await?;
        let now = self.node.store_time().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "the store's time is not known yet; try again")
        })?;
        self.decisions(&mut commits, &first.base).await?;
        self.claims().await?;
        self.guards().await?;
        let manifests = self.index(first, &mut commits).await?;
        self.unfolded(&manifests, &commits).await?;
        self.garbage_files().await?;
        self.bundles().await?;
        self.outcomes(&manifests, &commits).await?;
        self.unpublished(&manifests, &commits).await?;
        let manifests = self.files(manifests, now).await?;
        let manifests = self.settle(manifests, &commits).await?;
        self.orphaned_values(&manifests, &commits, now).await?;
        self.garbage().await
    }

    /// What a collection would delete.
    async fn garbage(&self) -> Result<(), Error> {
        match self.node.collect_garbage(true).boxed().await {
            Ok(garbage) => {
                let mut report = self.report.lock();
                report.garbage = garbage.classes;
                report.left_out.extend(garbage.left_out);
            }
            Err(error) if is_damage(&error) || error.kind() == ErrorKind::ClockSkew => {
                self.leave_out(format_args!("garbage: {error}"));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn path(&self, name: ObjectName) -> String {
        self.node.path(name)
    }

    /// Does the same to each, side by side.
    async fn each<'b, T: Send>(
        &'b self,
        items: Vec<T>,
        work: impl Fn(T) -> BoxFuture<'b, Result<(), Error>> + Send + Sync,
    ) -> Result<(), Error> {
        futures::stream::iter(items)
            .map(work)
            .buffer_unordered(self.node.config.parallel_requests)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// A place among the requests under way: more of them for one that carries much.
    async fn permit(&self, bytes: u64) -> Option<SemaphorePermit<'_>> {
        let most = u32::try_from(self.node.config.parallel_requests).unwrap_or(u32::MAX);
        let weight = u32::try_from(1 + bytes / BYTES_PER_REQUEST).unwrap_or(u32::MAX).min(most.max(1));
        self.requests.acquire_many(weight).await.ok()
    }

    /// A whole object; `None` where it is not there.
    async fn get(&self, path: &str, size: u64) -> Result<Option<Object>, Error> {
        let _permit = self.permit(size).await;
        let read = retry_read(&self.node.rng, || self.store.get_sized(path, size)).await;
        if let Err(error) = &read
            && let Some(too_large) = error.is_too_large()
        {
            self.damaged(path, format_args!("{too_large}; it was not read"));
            // Whoever asked finds that these are not the bytes either, and judges what is known without the object.
            return Ok(Some(Object { bytes: Bytes::new(), last_modified: std::time::UNIX_EPOCH }));
        }
        let read = found(path, read)?;
        if let Some(object) = &read {
            self.node.note_date(StoreTime::of(object.last_modified), path);
        }
        Ok(read)
    }

    /// A piece of an object; `None` where the object is not there.
    async fn get_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Option<Bytes>, Error> {
        let _permit = self.permit(range.end.saturating_sub(range.start)).await;
        found(path, retry_read(&self.node.rng, || self.store.get_range(path, range.clone())).await)
    }

    /// The objects of a folder with their names; what is none of aft's is named as left over.
    async fn list(&self, folder: &str) -> Result<Vec<(ObjectName, ObjectInfo)>, Error> {
        let listed = {
            let _permit = self.permit(0).await;
            retry_read(&self.node.rng, || self.store.list(folder, None)).await
        };
        let listed = listed.map_err(|error| Error::storage(format_args!("listing {folder:?}"), error))?;
        let mut objects = Vec::with_capacity(listed.len());
        for object in listed {
            self.node.note_date(StoreTime::of(object.last_modified), &object.path);
            match ObjectName::parse(&object.path, self.node.shards) {
                Some(name) => objects.push((name, object)),
                None => self.orphan(object.path),
            }
        }
        Ok(objects)
    }

    /// Counts something that is as it should be.
    fn count(&self, counter: impl Fn(&mut CheckReport) -> &mut u64, n: u64) {
        *counter(&mut self.report.lock()) += n;
    }

    fn missing(&self, path: &str, what: impl ToString) {
        self.report.lock().add(path, CheckProblemKind::Missing, what.to_string());
    }

    fn damaged(&self, path: &str, what: impl ToString) {
        self.report.lock().add(path, CheckProblemKind::Damaged, what.to_string());
    }

    /// Says that an object, `what` it should be, cannot be read.
    fn unreadable(&self, path: &str, what: impl std::fmt::Display, cause: &FormatError) {
        self.report.lock().add(path, kind_of(cause), format!("{what}: {cause}"));
    }

    fn orphan(&self, path: String) {
        self.report.lock().add_orphan(path);
    }

    fn leave_out(&self, what: impl ToString) {
        let what = what.to_string();
        let left_out = &mut self.report.lock().left_out;
        if !left_out.contains(&what) {
            left_out.push(what);
        }
    }

    /// Notes that something names this value object.
    fn name_value(&self, name: ObjectName) {
        let hash = checksum(self.path(name).as_bytes());
        self.names.lock().insert(hash);
    }

    fn is_named(&self, path: &str) -> bool {
        self.names.lock().contains(&checksum(path.as_bytes()))
    }
}

/// What is wrong with an object that is there.
fn kind_of(cause: &FormatError) -> CheckProblemKind {
    match cause {
        FormatError::UnsupportedVersion(_) => CheckProblemKind::Unsupported,
        _ => CheckProblemKind::Damaged,
    }
}

/// What was read; `None` where there is nothing.
fn found<T>(path: &str, read: Result<T, StorageError>) -> Result<Option<T>, Error> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StorageError::NotFound { .. }) => Ok(None),
        Err(error) => Err(Error::storage(format_args!("reading {path:?}"), error)),
    }
}

/// A key for people.
fn shown(key: &[u8]) -> String {
    format!("\"{}\"", key.escape_ascii())
}
