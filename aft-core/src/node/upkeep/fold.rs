//! Folding: the rows of commits that everybody knows become a sorted run, and runs are merged in size tiers.
//!
//! Nothing here holds more than a bounded part of the store: values are fetched for [`GROUP_BYTES`] of commits at a time, runs are
//! read [`READ_BYTES`] at a time, and files are written as they fill.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::garbage::Garbage;
use crate::format::manifest::{RunFile, SortedRun};
use crate::format::name::{FileId, ObjectName};
use crate::format::row::{Row, RowValue};
use crate::format::run::{Block, RunFileContent, RunWriter, Tail};
use crate::node::store::{Store, retry_read};
use crate::node::unencodable;
use crate::node::upkeep::checkpoint::Written;
use crate::node::{Node, format_error};
use crate::protocol::fold::{Merge, OutOfOrder, Step, garbage_of, merge_plan};
use crate::protocol::view::{Commit, Place};
use crate::protocol::write_set::ValueRef;
use crate::storage::StorageError;
use crate::version::Version;

/// About how large a file of a run may grow.
const FILE_BYTES: u64 = 32 << 20;
/// About how much of the new commits is in memory at once.
const GROUP_BYTES: u64 = 64 << 20;
/// About how much of each merged run is in memory at once.
const READ_BYTES: u64 = 4 << 20;

/// A checkpoint's runs on their way: newest first.
pub(crate) struct Fold<'a> {
    pub(crate) node: &'a Node,
    /// Where the runs are read and written: the node's own store, unless its commits go into a clone.
    pub(crate) store: &'a Store,
    pub(crate) runs: Vec<SortedRun>,
    /// Tombstones strictly below may leave the index.
    pub(crate) purge_bound: Version,
    pub(crate) garbage: Garbage,
    pub(crate) written: Written,
    /// The greatest version in the new rows.
    pub(crate) greatest: Version,
    /// The greatest version of a tombstone that ever left.
    pub(crate) purged: Version,
}

impl Fold<'_> {
    /// Adds commits to the runs: a run for so many of them as fit into memory, and another one for the next. (Not in chunks of keys:
    /// each would need the objects of nearly all commits.)
    pub(crate) async fn add(&mut self, commits: &[Arc<Commit>]) -> Result<(), Error> {
        let mut rest = commits;
        while !rest.is_empty() {
            let (group, later) = rest.split_at(group_of(rest));
            self.add_group(group).await?;
            rest = later;
        }
        Ok(())
    }

    /// Adds commits as one run: of each key the newest version.
    async fn add_group(&mut self, commits: &[Arc<Commit>]) -> Result<(), Error> {
        let mut newest: BTreeMap<&[u8], WriteOf<'_>> = BTreeMap::new();
        for commit in commits {
            self.written.folded += 1;
            self.greatest = self.greatest.max(commit.version);
            for (ordinal, key) in commit.writes.keys().enumerate() {
                let written = WriteOf { commit, ordinal };
                let lost = match newest.get_mut(key) {
                    Some(known) if known.commit.version < commit.version => {
                        Some(std::mem::replace(known, written))
                    }
                    Some(_) => Some(written),
                    None => newest.insert(key, written),
                };
                if let Some(lost) = lost {
                    self.supersede(&lost);
                }
            }
        }
        let rows = self.node.rows_of(newest.into_values().collect()).await?;
        if rows.is_empty() { Ok(()) } else { self.add_run(rows).await }
    }

    fn supersede(&mut self, written: &WriteOf<'_>) {
        if let Place::Stored(stored) = written.place() {
            let txn = written.commit.version.txn;
            self.garbage.values.extend(stored.parts.iter().map(|part| (txn, part.object())));
        }
    }

    /// Adds sorted rows as a run, merged with as many of the newest runs as size tiers ask for.
    async fn add_run(&mut self, rows: Vec<Row>) -> Result<(), Error> {
        let weigh = |row: &Row| {
            row.key.len() as u64
                + match &row.value {
                    RowValue::Tombstone => 48,
                    RowValue::Inline(value) => 64 + value.len() as u64,
                    RowValue::Stored(stored) => 96 + stored.len,
                }
        };
        let new = rows.iter().map(weigh).sum();
        let weights: Vec<u64> = std::iter::once(new).chain(self.runs.iter().map(SortedRun::weight)).collect();
        // The new rows count as one of the merged.
        let merged = merge_plan(&weights).saturating_sub(1).min(self.runs.len());
        let rest = self.runs.split_off(merged);
        let old = std::mem::replace(&mut self.runs, rest);
        // With the oldest run merged, no older version of a key is left that its deletion would have to hide.
        let purge = self.runs.is_empty().then_some(self.purge_bound);
        let files = self.merge(rows, old, purge).await?;
        if !files.is_empty() {
            self.runs.insert(0, SortedRun { files });
        }
        Ok(())
    }

    async fn merge(
        &mut self,
        rows: Vec<Row>,
        old: Vec<SortedRun>,
        purge: Option<Version>,
    ) -> Result<Vec<RunFile>, Error> {
        self.written.merged += old.len() as u64;
        let mut inputs: Vec<_> = old.into_iter().map(|run| Input::new(self.node, self.store, run)).collect();
        let mut merge = Merge::new(inputs.len() + 1, purge);
        merge.feed(0, rows).map_err(disordered)?;
        merge.close(0);
        let writer = RunWriter::new().map_err(|cause| unencodable("a file of the index", cause))?;
        let mut out = Output { node: self.node, store: self.store, files: Vec::new(), writer };
        loop {
            match merge.next() {
                Step::Need(input) => match inputs[input - 1].read().await? {
                    Some(rows) => merge.feed(input, rows).map_err(disordered)?,
                    None => merge.close(input),
                },
                Step::Keep(row) => out.push(&row, &mut self.written).await?,
                Step::Superseded(row) => self.garbage.values.extend(garbage_of(&row, None)),
                Step::Purged(row) => {
                    self.written.purged += 1;
                    self.purged = self.purged.max(row.version);
                }
                Step::Done => break,
            }
        }
        out.finish(&mut self.written).await
    }
}

