//! Reading ranges of the index: all runs side by side, with what comes next asked for ahead, many blocks by one request.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::Error;
use crate::format::manifest::{RunFile, SortedRun};
use crate::format::name::ObjectName;
use crate::format::row::Row;
use crate::format::run::{Block, Tail};
use crate::key_range::KeyRange;
use crate::node::index::run_range;
use crate::node::store::Store;
use crate::node::{Node, format_error};
use crate::protocol::base::Base;
use crate::rng::NodeRng;

/// About the most bytes of blocks that one request brings; more only where one block has more.
const SPAN_BYTES: u64 = 1 << 20;
/// How many such requests a scan has under way at once, for each run.
const SPANS_AHEAD: usize = 4;

/// How far a scan goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// How many rows are wanted.
    pub(crate) limit: usize,
    /// How many rows of each run are read before the first is handed out: what is not wanted now is kept for the next page.
    pub(crate) ahead: usize,
}

/// Blocks of a file that follow each other.
#[derive(Debug, Clone)]
struct Span {
    file: RunFile,
    tail: Arc<Tail>,
    blocks: Range<usize>,
}

impl Node {
    /// Whether what is read ahead is still there when the next page is asked for.
    pub(crate) fn reads_ahead(&self) -> bool {
        self.config.cache_bytes >= 16 * SPAN_BYTES
    }

    /// The first rows of a range, sorted: of each key the newest that any run holds, tombstones included.
    pub(crate) async fn rows_in(
        &self,
        store: &Store,
        base: &Base,
        range: &KeyRange,
        reach: Reach,
    ) -> Result<Vec<Row>, Error> {
        let Some(manifest) = base.manifest() else { return Ok(Vec::new()) };
        let cursors = manifest.runs.iter().map(|run| Cursor::open(self, store, run, range, reach).boxed());
        let cursors: Vec<_> = cursors.collect();
        let mut cursors: Vec<_> = futures::stream::iter(cursors)
            .buffered(self.config.parallel_requests)
            .try_filter_map(|cursor| async { Ok(cursor) })
            .try_collect()
            .await?;
        let mut rows: Vec<Row> = Vec::new();
        while rows.len() < reach.limit {
            // Most of a store lies in one run.
            if let [cursor] = &mut cursors[..] {
                rows.push(cursor.row.clone());
                if !cursor.advance().await? {
                    break;
                }
                continue;
            }
            let Some(key) = cursors.iter().map(|cursor| &cursor.row.key).min().cloned() else { break };
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

    /// The blocks of a span; those that are not in the cache by one range request.
    async fn blocks(&self, store: &Store, span: Span) -> Result<VecDeque<Arc<Block>>, Error> {
        let Span { file, tail, blocks } = span;
        let mut known = self.cache.known_blocks(file.id, blocks.clone(), &self.counters).await;
        let missing = |known: &[Option<Arc<Block>>], at: usize| known.get(at).is_some_and(Option::is_none);
        let Some(first) = (0..known.len()).find(|at| missing(&known, *at)) else {
            return Ok(known.into_iter().flatten().collect());
        };
        let last = (first..known.len()).rev().find(|at| missing(&known, *at)).unwrap_or(first);
        let wanted = blocks.start + first..blocks.start + last + 1;
        let span = wanted.clone();
        let load = || {
            let (store, rng, path) = (store.clone(), self.rng.clone(), self.path(ObjectName::Run(file.id)));
            async move { span_of(&store, &rng, &path, &tail, span).await }.boxed()
        };
        let loaded = self.cache.blocks(file.id, wanted, &self.counters, load).await?;
        for (known, block) in known.iter_mut().skip(first).zip(loaded.iter()) {
            *known = Some(Arc::clone(block));
        }
        Ok(known.into_iter().flatten().collect())
    }
}

/// Blocks that follow each other in a file, by one request.
async fn span_of(
    store: &Store,
    rng: &NodeRng,
    path: &str,
    tail: &Tail,
    wanted: Range<usize>,
) -> Result<Vec<Arc<Block>>, Error> {
    let (start, end) = (tail.block_range(wanted.start).start, tail.block_range(wanted.end - 1).end);
    let bytes = run_range(store, rng, path, start..end).await?;
    let at = |place: u64| usize::try_from(place - start).unwrap_or(usize::MAX).min(bytes.len());
    let mut blocks = Vec::with_capacity(wanted.len());
    for n in wanted {
        let range = tail.block_range(n);
        let block = Block::decode(tail, n, &bytes.slice(at(range.start)..at(range.end)));
        blocks.push(Arc::new(block.map_err(|cause| format_error(path, cause))?));
    }
    Ok(blocks)
}

/// What of a run is read before its first row is handed out.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    rows: usize,
    bytes: u64,
}

/// Cuts the blocks of a file that hold keys of the range into spans: first those that are read ahead, then the others.
fn spans(file: &RunFile, tail: &Arc<Tail>, range: &KeyRange, ahead: &mut Ahead) -> [Vec<Span>; 2] {
    let wanted = tail.blocks_in(range);
    let mut spans = [Vec::new(), Vec::new()];
    let mut from = wanted.start;
    while from < wanted.end {
        let is_ahead = ahead.rows > 0 && ahead.bytes > 0;
        let mut to = from;
        let mut bytes = 0;
        while to < wanted.end && (to == from || bytes < SPAN_BYTES && (ahead.rows > 0 || !is_ahead)) {
            let block = tail.block_range(to);
            bytes += block.end - block.start;
            ahead.rows = ahead.rows.saturating_sub(tail.rows_of(to));
            to += 1;
        }
        ahead.bytes = ahead.bytes.saturating_sub(bytes);
        spans[usize::from(!is_ahead)].push(Span {
            file: file.clone(),
            tail: Arc::clone(tail),
            blocks: from..to,
        });
        from = to;
    }
    spans
}

/// The blocks of a run that may hold keys of a range, in order.
struct Blocks<'a> {
    /// What was read ahead, and what comes then.
    ready: VecDeque<Arc<Block>>,
    later: BoxStream<'a, Result<VecDeque<Arc<Block>>, Error>>,
}

