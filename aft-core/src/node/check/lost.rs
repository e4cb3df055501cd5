//! Committed decisions that nothing carries.

use std::sync::Arc;

use futures::FutureExt;

use super::Check;
use super::commits::Commits;
use super::index::Manifests;
use super::suspects::{Suspect, SuspectKind};
use crate::error::Error;
use crate::format::name::ObjectName;
use crate::node::upkeep::collect::needed::is_damage;
use crate::planted::{Planted, planted};
use crate::protocol::base::Base;
use crate::protocol::standing::Standing;
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;

/// So many are looked up in the index at a time.
const JUDGED_AT_ONCE: usize = 256;

impl Check<'_> {
    /// Names the commits that no feed object, no checkpoint and no list of what checkpoints folded tells of, and that no node will find by
    /// itself; the others of them are counted.
    pub(super) async fn unpublished(&self, manifests: &Manifests, commits: &Commits) -> Result<(), Error> {
        if planted(Planted::CheckIgnoresLost) {
            return Ok(());
        }
        if manifests.is_partial || commits.recent_is_damaged {
            self.leave_out(
                "whether anything committed was lost: what the damaged checkpoint told is not known",
            );
            return Ok(());
        }
        let base = &manifests.base;
        let swept = base.manifest().map(|manifest| StoreTime(manifest.swept_through));
        let swept = swept.max(commits.swept_through).unwrap_or(StoreTime(0));
        let window_ms = self.node.limits.sweep_window_from_ms(swept);
        let found_by_itself = |commit: &Commit| {
            let start_ms = commit.version.txn.start_ms();
            let told = commits.told_late.contains(&commit.decided_by()) || commits.feed_is_damaged;
            start_ms >= window_ms || (told && start_ms >= base.settled_ms())
        };
        let folded = std::mem::take(&mut *self.folded.lock());
        let mut open = commits.unpublished();
        open.retain(|commit| !folded.contains(&commit.decided_by()));
        let (young, lost): (Vec<_>, Vec<_>) = open.into_iter().partition(|commit| found_by_itself(commit));
        self.count(|report| &mut report.unpublished, young.len() as u64);
        for commit in lost {
            let path = self.path(ObjectName::Decision(commit.decided_by()));
            let what = format!(
                "the decision of {}, a commit of {} keys that no feed object and no checkpoint tells of",
                commit.version.txn,
                commit.writes.len()
            );
            self.suspect(Suspect { path, what, needed: SuspectKind::Unpublished { commit } });
        }
        Ok(())
    }

    /// Of suspected commits those that are lost, by what is there now, each with what can be said of it.
    pub(super) async fn still_lost(
        &self,
        base: &Base,
        suspects: Vec<(String, String, Arc<Commit>)>,
    ) -> Result<Vec<(String, String)>, Error> {
        if suspects.is_empty() {
            return Ok(Vec::new());
        }
        // What was published or collected while this check read the rest is not lost.
        let again = self.feed().await?;
        let mut open = Vec::new();
        for suspect in suspects {
            let published = again.published(suspect.2.decided_by()).is_some();
            if !published && self.get(&suspect.0, 0).await?.is_some() {
                open.push(suspect);
            }
        }
        let mut lost = Vec::new();
        while !open.is_empty() {
            let rest = open.split_off(open.len().min(JUDGED_AT_ONCE));
            let some = std::mem::replace(&mut open, rest);
            let judged = self.node.standings(base, some, |(_, _, commit)| commit).boxed().await;
            let judged = match judged {
                Ok(judged) => judged,
                Err(error) if is_damage(&error) => {
                    self.leave_out(format_args!("whether anything committed was lost: {error}"));
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            };
            for ((path, what, _), (standing, _)) in judged {
                let advice = match standing {
                    Standing::Carried => continue,
                    Standing::Lost => "`aft sweep --all` publishes it",
                    Standing::Doubtful => {
                        "keys of it may have been deleted since, so `aft sweep --all` does not publish it"
                    }
                };
                lost.push((path, format!("{what}; {advice}")));
            }
        }
        Ok(lost)
    }
}
