//! Manifests, and the sorted runs and the recent file of the newest one that counts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;

use super::commits::Commits;
use super::{Check, CheckProblemKind, kind_of, shown};
use crate::error::Error;
use crate::format::manifest::{FileRef, Manifest, RunFile};
use crate::format::name::{CHECKPOINTS, ObjectName};
use crate::format::recent::Recent;
use crate::format::row::{Row, RowValue};
use crate::format::run::{Block, Tail};
use crate::protocol::base::Base;
use crate::protocol::timeliness::StoreTime;
use crate::storage::{Object, ObjectInfo};
use crate::version::Version;

/// About how much of a file is in memory at once.
const READ_BYTES: u64 = 4 << 20;
/// What every file of a run begins with.
const MAGIC: &[u8] = b"PAR1";
/// How often the index is looked at anew because a checkpoint replaced files meanwhile.
const ROUNDS: u32 = 20;

/// The manifests that are there, count and can be read.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    pub(super) all: BTreeMap<u64, Manifest>,
    /// The newest.
    pub(super) base: Arc<Base>,
    /// Whether one that is newer cannot be read: what it folded and what was collected after it is not known then.
    pub(super) is_behind: bool,
    /// Whether any cannot be read: it may name anything.
    pub(super) is_partial: bool,
}

/// What the rows of a file add up to.
#[derive(Debug, Default)]
struct Sums {
    rows: u64,
    tombstones: u64,
    stored_bytes: u64,
}

impl Check<'_> {
    /// Reads every manifest.
    pub(super) async fn manifests(&self) -> Result<Manifests, Error> {
        let all = Mutex::new(BTreeMap::new());
        let unreadable = Mutex::new(Vec::new());
        let listed = self.list(CHECKPOINTS).await?;
        for (name, _) in &listed {
            if let ObjectName::Seal(number) = name {
                self.node.known.write(|known| known.note_sealed(*number));
            }
        }
        let (good, bad) = (&all, &unreadable);
        self.each(listed, |(name, object): (ObjectName, ObjectInfo)| {
            async move {
                let ObjectName::Checkpoint(number) = name else { return Ok(()) };
                // One that is gone was replaced.
                let Some(read) = self.get(&object.path, object.size).await? else { return Ok(()) };
                match self.manifest(number, &read) {
                    Ok(manifest) => {
                        let made = StoreTime::of(read.last_modified);
                        let void = self.node.is_surely_void(&manifest, made).await?;
                        good.lock().insert(number, (manifest, void));
                    }
                    Err((kind, wrong)) => {
                        let what = format!("the manifest of a checkpoint: {wrong}");
                        self.report.lock().add(&object.path, kind, what);
                        bad.lock().push(number);
                    }
                }
                Ok(())
            }
            .boxed()
        })
        .await?;
        let (all, unreadable) = (all.into_inner(), unreadable.into_inner());
        let good = all.len() as u64;
        for number in all.iter().filter(|(_, (_, void))| *void).map(|(number, _)| number) {
            self.leave_out(format_args!("checkpoint {number}, which landed too late to count"));
        }
        let all: BTreeMap<_, _> =
            all.into_iter().filter(|(_, (_, void))| !void).map(|(number, (it, _))| (number, it)).collect();
        let base = all.values().next_back().map_or_else(Arc::default, |it| Arc::new(Base::new(it.clone())));
        {
            let mut report = self.report.lock();
            report.manifests = good;
            report.checkpoint = base.number();
        }
        let is_behind = unreadable.iter().any(|number| *number > base.number());
        Ok(Manifests { all, base, is_behind, is_partial: !unreadable.is_empty() })
    }

    fn manifest(&self, number: u64, object: &Object) -> Result<Manifest, (CheckProblemKind, String)> {
        let manifest =
            Manifest::decode(&object.bytes).map_err(|cause| (kind_of(&cause), cause.to_string()))?;
        let other = |what: &str| (CheckProblemKind::Damaged, format!("it is that of another {what}"));
        if manifest.number != number {
            return Err(other("number"));
        }
        if manifest.store_id != self.node.marker.store_id {
            return Err(other("store"));
        }
        Ok(manifest)
    }

    /// Verifies the runs and the recent file. Where files of them were replaced meanwhile, those of the new checkpoint.
    pub(super) async fn index(
        &self,
        mut manifests: Manifests,
        commits: &mut Commits,
    ) -> Result<Manifests, Error> {
        let mut verified = HashSet::new();
        for _ in 0..ROUNDS {
            let gone = self.verify(&manifests.base, commits, &mut verified).await?;
            if gone.is_empty() {
                return Ok(manifests);
            }
            let newer = self.manifests().await?;
            if newer.base.number() == manifests.base.number() {
                for path in gone {
                    let number = newer.base.number();
                    self.missing(&path, format_args!("a file that checkpoint {number} needs"));
                }
                return Ok(newer);
            }
            manifests = newer;
        }
        self.leave_out("the index: checkpoints replaced its files faster than they could be read");
        Ok(manifests)
    }

    /// Verifies those files of a manifest that are not verified yet; which ones are gone.
    async fn verify(
        &self,
        base: &Base,
        commits: &mut Commits,
        verified: &mut HashSet<ObjectName>,
    ) -> Result<Vec<String>, Error> {
        let Some(manifest) = base.manifest() else { return Ok(Vec::new()) };
        let gone = Mutex::new(Vec::new());
        if verified.insert(ObjectName::Recent(manifest.recent.id)) {
            match self.recent(&manifest.recent).await? {
                Read::Gone(path) => gone.lock().push(path),
                Read::Damaged => commits.recent_is_damaged = true,
                Read::Whole(recent) => commits.tell_recent(&recent),
            }
        }
        let files: Vec<_> =
            manifest.files().filter(|file| verified.insert(ObjectName::Run(file.id))).cloned().collect();
        let (greatest, lost) = (manifest.greatest, &gone);
        self.each(files, |file: RunFile| {
            async move {
                if let Read::Gone(path) = self.run_file(&file, greatest).await? {
                    lost.lock().push(path);
                }
                Ok(())
            }
            .boxed()
        })
        .await?;
        Ok(gone.into_inner())
    }

    pub(super) async fn recent(&self, file: &FileRef) -> Result<Read<Recent>, Error> {
        let path = self.path(ObjectName::Recent(file.id));
        let Some(object) = self.get(&path, file.bytes).await? else { return Ok(Read::Gone(path)) };
        let what = "the recent commits of a checkpoint";
        let wrong = match Recent::decode(&object.bytes) {
            Ok(recent) if recent.commits.len() as u64 == file.entries => return Ok(Read::Whole(recent)),
            Ok(recent) => {
                format!("it holds {} commits, its manifest says {}", recent.commits.len(), file.entries)
            }
            Err(cause) => {
                self.unreadable(&path, what, &cause);
                return Ok(Read::Damaged);
            }
        };
        self.damaged(&path, format_args!("{what}: {wrong}"));
        Ok(Read::Damaged)
    }

    /// Verifies a file of a run: its tail, every block and row, and every value that a row names.
    async fn run_file(&self, file: &RunFile, greatest: Version) -> Result<Read<()>, Error> {
        let path = self.path(ObjectName::Run(file.id));
        let start = file.bytes.saturating_sub(file.tail_bytes);
        let Some(bytes) = self.get_range(&path, start..file.bytes).await? else {
            return Ok(Read::Gone(path));
        };
        let tail = match Tail::decode(file.bytes, &bytes) {
            Ok(tail) => tail,
            Err(cause) => {
                self.unreadable(&path, "a file of the index: its tail", &cause);
                return Ok(Read::Damaged);
            }
        };
        if (tail.rows(), tail.first_key(), tail.last_key()) != (file.rows, &file.first_key, &file.last_key) {
            return self.bad_run(&path, "it has other keys than its manifest says");
        }
        let mut sums = Sums::default();
        let (mut from, mut wrong) = (0, None);
        while from < tail.blocks() {
            let start = if from == 0 { 0 } else { tail.block_range(from).start };
            let mut to = from + 1;
            while to < tail.blocks() && tail.block_range(to).end - start <= READ_BYTES {
                to += 1;
            }
            let Some(bytes) = self.get_range(&path, start..tail.block_range(to - 1).end).await? else {
                return Ok(Read::Gone(path));
            };
            if from == 0 && !bytes.starts_with(MAGIC) {
                wrong.get_or_insert_with(|| "it does not begin as a Parquet file does".to_owned());
            }
            for n in from..to {
                match block(&tail, n, start, &bytes) {
                    Ok(block) => {
                        let rows: Vec<_> = (0..block.rows()).map(|n| block.row(n)).collect();
                        if let Err(broken) = sums.add(&tail, &rows, greatest) {
                            wrong.get_or_insert(broken);
                        }
                        self.values_of_rows(rows).await?;
                    }
                    Err(broken) => {
                        wrong.get_or_insert(broken);
                    }
                }
            }
            from = to;
            // Decoding is work without a pause; others may have something to do.
            tokio::task::yield_now().await;
        }
        self.count(|report| &mut report.rows, sums.rows);
        let counted = (sums.tombstones, sums.stored_bytes);
        if wrong.is_none() && counted != (file.tombstones, file.stored_bytes) {
            wrong = Some("it has other deletions or values than its manifest says".to_owned());
        }
        match wrong {
            Some(wrong) => self.bad_run(&path, wrong),
            None => {
                self.count(|report| &mut report.run_files, 1);
                Ok(Read::Whole(()))
            }
        }
    }

    fn bad_run(&self, path: &str, wrong: impl std::fmt::Display) -> Result<Read<()>, Error> {
        self.damaged(path, format_args!("a file of the index: {wrong}"));
        Ok(Read::Damaged)
    }
}

