//! Bundles: what several nodes published, in one object, so that a refresh need not read it one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::time::timeout;
use tracing::Instrument;

use crate::error::Error;
use crate::format::bundle::Bundle;
use crate::format::feed::Feed;
use crate::format::name::{BUNDLES, BundleName, FeedName, ObjectName};
use crate::node::Node;
use crate::node::stats::add;
use crate::planted::{Planted, planted};
use crate::protocol::bundles::{Draft, Gathering, ROUNDS, to_read};
use crate::protocol::clock_check::LocalTime;
use crate::protocol::knowledge::refresh::{FeedObject, Unread};
use crate::storage::ObjectInfo;

/// How long a request for a bundle may take, and a second more per MiB.
const ONE_TRY: Duration = Duration::from_secs(2);
/// How long no bundle is asked for where that failed, in milliseconds.
const FAILED_MS: u64 = 60_000;

/// What a node knows of bundles.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    /// Those that it has read or made.
    pub(super) read: BTreeSet<BundleName>,
    /// When they could not be listed, or one not be made.
    failed: Option<LocalTime>,
    /// What the last refresh found worth bundling.
    pub(super) drafts: Vec<Draft>,
}

impl Node {
    /// Takes in what bundles hold of these feed objects; those that they do not. Whatever fails here is read from the feed instead, and each request is
    /// tried once, for a short time: nothing waits for what decides nothing.
    pub(super) async fn read_bundles(
        &self,
        unread: Vec<Unread>,
        gathering: &Mutex<Gathering>,
        take: &(impl Fn(FeedObject) + Send + Sync),
    ) -> Vec<Unread> {
        let mut left: BTreeMap<FeedName, Unread> = unread.into_iter().map(|it| (it.name, it)).collect();
        let Some(oldest) = left.keys().next().copied() else { return Vec::new() };
        let mut listed = self.list_bundles(oldest).await;
        for _ in 0..ROUNDS {
            let wanted = left.keys().copied().collect();
            let names = to_read(listed.keys().copied().collect(), &self.bundles.lock().read.clone(), &wanted);
            if names.is_empty() {
                break;
            }
            let mut read = futures::stream::iter(names)
                .map(|name| {
                    let size = listed.get(&name).copied().unwrap_or_default();
                    async move { (name, self.bundle(name, size).await) }.boxed()
                })
                .buffer_unordered(self.config.parallel_requests);
            let mut useless = Vec::new();
            while let Some((name, bundle)) = read.next().await {
                let Some(Bundle { copies }) = bundle else {
                    useless.push(name);
                    continue;
                };
                add(&self.counters.bundles_read, 1);
                let before = left.len();
                let copies = self.take_copies(copies, oldest, &mut left, take).await;
                if planted(Planted::BundleIsWhole) {
                    left.retain(|left, _| !(name.first_ms..=name.last_ms).contains(&left.time_ms));
                }
                // One that brought nothing is one too many already.
                if left.len() < before {
                    gathering.lock().bundle(&name, copies);
                }
                self.bundles.lock().read.insert(name);
            }
            drop(read);
            for name in useless {
                listed.remove(&name);
            }
        }
        left.into_values().collect()
    }

    /// The bundles that may hold a feed object as old as this one, with their lengths.
    async fn list_bundles(&self, oldest: FeedName) -> BTreeMap<BundleName, u64> {
        let now = self.now();
        let unasked = {
            let mut bundles = self.bundles.lock();
            let needed =
                BundleName { last_ms: oldest.time_ms, first_ms: 0, made_ms: 0, level: 0, node: 0, seq: 0 };
            bundles.read = bundles.read.split_off(&needed);
            bundles.failed.is_some_and(|failed| now.elapsed_since(failed) < FAILED_MS)
        };
        if unasked {
            return BTreeMap::new();
        }
        let start_after = BundleName::cursor(oldest.time_ms);
        let listed = timeout(ONE_TRY, self.store.list(BUNDLES, Some(&start_after))).await;
        let Ok(Ok(listed)) = listed else {
            tracing::debug!(?listed, "the bundles cannot be listed; the feed is read one by one");
            self.bundles.lock().failed = Some(now);
            return BTreeMap::new();
        };
        let sizes = listed
            .into_iter()
            .filter_map(|ObjectInfo { path, size, .. }| Some((BundleName::parse(&path)?, size)));
        sizes.collect()
    }

