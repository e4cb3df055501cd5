//! Checkpoints: everything that every node surely knows is folded into the index, so that a node starts in a handful of requests
//! however large the store is, and everything older can be deleted.
//!
//! Any node may make one; there is no leader. Two makers race for the number, and the loser deletes its files. A maker can die
//! anywhere: before the manifest nothing of it counts, and what it left is collected.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::field::Empty;

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::garbage::Garbage;
use crate::format::manifest::{FileRef, Manifest};
use crate::format::name::{FileId, ObjectName};
use crate::node::Node;
use crate::node::spans::{OK, noted};
use crate::node::stats::add;
use crate::node::unencodable;
use crate::node::upkeep::fold::Fold;
use crate::node::write_once::write_once;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::knowledge::draft::{Draft, Gathered, Named, NoDraft};
use crate::protocol::timeliness::StoreTime;
use crate::storage::StorageError;

/// What a checkpoint did.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// let mut tx = aft.begin().await?;
/// tx.put("k", "v")?;
/// tx.commit().await?;
/// let report = aft.checkpoint().await?;
/// // The commit is too young to be folded: not every node surely knows it.
/// assert_eq!((report.number, report.made, report.folded, report.recent), (1, true, 0, 1));
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Its number. Where another maker was faster, that one's, and nothing of this one counts.
    pub number: u64,
    /// Whether this call made it.
    pub made: bool,
    /// Commits published before this moment (by the store's clock) are in the index.
    pub horizon: Option<SystemTime>,
    /// Commits that it folded into the index.
    pub folded: u64,
    /// Commits too young for that, which it tells of beside the index.
    pub recent: u64,
    /// Rows that it wrote, those of merged runs included.
    pub rows_written: u64,
    /// Bytes that it wrote.
    pub bytes_written: u64,
    /// Older runs that it merged.
    pub runs_merged: u64,
    /// Sorted runs that the index has now.
    pub runs: u64,
    /// Rows that the index has now; of a key that several runs hold, all of them.
    pub rows: u64,
    /// Deletions that left the index, since nothing older can come back.
    pub tombstones_purged: u64,
    /// Objects that it found to be garbage, for the next collection.
    pub garbage: u64,
}

/// What a checkpoint wrote so far.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) files: Vec<String>,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
    pub(crate) folded: u64,
    pub(crate) merged: u64,
    pub(crate) purged: u64,
}

/// Tries before a manifest is given up as unknown: about 15 s of waiting.
const MANIFEST_TRIES: u32 = 14;
/// How many light checkpoints a full one goes on over.
const LIGHT_MOST: u32 = 256;
/// How often a maker begins anew because others were faster.
const CHECKPOINT_TRIES: u32 = 3;

/// How making a manifest ended.
enum Landed {
    Ours(StoreTime),
    Theirs,
}

impl Node {
    /// Makes a checkpoint.
    pub(crate) async fn checkpoint(self: &Arc<Self>) -> Result<CheckpointReport, Error> {
        let span = tracing::info_span!(
            "aft.checkpoint",
            number = Empty,
            made = Empty,
            folded = Empty,
            bytes = Empty,
            outcome = Empty,
        );
        let made = noted(span, self.make_checkpoint(), |span, report: &CheckpointReport| {
            span.record("number", report.number).record("made", report.made);
            span.record("folded", report.folded).record("bytes", report.bytes_written);
            OK
        });
        made.await
    }

