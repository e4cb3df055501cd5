//! Reads through the index, and opening a store whose keys are in it. In memory only: a store's time has to pass before anything is
//! folded, and no other store's clock can be moved.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Builder, Config};
use aft_memory::MemoryStorage;
use object_store::memory::InMemory;

use super::{Case, Shared};
use crate::data::{self, Keys, PREFIX, Shape};
use crate::moved_clock::MovedClock;
use crate::plain::Plain;

/// Keys in the store.
const STORED: usize = 10_000;

/// A store whose keys are all in one run, and nodes that read it.
struct Folded {
    storage: MemoryStorage,
    clock: Arc<MovedClock>,
    plain: Plain,
    /// A node that has every block in its cache.
    cached: Aft,
    /// A node without a cache.
    uncached: Aft,
    keys: Keys,
}

fn builder(storage: &MemoryStorage, clock: &Arc<MovedClock>, cache_bytes: u64) -> Builder {
    let config = Config { background: false, cache_bytes, ..Config::default() };
    Aft::builder(Arc::new(storage.clone())).config(config).clock(Arc::clone(clock) as _)
}

async fn folded(bytes: usize) -> Folded {
    let clock = Arc::new(MovedClock::default());
    let storage = MemoryStorage::with_clock(Arc::clone(&clock) as _);
    let plain = Plain::new(Arc::new(InMemory::new()), 1);
    let (keys, value) = (Keys::new(STORED), data::value(bytes));
    let open = async |cache_bytes| builder(&storage, &clock, cache_bytes).open().await.expect("a store");
    let maker = open(0).await;
    data::fill(&maker, &keys, &value, 100).await;
    clock.advance(Duration::from_secs(3600));
    assert!(maker.checkpoint().await.expect("a checkpoint").made);
    plain.put(keys.all_paths(), &value).await;
    let (cached, uncached) = (open(64 << 20).await, open(0).await);
    for n in 0..STORED {
        get(&cached, keys.name(n)).await;
    }
    Folded { plain, cached, uncached, keys, clock, storage }
}

async fn get(node: &Aft, key: &str) {
    let tx = node.begin().await.expect("begin");
    tx.get(key).await.expect("get").expect("the key is there");
}

pub(super) fn cases() -> Vec<Case> {
    let what = Shape { keys: 1, bytes: 100 };
    let store = Shared::new(move || folded(what.bytes));
    let plain = store.side(async |it: &Folded| drop(it.plain.get(it.keys.path(it.keys.far())).await));
    let cached = store.side(async |it: &Folded| get(&it.cached, it.keys.name(it.keys.far())).await);
    let uncached = store.side(async |it: &Folded| get(&it.uncached, it.keys.name(it.keys.far())).await);
    let sides = vec![("plain", plain), ("aft cached", cached), ("aft uncached", uncached)];
    let get = Case { group: "get from the index", what, sides };

    let what = Shape { keys: STORED, bytes: 100 };
    let list = store.side(async |it: &Folded| drop(it.plain.list(PREFIX).await));
    let open = store.side(async |it: &Folded| {
        builder(&it.storage, &it.clock, 64 << 20).open().await.expect("the store opens");
    });
    vec![get, Case { group: "open after a checkpoint", what, sides: vec![("plain", list), ("aft", open)] }]
}
