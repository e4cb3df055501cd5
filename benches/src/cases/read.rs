//! Gets and scans, cached and uncached.

use std::rc::Rc;

use aft_core::{Aft, Config};

use super::{Case, Shared};
use crate::data::{self, Keys, PREFIX, Shape};
use crate::place::{Backend, Place};

/// A place where both sides hold every key.
struct Readers {
    place: Place,
    /// A node that has every value in its cache.
    cached: Aft,
    /// A node without a cache.
    uncached: Aft,
    keys: Keys,
    /// How many keys are read at once.
    count: usize,
}

/// Readers of a store of `stored` keys, `per_commit` of them in each commit.
fn readers(backend: &Backend, stored: usize, per_commit: usize, what: Shape) -> Rc<Shared<Readers>> {
    let backend = backend.clone();
    Shared::new(move || {
        let (place, keys, value) = (backend.place(), Keys::new(stored), data::value(what.bytes));
        async move {
            let cached = data::open(place.storage.clone()).await;
            data::fill(&cached, &keys, &value, per_commit).await;
            place.plain.put(keys.all_paths(), &value).await;
            let config = Config { cache_bytes: 0, ..Config::default() };
            let uncached = data::open_with(place.storage.clone(), config).await;
            Readers { place, cached, uncached, keys, count: what.keys }
        }
    })
}

async fn get(node: &Aft, keys: &Keys) {
    let tx = node.begin().await.expect("begin");
    tx.get(keys.name(keys.far())).await.expect("get").expect("the key is there");
}

async fn get_many(node: &Aft, keys: &[String]) {
    let tx = node.begin().await.expect("begin");
    let values = tx.get_many(keys).await.expect("get_many");
    assert!(values.iter().all(Option::is_some));
}

async fn scan(node: &Aft, count: usize) {
    let tx = node.begin().await.expect("begin");
    assert_eq!(tx.scan_prefix(PREFIX).await.expect("scan").len(), count);
}

pub(super) fn cases(backend: &Backend) -> Vec<Case> {
    let stored = if backend.waits() { 200 } else { 1_000 };
    let mut cases: Vec<_> = [100, 1 << 10, 8 << 10].map(|bytes| get_case(backend, stored, bytes)).into();
    cases.push(get_many_case(backend, stored));
    if !backend.waits() {
        cases.extend([cowritten_case(backend), view_case(backend, 1), view_case(backend, 100_000)]);
    }
    cases.extend([scan_case(backend, 100), scan_case(backend, 1_000)]);
    cases
}

fn get_case(backend: &Backend, stored: usize, bytes: usize) -> Case {
    let what = Shape { keys: 1, bytes };
    let readers = readers(backend, stored, 1, what);
    let plain =
        readers.side(async |it: &Readers| drop(it.place.plain.get(it.keys.path(it.keys.far())).await));
    let begin = readers.side(async |it: &Readers| drop(it.cached.begin().await.expect("begin")));
    let cached = readers.side(async |it: &Readers| get(&it.cached, &it.keys).await);
    let uncached = readers.side(async |it: &Readers| get(&it.uncached, &it.keys).await);
    let mut sides = vec![("plain", plain), ("aft cached", cached), ("aft uncached", uncached)];
    if !backend.waits() && bytes == 1 << 10 {
        sides.push(("aft begin alone", begin));
    }
    Case { group: "get", what, sides }
}

fn get_many_case(backend: &Backend, stored: usize) -> Case {
    let what = Shape { keys: 100, bytes: 1 << 10 };
    let readers = readers(backend, stored, 1, what);
    let plain =
        readers.side(async |it: &Readers| drop(it.place.plain.get_many(it.keys.paths(it.count)).await));
    let cached = readers.side(async |it: &Readers| get_many(&it.cached, it.keys.names(it.count)).await);
    let uncached = readers.side(async |it: &Readers| get_many(&it.uncached, it.keys.names(it.count)).await);
    Case {
        group: "get_many",
        what,
        sides: vec![("plain", plain), ("aft cached", cached), ("aft uncached", uncached)],
    }
}

/// Reading one key of a commit makes a transaction note what the commit demands of its other keys.
fn cowritten_case(backend: &Backend) -> Case {
    let what = Shape { keys: 1, bytes: 1 << 10 };
    let readers = readers(backend, 1_000, 100, what);
    let plain =
        readers.side(async |it: &Readers| drop(it.place.plain.get(it.keys.path(it.keys.far())).await));
    let cached = readers.side(async |it: &Readers| get(&it.cached, &it.keys).await);
    Case {
        group: "get of a key written with 99 others",
        what,
        sides: vec![("plain", plain), ("aft cached", cached)],
    }
}

fn view_case(backend: &Backend, stored: usize) -> Case {
    let what = Shape { keys: 1, bytes: 100 };
    let readers = readers(backend, stored, 1, what);
    let plain =
        readers.side(async |it: &Readers| drop(it.place.plain.get(it.keys.path(it.keys.far())).await));
    let cached = readers.side(async |it: &Readers| get(&it.cached, &it.keys).await);
    let group = if stored == 1 { "get, the only key" } else { "get, one of 100,000 keys" };
    Case { group, what, sides: vec![("plain", plain), ("aft cached", cached)] }
}

fn scan_case(backend: &Backend, stored: usize) -> Case {
    let what = Shape { keys: stored, bytes: 1 << 10 };
    let readers = readers(backend, stored, 10, what);
    let plain = readers.side(async |it: &Readers| drop(it.place.plain.scan(PREFIX).await));
    let cached = readers.side(async |it: &Readers| scan(&it.cached, it.count).await);
    let uncached = readers.side(async |it: &Readers| scan(&it.uncached, it.count).await);
    Case {
        group: "scan",
        what,
        sides: vec![("plain", plain), ("aft cached", cached), ("aft uncached", uncached)],
    }
}
