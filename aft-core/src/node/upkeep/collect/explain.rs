//! Why one object stays, or may go: a dry collection that is watched at this object.
//!
//! Whether it goes, and as what, is what the collection itself does. For what stays the same rules are asked when they would let it go.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Collection, GarbageKind, Manifests, Read};
use crate::error::{Error, ErrorKind};
use crate::format::manifest::Manifest;
use crate::format::name::{CLONE, FileId, GuardName, OUTCOMES, ObjectName, RequestHash, ValueName};
use crate::node::Node;
use crate::node::exchange::register::RegisterState;
use crate::node::store::retry_read;
use crate::protocol::base::Base;
use crate::protocol::collect::{garbage_may_go, manifest_may_go};
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::{Commit, View};
use crate::storage::ObjectInfo;
use crate::txn_id::TxnId;
use crate::version::Version;

/// As far ahead is looked for when an object may go: ten years, in seconds.
const AHEAD_S: u64 = 10 * 366 * 86_400;

/// Why an object of the store stays, or may go; from [`Aft::explain_garbage`](crate::Aft::explain_garbage).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GarbageExplanation {
    /// Its path in the store.
    pub path: String,
    /// What it is, in words.
    pub object: String,
    /// The transaction that it belongs to, where it belongs to one.
    pub txn_id: Option<TxnId>,
    /// The key whose value it holds, where that is known.
    pub key: Option<Bytes>,
    /// How long it is, in bytes; `None` where it is not there.
    pub bytes: Option<u64>,
    /// Its date, by the store's clock; `None` where it is not there.
    pub dated: Option<SystemTime>,
    /// The class by which a collection would delete it now; `None` where it would not.
    pub garbage: Option<GarbageKind>,
    /// Why.
    pub why: String,
    /// When it may go at the earliest, about, by the store's clock, where it stays and that is known: where it depends on checkpoints, if they are made
    /// and nothing new needs it.
    pub until: Option<SystemTime>,
    /// The store's time that everything was judged by.
    pub now: Option<SystemTime>,
    /// The checkpoint that is older than any running transaction, by which most is judged.
    pub settled_checkpoint: Option<u64>,
    /// What the collection left out, and why.
    pub left_out: Vec<String>,
}

/// The object that a collection is watched at.
#[derive(Debug)]
pub(super) struct Watched {
    path: String,
    fate: Option<Fate>,
}

/// What the collection did with it.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Goes(GarbageKind),
    /// A rule let it go, and it is needed.
    Refused(GarbageKind),
}

/// Why an object stays, until when about, and whose value it is.
struct Stay {
    why: String,
    until: Option<StoreTime>,
    key: Option<Bytes>,
}

impl Stay {
    fn new(why: impl Into<String>, until: Option<StoreTime>) -> Self {
        Self { why: why.into(), until, key: None }
    }
}

impl Node {
    /// What a collection would do with an object now, and why.
    pub(crate) async fn explain_garbage(
        self: &std::sync::Arc<Self>,
        path: String,
    ) -> Result<GarbageExplanation, Error> {
        let mut collection = self.collection(true).await?;
        let name = ObjectName::parse(&path, self.shards);
        let listed =
            retry_read(&self.rng, || self.store.list_where(&path, None, |object| object.path == path)).await;
        let listed = listed.map_err(|error| Error::storage(format_args!("listing {path:?}"), error))?;
        let Some(object) = listed.into_iter().next() else {
            return Ok(collection.explained(
                path,
                name,
                None,
                None,
                Stay::new("there is no such object", None),
            ));
        };
        let Some(name) = name else {
            let note = path == CLONE;
            let why = if note {
                "it says that this store is a clone, and of which"
            } else {
                "it is none of aft's: collections leave it alone"
            };
            return Ok(collection.explained(path, None, Some(&object), None, Stay::new(why, None)));
        };
        collection.watched = Some(Watched { path: path.clone(), fate: None });
        let manifests = collection.run().await?;
        let fate = collection.watched.take().and_then(|watched| watched.fate);
        let stay = match fate {
            Some(Fate::Goes(kind)) => Stay::new(kind.why(), None),
            Some(Fate::Refused(kind)) => Stay::new(
                format!(
                    "by dates and lists it would go with the {}, but something still needs it: `aft check` says what is wrong",
                    kind.name()
                ),
                None,
            ),
            None => collection.stays(name, &object, &manifests).await?,
        };
        let goes = if let Some(Fate::Goes(kind)) = fate { Some(kind) } else { None };
        Ok(collection.explained(path, Some(name), Some(&object), goes, stay))
    }
}

