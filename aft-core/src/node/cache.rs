//! The data cache: values by the commit that wrote them, bounded by bytes, each loaded once however many want it.

use std::future::Future;

use bytes::Bytes;
use moka::future::Cache;

use crate::error::Error;
use crate::node::stats::{Counters, add};
use crate::txn_id::TxnId;

/// A transaction, and the ordinal of a key in its write set.
type ValueId = (TxnId, u32);

/// What an entry costs besides its bytes, about.
const ENTRY_OVERHEAD: usize = 128;

/// A bounded cache of values. Values never change, so nothing in it is ever stale.
#[derive(Debug)]
pub(crate) struct DataCache {
    /// `None`: turned off.
    cache: Option<Cache<ValueId, Bytes>>,
    /// Larger values are not kept: one would push out much else.
    largest: usize,
}

impl DataCache {
    pub(crate) fn new(bytes: u64) -> Self {
        let weigh =
            |_: &ValueId, value: &Bytes| u32::try_from(value.len() + ENTRY_OVERHEAD).unwrap_or(u32::MAX);
        let cache = (bytes > 0).then(|| Cache::builder().max_capacity(bytes).weigher(weigh).build());
        Self { cache, largest: usize::try_from(bytes / 4).unwrap_or(usize::MAX) }
    }

    /// Keeps a value, as a copy of its own: a slice would hold on to the whole object it came with.
    pub(crate) async fn put(&self, id: ValueId, value: &[u8]) {
        if let Some(cache) = self.cache.as_ref().filter(|_| value.len() <= self.largest) {
            cache.insert(id, Bytes::copy_from_slice(value)).await;
        }
    }

    /// The value, from the cache or from `load`; concurrent callers share one load.
    pub(crate) async fn get(
        &self,
        id: ValueId,
        len: u64,
        counters: &Counters,
        load: impl Future<Output = Result<Bytes, Error>>,
    ) -> Result<Bytes, Error> {
        let miss = async {
            add(&counters.cache_misses, 1);
            load.await
        };
        let Some(cache) = &self.cache else { return miss.await };
        if let Some(value) = cache.get(&id).await {
            add(&counters.cache_hits, 1);
            return Ok(value);
        }
        if usize::try_from(len).is_ok_and(|len| len <= self.largest) {
            return cache.try_get_with(id, miss).await.map_err(|error| Error::clone(&error));
        }
        miss.await
    }

    /// Bytes in the cache now, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.cache.as_ref().map_or(0, Cache::weighted_size)
    }
}
