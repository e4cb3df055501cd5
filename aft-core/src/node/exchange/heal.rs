//! What the feed should say and does not: late feed objects, damaged ones, and values that a feed object lost.
//!
//! A feed object tells again what decisions say. One that is late does not publish anything, but whoever made it knew that its commits
//! were decided and in time; so they are taken in, and the next sweep publishes them. One that is damaged is replaced by what the
//! decisions say that it can have carried. Nothing in here makes anything a commit that its decision does not, or did not when it was made.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use crate::error::{Error, ErrorKind};
use crate::format::decision::{Decision, Decoded, Verdict};
use crate::format::envelope::checksum;
use crate::format::feed::{Entry, EntryHome, Feed};
use crate::format::name::{FeedName, ObjectName};
use crate::node::exchange::refresh::Damaged;
use crate::node::exchange::register::{Committed, RegisterState};
use crate::node::store::{Store, retry_read};
use crate::node::{Node, format_error};
use crate::planted::{Planted, planted};
use crate::protocol::feed_queue::{OBJECT_BYTES, Publication, Told, objects_of};
use crate::protocol::knowledge::Knowledge;
use crate::protocol::view::{Commit, Home, Place};
use crate::storage::StorageError;
use crate::txn_id::TxnId;

/// So many decisions are read before what was found is published.
const LOOKED_AT_ONCE: usize = 256;

impl Node {
    /// Publishes what late feed objects told and nobody has published since; how many commits.
    pub(crate) async fn publish_told_late(&self) -> Result<u64, Error> {
        let told = self.known.read(Knowledge::told_late);
        let mut published = 0;
        if planted(Planted::FoundStaysHere) {
            self.known.write(|known| told.values().for_each(|ids| known.forget_told_late(ids)));
            return Ok(0);
        }
        for (name, ids) in told {
            let found = self.told_late(name, &ids).await?;
            published += found.len() as u64;
            tracing::info!(feed_object = %name, commits = found.len(), "publishing again what a late feed object told");
            for object in objects_of(&found) {
                self.publish_object(object, &Told::default()).await?;
            }
            self.known.write(|known| known.forget_told_late(&ids));
        }
        Ok(published)
    }

    /// These commits as a late feed object tells them. Where it cannot be read any more, or lost values, as their decisions do.
    async fn told_late(&self, name: FeedName, ids: &BTreeSet<TxnId>) -> Result<Vec<Publication>, Error> {
        let path = name.to_string();
        let feed = match retry_read(&self.rng, || self.store.get(&path)).await {
            Ok(object) => Feed::decode_as(name, &object.bytes).ok().map(|feed| (object.bytes, feed.entries)),
            Err(StorageError::NotFound { .. }) => None,
            Err(error) if error.is_too_large().is_some() => None,
            Err(error) => {
                return Err(Error::storage(format_args!("reading the feed object {path:?}"), error));
            }
        };
        let (bytes, entries) = feed.unwrap_or_default();
        let mut told = Vec::new();
        let mut left = ids.clone();
        let mut damaged = BTreeSet::new();
        for entry in entries {
            let Entry::Commit { decided_by, home, record, .. } = entry else { continue };
            if !ids.contains(&decided_by) {
                continue;
            }
            let is_here = matches!(home, EntryHome::Feed { .. });
            let commit = Arc::new(Commit::new(&record, decided_by, home.of(name)));
            let payload = if is_here { commit.payload_in(&bytes) } else { Vec::new() };
            if is_here && !commit.is_payload(&payload) {
                damaged.insert(decided_by);
                continue;
            }
            left.remove(&decided_by);
            told.push(Publication::new(commit, record.request_key, &payload));
        }
        // A decision is published as a whole.
        told.retain(|it| !damaged.contains(&it.commit.decided_by()));
        left.extend(damaged);
        for id in left {
            match self.read_register(&self.store, id).await? {
                RegisterState::Committed { commits, .. } => told.extend(commits.iter().map(publication)),
                // Folded and collected meanwhile, as the next refresh tells; or lost, as a check does.
                _ => {
                    tracing::warn!(feed_object = path, txn = %id, "a commit that a late feed object told cannot be published again")
                }
            }
        }
        Ok(told)
    }

    /// Replaces damaged feed objects by what the decisions say that they can have carried: every commit of the ages that are not folded
    /// that nothing else carries.
    pub(crate) async fn heal(&self, damaged: Vec<Damaged>) -> Result<(), Error> {
        let needs = |(name, _): &Damaged| self.known.read(|known| known.needs_healing(*name));
        let damaged: Vec<_> = damaged.into_iter().filter(needs).collect();
        if damaged.is_empty() {
            return Ok(());
        }
        for (_, error) in &damaged {
            let error = error as &dyn std::error::Error;
            tracing::error!(
                error,
                "a feed object cannot be used; what it told is looked for among the decisions"
            );
        }
        let found =
            if planted(Planted::DamageIsEmpty) { 0 } else { self.publish_unpublished(&damaged).await? };
        let names: Vec<_> = damaged.iter().map(|(name, _)| *name).collect();
        if self.read_only {
            self.known.write(|known| known.note_damaged(names.clone()));
        } else {
            // Last: it is true only once everything found is out.
            let told = Told { instead_of: names.clone(), ..Told::default() };
            self.publish_object(&[], &told).await?;
        }
        tracing::error!(commits = found, objects = names.len(), "damaged feed objects were replaced");
        self.known.write(|known| known.note_replaced(names));
        Ok(())
    }

