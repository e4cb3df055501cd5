//! Looking keys up in the index: the sorted runs of a manifest, whose tails and blocks the cache keeps decoded.
//!
//! A newer run may hold an older version of a key than an older run does, since a commit can be published long after a greater one; so
//! every run that may hold the key is asked, side by side. Bloom filters in the tails keep nearly all others out.

pub(crate) mod cache;
pub(crate) mod fetch;
pub(crate) mod load;
mod together;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::envelope::checksum;
use crate::format::manifest::{RunFile, SortedRun};
use crate::format::name::{FileId, ObjectName};
use crate::format::row::Row;
use crate::format::run::{Block, Tail};
use crate::key_range::KeyRange;
use crate::node::store::{Store, retry_read};
use crate::node::{Node, format_error};
use crate::protocol::base::Base;
use crate::protocol::knowledge::Knowledge;
use crate::rng::NodeRng;
use crate::storage::StorageError;

/// Pages of fewer rows than this are read block by block; larger ones with blocks ahead.
const READ_AHEAD_ROWS: usize = 4096;

impl Node {
    /// The tail of a file: what says where its blocks are, and which keys are surely not in it.
    pub(crate) async fn tail(&self, store: &Store, file: &RunFile) -> Result<Arc<Tail>, Error> {
        let load = || {
            let (store, rng, path) = (store.clone(), self.rng.clone(), self.path(ObjectName::Run(file.id)));
            let (end, len, expected) = (file.bytes, file.tail_bytes, file.checksum);
            async move {
                let bytes = run_range(&store, &rng, &path, end.saturating_sub(len)..end).await?;
                let tail = Tail::decode(end, &bytes).map_err(|cause| format_error(&path, cause))?;
                if checksum(&bytes) != expected {
                    let message = format!("the object {path:?} is not the file that the checkpoint names");
                    return Err(Error::new(ErrorKind::Corrupt, message).with_object(&path));
                }
                Ok(tail)
            }
            .boxed()
        };
        self.cache.tail(file.id, &self.counters, load).await
    }

    /// A block of a file, by one range request.
    pub(crate) async fn block(
        &self,
        store: &Store,
        file: &RunFile,
        tail: &Arc<Tail>,
        n: usize,
    ) -> Result<Arc<Block>, Error> {
        let load = || {
            let (store, rng, path) = (store.clone(), self.rng.clone(), self.path(ObjectName::Run(file.id)));
            let tail = Arc::clone(tail);
            async move {
                let bytes = run_range(&store, &rng, &path, tail.block_range(n)).await?;
                Block::decode(&tail, n, &bytes).map_err(|cause| format_error(&path, cause))
            }
            .boxed()
        };
        self.cache.block((file.id, u32::try_from(n).unwrap_or(u32::MAX)), &self.counters, load).await
    }

    /// A piece of a file.
    pub(crate) async fn run_range(
        &self,
        store: &Store,
        path: &str,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        run_range(store, &self.rng, path, range).await
    }