    async fn make_checkpoint(self: &Arc<Self>) -> Result<CheckpointReport, Error> {
        self.check_writable()?;
        self.check_dates().await?;
        self.known.look_again();
        self.sweep().await?;
        // Dates this node's own feed objects: what was published when is what is folded.
        self.refresh().await?;
        let number = self.next_number().await?;
        let draft = self.gather()?.draft();
        let mut fold = Fold {
            node: self,
            store: &self.store,
            runs: draft.base.manifest().map(|manifest| manifest.runs.clone()).unwrap_or_default(),
            purge_bound: draft.purge_bound,
            garbage: Garbage::default(),
            written: Written::default(),
            greatest: draft.base.greatest(),
            purged: draft.base.purged(),
        };
        let made = match fold.add(&draft.fold).await {
            Ok(()) => self.write_files(number, &draft, &mut fold).await,
            Err(error) => Err(error),
        };
        let mut written = fold.written;
        let (mut manifest, keyed) = match made {
            Ok(made) => made,
            Err(error) => {
                self.delete_files(&written).await;
                return self.overtaken(&draft.base, error).await;
            }
        };
        let mut tries = LIGHT_MOST;
        let made = loop {
            match self.land(&manifest).await? {
                Landed::Theirs => match self.number_beyond(&draft.base).await {
                    // Others told those who start what there is, and folded nothing: what this one folded, it folded of the same runs. (A
                    // listing that shows less than is there shows a number that is taken.)
                    Ok(Some(number)) if number > manifest.number && tries > 0 => {
                        tries -= 1;
                        self.renumber(&mut manifest, number, &keyed, &mut written).await?;
                    }
                    lost => {
                        self.delete_files(&written).await;
                        lost?;
                        return self.lost().await;
                    }
                },
                Landed::Ours(made) => break made,
            }
        };
        let report = self.build_on(manifest, made, &written).await?;
        tracing::info!(?report, "made a checkpoint");
        Ok(report)
    }

    /// Makes a checkpoint that folds nothing; `None` where another node had the number.
    pub(super) async fn land_light(
        self: &Arc<Self>,
        draft: Draft,
    ) -> Result<Option<CheckpointReport>, Error> {
        let mut written = Written::default();
        let recent = self.write_recent(&draft, &mut written).await?;
        let base = &draft.base;
        let runs = base.manifest().map(|manifest| manifest.runs.clone()).unwrap_or_default();
        let (greatest, purged) = (base.greatest(), base.purged());
        let named = Named { greatest, purged, runs, recent, garbage: None, outcomes: None };
        let manifest =
            draft.manifest(base.number() + 1, self.marker.store_id.clone(), self.rng.next(), named);
        match self.land(&manifest).await? {
            Landed::Ours(made) => self.build_on(manifest, made, &written).await.map(Some),
            Landed::Theirs => {
                self.delete_files(&written).await;
                Ok(None)
            }
        }
    }

    /// Builds on a manifest of this node's own that landed then.
    async fn build_on(
        &self,
        manifest: Manifest,
        made: StoreTime,
        written: &Written,
    ) -> Result<CheckpointReport, Error> {
        if self.limits.manifest_void(StoreTime(manifest.begun), made) {
            let message = "the checkpoint took longer than the transaction lifetime and does not count; nothing was lost; try again";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        add(&self.counters.checkpoints, 1);
        self.seal(manifest.number).await;
        let report = report(&manifest, written);
        // It folded by the same dates by which the view lets go.
        self.adopt(&Arc::new(Base::new(manifest)));
        Ok(report)
    }

    /// Another node made the checkpoint.
    async fn lost(self: &Arc<Self>) -> Result<CheckpointReport, Error> {
        self.known.look_again();
        self.refresh().await?;
        let number = self.known.base().number();
        tracing::info!(number, "another node made the checkpoint");
        Ok(CheckpointReport { number, ..CheckpointReport::default() })
    }

    /// What could not be read may have been folded and collected meanwhile: then another node made the checkpoint, and nothing is wrong.
    async fn overtaken(self: &Arc<Self>, base: &Base, error: Error) -> Result<CheckpointReport, Error> {
        let gone = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::VersionUnavailable);
        if gone && !planted(Planted::NeverOvertaken) && matches!(self.number_beyond(base).await, Ok(None)) {
            return self.lost().await;
        }
        Err(error)
    }

