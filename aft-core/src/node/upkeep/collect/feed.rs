//! Feed objects, and bundles of them; the decisions among them are only listed here.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;

use super::{Collection, GarbageKind, Manifests};
use crate::error::Error;
use crate::format::name::{BUNDLES, FEED, ObjectName};
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::storage::ObjectInfo;

impl Collection<'_> {
    pub(super) async fn bundles(&mut self, manifests: &Manifests) -> Result<(), Error> {
        let Some(horizon) = manifests.settled_horizon() else { return Ok(()) };
        let limits = self.node.limits;
        // By the rule of the feed objects that they copy: one that goes too early costs requests and nothing else.
        let old = |object: &ObjectInfo| limits.feed_may_go(StoreTime::of(object.last_modified), horizon);
        let old = self.list_sorted(BUNDLES, old).await?;
        let old = self.count_kept(GarbageKind::Bundles, old);
        self.delete(GarbageKind::Bundles, old).await
    }

    /// The feed objects that may go by the settled horizon; all that are needed must be listed. The decisions among them are noted as such: they go as
    /// decisions do, since nothing else tells of what they committed.
    pub(super) async fn list_feed(&mut self, manifests: &Manifests) -> Result<Vec<ObjectInfo>, Error> {
        let horizon = if planted(Planted::CollectFeedEarly) {
            manifests.all.values().last().map_or(StoreTime(0), |it| StoreTime(it.basis))
        } else {
            manifests.settled_horizon().unwrap_or(StoreTime(0))
        };
        let (limits, shards) = (self.node.limits, self.node.shards);
        let shown = Mutex::new(HashSet::new());
        let direct = Mutex::new(BTreeMap::new());
        let (old, kept) = {
            let needed = &self.needed;
            let old = |object: &ObjectInfo| {
                let name = match ObjectName::parse(&object.path, shards) {
                    Some(ObjectName::Feed(name)) => name,
                    Some(ObjectName::Decision(id)) => {
                        direct.lock().insert(id, object.size);
                        let name = id.direct_name().filter(|_| planted(Planted::DirectGoesByAge));
                        return name.is_some_and(|it| {
                            limits.feed_may_go(limits.feed_published(it.time_ms, StoreTime(0)), horizon)
                        });
                    }
                    _ => return false,
                };
                if needed.is_home(name) {
                    shown.lock().insert(name);
                }
                let published = limits.feed_published(name.time_ms, StoreTime::of(object.last_modified));
                limits.feed_may_go(published, horizon)
            };
            self.list_sorted(FEED, old).await?
        };
        let direct = direct.into_inner();
        let kept = kept.saturating_sub(direct.len() as u64);
        self.decided.extend(direct);
        self.expect_feed(&shown.into_inner()).await?;
        Ok(self.count_kept(GarbageKind::FeedObjects, (old, kept)))
    }

    pub(super) async fn feed(&mut self, manifests: &Manifests, old: Vec<ObjectInfo>) -> Result<(), Error> {
        if old.is_empty() {
            return Ok(());
        }
        if !self.prove(manifests, &[], true).await? {
            self.report.class(GarbageKind::FeedObjects).kept += old.len() as u64;
            return Ok(());
        }
        let shards = self.node.shards;
        let (needed, old): (Vec<_>, Vec<_>) = old.into_iter().partition(|object| {
            let name = ObjectName::parse(&object.path, shards);
            matches!(name, Some(ObjectName::Feed(name)) if self.needed.has_feed(name))
        });
        needed.into_iter().for_each(|object| self.refuse(GarbageKind::FeedObjects, object.path));
        self.delete(GarbageKind::FeedObjects, old).await
    }
}
