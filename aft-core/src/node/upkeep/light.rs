//! Light checkpoints: whoever had much of the feed to read when it started spares it those who start next.
//!
//! A manifest and its recent file hand a view over: all that its maker has read of the feed, and from where on the feed is to be listed.
//! So a node that starts reads one for each feed object since the newest checkpoint, and where thousands of functions run between two
//! checkpoints each would read thousands. A light checkpoint folds nothing and sweeps nothing, so it costs a handful of requests; what it claims, its maker's
//! last refresh has just shown. Nodes share the work out by creating the epoch's object (decision 0074).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::Instrument;

use crate::error::Error;
use crate::format::name::Job;
use crate::node::Node;
use crate::node::upkeep::checkpoint::CheckpointReport;
use crate::planted::{Planted, planted};

/// One light checkpoint at most is made in this time.
const EPOCH: Duration = Duration::from_secs(10);
/// Of so many nodes that had just enough to read one offers to make it; all of them do where they had so many times as much to read.
const VOLUNTEERS: u64 = 8;

impl Node {
    /// Notes that so many feed objects beyond the newest checkpoint were there to be read at a start.
    pub(crate) fn note_start(&self, unread: usize) {
        self.read_at_start.store(unread as u64, Ordering::Relaxed);
    }

    /// Makes a light checkpoint beside the work, where there was much to read at the start and the node may write by now.
    pub(crate) fn checkpoint_beside(node: &Arc<Self>) {
        let proven = node.proven.load(Ordering::Acquire) || planted(Planted::LightBeforeProof);
        if node.read_only || !proven {
            return;
        }
        let (read, enough) = (node.read_at_start.swap(0, Ordering::Relaxed), node.config.reads_at_start);
        if enough == 0 || read < enough || node.rng.next() % enough.saturating_mul(VOLUNTEERS) >= read {
            return;
        }
        let Some(epoch) = node.offers(Job::Light, EPOCH) else { return };
        let mut tasks = node.tasks.lock();
        // Whoever closes the node takes its tasks after that.
        if node.check_open().is_ok() {
            let work = Arc::clone(node).lighten(epoch).instrument(tracing::debug_span!("aft.light", epoch));
            tasks.checkpoint(tokio::spawn(work));
        }
    }

    async fn lighten(self: Arc<Self>, epoch: u64) {
        let made = async {
            if self.takes_epoch(Job::Light, epoch).await? {
                self.checkpoint_lightly().await
            } else {
                Ok(None)
            }
        };
        match made.await {
            Ok(made) => tracing::debug!(?made, "told those who start next what there is"),
            // Who starts next reads the feed, and tries in its turn.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "no light checkpoint was made");
            }
        }
    }

    /// Makes a checkpoint that folds nothing; `None` where somebody else made one, of any kind.
    pub(crate) async fn checkpoint_lightly(self: &Arc<Self>) -> Result<Option<CheckpointReport>, Error> {
        self.check_writable()?;
        // From where on whoever begins from it lists is what was shown before its maker's last listing began, so one more is needed.
        self.refresh().await?;
        let began = self.now();
        let draft = self.gather()?.light();
        // Only right after what it builds on: a void one between them, or one that listings hide, is for a full checkpoint to deal with.
        let above = self.list_manifests(draft.base.number()).await?;
        // Nor one that may land too late, and block the number.
        if !above.is_empty() || self.now().elapsed_since(began) > self.limits.lifetime_ms / 2 {
            return Ok(None);
        }
        self.land_light(draft).await
    }
}
