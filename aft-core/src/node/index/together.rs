//! Values that lie in one object are fetched by one request: what one transaction wrote, or one feed object told, is often read together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};

use crate::error::Error;
use crate::format::envelope::checksum;
use crate::format::name::ObjectName;
use crate::node::Node;
use crate::node::index::fetch::Answer;
use crate::node::stats::add;
use crate::node::store::{Store, retry_read};
use crate::protocol::view::{Found, Place};

/// The most bytes that are asked for at once, where the values are not all of them.
const SPAN_MOST: u64 = 1 << 20;
/// What lies between two values is fetched as well where it is no more than this many bytes: a request costs more.
const GAP_MOST: u64 = 16 << 10;

/// An inline value that is not in memory, by its place among the answers.
#[derive(Debug)]
struct Wanted {
    at: usize,
    found: Found,
    start: u64,
    len: u64,
    checksum: u64,
}

/// One request's worth of values.
#[derive(Debug)]
enum Fetch {
    One(usize, Answer),
    /// Values of one object, in the order in which they lie there; at least two.
    Together(ObjectName, Vec<Wanted>),
}

impl Node {
    /// What many reads return, in the same order: what is in memory at once, the rest fetched side by side.
    pub(crate) async fn answers(
        self: &Arc<Self>,
        store: &Store,
        answers: Vec<Answer>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        let mut values = vec![None; answers.len()];
        let mut missing = Vec::new();
        for (at, answer) in answers.into_iter().enumerate() {
            match self.held(&answer).await {
                Some(value) => values[at] = value,
                None => missing.push((at, answer)),
            }
        }
        // Boxed: the compiler cannot see that a stream of borrowing futures is Send, and callers spawn transactions. But each only when its
        // turn comes: a future is thousands of bytes, and a scan has many rows.
        let fetch = |fetch| -> BoxFuture<'_, _> { self.fetch(store, fetch).boxed() };
        let mut fetched = futures::stream::iter(fetches(missing))
            .map(fetch)
            .buffer_unordered(self.config.parallel_requests);
        while let Some(some) = fetched.try_next().await? {
            for (at, value) in some {
                values[at] = value;
            }
        }
        Ok(values)
    }

    async fn fetch(
        self: &Arc<Self>,
        store: &Store,
        fetch: Fetch,
    ) -> Result<Vec<(usize, Option<Bytes>)>, Error> {
        let (object, wanted) = match fetch {
            Fetch::One(at, answer) => return Ok(vec![(at, self.answer(store, answer).await?)]),
            Fetch::Together(object, wanted) => (object, wanted),
        };
        let start = wanted.first().map_or(0, |first| first.start);
        let end = wanted.last().map_or(start, |last| last.start.saturating_add(last.len));
        let path = self.path(object);
        let read = retry_read(&self.rng, || store.get_range(&path, start..end)).await;
        let mut values = Vec::with_capacity(wanted.len());
        for Wanted { at, found, start: from, len, checksum: expected } in wanted {
            let range = usize::try_from(from - start).ok().zip(usize::try_from(from - start + len).ok());
            let value = read.as_ref().ok().zip(range).and_then(|(bytes, (from, to))| bytes.get(from..to));
            let value = match value.filter(|value| checksum(value) == expected) {
                Some(value) => {
                    add(&self.counters.cache_misses, 1);
                    self.cache.put(found.value_id(), value).await;
                    Some(Bytes::copy_from_slice(value))
                }
                // Whatever is wrong is found out for each by itself: others are not affected.
                None => self.value(store, &found).await?,
            };
            values.push((at, value));
        }
        Ok(values)
    }
}

/// The requests for what is not in memory.
fn fetches(missing: Vec<(usize, Answer)>) -> Vec<Fetch> {
    let mut fetches = Vec::new();
    let mut objects: BTreeMap<ObjectName, Vec<Wanted>> = BTreeMap::new();
    for (at, answer) in missing {
        match answer {
            Answer::Found(found) => match inline(&found) {
                Some((object, start, len, checksum)) => {
                    objects.entry(object).or_default().push(Wanted { at, found, start, len, checksum });
                }
                None => fetches.push(Fetch::One(at, Answer::Found(found))),
            },
            answer => fetches.push(Fetch::One(at, answer)),
        }
    }
    for (object, mut wanted) in objects {
        wanted.sort_unstable_by_key(|it| it.start);
        let mut together: Vec<Wanted> = Vec::new();
        for next in wanted {
            let near = together.first().zip(together.last()).is_some_and(|(first, last)| {
                next.start.saturating_sub(last.start.saturating_add(last.len)) <= GAP_MOST
                    && next.start.saturating_add(next.len).saturating_sub(first.start) <= SPAN_MOST
            });
            if !near {
                fetches.extend(as_fetch(object, std::mem::take(&mut together)));
            }
            together.push(next);
        }
        fetches.extend(as_fetch(object, together));
    }
    fetches
}

fn as_fetch(object: ObjectName, mut wanted: Vec<Wanted>) -> Option<Fetch> {
    if wanted.len() > 1 {
        return Some(Fetch::Together(object, wanted));
    }
    wanted.pop().map(|it| Fetch::One(it.at, Answer::Found(it.found)))
}

/// Where an inline value of the view lies: the object, its start there, its length and checksum.
fn inline(found: &Found) -> Option<(ObjectName, u64, u64, u64)> {
    let Found::Recent { commit, ordinal } = found else { return None };
    match commit.place(*ordinal as usize) {
        Place::Inline { object, start, len, checksum } => Some((object, start, len, checksum)),
        Place::Stored(_) | Place::Tombstone => None,
    }
}
