//! Publishing: the commits of this node, batched, in a feed object that every node reads (AFT, section 4.1).
//!
//! A feed object counts only if it landed in time, which its maker makes sure of before it forgets the commits: by its clock
//! where that is beyond doubt, else by listing the object. Where it did not, the batch goes out again under a new name; two
//! records of one version are one, so a ghost of the first does no harm.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tracing::field::Empty;

use crate::clock::millis;
use crate::error::Error;
use crate::format::feed::Entry;
use crate::format::name::FeedName;
use crate::node::Node;
use crate::node::spans::{OK, noted};
use crate::node::stats::add;
use crate::node::store::backoff;
use crate::node::unencodable;
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::feed_queue::{Publication, Told, feed_of, objects_of};
use crate::protocol::knowledge::OwnCommit;
use crate::protocol::timeliness::StoreTime;
use crate::storage::StorageError;

/// Tries before publishing is given up for now: about 15 s of waiting.
const PUBLISH_TRIES: u32 = 14;
/// Lost commits are published within this of the moment at which nothing spoke against it: long before any checkpoint can fold them.
const RESTORE_MS: u64 = 60_000;

impl Node {
    /// Publishes every own commit that was acknowledged before this call.
    pub(crate) async fn publish(self: &Arc<Self>) -> Result<(), Error> {
        if self.feed.lock().len() == 0 {
            return Ok(());
        }
        let publish = || {
            let node = Arc::clone(self);
            let span = tracing::debug_span!("aft.publish", commits = node.feed.lock().len(), outcome = Empty);
            noted(span, node.publish_waiting(), |_, ()| OK).boxed()
        };
        self.publishing.fresh(publish).await
    }

    /// Queues a commit that is decided and in time.
    pub(crate) fn enqueue(&self, publication: Publication) {
        self.enqueue_all([publication]);
    }

    /// Queues commits of one decision, with nothing between them.
    pub(crate) fn enqueue_all(&self, publications: impl IntoIterator<Item = Publication>) {
        let now = self.now();
        let mut feed = self.feed.lock();
        publications.into_iter().for_each(|publication| feed.push(publication, now));
        drop(feed);
        self.wake.notify_one();
    }

    /// On a node without a background task, publishes what has waited long enough.
    pub(crate) async fn publish_if_due(self: &Arc<Self>) -> Result<(), Error> {
        let due = millis(self.config.feed_interval);
        let now = self.now();
        if self.feed.lock().waited_ms(now).is_some_and(|waited| waited >= due) {
            return self.publish().await;
        }
        Ok(())
    }

    async fn publish_waiting(self: Arc<Self>) -> Result<(), Error> {
        let (mut from, batch) = {
            let queue = self.feed.lock();
            (queue.published(), queue.batch())
        };
        for object in objects_of(&batch) {
            self.publish_object(object, &Told::default()).await?;
            self.feed.lock().done(from, object.len());
            from += object.len() as u64;
        }
        Ok(())
    }

    /// Makes one feed object of decided, in-time commits, and makes sure that it counts.
    pub(crate) async fn publish_object(&self, batch: &[Publication], told: &Told) -> Result<(), Error> {
        let mut last = None;
        for wait in backoff(&self.rng, PUBLISH_TRIES) {
            let sent = self.now();
            let time_ms = self.known.read(|known| known.store_now_ms(sent));
            let seq = self.feed.lock().take_object_number();
            let name = FeedName { time_ms, node: self.number, seq };
            let (feed, payload) = feed_of(name, batch, told);
            let bytes = feed.encode(&payload).map_err(|cause| unencodable("a batch of commits", cause))?;
            let commits: Vec<_> = feed.entries.iter().zip(batch).map(own_commit).collect();
            match self.create_feed_object((name, sent), bytes, commits, told.verified).await {
                Ok(true) => {
                    add(&self.counters.published, 1);
                    let ids = batch.iter().map(|it| it.commit.decided_by());
                    self.known.write(|known| known.note_published(ids));
                    return Ok(());
                }
                Ok(false) => tracing::warn!(
                    "a feed object landed late, or this node's clock was wrong; publishing again"
                ),
                Err(error) if error.is_transient() || matches!(error, StorageError::AlreadyExists { .. }) => {
                    tracing::debug!(%error, ?wait, "publishing again");
                    last = Some(error);
                }
                Err(error) => return Err(Error::storage("publishing commits", error)),
            }
            tokio::time::sleep(wait).await;
        }
        let cause = last.unwrap_or_else(|| StorageError::unavailable("feed/"));
        Err(Error::storage("publishing commits", cause))
    }

    /// Creates a feed object under a new name, which says the moment at which it is sent; whether it counts.
    async fn create_feed_object(
        &self,
        (name, sent): (FeedName, LocalTime),
        bytes: Bytes,
        commits: Vec<OwnCommit>,
        verified: Option<LocalTime>,
    ) -> Result<bool, StorageError> {
        // The name says this moment: what is sent later than that lands late.
        let slow = verified.is_some_and(|verified| sent.elapsed_since(verified) > RESTORE_MS);
        if slow && !planted(Planted::SlowRestore) {
            return Err(StorageError::invalid("feed/").with_source(
                "finding that lost commits may be published again lies too far back; nothing was published; run it again",
            ));
        }
        let path = name.to_string();
        let created = self.store.create(&path, bytes).await;
        if planted(Planted::TrustFeedCreate) {
            return Ok(true);
        }
        let answered = self.now();
        if created.is_ok() {
            let surely = self.known.write(|known| {
                known.note_own(name, (sent, answered), commits);
                known.feed_surely_in_time(name.time_ms, sent, answered)
            });
            if surely {
                return Ok(true);
            }
        } else if let Err(
            error @ (StorageError::Unavailable { .. }
            | StorageError::Denied { .. }
            | StorageError::Invalid { .. }),
        ) = created
        {
            return Err(error);
        }
        let Some(object) = self.store.list(&path, None).await?.into_iter().find(|object| object.path == path)
        else {
            // Not found settles nothing; a copy under another name does.
            return Err(created.err().unwrap_or_else(|| StorageError::unknown(path)));
        };
        let last_modified = StoreTime::of(object.last_modified);
        let listed = self.now();
        self.known.write(|known| {
            known.note_date(last_modified, &path, listed);
            known.measure(sent, if created.is_ok() { answered } else { listed }, last_modified);
        });
        Ok(self.limits.feed_in_time(name.time_ms, last_modified))
    }
}

fn own_commit((entry, publication): (&Entry, &Publication)) -> OwnCommit {
    let pruned = match entry {
        Entry::Pruned { values, .. } => Some(values.clone()),
        Entry::Commit { .. } => None,
    };
    let commit = &publication.commit;
    OwnCommit { decided_by: commit.decided_by(), version: commit.version, pruned }
}
