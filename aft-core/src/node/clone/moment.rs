//! The moment that a clone is of.

use std::collections::HashSet;
use std::sync::Arc;

use super::Cloning;
use crate::error::{Error, ErrorKind};
use crate::format::name::ObjectName;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;
use crate::txn_id::TxnId;
use crate::version::Version;

/// What one node knew at one moment.
pub(super) struct Moment {
    pub(super) base: Arc<Base>,
    /// The commits beyond it, oldest first.
    pub(super) commits: Vec<Arc<Commit>>,
    versions: HashSet<Version>,
    /// Decisions that some feed object carried: all of them are in the commits, or folded.
    published: HashSet<TxnId>,
    /// The source's time, known before anything was asked.
    pub(super) now: StoreTime,
}

impl Moment {
    /// Whether a commit is in it. What is acknowledged later is not, and its outcome must not be either: a clone that says of a request
    /// that it is finished has what it wrote.
    pub(super) fn has(&self, decided_by: TxnId, version: Version) -> bool {
        self.versions.contains(&version)
            || self.published.contains(&decided_by)
            || self.base.has_folded(version, None, false)
            || planted(Planted::CloneLaterOutcomes)
    }
}

impl Cloning<'_> {
    /// Everything that was committed before this call, whoever made it and whether or not it was published.
    pub(super) async fn moment(&self) -> Result<Moment, Error> {
        let node = self.node;
        node.known.look_again();
        node.refresh().await?;
        let now = node.store_time().ok_or_else(|| {
            Error::new(ErrorKind::Unavailable, "the store's time is not known yet; try again")
        })?;
        if !planted(Planted::CloneUnswept) {
            let unpublished = node.find_unpublished().await?;
            node.learn(unpublished.found.into_iter().map(|publication| publication.commit));
            for (id, error) in unpublished.damaged {
                self.leave_out(&node.path(ObjectName::Decision(id)), &error);
            }
        }
        Ok(node.known.read(|known| {
            let commits: Vec<_> = known.view().recent().map(|(commit, _)| Arc::clone(commit)).collect();
            let versions = commits.iter().map(|commit| commit.version).collect();
            let (base, published) = (Arc::clone(known.base()), known.published().collect());
            Moment { base, commits, versions, published, now }
        }))
    }
}
