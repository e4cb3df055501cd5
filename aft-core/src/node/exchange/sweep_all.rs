//! Looking over every decision: commits that nothing carries any more, since the feed object that told of them is gone.
//!
//! A sweep looks at a window, and what is older was published once. Where that publication was lost before any checkpoint knew of it,
//! the decision is all that is left. A commit as old as that must not come back where a deletion that superseded it has left the index
//! ([`standing`] tells), and it is published as *restored*, since every node takes commits of its age for folded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;

use crate::error::{Error, ErrorKind};
use crate::format::garbage::Garbage;
use crate::format::manifest::Manifest;
use crate::format::name::{OUTCOMES, ObjectName};
use crate::node::exchange::heal::publication;
use crate::node::exchange::register::{Committed, RegisterState};
use crate::node::store::retry_read;
use crate::node::{Node, format_error};
use crate::protocol::base::Base;
use crate::protocol::feed_queue::{Publication, Told, objects_of};
use crate::protocol::standing::{Standing, standing};
use crate::protocol::view::Commit;
use crate::storage::StorageError;
use crate::txn_id::TxnId;
use crate::version::Version;

/// So many decisions are read, judged and published at a time.
const LOOKED_AT_ONCE: usize = 64;
/// So many commits are named; more are counted.
const NAMED: usize = 1000;

/// What looking over all decisions of a store did; from [`Aft::sweep_all`](crate::Aft::sweep_all).
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// let report = aft.sweep_all().await?;
/// assert!(report.is_clean());
/// assert_eq!((report.listed, report.dead), (1, 0));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SweepAllReport {
    /// Decisions in the store.
    pub listed: u64,
    /// Those that were read: neither the feed nor a list of what checkpoints folded names them.
    pub read: u64,
    /// Commits that nothing carried, and that are published now.
    pub published: u64,
    /// Those among them that are older than what checkpoints take for settled.
    pub restored: u64,
    /// Aborts and void commits.
    pub dead: u64,
    /// Commits that nothing carries and that were not published, since a key that they wrote may have been deleted since; the first thousand.
    pub doubtful: Vec<LostCommit>,
    /// Such commits beyond those named.
    pub more_doubtful: u64,
    /// Paths of decisions that are damaged: what they committed may be lost. The first thousand.
    pub unreadable: Vec<String>,
    /// Damaged decisions beyond those named.
    pub more_unreadable: u64,
    /// A checkpoint that another node made meanwhile and that may have let deletions go of what was restored: keys
    /// may be there again that were deleted. `None` where all is well.
    pub overtaken_by: Option<u64>,
}

/// A commit that nothing carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostCommit {
    /// The transaction.
    pub txn_id: TxnId,
    /// How many keys it wrote.
    pub keys: u64,
    /// How many of them are not in the index, and may have been deleted since.
    pub missing: u64,
}

impl SweepAllReport {
    /// Whether nothing is lost and nothing is in doubt.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.doubtful.is_empty() && self.unreadable.is_empty() && self.overtaken_by.is_none()
    }
}

impl Node {
    /// Publishes every commit of the store that nothing carries and that may be published.
    pub(crate) async fn sweep_all(self: &Arc<Self>) -> Result<SweepAllReport, Error> {
        self.check_writable()?;
        self.known.look_again();
        self.refresh().await?;
        self.publish().await?;
        let mut report =
            SweepAllReport { published: self.publish_told_late().await?, ..SweepAllReport::default() };
        let folded = self.folded_decisions().await?;
        let folders: Vec<_> = self.decision_folders().collect();
        for folder in folders {
            let listed = self.list_decisions_in(&folder, TxnId::window_start(0)).await?;
            report.listed += listed.len() as u64;
            let mut unknown = self.known.read(|known| known.untold(listed));
            unknown.retain(|id| !folded.contains(id));
            for some in unknown.chunks(LOOKED_AT_ONCE) {
                self.restore_some(some, &mut report).boxed().await?;
            }
        }
        tracing::info!(?report, "looked over all decisions");
        Ok(report)
    }

