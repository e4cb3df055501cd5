//! The log and the scripted faults of `RecordingStorage`.

use std::sync::Arc;

use aft_core::{Storage, StorageError};
use aft_memory::{Corruption, ErrorKind, Fault, MemoryStorage, Operation, RecordingStorage};
use bytes::Bytes;
use futures::TryStreamExt;

fn recorded() -> RecordingStorage {
    RecordingStorage::new(Arc::new(MemoryStorage::new()))
}

fn kind<T>(result: Result<T, StorageError>) -> Result<(), ErrorKind> {
    result.map(|_| ()).map_err(|error| ErrorKind::from(&error))
}

#[tokio::test]
async fn the_log_is_exact() {
    let storage = recorded();
    storage.create("a/1", Bytes::from_static(b"abc")).await.unwrap();
    storage.get("a/1").await.unwrap();
    storage.get_range("a/1", 1..2).await.unwrap();
    storage.get("a/2").await.unwrap_err();
    let listed: Vec<_> = storage.list("a/", None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    storage.delete(&["a/1".to_owned(), "a/2".to_owned()]).await.unwrap();

    let counts = storage.counts();
    assert_eq!(
        (counts.gets, counts.range_gets, counts.creates, counts.lists, counts.deletes),
        (2, 1, 1, 1, 1)
    );
    assert_eq!((counts.bytes_written, counts.bytes_read, counts.requests()), (3, 4, 6));
    let seen: Vec<_> = storage
        .take()
        .into_iter()
        .map(|request| {
            (request.operation, request.path, request.bytes, request.objects, request.result.unwrap())
        })
        .collect();
    let expected = [
        (Operation::Create, "a/1", 3, 1, Ok(())),
        (Operation::Get, "a/1", 3, 1, Ok(())),
        (Operation::GetRange, "a/1", 1, 1, Ok(())),
        (Operation::Get, "a/2", 0, 1, Err(ErrorKind::NotFound)),
        (Operation::List, "a/", 0, 1, Ok(())),
        (Operation::Delete, "a/1", 0, 2, Ok(())),
    ];
    assert_eq!(
        seen,
        expected.map(|(operation, path, b, o, result)| (operation, path.to_owned(), b, o, result))
    );
    assert!(storage.requests().is_empty());
}

#[tokio::test]
async fn errors_before_and_after_the_effect_strike_once_and_at_the_nth() {
    let storage = recorded();
    storage.fail(Operation::Create, "a/", 2, Fault::Before(ErrorKind::Unavailable));
    let after = storage.fail(Operation::Create, "a/", 3, Fault::After(ErrorKind::AlreadyExists));
    for (path, expected) in [
        ("b/0", Ok(())),
        ("a/1", Ok(())),
        ("a/2", Err(ErrorKind::Unavailable)),
        ("a/3", Err(ErrorKind::AlreadyExists)),
        ("a/4", Ok(())),
    ] {
        assert_eq!(kind(storage.create(path, Bytes::new()).await), expected, "{path}");
    }
    assert!(after.is_reached());
    assert_eq!(kind(storage.get("a/2").await), Err(ErrorKind::NotFound));
    assert_eq!(kind(storage.get("a/3").await), Ok(()));
}

#[tokio::test]
async fn a_delayed_request_waits_for_its_gate() {
    let storage = recorded();
    let gate = storage.fail(Operation::Create, "", 1, Fault::Delay);
    let held = async { storage.create("a", Bytes::new()).await };
    let test = async {
        gate.reached().await;
        assert_eq!(kind(storage.get("a").await), Err(ErrorKind::NotFound));
        gate.release().await
    };
    let (created, released) = futures::join!(held, test);
    created.unwrap();
    released.unwrap();
    storage.get("a").await.unwrap();
}

#[tokio::test]
async fn a_ghost_lands_when_it_is_released() {
    let storage = recorded();
    let gate = storage.fail(Operation::Create, "a", 1, Fault::Ghost);
    assert_eq!(kind(storage.create("a", Bytes::from_static(b"ghost")).await), Err(ErrorKind::Unknown));
    assert_eq!(kind(storage.get("a").await), Err(ErrorKind::NotFound));
    gate.release().await.unwrap();
    assert_eq!(storage.get("a").await.unwrap().bytes, "ghost");

    let late = storage.fail(Operation::Create, "b", 1, Fault::Ghost);
    assert_eq!(kind(storage.create("b", Bytes::from_static(b"ghost")).await), Err(ErrorKind::Unknown));
    storage.create("b", Bytes::from_static(b"first")).await.unwrap();
    assert_eq!(kind(late.release().await), Err(ErrorKind::AlreadyExists));

    let early = storage.fail(Operation::Delete, "b", 1, Fault::Ghost);
    early.release().await.unwrap();
    assert_eq!(kind(storage.delete(&["b".to_owned()]).await), Err(ErrorKind::Unknown));
    assert_eq!(kind(storage.get("b").await), Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn gets_are_corrupted_and_lists_fail_on_both_sides() {
    let storage = recorded();
    storage.create("a", Bytes::from_static(b"abc")).await.unwrap();
    storage.fail(Operation::Get, "a", 1, Fault::Corrupt(Corruption::Flip(9)));
    storage.fail(Operation::GetRange, "a", 1, Fault::Corrupt(Corruption::Truncate(1)));
    assert_eq!(storage.get("a").await.unwrap().bytes[..], [b'a', b'b', !b'c']);
    assert_eq!(storage.get_range("a", 0..3).await.unwrap(), "a");
    assert_eq!(storage.get("a").await.unwrap().bytes, "abc");

    storage.fail(Operation::List, "", 1, Fault::Before(ErrorKind::Denied));
    storage.fail(Operation::List, "", 2, Fault::After(ErrorKind::Unavailable));
    let mut denied = storage.list("", None);
    assert_eq!(kind(denied.try_next().await), Err(ErrorKind::Denied));
    let mut late = storage.list("", None);
    assert_eq!(late.try_next().await.unwrap().unwrap().path, "a");
    assert_eq!(kind(late.try_next().await), Err(ErrorKind::Unavailable));
}
