//! What is surely needed: a collection compares with it what it is about to delete, and what the store lists.
//!
//! By the rules nothing of this is ever garbage. But a rule is applied to dates and lists, and both can be wrong: a file server or a
//! copy gives objects new dates, a proxy answers a listing with a page of its own.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Collection, GarbageKind, Manifests};
use crate::error::{Error, ErrorKind};
use crate::format::manifest::Manifest;
use crate::format::name::{FeedName, FileId, ObjectName, ValueName};
use crate::planted::{Planted, planted};
use crate::protocol::collect::manifest_may_go;
use crate::protocol::knowledge::draft::recent_commit;
use crate::protocol::view::{Commit, Home};
use crate::storage::ObjectInfo;
use crate::txn_id::TxnId;

/// What commits need that no index holds yet.
#[derive(Debug, Default)]
pub(in crate::node) struct Needed {
    decisions: HashSet<TxnId>,
    feed: HashSet<FeedName>,
    values: HashSet<(TxnId, ValueName)>,
}

/// Whether anything is compared: planted bugs of other rules would be hidden by it.
fn compares() -> bool {
    let other = [Planted::CollectFeedEarly, Planted::OrphansByOldIndex, Planted::OrphansWithoutIndex];
    !planted(Planted::DeleteWhatIsNeeded)
        && !planted(Planted::TrustListings)
        && !other.into_iter().any(planted)
}

impl Needed {
    fn add(&mut self, commit: &Commit) {
        self.decisions.insert(commit.decided_by());
        if let Home::Feed { name, .. } = commit.home() {
            self.feed.insert(name);
        }
        self.values.extend(commit.value_objects().map(|value| (commit.version.txn, value)));
    }

    pub(super) fn has_decision(&self, id: TxnId) -> bool {
        self.decisions.contains(&id) && compares()
    }

    pub(super) fn has_feed(&self, name: FeedName) -> bool {
        self.feed.contains(&name) && compares()
    }

    /// The same, whatever is planted.
    pub(super) fn is_home(&self, name: FeedName) -> bool {
        self.feed.contains(&name)
    }

    pub(in crate::node) fn has_value(&self, txn: TxnId, value: ValueName) -> bool {
        self.values.contains(&(txn, value)) && compares()
    }

    fn extend(&mut self, other: Self) {
        self.decisions.extend(other.decisions);
        self.feed.extend(other.feed);
        self.values.extend(other.values);
    }
}

