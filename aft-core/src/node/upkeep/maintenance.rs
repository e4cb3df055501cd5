//! Maintenance: checkpoints and collections from a background task, shared out between nodes without a leader.

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::millis;
use crate::config::Maintenance;
use crate::error::Error;
use crate::format::name::Job;
use crate::node::Node;

/// A checkpoint interval has so many epochs: that many checkpoints in it at most.
const EPOCHS: u32 = 4;

impl Node {
    /// Starts the task that maintains the store, where that is configured. It sleeps at random between an eighth and a quarter of
    /// the checkpoint interval, so that nodes that started together do not ask together.
    pub(crate) fn start_maintenance(self: &Arc<Self>) {
        let Some(maintenance) = self.config.maintenance.clone().filter(|_| !self.read_only) else { return };
        let node = Arc::downgrade(self);
        let rest = maintenance.checkpoint_interval.min(maintenance.collect_interval) / (2 * EPOCHS);
        let rest_ms = millis(rest).max(1);
        let task = async move {
            while let Some(jitter) = Weak::upgrade(&node).map(|node| node.rng.next() % rest_ms) {
                tokio::time::sleep(rest + Duration::from_millis(jitter)).await;
                let Some(node) = Weak::upgrade(&node) else { return };
                if let Err(error) = node.maintain(&maintenance).await {
                    failed(&error);
                }
            }
        };
        self.tasks.lock().maintain(tokio::spawn(task));
    }

    async fn maintain(self: &Arc<Self>, maintenance: &Maintenance) -> Result<(), Error> {
        self.check_open()?;
        self.refresh_if_stale().await?;
        // A store of which no checkpoint can be made now is collected all the same.
        if let Err(error) = self.maintain_checkpoint(maintenance).await {
            failed(&error);
        }
        if self.known.base().number() > 0
            && let Some(epoch) = self.offers(Job::Collect, maintenance.collect_interval)
            && self.takes_epoch(Job::Collect, epoch).await?
        {
            self.collect_garbage(false).await?;
        }
        Ok(())
    }

    async fn maintain_checkpoint(self: &Arc<Self>, maintenance: &Maintenance) -> Result<(), Error> {
        if !self.wants_checkpoint(maintenance) {
            return Ok(());
        }
        let length = maintenance.checkpoint_interval / EPOCHS;
        let Some(epoch) = self.offers(Job::Checkpoint, length) else { return Ok(()) };
        // Another node may have made one that this node does not know yet.
        self.known.look_again();
        self.refresh().await?;
        if self.wants_checkpoint(maintenance) && self.takes_epoch(Job::Checkpoint, epoch).await? {
            self.checkpoint().await?;
        }
        Ok(())
    }

    fn wants_checkpoint(&self, maintenance: &Maintenance) -> bool {
        let (beyond, last) = self.known.read(|known| {
            let begun = known.base().manifest().map(|manifest| manifest.full_begun);
            (known.view().commit_count() as u64, begun)
        });
        let interval_ms = millis(maintenance.checkpoint_interval);
        let now = self.store_time().map_or(0, |now| now.ms());
        let old = last.is_none_or(|last| now.saturating_sub(last.saturating_mul(1000)) >= interval_ms);
        beyond >= maintenance.checkpoint_commits || (beyond > 0 && old)
    }

    /// The epoch in which this node may do the job. A node asks once in an epoch.
    pub(super) fn offers(&self, job: Job, length: Duration) -> Option<u64> {
        let epoch = self.now().wall_ms / millis(length).max(1);
        self.known.write(|known| known.offer(job, epoch)).then_some(epoch)
    }
}

fn failed(error: &Error) {
    tracing::warn!(error = error as &dyn std::error::Error, "maintenance failed; it is tried again");
}
