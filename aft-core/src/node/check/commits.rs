//! What is not in the index yet: the feed, the decisions, the commits that they tell of; and the claims of request keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use parking_lot::Mutex;

use super::index::Manifests;
use super::suspects::{Suspect, SuspectKind};
use super::told::Claims;
use super::{Check, shown};
use crate::error::{Error, ErrorKind};
use crate::format::envelope::{FormatError, checksum};
use crate::format::feed::{Entry, EntryHome, Feed};
use crate::format::guard::GuardClaim;
use crate::format::name::{FEED, FeedName, GUARDS, ObjectName};
use crate::format::recent::{Home, Recent};
use crate::format::request::{Claim, request_hash};
use crate::node::exchange::register::RegisterState;
use crate::protocol::base::Base;
use crate::protocol::knowledge::draft::recent_commit;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;
use crate::protocol::write_set::ValueRef;
use crate::storage::{Object, ObjectInfo};
use crate::txn_id::TxnId;

/// What the feed, the recent file and the decisions tell.
#[derive(Debug, Default)]
pub(super) struct Commits {
    /// The commits that were published, by transaction.
    told: BTreeMap<TxnId, Arc<Commit>>,
    /// When decisions were first published.
    published: BTreeMap<TxnId, StoreTime>,
    /// Feed objects that were read, damaged ones too.
    feed: BTreeSet<FeedName>,
    /// Whether any of them is damaged, and nothing stands in for it: whoever refreshes next finds what it told.
    pub(super) feed_is_damaged: bool,
    damaged_feed: BTreeMap<FeedName, FormatError>,
    stood_in: BTreeSet<FeedName>,
    /// Decisions that late feed objects tell of: whoever refreshes next takes them in.
    pub(super) told_late: BTreeSet<TxnId>,
    /// Up to where sweeps claim to have swept.
    pub(super) swept_through: Option<StoreTime>,
    /// The decisions among the objects of the feed.
    direct: Vec<(TxnId, ObjectInfo)>,
    /// What each decision says.
    decided: BTreeMap<TxnId, Register>,
    /// Whether the newest checkpoint's own commits are not known.
    pub(super) recent_is_damaged: bool,
}

/// What a decision says.
#[derive(Debug)]
enum Register {
    Commits(Vec<Arc<Commit>>),
    Dead,
    /// Named as a problem already.
    Damaged,
}

impl Commits {
    /// The commits that decisions tell and nobody is known to have published.
    pub(super) fn unpublished(&self) -> Vec<Arc<Commit>> {
        let open = self.decided.iter().filter(|(id, _)| !self.published.contains_key(id));
        let commits = open.filter_map(|(_, register)| match register {
            Register::Commits(commits) => Some(commits),
            Register::Dead | Register::Damaged => None,
        });
        commits.flatten().cloned().collect()
    }

    /// Whether it is a commit, or so damaged that it was named already.
    pub(super) fn is_commit(&self, id: TxnId) -> bool {
        matches!(self.decided.get(&id), Some(Register::Commits(_) | Register::Damaged))
    }

    pub(super) fn is_decided(&self, id: TxnId) -> bool {
        self.decided.contains_key(&id)
    }

    /// When a decision was published, as far as is known.
    pub(super) fn published(&self, decided_by: TxnId) -> Option<StoreTime> {
        self.published.get(&decided_by).copied()
    }

    fn note_published(&mut self, decided_by: TxnId, at: StoreTime) {
        let first = self.published.entry(decided_by).or_insert(at);
        *first = (*first).min(at);
    }

    /// Takes in what a recent file tells.
    pub(super) fn tell_recent(&mut self, recent: &Recent) {
        for told in &recent.commits {
            let (commit, publication) = recent_commit(told);
            self.note_published(commit.decided_by(), publication.at);
            self.told.entry(commit.version.txn).or_insert(commit);
        }
        for pruned in &recent.pruned {
            self.note_published(pruned.decided_by, StoreTime(pruned.published));
        }
        // A later copy of a folded commit, by somebody who was slow to publish, is not its publication.
        for (decided_by, dated) in &recent.published {
            self.note_published(*decided_by, StoreTime(*dated));
        }
    }

    fn is_folded(&self, commit: &Commit, base: &Base) -> bool {
        base.has_folded(commit.version, self.published(commit.decided_by()), commit.restored)
    }
}

