//! Tokens.

use aft_core::CommitOutcome;

use super::*;

async fn commit_both(node: &Aft, value: &'static str) {
    let mut tx = node.begin().await.unwrap();
    tx.put("a", value).unwrap();
    tx.put("b", value).unwrap();
    tx.commit().await.unwrap();
}

/// HAZARDS 3: a token that read a commit which its next node does not know, unpublished or pruned, is not torn there.
pub async fn h03_a_token_carries_what_it_read_to_a_node_that_does_not_know_it() {
    for pruned in [false, true] {
        let world = World::new();
        let (writer, second) = (world.node().await, world.node().await);
        commit_both(&writer, "old").await;
        writer.publish().await.unwrap();
        second.refresh().await.unwrap();
        commit_both(&writer, "new").await;
        let mut tx = writer.begin().await.unwrap();
        assert_eq!(tx.get("a").await.unwrap().unwrap(), "new");
        let token = tx.suspend().await.unwrap();
        if pruned {
            // Overwritten in the same batch: the feed carries its id alone.
            commit_both(&writer, "newer").await;
            writer.publish().await.unwrap();
        }
        let mut tx = second.resume(&token).await.unwrap();
        assert_eq!(tx.get("b").await.unwrap().as_deref(), Some(&b"new"[..]), "a token is not torn");
        assert_eq!(tx.get("a").await.unwrap().as_deref(), Some(&b"new"[..]), "a token is not torn");
    }
}

/// A token that two functions resume: each is an attempt of its own, with values of its own.
pub async fn a_token_resumed_twice_commits_once() {
    let world = World::new();
    let (first, second) = (world.node().await, world.node().await);
    let token = first.begin().await.unwrap().suspend().await.unwrap();
    let (mut one, mut two) = (first.resume(&token).await.unwrap(), second.resume(&token).await.unwrap());
    one.put("k", vec![1; 50_000]).unwrap();
    two.put("k", vec![2; 50_000]).unwrap();
    let (one, two) = (one.commit().await.unwrap(), two.commit().await.unwrap());
    assert_eq!(
        (one.outcome, two.outcome),
        (CommitOutcome::Fresh, CommitOutcome::Replayed),
        "one of them commits, and both know which"
    );
}
