//! What clients do with a damaged store, and how it goes on once it is repaired.

use std::time::Duration;

use tokio::time::sleep;

use crate::harm::Damage;
use crate::judge::Judge;
use crate::store::HOUR;

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Open,
    OpenReadOnly,
    Get,
    Scan,
    Outcomes,
    Requests,
    Check,
    Put,
    Checkpoint,
    Gc,
    Sweep,
    SweepAll,
    CloneStore,
    Hour,
}

use Verb::{
    Check, Checkpoint, CloneStore, Gc, Get, Hour, Open, OpenReadOnly, Outcomes, Put, Requests, Scan, Sweep,
    SweepAll,
};

/// In what order; `true`: by a node that was open, and had read everything, before the damage.
pub(crate) const PROGRAMS: [(bool, &[Verb]); 12] = [
    (false, &[Open, Get, Scan, Outcomes, Requests, Check]),
    (false, &[OpenReadOnly, Scan, Get, Check, CloneStore]),
    (true, &[Get, Scan, Outcomes, Requests, Check]),
    (false, &[Open, Gc, Get, Check]),
    (true, &[CloneStore, Gc, Get, Check]),
    (false, &[Open, Put, Checkpoint, Check, Gc, Get]),
    (true, &[Put, Checkpoint, Gc, Get, Check]),
    (false, &[SweepAll, Open, Get, Outcomes, Check, Gc]),
    (true, &[Sweep, Checkpoint, Gc, Get, Outcomes]),
    (false, &[Open, Put, Checkpoint, Hour, Open, Put, Checkpoint, Gc, Hour, Gc, Get, Requests, Check]),
    (true, &[Put, Checkpoint, Hour, Put, Checkpoint, Gc, Hour, Put, Sweep, Checkpoint, Gc, Get, Check]),
    (true, &[Hour, Hour, Open, Check, SweepAll, Put, Checkpoint, Gc, Requests, Get]),
];

impl Judge<'_> {
    pub(crate) async fn perform(&mut self, verb: Verb) {
        self.doing += &format!(" {verb:?}");
        match verb {
            Open => {
                let builder = self.builder();
                self.node = self.call("open", builder.open()).await;
                self.read_only = false;
            }
            OpenReadOnly => {
                let builder = self.builder().read_only();
                self.node = self.call("open read-only", builder.open()).await;
                self.read_only = true;
            }
            Check => self.check().await,
            SweepAll => self.sweep_all().await,
            Hour => sleep(HOUR).await,
            _ => {
                let Some(node) = self.node.clone() else { return };
                match verb {
                    Get => drop(self.read_keys(&node).await),
                    Scan => self.scan(&node).await,
                    Outcomes => drop(self.outcomes(&node).await),
                    Requests => self.requests(&node).await,
                    Put => self.put(&node).await,
                    CloneStore => self.clone_store(&node).await,
                    Checkpoint => {
                        self.call("checkpoint", node.checkpoint()).await;
                    }
                    Gc => drop(self.call("gc", node.collect_garbage(false)).await),
                    _ => {
                        self.call("sweep", node.sweep()).await;
                    }
                }
            }
        }
    }

    /// Looks over all decisions, also of a store that cannot be opened.
    async fn sweep_all(&mut self) {
        let builder = self.builder();
        self.swept |= self.call("sweep --all", builder.sweep_all()).await.is_some();
    }

    /// Once the objects are back: everything is there, whatever was done meanwhile, and stays.
    pub(crate) async fn goes_on(&mut self) {
        self.doing += ", repaired:";
        // A listing may have shown what was damaged a moment ago.
        sleep(Duration::from_secs(20)).await;
        self.repaired = true;
        self.sweep_all().await;
        let builder = self.builder();
        let Some(node) = self.call("open", builder.open()).await else { return };
        self.read_keys(&node).await;
        self.scan(&node).await;
        // Who sees a date of the future and may not write cannot tell whether its own clock is wrong, until it is opened anew.
        let blind = self.read_only && self.harm.damage == Damage::Future;
        if let Some(old) = self.node.take().filter(|_| !blind) {
            self.call("refresh", old.refresh()).await;
            self.read_keys(&old).await;
            self.scan(&old).await;
        }
        self.outcomes(&node).await;
        self.requests(&node).await;
        // What is back and was superseded meanwhile is collected.
        self.call("gc", node.collect_garbage(false)).await;
        self.check().await;
        for round in 0..3 {
            self.doing += &format!(" hour {round}:");
            sleep(HOUR).await;
            self.put(&node).await;
            self.call("checkpoint", node.checkpoint()).await;
            self.call("gc", node.collect_garbage(false)).await;
        }
        self.doing += " in the end:";
        let builder = self.builder();
        let Some(node) = self.call("open", builder.open()).await else { return };
        self.read_keys(&node).await;
        self.outcomes(&node).await;
        self.requests(&node).await;
        self.check().await;
    }
}
