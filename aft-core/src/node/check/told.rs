//! What leads to an outcome: the decisions that lists of outcomes name, and the claims that lead from a request key to its decision.
//!
//! Nothing that is read needs them any more, so nothing else misses them; but a request whose claim is gone runs a second time.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;

use super::Check;
use super::commits::Commits;
use super::index::Manifests;
use crate::error::Error;
use crate::format::name::{CLONE, ObjectName, RequestHash};
use crate::format::request::Claim;
use crate::node::exchange::register::RegisterState;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::txn_id::TxnId;

/// What a collection at work may take meanwhile is not missed: it may know a later time than this check does.
const COLLECTION_S: u64 = 3600;

/// The claims of the request keys, as they were read.
#[derive(Debug, Default)]
pub(super) struct Claims(BTreeMap<RequestHash, BTreeMap<u32, Option<TxnId>>>);

impl Claims {
    /// `holder`: `None` where it is damaged.
    pub(super) fn add(&mut self, hash: RequestHash, number: u32, holder: Option<TxnId>) {
        self.0.entry(hash).or_default().insert(number, holder);
    }

    /// The number of a claim that is not there though this transaction, which committed under the key, made or found it.
    fn missing(&self, hash: RequestHash, txn: TxnId) -> Option<u32> {
        let Some(claims) = self.0.get(&hash) else { return Some(0) };
        // Whoever finds a number free takes it, and looks no further.
        if let Some(gap) = (0..).zip(claims.keys()).find_map(|(number, is)| (number != *is).then_some(number))
        {
            return Some(gap);
        }
        let found = claims.values().any(|holder| holder.is_none_or(|holder| holder == txn));
        (!found).then(|| claims.keys().next_back().map_or(0, |newest| newest.saturating_add(1)))
    }
}

impl Check<'_> {
    /// Names the decisions that a list of outcomes names and that are gone, or are no commits any more.
    pub(super) async fn outcomes(&self, manifests: &Manifests, commits: &Commits) -> Result<(), Error> {
        let listed = std::mem::take(&mut *self.outcomes.lock());
        if planted(Planted::CheckIgnoresOutcomes) {
            return Ok(());
        }
        let mut missed: Vec<_> = listed.into_iter().filter(|(id, _)| !commits.is_commit(*id)).collect();
        // A clone that is made anew deletes decisions that a list of the one before may still name.
        if !missed.is_empty() && self.get(CLONE, 0).await?.is_some() {
            let newest = manifests.base.manifest().and_then(|it| Some((it.number, it.outcomes?.id)));
            let newest = newest.map(|(number, id)| self.path(ObjectName::Outcomes(number, id)));
            missed.retain(|(_, list)| Some(list) == newest.as_ref());
        }
        self.each(missed, |(id, list): (TxnId, String)| {
            async move {
                let path = self.path(ObjectName::Decision(id));
                let read = self.get(&path, 0).await?;
                if self.outcome_may_be_gone(id) {
                    return Ok(());
                }
                let what = format!("the decision of {id}, which the list of outcomes {list:?} names");
                let Some(object) = read else {
                    self.missing(&path, what);
                    return Ok(());
                };
                // One that is damaged was named already.
                if let Ok(RegisterState::Dead { .. } | RegisterState::Forgotten) =
                    self.node.judge(&path, id, object)
                {
                    self.damaged(&path, format_args!("{what}: it is an abort, or dated too late to count"));
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    /// Whether a collection may have deleted this decision, though a list names it.
    fn outcome_may_be_gone(&self, id: TxnId) -> bool {
        let retention = self.node.marker.settings.outcome_retention_ms;
        self.latest()
            .is_none_or(|now| self.node.limits.outcome_may_go(id.start_ms(), now, retention, u64::MAX))
    }

    /// Names the claims without which a request that committed would run again.
    pub(super) async fn claims_of_commits(&self, claims: &Claims) -> Result<(), Error> {
        let keyed = std::mem::take(&mut *self.keyed.lock());
        if planted(Planted::CheckIgnoresClaims) {
            return Ok(());
        }
        let missed =
            keyed.into_iter().filter_map(|(txn, hash)| Some((txn, hash, claims.missing(hash, txn)?)));
        self.each(missed.collect(), |(txn, hash, number): (TxnId, RequestHash, u32)| {
            async move {
                let path = self.path(ObjectName::Request(hash, number));
                // All claims of a key go together, the newest last, and that is dated after its transaction began.
                let limits = self.node.limits;
                let dated = StoreTime(txn.start_ms().saturating_sub(limits.skew_ms + limits.visibility_ms) / 1000);
                let retention = self.node.marker.settings.outcome_retention_ms;
                let gone = self.latest().is_none_or(|now| limits.claims_may_go(dated, now, retention));
                let is_there = match self.get(&path, 0).await? {
                    Some(read) => Claim::decode(&read.bytes).is_ok_and(|claim| claim.txn == txn),
                    None => false,
                };
                if !gone && !is_there {
                    self.missing(&path, format_args!(
                        "a claim of the request key under which {txn} committed; without it the request would run again"
                    ));
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    /// The latest that the store's time may be, for whoever collects meanwhile.
    fn latest(&self) -> Option<StoreTime> {
        self.node.store_time().map(|now| StoreTime(now.0.saturating_add(COLLECTION_S)))
    }
}

/// Decisions of commits under a request key, and the hash of that key.
pub(super) type Keyed = BTreeSet<(TxnId, RequestHash)>;