    async fn restore_some(self: &Arc<Self>, ids: &[TxnId], report: &mut SweepAllReport) -> Result<(), Error> {
        report.read += ids.len() as u64;
        let (mut young, mut old) = (Vec::new(), Vec::new());
        let settled_ms = self.known.base().settled_ms();
        for (id, looked) in self.look_at(ids).await {
            match looked {
                Ok(RegisterState::Committed { commits, .. }) => {
                    let settled = |it: &Committed| it.commit.version.txn.start_ms() < settled_ms;
                    // A decision is published as a whole: of a group all or none.
                    if commits.iter().any(settled) { old.extend(commits) } else { young.extend(commits) }
                }
                Ok(RegisterState::Dead { .. } | RegisterState::Forgotten) => report.dead += 1,
                // Collected meanwhile.
                Ok(RegisterState::Empty) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let path = self.path(ObjectName::Decision(id));
                    tracing::error!(error = &error as &dyn std::error::Error, "a decision cannot be read");
                    if report.unreadable.len() < NAMED {
                        report.unreadable.push(path);
                    } else {
                        report.more_unreadable += 1;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.learn(young.iter().map(|it| Arc::clone(&it.commit)));
        report.published += young.len() as u64;
        self.publish_all(&young.iter().map(publication).collect::<Vec<_>>()).await?;
        if old.is_empty() { Ok(()) } else { self.restore(old, report).await }
    }

    /// Publishes those of these commits, all older than what is settled, that nothing can have deleted since.
    async fn restore(
        self: &Arc<Self>,
        old: Vec<Committed>,
        report: &mut SweepAllReport,
    ) -> Result<(), Error> {
        self.known.look_again();
        self.refresh().await?;
        let verified = self.now();
        let base = self.known.base();
        let mut lost = Vec::new();
        for (it, standing) in self.standings(&base, old, |it| &it.commit).await? {
            match standing {
                (Standing::Carried, _) => {}
                (Standing::Lost, _) => lost.push(it),
                (Standing::Doubtful, missing) if report.doubtful.len() < NAMED => {
                    let (txn_id, keys) = (it.commit.version.txn, it.commit.writes.len() as u64);
                    report.doubtful.push(LostCommit { txn_id, keys, missing });
                }
                (Standing::Doubtful, _) => report.more_doubtful += 1,
            }
        }
        if lost.is_empty() {
            return Ok(());
        }
        let lost: Vec<_> = lost.iter().map(restored).collect();
        let told = Told { verified: Some(verified), ..Told::default() };
        for object in objects_of(&lost) {
            self.publish_object(object, &told).await?;
        }
        self.learn(lost.iter().map(|it| Arc::clone(&it.commit)));
        report.published += lost.len() as u64;
        report.restored += lost.len() as u64;
        let least = lost.iter().map(|it| it.commit.version).min();
        for number in self.list_manifests(base.number()).await? {
            // Its maker may not have known of what was restored.
            let purged = self.manifest(number).await?.map(|(manifest, _)| manifest.purged);
            if purged
                .is_some_and(|purged| purged > base.purged() && least.is_some_and(|least| purged > least))
            {
                tracing::error!(
                    number,
                    "a checkpoint was made while commits were restored; deleted keys may be there again"
                );
                report.overtaken_by = Some(number);
            }
        }
        Ok(())
    }

    /// How each of these commits stands, by the rows of a base; and how many of its keys have none.
    pub(crate) async fn standings<T: Send>(
        &self,
        base: &Base,
        commits: Vec<T>,
        commit: impl Fn(&T) -> &Arc<Commit> + Send + Sync,
    ) -> Result<Vec<(T, (Standing, u64))>, Error> {
        let mut keys: Vec<Bytes> =
            commits.iter().flat_map(|it| commit(it).writes.to_vec()).map(|write| write.key).collect();
        keys.sort_unstable();
        keys.dedup();
        let rows = self.rows(&self.store, base, keys).await?;
        let rows: BTreeMap<Bytes, Version> = rows.into_iter().map(|(key, row)| (key, row.version)).collect();
        let judge = |it: T| {
            let of = commit(&it);
            let missing = of.writes.keys().filter(|key| !rows.contains_key(*key)).count() as u64;
            let standing = standing(of, base.purged(), |key| rows.get(key).copied());
            (it, (standing, missing))
        };
        Ok(commits.into_iter().map(judge).collect())
    }

    /// The decisions that checkpoints folded and whose objects are still there: those that are to be collected, and those that stay for
    /// their outcome.
    async fn folded_decisions(&self) -> Result<BTreeSet<TxnId>, Error> {
        let mut folded = BTreeSet::new();
        let mut lists = BTreeSet::new();
        let numbers = self.list_manifests(0).await?;
        for number in &numbers {
            let Some((manifest, _)) = self.manifest(*number).await? else { continue };
            lists.extend(lists_of(&manifest).map(|name| self.path(name)));
        }
        let oldest = numbers.last().copied().unwrap_or(0);
        let listed = retry_read(&self.rng, || self.store.list(OUTCOMES, None)).await;
        for object in listed.map_err(|error| Error::storage("listing outcomes", error))? {
            // Its manifest is gone by now.
            if let Some(ObjectName::Outcomes(number, _)) = ObjectName::parse(&object.path, self.shards)
                && number < oldest
            {
                lists.insert(object.path);
            }
        }
        for path in lists {
            match retry_read(&self.rng, || self.store.get(&path)).await {
                Ok(object) => {
                    let list = Garbage::decode(&object.bytes).map_err(|cause| format_error(&path, cause))?;
                    folded.extend(list.decisions);
                }
                // Collected, with everything that it named.
                Err(StorageError::NotFound { .. }) => {}
                Err(error) => return Err(Error::storage(format_args!("reading {path:?}"), error)),
            }
        }
        Ok(folded)
    }
}

/// The lists of decisions that a manifest folded.
pub(crate) fn lists_of(manifest: &Manifest) -> impl Iterator<Item = ObjectName> {
    let garbage = manifest.garbage.map(|file| ObjectName::Garbage(file.id));
    garbage.into_iter().chain(manifest.outcomes.map(|file| ObjectName::Outcomes(manifest.number, file.id)))
}

/// A lost commit, to be published as such.
fn restored(it: &Committed) -> Publication {
    let mut commit = Commit::clone(&it.commit);
    commit.restored = true;
    Publication::new(Arc::new(commit), it.request_key.clone(), &it.payload)
}
