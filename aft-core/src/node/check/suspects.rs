//! What was missed at first sight: a problem only if no checkpoint and no collection that came meanwhile explains it.

use std::sync::Arc;

use bytes::Bytes;

use super::commits::Commits;
use super::index::Manifests;
use super::{Check, CheckProblemKind};
use futures::FutureExt;

use crate::error::Error;
use crate::node::upkeep::collect::needed::is_damage;
use crate::protocol::base::Base;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;
use crate::version::Version;

/// More suspects than this are counted as problems unseen.
const REMEMBERED: usize = 10_000;

/// Something that was missed.
pub(super) struct Suspect {
    pub(super) path: String,
    pub(super) what: String,
    pub(super) needed: SuspectKind,
}

/// Why it may be needed.
pub(super) enum SuspectKind {
    /// It holds the value of a key, unless the index has a newer version by now.
    Value { key: Bytes, version: Version, kind: CheckProblemKind },
    /// It is a decision, unless the commit is folded by now.
    Decision { commit: Arc<Commit> },
    /// It holds the values of a commit, unless that is folded by now.
    Home { commit: Arc<Commit> },
    /// It is a decision whose commit nothing carries, unless that was published or collected by now.
    Unpublished { commit: Arc<Commit> },
    /// It is a feed object, unless it is older by now than what is folded.
    Feed { published: StoreTime },
}

impl Check<'_> {
    pub(super) fn suspect(&self, suspect: Suspect) {
        let mut suspects = self.suspects.lock();
        if suspects.len() < REMEMBERED {
            suspects.push(suspect);
        } else {
            drop(suspects);
            self.count(|report| &mut report.more_problems, 1);
        }
    }

    /// Looks at every suspect again, with the manifests as they are now.
    pub(super) async fn settle(&self, manifests: Manifests, commits: &Commits) -> Result<Manifests, Error> {
        let suspects = std::mem::take(&mut *self.suspects.lock());
        if suspects.is_empty() {
            return Ok(manifests);
        }
        let manifests = self.manifests().await?;
        let (mut unsettled, mut lost) = (0u64, Vec::new());
        for Suspect { path, what, needed } in suspects {
            let base = &manifests.base;
            let folded = |commit: &Commit| {
                let published = commits.published(commit.decided_by());
                base.has_folded(commit.version, published, commit.restored)
            };
            let kind = match needed {
                SuspectKind::Value { key, version, kind } => {
                    if self.is_superseded(base, &key, version).await? {
                        continue;
                    }
                    kind
                }
                SuspectKind::Decision { commit } => {
                    if folded(&commit) || self.look_again(&path, &commit).await? {
                        continue;
                    }
                    CheckProblemKind::Missing
                }
                SuspectKind::Home { commit } => {
                    if folded(&commit) || self.get(&path, 0).await?.is_some() {
                        continue;
                    }
                    CheckProblemKind::Missing
                }
                SuspectKind::Unpublished { commit } => {
                    lost.push((path, what, commit));
                    continue;
                }
                SuspectKind::Feed { published } => {
                    if published < base.horizon() {
                        continue;
                    }
                    CheckProblemKind::Missing
                }
            };
            match kind {
                CheckProblemKind::Damaged | CheckProblemKind::DatesChanged => {
                    self.damaged(&path, format_args!("{what}, is not what was written"))
                }
                // Collected, it may be, by what the checkpoint says that cannot be read.
                CheckProblemKind::Missing if manifests.is_behind => unsettled += 1,
                CheckProblemKind::Missing => self.missing(&path, what),
                kind => self.report.lock().add(&path, kind, what),
            }
        }
        for (path, what) in self.still_lost(&manifests.base, lost).await? {
            self.report.lock().add(&path, CheckProblemKind::Unpublished, what);
        }
        if unsettled > 0 {
            self.leave_out(format_args!(
                "{unsettled} objects are not there; whether the damaged checkpoint let them be collected is not known"
            ));
        }
        Ok(manifests)
    }

    /// Whether the index has a newer version of the key. Where it cannot be asked, it has not.
    async fn is_superseded(&self, base: &Base, key: &Bytes, version: Version) -> Result<bool, Error> {
        match self.node.rows(&self.store, base, vec![key.clone()]).boxed().await {
            Ok(rows) => Ok(rows.get(key).is_some_and(|row| row.version > version)),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
