//! Values that go up in parts.

use aft_memory::{Fault, Operation};
use aft_tests::{World, get};
use bytes::Bytes;

use super::*;

/// I3, for a stream: its last part is on its way when the transaction commits, and lands only after its node died, if ever.
pub async fn a_stream_is_durable_before_its_commit() {
    let world = World::new();
    let config = aft_core::Config { stream_part_bytes: 10_000, ..World::config() };
    let writer = world.builder().config(config).open().await.unwrap();
    put(&writer, "k", "before").await;
    let mut tx = writer.begin().await.unwrap();
    let gate = world.storage.fail(Operation::Create, "values/", 3, Fault::Delay);
    let chunks = (0..3).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n; 10_000])));
    let commit = tokio::spawn(async move {
        tx.put_stream("k", futures::stream::iter(chunks)).await?;
        tx.commit().await
    });
    gate.reached().await;
    sleep(secs(5)).await;
    commit.abort();
    drop(commit.await);
    let other = world.node().await;
    other.sweep().await.unwrap();
    other.refresh().await.unwrap();
    assert_eq!(get(&other, "k").await.as_deref(), Some("before"), "a stream is durable before its commit");
}

/// Every part is whole, and together they are not what was put: the checksum of the whole value tells.
pub async fn the_parts_of_a_stream_are_its_value_in_order() {
    let world = World::new();
    let config = aft_core::Config { stream_part_bytes: 10_000, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    let chunks = (0..3).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![n; 10_000])));
    tx.put_stream("k", futures::stream::iter(chunks)).await.unwrap();
    tx.commit().await.unwrap();
    let tx = node.begin().await.unwrap();
    let value = tx.get("k").await.expect("the value is read").unwrap();
    assert!((0..3).all(|n| value[n * 10_000] == n as u8), "the parts are in order");
}
