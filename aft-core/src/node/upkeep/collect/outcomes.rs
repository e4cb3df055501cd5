//! Decisions that stay for their outcome, and when they go.
//!
//! Age alone proves nothing: where the feed object that carried a commit was lost, its decision is the last copy. So the decision of a
//! commit goes only where a checkpoint said that it folded it: in its list of garbage or, where a request key led to it, in its file
//! of outcomes. What is in neither is read first: an abort goes, and so does a void commit. And so does a commit whose list was lost, where the
//! index of the settled checkpoint proves that it was folded, or that each key which it wrote was written anew since.

use std::collections::BTreeSet;

use futures::{FutureExt, StreamExt};

use super::needed::is_damage;
use super::{Collection, GarbageKind, Manifests, Read};
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::format::name::{FileId, OUTCOMES, ObjectName};
use crate::node::exchange::register::RegisterState;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::standing::Standing;
use crate::storage::ObjectInfo;
use crate::txn_id::TxnId;

/// So many decisions are read, and their verdicts held, at a time.
const READ_AT_ONCE: usize = 1_000;
/// So many are looked up in the index at a time.
const JUDGED_AT_ONCE: usize = 64;

/// A file of outcomes that a manifest named, which may be gone by now.
pub(super) struct OutcomeList {
    id: FileId,
    object: ObjectInfo,
}

/// What the index says of commits.
struct Carried {
    /// The decisions of those that it carries.
    carried: BTreeSet<TxnId>,
    /// Whether one of the others is lost, or nobody knows.
    lost: bool,
}

