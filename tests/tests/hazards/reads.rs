//! The read protocol, through nodes: what arrives between two reads cannot tear them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aft_core::{Aft, Begin, Config, ErrorKind, KeyRange, Transaction};
use aft_memory::{Fault, Faults, Operation, SimulatedStorage};
use aft_tests::{World, get, put};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;

use crate::secs;

/// Commits these writes and publishes them; an empty value deletes.
async fn publish(writer: &Aft, writes: &[(&str, &str)]) {
    let mut tx = writer.begin().await.unwrap();
    for (key, value) in writes {
        if value.is_empty() { tx.delete(key).unwrap() } else { tx.put(key, value.to_string()).unwrap() }
    }
    tx.commit().await.unwrap();
    writer.publish().await.unwrap();
}

/// 3, for receipts: what they name is read by id, also where no feed carries it, or carries only its id.
pub(crate) async fn h03_a_receipt_of_an_unpublished_or_pruned_commit_is_honoured() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let unpublished = put(&writer, "k", "1").await;
    let tx = reader.begin_with(Begin::new().after(&unpublished)).await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().as_deref(), Some(&b"1"[..]), "the receipt's commit is seen");

    let pruned = put(&writer, "k", "2").await;
    put(&writer, "k", "3").await;
    writer.publish().await.unwrap();
    for refreshed in [false, true] {
        if refreshed {
            reader.refresh().await.unwrap();
        }
        let tx = reader.begin_with(Begin::new().after(&pruned)).await.unwrap();
        let value = tx.get("k").await.unwrap();
        assert_eq!(value.as_deref(), Some(if refreshed { &b"3"[..] } else { b"2" }));
    }
}

/// 17: A scanned key with a tombstone recorded as version 0: whatever an older commit of that key wrote beside it would seem to
/// tear it, and be passed over.
pub(crate) async fn h17_a_scanned_tombstone_is_a_version() {
    let world = World::new();
    let node = world.node().await;
    publish(&node, &[("k", "1"), ("l", "1")]).await;
    publish(&node, &[("k", "")]).await;
    let tx = node.begin().await.unwrap();
    assert!(tx.scan("k".."kz").await.unwrap().is_empty());
    assert_eq!(tx.get("l").await.unwrap().as_deref(), Some(&b"1"[..]), "k was read at its tombstone");
}

/// 22: Read k absent, then T{k, l} commits, then read l.
pub(crate) async fn h22_what_was_read_absent_stays_absent_for_a_later_commit() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap(), None);
    publish(&writer, &[("k", "1"), ("l", "1")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "l").await.as_deref(), Some("1"));
    assert_eq!(tx.get("l").await.unwrap(), None, "k was read absent");
}

/// 22, where k was in a scanned range.
pub(crate) async fn h22_what_was_scanned_absent_stays_absent_for_a_later_commit() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let tx = reader.begin().await.unwrap();
    assert!(tx.scan("j".."kz").await.unwrap().is_empty());
    publish(&writer, &[("k", "1"), ("l", "1")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "l").await.as_deref(), Some("1"));
    assert_eq!(tx.get("l").await.unwrap(), None, "k was scanned absent");
}

/// 22: Read k@1, put k, T2{k, l} commits: k is the own write, l must not be @2.
pub(crate) async fn h22_an_own_write_does_not_undo_the_read_before_it() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    publish(&writer, &[("k", "1"), ("l", "1")]).await;
    reader.refresh().await.unwrap();
    let mut tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "1");
    tx.put("k", "mine").unwrap();
    publish(&writer, &[("k", "2"), ("l", "2")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "mine", "k is the own write");
    assert_eq!(tx.get("l").await.unwrap().unwrap(), "1", "k was read at the first commit");
}

/// 22: Read k@30 (cowritten l@30) and m@20, T40{m, l} commits, an older l is cached: l must be @30.
pub(crate) async fn h22_a_floor_holds_where_the_newest_version_may_not_be_read() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    publish(&writer, &[("l", "10")]).await;
    reader.refresh().await.unwrap();
    assert_eq!(get(&reader, "l").await.as_deref(), Some("10"), "now cached");
    publish(&writer, &[("m", "20")]).await;
    publish(&writer, &[("k", "30"), ("l", "30")]).await;
    reader.refresh().await.unwrap();
    let tx = reader.begin().await.unwrap();
    assert_eq!(tx.get("k").await.unwrap().unwrap(), "30");
    assert_eq!(tx.get("m").await.unwrap().unwrap(), "20");
    publish(&writer, &[("m", "40"), ("l", "40")]).await;
    reader.refresh().await.unwrap();
    let l = tx.get("l").await.unwrap().unwrap();
    assert_ne!(l, "40", "m was read at 20");
    assert_eq!(l, "30", "k was read at 30, and so must l be");
}

