//! Guarded keys: no update is lost, none is written over what changed meanwhile, and what that costs.

#![allow(clippy::unwrap_used, reason = "a test's own helpers")]
#![allow(clippy::print_stdout, reason = "the counts are for the benchmarks page")]

use std::sync::Arc;
use std::time::Duration;

use aft_core::{
    Aft, Begin, Clock, CloneOptions, CommitOutcome, Config, ErrorKind, Outcome, Token, Transaction,
};
use aft_memory::{Counts, Fault, MemoryStorage, Operation};
use aft_tests::{DOUBTS, WaitingStorage, World, add, get, number, put, rounds_since};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

fn under(world: &World, folder: &str) -> usize {
    world.memory.paths().iter().filter(|path| path.starts_with(folder)).count()
}

#[tokio::test(start_paused = true)]
async fn the_first_committer_wins_and_the_other_reads_what_it_wrote() {
    let world = World::new();
    let (one, two) = (world.node().await, world.node().await);
    let (mut first, mut second) = (one.begin().await.unwrap(), two.begin().await.unwrap());
    for tx in [&mut first, &mut second] {
        assert_eq!(number(tx, "n").await.unwrap(), 0);
        tx.put("n", "1").unwrap();
    }
    let receipt = first.commit().await.unwrap().receipt;
    let error = second.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("the key n was guarded"), "{error}");
    assert_eq!(error.receipt(), Some(&receipt), "the error names the winner");
    // Its node has learned of it, though nobody has published it.
    assert_eq!(add(&two, "n").await.unwrap(), 2);
    assert_eq!(add(&one, "n").await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_contention_a_guard_is_a_create_and_all_go_together() {
    let world = World::new();
    put(&world.node().await, "a", "1").await;
    let waiting = WaitingStorage::new(Arc::new(world.storage.clone()));
    let node =
        Aft::builder(Arc::new(waiting)).config(World::config()).clock(world.clock()).open().await.unwrap();
    put(&node, "clock", "measured").await;
    let keys = ["a", "b", "c"];
    let mut tx = node.begin().await.unwrap();
    tx.get_many_guarded(keys).await.unwrap();
    for key in keys {
        tx.put(key, "2").unwrap();
    }
    world.storage.reset();
    let began = Instant::now();
    let commit = tx.commit().await.unwrap();
    let counts = world.storage.counts();
    assert_eq!((counts.creates, counts.requests()), (1 + 3, 1 + 3), "{counts:?}");
    assert_eq!(rounds_since(began), 2, "the guards go together, then the decision");
    assert_eq!(commit.cost.creates, 4);
    // Who guards nothing pays nothing.
    world.storage.reset();
    put(&node, "d", "1").await;
    assert_eq!(world.storage.counts().creates, 1);
}

/// Absent, deleted and present keys; deleted by whoever does not guard; written again.
#[tokio::test(start_paused = true)]
async fn a_key_that_comes_and_goes_is_guarded_in_each_of_its_lives() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    for life in 0..4 {
        // Two that find it absent.
        let (mut a, mut b) = (node.begin().await.unwrap(), node.begin().await.unwrap());
        for tx in [&mut a, &mut b] {
            assert_eq!(tx.get_guarded("k").await.unwrap(), None, "life {life}");
            tx.put("k", "v").unwrap();
        }
        b.commit().await.unwrap();
        assert_eq!(a.commit().await.unwrap_err().kind(), ErrorKind::Conflict, "life {life}");
        // Two that delete it.
        let (mut a, mut b) = (node.begin().await.unwrap(), node.begin().await.unwrap());
        for tx in [&mut a, &mut b] {
            assert!(tx.get_guarded("k").await.unwrap().is_some());
            tx.delete("k").unwrap();
        }
        a.commit().await.unwrap();
        assert_eq!(b.commit().await.unwrap_err().kind(), ErrorKind::Conflict, "life {life}");
        node.publish().await.unwrap();
        // Its deletion leaves the index, now and then.
        for _ in 0..3 * (life % 2) {
            sleep(Duration::from_secs(3_600)).await;
            put(&node, "tick", "t").await;
            node.publish().await.unwrap();
            node.checkpoint().await.unwrap();
        }
    }
    other.refresh().await.unwrap();
    assert_eq!(get(&other, "k").await, None);
    assert_eq!(add(&other, "k").await.unwrap(), 1);
}

