//! What a clone remembers of transactions beside what they wrote: decisions and claims, so that a retry of what was finished on the source is
//! replayed by the clone too, and what was aborted stays so.
//!
//! Only the decisions of commits that are in the clone come along; what is acknowledged later was never done, for the clone. Claims
//! are listed before decisions: a claim is made by someone who knows that the transactions of all before it can never commit, and what says
//! so is there by then. A claim of an undecided transaction may come along or not: nothing that was begun on the source can commit on the clone
//! but by a retry there, which finds the claim's register empty or makes a claim of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt};

use super::Cloning;
use super::moment::Moment;
use crate::error::{Error, ErrorKind};
use crate::format::decision::{Decision, Verdict};
use crate::format::garbage::Garbage;
use crate::format::name::{COMMITS, ObjectName, REQUESTS, RequestHash};
use crate::format::request::Claim;
use crate::node::exchange::register::RegisterState;
use crate::node::format_error;
use crate::node::store::retry_read;
use crate::node::unencodable;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::storage::{Object, ObjectInfo, StorageError};
use crate::txn_id::TxnId;

/// The decisions and claims at the place, with their dates.
#[derive(Default)]
pub(super) struct OutcomesThere {
    pub(super) decisions: HashMap<TxnId, StoreTime>,
    pub(super) claims: HashMap<(RequestHash, u32), StoreTime>,
}

impl OutcomesThere {
    /// The newest date.
    pub(super) fn newest(&self) -> Option<StoreTime> {
        self.decisions.values().chain(self.claims.values()).copied().max()
    }
}

/// The decisions that a clone has.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) committed: Vec<TxnId>,
    pub(super) dead: Vec<TxnId>,
}

/// What a clone that is finished says of its outcomes.
pub(super) struct Before {
    /// Which of its decisions are commits.
    pub(super) committed: HashSet<TxnId>,
    /// When its maker began to compare them with the source, by its clock.
    pub(super) compared_ms: u64,
}

/// What a decision says.
enum Said {
    Committed,
    Dead,
}

