//! Commits of 1, 10 and 100 keys.

use std::rc::Rc;
use std::time::Duration;

use aft_core::Aft;
use bytes::Bytes;
use futures::FutureExt;

use super::{Case, Run, Shared};
use crate::data::{self, Keys, Shape};
use crate::place::{Backend, Place};
use crate::stopwatch::Stopwatch;

/// How much goes into one store in memory before the next one: nothing is collected, and memory is finite.
const BYTES_PER_STORE: usize = 64 << 20;
const COMMITS_PER_STORE: usize = 2_000;

/// A node, a plain store, and what is written.
struct Writers {
    node: Aft,
    place: Place,
    keys: Rc<Keys>,
    value: Bytes,
    count: usize,
}

pub(super) fn cases(backend: &Backend) -> Vec<Case> {
    let keys = Rc::new(Keys::new(10_000));
    let sizes = [100, 1 << 10, 8 << 10];
    let shapes = [1, 10, 100].into_iter().flat_map(|keys| sizes.map(|bytes| Shape { keys, bytes }));
    shapes.map(|what| case(backend, what, &keys)).collect()
}

fn case(backend: &Backend, what: Shape, keys: &Rc<Keys>) -> Case {
    let value = data::value(what.bytes);
    let make = {
        let (backend, keys, value) = (backend.clone(), Rc::clone(keys), value.clone());
        move || {
            let (place, keys, value) = (backend.place(), Rc::clone(&keys), value.clone());
            async move {
                let node = first_commit(&place).await;
                Writers { node, place, keys, value, count: what.keys }
            }
        }
    };
    let writers = Shared::new(make);
    let plain =
        writers.side(async |it: &Writers| it.place.plain.put(it.keys.paths(it.count), &it.value).await);
    // Where requests wait it is one node all along; its background task publishes once a second, as in a program.
    let aft = if backend.waits() {
        writers
            .side(async |it: &Writers| drop(data::commit(&it.node, it.keys.names(it.count), &it.value).await))
    } else {
        in_new_stores(backend, what, Rc::clone(keys), value)
    };
    Case { group: "commit", what, sides: vec![("plain", plain), ("aft", aft)] }
}

/// Commits to stores in memory, a new one now and then. Its share of publishing is in the time.
fn in_new_stores(backend: &Backend, what: Shape, keys: Rc<Keys>, value: Bytes) -> Run {
    let per_store = (BYTES_PER_STORE / (what.keys * what.bytes)).min(COMMITS_PER_STORE) as u64;
    let backend = backend.clone();
    Box::new(move |rounds| {
        let (backend, keys, value) = (backend.clone(), Rc::clone(&keys), value.clone());
        async move {
            let (mut left, mut elapsed) = (rounds, Duration::ZERO);
            while left > 0 {
                let now = left.min(per_store);
                let node = first_commit(&backend.place()).await;
                let watch = Stopwatch::start();
                for _ in 0..now {
                    data::commit(&node, keys.names(what.keys), &value).await;
                }
                node.publish().await.expect("publish");
                elapsed += watch.elapsed();
                left -= now;
            }
            elapsed
        }
        .boxed_local()
    })
}

/// A node whose clock is verified: its first commit may be read back.
pub(super) async fn first_commit(place: &Place) -> Aft {
    let node = data::open(place.storage.clone()).await;
    data::commit(&node, &["first".to_owned()], &Bytes::new()).await;
    node.publish().await.expect("publish");
    node
}
