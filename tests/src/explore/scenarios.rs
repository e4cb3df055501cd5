//! The scenarios.

use std::time::Duration;

use aft_core::Begin;

use super::actor::Actor;
use super::scenario::Scenario;
use crate::history::Status;

/// Longer than the inline limit: an object of its own.
const LARGE: usize = 200;
/// Longer than a decision or a feed object may take to land.
const TOO_LATE: Duration = Duration::from_secs(25);

/// Less than a transaction may live.
const NEARLY_EXPIRED: Duration = Duration::from_secs(40);
/// Longer than that, and not so long that a decision sent just before could not land any more.
const EXPIRED: Duration = Duration::from_secs(47);

const XY: &[&str] = &["x", "y"];

/// Every scenario.
#[must_use]
pub fn scenarios() -> Vec<Scenario> {
    vec![
        writers_and_reader(),
        retry_pair(),
        sweep_beside_commit(),
        cancel_beside_commit(),
        publishers_and_reader(),
        large_value(),
        request_pair(),
        slow_request(),
        guarded_writers(),
        skew_pair(),
    ]
}

/// The scenario of this name.
#[must_use]
pub fn scenario(name: &str) -> Option<Scenario> {
    scenarios().into_iter().find(|scenario| scenario.name() == name)
}

/// Writes these keys in one transaction and publishes it.
async fn write_and_publish(actor: Actor, keys: &[&str]) {
    let Some(mut tx) = actor.begin(Begin::new()).await else { return };
    keys.iter().for_each(|key| tx.put(key, 0));
    tx.commit().await;
    actor.publish().await;
}

/// Reads one key, learns what is new, and reads the other.
async fn read_slowly(actor: Actor, keys: [&str; 2]) {
    let Some(mut tx) = actor.begin(Begin::new()).await else { return };
    for key in keys {
        actor.refresh().await;
        if !tx.read(&[key.to_owned()]).await {
            return;
        }
    }
    tx.commit().await;
}

/// Publishes what the dead left, and sees it.
async fn sweep_and_read(actor: Actor) {
    actor.sweep().await;
    read_slowly(actor, ["x", "y"]).await;
}

/// Runs the transaction with the shared id, with other writes for each actor; again if nobody knows how it ended.
async fn attempt(actor: &Actor, keys: &[&str], len: usize) {
    for _ in 0..2 {
        let Some(mut tx) = actor.begin_shared().await else { return };
        keys.iter().for_each(|key| tx.put(key, len));
        if tx.commit().await != Status::Unknown {
            return;
        }
    }
}

/// Runs the request that all actors know, with other writes for each; again if nobody knows how it ended.
async fn request(actor: &Actor, keys: &[&str]) {
    for _ in 0..2 {
        let Some(mut tx) = actor.begin_request().await else { return };
        keys.iter().for_each(|key| tx.put(key, 0));
        if tx.commit().await != Status::Unknown {
            return;
        }
    }
}

/// Reads a key guarded and writes it.
async fn update(actor: &Actor, key: &str) {
    let Some(mut tx) = actor.begin(Begin::new()).await else { return };
    if tx.read_guarded(&[key.to_owned()]).await {
        tx.put(key, 0);
        tx.commit().await;
    }
}

/// Reads both keys and writes one of them.
async fn serial(actor: &Actor, written: &str) {
    let Some(mut tx) = actor.begin_serializable().await else { return };
    if tx.read(&["x".to_owned(), "y".to_owned()]).await {
        tx.put(written, 0);
        tx.commit().await;
    }
}

/// Two that guard one key and write it; then a third, which finds what the dead left.
fn guarded_writers() -> Scenario {
    Scenario::new("two guarded writers", &["x"])
        .actor("a", |actor| async move { update(&actor, "x").await })
        .actor("b", |actor| async move { update(&actor, "x").await })
        .recovery(|actor| async move { update(&actor, "x").await })
}

/// Two serializable transactions each of which reads what the other writes; then somebody sweeps, and reads both keys.
fn skew_pair() -> Scenario {
    Scenario::new("a skew pair", XY)
        .actor("a", |actor| async move { serial(&actor, "x").await })
        .actor("b", |actor| async move { serial(&actor, "y").await })
        .recovery(sweep_and_read)
}

/// One request that two nodes run at once; a third runs it again, at once, and when whatever the dead left has expired.
fn request_pair() -> Scenario {
    Scenario::new("a request on two nodes", &["x", "y", "z"])
        .actor("a", |actor| async move { request(&actor, &["x", "y"]).await })
        .actor("b", |actor| async move { request(&actor, &["y", "z"]).await })
        .recovery(|actor| async move {
            request(&actor, &["x", "z"]).await;
            actor.wait(EXPIRED).await;
            request(&actor, &["x", "z"]).await;
        })
}

