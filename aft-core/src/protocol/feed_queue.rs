//! The commits of this node that are decided and not yet published, and how a batch of them becomes a feed object.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::format::feed::{Entry, EntryHome, Feed};
use crate::format::name::{DIRECT, FeedName};
use crate::format::record::{CommitRecord, WRITE_OVERHEAD};
use crate::planted::{Planted, planted};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::prune::superseded;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Commit, Home};

/// About how large a feed object may grow: more commits go to the next.
pub(crate) const OBJECT_BYTES: u64 = 8 << 20;
/// Inline values of a commit travel in the feed up to this sum; those of a larger one stay in its decision.
const CARRIED_BYTES: u64 = 256 << 10;
/// How much may wait for publication before commits have to wait for it too.
const WAITING_BYTES: u64 = 64 << 20;

/// A decided commit on its way to the feed.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) commit: Arc<Commit>,
    pub(crate) request_key: Option<Bytes>,
    /// Its inline values, in order; empty where they stay in the decision.
    payload: Vec<Bytes>,
}

impl Publication {
    pub(crate) fn new(commit: Arc<Commit>, request_key: Option<Bytes>, payload: &[Bytes]) -> Self {
        let carried = payload.iter().map(|value| value.len() as u64).sum::<u64>() <= CARRIED_BYTES;
        // Copies: a slice would hold on to the whole record until it is published.
        let payload = if carried {
            payload.iter().map(|value| Bytes::copy_from_slice(value)).collect()
        } else {
            Vec::new()
        };
        Self { commit, request_key, payload }
    }

    pub(crate) fn bytes(&self) -> u64 {
        let meta: u64 = self.commit.writes.keys().map(|key| key.len() as u64 + WRITE_OVERHEAD).sum();
        meta + self.payload.iter().map(|value| value.len() as u64).sum::<u64>() + WRITE_OVERHEAD
    }

    fn entry(&self, superseded: bool) -> Entry {
        let (decided_by, version) = (self.commit.decided_by(), self.commit.version);
        if superseded {
            return Entry::Pruned {
                decided_by,
                txn: version.txn,
                values: self.commit.value_objects().collect(),
            };
        }
        let home = match self.commit.home() {
            Home::Decision { inline_offset } if self.payload.is_empty() => {
                EntryHome::Decision { inline_offset }
            }
            Home::Decision { .. } | Home::Feed { .. } => EntryHome::Feed { inline_offset: 0 },
        };
        let record = CommitRecord {
            txn: version.txn,
            clock: version.clock,
            request_key: self.request_key.clone(),
            result: None,
            guards: Vec::new(),
            writes: self.commit.writes.to_vec(),
        };
        Entry::Commit { decided_by, home, restored: self.commit.restored, record }
    }
}

/// What a feed object says beside its commits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// Every commit decided before this is published.
    pub(crate) swept_through: Option<StoreTime>,
    /// Damaged feed objects that need not be read any more.
    pub(crate) instead_of: Vec<FeedName>,
    /// When it was made sure of that lost commits may be published again.
    pub(crate) verified: Option<LocalTime>,
}

/// A batch as a feed object's content and payload. All its commits are decided and in time.
pub(crate) fn feed_of(name: FeedName, batch: &[Publication], told: &Told) -> (Feed, Vec<Bytes>) {
    let commits: Vec<_> = batch.iter().map(|publication| Arc::clone(&publication.commit)).collect();
    let pruned = superseded(&commits);
    let kept = batch.iter().zip(&pruned).filter(|(_, pruned)| !**pruned);
    let payload = kept.flat_map(|(publication, _)| publication.payload.iter().cloned()).collect();
    let entries = batch.iter().zip(&pruned).map(|(publication, pruned)| publication.entry(*pruned)).collect();
    let swept_through = told.swept_through.map(|through| through.0);
    (Feed { name, swept_through, instead_of: told.instead_of.clone(), entries }, payload)
}

/// Cuts a batch into feed objects of a sensible size.
pub(crate) fn objects_of(batch: &[Publication]) -> Vec<&[Publication]> {
    let mut objects = Vec::new();
    let mut rest = batch;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|publication| {
            bytes += publication.bytes();
            bytes <= OBJECT_BYTES
        });
        let mut count = fits.count().max(1);
        // What was decided by one object is published by one: a decision is known by when it was first published.
        let decided_by =
            |at: usize| rest.get(at).map(|publication: &Publication| publication.commit.decided_by());
        while count < rest.len()
            && decided_by(count) == decided_by(count - 1)
            && !planted(Planted::GroupInPieces)
        {
            count += 1;
        }
        let (object, left) = rest.split_at(count);
        objects.push(object);
        rest = left;
    }
    objects
}

/// The commits that wait for publication, oldest first.
#[derive(Debug, Default)]
pub(crate) struct FeedQueue {
    waiting: VecDeque<(Publication, LocalTime)>,
    bytes: u64,
    /// How many were published: the number of the first that waits.
    published: u64,
    /// The running number of the next feed object.
    next_object: u32,
}

impl FeedQueue {
    pub(crate) fn push(&mut self, publication: Publication, now: LocalTime) {
        self.bytes += publication.bytes();
        self.waiting.push_back((publication, now));
    }

    /// Everything that waits.
    pub(crate) fn batch(&self) -> Vec<Publication> {
        self.waiting.iter().map(|(publication, _)| publication.clone()).collect()
    }

    /// How many were ever published, and that `n` more were.
    pub(crate) fn done(&mut self, from: u64, n: usize) {
        // Publications are only ever taken from the front, by one flight at a time; one that was given up half done and begun
        // again may report the same ones twice.
        let upto = (from + n as u64).saturating_sub(self.published);
        for _ in 0..upto {
            if let Some((publication, _)) = self.waiting.pop_front() {
                self.bytes -= publication.bytes();
                self.published += 1;
            }
        }
    }

    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    pub(crate) fn take_object_number(&mut self) -> u32 {
        let number = self.next_object;
        // The top bit says that an object is a decision; the time in a name tells it from one of the same number.
        self.next_object = number.wrapping_add(1) & !DIRECT;
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether commits must wait until some of this is published: memory is bounded also while the feed cannot be written.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > WAITING_BYTES
    }

    /// How long the oldest has waited, in milliseconds.
    pub(crate) fn waited_ms(&self, now: LocalTime) -> Option<u64> {
        self.waiting.front().map(|(_, since)| now.elapsed_since(*since))
    }
}