/// 3, for receipts of those who only read: x, then y, neither of them published. Whoever read both passes both on, and not y alone.
pub(crate) async fn h03_the_receipt_of_a_reader_names_all_that_others_may_not_know() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    put(&writer, "x", "1").await;
    let y = put(&writer, "y", "1").await;
    let tx = writer.begin().await.unwrap();
    for key in ["x", "y"] {
        assert_eq!(tx.get(key).await.unwrap().unwrap(), "1");
    }
    let receipt = tx.commit().await.unwrap().receipt;
    assert_eq!(receipt.version(), y.version());
    let receipt = receipt.to_string().parse().unwrap();
    let tx = reader.begin_with(Begin::new().after(&receipt)).await.unwrap();
    assert_eq!(tx.get("y").await.unwrap().unwrap(), "1");
    assert_eq!(
        tx.get("x").await.unwrap().as_deref(),
        Some(&b"1"[..]),
        "whoever begins after it sees at least as much"
    );
}

/// Commits that nobody has published, by many: more than a receipt can name. Whoever hands on the receipt of having read them all publishes
/// them; who may not write says so.
pub(crate) async fn h03_the_receipt_of_a_reader_leaves_out_nothing_that_it_has_no_room_for() {
    for read_only in [false, true] {
        let world = World::new();
        let (writer, other) = (world.node().await, world.node().await);
        let reader = if read_only { world.builder().read_only() } else { world.builder() };
        let reader = reader.open().await.unwrap();
        let keys: Vec<_> = (0..100).map(|n| format!("k{n:03}")).collect();
        let mut begin = Begin::new();
        for key in &keys {
            begin = begin.after(&put(&writer, key, "1").await);
        }
        let read = async |begin: Begin| {
            let tx = reader.begin_with(begin).await.unwrap();
            let values = tx.get_many(&keys).await.unwrap();
            assert!(values.iter().all(Option::is_some));
            tx.commit().await
        };
        let first = read(begin.clone()).await;
        let receipt = if read_only {
            let error = first.map(|commit| commit.receipt).expect_err("who cannot name all says so");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            writer.publish().await.unwrap();
            read(begin).await.unwrap().receipt
        } else {
            let receipt = first.unwrap().receipt;
            assert_eq!(reader.stats().published, 1, "for whoever begins after it");
            receipt
        };
        let receipt = receipt.to_string().parse().unwrap();
        let tx = other.begin_with(Begin::new().after(&receipt)).await.unwrap();
        let seen = tx.get_many(&keys).await.unwrap().iter().filter(|value| value.is_some()).count();
        assert_eq!(seen, keys.len(), "whoever begins after a long receipt sees at least as much");
    }
}

/// A receipt of another store, young or so old that its commit would be forgotten here.
pub(crate) async fn a_receipt_of_another_store_is_refused_whatever_its_age() {
    let (world, elsewhere) = (World::new(), World::new());
    let node = world.node().await;
    // Another seed: another store's id.
    let other = elsewhere.builder().rng_seed(77).open().await.unwrap();
    let foreign = put(&other, "k", "v").await;
    for young in [true, false] {
        let begun = node.begin_with(Begin::new().after(&foreign)).await;
        let refused = begun.map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::InvalidInput), "a foreign receipt is refused, young: {young}");
        sleep(secs(3_600)).await;
        put(&node, "other", "v").await;
        node.publish().await.unwrap();
        node.refresh().await.unwrap();
    }
}
/// Reads of one transaction side by side: the value of k is long in coming, and a commit of both keys comes before l is read.
pub(crate) async fn a_read_counts_from_when_it_is_chosen_not_from_when_its_value_is_there() {
    let world = World::new();
    let (writer, reader) = (world.node().await, world.node().await);
    let long = |digit: &str| digit.repeat(100_000);
    publish(&writer, &[("k", &long("1")), ("l", &long("1"))]).await;
    reader.refresh().await.unwrap();
    let tx = reader.begin().await.unwrap();
    let held = world.storage.fail(Operation::Get, "values/", 1, Fault::Delay);
    let beside = async {
        held.reached().await;
        publish(&writer, &[("k", &long("2")), ("l", &long("2"))]).await;
        reader.refresh().await.unwrap();
        let l = tx.get("l").await.unwrap().unwrap();
        held.release().await.unwrap();
        l
    };
    let (k, l) = tokio::join!(tx.get("k"), beside);
    assert_eq!(k.unwrap().unwrap()[0], b'1');
    assert_eq!(l[0], b'1', "k was read at 1, and so must l be");
}