/// How many of these commits are folded together; at least one.
fn group_of(commits: &[Arc<Commit>]) -> usize {
    let mut bytes = 0;
    let full = commits.iter().position(|commit| {
        let inline = commit.writes.values().map(|value| match value {
            ValueRef::Inline { len, .. } => len,
            ValueRef::Tombstone | ValueRef::Stored(_) => 0,
        });
        bytes += inline.sum::<u64>() + commit.writes.keys().map(|key| 128 + key.len() as u64).sum::<u64>();
        bytes >= GROUP_BYTES
    });
    full.map_or(commits.len(), |at| at + 1)
}

/// A run that is read from start to end.
struct Input<'a> {
    node: &'a Node,
    store: &'a Store,
    files: VecDeque<RunFile>,
    open: Option<(RunFile, Arc<Tail>, usize)>,
}

impl<'a> Input<'a> {
    fn new(node: &'a Node, store: &'a Store, run: SortedRun) -> Self {
        Self { node, store, files: run.files.into(), open: None }
    }

    /// The next rows; `None` at the end.
    async fn read(&mut self) -> Result<Option<Vec<Row>>, Error> {
        let (file, tail, from) = loop {
            match self.open.take() {
                Some((file, tail, from)) if from < tail.blocks() => break (file, tail, from),
                _ => {
                    let Some(file) = self.files.pop_front() else { return Ok(None) };
                    let tail = self.node.tail(self.store, &file).await?;
                    self.open = Some((file, tail, 0));
                }
            }
        };
        let start = tail.block_range(from).start;
        let mut to = from + 1;
        while to < tail.blocks() && tail.block_range(to).end - start <= READ_BYTES {
            to += 1;
        }
        let path = self.node.path(ObjectName::Run(file.id));
        let bytes = self.node.run_range(self.store, &path, start..tail.block_range(to - 1).end).await?;
        let mut rows = Vec::new();
        for n in from..to {
            let range = tail.block_range(n);
            let part = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX).min(bytes.len());
            let block = bytes.slice(part(range.start)..part(range.end));
            let block = Block::decode(&tail, n, &block).map_err(|cause| format_error(&path, cause))?;
            rows.extend((0..block.rows()).map(|n| block.row(n)));
        }
        self.open = Some((file, tail, to));
        // Decoding is work without a pause; others may have something to do.
        tokio::task::yield_now().await;
        Ok(Some(rows))
    }
}

/// The files of a run that is written.
struct Output<'a> {
    node: &'a Node,
    store: &'a Store,
    files: Vec<RunFile>,
    writer: RunWriter,
}

impl Output<'_> {
    async fn push(&mut self, row: &Row, written: &mut Written) -> Result<(), Error> {
        self.writer.push(row).map_err(|cause| unencodable("a file of the index", cause))?;
        if self.writer.bytes() >= FILE_BYTES {
            self.cut(written).await?;
        }
        Ok(())
    }

    async fn finish(mut self, written: &mut Written) -> Result<Vec<RunFile>, Error> {
        if self.writer.rows() > 0 {
            self.cut(written).await?;
        }
        Ok(self.files)
    }

    async fn cut(&mut self, written: &mut Written) -> Result<(), Error> {
        let fresh = RunWriter::new().map_err(|cause| unencodable("a file of the index", cause))?;
        let file: RunFileContent = std::mem::replace(&mut self.writer, fresh)
            .finish()
            .map_err(|cause| unencodable("a file of the index", cause))?;
        let id = self.node.new_file_id();
        let bytes = file.bytes.len() as u64;
        let tail = file.bytes.len().saturating_sub(usize::try_from(file.tail_len).unwrap_or(usize::MAX));
        let index = tail.saturating_add(usize::try_from(file.index_len).unwrap_or(usize::MAX));
        let checksum = checksum(file.bytes.get(tail..index).unwrap_or_default());
        let path = self.node.path(ObjectName::Run(id));
        self.node.create_file(self.store, &path, file.bytes, written).await?;
        written.rows += file.rows;
        self.files.push(RunFile {
            id,
            bytes,
            tail_bytes: file.tail_len,
            index_bytes: file.index_len,
            rows: file.rows,
            stored_bytes: file.stored_bytes,
            tombstones: file.tombstones,
            checksum,
            first_key: file.first_key,
            last_key: file.last_key,
        });
        tokio::task::yield_now().await;
        Ok(())
    }
}