/// How reading a file ended.
pub(super) enum Read<T> {
    Whole(T),
    Damaged,
    /// It is not there, at this path.
    Gone(String),
}

/// The `n`th block, of a piece of the file that begins at `start`.
fn block(tail: &Tail, n: usize, start: u64, piece: &Bytes) -> Result<Block, String> {
    let range = tail.block_range(n);
    let part = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX).min(piece.len());
    let bytes = piece.slice(part(range.start)..part(range.end));
    Block::decode(tail, n, &bytes).map_err(|cause| format!("its block {n}: {cause}"))
}

impl Sums {
    /// Takes in the rows of a block; what is wrong with them.
    fn add(&mut self, tail: &Tail, rows: &[Row], greatest: Version) -> Result<(), String> {
        let mut wrong = Ok(());
        for row in rows {
            self.rows += 1;
            let mut names = true;
            match &row.value {
                RowValue::Tombstone => self.tombstones += 1,
                RowValue::Inline(_) => {}
                RowValue::Stored(stored) => {
                    self.stored_bytes = self.stored_bytes.saturating_add(stored.len);
                    names = stored.parts.iter().all(|part| tail.may_name(row.version.txn, part.object()));
                }
            }
            if wrong.is_err() {
                continue;
            }
            if !tail.may_hold(&row.key) || !names {
                wrong = Err(format!("its filter denies the key {}, which it holds", shown(&row.key)));
            } else if row.version > greatest {
                let key = shown(&row.key);
                wrong = Err(format!("the key {key} has a version that is greater than any in its manifest"));
            }
        }
        wrong
    }
}