/// Write skew: each reads what the other writes.
#[tokio::test(start_paused = true)]
async fn serializable_transactions_do_not_pass_each_other() {
    for serializable in [true, false] {
        let world = World::new();
        let (one, two) = (world.node().await, world.node().await);
        let begin = || if serializable { Begin::new().serializable() } else { Begin::new() };
        let (mut a, mut b) = (one.begin_with(begin()).await.unwrap(), two.begin_with(begin()).await.unwrap());
        for (tx, reads, writes) in [(&mut a, "x", "y"), (&mut b, "y", "x")] {
            assert_eq!(tx.get(reads).await.unwrap(), None);
            tx.put(writes, "v").unwrap();
        }
        let (a, b) = futures::join!(a.commit(), b.commit());
        let committed = usize::from(a.is_ok()) + usize::from(b.is_ok());
        assert_eq!(committed, if serializable { 1 } else { 2 }, "{a:?} {b:?}");
    }
}

/// It reads and writes nothing: what it read together was there together, when it committed.
#[tokio::test(start_paused = true)]
async fn a_serializable_reader_is_current() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let begin = Begin::new().serializable();
    writer.transact_with(begin.clone(), async |tx| tx.put("k", "1")).await.unwrap();
    let stale = reader.begin_with(begin.clone()).await.unwrap();
    assert_eq!(stale.get("k").await.unwrap(), None, "nobody has published it");
    assert_eq!(stale.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let read = reader.transact_with(begin.clone(), async |tx| tx.get("k").await).await.unwrap();
    assert_eq!(read.unwrap(), "1");
    let tx = reader.begin_with(begin).await.unwrap();
    let refused = tx.scan("a".."z").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("cannot scan"), "{refused}");
}