fn disordered(cause: OutOfOrder) -> Error {
    let message = "a file of the index is not sorted; it was left as it is, and no checkpoint was made";
    Error::new(ErrorKind::Corrupt, message).with_source(cause)
}

impl Node {
    pub(crate) fn new_file_id(&self) -> FileId {
        FileId(self.new_txn_id())
    }

    /// Makes a file of a checkpoint durable.
    pub(crate) async fn create_file(
        &self,
        store: &Store,
        path: &str,
        bytes: Bytes,
        written: &mut Written,
    ) -> Result<(), Error> {
        written.files.push(path.to_owned());
        written.bytes += bytes.len() as u64;
        let created = self.create_own(store, path, bytes).await;
        created.map_err(|error| Error::storage(format_args!("writing {path:?} of a checkpoint"), error))
    }

    /// Rows with their inline values, which are read from the objects that hold them: each whole, once.
    async fn rows_of(&self, written: Vec<WriteOf<'_>>) -> Result<Vec<Row>, Error> {
        let mut objects: BTreeMap<String, u64> = BTreeMap::new();
        let mut values: Vec<Option<Bytes>> = Vec::with_capacity(written.len());
        for written in &written {
            let id = (written.commit.version.txn, written.value_ordinal());
            values.push(match written.place() {
                Place::Inline { len: 0, .. } => Some(Bytes::new()),
                Place::Inline { object, start, len, .. } => {
                    let cached = self.cache.value(id).await;
                    if cached.is_none() {
                        let needed = objects.entry(self.path(object)).or_default();
                        *needed = (*needed).max(start.saturating_add(len));
                    }
                    cached
                }
                Place::Tombstone | Place::Stored(_) => None,
            });
        }
        let reads = objects.into_iter().map(|(path, needed)| {
            async move {
                let read = retry_read(&self.rng, || self.store.get_sized(&path, needed)).await;
                let object = read.map_err(|error| missing(&path, error));
                (path, object.map(|object| object.bytes))
            }
            .boxed()
        });
        let objects: BTreeMap<String, Result<Bytes, Error>> =
            futures::stream::iter(reads.collect::<Vec<_>>())
                .buffer_unordered(self.config.parallel_requests)
                .collect()
                .await;
        let mut rows = Vec::with_capacity(written.len());
        for (written, value) in written.into_iter().zip(values) {
            let row = match self.row_of(&written, value, &objects) {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let WriteOf { commit, ordinal } = written;
                    let value = self.value_in_decision(&self.store, commit, ordinal).await?.ok_or(error)?;
                    self.row_of(&written, Some(value), &objects)
                }
                row => row,
            };
            rows.push(row?);
        }
        Ok(rows)
    }

    fn row_of(
        &self,
        written: &WriteOf<'_>,
        cached: Option<Bytes>,
        objects: &BTreeMap<String, Result<Bytes, Error>>,
    ) -> Result<Row, Error> {
        let value = match (written.place(), cached) {
            (Place::Tombstone, _) => RowValue::Tombstone,
            (Place::Stored(stored), _) => RowValue::Stored(stored.clone()),
            (_, Some(value)) => RowValue::Inline(value),
            (Place::Inline { object, start, len, checksum: expected }, None) => {
                let path = self.path(object);
                let whole = objects.get(&path).cloned().transpose()?.unwrap_or_default();
                let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(whole.len());
                let value = whole.slice(clamp(start)..clamp(start.saturating_add(len)));
                if value.len() as u64 != len || checksum(&value) != expected {
                    let message = format!(
                        "a value of {} in {path:?} is damaged; it was left as it is, and no checkpoint was made",
                        written.commit.version.txn
                    );
                    return Err(Error::new(ErrorKind::Corrupt, message).with_object(&path));
                }
                RowValue::Inline(value)
            }
        };
        let key = written.commit.writes.key_bytes(written.ordinal);
        Ok(Row { key, version: written.commit.version, ordinal: written.value_ordinal(), value })
    }
}

/// A write of a commit that is folded.
#[derive(Clone, Copy)]
struct WriteOf<'a> {
    commit: &'a Commit,
    ordinal: usize,
}

impl<'a> WriteOf<'a> {
    fn place(&self) -> Place<'a> {
        self.commit.place(self.ordinal)
    }

    fn value_ordinal(&self) -> u32 {
        u32::try_from(self.ordinal).unwrap_or(u32::MAX)
    }
}

fn missing(path: &str, error: StorageError) -> Error {
    match error {
        error @ StorageError::NotFound { .. } => {
            let message =
                format!("the object {path:?}, which holds committed values, is gone; no checkpoint was made");
            Error::new(ErrorKind::Corrupt, message).with_source(error).with_object(path)
        }
        error => Error::storage(format_args!("reading values from {path:?}"), error),
    }
}
