//! Clones: one moment of a store in use, with its outcomes; what a second one costs; what may be lost on the way; where none is made.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test's own helpers"
)]

mod costs;
mod deaths;
mod judged;
mod moments;
mod outcomes;
mod places;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, Clock, CloneOptions, CloneReport, CommitOutcome, Error};
use aft_memory::{MemoryStorage, Operation, RecordingStorage};
use aft_tests::{World, write};
use bytes::Bytes;

/// Longer than any window: what was committed before is folded by the next checkpoint.
const OLD: Duration = Duration::from_secs(3600);
const OPERATIONS: [Operation; 5] =
    [Operation::Get, Operation::GetRange, Operation::Create, Operation::List, Operation::Delete];

/// An empty place for a clone, in the same time.
struct Place {
    storage: RecordingStorage,
    memory: MemoryStorage,
}

impl Place {
    fn new(world: &World) -> Self {
        let memory = MemoryStorage::with_clock(Arc::clone(&world.store_clock) as Arc<dyn Clock>);
        Self { storage: RecordingStorage::new(Arc::new(memory.clone())), memory }
    }

    async fn clone_of(&self, node: &Aft) -> CloneReport {
        self.try_clone_of(node).await.expect("the clone is made")
    }

    async fn try_clone_of(&self, node: &Aft) -> Result<CloneReport, Error> {
        node.clone_to(Arc::new(self.storage.clone()), CloneOptions::default()).await
    }

    /// A node on the clone.
    async fn open(&self, world: &World) -> Aft {
        let builder = Aft::builder(Arc::new(self.storage.clone())).config(World::config());
        builder.clock(world.clock()).must_exist().open().await.expect("the clone opens")
    }

    /// Everything that can be read of the clone, which must be whole.
    async fn content(&self, world: &World) -> Content {
        let aft = self.open(world).await;
        let report = aft.check().await.unwrap();
        assert!(report.is_clean(), "the clone is whole: {:?}", report.problems);
        content(&aft).await
    }
}

type Content = BTreeMap<Bytes, Bytes>;

/// All keys and values, of one transaction.
async fn content(aft: &Aft) -> Content {
    let mut tx = aft.begin_with(Begin::new().latest()).await.unwrap();
    tx.scan(..).await.unwrap().into_iter().collect()
}

async fn request(aft: &Aft, key: &str, result: &str) -> (CommitOutcome, Option<Bytes>) {
    let run = aft.run(key.as_bytes(), async |tx| {
        tx.put(format!("done-{key}"), result.to_owned())?;
        Ok(Bytes::from(result.to_owned()))
    });
    let run = run.await.unwrap();
    (run.outcome, Some(run.result))
}

/// A store of every kind of thing: two runs, superseded and deleted keys, large values, a request, and commits beyond the checkpoint of which one
/// was published by nobody.
async fn store(world: &World) -> Aft {
    let node = world.node().await;
    let large = "x".repeat(20_000);
    for n in 0..6 {
        write(&node, &[("a", Some(&format!("{large}{n}"))), (&format!("k{n}"), Some("1"))]).await;
        node.publish().await.unwrap();
    }
    request(&node, "old", "first").await;
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    write(&node, &[("a", Some("last")), ("k1", Some(&large)), ("k2", None)]).await;
    node.publish().await.unwrap();
    tokio::time::sleep(OLD).await;
    node.checkpoint().await.unwrap();
    write(&node, &[("b", Some("young")), ("k0", None), ("c", Some(&format!("{large}c")))]).await;
    request(&node, "young", "second").await;
    node.publish().await.unwrap();
    let dying = world.node().await;
    write(&dying, &[("d", Some("never told")), ("e", Some(&large))]).await;
    node
}