/// Read guards: many read a key, and whoever writes it waits for those that were before it.
#[tokio::test(start_paused = true)]
async fn readers_do_not_hinder_each_other_and_writers_come_after_them() {
    let world = World::new();
    let node = world.node().await;
    put(&node, "limit", "10").await;
    let mut readers = Vec::new();
    for n in 0..5 {
        let mut tx = node.begin().await.unwrap();
        tx.get_guarded("limit").await.unwrap();
        tx.put(format!("order/{n}"), "1").unwrap();
        readers.push(tx);
    }
    let mut writer = node.begin().await.unwrap();
    writer.get_guarded("limit").await.unwrap();
    writer.put("limit", "0").unwrap();
    let last = readers.pop().unwrap();
    for commit in join_all(readers.into_iter().map(Transaction::commit)).await {
        commit.unwrap();
    }
    writer.commit().await.unwrap();
    // What it read is not current any more.
    assert_eq!(last.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
}

/// Whoever guards and dies holds nobody up for long, younger or older.
#[tokio::test(start_paused = true)]
async fn a_dead_holder_is_put_out_of_the_way() {
    let world = World::new();
    let node = world.node().await;
    let dying = world.node().await;
    let mut tx = dying.begin().await.unwrap();
    tx.get_guarded("n").await.unwrap();
    tx.put("n", "100").unwrap();
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let commit = tokio::spawn(tx.commit());
    ghost.reached().await;
    commit.abort();
    assert_eq!(under(&world, "guards/"), 1);
    let began = Instant::now();
    assert_eq!(add(&node, "n").await.unwrap(), 1);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Its decision lands after all: it was aborted before.
    let _ = ghost.release().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(add(&node, "n").await.unwrap(), 2);
}

/// Another attempt of the same request goes on with the guards of the one that died, or past them.
#[tokio::test(start_paused = true)]
async fn attempts_of_one_request_share_its_guards() {
    let world = World::new();
    let (node, dying) = (world.node().await, world.node().await);
    let work = async |tx: &mut Transaction| {
        let n = number(tx, "n").await? + 1;
        tx.put("n", n.to_string())?;
        Ok(n.to_string().into())
    };
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let died = tokio::spawn(async move { dying.run("request", work).await });
    ghost.reached().await;
    died.abort();
    let run = node.run("request", work).await.unwrap();
    assert_eq!((run.result, under(&world, "guards/")), ("1".into(), 1));
    assert_eq!(node.run("request", work).await.unwrap().result, "1", "once");
    assert_eq!(add(&node, "n").await.unwrap(), 2);
}

/// 18: one attempt of a request guards k and dies; another one commits without it: it holds k no more.
#[tokio::test(start_paused = true)]
async fn h18_what_another_attempt_guarded_is_free() {
    let world = World::new();
    let (node, dying) = (world.node().await, world.node().await);
    let id = node.new_txn_id();
    let mut tx = dying.begin_with(Begin::new().id(id)).await.unwrap();
    tx.get_guarded("k").await.unwrap();
    tx.put("k", "v").unwrap();
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let commit = tokio::spawn(tx.commit());
    ghost.reached().await;
    commit.abort();
    let mut again = node.begin_with(Begin::new().id(id)).await.unwrap();
    again.put("other", "v").unwrap();
    again.commit().await.unwrap();
    let _ = ghost.release().await;
    assert!(matches!(node.outcome(id).await.unwrap(), Outcome::Committed { .. }));
    assert_eq!(add(&node, "k").await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_doubt_about_a_guard_is_settled() {
    for doubt in &DOUBTS {
        let world = World::new();
        let node = world.node().await;
        doubt.script(&world.storage, "guards/");
        assert_eq!(add(&node, "n").await.unwrap(), 1, "{doubt:?}");
        world.storage.clear_faults();
        assert_eq!((add(&node, "n").await.unwrap(), under(&world, "guards/")), (2, 2), "{doubt:?}");
    }
}

/// Many clients of several nodes increment one counter, in every order: none is lost, each has its turn, and what it cost.
#[tokio::test(start_paused = true)]
async fn a_contended_counter_counts_right() {
    for contenders in [2u64, 8, 32] {
        let world = World::new();
        let waiting = Arc::new(WaitingStorage::new(Arc::new(world.storage.clone())));
        let mut nodes = Vec::new();
        for n in 0..contenders.min(4) {
            let config = Config { background: true, ..World::config() };
            let builder = Aft::builder(Arc::clone(&waiting) as Arc<dyn aft_core::Storage>)
                .config(config)
                .clock(world.clock())
                .rng_seed(n + 1);
            nodes.push(builder.open().await.unwrap());
        }
        world.storage.reset();
        let began = Instant::now();
        let client = |n: u64| {
            let node = nodes[usize::try_from(n).unwrap() % nodes.len()].clone();
            async move {
                for _ in 0..5 {
                    add(&node, "n").await.unwrap_or_else(|error| panic!("{contenders} contenders: {error}"));
                }
            }
        };
        join_all((0..contenders).map(client)).await;
        let (counts, took) = (world.storage.counts(), began.elapsed());
        let commits = contenders * 5;
        let each = |n: u64| n as f64 / commits as f64;
        let Counts { creates, gets, lists, .. } = counts;
        println!(
            "{contenders} contenders: {:.1} creates, {:.1} gets, {:.1} lists a commit, {:?} a commit",
            each(creates),
            each(gets),
            each(lists),
            took / u32::try_from(commits).unwrap()
        );
        assert_eq!(add(&nodes[0], "n").await.unwrap(), commits + 1);
        assert!(
            took < Duration::from_secs(commits),
            "about two rounds trips of 100 ms each, and what contenders cost"
        );
    }
}

/// Two keys in opposite order: no two wait for each other for ever.
#[tokio::test(start_paused = true)]
async fn opposite_orders_do_not_block_each_other() {
    let world = World::new();
    let nodes = [world.node().await, world.node().await];
    let transfer = |n: usize| {
        let node = nodes[n % 2].clone();
        let (from, to) = if n.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        async move {
            for _ in 0..5 {
                node.transact(async |tx| {
                    let (from_n, to_n) = (number(tx, from).await?, number(tx, to).await?);
                    tx.put(from, (from_n + 1).to_string())?;
                    tx.put(to, (to_n + 1).to_string())
                })
                .await
                .unwrap();
            }
        }
    };
    let began = Instant::now();
    join_all((0..8).map(transfer)).await;
    println!("8 clients, 40 transfers: {:?}", began.elapsed());
    for key in ["a", "b"] {
        assert_eq!(add(&nodes[0], key).await.unwrap(), 41);
    }
}

/// What it guards travels with it.
#[tokio::test(start_paused = true)]
async fn a_token_keeps_its_guards() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    for serializable in [false, true] {
        let begin = if serializable { Begin::new().serializable() } else { Begin::new() };
        let mut tx = here.begin_with(begin).await.unwrap();
        let n = if serializable { tx.get("n").await.unwrap() } else { tx.get_guarded("n").await.unwrap() };
        tx.put("n", format!("1{}", n.map_or(0, |n| n.len()))).unwrap();
        let token = tx.suspend().await.unwrap();
        put(&here, "beside", "v").await;
        add(&here, "n").await.unwrap();
        here.publish().await.unwrap();
        there.refresh().await.unwrap();
        let error = there.resume(&token).await.unwrap().commit().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{serializable}: {error}");
    }
}

/// Branches of one transaction guard together what each of them guards.
#[tokio::test(start_paused = true)]
async fn what_is_joined_keeps_the_guards_of_both() {
    for serializable in [false, true] {
        for lost in ["x", "y"] {
            let world = World::new();
            let (here, there) = (world.node().await, world.node().await);
            let begin = if serializable { Begin::new().serializable() } else { Begin::new() };
            let token = here.begin_with(begin).await.unwrap().suspend().await.unwrap();
            let branch = async |node: &Aft, key: &str| {
                let mut tx = node.resume(&token).await.unwrap();
                if serializable {
                    tx.get(key).await.unwrap()
                } else {
                    tx.get_guarded(key).await.unwrap()
                };
                tx.put(key, "1").unwrap();
                tx.suspend().await.unwrap()
            };
            let joined = Token::join([branch(&here, "x").await, branch(&there, "y").await]).unwrap();
            add(&here, lost).await.unwrap();
            let error = there.resume(&joined).await.unwrap().commit().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{lost}: {error}");
            assert!(error.to_string().contains(&format!("the key {lost} was guarded")), "{error}");
        }
    }
}

/// One attempt of an id loses a key, and another one has committed: that is what both are told.
#[tokio::test(start_paused = true)]
async fn who_came_second_learns_of_an_attempt_that_committed() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let id = node.new_txn_id();
    let mut late = other.begin_with(Begin::new().id(id)).await.unwrap();
    number(&late, "lost").await.unwrap();
    late.put("lost", "7").unwrap();
    add(&node, "lost").await.unwrap();
    let mut tx = node.begin_with(Begin::new().id(id)).await.unwrap();
    tx.put("k", "v").unwrap();
    tx.commit().await.unwrap();
    assert_eq!(late.commit().await.unwrap().outcome, CommitOutcome::Replayed);
    assert_eq!(add(&other, "lost").await.unwrap(), 2);
}

/// One attempt of an id loses a key, and the id was given up: a conflict it is all the same, after which a request is run again at once.
#[tokio::test(start_paused = true)]
async fn who_came_second_under_an_id_that_was_given_up_has_a_conflict() {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    let id = node.new_txn_id();
    let mut late = other.begin_with(Begin::new().id(id)).await.unwrap();
    number(&late, "lost").await.unwrap();
    late.put("lost", "7").unwrap();
    add(&node, "lost").await.unwrap();
    assert_eq!(node.cancel(id).await.unwrap(), Outcome::Aborted);
    assert_eq!(late.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test(start_paused = true)]
async fn more_guards_than_fit_a_record_are_refused() {
    let world = World::new();
    let config = Config { max_record_bytes: 64 << 10, ..World::config() };
    let node = world.builder().config(config).open().await.unwrap();
    let commit = async |keys: usize| {
        let mut tx = node.begin().await.unwrap();
        tx.get_many_guarded((0..keys).map(|n| format!("{n:01000}"))).await.unwrap();
        tx.put("k", "v").unwrap();
        world.storage.reset();
        tx.commit().await
    };
    commit(62).await.unwrap();
    let error = commit(63).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains("it guards 63 keys, 66024 bytes"), "{error}");
    assert_eq!(world.storage.counts().creates, 0, "nothing was sent");
}

/// A commit is dropped at each of its requests; what it had sent lands before another one updates the key, or while that one waits for it, or after. Whatever
/// it is, the key counts what committed.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_dropped_lets_no_conflicting_write_through() {
    let mut dropped = 0;
    for lands_ms in [0, 100, 1_500, 4_000] {
        let mut nth = 1;
        while let Some(committed) = drop_at(nth, lands_ms).await {
            println!("dropped at create {nth}, which lands after {lands_ms} ms: committed {committed}");
            (nth, dropped) = (nth + 1, dropped + 1);
        }
    }
    assert_eq!(dropped, 4 * 2, "a guard and a decision");
}

