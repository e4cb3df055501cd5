//! The whole store is dated anew, as by `chown -R` or a copy onto itself: every process stops, the change is noticed, the store is
//! adopted, and the nodes open it again.

use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Clock, Error, ErrorKind, Outcome, TxnId, Unpublished};
use aft_memory::SimulatedStorage;
use tokio::time::{Instant, sleep};

use crate::sim::archive::Archive;
use crate::sim::cluster::Cluster;
use crate::sim::recorder::Recorder;
use crate::world::NodeClock;

/// Longer than any request of a dead process is under way.
const UNTIL_ALL_HAS_LANDED: Duration = Duration::from_secs(75);

/// Who dates a store anew, and makes it whole.
pub(crate) struct Operator<'a> {
    pub(crate) cluster: &'a Arc<Cluster>,
    pub(crate) network: &'a SimulatedStorage,
    pub(crate) archive: &'a Archive,
    pub(crate) recorder: &'a Arc<Recorder>,
    pub(crate) start: Instant,
}

impl Operator<'_> {
    /// Does all of it; what happened, by kind.
    pub(crate) async fn redate_and_adopt(&self) -> Vec<(&'static str, u64)> {
        self.cluster.close();
        sleep(UNTIL_ALL_HAS_LANDED).await;
        self.network.note("chaos: the whole store is dated anew");
        let objects = self.archive.redate_all(NodeClock::new(self.start).now()).await;
        let mut done = vec![("stores dated anew", 1), ("objects of stores dated anew", objects)];
        match self.builder("before").open().await {
            Err(error) if error.kind() == ErrorKind::DatesChanged => done.push(("changed dates noticed", 1)),
            opened => {
                let opened = opened.map(|_| ());
                self.recorder.problem(format!("a store whose dates were changed was opened: {opened:?}"));
            }
        }
        match self.adopt().await {
            Ok((commits, late)) => {
                done.extend([("commits that nobody had published", commits), ("late decisions", late)]);
            }
            Err(error) => self.recorder.problem(format!("the store could not be adopted: {error}")),
        }
        self.cluster.reopen();
        done
    }

    fn builder(&self, name: &str) -> aft_core::Builder {
        let storage = self.network.reached_by(&self.network.process(&format!("operator-{name}")));
        let seed = self.recorder.next_attempt().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Aft::builder(Arc::new(storage)).clock(Arc::new(NodeClock::new(self.start))).rng_seed(seed)
    }

    /// Adopts the store. Of decisions that nobody published the operator knows which landed in time, as logs may tell; a late one is put
    /// out of the way, and aborted.
    async fn adopt(&self) -> Result<(u64, u64), Error> {
        let report = self.builder("adopts").adopt(Unpublished::Refuse).await?;
        if report.adopted {
            return Ok((0, 0));
        }
        let mut late = Vec::new();
        self.archive.open();
        let archivist = self.builder("remembers").read_only().open().await?;
        for id in &report.unpublished {
            match archivist.outcome(*id).await? {
                Outcome::Committed { .. } => {}
                _ => late.push(*id),
            }
        }
        self.archive.close();
        for id in &late {
            self.archive.remove_decision(*id).await;
        }
        let again = self.builder("adopts-again").adopt(Unpublished::Commit).await?;
        if !again.adopted {
            self.recorder.problem(format!("the store was not adopted: {again:?}"));
        }
        self.abort(&late).await?;
        Ok(((report.unpublished.len() - late.len()) as u64, late.len() as u64))
    }

    async fn abort(&self, late: &[TxnId]) -> Result<(), Error> {
        let aft = self.builder("aborts").must_exist().open().await?;
        for id in late {
            aft.cancel(*id).await?;
        }
        aft.close().await
    }
}