    /// Learns, and publishes where that is allowed, every commit that a damaged feed object can have carried; how many.
    async fn publish_unpublished(&self, damaged: &[Damaged]) -> Result<u64, Error> {
        let settled_ms = self.known.base().settled_ms();
        let listed = self.list_decisions(settled_ms).await?;
        let candidates = self.known.read(|known| known.untold(listed));
        let (mut waiting, mut bytes, mut found) = (Vec::new(), 0, 0);
        for some in candidates.chunks(LOOKED_AT_ONCE) {
            for (id, looked) in self.look_at(some).await {
                match looked {
                    Ok(RegisterState::Committed { commits, .. }) => {
                        self.learn(commits.iter().map(|it| Arc::clone(&it.commit)));
                        waiting.extend(commits.iter().map(publication).filter(|_| !self.read_only));
                        found += commits.len() as u64;
                    }
                    Ok(RegisterState::Dead { .. }) => {
                        self.known.write(|known| known.note_dead(id));
                    }
                    Ok(RegisterState::Empty | RegisterState::Forgotten) => {}
                    Err(error) => self.pass_over(damaged, id, error)?,
                }
            }
            bytes += waiting.iter().map(Publication::bytes).sum::<u64>();
            if bytes > OBJECT_BYTES {
                self.publish_all(&waiting).await?;
                (waiting, bytes) = (Vec::new(), 0);
            }
        }
        self.publish_all(&waiting).await?;
        Ok(found)
    }

    /// An unreadable decision may be of a damaged feed object: then nobody can know what was committed.
    fn pass_over(&self, damaged: &[Damaged], id: TxnId, error: Error) -> Result<(), Error> {
        if error.kind() != ErrorKind::Corrupt {
            return Err(error);
        }
        if self.known.read(Knowledge::passes_over) || planted(Planted::DirectIsReplaced) && id.is_direct() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a decision cannot be read; it is passed over"
            );
            return Ok(());
        }
        let names: Vec<_> =
            damaged.iter().map(|(name, _)| format!("{name:?}", name = name.to_string())).collect();
        let (names, path) = (names.join(", "), self.path(ObjectName::Decision(id)));
        let message = format!(
            "the feed object {names} is damaged, and the decision {path:?}, which it may have told of, cannot be read either: transactions cannot begin, since the commit of {id} may be missing; run `aft sweep --all`, which goes on without it and reports what is lost"
        );
        Err(Error::new(ErrorKind::Corrupt, message).with_source(error).with_object(&path).with_txn(id))
    }

    /// Reads decisions side by side.
    pub(crate) async fn look_at(&self, ids: &[TxnId]) -> Vec<(TxnId, Result<RegisterState, Error>)> {
        let looks: Vec<_> = ids
            .iter()
            .map(|id| async { (*id, self.read_register(&self.store, *id).await) }.boxed())
            .collect();
        futures::stream::iter(looks).buffer_unordered(self.config.parallel_requests).collect().await
    }

    pub(crate) async fn publish_all(&self, commits: &[Publication]) -> Result<(), Error> {
        for object in objects_of(commits) {
            self.publish_object(object, &Told::default()).await?;
        }
        Ok(())
    }

    /// An inline value that the feed object which carries its commit has lost: the decision has it too. `None` where it does not.
    pub(crate) async fn value_in_decision(
        &self,
        store: &Store,
        lost: &Commit,
        ordinal: usize,
    ) -> Result<Option<Bytes>, Error> {
        let Place::Inline { object: ObjectName::Feed(name), len, checksum: expected, .. } =
            lost.place(ordinal)
        else {
            return Ok(None);
        };
        if planted(Planted::OneCopyOfValue) {
            return Ok(None);
        }
        let id = lost.decided_by();
        let path = self.path(ObjectName::Decision(id));
        let object = match retry_read(&self.rng, || store.get(&path)).await {
            Ok(object) => object.bytes,
            Err(StorageError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(Error::storage(format_args!("reading {path:?}"), error)),
        };
        let Decoded { decision, inline_offsets } =
            Decision::decode(&object).map_err(|cause| format_error(&path, cause))?;
        let Verdict::Commit(records) = decision.verdict else { return Ok(None) };
        let told = records.iter().zip(inline_offsets).find(|(record, _)| record.version() == lost.version);
        let Some((record, inline_offset)) = told else { return Ok(None) };
        let commit = Commit::new(record, id, Home::Decision { inline_offset });
        let Some(ordinal) = commit.writes.position(lost.writes.key(ordinal)) else { return Ok(None) };
        let Place::Inline { start, .. } = commit.place(ordinal) else { return Ok(None) };
        let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(object.len());
        let value = Bytes::copy_from_slice(&object[clamp(start)..clamp(start.saturating_add(len))]);
        if value.len() as u64 != len || checksum(&value) != expected {
            return Ok(None);
        }
        tracing::error!(feed_object = %name, txn = %id, "a value is missing or damaged in a feed object; its decision has it");
        Ok(Some(value))
    }
}

/// A commit as its decision tells it, to be published.
pub(crate) fn publication(it: &Committed) -> Publication {
    Publication::new(Arc::clone(&it.commit), it.request_key.clone(), &it.payload)
}
