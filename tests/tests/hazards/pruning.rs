//! What a batch may leave out, and what it may carry twice.

use aft_core::{Config, ErrorKind};
use aft_memory::{Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::secs;

/// 20: A superseder that turned out void must not have pruned what it would have overwritten.
pub(crate) async fn h20_a_void_commit_prunes_nothing() {
    let world = World::new();
    let short = Config { commit_deadline: secs(5), ..World::config() };
    let node = world.builder().config(short).open().await.unwrap();
    put(&node, "k", "good").await;
    let held = world.storage.fail(Operation::Create, "commits/", 1, Fault::Delay);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "void").unwrap();
    let late = async {
        held.reached().await;
        sleep(secs(20)).await;
        held.release().await.unwrap();
    };
    let (commit, ()) = tokio::join!(tx.commit(), late);
    node.publish().await.unwrap();
    let other = world.node().await;
    let read = get(&other, "k").await;
    assert_eq!(read.as_deref(), Some("good"), "what a void commit would have overwritten");
    assert_eq!(commit.unwrap_err().kind(), ErrorKind::Aborted);
}

/// 20's sibling: a commit of several keys, one of them overwritten.
pub(crate) async fn h20_a_commit_is_pruned_only_where_each_of_its_keys_was_overwritten() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let mut tx = node.begin().await.unwrap();
    tx.put("k", "1").unwrap();
    tx.put("l", "1").unwrap();
    tx.commit().await.unwrap();
    put(&node, "k", "2").await;
    node.publish().await.unwrap();
    other.refresh().await.unwrap();
    assert_eq!(get(&other, "k").await.as_deref(), Some("2"));
    assert_eq!(get(&other, "l").await.as_deref(), Some("1"), "what nobody overwrote");
}

/// 20: a commit carried twice, by its maker and by a sweep, is one.
pub(crate) async fn h20_a_commit_carried_twice_is_one() {
    let world = World::new();
    let (a, b, c) = (world.node().await, world.node().await, world.node().await);
    put(&a, "k", "v").await;
    assert_eq!(b.sweep().await.unwrap().published, 1);
    a.publish().await.unwrap();
    c.refresh().await.unwrap();
    assert_eq!(c.stats().recent_commits, 1);
    assert_eq!(get(&c, "k").await.as_deref(), Some("v"));
}
