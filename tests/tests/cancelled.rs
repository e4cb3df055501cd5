//! Cancellation: every call may be dropped at any await, as a timeout or a `select!` of the caller does. The node it was made on goes on, and
//! the next retry finds what it needs: nothing is torn, nothing is committed twice, nothing hangs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's own helpers")]

use std::time::Duration;

use aft_core::{Aft, Begin, Config, Error, Receipt, TxnId};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, write};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::time::sleep;

const HOUR: Duration = Duration::from_secs(3600);
const OPERATIONS: [Operation; 5] =
    [Operation::Get, Operation::GetRange, Operation::Create, Operation::List, Operation::Delete];
const LARGE: usize = 25_000;

/// A call that is dropped on its way.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// A transaction under a caller's own id, from its begin to its commit.
    ById,
    /// The same under a request key.
    ByRequest,
    /// By `Aft::run`.
    Run,
    Publish,
    Refresh,
    Sweep,
    Checkpoint,
    Collect,
}

fn config() -> Config {
    Config { stream_part_bytes: 10_000, cache_bytes: 0, ..World::config() }
}

/// Writes three keys together, one of them as a stream.
async fn fill(tx: &mut aft_core::Transaction) -> Result<(), Error> {
    tx.get("a").await?;
    let chunks = (0..5).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'l'; LARGE / 5])));
    tx.put_stream("large", futures::stream::iter(chunks)).await?;
    tx.put("medium", vec![b'm'; 9_000])?;
    tx.put("a", "new")
}

async fn transact(node: &Aft, begin: Begin) -> Result<Receipt, Error> {
    let mut tx = node.begin_with(begin).await?;
    fill(&mut tx).await?;
    Ok(tx.commit().await?.receipt)
}

async fn call(node: Aft, call: Call, id: TxnId) -> Result<(), Error> {
    match call {
        Call::ById => transact(&node, Begin::new().id(id)).await.map(drop),
        Call::ByRequest => transact(&node, Begin::new().request("r")).await.map(drop),
        Call::Run => {
            let done = node.run(b"r", async |tx| {
                fill(tx).await?;
                Ok(Bytes::from("done"))
            });
            done.await.map(drop)
        }
        Call::Publish => node.publish().await,
        Call::Refresh => node.refresh().await,
        Call::Sweep => node.sweep().await.map(drop),
        Call::Checkpoint => node.checkpoint().await.map(drop),
        Call::Collect => node.collect_garbage(false).await.map(drop),
    }
}

/// A store with something to read, to sweep, to fold and to collect; the node that calls are made on, and another.
async fn scene(world: &World) -> (Aft, Aft) {
    let node = world.builder().config(config()).open().await.unwrap();
    let other = world.builder().config(config()).open().await.unwrap();
    for value in ["1", "2"] {
        write(&other, &[("a", Some(value)), ("large", Some(&"o".repeat(LARGE)))]).await;
        other.publish().await.unwrap();
        sleep(HOUR).await;
        other.checkpoint().await.unwrap();
    }
    write(&node, &[("mine", Some("v"))]).await;
    write(&other, &[("a", Some("old")), ("large", Some(&"o".repeat(LARGE))), ("medium", Some("o"))]).await;
    (node, other)
}

/// What `a`, `medium` and `large` are, of one transaction.
async fn together(node: &Aft) -> (String, u64, u64) {
    let tx = node.begin_with(Begin::new().latest()).await.unwrap();
    let large: Vec<Bytes> = tx.get_stream("large").await.unwrap().unwrap().try_collect().await.unwrap();
    let medium = tx.get("medium").await.unwrap().unwrap();
    let a = tx.get("a").await.unwrap().unwrap();
    let large = large.concat();
    assert!(large.iter().all(|byte| *byte == large[0]) && large.len() == LARGE);
    (String::from_utf8(a.to_vec()).unwrap(), medium.len() as u64, u64::from(large[0]))
}

/// Drops the call at its `nth` request of this kind, and looks what became of it. False where it has fewer.
async fn dropped(which: Call, operation: Operation, nth: u64, fault: Fault) -> bool {
    let world = World::new();
    let (node, other) = scene(&world).await;
    let id = node.new_txn_id();
    let gate = world.storage.fail(operation, "", nth, fault);
    let calling = tokio::spawn(call(node.clone(), which, id));
    tokio::select! {
        biased;
        () = gate.reached() => {}
        () = async { while !calling.is_finished() { sleep(Duration::from_millis(1)).await } } => return false,
    }
    calling.abort();
    drop(calling.await);
    // What is held by a flight that others share goes on; the call itself is gone.
    let _ = gate.release().await;
    world.storage.clear_faults();
    let context = format!("{which:?} dropped at {operation:?} {nth}, {fault:?}");

    let before = together(&other).await;
    let (old, new) = (("old".into(), 1, u64::from(b'o')), ("new".into(), 9_000, u64::from(b'l')));
    assert!(before == old || before == new, "{context}: {before:?}");
    // The same call once more, on the same node, does what it is for.
    tokio::time::timeout(HOUR, call(node.clone(), which, id)).await.expect(&context).expect(&context);
    tokio::time::timeout(HOUR, node.publish()).await.expect(&context).expect(&context);
    let transacts = matches!(which, Call::ById | Call::ByRequest | Call::Run);
    assert_eq!(together(&other).await, if transacts { new } else { old }, "{context}");
    assert_eq!(get(&other, "mine").await.as_deref(), Some("v"), "{context}");
    if transacts {
        // Done, and not to be done again.
        write(&other, &[("a", Some("later"))]).await;
        call(node.clone(), which, id).await.expect(&context);
        node.publish().await.unwrap();
        assert_eq!(get(&other, "a").await.as_deref(), Some("later"), "{context}");
    }
    let report = other.check().await.unwrap();
    assert!(report.is_clean(), "{context}: {report:?}");
    true
}

#[tokio::test(start_paused = true)]
async fn a_call_may_be_dropped_at_any_request() {
    let calls = [
        Call::ById,
        Call::ByRequest,
        Call::Run,
        Call::Publish,
        Call::Refresh,
        Call::Sweep,
        Call::Checkpoint,
        Call::Collect,
    ];
    let mut drops = 0;
    for which in calls {
        for fault in [Fault::Delay, Fault::Late] {
            for operation in OPERATIONS {
                let mut nth = 1;
                while dropped(which, operation, nth, fault).await {
                    nth += 1;
                }
                drops += nth - 1;
            }
        }
    }
    assert!(drops > 150, "only {drops} places to drop a call");
}