    /// Takes in those copies that are wanted and are what lies on the feed; all that are worth copying again.
    async fn take_copies(
        &self,
        copies: Vec<(FeedName, Bytes)>,
        oldest: FeedName,
        left: &mut BTreeMap<FeedName, Unread>,
        take: &(impl Fn(FeedObject) + Send + Sync),
    ) -> Vec<(FeedName, Bytes)> {
        let mut sound = Vec::with_capacity(copies.len());
        for (name, copy) in copies {
            let told = match left.get(&name) {
                Some(unread) if copy.len() as u64 == unread.size => self.told_by(unread, &copy).map(Some),
                Some(_) => continue,
                None => Ok(None),
            };
            let Ok(told) = told else { continue };
            if let Some(object) = told {
                self.cache_told(&object, &copy).await;
                left.remove(&name);
                take(object);
            } else if name < oldest || Feed::check(name, &copy).is_err() {
                continue;
            }
            sound.push((name, copy));
        }
        sound
    }

    /// A bundle; `None` where it is damaged or gone.
    async fn bundle(&self, name: BundleName, size: u64) -> Option<Bundle> {
        let path = name.to_string();
        let long = ONE_TRY + Duration::from_secs(size >> 20);
        match timeout(long, self.store.get_sized(&path, size)).await {
            Ok(Ok(object)) => match Bundle::decode(&object.bytes) {
                Ok(bundle) => return Some(bundle),
                Err(cause) => tracing::warn!(path, %cause, "a bundle is damaged; the feed is read instead"),
            },
            Ok(Err(error)) => {
                tracing::debug!(path, %error, "a bundle cannot be read; the feed is read instead")
            }
            Err(_) => tracing::debug!(path, "a bundle is long in coming; the feed is read instead"),
        }
        None
    }

    /// Whether this node leaves bundles.
    pub(super) fn may_bundle(&self) -> bool {
        let failed = self.bundles.lock().failed;
        let now = self.now();
        !self.read_only
            && self.honours_create.load(Ordering::Acquire)
            && failed.is_none_or(|failed| now.elapsed_since(failed) >= FAILED_MS)
    }

    /// Makes the bundles that the last refresh found worth making, beside the work.
    pub(super) fn bundle_beside(node: &Arc<Self>) {
        let drafts = std::mem::take(&mut node.bundles.lock().drafts);
        let mut tasks = node.tasks.lock();
        // One at a time: what is not bundled by this node is by another one. Whoever closes the node takes its tasks after that.
        if drafts.is_empty() || tasks.is_bundling() || node.check_open().is_err() {
            return;
        }
        let task = Arc::clone(node).make_bundles(drafts).instrument(tracing::debug_span!("aft.bundle"));
        tasks.bundle(tokio::spawn(task));
    }

    async fn make_bundles(self: Arc<Self>, drafts: Vec<Draft>) {
        for draft in drafts {
            let seq = self.feed.lock().take_object_number();
            let Some(name) = draft.name(self.now().wall_ms, self.number, seq) else { continue };
            let copies = draft.copies.len();
            if let Err(error) = self.make_bundle(name, Bundle { copies: draft.copies }).await {
                tracing::debug!(%error, %name, "no bundle was made");
                self.bundles.lock().failed = Some(self.now());
                return;
            }
            add(&self.counters.bundles_made, 1);
            self.bundles.lock().read.insert(name);
            tracing::debug!(%name, copies, "bundled what was read of the feed");
        }
    }

    async fn make_bundle(&self, name: BundleName, bundle: Bundle) -> Result<(), Error> {
        let bytes = bundle.encode().map_err(|cause| crate::node::unencodable("a bundle", cause))?;
        let created = self.store.create(&self.path(ObjectName::Bundle(name)), bytes).await;
        created.map_err(|error| Error::storage(format_args!("making {name}"), error))
    }
}
