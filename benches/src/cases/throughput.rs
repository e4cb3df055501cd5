//! Sixteen transactions at once, of one key each.

use std::sync::Arc;

use aft_core::Aft;
use bytes::Bytes;
use futures::future::join_all;

use super::commit::first_commit;
use super::{Case, Shared};
use crate::data::{self, Keys, Shape};
use crate::place::{Backend, Place};

const TASKS: usize = 16;

struct Writers {
    node: Aft,
    place: Place,
    keys: Arc<Keys>,
    value: Bytes,
}

pub(super) fn cases(backend: &Backend) -> Vec<Case> {
    let what = Shape { keys: TASKS, bytes: 1 << 10 };
    let backend = backend.clone();
    let writers = Shared::new(move || {
        let place = backend.place();
        async move {
            let node = first_commit(&place).await;
            Writers { node, place, keys: Arc::new(Keys::new(10_000)), value: data::value(what.bytes) }
        }
    });
    let plain = writers.side(async |it: &Writers| {
        let put = || {
            let (plain, keys, value) = (it.place.plain.clone(), Arc::clone(&it.keys), it.value.clone());
            tokio::spawn(async move { plain.put(keys.paths(1), &value).await })
        };
        join_all((0..TASKS).map(|_| put()).collect::<Vec<_>>()).await;
    });
    let aft = writers.side(async |it: &Writers| {
        let commit = || {
            let (node, keys, value) = (it.node.clone(), Arc::clone(&it.keys), it.value.clone());
            tokio::spawn(async move { data::commit(&node, keys.names(1), &value).await })
        };
        join_all((0..TASKS).map(|_| commit()).collect::<Vec<_>>()).await;
    });
    vec![Case { group: "commits of one key at once", what, sides: vec![("plain", plain), ("aft", aft)] }]
}