/// A request whose node is nearly too old when it commits; another takes over when it has expired, and its decision may still land.
fn slow_request() -> Scenario {
    Scenario::new("a request taken over", &["x", "y", "z"])
        .actor("slow", |actor| async move {
            let Some(mut tx) = actor.begin_request().await else { return };
            tx.put("x", 0);
            tx.put("y", 0);
            actor.wait(NEARLY_EXPIRED).await;
            tx.commit().await;
        })
        .recovery(|actor| async move {
            actor.wait(EXPIRED - NEARLY_EXPIRED).await;
            request(&actor, &["y", "z"]).await;
            actor.wait(EXPIRED).await;
            request(&actor, &["x", "z"]).await;
        })
}

/// Two writers of overlapping keys, and a reader of both keys.
fn writers_and_reader() -> Scenario {
    Scenario::new("two writers and a reader", XY)
        .actor("a", |actor| write_and_publish(actor, XY))
        .actor("b", |actor| write_and_publish(actor, XY))
        .actor("reader", |actor| read_slowly(actor, ["x", "y"]))
        .recovery(sweep_and_read)
}

/// One transaction id, committed on two nodes at once, each with its own writes; a third retries it later, and once more when
/// nothing under way can commit any more.
fn retry_pair() -> Scenario {
    Scenario::new("retry pair", &["x", "y", "z"])
        .written(XY)
        .actor("a", |actor| async move {
            attempt(&actor, &["x", "y"], 0).await;
            actor.publish().await;
        })
        .actor("b", |actor| async move {
            attempt(&actor, &["y", "z"], 0).await;
            actor.publish().await;
        })
        .recovery(|actor| async move {
            actor.outcome(actor.id).await;
            attempt(&actor, &["x", "z"], 0).await;
            actor.wait(TOO_LATE).await;
            attempt(&actor, &["x", "z"], 0).await;
        })
}

/// A sweep beside a slow commit, whose node may die between its decision and its publication; then a retry and a second sweep, when
/// what was under way is too late.
fn sweep_beside_commit() -> Scenario {
    Scenario::new("a sweep beside a slow commit", XY)
        .actor("a", |actor| async move {
            attempt(&actor, XY, 0).await;
            actor.publish().await;
        })
        .actor("sweeper", sweep_and_read)
        .recovery(|actor| async move {
            actor.wait(TOO_LATE).await;
            attempt(&actor, XY, 0).await;
            sweep_and_read(actor).await;
        })
}

/// A transaction is given up while its node commits it, and a third asks what became of it.
fn cancel_beside_commit() -> Scenario {
    Scenario::new("a cancel beside a commit", XY)
        .actor("a", |actor| async move {
            attempt(&actor, XY, 0).await;
            actor.publish().await;
        })
        .actor("canceller", |actor| async move { actor.cancel().await })
        .actor("observer", |actor| async move {
            actor.outcome(actor.id).await;
        })
        .recovery(|actor| async move {
            actor.cancel().await;
            actor.wait(TOO_LATE).await;
            actor.outcome(actor.id).await;
        })
}

/// Two nodes publish before they acknowledge, one of them twice; a reader that asks for the latest sees what was acknowledged.
fn publishers_and_reader() -> Scenario {
    async fn publish(actor: Actor, commits: &[&[&str]]) {
        for keys in commits {
            let begin = Begin::new().publish_before_ack();
            let Some(mut tx) = actor.begin(begin).await else { return };
            keys.iter().for_each(|key| tx.put(key, 0));
            tx.commit().await;
        }
    }
    async fn read(actor: Actor) {
        for _ in 0..2 {
            let Some(mut tx) = actor.begin(Begin::new().latest()).await else { return };
            tx.read(&["x".to_owned(), "y".to_owned()]).await;
            tx.commit().await;
        }
    }
    Scenario::new("two publishers and a reader", XY)
        .real_time()
        .actor("a", |actor| publish(actor, &[&["x", "y"]]))
        .actor("b", |actor| publish(actor, &[&["y"], &["x"]]))
        .actor("reader", read)
        .recovery(read)
}

/// A transaction with a value in an object of its own, a reader, and a retry under the same id.
fn large_value() -> Scenario {
    Scenario::new("a large value and its retry", XY)
        .actor("a", |actor| async move {
            attempt(&actor, XY, LARGE).await;
            actor.publish().await;
        })
        .actor("reader", |actor| read_slowly(actor, ["x", "y"]))
        .recovery(|actor| async move {
            attempt(&actor, XY, LARGE).await;
            sweep_and_read(actor).await;
        })
}
