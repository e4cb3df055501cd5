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

/// A stream that goes up is kept and not polled (a `select!` that looks elsewhere): it holds up no other upload.
pub async fn a_stream_that_nobody_polls_holds_up_no_upload() {
    let world = World::new();
    let config = aft_core::Config { stream_part_bytes: 10_000, parallel_requests: 4, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    let gates: Vec<_> =
        (0..4).map(|_| world.storage.fail(Operation::Create, "values/", 1, Fault::Delay)).collect();
    let mut kept: Vec<_> = (0..4)
        .map(|n| {
            let node = node.clone();
            Box::pin(async move {
                let chunk = Ok::<_, std::io::Error>(Bytes::from(vec![n; 10_000]));
                let mut tx = node.begin().await?;
                tx.put_stream("k", futures::stream::iter([chunk])).await?;
                tx.commit().await
            })
        })
        .collect();
    for (stream, gate) in kept.iter_mut().zip(&gates) {
        while !gate.is_reached() {
            assert!(futures::poll!(stream.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }
    for gate in &gates {
        gate.release().await.unwrap();
    }
    let large = async {
        let mut tx = node.begin().await?;
        tx.put("l", vec![1; 20_000])?;
        tx.commit().await
    };
    let large = tokio::time::timeout(secs(3_600), large).await;
    large.expect("another upload is not held up").unwrap();
    for stream in kept {
        stream.await.unwrap();
    }
}

/// The same of reads: whoever began to load a value, a tail or a block of the index and is not polled holds up nobody who wants it too.
pub async fn a_read_that_nobody_polls_holds_up_no_other() {
    for folded in [false, true] {
        let world = World::new();
        let writer = world.node().await;
        let mut tx = writer.begin().await.unwrap();
        tx.put("k", vec![7; 20_000]).unwrap();
        tx.commit().await.unwrap();
        writer.publish().await.unwrap();
        if folded {
            sleep(secs(3_600)).await;
            tell_the_time(&writer).await;
            assert_eq!(writer.checkpoint().await.unwrap().folded, 1);
        }
        let node = world.node().await;
        let prefix = if folded { "index/" } else { "values/" };
        let operation = if folded { Operation::GetRange } else { Operation::Get };
        let gate = world.storage.fail(operation, prefix, 1, Fault::Delay);
        let read = || {
            let node = node.clone();
            Box::pin(async move { node.begin().await.unwrap().get("k").await.unwrap().unwrap() })
        };
        let mut kept = read();
        while !gate.is_reached() {
            assert!(futures::poll!(kept.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        gate.release().await.unwrap();
        let other = tokio::time::timeout(secs(3_600), read()).await;
        assert_eq!(other.expect("another reader is not held up"), vec![7; 20_000]);
        assert_eq!(kept.await, vec![7; 20_000]);
    }
}