impl Check<'_> {
    /// Reads every feed object that counts.
    pub(super) async fn feed(&self) -> Result<Commits, Error> {
        let commits = Mutex::new(Commits::default());
        let listed = self.list(FEED).await?;
        let mut direct = Vec::new();
        let named = listed.into_iter().filter_map(|(name, object)| match name {
            ObjectName::Feed(name) => Some((name, StoreTime::of(object.last_modified), object)),
            ObjectName::Decision(id) => {
                direct.push((id, object));
                None
            }
            _ => None,
        });
        let (objects, late): (Vec<_>, Vec<_>) =
            named.partition(|(name, dated, _)| self.node.limits.feed_in_time(name.time_ms, *dated));
        if !late.is_empty() {
            self.leave_out(format_args!("{} feed objects, which landed too late to count", late.len()));
            self.late_feed(late, &commits).await?;
        }
        let (commits_of, work) = (&commits, objects);
        self.each(work, |(name, dated, object): (FeedName, StoreTime, ObjectInfo)| {
            async move {
                match self.get(&object.path, object.size).await? {
                    Some(read) => self.feed_object(name, dated, &object.path, &read.bytes, commits_of),
                    None => {
                        let what = "a feed object that is not in the index yet".to_owned();
                        self.suspect(Suspect {
                            path: object.path,
                            what,
                            needed: SuspectKind::Feed {
                                published: self.node.limits.feed_published(name.time_ms, dated),
                            },
                        });
                    }
                }
                Ok(())
            }
            .boxed()
        })
        .await?;
        let mut commits = commits.into_inner();
        commits.direct = direct;
        for (name, cause) in std::mem::take(&mut commits.damaged_feed) {
            if commits.stood_in.contains(&name) {
                self.leave_out(format_args!(
                    "the damaged feed object {name}, in whose place another one stands"
                ));
            } else {
                self.unreadable(&name.to_string(), "a feed object", &cause);
                commits.feed_is_damaged = true;
            }
        }
        Ok(commits)
    }

    /// Reads the feed objects that do not count: what they tell of is committed.
    async fn late_feed(
        &self,
        late: Vec<(FeedName, StoreTime, ObjectInfo)>,
        commits: &Mutex<Commits>,
    ) -> Result<(), Error> {
        self.each(late, |(name, _, object): (FeedName, StoreTime, ObjectInfo)| {
            async move {
                let Some(read) = self.get(&object.path, object.size).await? else { return Ok(()) };
                let Ok(feed) = Feed::decode_as(name, &read.bytes) else { return Ok(()) };
                let told = feed.entries.iter().map(|entry| match entry {
                    Entry::Commit { decided_by, .. } | Entry::Pruned { decided_by, .. } => *decided_by,
                });
                commits.lock().told_late.extend(told);
                Ok(())
            }
            .boxed()
        })
        .await
    }

    fn feed_object(
        &self,
        name: FeedName,
        dated: StoreTime,
        path: &str,
        bytes: &Bytes,
        commits: &Mutex<Commits>,
    ) {
        let decoded = Feed::decode_as(name, bytes);
        let mut commits = commits.lock();
        commits.feed.insert(name);
        let feed = match decoded {
            Ok(feed) => feed,
            Err(cause) => {
                commits.damaged_feed.insert(name, cause);
                return;
            }
        };
        commits.swept_through = commits.swept_through.max(feed.swept_through.map(StoreTime));
        commits.stood_in.extend(feed.instead_of);
        let limits = self.node.limits;
        let published = limits.feed_published(name.time_ms, dated);
        let latest = dated.ms().saturating_add(limits.skew_ms + limits.visibility_ms + 1000);
        let mut wrong = None;
        for entry in feed.entries {
            match entry {
                Entry::Pruned { decided_by, txn, values } => {
                    commits.note_published(decided_by, published);
                    values.into_iter().for_each(|value| self.name_value(ObjectName::Value(txn, value)));
                }
                Entry::Commit { decided_by, home, restored, record } => {
                    let home = home.of(name);
                    let mut commit = Commit::new(&record, decided_by, home);
                    commit.restored = restored;
                    let commit = Arc::new(commit);
                    if record.clock.ms() > latest {
                        wrong.get_or_insert_with(|| {
                            format!("it carries a commit from the future, {}", record.txn)
                        });
                    }
                    if matches!(home, Home::Feed { .. })
                        && let Some(broken) = inline_damage(&commit, &commit.payload_in(bytes))
                    {
                        wrong.get_or_insert(broken);
                    }
                    commits.note_published(decided_by, published);
                    commits.told.insert(record.txn, commit);
                }
            }
        }
        match wrong {
            Some(wrong) => self.damaged(path, format_args!("a feed object: {wrong}")),
            None => self.count(|report| &mut report.feed_objects, 1),
        }
    }

    /// Reads every decision.
    pub(super) async fn decisions(&self, commits: &mut Commits, base: &Base) -> Result<(), Error> {
        let decided = Mutex::new(BTreeMap::new());
        let of = &decided;
        for folder in self.node.shards.commit_folders() {
            self.each(self.list(&folder).await?, |(name, object): (ObjectName, ObjectInfo)| {
                async move {
                    let ObjectName::Decision(id) = name else { return Ok(()) };
                    self.decision(id, &object, of).await
                }
                .boxed()
            })
            .await?;
        }
        let direct = std::mem::take(&mut commits.direct);
        let dates: Vec<_> =
            direct.iter().map(|(id, object)| (*id, StoreTime::of(object.last_modified))).collect();
        self.each(direct, |(id, object): (TxnId, ObjectInfo)| {
            async move { self.decision(id, &object, of).await }.boxed()
        })
        .await?;
        commits.decided = decided.into_inner();
        for (id, dated) in dates {
            let published = self.node.limits.feed_published(id.start_ms(), dated);
            // Of an older one others must tell: whoever made that checkpoint may not have known it.
            if published >= base.horizon() && matches!(commits.decided.get(&id), Some(Register::Commits(_))) {
                commits.note_published(id, published);
            }
        }
        Ok(())
    }

    /// Reads one decision, wherever it lies.
    async fn decision(
        &self,
        id: TxnId,
        object: &ObjectInfo,
        decided: &Mutex<BTreeMap<TxnId, Register>>,
    ) -> Result<(), Error> {
        // One that is gone was collected; whether it may have been is seen later.
        let Some(read) = self.get(&object.path, object.size).await? else { return Ok(()) };
        let register = self.register(&object.path, id, read)?;
        decided.lock().insert(id, register);
        Ok(())
    }

    /// What a decision says, its inline values verified.
    fn register(&self, path: &str, id: TxnId, object: Object) -> Result<Register, Error> {
        let decided = match self.node.judge(path, id, object) {
            Ok(RegisterState::Committed { commits, .. }) => commits,
            Ok(RegisterState::Dead { .. } | RegisterState::Forgotten | RegisterState::Empty) => {
                self.count(|report| &mut report.decisions, 1);
                return Ok(Register::Dead);
            }
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => {
                let source = std::error::Error::source(&error);
                match source.and_then(|source| source.downcast_ref::<FormatError>()) {
                    Some(cause) => self.unreadable(path, format_args!("the decision of {id}"), cause),
                    None => self.damaged(path, format_args!("the decision of {id}: {error}")),
                }
                return Ok(Register::Damaged);
            }
            Err(error) => return Err(error),
        };
        for it in &decided {
            let txn = it.commit.version.txn;
            it.commit.value_objects().for_each(|value| self.name_value(ObjectName::Value(txn, value)));
            if let Some(wrong) = inline_damage(&it.commit, &it.payload) {
                self.damaged(path, format_args!("the decision of {id}: {wrong}"));
                return Ok(Register::Damaged);
            }
            self.keyed.lock().extend(it.request_key.as_ref().map(|key| (txn, request_hash(key))));
        }
        self.count(|report| &mut report.decisions, 1);
        Ok(Register::Commits(decided.into_iter().map(|it| it.commit).collect()))
    }

    /// Verifies the commits that are not in the index: each has its decision, in time, and all its values.
    pub(super) async fn unfolded(&self, manifests: &Manifests, commits: &Commits) -> Result<(), Error> {
        let base = &manifests.base;
        let mut unfolded: BTreeMap<TxnId, &Arc<Commit>> = BTreeMap::new();
        for commit in commits.told.values().filter(|commit| !commits.is_folded(commit, base)) {
            self.expect_decision(commit, commits);
            if let Home::Feed { name, .. } = commit.home()
                && !commits.feed.contains(&name)
            {
                let what = format!("the feed object that holds the values of {}", commit.version.txn);
                let needed = SuspectKind::Home { commit: Arc::clone(commit) };
                self.suspect(Suspect { path: name.to_string(), what, needed });
            }
            unfolded.insert(commit.version.txn, commit);
        }
        for register in commits.decided.values() {
            let Register::Commits(decided) = register else { continue };
            let open = decided.iter().filter(|commit| !commits.is_folded(commit, base));
            unfolded.extend(open.map(|commit| (commit.version.txn, commit)));
        }
        self.count(|report| &mut report.commits, unfolded.len() as u64);
        let unfolded: Vec<_> = unfolded.into_values().cloned().collect();
        for commit in &unfolded {
            let txn = commit.version.txn;
            commit.value_objects().for_each(|value| self.name_value(ObjectName::Value(txn, value)));
        }
        self.each(unfolded, |commit: Arc<Commit>| async move { self.values_of(&commit).await }.boxed()).await
    }

    /// A published commit has a decision that says so.
    fn expect_decision(&self, commit: &Arc<Commit>, commits: &Commits) {
        let path = self.path(ObjectName::Decision(commit.decided_by()));
        match commits.decided.get(&commit.decided_by()) {
            Some(Register::Commits(decided)) if decided.iter().any(|it| it.version == commit.version) => {}
            Some(Register::Commits(_) | Register::Dead) => self.damaged(&path, disagreement(commit)),
            Some(Register::Damaged) => {}
            None => {
                let what = format!("the decision of {}, which was published", commit.version.txn);
                let needed = SuspectKind::Decision { commit: Arc::clone(commit) };
                self.suspect(Suspect { path, what, needed });
            }
        }
    }

    /// A second look at the decision of a published commit; whether one is there.
    pub(super) async fn look_again(&self, path: &str, commit: &Commit) -> Result<bool, Error> {
        let Some(object) = self.get(path, 0).await? else { return Ok(false) };
        match self.register(path, commit.decided_by(), object)? {
            Register::Commits(decided) if decided.iter().any(|it| it.version == commit.version) => {}
            Register::Commits(_) | Register::Dead => self.damaged(path, disagreement(commit)),
            Register::Damaged => {}
        }
        Ok(true)
    }

    /// Reads every claim of a request key.
    pub(super) async fn claims(&self) -> Result<(), Error> {
        let found = Mutex::new(Claims::default());
        let of = &found;
        for folder in self.node.shards.request_folders() {
            self.each(self.list(&folder).await?, |(name, object): (ObjectName, ObjectInfo)| {
                async move {
                    let ObjectName::Request(hash, number) = name else { return Ok(()) };
                    let path = &object.path;
                    // One that is gone was collected.
                    let Some(read) = self.get(path, object.size).await? else { return Ok(()) };
                    let decoded = Claim::decode(&read.bytes);
                    let holder = decoded.as_ref().ok().filter(|claim| request_hash(&claim.key) == hash);
                    of.lock().add(hash, number, holder.map(|claim| claim.txn));
                    match decoded {
                        Ok(claim) if request_hash(&claim.key) == hash => {
                            self.count(|report| &mut report.claims, 1);
                        }
                        Ok(claim) => {
                            let key = shown(&claim.key);
                            self.damaged(
                                path,
                                format_args!("a claim: it is that of another request key, {key}"),
                            );
                        }
                        Err(cause) => self.unreadable(path, "a claim of a request key", &cause),
                    }
                    Ok(())
                }
                .boxed()
            })
            .await?;
        }
        self.claims_of_commits(&found.into_inner()).await
    }

    /// Reads every guard.
    pub(super) async fn guards(&self) -> Result<(), Error> {
        self.each(self.list(GUARDS).await?, |(name, object): (ObjectName, ObjectInfo)| {
            async move {
                let ObjectName::Guard(name) = name else { return Ok(()) };
                // One that is gone was collected.
                let Some(read) = self.get(&object.path, object.size).await? else { return Ok(()) };
                match GuardClaim::decode_as(name, &read.bytes) {
                    Ok(_) => self.count(|report| &mut report.guards, 1),
                    Err(cause) => self.unreadable(&object.path, "a guard", &cause),
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }
}

fn disagreement(commit: &Commit) -> String {
    let txn = commit.version.txn;
    format!(
        "the decision of {txn}: the feed tells of a commit, and it is an abort, another commit, or dated too late to count"
    )
}

/// What is wrong with a copy of the feed object of this name, if anything is.
pub(super) fn copy_damage(name: FeedName, copy: &Bytes) -> Option<String> {
    if name.is_direct() {
        return Feed::check(name, copy).err().map(|cause| cause.to_string());
    }
    let feed = match Feed::decode_as(name, copy) {
        Ok(feed) => feed,
        Err(cause) => return Some(cause.to_string()),
    };
    feed.entries.into_iter().find_map(|entry| match entry {
        Entry::Commit { decided_by, home: home @ EntryHome::Feed { .. }, record, .. } => {
            let commit = Commit::new(&record, decided_by, home.of(name));
            inline_damage(&commit, &commit.payload_in(copy))
        }
        Entry::Commit { .. } | Entry::Pruned { .. } => None,
    })
}

/// What is wrong with the inline values of a commit, if anything is.
fn inline_damage(commit: &Commit, payload: &[Bytes]) -> Option<String> {
    let inline = commit.writes.iter().filter_map(|(key, value)| match value {
        ValueRef::Inline { len, checksum, .. } => Some((key, len, checksum)),
        ValueRef::Tombstone | ValueRef::Stored(_) => None,
    });
    let mut payload = payload.iter();
    for (key, len, expected) in inline {
        let value = payload.next().map_or(&[][..], |value| &value[..]);
        if value.len() as u64 != len || checksum(value) != expected {
            return Some(format!("the value of the key {} in it is not what was written", shown(key)));
        }
    }
    None
}
