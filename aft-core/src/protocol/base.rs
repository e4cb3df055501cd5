//! What is folded: the manifest that a view builds on.

use crate::format::manifest::Manifest;
use crate::planted::{Planted, planted};
use crate::protocol::timeliness::StoreTime;
use crate::version::Version;

/// A manifest, or none. A base and a view are only ever looked at together: what one base folded is missing from the views that build
/// on it.
#[derive(Debug, Default)]
pub struct Base(Option<Manifest>);

impl Base {
    /// The base that a manifest tells of.
    #[must_use]
    pub const fn new(manifest: Manifest) -> Self {
        Self(Some(manifest))
    }

    /// The manifest; `None` where no checkpoint was made yet.
    #[must_use]
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.0.as_ref()
    }

    /// The number of the manifest; 0 for none.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.as_ref().map_or(0, |manifest| manifest.number)
    }

    /// When the newest checkpoint was begun that folded what it could; 0 for none.
    #[must_use]
    pub fn full_begun(&self) -> StoreTime {
        StoreTime(self.0.as_ref().map_or(0, |manifest| manifest.full_begun))
    }

    /// Every commit published before this second is in the runs, and no other.
    #[must_use]
    pub fn horizon(&self) -> StoreTime {
        StoreTime(self.0.as_ref().map_or(0, |manifest| manifest.horizon))
    }

    /// No feed object that published a commit of the runs is dated later, as their makers saw it.
    #[must_use]
    pub fn folded_until(&self) -> StoreTime {
        StoreTime(self.0.as_ref().map_or(0, |manifest| manifest.folded_until))
    }

    /// Whether the runs may hold commits whose feed objects are dated at this moment or later.
    #[must_use]
    pub fn folded_beyond(&self, known_until: StoreTime) -> bool {
        let any = self.folded_until() > StoreTime(0);
        any && self.folded_until() >= known_until
    }

    /// Whether this is more than a light checkpoint on another base, or on what that one is a light checkpoint on.
    #[must_use]
    pub fn folds_beyond(&self, other: &Self) -> bool {
        let runs = |base: &Self| base.0.as_ref().map_or_else(Vec::new, |manifest| manifest.runs.clone());
        self.full_begun() != other.full_begun()
            || self.horizon() != other.horizon()
            || runs(self) != runs(other)
    }

    /// Every commit whose transaction started before this (milliseconds since 1970) is in the runs.
    #[must_use]
    pub fn settled_ms(&self) -> u64 {
        self.0.as_ref().map_or(0, |manifest| manifest.settled_ms)
    }

    /// The greatest version in the runs.
    #[must_use]
    pub fn greatest(&self) -> Version {
        self.0.as_ref().map_or(Version::ABSENT, |manifest| manifest.greatest)
    }

    /// The greatest version of a deletion that ever left the runs.
    #[must_use]
    pub fn purged(&self) -> Version {
        self.0.as_ref().map_or(Version::ABSENT, |manifest| manifest.purged)
    }

    /// Whether the version is so old that every commit that could be below it is folded, so that a deletion at it may have left
    /// the index.
    #[must_use]
    pub fn is_settled(&self, version: Version) -> bool {
        self.0.as_ref().is_some_and(|manifest| version.clock_ms() < manifest.settled_ms)
    }

    /// Whether a commit is surely in the runs: it was published before the horizon, as far as is known, or its transaction began
    /// before anything that is not folded. Not where the manifest says that it is not. Of one that was lost and is
    /// [restored](crate::protocol::view::Commit::restored) only the publication tells.
    #[must_use]
    pub fn has_folded(&self, version: Version, published: Option<StoreTime>, restored: bool) -> bool {
        let Some(manifest) = &self.0 else { return false };
        if manifest.unfolded.contains(&version.txn) && !planted(Planted::FoldedByDateAlone) {
            return false;
        }
        published.is_some_and(|published| published < self.horizon())
            || ((!restored || planted(Planted::RestoredIsSettled))
                && version.txn.start_ms() < manifest.settled_ms
                && !planted(Planted::SettledComesBack))
    }
}