impl Collection<'_> {
    /// Notes what would be deleted.
    pub(in crate::node) fn watch<'p>(&mut self, kind: GarbageKind, paths: impl IntoIterator<Item = &'p str>) {
        if let Some(watched) = &mut self.watched
            && paths.into_iter().any(|path| path == watched.path)
        {
            watched.fate = Some(Fate::Goes(kind));
        }
    }

    /// Notes what a rule let go, and stays.
    pub(super) fn watch_refused(&mut self, kind: GarbageKind, path: &str) {
        if let Some(watched) = self.watched.as_mut().filter(|watched| watched.path == path) {
            watched.fate = Some(Fate::Refused(kind));
        }
    }

    fn explained(
        self,
        path: String,
        name: Option<ObjectName>,
        object: Option<&ObjectInfo>,
        garbage: Option<GarbageKind>,
        stay: Stay,
    ) -> GarbageExplanation {
        let moment = |time: StoreTime| UNIX_EPOCH + Duration::from_secs(time.0);
        let Stay { why, until, key } = stay;
        GarbageExplanation {
            path,
            object: what(name),
            txn_id: name.and_then(transaction),
            key,
            bytes: object.map(|object| object.size),
            dated: object.map(|object| object.last_modified),
            garbage,
            why,
            until: until.map(moment),
            now: self.report.now,
            settled_checkpoint: self.report.settled_checkpoint,
            left_out: self.report.left_out,
        }
    }

    /// Why an object stays that this collection did not take.
    async fn stays(
        &mut self,
        name: ObjectName,
        object: &ObjectInfo,
        manifests: &Manifests,
    ) -> Result<Stay, Error> {
        let (dated, limits) = (StoreTime::of(object.last_modified), self.node.limits);
        match name {
            ObjectName::Marker | ObjectName::Adoption => {
                return Ok(Stay::new("it is what makes this place a store", None));
            }
            ObjectName::Epoch(..) => {
                let until = self.first(|now| limits.epoch_may_go(dated, now));
                return Ok(Stay::new("the epoch may not be over for every node", until));
            }
            ObjectName::Request(hash, _) => return self.claim_stays(hash).await,
            _ if manifests.unreadable => {
                return Ok(Stay::new(
                    "a checkpoint cannot be read, and may need anything: `aft check` names it",
                    None,
                ));
            }
            _ => {}
        }
        Ok(match name {
            ObjectName::Checkpoint(number) | ObjectName::Seal(number) => {
                self.manifest_stays(number, manifests)
            }
            ObjectName::Run(_)
            | ObjectName::Recent(_)
            | ObjectName::Garbage(_)
            | ObjectName::Outcomes(..) => self.file_stays(name, object, manifests),
            ObjectName::Feed(feed) => self.feed_stays(limits.feed_published(feed.time_ms, dated), manifests),
            ObjectName::Bundle(_) => self.feed_stays(dated, manifests),
            ObjectName::Decision(id) => self.decision_stays(id, manifests).await?,
            ObjectName::Value(txn, value) => self.value_stays(txn, value, manifests).await?,
            ObjectName::Guard(guard) => self.guard_stays(guard, manifests),
            ObjectName::Marker | ObjectName::Adoption | ObjectName::Epoch(..) | ObjectName::Request(..) => {
                Stay::new("it is in use", None)
            }
        })
    }

    fn first(&self, rule: impl Fn(StoreTime) -> bool) -> Option<StoreTime> {
        first_since(self.now, rule)
    }

    /// When a checkpoint will have settled that is there, of this number or a newer one.
    fn settles_at(&self, manifests: &Manifests, least: impl Fn(&Manifest) -> bool) -> Option<StoreTime> {
        let dates =
            manifests.listed.iter().filter(|(number, _)| manifests.all.get(number).is_some_and(&least));
        let limits = self.node.limits;
        dates
            .filter_map(|(_, object)| {
                self.first(|now| limits.settles(StoreTime::of(object.last_modified), now))
            })
            .min()
    }

    /// When a checkpoint will have settled that has in its index what was published then, if one is made as soon as it can be.
    fn folded_at(&self, published: StoreTime, manifests: &Manifests) -> Option<StoreTime> {
        let limits = self.node.limits;
        self.settles_at(manifests, |it| limits.feed_may_go(published, StoreTime(it.horizon))).or_else(|| {
            let made = self.first(|now| limits.feed_may_go(published, limits.horizon(now)))?;
            self.first(|now| limits.settles(made, now))
        })
    }

    fn manifest_stays(&self, number: u64, manifests: &Manifests) -> Stay {
        match self.settles_at(manifests, |it| manifest_may_go(number, it.number)) {
            Some(until) => Stay::new(
                "a newer checkpoint is there, and is not older yet than any transaction that may be running",
                Some(until),
            ),
            None => Stay::new("there is no newer checkpoint: nodes begin from this one", None),
        }
    }

    fn file_stays(&self, name: ObjectName, object: &ObjectInfo, manifests: &Manifests) -> Stay {
        let limits = self.node.limits;
        let all = manifests.all.values().chain(manifests.aside.values());
        let named: Vec<_> =
            all.filter(|it| it.objects().any(|named| named == name)).map(|it| it.number).collect();
        if let ObjectName::Outcomes(number, id) = name {
            let why = format!(
                "it lists decisions that checkpoint {number} folded, and that stay for outcome_retention since a request key leads to them"
            );
            return Stay::new(why, self.retention_over(id.0));
        }
        let Some(newest) = named.iter().max() else {
            let dated = StoreTime::of(object.last_modified);
            let until = self.first(|now| limits.unreferenced_file_may_go(dated, now));
            return if until == Some(self.now) {
                Stay::new(
                    "no checkpoint names it, and one that is newer than all that were listed may: it goes once a newer one was begun",
                    None,
                )
            } else {
                Stay::new("no checkpoint names it, and one that is being made may come to", until)
            };
        };
        if let ObjectName::Garbage(_) = name {
            let why = format!(
                "it lists what checkpoint {newest} found to be garbage, and goes when that is gone: once the checkpoint is older than any transaction that may be running"
            );
            return Stay::new(why, self.settles_at(manifests, |it| garbage_may_go(*newest, it.number)));
        }
        let until = self.settles_at(manifests, |it| manifest_may_go(*newest, it.number));
        Stay::new(format!("checkpoint {newest} needs it"), until)
    }

    fn feed_stays(&self, published: StoreTime, manifests: &Manifests) -> Stay {
        let until = self.folded_at(published, manifests);
        match (manifests.settled, manifests.settled_horizon()) {
            (Some(number), Some(horizon)) if self.node.limits.feed_may_go(published, horizon) => Stay::new(
                format!(
                    "checkpoint {number} has it in its index, but could not be read as a whole: `aft check` names what is damaged"
                ),
                None,
            ),
            (Some(number), Some(_)) => Stay::new(
                format!(
                    "checkpoint {number}, the newest that is older than any transaction that may be running, does not have all of it in its index"
                ),
                until,
            ),
            _ => Stay::new("no checkpoint is older yet than any transaction that may be running", until),
        }
    }

    async fn claim_stays(&self, hash: RequestHash) -> Result<Stay, Error> {
        let claims = self.list(&hash.folder(self.node.shards), |_| true).await?;
        let newest = claims.iter().map(|claim| StoreTime::of(claim.last_modified)).max().unwrap_or(self.now);
        let (limits, retention) = (self.node.limits, self.node.marker.settings.outcome_retention_ms);
        let until = self.first(|now| limits.claims_may_go(newest, now, retention));
        Ok(if until == Some(self.now) {
            Stay::new(
                "the transaction of the newest claim of this request key has not committed, or another collection sees to claims now",
                None,
            )
        } else {
            Stay::new("a request is remembered for outcome_retention after its newest claim", until)
        })
    }

    fn guard_stays(&self, guard: GuardName, manifests: &Manifests) -> Stay {
        if guard.over == Version::ABSENT {
            return Stay::new("it is over the absence of its key, which may be absent again", None);
        }
        let settled = manifests.settled.and_then(|number| manifests.all.get(&number));
        match settled.map(|manifest| Base::new(manifest.clone())) {
            None => Stay::new("no checkpoint is older yet than any transaction that may be running", None),
            Some(base) if base.has_folded(guard.over, None, false) => {
                Stay::new("the version that it is over is not known to be superseded", None)
            }
            Some(_) => Stay::new(
                "the version that it is over is not in the index of a checkpoint that is older than any transaction that may be running",
                None,
            ),
        }
    }

    async fn decision_stays(&mut self, id: TxnId, manifests: &Manifests) -> Result<Stay, Error> {
        let recent = self.node.known.read(|known| {
            let commits: Vec<_> = known.view().decided_by(id).collect();
            let published = commits.iter().map(|(_, published)| *published).max();
            published.map(|published| (published, commits.iter().any(|(commit, _)| commit.keyed)))
        });
        if let Some((published, keyed)) = recent {
            let until = published.and_then(|published| self.folded_at(published, manifests));
            return Ok(match published {
                None => Stay::new("its commit is not published yet; a sweep will see to that", None),
                Some(_) if keyed => Stay::new(
                    "its commit is not folded into the index yet, and then it stays for outcome_retention, since a request key leads to it",
                    until.max(self.retention_over(id)),
                ),
                Some(_) => Stay::new("its commit is not folded into the index yet", until),
            });
        }
        if let Some(number) = self.pending_list(manifests, |garbage| garbage.decisions.contains(&id)).await? {
            let until = self.settles_at(manifests, |it| garbage_may_go(number, it.number));
            return Ok(Stay::new(list_waits(number, "folded its commit"), until));
        }
        for object in self.list(OUTCOMES, |_| true).await? {
            if let Read::Whole(list) = self.read_list(&object).await?
                && list.decisions.contains(&id)
            {
                let why = "its commit is in the index, and it stays for outcome_retention, since a request key leads to it";
                return Ok(Stay::new(why, self.retention_over(id)));
            }
        }
        Ok(match self.node.read_register(&self.node.store, id).await? {
            RegisterState::Dead { .. } => Stay::new(
                "it says that the transaction never commits, and that is remembered for outcome_retention and until a checkpoint has settled since it began",
                self.retention_over(id),
            ),
            RegisterState::Committed { .. } => Stay::new(
                "no checkpoint says that it folded its commit: where it is not on its way to one, `aft sweep --all` publishes it again",
                None,
            ),
            RegisterState::Empty | RegisterState::Forgotten => Stay::new("it went meanwhile", None),
        })
    }

    async fn value_stays(
        &mut self,
        txn: TxnId,
        value: ValueName,
        manifests: &Manifests,
    ) -> Result<Stay, Error> {
        if let Some((key, superseded, published)) =
            self.node.known.read(|known| named_in(known.view(), txn, value))
        {
            let (why, until) = if superseded {
                let until = published.and_then(|published| self.folded_at(published, manifests));
                (
                    "a newer version of the key is committed, but is not in the index yet: transactions may be running that do not know it",
                    until,
                )
            } else {
                ("it is the newest version of the key", None)
            };
            return Ok(Stay { key: Some(key), ..Stay::new(why, until) });
        }
        if let Some(number) =
            self.pending_list(manifests, |garbage| garbage.values.contains(&(txn, value))).await?
        {
            let until = self.settles_at(manifests, |it| garbage_may_go(number, it.number));
            return Ok(Stay::new(list_waits(number, "found it superseded"), until));
        }
        if let Some(file) = self.row_in(txn, value, manifests).await? {
            let file = self.node.path(ObjectName::Run(file));
            return Ok(Stay::new(
                format!("a row of the index names it, in {file}: it is the newest folded version of its key"),
                None,
            ));
        }
        let (limits, start_ms) = (self.node.limits, txn.start_ms());
        Ok(if self.decided.contains_key(&txn) {
            Stay::new(
                "no row of the index names it, and the decision of its transaction is still there",
                None,
            )
        } else {
            let until = self.first(|now| limits.orphan_value_may_go(start_ms, now));
            Stay::new(
                "nothing names it, and its transaction may still commit",
                until.filter(|until| *until != self.now),
            )
        })
    }

    /// The file of the index that has a row which names this value, as its filters say.
    async fn row_in(
        &self,
        txn: TxnId,
        value: ValueName,
        manifests: &Manifests,
    ) -> Result<Option<FileId>, Error> {
        for file in manifests.all.values().rev().flat_map(Manifest::files) {
            match self.node.tail(&self.node.store, file).await {
                Ok(tail) if tail.may_name(txn, value) => return Ok(Some(file.id)),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::VersionUnavailable) => {
                    self.left_unread(&error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn left_unread(&self, error: &Error) {
        tracing::warn!(error = error as &dyn std::error::Error, "a file of the index was not looked at");
    }

    /// The checkpoint whose list of garbage, which stays as yet, names what is sought.
    async fn pending_list(
        &mut self,
        manifests: &Manifests,
        sought: impl Fn(&crate::format::garbage::Garbage) -> bool,
    ) -> Result<Option<u64>, Error> {
        for object in self.pending.clone() {
            let Some(ObjectName::Garbage(id)) = ObjectName::parse(&object.path, self.node.shards) else {
                continue;
            };
            let mut named = manifests.all.values().filter(|it| it.garbage.is_some_and(|list| list.id == id));
            if let Read::Whole(list) = self.read_list(&object).await?
                && sought(&list)
            {
                return Ok(named.next().map(|it| it.number));
            }
        }
        Ok(None)
    }

    /// When the outcome of a transaction need not be remembered any longer.
    fn retention_over(&self, id: TxnId) -> Option<StoreTime> {
        let (limits, retention) = (self.node.limits, self.node.marker.settings.outcome_retention_ms);
        self.first(|now| limits.outcome_may_go(id.start_ms(), now, retention, u64::MAX))
    }
}

/// The first second from `now` on in which a rule says yes, which goes on to say yes then; `None` where it says no for years.
fn first_since(now: StoreTime, rule: impl Fn(StoreTime) -> bool) -> Option<StoreTime> {
    if rule(now) {
        return Some(now);
    }
    let (mut no, mut yes) = (now.0, now.0.saturating_add(AHEAD_S));
    if !rule(StoreTime(yes)) {
        return None;
    }
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if rule(StoreTime(middle)) { yes = middle } else { no = middle }
    }
    Some(StoreTime(yes))
}

fn list_waits(number: u64, what: &str) -> String {
    format!("checkpoint {number} {what}, and is not older yet than any transaction that may be running")
}

/// The key that a commit of the view gave this value; whether a newer version of it is known, and when that was published.
fn named_in(view: &View, txn: TxnId, value: ValueName) -> Option<(Bytes, bool, Option<StoreTime>)> {
    let commit = view.newest_first().find(|commit| commit.version.txn == txn)?;
    let names = |commit: &Commit, ordinal: usize| match commit.place(ordinal) {
        crate::protocol::view::Place::Stored(stored) => {
            stored.parts.iter().any(|part| part.object() == value)
        }
        _ => false,
    };
    let ordinal = (0..commit.writes.len()).find(|ordinal| names(commit, *ordinal))?;
    let key = commit.writes.key_bytes(ordinal);
    let newer = view.versions(&key).iter().find(|found| found.version() > commit.version);
    let published = newer.and_then(|newer| view.publication(newer.version())).map(|published| published.at);
    Some((Bytes::copy_from_slice(&key), newer.is_some(), published))
}

/// The transaction that an object belongs to.
fn transaction(name: ObjectName) -> Option<TxnId> {
    match name {
        ObjectName::Decision(id) | ObjectName::Value(id, _) => Some(id),
        _ => None,
    }
}

/// What an object of this name is.
fn what(name: Option<ObjectName>) -> String {
    let Some(name) = name else { return "no object of aft's, by its name".to_owned() };
    match name {
        ObjectName::Marker => "the marker of the store".to_owned(),
        ObjectName::Adoption => "the marker of a store that is being adopted".to_owned(),
        ObjectName::Decision(id) if id.is_direct() => format!("the decision {id}, in the feed"),
        ObjectName::Decision(id) => format!("the decision {id}"),
        ObjectName::Value(txn, _) => format!("a value of transaction {txn}"),
        ObjectName::Request(_, number) => format!("claim {number} of a request key"),
        ObjectName::Guard(guard) => format!("a guard over {:?}", guard.over),
        ObjectName::Feed(feed) => format!("a feed object of node {:016x}", feed.node),
        ObjectName::Bundle(bundle) => format!("a bundle of feed objects that node {:016x} made", bundle.node),
        ObjectName::Epoch(..) => "an object by which nodes share out background work".to_owned(),
        ObjectName::Checkpoint(number) => format!("the manifest of checkpoint {number}"),
        ObjectName::Seal(number) => format!("the seal of checkpoint {number}"),
        ObjectName::Run(_) => "a file of the index".to_owned(),
        ObjectName::Recent(_) => "the recent commits of a checkpoint".to_owned(),
        ObjectName::Garbage(_) => "a list of garbage".to_owned(),
        ObjectName::Outcomes(number, _) => {
            format!("the outcomes of requests that checkpoint {number} folded")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_second_in_which_a_rule_says_yes_is_found() {
        let first = |now, yes| first_since(StoreTime(now), |at| at.0 >= yes).map(|at| at.0);
        for yes in [1_000, 1_001, 1_002, 1_999, 86_400 * 365] {
            assert_eq!(first(1_000, yes), Some(yes));
        }
        assert_eq!(first(1_000, 7), Some(1_000), "it said yes before");
        assert_eq!(first(1_000, 1_000 + AHEAD_S), Some(1_000 + AHEAD_S));
        assert_eq!(first(1_000, 1_001 + AHEAD_S), None);
        assert_eq!(first_since(StoreTime(u64::MAX), |_| false), None);
    }
}