/// Whether the transaction committed that was dropped at this create; `None` where it has fewer.
async fn drop_at(nth: u64, lands_ms: u64) -> Option<bool> {
    let world = World::new();
    let (node, other) = (world.node().await, world.node().await);
    add(&node, "n").await.unwrap();
    node.publish().await.unwrap();
    other.refresh().await.unwrap();
    let mut tx = node.begin().await.unwrap();
    let (id, n) = (tx.id(), number(&tx, "n").await.unwrap());
    tx.put("n", (n + 1).to_string()).unwrap();
    let gate = world.storage.fail(Operation::Create, "", nth, Fault::Ghost);
    let commit = tokio::spawn(tx.commit());
    tokio::select! {
        biased;
        () = gate.reached() => {}
        () = async { while !commit.is_finished() { sleep(Duration::from_millis(1)).await } } => return None,
    }
    commit.abort();
    drop(commit.await);
    let lands = async {
        sleep(Duration::from_millis(lands_ms)).await;
        // Refused, where somebody else is there.
        let _ = gate.release().await;
    };
    let ((), added) = tokio::join!(lands, add(&other, "n"));
    let added = added.unwrap();
    other.publish().await.unwrap();
    let committed = matches!(other.outcome(id).await.unwrap(), Outcome::Committed { .. });
    assert_eq!(added, 2 + u64::from(committed), "create {nth}, {lands_ms} ms");
    assert_eq!(add(&node, "n").await.unwrap(), added + 1, "create {nth}, {lands_ms} ms");
    Some(committed)
}

