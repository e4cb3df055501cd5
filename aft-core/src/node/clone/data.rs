//! What a clone holds: the files of the index and the values that their rows name.
//!
//! A file is copied after the values that its rows name. So where a file is there, its values are too, and a later clone reads no row of it again.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};
use parking_lot::Mutex;

use super::Cloning;
use super::moment::Moment;
use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::garbage::Garbage;
use crate::format::manifest::{RunFile, SortedRun};
use crate::format::name::{FileId, INDEX, ObjectName, VALUES, ValueName};
use crate::format::record::Part;
use crate::format::row::RowValue;
use crate::format::run::{Block, Tail};
use crate::node::format_error;
use crate::node::store::{Store, retry_read};
use crate::node::upkeep::checkpoint::Written;
use crate::node::upkeep::fold::Fold;
use crate::planted::{Planted, planted};
use crate::storage::{ObjectInfo, StorageError};
use crate::txn_id::TxnId;
use crate::version::Version;

/// Files of the index that are in memory at once, each of about 32 MiB.
const FILES_AT_ONCE: usize = 4;
/// What every file of a run begins with.
const MAGIC: &[u8] = b"PAR1";

/// What is at the place already, with lengths in bytes.
#[derive(Default)]
pub(super) struct DataThere {
    files: HashMap<FileId, u64>,
    values: HashMap<(TxnId, ValueName), u64>,
}

/// The index of the clone.
pub(super) struct Index {
    /// Newest first.
    pub(super) runs: Vec<SortedRun>,
    pub(super) greatest: Version,
    pub(super) purged: Version,
}

