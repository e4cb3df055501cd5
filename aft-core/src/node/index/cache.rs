//! What a node keeps of the store in memory, bounded by bytes: values, and of the index the tails of its files and their blocks,
//! decoded. Each is loaded once, however many want it.
//!
//! A load belongs to nobody: everyone who waits for it polls it. One who began it and does not go on (a future that is kept and not polled)
//! holds up no other.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use moka::future::Cache as Moka;
use parking_lot::Mutex;

use crate::error::Error;
use crate::format::name::FileId;
use crate::format::run::{Block, Tail};
use crate::node::stats::{Counters, add};
use crate::planted::{Planted, planted};
use crate::txn_id::TxnId;

/// A transaction, and the ordinal of a key in its write set.
type ValueId = (TxnId, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Name {
    Value(ValueId),
    Tail(FileId),
    Block(FileId, u32),
    /// Blocks that come in by one request; kept one by one.
    Span(FileId, u32, u32),
}

#[derive(Debug, Clone)]
enum Entry {
    Value(Bytes),
    Tail(Arc<Tail>),
    Block(Arc<Block>),
    Span(Arc<[Arc<Block>]>),
}

/// What an entry costs besides its bytes, about.
const ENTRY_OVERHEAD: u64 = 128;

impl Entry {
    fn weight(&self) -> u64 {
        ENTRY_OVERHEAD
            + match self {
                Self::Value(value) => value.len() as u64,
                Self::Tail(tail) => tail.weight(),
                Self::Block(block) => block.weight(),
                Self::Span(blocks) => blocks.iter().map(|block| block.weight()).sum(),
            }
    }
}

/// What comes in under a name.
pub(crate) type Load<T> = BoxFuture<'static, Result<T, Error>>;

/// The loads under way. They are looked up by name alone, and those that ended are not here.
type Loads = Arc<Mutex<HashMap<Name, WeakShared<Load<Entry>>>>>;

/// A bounded cache. Nothing that is stored ever changes, so nothing in it is ever stale.
pub(crate) struct Cache {
    /// `None`: turned off.
    entries: Option<Moka<Name, Entry>>,
    loads: Loads,
    /// Larger values are not kept: one would push out much else.
    largest: usize,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Takes a load off the list when it ends, or when everybody left it. (By then another one of the name may be there: it goes on, unshared.)
struct Under {
    loads: Loads,
    name: Name,
}

impl Drop for Under {
    fn drop(&mut self) {
        self.loads.lock().remove(&self.name);
    }
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh = |_: &Name, entry: &Entry| u32::try_from(entry.weight()).unwrap_or(u32::MAX);
        let entries = (bytes > 0).then(|| Moka::builder().max_capacity(bytes).weigher(weigh).build());
        Self { entries, loads: Loads::default(), largest: usize::try_from(bytes / 4).unwrap_or(usize::MAX) }
    }

    /// Keeps a value, as a copy of its own: a slice would hold on to the whole object it came with.
    pub(crate) async fn put(&self, id: ValueId, value: &[u8]) {
        if let Some(entries) = self.entries.as_ref().filter(|_| value.len() <= self.largest) {
            entries.insert(Name::Value(id), Entry::Value(Bytes::copy_from_slice(value))).await;
        }
    }

    /// The value where it is here.
    pub(crate) async fn value(&self, id: ValueId) -> Option<Bytes> {
        match self.entries.as_ref()?.get(&Name::Value(id)).await? {
            Entry::Value(value) => Some(value),
            _ => None,
        }
    }

    /// The value, from the cache or from `load`; concurrent callers share one load.
    pub(crate) async fn get(
        &self,
        id: ValueId,
        len: u64,
        counters: &Counters,
        load: impl FnOnce() -> Load<Bytes>,
    ) -> Result<Bytes, Error> {
        if let Some(value) = self.value(id).await {
            add(&counters.cache_hits, 1);
            return Ok(value);
        }
        let miss = || {
            add(&counters.cache_misses, 1);
            load()
        };
        let Some(entries) = &self.entries else { return miss().await };
        if !usize::try_from(len).is_ok_and(|len| len <= self.largest) {
            return miss().await;
        }
        let miss = || miss().map(|value| value.map(Entry::Value)).boxed();
        match self.load(entries, Name::Value(id), miss).await? {
            Entry::Value(value) => Ok(value),
            _ => Err(mixed_up()),
        }
    }

    /// The tail of a file of the index.
    pub(crate) async fn tail(
        &self,
        file: FileId,
        counters: &Counters,
        load: impl FnOnce() -> Load<Tail>,
    ) -> Result<Arc<Tail>, Error> {
        let load = || load().map(|tail| tail.map(|tail| Entry::Tail(Arc::new(tail)))).boxed();
        match self.index(Name::Tail(file), counters, load).await? {
            Entry::Tail(tail) => Ok(tail),
            _ => Err(mixed_up()),
        }
    }

    /// A block of a file of the index.
    pub(crate) async fn block(
        &self,
        (file, n): (FileId, u32),
        counters: &Counters,
        load: impl FnOnce() -> Load<Block>,
    ) -> Result<Arc<Block>, Error> {
        let load = || load().map(|block| block.map(|block| Entry::Block(Arc::new(block)))).boxed();
        match self.index(Name::Block(file, n), counters, load).await? {
            Entry::Block(block) => Ok(block),
            _ => Err(mixed_up()),
        }
    }

    /// Those of these blocks that are here.
    pub(crate) async fn known_blocks(
        &self,
        file: FileId,
        blocks: Range<usize>,
        counters: &Counters,
    ) -> Vec<Option<Arc<Block>>> {
        let mut known = Vec::with_capacity(blocks.len());
        for n in blocks {
            let entry = match &self.entries {
                Some(entries) => entries.get(&Name::Block(file, number(n))).await,
                None => None,
            };
            known.push(if let Some(Entry::Block(block)) = entry { Some(block) } else { None });
        }
        add(&counters.index_hits, known.iter().flatten().count() as u64);
        known
    }

    /// Blocks that follow each other, loaded together; each is kept by itself.
    pub(crate) async fn blocks(
        &self,
        file: FileId,
        blocks: Range<usize>,
        counters: &Counters,
        load: impl FnOnce() -> Load<Vec<Arc<Block>>>,
    ) -> Result<Arc<[Arc<Block>]>, Error> {
        add(&counters.index_misses, blocks.len() as u64);
        let Some(entries) = &self.entries else { return load().await.map(Arc::from) };
        let load = || load().map(|blocks| blocks.map(|blocks| Entry::Span(blocks.into()))).boxed();
        match self.load(entries, Name::Span(file, number(blocks.start), number(blocks.end)), load).await? {
            Entry::Span(blocks) => Ok(blocks),
            _ => Err(mixed_up()),
        }
    }

    async fn index(
        &self,
        name: Name,
        counters: &Counters,
        load: impl FnOnce() -> Load<Entry>,
    ) -> Result<Entry, Error> {
        let miss = || {
            add(&counters.index_misses, 1);
            load()
        };
        let Some(entries) = &self.entries else { return miss().await };
        if let Some(entry) = entries.get(&name).await {
            add(&counters.index_hits, 1);
            return Ok(entry);
        }
        self.load(entries, name, miss).await
    }

    /// Waits for the load of this name that is under way, or for a new one.
    async fn load(
        &self,
        entries: &Moka<Name, Entry>,
        name: Name,
        load: impl FnOnce() -> Load<Entry>,
    ) -> Result<Entry, Error> {
        if planted(Planted::LoadsOfCallers) {
            let load = async { load().await };
            return entries.try_get_with(name, load).await.map_err(|error| Error::clone(&error));
        }
        let flight: Shared<Load<Entry>> = {
            let mut loads = self.loads.lock();
            if let Some(flight) = loads.get(&name).and_then(WeakShared::upgrade) {
                flight
            } else {
                let (load, entries) = (load(), entries.clone());
                let under = Under { loads: Arc::clone(&self.loads), name };
                let flight = async move {
                    let loaded = load.await;
                    if let Ok(entry) = &loaded {
                        keep(&entries, name, entry).await;
                    }
                    drop(under);
                    loaded
                };
                let flight = flight.boxed().shared();
                loads.extend(flight.downgrade().map(|flight| (name, flight)));
                flight
            }
        };
        flight.await
    }

    /// Bytes in the cache now, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.as_ref().map_or(0, Moka::weighted_size)
    }
}

/// Keeps what was loaded.
async fn keep(entries: &Moka<Name, Entry>, name: Name, entry: &Entry) {
    match (name, entry) {
        (Name::Span(file, from, _), Entry::Span(blocks)) => {
            for (n, block) in (from..).zip(blocks.iter()) {
                entries.insert(Name::Block(file, n), Entry::Block(Arc::clone(block))).await;
            }
        }
        _ => entries.insert(name, entry.clone()).await,
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Names and entries are of one kind by construction.
fn mixed_up() -> Error {
    Error::new(
        crate::error::ErrorKind::Internal,
        "the node's cache holds something else under this name: a fault of aft, please report it",
    )
}