    /// The rows of these keys, each with the file of its run: of each key one per run that holds it.
    pub(crate) async fn rows_by_run(
        &self,
        store: &Store,
        base: &Base,
        keys: &[Bytes],
    ) -> Result<Vec<(FileId, Row)>, Error> {
        let Some(manifest) = base.manifest() else { return Ok(Vec::new()) };
        let runs = &manifest.runs;
        let asked: Vec<_> = (0..keys.len())
            .flat_map(|key| (0..runs.len()).map(move |run| (key, run)))
            .filter(|&(key, run)| runs[run].file_for(&keys[key]).is_some())
            .collect();
        // Boxed, each when its turn comes: see `Node::answers`. By numbers: the compiler cannot see it of references.
        let look = |(key, run): (usize, usize)| -> BoxFuture<'_, _> {
            let (key, run) = (&keys[key], &runs[run]);
            async move {
                let Some(file) = run.file_for(key) else { return Ok(None) };
                let row = self.row_in(store, file, key).await?;
                Ok(row.map(|row| (file.id, row)))
            }
            .boxed()
        };
        futures::stream::iter(asked)
            .map(look)
            .buffer_unordered(self.config.parallel_requests)
            .try_filter_map(|row| async { Ok(row) })
            .try_collect()
            .await
    }

    /// The rows of these keys: of each the newest that any run holds.
    pub(crate) async fn rows(
        &self,
        store: &Store,
        base: &Base,
        keys: Vec<Bytes>,
    ) -> Result<BTreeMap<Bytes, Row>, Error> {
        let found = self.rows_by_run(store, base, &keys).await?;
        let mut rows: BTreeMap<Bytes, Row> = BTreeMap::new();
        for (_, row) in found {
            let newer = rows.get(&row.key).is_none_or(|known| known.version < row.version);
            if newer {
                rows.insert(row.key.clone(), row);
            }
        }
        Ok(rows)
    }

    async fn row_in(&self, store: &Store, file: &RunFile, key: &[u8]) -> Result<Option<Row>, Error> {
        let tail = self.tail(store, file).await?;
        if !tail.may_hold(key) {
            return Ok(None);
        }
        let Some(n) = tail.block_for(key) else { return Ok(None) };
        Ok(self.block(store, file, &tail, n).await?.find(key))
    }

    /// The first `limit` rows of a range, sorted: of each key the newest that any run holds, tombstones included.
    pub(crate) async fn rows_in(
        &self,
        store: &Store,
        base: &Base,
        range: &KeyRange,
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let Some(manifest) = base.manifest() else { return Ok(Vec::new()) };
        let ahead = if limit < READ_AHEAD_ROWS { 1 } else { self.config.parallel_requests };
        let cursors = manifest.runs.iter().map(|run| Cursor::open(self, store, run, range, ahead).boxed());
        let cursors: Vec<_> = cursors.collect();
        let mut cursors: Vec<_> = futures::stream::iter(cursors)
            .buffered(self.config.parallel_requests)
            .try_filter_map(|cursor| async { Ok(cursor) })
            .try_collect()
            .await?;
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < limit {
            let Some(key) = cursors.iter().map(|cursor| cursor.row.key.clone()).min() else { break };
            let mut newest: Option<Row> = None;
            let mut at = 0;
            while let Some(cursor) = cursors.get_mut(at) {
                if cursor.row.key != key {
                    at += 1;
                    continue;
                }
                if newest.as_ref().is_none_or(|row| row.version < cursor.row.version) {
                    newest = Some(cursor.row.clone());
                }
                if cursor.advance().await? {
                    at += 1;
                } else {
                    cursors.swap_remove(at);
                }
            }
            rows.extend(newest);
        }
        Ok(rows)
    }

    /// What to do where the index of `base` could not be read: `Ok` where another manifest is built on now, so that asking again may
    /// help; the failure itself where none is to be had.
    pub(crate) async fn recover_index(self: &Arc<Self>, base: &Base, failure: Error) -> Result<(), Error> {
        let repairable = matches!(failure.kind(), ErrorKind::VersionUnavailable | ErrorKind::Corrupt);
        let Some(path) = failure.object().filter(|_| repairable).map(str::to_owned) else {
            return Err(failure);
        };
        // By its maker's random number: a manifest that was deleted by hand may be followed by another of its number.
        let attempt = |base: &Base| base.manifest().map(|manifest| manifest.attempt);
        let changed = || attempt(&self.known.base()) != attempt(base);
        if changed() {
            return Ok(());
        }
        self.known.look_again();
        self.refresh().await?;
        if changed() {
            return Ok(());
        }
        tracing::error!(error = &failure as &dyn std::error::Error, "the index cannot be read");
        self.known.write(|known| known.distrust(path));
        match self.refresh().await {
            Ok(()) if changed() => Ok(()),
            Ok(()) => Err(failure),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                // Nothing older is whole: what can still be read of this one goes on.
                self.known.write(Knowledge::trust_again);
                Err(failure)
            }
            Err(error) => Err(error),
        }
    }
}

async fn run_range(store: &Store, rng: &NodeRng, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
    let read = retry_read(rng, || store.get_range(path, range.clone())).await;
    read.map_err(|error| match error {
        error @ StorageError::NotFound { .. } => {
            let message = format!("the file {path:?} of the index is gone");
            Error::new(ErrorKind::VersionUnavailable, message).with_source(error).with_object(path)
        }
        error => Error::storage(format_args!("reading the file {path:?} of the index"), error),
    })
}

/// A place in one run, on its way through a range.
struct Cursor<'a> {
    blocks: BoxStream<'a, Result<Arc<Block>, Error>>,
    block: Arc<Block>,
    next: usize,
    /// The row it stands on.
    row: Row,
    range: &'a KeyRange,
}

impl<'a> Cursor<'a> {
    /// Stands on the first row of the range; `None` where the run has none in it.
    async fn open(
        node: &'a Node,
        store: &'a Store,
        run: &'a SortedRun,
        range: &'a KeyRange,
        ahead: usize,
    ) -> Result<Option<Self>, Error> {
        let (start, end) = range.ends();
        let files = run.files_in(start, end.map(|end| &**end)).to_vec();
        let blocks = futures::stream::iter(files)
            .map(move |file| {
                async move {
                    let tail = node.tail(store, &file).await?;
                    let wanted = tail.blocks_in(range);
                    let loads =
                        futures::stream::iter(wanted.map(move |n| (file.clone(), Arc::clone(&tail), n)));
                    Ok::<_, Error>(loads.map(Ok))
                }
                .boxed()
            })
            .buffered(1)
            .try_flatten()
            .map_ok(move |(file, tail, n)| async move { node.block(store, &file, &tail, n).await }.boxed())
            .try_buffered(ahead)
            .boxed();
        let mut blocks = blocks;
        while let Some(block) = blocks.next().await.transpose()? {
            let next = block.lower_bound(start);
            if next < block.rows() {
                let row = block.row(next);
                let within = range.contains(&row.key);
                return Ok(within.then_some(Self { blocks, block, next, row, range }));
            }
        }
        Ok(None)
    }

    /// Goes to the next row; whether there is one in the range.
    async fn advance(&mut self) -> Result<bool, Error> {
        self.next += 1;
        while self.next >= self.block.rows() {
            let Some(block) = self.blocks.next().await.transpose()? else { return Ok(false) };
            (self.block, self.next) = (block, 0);
        }
        self.row = self.block.row(self.next);
        Ok(self.range.contains(&self.row.key))
    }
}