    /// The number after every manifest that is there. A newer one that counts is built on first.
    async fn next_number(self: &Arc<Self>) -> Result<u64, Error> {
        for _ in 0..CHECKPOINT_TRIES {
            let number = self.known.base().number();
            let above = self.list_manifests(number).await?;
            let mut newer = false;
            for number in &above {
                let found = self.manifest(*number).await.map_err(|error| {
                    error.wrapped(format!(
                        "no checkpoint was made: the newest one, {number}, must be mended first"
                    ))
                })?;
                if found.is_some() {
                    newer = true;
                    break;
                }
            }
            if !newer {
                return Ok(above.first().copied().unwrap_or(number).max(number) + 1);
            }
            self.known.look_again();
            self.refresh().await?;
        }
        let message = "other nodes made checkpoints again and again meanwhile";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    pub(super) fn gather(&self) -> Result<Gathered, Error> {
        let now = self.now();
        self.known.read(|known| known.gather(now)).map_err(|refused| {
            let message = match refused {
                NoDraft::TimeUnknown => "the store's time is not known yet; try again",
                NoDraft::ToldLate => {
                    "no checkpoint was made: the next sweep publishes commits again whose feed objects had their dates changed, or were not shown by listings; try again"
                }
            };
            Error::new(ErrorKind::Unavailable, message)
        })
    }

    /// Writes the recent file of a checkpoint.
    async fn write_recent(&self, draft: &Draft, written: &mut Written) -> Result<FileRef, Error> {
        let id = self.new_file_id();
        let bytes = draft.recent.encode().map_err(|cause| unencodable("the recent file", cause))?;
        let recent = file_ref(id, &bytes, draft.recent.commits.len() as u64);
        self.create_file(&self.store, &self.path(ObjectName::Recent(id)), bytes, written).await?;
        Ok(recent)
    }

    /// Writes what the manifest names beside the runs, and says what it will say; and the decisions that stay for their outcome.
    async fn write_files(
        &self,
        number: u64,
        draft: &Draft,
        fold: &mut Fold<'_>,
    ) -> Result<(Manifest, Garbage), Error> {
        let recent = self.write_recent(draft, &mut fold.written).await?;
        // Their ids are forgotten by now, unless a request key leads to them.
        let folded =
            draft.fold.iter().filter(|commit| !commit.keyed || planted(Planted::CollectKeyedDecisions));
        let folded = folded.map(|commit| commit.decided_by());
        fold.garbage.decisions.extend(folded);
        fold.garbage.decisions.extend(draft.pruned.iter().map(|it| it.decided_by));
        for pruned in &draft.pruned {
            fold.garbage.values.extend(pruned.values.iter().map(|value| (pruned.txn, *value)));
        }
        // A node that still holds what its own batch superseded finds it twice.
        fold.garbage.decisions.sort_unstable();
        fold.garbage.decisions.dedup();
        fold.garbage.values.sort_unstable();
        fold.garbage.values.dedup();
        let garbage = std::mem::take(&mut fold.garbage);
        let garbage = self.create_list(&garbage, ObjectName::Garbage, &mut fold.written).await?;
        let keyed = draft.fold.iter().filter(|commit| commit.keyed).map(|commit| commit.decided_by());
        let keyed = Garbage { decisions: keyed.collect(), values: Vec::new() };
        let named = |id| ObjectName::Outcomes(number, id);
        let outcomes = self.create_list(&keyed, named, &mut fold.written).await?;
        let (greatest, purged, runs) = (fold.greatest, fold.purged, fold.runs.clone());
        let named = Named { greatest, purged, runs, recent, garbage, outcomes };
        Ok((draft.manifest(number, self.marker.store_id.clone(), self.rng.next(), named), keyed))
    }

    /// The number after all manifests above this base, where all of them that count are light ones; `None` where one folded more.
    ///
    /// # Errors
    /// Where one of them cannot be read: it may have.
    async fn number_beyond(&self, base: &Base) -> Result<Option<u64>, Error> {
        let above = self.list_manifests(base.number()).await?;
        let newest = self.newest_manifest(&above).await?;
        if let Some(error) = newest.as_ref().and_then(|newest| newest.instead_of.clone())
            && !planted(Planted::OverDamage)
        {
            return Err(error.wrapped("no checkpoint was made: a newer one must be mended first".to_owned()));
        }
        let folds = newest.is_some_and(|it| {
            it.base.folds_beyond(base) && !planted(Planted::OverAnyCheckpoint)
                || planted(Planted::LoseToLight)
        });
        let newest = above.first().copied().unwrap_or(base.number());
        Ok((!folds).then_some(newest + 1))
    }

    /// Gives a manifest another number, and the list that has it in its name.
    async fn renumber(
        &self,
        manifest: &mut Manifest,
        number: u64,
        keyed: &Garbage,
        written: &mut Written,
    ) -> Result<(), Error> {
        let before = manifest.outcomes.map(|file| self.path(ObjectName::Outcomes(manifest.number, file.id)));
        manifest.outcomes = self.create_list(keyed, |id| ObjectName::Outcomes(number, id), written).await?;
        manifest.number = number;
        self.delete_files(&Written { files: before.into_iter().collect(), ..Written::default() }).await;
        Ok(())
    }

    /// Writes a list of objects, where there is anything to list.
    async fn create_list(
        &self,
        list: &Garbage,
        named: impl FnOnce(FileId) -> ObjectName + Send,
        written: &mut Written,
    ) -> Result<Option<FileRef>, Error> {
        if list.entries() == 0 {
            return Ok(None);
        }
        let id = self.new_file_id();
        let bytes = list.encode().map_err(|cause| unencodable("a list of objects", cause))?;
        let file = file_ref(id, &bytes, list.entries());
        self.create_file(&self.store, &self.path(named(id)), bytes, written).await?;
        Ok(Some(file))
    }

    /// Makes the manifest, or learns that the number is another maker's. As with a decision, every doubt is settled by reading back
    /// (HAZARDS 16): a maker that takes its own success for another's would delete the files that everybody reads.
    async fn land(&self, manifest: &Manifest) -> Result<Landed, Error> {
        let path = self.path(ObjectName::Checkpoint(manifest.number));
        let bytes = manifest.encode().map_err(|cause| unencodable("the checkpoint's manifest", cause))?;
        let create = async || {
            let tried = self.store.try_create(&path, bytes.clone()).await;
            tried.map_err(|error| Error::storage("writing the checkpoint's manifest", error))
        };
        let settle = async |made: bool| {
            if !made && planted(Planted::TrustManifestConflict) {
                return Ok(Some(Landed::Theirs));
            }
            match self.store.get(&path).await {
                Ok(object) => {
                    let made = StoreTime::of(object.last_modified);
                    self.note_date(made, &path);
                    let ours = Manifest::decode(&object.bytes).map(|there| there.attempt == manifest.attempt);
                    Ok(match ours {
                        Ok(true) => Some(Landed::Ours(made)),
                        Ok(false) => Some(Landed::Theirs),
                        Err(_) if planted(Planted::DamageIsTheirs) => Some(Landed::Theirs),
                        // On its way, or in the store: whose it is nobody can say, and its files may be needed.
                        Err(_) => None,
                    })
                }
                Err(error) if error.is_too_large().is_some() => Ok(Some(Landed::Theirs)),
                Err(StorageError::NotFound { .. }) => Ok(None),
                Err(error) if error.is_transient() => Ok(None),
                Err(error) => Err(Error::storage("reading the checkpoint's manifest back", error)),
            }
        };
        let landed = write_once(&self.rng, &path, MANIFEST_TRIES, create, settle).await?;
        landed.map_err(|error| {
            let doing = "writing the checkpoint's manifest (it may have landed, which does no harm)";
            Error::storage(doing, error)
        })
    }

    /// Deletes the files of a checkpoint that lost; what fails here is collected later.
    async fn delete_files(&self, written: &Written) {
        if let Err(error) = self.store.delete(&written.files).await {
            tracing::debug!(%error, "the files of a checkpoint that lost are left for the collection of garbage");
        }
    }
}

pub(crate) fn file_ref(id: FileId, bytes: &Bytes, entries: u64) -> FileRef {
    FileRef { id, bytes: bytes.len() as u64, entries, checksum: checksum(bytes) }
}

fn report(manifest: &Manifest, written: &Written) -> CheckpointReport {
    CheckpointReport {
        number: manifest.number,
        made: true,
        horizon: Some(UNIX_EPOCH + Duration::from_secs(manifest.horizon)),
        folded: written.folded,
        recent: manifest.recent.entries,
        rows_written: written.rows,
        bytes_written: written.bytes,
        runs_merged: written.merged,
        runs: manifest.runs.len() as u64,
        rows: manifest.files().map(|file| file.rows).sum(),
        tombstones_purged: written.purged,
        garbage: manifest.garbage.as_ref().map_or(0, |garbage| garbage.entries),
    }
}