/// A read waits for the index, and one beside it reads what came later: the first must read that, too, and not fail.
pub(crate) async fn a_read_that_waited_for_the_index_looks_again() {
    for scan in [false, true] {
        let world = World::new();
        let writer = world.node().await;
        publish(&writer, &[("k", "1"), ("l", "1")]).await;
        sleep(Duration::from_secs(3600)).await;
        assert!(writer.checkpoint().await.unwrap().made);
        let reader = world.node().await;
        let tx = reader.begin().await.unwrap();
        let held = world.storage.fail(Operation::GetRange, "index/", 1, Fault::Delay);
        let waiting = async {
            if scan {
                let rows = tx.scan("k".."kz").await.expect("k is read beside l");
                return rows[0].1.clone();
            }
            tx.get("k").await.expect("k is read beside l").unwrap()
        };
        let beside = async {
            held.reached().await;
            publish(&writer, &[("k", "2"), ("l", "2")]).await;
            reader.refresh().await.unwrap();
            let l = tx.get("l").await.unwrap().unwrap();
            held.release().await.unwrap();
            l
        };
        let (k, l) = tokio::join!(waiting, beside);
        assert_eq!((&k[..], &l[..]), (&b"2"[..], &b"2"[..]), "scan: {scan}");
    }
}

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Commits, each a random few of the keys, for ever, and notes what each wrote.
async fn commits(writer: &Aft, wrote: &RefCell<Vec<BTreeSet<&'static str>>>, mut rng: StdRng) {
    loop {
        let mut keys = KEYS.to_vec();
        keys.shuffle(&mut rng);
        keys.truncate(rng.random_range(1..=4));
        let n = wrote.borrow().len();
        wrote.borrow_mut().push(keys.iter().copied().collect());
        let values: Vec<_> = keys
            .iter()
            .map(|key| (*key, format!("{n:<width$}", width = if rng.random() { 8 } else { 20_000 })))
            .collect();
        let writes: Vec<_> = values.iter().map(|(key, value)| (*key, &value[..])).collect();
        publish(writer, &writes).await;
        sleep(Duration::from_millis(rng.random_range(0..30))).await;
    }
}

type Read = (String, usize);

fn read(key: impl AsRef<[u8]>, value: Option<&[u8]>) -> Read {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(key.as_ref()), value.map_or(0, |value| text(value).trim().parse().unwrap()))
}

/// Reads in all ways at once, each of them beginning at a random moment.
async fn reads_at_once(tx: &Transaction, rng: &mut StdRng) -> Vec<Read> {
    let mut ways: Vec<(Duration, BoxFuture<'_, Vec<Read>>)> = Vec::new();
    let mut at = || Duration::from_millis(rng.random_range(0..60));
    for key in KEYS {
        ways.push((at(), async move { vec![read(key, tx.get(key).await.unwrap().as_deref())] }.boxed()));
    }
    let many = async move {
        let values = tx.get_many(["b", "e"]).await.unwrap();
        ["b", "e"].iter().zip(values).map(|(key, value)| read(key, value.as_deref())).collect()
    };
    ways.push((at(), many.boxed()));
    let scan = async move {
        let rows: BTreeMap<_, _> = tx.scan("c"..="d").await.unwrap().into_iter().collect();
        ["c", "d"].iter().map(|key| read(key, rows.get(key.as_bytes()).map(|value| &value[..]))).collect()
    };
    ways.push((at(), scan.boxed()));
    let later = ways.into_iter().map(|(at, way)| async move {
        sleep(at).await;
        way.await
    });
    join_all(later).await.concat()
}

/// Reads of one transaction in all ways at once, while commits arrive, on a slow store: together they are an atomic read set, by the
/// definition.
pub(crate) async fn parallel_reads_of_one_transaction_are_atomic() {
    let mut folded_and_young = 0;
    for seed in 0..12 {
        let world = World::new();
        let writer = world.node().await;
        publish(&writer, &KEYS.map(|key| (key, "0"))).await;
        sleep(Duration::from_secs(3600)).await;
        assert!(writer.checkpoint().await.unwrap().made);
        let network = SimulatedStorage::new(Arc::new(world.storage.clone()), seed, Faults::none());
        let slow = network.reached_by(&network.process("reader"));
        let config = Config { cache_bytes: 0, ..World::config() };
        let reader = Aft::builder(Arc::new(slow)).config(config).clock(world.clock()).rng_seed(seed);
        let reader = reader.open().await.unwrap();
        let wrote = RefCell::new(vec![KEYS.into_iter().collect::<BTreeSet<_>>()]);
        let transactions = async {
            let mut rng = StdRng::seed_from_u64(seed);
            for _ in 0..8 {
                let tx = reader.begin_with(Begin::new().latest()).await.unwrap();
                let refreshing = async {
                    for _ in 0..3 {
                        reader.refresh().await.unwrap();
                    }
                };
                let (reads, ()) = tokio::join!(reads_at_once(&tx, &mut rng), refreshing);
                let all: BTreeSet<Read> = reads.into_iter().collect();
                assert_eq!(all.len(), KEYS.len(), "torn: two answers for one key: {all:?}");
                for (key, n) in &all {
                    for (other, m) in &all {
                        let together = wrote.borrow()[*n].contains(&other[..]);
                        assert!(!together || m >= n, "torn: {key} at {n} and {other} at {m}");
                    }
                }
                assert_eq!(tx.reads().count(), KEYS.len(), "torn: what was read is not noted");
                folded_and_young +=
                    usize::from(all.iter().any(|(_, n)| *n == 0) && all.iter().any(|(_, n)| *n > 0));
                let everything = tx.scan_keys(KeyRange::from(..)).await.unwrap();
                assert_eq!(everything.len(), KEYS.len());
            }
        };
        tokio::select! {
            biased;
            () = transactions => {}
            () = commits(&writer, &wrote, StdRng::seed_from_u64(!seed)) => {}
        }
    }
    assert!(folded_and_young > 0, "no transaction read from the index and from the view");
}
