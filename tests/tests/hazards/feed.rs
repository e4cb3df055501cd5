//! The feed: nothing that was published escapes a refresh.

use std::time::Duration;

use aft_core::{Aft, Config, ErrorKind};
use aft_memory::{ErrorKind as Stored, Fault, Operation};
use aft_tests::{World, get, put};
use tokio::time::sleep;

use crate::{node_with_clock, secs, tell_the_time};

/// Publishes `k` in a feed object that is as hard to find as the rules allow: the time in its name is `lag` before the date
/// that the store gives it, and it becomes visible `hidden` after that date. Just before, a commit of `other` is published
/// and `reader` refreshes, so that its cursor is as far as it may be.
async fn publish_behind_the_cursor(
    world: &World,
    lag: Duration,
    hidden: Duration,
    other: &Aft,
    reader: &Aft,
) {
    let (maker, clock) = node_with_clock(world).await;
    // The cursor moves in whole seconds: it becomes a whole second when the object is about to appear.
    let second = Duration::from_millis(1000 - 437);
    sleep(second).await;
    put(&maker, "k", "v").await;
    sleep(secs(60) - hidden + Duration::from_millis(9)).await;
    // Its clock was set, so the name says what it shows now.
    clock.set_skew_ms(-i64::try_from(lag.as_millis()).unwrap());
    let held = world.storage.fail(Operation::Create, "feed/", 1, Fault::Delay);
    let meanwhile = async {
        held.reached().await;
        sleep(hidden - Duration::from_millis(9)).await;
        tell_the_time(other).await;
        // The first learns the time, the second moves the cursor there.
        reader.refresh().await.unwrap();
        reader.refresh().await.unwrap();
        sleep(Duration::from_millis(9)).await;
        world.release_dated(&held, hidden).await;
    };
    let (published, ()) = tokio::join!(maker.publish(), meanwhile);
    published.unwrap();
    assert_eq!(maker.stats().unpublished, 0);
    let made = world.storage.requests().iter().filter(|it| is_feed(it, Operation::Create)).count();
    assert_eq!(made, 2, "each published once: the object counts");
}

fn is_feed(request: &aft_memory::Request, operation: Operation) -> bool {
    request.operation == operation && request.path.starts_with("feed/")
}

/// 5: `last_modified` is the time of receipt; the object becomes visible almost E later, behind every cursor.
pub(crate) async fn h05_a_feed_object_that_becomes_visible_behind_every_cursor_is_taken_in() {
    let world = World::new();
    let (other, reader) = (world.node().await, world.node().await);
    publish_behind_the_cursor(&world, secs(10), Duration::from_millis(29_990), &other, &reader).await;
    assert_eq!(get(&reader, "k").await, None);
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a published commit is seen");
}

/// 11, exactly tight against whole-second rounding: E is no whole number of seconds, so that an object dated E before another
/// is dated almost a second more before it in whole seconds.
pub(crate) async fn h11_a_feed_object_at_the_very_edge_of_the_window_is_taken_in() {
    let world = World::new();
    let config = Config {
        visibility_delay: Duration::from_millis(2_500),
        publish_deadline: secs(2),
        request_timeout: Duration::from_millis(2_500),
        ..World::config()
    };
    let other = world.builder().config(config).open().await.unwrap();
    let reader = world.node().await;
    publish_behind_the_cursor(
        &world,
        Duration::from_millis(2_400),
        Duration::from_millis(2_499),
        &other,
        &reader,
    )
    .await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a published commit is seen");
}

/// 11: the window of a refresh is none of the reader's own clock's business.
pub(crate) async fn h11_a_reader_whose_clock_is_an_hour_fast_misses_nothing() {
    let world = World::new();
    let (writer, (reader, clock)) = (world.node().await, node_with_clock(&world).await);
    clock.set_skew_ms(3_600_000);
    reader.refresh().await.unwrap();
    put(&writer, "k", "v").await;
    writer.publish().await.unwrap();
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a published commit is seen");
}

/// A feed object cannot be read throughout two refreshes, while a later one shows how late it is: were they complete without it, the
/// next one would begin behind it.
pub(crate) async fn a_feed_object_that_cannot_be_read_is_not_passed_over() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    put(&writer, "k", "v").await;
    writer.publish().await.unwrap();
    sleep(secs(60)).await;
    let first = world.memory.paths().into_iter().find(|path| path.starts_with("feed/")).unwrap();
    tell_the_time(&writer).await;
    let unreadable: Vec<_> = (0..20)
        .map(|_| world.storage.fail(Operation::Get, &first, 1, Fault::Before(Stored::Unavailable)))
        .collect();
    let refreshed = [reader.refresh().await, reader.refresh().await];
    assert!(unreadable.iter().all(aft_memory::Gate::is_reached), "throughout the refreshes");
    sleep(secs(60)).await;
    assert_eq!(get(&reader, "k").await.as_deref(), Some("v"), "a published commit is seen");
    for refreshed in refreshed {
        assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
