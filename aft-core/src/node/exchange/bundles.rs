//! Bundles: what several nodes published, in one object, so that a refresh need not read it one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tracing::Instrument;

use crate::error::Error;
use crate::format::bundle::Bundle;
use crate::format::name::{BUNDLES, BundleName, FeedName, ObjectName};
use crate::node::Node;
use crate::node::stats::add;
use crate::node::store::retry_read;
use crate::planted::{Planted, planted};
use crate::protocol::bundles::{Draft, Gathering, to_read};
use crate::protocol::knowledge::refresh::{FeedObject, Unread};
use crate::storage::ObjectInfo;

/// What a node knows of bundles.
#[derive(Debug, Default)]
pub(crate) struct Bundles {
    /// Those that it has read or made.
    pub(super) read: BTreeSet<BundleName>,
    /// What the last refresh found worth bundling.
    pub(super) drafts: Vec<Draft>,
}

impl Node {
    /// Takes in what bundles hold of these feed objects; those that they do not. Whatever fails here is read from the feed instead.
    pub(super) async fn read_bundles(
        &self,
        unread: Vec<Unread>,
        gathering: &Mutex<Gathering>,
        take: &(impl Fn(FeedObject) + Send + Sync),
    ) -> Vec<Unread> {
        // One that is late is read as it is: it tells what must be published again.
        let (late, unread): (Vec<_>, Vec<_>) = unread.into_iter().partition(|it| it.late);
        let mut left: BTreeMap<FeedName, Unread> = unread.into_iter().map(|it| (it.name, it)).collect();
        let Some(oldest) = left.keys().next() else { return late };
        let start_after = BundleName::cursor(oldest.time_ms);
        let listed = match retry_read(&self.rng, || self.store.list(BUNDLES, Some(&start_after))).await {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(%error, "the bundles cannot be listed; the feed is read one by one");
                Vec::new()
            }
        };
        let sizes: BTreeMap<BundleName, u64> = listed
            .into_iter()
            .filter_map(|ObjectInfo { path, size, .. }| Some((BundleName::parse(&path)?, size)))
            .collect();
        let names = {
            let mut bundles = self.bundles.lock();
            // What is listed no more is needed no more.
            let oldest =
                BundleName { last_ms: oldest.time_ms, first_ms: 0, made_ms: 0, level: 0, node: 0, seq: 0 };
            bundles.read = bundles.read.split_off(&oldest);
            to_read(sizes.keys().copied().collect(), &bundles.read, &left.keys().copied().collect())
        };
        let mut read = futures::stream::iter(names)
            .map(|name| {
                let size = sizes.get(&name).copied().unwrap_or_default();
                async move { (name, self.bundle(name, size).await) }.boxed()
            })
            .buffer_unordered(self.config.parallel_requests);
        while let Some((name, bundle)) = read.next().await {
            let Some(Bundle { copies }) = bundle else { continue };
            add(&self.counters.bundles_read, 1);
            self.bundles.lock().read.insert(name);
            for (feed_name, copy) in &copies {
                let Some(unread) = left.get(feed_name) else { continue };
                // A copy that is not what lies on the feed is none.
                let told = (copy.len() as u64 == unread.size).then(|| self.told_by(unread, copy));
                if let Some(Ok(object)) = told {
                    self.cache_told(&object, copy).await;
                    left.remove(feed_name);
                    take(object);
                }
            }
            if planted(Planted::BundleIsWhole) {
                left.retain(|left, _| !(name.first_ms..=name.last_ms).contains(&left.time_ms));
            }
            gathering.lock().bundle(&name, copies);
        }
        drop(read);
        late.into_iter().chain(left.into_values()).collect()
    }

    /// A bundle; `None` where it is damaged or gone.
    async fn bundle(&self, name: BundleName, size: u64) -> Option<Bundle> {
        let path = name.to_string();
        let read = retry_read(&self.rng, || self.store.get_sized(&path, size)).await;
        let bundle = read.map(|object| Bundle::decode(&object.bytes));
        match bundle {
            Ok(Ok(bundle)) => Some(bundle),
            Ok(Err(cause)) => {
                tracing::warn!(path, %cause, "a bundle is damaged; the feed is read instead, and a collection deletes the bundle");
                None
            }
            Err(error) => {
                tracing::debug!(path, %error, "a bundle cannot be read; the feed is read instead");
                None
            }
        }
    }

    /// Makes the bundles that the last refresh found worth making, beside the work.
    pub(super) fn bundle_beside(node: &Arc<Self>) {
        let drafts = std::mem::take(&mut node.bundles.lock().drafts);
        let may_write = !node.read_only && node.honours_create.load(Ordering::Acquire);
        if drafts.is_empty() || !may_write || node.check_open().is_err() {
            return;
        }
        let task = Arc::clone(node).make_bundles(drafts).instrument(tracing::debug_span!("bundle"));
        node.tasks.lock().bundle(tokio::spawn(task));
    }

    async fn make_bundles(self: Arc<Self>, drafts: Vec<Draft>) {
        for draft in drafts {
            let seq = self.feed.lock().take_object_number();
            let Some(name) = draft.name(self.now().wall_ms, self.number, seq) else { continue };
            let copies = draft.copies.len();
            if let Err(error) = self.make_bundle(name, Bundle { copies: draft.copies }).await {
                tracing::debug!(%error, %name, "no bundle was made");
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