impl Collection<'_> {
    /// Before these manifests go: files of outcomes that bear their numbers and that they do not name, or that are void ones'. Once
    /// the manifest is gone, its number in a name is all that says that it counted.
    ///
    /// A manifest that was sent twice may land again when its number has gone, and then it is void; the file that it names is that of the one
    /// which counted, and stays.
    pub(super) async fn forget_outcome_lists(
        &mut self,
        manifests: &Manifests,
        numbers: &BTreeSet<u64>,
    ) -> Result<(), Error> {
        let mut not_named = Vec::new();
        for (number, id, object) in std::mem::take(&mut self.outcome_files) {
            let void =
                manifests.aside.get(&number).filter(|it| it.outcomes.is_some_and(|file| file.id == id));
            let stays = !numbers.contains(&number)
                || is_named(manifests, number, id)
                || match void {
                    Some(void) => self.is_of_another(manifests, void, &object).await?,
                    None => false,
                };
            if stays {
                self.outcome_files.push((number, id, object));
            } else {
                not_named.push(object);
            }
        }
        self.delete(GarbageKind::OutcomeLists, not_named).await
    }

    /// Whether the file of outcomes that a void manifest names is that of one which counted: of the same, when it landed first.
    ///
    /// So it is where the index of the settled checkpoint carries each commit in it, or its decision is gone. And where the void manifest's own
    /// list of garbage is gone, which stays as long as a void one is there: it was worked off. (The keys of a commit may all have been
    /// written anew, and one of them been deleted since: the index cannot tell it from one that was never folded. One that is lost
    /// speaks against it all the same.)
    async fn is_of_another(
        &mut self,
        manifests: &Manifests,
        void: &Manifest,
        object: &ObjectInfo,
    ) -> Result<bool, Error> {
        if planted(Planted::GhostIsVoid) {
            return Ok(false);
        }
        let Read::Whole(list) = self.read_list(object).await? else { return Ok(false) };
        let named: BTreeSet<_> = list.decisions.into_iter().collect();
        let Carried { carried, lost } = self.carried(manifests, &named).await?;
        if carried == named {
            return Ok(true);
        }
        let Some(garbage) = void.garbage.filter(|_| !lost && !planted(Planted::PurgedGhostIsVoid)) else {
            return Ok(false);
        };
        Ok(!self.is_there(&self.node.path(ObjectName::Garbage(garbage.id))).await?)
    }

    pub(super) async fn list_outcomes(&mut self) -> Result<(), Error> {
        for object in self.list(OUTCOMES, |_| true).await? {
            if let Some(ObjectName::Outcomes(number, id)) = ObjectName::parse(&object.path, self.node.shards)
            {
                self.outcome_files.push((number, id, object));
            }
        }
        Ok(())
    }

    /// Deletes decisions that are old enough to be forgotten for good. Not before the claims that lead to them are gone.
    pub(super) async fn outcomes(&mut self, manifests: &Manifests, claims_done: bool) -> Result<(), Error> {
        let settled_ms = manifests.all.values().next_back().map_or(0, |manifest| manifest.settled_ms);
        let retention = self.node.marker.settings.outcome_retention_ms;
        let (limits, now) = (self.node.limits, self.now);
        let may_go = |id: TxnId, settled_ms| {
            claims_done && limits.outcome_may_go(id.start_ms(), now, retention, settled_ms)
        };
        // What a list names is in the runs, whatever is not.
        let listed_may_go = |id| may_go(id, u64::MAX);
        let lists = self.outcome_lists(manifests).await?;
        let mut old: BTreeSet<TxnId> =
            self.decided.keys().copied().filter(|id| may_go(*id, settled_ms)).collect();
        let (due, young): (Vec<_>, Vec<_>) = lists.into_iter().partition(|list| listed_may_go(list.id.0));
        if (!old.is_empty() || !due.is_empty()) && !self.prove(manifests, &[], true).await? {
            self.report.class(GarbageKind::OutcomeLists).kept += (due.len() + young.len()) as u64;
            self.report.class(GarbageKind::Outcomes).kept += self.decided.len() as u64;
            return Ok(());
        }
        self.report.class(GarbageKind::OutcomeLists).kept += young.len() as u64;
        for list in due {
            self.work_off_outcomes(manifests, list, &mut old, listed_may_go).await?;
        }
        if planted(Planted::OutcomesByAge) {
            let old: Vec<_> = old.into_iter().collect();
            self.delete_outcomes(&old).await?;
        } else if !old.is_empty() {
            self.judge_outcomes(manifests, old, &young).await?;
        }
        self.report.class(GarbageKind::Outcomes).kept += self.decided.len() as u64;
        Ok(())
    }

    /// The files of outcomes that count, oldest first. Others are deleted once they cannot be a checkpoint's that is under way.
    async fn outcome_lists(&mut self, manifests: &Manifests) -> Result<Vec<OutcomeList>, Error> {
        let newest = manifests.listed.last().map_or(0, |(number, _)| *number);
        let mut lists = Vec::new();
        let mut not_named = Vec::new();
        for (number, id, object) in std::mem::take(&mut self.outcome_files) {
            let is_there = manifests.listed.iter().any(|(listed, _)| *listed == number);
            if is_named(manifests, number, id) || !is_there && number < newest {
                lists.push(OutcomeList { id, object });
            } else if self.is_unreferenced(manifests, &object)
                && manifests.aside.get(&number).and_then(|it| it.outcomes).is_none_or(|file| file.id != id)
            {
                not_named.push(object);
            } else {
                self.report.class(GarbageKind::OutcomeLists).kept += 1;
            }
        }
        self.delete(GarbageKind::OutcomeLists, not_named).await?;
        lists.sort_unstable_by_key(|list| list.id);
        Ok(lists)
    }

    /// Deletes the decisions in a list, and then the list.
    async fn work_off_outcomes(
        &mut self,
        manifests: &Manifests,
        list: OutcomeList,
        old: &mut BTreeSet<TxnId>,
        may_go: impl Fn(TxnId) -> bool,
    ) -> Result<(), Error> {
        let Read::Whole(garbage) = self.read_list(&list.object).await? else {
            self.report.class(GarbageKind::OutcomeLists).kept += 1;
            return Ok(());
        };
        let (mut go, mut all) = (Vec::new(), true);
        for id in garbage.decisions {
            old.remove(&id);
            if self.needed.has_decision(id) {
                self.refuse(GarbageKind::Outcomes, self.node.path(ObjectName::Decision(id)));
                all = false;
            } else if may_go(id) {
                go.push(id);
            } else {
                all = false;
            }
        }
        // What a manifest names stays until that is gone, and is read again until then.
        let mut named = manifests.all.values().filter_map(|manifest| manifest.outcomes);
        let is_named = named.any(|file| file.id == list.id);
        go.retain(|id| !is_named || self.decided.contains_key(id));
        self.delete_outcomes(&go).await?;
        if all && !is_named {
            return self.delete(GarbageKind::OutcomeLists, vec![list.object]).await;
        }
        self.report.class(GarbageKind::OutcomeLists).kept += 1;
        Ok(())
    }

    /// Deletes those of the old decisions that are aborts or void, and says which commits nobody knows to be folded.
    async fn judge_outcomes(
        &mut self,
        manifests: &Manifests,
        old: BTreeSet<TxnId>,
        young: &[OutcomeList],
    ) -> Result<(), Error> {
        let mut old = old;
        // First what other lists have, which go in their own time; the oldest first, which are likeliest to.
        for object in self.pending.clone() {
            self.take_listed(&object, &mut old).await?;
        }
        let mut rest = young.iter();
        for list in rest.by_ref() {
            if old.is_empty() || !self.take_listed(&list.object, &mut old).await? {
                break;
            }
        }
        let old: Vec<_> = old.into_iter().collect();
        let mut unknown = BTreeSet::new();
        for ids in old.chunks(READ_AT_ONCE) {
            let dead = self.read_outcomes(ids, &mut unknown).await?;
            self.delete_outcomes(&dead).await?;
        }
        for list in rest {
            if unknown.is_empty() {
                break;
            }
            self.take_listed(&list.object, &mut unknown).await?;
        }
        let folded = self.folded_unlisted(manifests, &unknown).await?;
        let ids: Vec<_> = folded.iter().copied().collect();
        self.delete_outcomes(&ids).await?;
        unknown.retain(|id| !folded.contains(id));
        let first = unknown.first().map(|id| self.node.path(ObjectName::Decision(*id)));
        if let Some(first) = first {
            tracing::error!(
                first,
                count = unknown.len(),
                "commits that no checkpoint is known to have folded"
            );
            self.leave_out(format!(
                "{} decisions of commits that no checkpoint says it folded, the first {first:?}: they were lost or never published, and stay; publish them with `aft sweep --all`",
                unknown.len()
            ));
        }
        Ok(())
    }

    /// Those of these decisions that may go although the list that named them is lost: where the index carries their commits. Not where
    /// anything is damaged, since nobody knows what it would tell, nor where an older checkpoint is still there, which may name a decision
    /// as the place of values. What newer ones say is recent is in `needed`.
    async fn folded_unlisted(
        &self,
        manifests: &Manifests,
        unlisted: &BTreeSet<TxnId>,
    ) -> Result<BTreeSet<TxnId>, Error> {
        let settled = manifests.settled.unwrap_or(0);
        let older = manifests.listed.iter().any(|(number, _)| *number < settled);
        if older || self.report.is_damaged || planted(Planted::UnlistedStays) {
            return Ok(BTreeSet::new());
        }
        Ok(self.carried(manifests, unlisted).await?.carried)
    }

    /// Those of these decisions whose commits the index of the settled checkpoint carries ([`Standing::Carried`]), and that nothing needs
    /// beside it; and those that are gone.
    async fn carried(&self, manifests: &Manifests, ids: &BTreeSet<TxnId>) -> Result<Carried, Error> {
        let (mut folded, mut lost) = (BTreeSet::new(), false);
        let settled = manifests.settled.and_then(|number| manifests.all.get(&number));
        let Some(settled) = settled else { return Ok(Carried { carried: folded, lost: true }) };
        // What started before that is folded for everybody who runs: they began with this checkpoint, or a newer one.
        let may_go = |id: &TxnId| id.start_ms() < settled.settled_ms && !self.needed.has_decision(*id);
        let base = Base::new(settled.clone());
        let ids: Vec<_> = ids.iter().copied().filter(may_go).collect();
        for some in ids.chunks(JUDGED_AT_ONCE) {
            let mut commits = Vec::new();
            for (id, looked) in self.node.look_at(some).await {
                match looked {
                    Ok(RegisterState::Committed { commits: of, .. }) => {
                        commits.extend(of.into_iter().map(|it| (id, it.commit)));
                    }
                    Ok(RegisterState::Empty) => {
                        folded.insert(id);
                    }
                    // Dead, or told of already.
                    Ok(_) => {}
                    Err(error) if is_damage(&error) => lost = true,
                    Err(error) => return Err(error),
                }
            }
            let judged = match self.node.standings(&base, commits, |(_, commit)| commit).boxed().await {
                Ok(judged) => judged,
                // Then nobody knows; another collector may be at work.
                Err(error) if is_damage(&error) => return Ok(Carried { carried: folded, lost: true }),
                Err(error) => return Err(error),
            };
            lost |= judged.iter().any(|(_, (standing, _))| *standing == Standing::Lost);
            let (carried, open): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(_, (standing, _))| {
                *standing == Standing::Carried || planted(Planted::UnlistedIsFolded)
            });
            folded.extend(carried.into_iter().map(|((id, _), _)| id));
            for ((id, _), _) in open {
                folded.remove(&id);
            }
        }
        Ok(Carried { carried: folded, lost })
    }

    /// Removes what a list names from these ids; whether that was any.
    async fn take_listed(&mut self, object: &ObjectInfo, ids: &mut BTreeSet<TxnId>) -> Result<bool, Error> {
        let Read::Whole(garbage) = self.read_list(object).await? else { return Ok(false) };
        let before = ids.len();
        garbage.decisions.iter().for_each(|id| {
            ids.remove(id);
        });
        Ok(ids.len() < before)
    }

    /// Those of the decisions that are dead; commits go to `unknown`.
    async fn read_outcomes(
        &mut self,
        ids: &[TxnId],
        unknown: &mut BTreeSet<TxnId>,
    ) -> Result<Vec<TxnId>, Error> {
        let node = self.node;
        let looks = ids.iter().map(|id| {
            let id = *id;
            async move {
                let looked = node.read_register(&node.store, id).await;
                (id, looked.map(|looked| matches!(looked, RegisterState::Committed { .. })))
            }
            .boxed()
        });
        let looks: Vec<_> = looks.collect();
        let looked: Vec<_> =
            futures::stream::iter(looks).buffer_unordered(node.config.parallel_requests).collect().await;
        let mut dead = Vec::new();
        for (id, committed) in looked {
            match committed {
                Ok(true) => {
                    unknown.insert(id);
                }
                Ok(false) => dead.push(id),
                Err(error) if is_damage(&error) => {
                    self.leave_out(format!("an old decision: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(dead)
    }

    async fn delete_outcomes(&mut self, ids: &[TxnId]) -> Result<(), Error> {
        let class = self.report.class(GarbageKind::Outcomes);
        for id in ids {
            if let Some(bytes) = self.decided.remove(id) {
                class.objects += 1;
                class.bytes += bytes;
            }
        }
        let paths: Vec<_> = ids.iter().map(|id| self.node.path(ObjectName::Decision(*id))).collect();
        self.watch(GarbageKind::Outcomes, paths.iter().map(String::as_str));
        self.delete_paths(&paths).await
    }
}

/// Whether the manifest of this number counts and names this file of outcomes.
fn is_named(manifests: &Manifests, number: u64, id: FileId) -> bool {
    manifests.all.get(&number).and_then(|manifest| manifest.outcomes).is_some_and(|file| file.id == id)
}