impl Cloning<'_> {
    pub(super) async fn data_there(&self) -> Result<DataThere, Error> {
        let mut data = DataThere::default();
        for object in self.list_there(INDEX).await? {
            if let Some(ObjectName::Run(id)) = ObjectName::parse(&object.path, self.node.shards) {
                data.files.insert(id, object.size);
            }
        }
        let values = Mutex::new(&mut data.values);
        self.list_there_where(VALUES, |object| {
            if let Some(ObjectName::Value(txn, name)) = ObjectName::parse(&object.path, self.node.shards) {
                values.lock().insert((txn, name), object.size);
            }
            false
        })
        .await?;
        Ok(data)
    }

    /// Copies what is not there, and verifies it.
    pub(super) async fn copy_data(&self, moment: &Moment, here: &mut DataThere) -> Result<Index, Error> {
        // What these need goes first, where the source collects garbage meanwhile.
        let mut index = self.fold_beyond(moment).await?;
        let here = Mutex::new(here);
        for file in index.runs.iter().flat_map(|run| &run.files) {
            let bytes = self.run_file(&self.there, file).await?;
            self.copy_values(self.values_of(file, &bytes).await?, &here).await?;
        }
        let manifest = moment.base.manifest();
        let files: Vec<_> = manifest.iter().flat_map(|manifest| manifest.files()).collect();
        let copies: Vec<_> = files.into_iter().map(|file| self.copy_file(file, &here).boxed()).collect();
        futures::stream::iter(copies)
            .buffer_unordered(FILES_AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        index.runs.extend(manifest.iter().flat_map(|manifest| manifest.runs.iter().cloned()));
        Ok(index)
    }

    /// Folds the commits beyond the checkpoint into a run of the clone's own. Nothing is purged: only a merge with everything older may.
    async fn fold_beyond(&self, moment: &Moment) -> Result<Index, Error> {
        let mut fold = Fold {
            node: self.node,
            store: &self.there,
            runs: Vec::new(),
            purge_bound: Version::ABSENT,
            garbage: Garbage::default(),
            written: Written::default(),
            greatest: moment.base.greatest(),
            purged: moment.base.purged(),
        };
        fold.add(&moment.commits).await?;
        let Fold { runs, greatest, purged, written, .. } = fold;
        self.count(|report| report.bytes_copied += written.bytes);
        Ok(Index { runs, greatest, purged })
    }

    async fn copy_file(&self, file: &RunFile, here: &Mutex<&mut DataThere>) -> Result<(), Error> {
        let path = self.node.path(ObjectName::Run(file.id));
        self.needs(file.bytes);
        let found = here.lock().files.get(&file.id).copied();
        if found == Some(file.bytes) && self.is_that_file(&path, file).await? {
            self.count(|report| report.files_kept += 1);
            self.has(file.bytes);
            return Ok(());
        }
        let bytes = self.run_file(&self.node.store, file).await?;
        let values = self.values_of(file, &bytes).await?;
        if !planted(Planted::CloneWithoutValues) {
            self.copy_values(values, here).await?;
        }
        if found.is_some() {
            self.delete_there(std::slice::from_ref(&path)).await?;
        }
        self.create_there(&path, bytes).await?;
        here.lock().files.insert(file.id, file.bytes);
        self.count(|report| {
            report.files_copied += 1;
            report.bytes_copied += file.bytes;
        });
        self.has(file.bytes);
        Ok(())
    }

    /// Whether the file that is there has the tail that the manifest says.
    async fn is_that_file(&self, path: &str, file: &RunFile) -> Result<bool, Error> {
        match retry_read(&self.node.rng, || self.there.get_range(path, file.index_range())).await {
            Ok(index) => Ok(file.is_tail(&index)),
            Err(StorageError::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::storage(format_args!("reading {path:?} of the clone"), error)),
        }
    }

    /// A whole file of a run.
    async fn run_file(&self, store: &Store, file: &RunFile) -> Result<Bytes, Error> {
        let path = self.node.path(ObjectName::Run(file.id));
        let read = retry_read(&self.node.rng, || store.get_sized(&path, file.bytes)).await;
        read.map(|object| object.bytes).map_err(|error| gone(&path, "a file of the index", error))
    }

    /// Verifies a file of a run, every block and row of it; the values that its rows name.
    async fn values_of(&self, file: &RunFile, bytes: &Bytes) -> Result<Vec<(TxnId, Part)>, Error> {
        let path = self.node.path(ObjectName::Run(file.id));
        let other = || damaged(&path, "is not the file of the index that the checkpoint names");
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let tail = bytes.slice(at(file.bytes.saturating_sub(file.tail_bytes))..);
        if bytes.len() as u64 != file.bytes || !file.is_tail(&tail) || !bytes.starts_with(MAGIC) {
            return Err(other());
        }
        let tail = Tail::decode(file.bytes, &tail).map_err(|cause| format_error(&path, cause))?;
        if (tail.rows(), tail.first_key(), tail.last_key()) != (file.rows, &file.first_key, &file.last_key) {
            return Err(other());
        }
        let mut values = Vec::new();
        for n in 0..tail.blocks() {
            let range = tail.block_range(n);
            let block = bytes.slice(at(range.start)..at(range.end));
            let block = Block::decode(&tail, n, &block).map_err(|cause| format_error(&path, cause))?;
            for row in (0..block.rows()).map(|n| block.row(n)) {
                if let RowValue::Stored(stored) = &row.value {
                    values.extend(stored.parts.iter().map(|part| (row.version.txn, *part)));
                }
            }
            // Decoding is work without a pause; others may have something to do.
            tokio::task::yield_now().await;
        }
        Ok(values)
    }

    async fn copy_values(
        &self,
        values: Vec<(TxnId, Part)>,
        here: &Mutex<&mut DataThere>,
    ) -> Result<(), Error> {
        values.iter().for_each(|(_, part)| self.needs(part.len));
        let copies = values.into_iter().map(|(txn, part)| self.copy_value(txn, part, here).boxed());
        futures::stream::iter(copies.collect::<Vec<_>>())
            .buffer_unordered(self.node.config.parallel_requests)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    async fn copy_value(&self, txn: TxnId, part: Part, here: &Mutex<&mut DataThere>) -> Result<(), Error> {
        let end = part.offset.saturating_add(part.len);
        let found = here.lock().values.get(&(txn, part.object())).copied();
        if found.is_some_and(|size| size >= end) {
            self.count(|report| report.values_kept += 1);
            self.has(part.len);
            return Ok(());
        }
        let path = self.node.path(ObjectName::Value(txn, part.object()));
        let _room = self.room(end).await;
        let read = retry_read(&self.node.rng, || self.node.store.get_first(&path, end)).await;
        let bytes = read.map_err(|error| gone(&path, "a value", error))?;
        let at = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let piece = bytes.slice(at(part.offset)..at(end));
        if piece.len() as u64 != part.len || checksum(&piece) != part.checksum {
            return Err(damaged(&path, "holds a damaged value"));
        }
        if found.is_some() {
            self.delete_there(std::slice::from_ref(&path)).await?;
        }
        let size = bytes.len() as u64;
        self.create_there(&path, bytes).await?;
        here.lock().values.insert((txn, part.object()), size);
        self.count(|report| {
            report.values_copied += 1;
            report.bytes_copied += size;
        });
        self.has(part.len);
        Ok(())
    }

    /// Makes an object at the place durable, whose name says what is in it.
    pub(super) async fn create_there(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        let created = self.node.create_own(&self.there, path, bytes).await;
        created.map_err(|error| Error::storage(format_args!("writing {path:?} of the clone"), error))
    }

    pub(super) async fn delete_there(&self, paths: &[String]) -> Result<(), Error> {
        if paths.is_empty() {
            return Ok(());
        }
        let deleted = retry_read(&self.node.rng, || self.there.delete(paths)).await;
        deleted.map_err(|error| Error::storage("deleting what the clone does not need", error))
    }

    pub(super) async fn list_there(&self, folder: &str) -> Result<Vec<ObjectInfo>, Error> {
        self.list_there_where(folder, |_| true).await
    }

    pub(super) async fn list_there_where(
        &self,
        folder: &str,
        wanted: impl Fn(&ObjectInfo) -> bool + Send + Sync,
    ) -> Result<Vec<ObjectInfo>, Error> {
        let listed = retry_read(&self.node.rng, || self.there.list_where(folder, None, &wanted)).await;
        listed.map_err(|error| Error::storage(format_args!("listing {folder:?} of the clone"), error))
    }
}

/// An object of the source that could not be read.
fn gone(path: &str, what: &str, error: StorageError) -> Error {
    match error {
        error @ StorageError::NotFound { .. } => {
            Error::new(ErrorKind::VersionUnavailable, format!("{what} of the source, {path:?}, is gone"))
                .with_source(error)
                .with_object(path)
        }
        error => Error::storage(format_args!("reading {path:?} of the source"), error),
    }
}

fn damaged(path: &str, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the object {path:?} {what}; it was left as it is"))
        .with_object(path)
}