impl Cloning<'_> {
    pub(super) async fn outcomes_there(&self) -> Result<OutcomesThere, Error> {
        let mut there = OutcomesThere::default();
        for folder in [COMMITS, REQUESTS] {
            for object in self.list_there(folder).await? {
                let date = StoreTime::of(object.last_modified);
                match ObjectName::parse(&object.path, self.node.shards) {
                    Some(ObjectName::Decision(id)) => drop(there.decisions.insert(id, date)),
                    Some(ObjectName::Request(hash, number)) => {
                        there.claims.insert((hash, number), date);
                    }
                    _ => {}
                }
            }
        }
        Ok(there)
    }

    /// Makes the outcomes at the place those of the moment. `before`: what the clone that is there says of its own, if there is one.
    pub(super) async fn copy_outcomes(
        &self,
        moment: &Moment,
        there: &OutcomesThere,
        before: Option<&Before>,
    ) -> Result<Outcomes, Error> {
        let claims = self.claims_of(moment).await?;
        let outcomes = self.copy_decisions(moment, there, before).await?;
        let copies = claims.iter().map(|(name, object)| {
            async move { Ok::<_, Error>((*name, self.copy_claim(*name, object, there, before).await?)) }
                .boxed()
        });
        let copies = futures::stream::iter(copies.collect::<Vec<_>>());
        let claimed: HashMap<_, _> =
            copies.buffer_unordered(self.node.config.parallel_requests).try_collect().await?;
        let path = |name: ObjectName| self.node.path(name);
        let kept: HashSet<_> = outcomes.committed.iter().chain(&outcomes.dead).collect();
        let decisions = there.decisions.keys().filter(|id| !kept.contains(id));
        let mut stale: Vec<_> = decisions.map(|id| path(ObjectName::Decision(*id))).collect();
        let claims = there.claims.keys().filter(|name| claimed.get(name) != Some(&true));
        stale.extend(claims.map(|(hash, number)| path(ObjectName::Request(*hash, *number))));
        self.delete_there(&stale).await?;
        self.count(|report| report.deleted += stale.len() as u64);
        Ok(outcomes)
    }

    async fn copy_decisions(
        &self,
        moment: &Moment,
        there: &OutcomesThere,
        before: Option<&Before>,
    ) -> Result<Outcomes, Error> {
        let node = self.node;
        let garbage = self.garbage_decisions().await?;
        let retention = node.marker.settings.outcome_retention_ms;
        let settled_ms = moment.base.settled_ms();
        let wanted = |object: &ObjectInfo| match ObjectName::parse(&object.path, node.shards) {
            Some(ObjectName::Decision(id)) => {
                !garbage.contains(&id)
                    && !node.limits.outcome_may_go(id.start_ms(), moment.now, retention, settled_ms)
            }
            _ => false,
        };
        let listed = retry_read(&node.rng, || node.store.list_where(COMMITS, None, wanted)).await;
        let listed = listed.map_err(|error| Error::storage("listing decisions", error))?;
        let told = self.told_from(moment);
        let copies = listed.into_iter().map(|object| {
            async move {
                let Some(ObjectName::Decision(id)) = ObjectName::parse(&object.path, node.shards) else {
                    return Ok::<_, Error>(None);
                };
                let is_there = there.decisions.contains_key(&id);
                let said = match before {
                    Some(before) if is_there && id.start_ms() < told => {
                        self.count(|report| report.decisions_kept += 1);
                        Some(if before.committed.contains(&id) { Said::Committed } else { Said::Dead })
                    }
                    _ => self.copy_decision(id, &object, moment, is_there).await?,
                };
                Ok(said.map(|said| (id, said)))
            }
            .boxed()
        });
        let mut copies =
            futures::stream::iter(copies.collect::<Vec<_>>()).buffer_unordered(node.config.parallel_requests);
        let mut outcomes = Outcomes::default();
        while let Some(said) = copies.try_next().await? {
            match said {
                Some((id, Said::Committed)) => outcomes.committed.push(id),
                Some((id, Said::Dead)) => outcomes.dead.push(id),
                None => {}
            }
        }
        outcomes.committed.sort_unstable();
        outcomes.dead.sort_unstable();
        Ok(outcomes)
    }

    /// From which start on a sweep of the clone might look at a decision, with one S as slack: of those the clone's checkpoint must tell.
    pub(super) fn told_from(&self, moment: &Moment) -> u64 {
        self.node.limits.sweep_window_from_ms(moment.now).saturating_sub(self.node.limits.skew_ms)
    }

    /// Decisions that the source is about to delete: folded, forgotten, and of no request. A list that cannot be read only means that
    /// some of these come along.
    async fn garbage_decisions(&self) -> Result<HashSet<TxnId>, Error> {
        let node = self.node;
        let mut garbage = HashSet::new();
        for number in node.list_manifests(0).await? {
            let file = match node.manifest(number).await {
                Ok(found) => found.and_then(|(manifest, _)| manifest.garbage),
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                Err(error) => return Err(error),
            };
            let Some(file) = file else { continue };
            let path = node.path(ObjectName::Garbage(file.id));
            match retry_read(&node.rng, || node.store.get_sized(&path, file.bytes)).await {
                Ok(object) => garbage.extend(Garbage::decode(&object.bytes).unwrap_or_default().decisions),
                Err(StorageError::NotFound { .. }) => {}
                Err(error) if error.is_too_large().is_some() => {}
                Err(error) => return Err(Error::storage(format_args!("reading {path:?}"), error)),
            }
        }
        Ok(garbage)
    }

    /// Copies a decision, if the clone shall have it; what it says then.
    async fn copy_decision(
        &self,
        id: TxnId,
        listed: &ObjectInfo,
        moment: &Moment,
        is_there: bool,
    ) -> Result<Option<Said>, Error> {
        let path = &listed.path;
        let _room = self.room(listed.size).await;
        let Some(object) = self.read(path, listed.size).await? else { return Ok(None) };
        let bytes = object.bytes.clone();
        let (said, bytes) = match self.node.judge(path, id, object) {
            Ok(RegisterState::Committed { commits, .. }) => {
                if !commits.iter().all(|it| moment.has(id, it.commit.version)) {
                    return Ok(None);
                }
                (Said::Committed, bytes)
            }
            // On the clone no date would say that it is void.
            Ok(RegisterState::Dead { attempt, void: Some(_) }) if !planted(Planted::CloneVoidAsItIs) => {
                let abort = Decision { id, attempt, verdict: Verdict::Abort };
                (Said::Dead, abort.encode(&[]).map_err(|cause| unencodable("an abort", cause))?)
            }
            Ok(RegisterState::Dead { .. }) => (Said::Dead, bytes),
            Ok(RegisterState::Empty | RegisterState::Forgotten) => return Ok(None),
            Err(error) => {
                self.leave_out(path, &error);
                return Ok(None);
            }
        };
        if is_there {
            self.count(|report| report.decisions_kept += 1);
        } else {
            self.copy(path, bytes).await?;
            self.count(|report| report.decisions_copied += 1);
        }
        Ok(Some(said))
    }

    /// The claims of all keys whose outcome is to be remembered.
    async fn claims_of(&self, moment: &Moment) -> Result<Vec<((RequestHash, u32), ObjectInfo)>, Error> {
        let node = self.node;
        let listed = retry_read(&node.rng, || node.store.list(REQUESTS, None)).await;
        let listed = listed.map_err(|error| Error::storage("listing the claims of request keys", error))?;
        let mut keys: BTreeMap<RequestHash, Vec<(u32, ObjectInfo)>> = BTreeMap::new();
        for object in listed {
            if let Some(ObjectName::Request(hash, number)) = ObjectName::parse(&object.path, node.shards) {
                keys.entry(hash).or_default().push((number, object));
            }
        }
        let retention = node.marker.settings.outcome_retention_ms;
        let is_old = |(_, object): &(u32, ObjectInfo)| {
            node.limits.claims_may_go(StoreTime::of(object.last_modified), moment.now, retention)
        };
        keys.retain(|_, claims| !claims.iter().all(is_old));
        let flat = keys.into_iter().flat_map(|(hash, claims)| {
            claims.into_iter().map(move |(number, object)| ((hash, number), object))
        });
        Ok(flat.collect())
    }

    /// Copies a claim; whether the clone has it.
    async fn copy_claim(
        &self,
        name: (RequestHash, u32),
        listed: &ObjectInfo,
        there: &OutcomesThere,
        before: Option<&Before>,
    ) -> Result<bool, Error> {
        let path = &listed.path;
        let copied = there.claims.get(&name);
        if copied.is_some() && self.was_compared(StoreTime::of(listed.last_modified), before) {
            self.count(|report| report.claims_kept += 1);
            return Ok(true);
        }
        let Some(Object { bytes, .. }) = self.read(path, listed.size).await? else { return Ok(false) };
        if let Err(cause) = Claim::decode(&bytes) {
            self.leave_out(path, &format_error(path, cause));
            return Ok(false);
        }
        if copied.is_some() {
            let found = retry_read(&self.node.rng, || self.there.get(path)).await;
            if found.is_ok_and(|found| found.bytes == bytes) {
                self.count(|report| report.claims_kept += 1);
                return Ok(true);
            }
            // The claims of the key were collected, and it was claimed anew.
            self.delete_there(std::slice::from_ref(path)).await?;
        }
        self.copy(path, bytes).await?;
        self.count(|report| report.claims_copied += 1);
        Ok(true)
    }

    /// Whether the claim that is there is surely the one of this date: it was visible already when the clone that is there was compared
    /// with the source. A claim of the same name that was made since would be younger.
    fn was_compared(&self, claimed: StoreTime, before: Option<&Before>) -> bool {
        let limits = &self.node.limits;
        let window = limits.visibility_ms + 2 * limits.skew_ms + 1000;
        before.is_some_and(|before| claimed.ms().saturating_add(window) < before.compared_ms)
            || planted(Planted::CloneClaimsByName)
    }

    async fn copy(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.needs(size);
        self.create_there(path, bytes).await?;
        self.count(|report| report.bytes_copied += size);
        self.has(size);
        Ok(())
    }

    /// A small object of the source; `None` where it is gone, or so long that it is none of aft's.
    async fn read(&self, path: &str, size: u64) -> Result<Option<Object>, Error> {
        match retry_read(&self.node.rng, || self.node.store.get_sized(path, size)).await {
            Ok(object) => Ok(Some(object)),
            Err(StorageError::NotFound { .. }) => Ok(None),
            Err(error) => {
                let too_large = error.is_too_large().is_some();
                let error = Error::storage(format_args!("reading {path:?} of the source"), error);
                if !too_large {
                    return Err(error);
                }
                self.leave_out(path, &error);
                Ok(None)
            }
        }
    }
}