impl Collection<'_> {
    /// What the commits of this node's view need: those that were published and that its base did not fold.
    pub(super) fn need_view(&mut self) {
        self.node.known.read(|known| {
            for (commit, _) in known.view().recent().filter(|(_, published)| published.is_some()) {
                self.needed.add(commit);
            }
        });
    }

    /// What the recent files need of the manifests after the settled one. That of the node's own base is in its view.
    pub(super) async fn need_recent(&mut self, manifests: &Manifests) -> Result<(), Error> {
        let own = self.node.known.base().number();
        let stay = manifests.all.range(manifests.settled.map_or(0, |settled| settled + 1)..);
        let stay: Vec<_> = stay.filter(|(number, _)| **number != own).collect();
        for (_, manifest) in stay {
            match self.need_recent_of(manifest).await {
                Err(error) if is_damage(&error) => self.leave_out(format!(
                    "what the recent file of checkpoint {} needs is not known: {error}",
                    manifest.number
                )),
                done => done?,
            }
        }
        Ok(())
    }

    /// The same of one manifest, whose recent file is read and verified.
    pub(super) async fn need_recent_of(&mut self, manifest: &Manifest) -> Result<(), Error> {
        if self.recent_read.contains(&manifest.recent.id) {
            return Ok(());
        }
        let recent = self.node.recent(manifest).await?;
        self.recent_read.insert(manifest.recent.id);
        let mut needed = Needed::default();
        recent.commits.iter().for_each(|told| needed.add(&recent_commit(told).0));
        self.needed.extend(needed);
        Ok(())
    }

    /// Whether the listing of the checkpoints shows the one that this node builds on, or a newer one.
    pub(super) async fn expect_manifest(&self, manifests: &Manifests, number: u64) -> Result<(), Error> {
        let later = planted(Planted::ExpectLaterCheckpoint);
        let number = if later { self.node.known.base().number() } else { number };
        let shown = manifests.listed.iter().any(|(listed, _)| *listed >= number);
        if number == 0 || shown || planted(Planted::TrustListings) {
            return Ok(());
        }
        let path = self.node.path(ObjectName::Checkpoint(number));
        if self.is_there(&path).await? {
            return Err(listing_lies("checkpoints/", &path));
        }
        let message = format!(
            "nothing was collected: the checkpoint {path:?}, which this node builds on, is gone and no newer one is there; put it back from a copy, or open the store again to see what is left of it"
        );
        Err(Error::new(ErrorKind::Corrupt, message).with_object(&path))
    }

    /// Whether the listing of the checkpoints shows all that must be there: of those after the settled one none was ever deleted, and what
    /// they need would be taken for nobody's. So would the lists of garbage of those before it: they go in order, so where the one before the
    /// oldest shown is gone, all that went before had their lists worked off.
    pub(super) async fn expect_all_manifests(&self, manifests: &Manifests) -> Result<(), Error> {
        let numbers: BTreeSet<u64> = manifests.listed.iter().map(|(number, _)| *number).collect();
        let (Some(oldest), Some(newest)) = (numbers.first(), numbers.last()) else { return Ok(()) };
        if planted(Planted::TrustListedCheckpoints) {
            return Ok(());
        }
        let path = |number| self.node.path(ObjectName::Checkpoint(number));
        // No gap tells of it. Where none has settled yet, it was never deleted.
        let asks = manifests.settled.is_none() || !planted(Planted::TrustOldestListed);
        let before = oldest.checked_sub(1).filter(|number| *number > 0 && asks);
        self.expect("checkpoints/", &before.into_iter().map(path).collect()).await?;
        let missing = (*oldest..*newest).filter(|number| !numbers.contains(number)).map(path).collect();
        self.expect("checkpoints/", &missing).await
    }

    /// Whether the listing of the lists of garbage shows those of the checkpoints that are about to go, unless they were worked off: once
    /// its checkpoint is gone, a list is nobody's.
    pub(super) async fn expect_lists(
        &self,
        manifests: &Manifests,
        listed: &BTreeMap<FileId, ObjectInfo>,
    ) -> Result<(), Error> {
        let settled = manifests.settled.unwrap_or(0);
        let named: BTreeMap<_, _> =
            manifests.all.values().filter_map(|it| Some((it.garbage?.id, it.number))).collect();
        let missing: Vec<_> = {
            let mut worked_off = self.node.worked_off.lock();
            worked_off.retain(|id| named.contains_key(id));
            let due = named.iter().filter(|(_, number)| manifest_may_go(**number, settled));
            due.map(|(id, _)| *id).filter(|id| !listed.contains_key(id) && !worked_off.contains(id)).collect()
        };
        for id in missing {
            let path = self.node.path(ObjectName::Garbage(id));
            if !planted(Planted::TrustListedGarbage) && self.is_there(&path).await? {
                return Err(listing_lies("garbage/", &path));
            }
        }
        Ok(())
    }

    /// Whether the listing of all decisions shows those of the commits in the view.
    pub(super) async fn expect_decisions(&self) -> Result<(), Error> {
        let missing = self.needed.decisions.iter().filter(|id| !self.decided.contains_key(id));
        let (direct, others): (BTreeSet<_>, BTreeSet<_>) = missing.partition(|id| id.is_direct());
        for (folder, missing) in [("commits/", others), ("feed/", direct)] {
            let path = |id: &TxnId| self.node.path(ObjectName::Decision(*id));
            let missing = missing.into_iter().map(path).collect();
            self.expect(folder, &missing).await?;
        }
        Ok(())
    }

    /// Whether the listing of the feed, of which `shown` are those that are needed, shows what the commits in the view lie in.
    pub(super) async fn expect_feed(&self, shown: &HashSet<FeedName>) -> Result<(), Error> {
        let missing: BTreeSet<_> =
            self.needed.feed.difference(shown).map(|name| self.node.path(ObjectName::Feed(*name))).collect();
        self.expect("feed/", &missing).await
    }

    /// Objects that a listing did not show must not be there: the first and the last of them are looked at, since a listing that was cut
    /// short lacks its end.
    pub(super) async fn expect(&self, folder: &str, missing: &BTreeSet<String>) -> Result<(), Error> {
        if planted(Planted::TrustListings) {
            return Ok(());
        }
        let ends: BTreeSet<_> = missing.first().into_iter().chain(missing.last()).collect();
        for path in ends {
            if self.is_there(path).await? {
                return Err(listing_lies(folder, path));
            }
        }
        Ok(())
    }

    pub(in crate::node) async fn is_there(&self, path: &str) -> Result<bool, Error> {
        self.node.is_there(path).await
    }

    /// Notes that an object stays which a rule would have let go.
    pub(in crate::node) fn refuse(&mut self, kind: GarbageKind, path: String) {
        tracing::error!(path, ?kind, "an object that should be garbage is still needed; it was not deleted");
        self.report.class(kind).kept += 1;
        self.watch_refused(kind, &path);
        let (count, _) = self.refused.entry(kind).or_insert((0, path));
        *count += 1;
    }

    /// Tells what was refused.
    pub(super) fn tell_refused(&mut self) {
        for (kind, (count, path)) in std::mem::take(&mut self.refused) {
            self.leave_out(format!(
                "{count} objects ({}) that should be garbage and are still needed, the first {path:?}; a date, a listing or a list of garbage is wrong; look with `aft check`",
                kind.name()
            ));
        }
    }
}

/// Whether an error tells of damage to the store: it stays when asked again.
pub(in crate::node) fn is_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::VersionUnavailable | ErrorKind::Unsupported)
}

fn listing_lies(folder: &str, path: &str) -> Error {
    let message = format!(
        "the collection stopped: the listing of {folder:?} does not show {path:?}, which is there; the store, or a proxy before it, answers listings wrongly; nothing was deleted"
    );
    Error::new(ErrorKind::Corrupt, message).with_object(path)
}
