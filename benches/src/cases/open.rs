//! Opening a store, and learning which keys it has: to the plain side that is a list.

use super::{Case, Shared};
use crate::data::{self, Keys, PREFIX, Shape};
use crate::place::{Backend, Place};

/// Keys in one commit.
const PER_COMMIT: usize = 10;
/// Commits in one feed object.
const PER_FEED_OBJECT: usize = 10;

pub(super) fn cases(backend: &Backend) -> Vec<Case> {
    vec![case(backend, 1_000)]
}

fn case(backend: &Backend, stored: usize) -> Case {
    let what = Shape { keys: stored, bytes: 100 };
    let backend = backend.clone();
    let filled = Shared::new(move || {
        let (place, keys, value) = (backend.place(), Keys::new(stored), data::value(what.bytes));
        async move {
            let node = data::open(place.storage.clone()).await;
            for published_together in keys.all_names().chunks(PER_COMMIT * PER_FEED_OBJECT) {
                for names in published_together.chunks(PER_COMMIT) {
                    data::commit(&node, names, &value).await;
                }
                node.publish().await.expect("publish");
            }
            place.plain.put(keys.all_paths(), &value).await;
            place
        }
    });
    let plain = filled.side(async |it: &Place| drop(it.plain.list(PREFIX).await));
    let aft = filled.side(async |it: &Place| drop(data::open(it.storage.clone()).await));
    Case { group: "open", what, sides: vec![("plain", plain), ("aft", aft)] }
}
