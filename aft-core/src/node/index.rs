//! Looking keys up in the index: the sorted runs of a manifest, whose tails and blocks the cache keeps decoded.
//!
//! A newer run may hold an older version of a key than an older run does, since a commit can be published long after a greater one; so
//! every run that may hold the key is asked, side by side. Bloom filters in the tails keep nearly all others out.

pub(crate) mod cache;
pub(crate) mod fetch;
pub(crate) mod load;
pub(crate) mod scan;
mod together;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::manifest::RunFile;
use crate::format::name::{FileId, ObjectName};
use crate::format::row::Row;
use crate::format::run::{Block, Tail};
use crate::node::store::{Store, retry_read};
use crate::node::{Node, format_error};
use crate::protocol::base::Base;
use crate::protocol::knowledge::Knowledge;
use crate::rng::NodeRng;
use crate::storage::StorageError;

impl Node {
    /// The tail of a file: what says where its blocks are, and which keys are surely not in it.
    pub(crate) async fn tail(&self, store: &Store, file: &RunFile) -> Result<Arc<Tail>, Error> {
        let load = || {
            let (store, rng, path) = (store.clone(), self.rng.clone(), self.path(ObjectName::Run(file.id)));
            let file = file.clone();
            async move {
                let bytes = run_range(&store, &rng, &path, file.index_range()).await?;
                let tail = Tail::decode_index(file.bytes, file.tail_bytes, &bytes)
                    .map_err(|cause| format_error(&path, cause))?;
                if !file.is_tail(&bytes) {
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