impl<'a> Blocks<'a> {
    async fn open(
        node: &'a Node,
        store: &'a Store,
        run: &'a SortedRun,
        range: &'a KeyRange,
        reach: Reach,
    ) -> Result<Self, Error> {
        let (start, end) = range.ends();
        let mut files = run.files_in(start, end.map(|end| &**end)).to_vec().into_iter();
        let mut ahead = Ahead { rows: reach.ahead, bytes: SPANS_AHEAD as u64 * SPAN_BYTES };
        let (mut first, mut rest) = (Vec::new(), Vec::new());
        while rest.is_empty() && ahead.rows > 0 {
            let Some(file) = files.next() else { break };
            let tail = node.tail(store, &file).await?;
            let [now, later] = spans(&file, &tail, range, &mut ahead);
            first.extend(now);
            rest.extend(later);
        }
        let load = move |span: Span| -> BoxFuture<'a, _> { node.blocks(store, span).boxed() };
        // All of it at once and to its end: what this page does not take, the next one finds in the cache.
        let ready: Vec<_> =
            futures::stream::iter(first).map(load).buffered(SPANS_AHEAD).try_collect().await?;
        let of_file = move |file: RunFile| {
            async move {
                let tail = node.tail(store, &file).await?;
                let [_, later] = spans(&file, &tail, range, &mut Ahead { rows: 0, bytes: 0 });
                Ok::<_, Error>(futures::stream::iter(later).map(Ok))
            }
            .boxed()
        };
        let at_once = if reach.limit == usize::MAX { SPANS_AHEAD } else { 1 };
        let later = futures::stream::iter(files).map(of_file).buffered(1).try_flatten();
        let later = futures::stream::iter(rest).map(Ok).chain(later).map_ok(load).try_buffered(at_once);
        Ok(Self { ready: ready.into_iter().flatten().collect(), later: later.boxed() })
    }

    async fn next(&mut self) -> Result<Option<Arc<Block>>, Error> {
        loop {
            if let Some(block) = self.ready.pop_front() {
                return Ok(Some(block));
            }
            let Some(blocks) = self.later.try_next().await? else { return Ok(None) };
            self.ready = blocks;
        }
    }
}

/// A place in one run, on its way through a range.
struct Cursor<'a> {
    blocks: Blocks<'a>,
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
        reach: Reach,
    ) -> Result<Option<Self>, Error> {
        let mut blocks = Blocks::open(node, store, run, range, reach).await?;
        while let Some(block) = blocks.next().await? {
            let next = block.lower_bound(range.ends().0);
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
            let Some(block) = self.blocks.next().await? else { return Ok(false) };
            (self.block, self.next) = (block, 0);
        }
        self.row = self.block.row(self.next);
        Ok(self.range.contains(&self.row.key))
    }
}