/// A clone has the versions and not the guards: whoever held one can commit in the source alone.
#[tokio::test(start_paused = true)]
async fn a_clone_goes_on_without_the_guards_of_its_source() {
    let world = World::new();
    let node = world.node().await;
    add(&node, "n").await.unwrap();
    node.run("request", async |tx| {
        let n = number(tx, "n").await? + 1;
        tx.put("n", n.to_string()).map(|()| n.to_string().into())
    })
    .await
    .unwrap();
    // One that holds a guard and never decides.
    let mut dead = node.begin().await.unwrap();
    number(&dead, "n").await.unwrap();
    dead.put("n", "7").unwrap();
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let commit = tokio::spawn(dead.commit());
    ghost.reached().await;
    commit.abort();
    node.publish().await.unwrap();
    let place = MemoryStorage::with_clock(Arc::clone(&world.store_clock) as Arc<dyn Clock>);
    node.clone_to(Arc::new(place.clone()), CloneOptions::default()).await.unwrap();
    let open = || Aft::builder(Arc::new(place.clone())).config(World::config()).clock(world.clock());
    let (one, two) = (open().rng_seed(71).open().await.unwrap(), open().rng_seed(72).open().await.unwrap());
    let began = Instant::now();
    assert_eq!(add(&one, "n").await.unwrap(), 3);
    assert!(began.elapsed() < Duration::from_secs(1), "nobody is waited for: {:?}", began.elapsed());
    assert_eq!(add(&two, "n").await.unwrap(), 4);
    let report = one.check().await.unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(add(&node, "n").await.unwrap(), 3, "and the source goes on as well");
}
