//! Collecting claims of request keys.
//!
//! The obvious way, each claim by its own age, loses exactly-once: with claim 0 gone a retry claims the key anew, though the
//! transaction of claim 1 committed a minute ago (HAZARDS 7). So a key is collected as a whole, only where its newest claim's
//! transaction committed, and only once every claim of it is older than outcomes are kept: then nobody appends to the
//! folder, for whoever looks into it finds the commit. The oldest number goes first and the newest last: a new claim 0 can be made as
//! soon as the old one is gone, and whoever meets that one and looks further still finds the commit, until nothing old is left.
//! One node collects claims in an epoch, since a second one might take a claim that was made anew for the one it listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Error;
use crate::format::name::{Job, ObjectName, RequestHash};
use crate::format::request::Claim;
use crate::node::exchange::register::RegisterState;
use crate::node::format_error;
use crate::node::store::retry_read;
use crate::node::upkeep::collect::needed::is_damage;
use crate::node::upkeep::collect::{Collection, GarbageKind};
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::storage::{ObjectInfo, StorageError};

/// Claims are collected at most once in this many seconds.
const EPOCH_S: u64 = 600;
/// A listing of claims is believed for so long.
const LISTING_MS: u64 = 60_000;

impl Collection<'_> {
    /// Whether every claim that may go is gone.
    pub(super) async fn claims(&mut self) -> Result<bool, Error> {
        let mut has_epoch = None;
        for folder in self.node.shards.request_folders() {
            if !self.claims_in(&folder, &mut has_epoch).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn claims_in(&mut self, folder: &str, has_epoch: &mut Option<bool>) -> Result<bool, Error> {
        let listed_at = self.node.now();
        let retention = self.node.marker.settings.outcome_retention_ms;
        let mut keys: BTreeMap<RequestHash, BTreeMap<u32, ObjectInfo>> = BTreeMap::new();
        for object in self.list(folder, |_| true).await? {
            if let Some(ObjectName::Request(hash, number)) = ObjectName::parse(&object.path, self.node.shards)
            {
                keys.entry(hash).or_default().insert(number, object);
            }
        }
        let (node, now) = (Arc::clone(self.node), self.now);
        let old = |object: &ObjectInfo| {
            node.limits.claims_may_go(StoreTime::of(object.last_modified), now, retention)
        };
        let each = planted(Planted::CollectClaimsSingly);
        let (candidates, kept): (Vec<_>, Vec<_>) = keys
            .into_values()
            .partition(|claims| if each { claims.values().any(old) } else { claims.values().all(old) });
        self.keep(kept.iter().map(BTreeMap::len).sum());
        if candidates.is_empty() {
            return Ok(true);
        }
        if !self.dry_run && has_epoch.is_none() {
            *has_epoch = Some(self.node.takes_epoch(Job::Claims, self.now.0 / EPOCH_S).await?);
        }
        if *has_epoch == Some(false) {
            self.keep(candidates.iter().map(BTreeMap::len).sum());
            self.report.left_out.push("claims: another collection sees to them in this epoch".into());
            return Ok(false);
        }
        for mut claims in candidates {
            if self.node.now().elapsed_since(listed_at) > LISTING_MS {
                self.report.left_out.push("claims: the rest is for the next collection".into());
                return Ok(false);
            }
            if each {
                claims.retain(|_, object| old(object));
            } else {
                let committed = match self.committed(&claims).await {
                    Err(error) if is_damage(&error) => {
                        self.leave_out(format!("the claims of a request: {error}"));
                        false
                    }
                    committed => committed?,
                };
                if !committed {
                    self.keep(claims.len());
                    continue;
                }
            }
            for object in claims.into_values() {
                if !self.delete_claim(object).await {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Deletes a claim, once: a second request, sent because the first seemed lost, might take a claim that was made anew meanwhile.
    async fn delete_claim(&mut self, object: ObjectInfo) -> bool {
        self.watch(GarbageKind::Claims, [object.path.as_str()]);
        if !self.dry_run
            && let Err(error) = self.node.store.delete(&[object.path]).await
        {
            self.report.left_out.push(format!("claims: the rest is for the next collection: {error}"));
            return false;
        }
        let class = self.report.classes.entry(GarbageKind::Claims).or_default();
        (class.objects, class.bytes) = (class.objects + 1, class.bytes + object.size);
        true
    }

    fn keep(&mut self, claims: usize) {
        self.report.classes.entry(GarbageKind::Claims).or_default().kept += claims as u64;
    }

    /// Whether the transaction of the newest claim committed.
    async fn committed(&self, claims: &BTreeMap<u32, ObjectInfo>) -> Result<bool, Error> {
        let Some(newest) = claims.values().next_back() else { return Ok(false) };
        let path = &newest.path;
        let object = match retry_read(&self.node.rng, || self.node.store.get(path)).await {
            Ok(object) => object,
            Err(StorageError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(Error::storage(format_args!("reading the claim {path:?}"), error)),
        };
        let claim = Claim::decode(&object.bytes).map_err(|cause| format_error(path, cause))?;
        let looked = self.node.read_register(&self.node.store, claim.txn).await?;
        Ok(matches!(looked, RegisterState::Committed { .. }))
    }
}
