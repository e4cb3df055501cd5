//! What each answer of a server means: one line is one answer. This pins the texts in which object_store tells them.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_core::{Storage, StorageError};
use aft_s3::{Credentials, Options, open};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with every request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Status(u16, &'static str),
    /// No bulk delete is allowed; else all is well.
    NoBulk,
    Closed,
    Nothing,
    /// An answer whose body never comes to its end.
    Stalls,
    /// An error whose body has so many bytes.
    Long(usize),
}

use Answer::{Closed, Long, NoBulk, Nothing, Stalls, Status};

/// A server that gives one answer to everything, and counts the requests.
async fn server(answer: Answer) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, answer, Arc::clone(&count)));
        }
    });
    (endpoint, requests)
}

async fn serve(mut socket: TcpStream, answer: Answer, count: Arc<AtomicUsize>) {
    let mut request = [0; 16_384];
    let _ = socket.read(&mut request).await;
    count.fetch_add(1, Ordering::SeqCst);
    let answer = match answer {
        NoBulk if request.starts_with(b"POST") => Status(403, "AccessDenied"),
        NoBulk => Status(204, ""),
        other => other,
    };
    match answer {
        NoBulk => {}
        Closed => {}
        Nothing => tokio::time::sleep(Duration::from_secs(30)).await,
        Stalls => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nLast-Modified: Sun, 29 Nov 2026 12:00:00 GMT\r\n\
                        ETag: e\r\n\r\n<half>";
            let _ = socket.write_all(head.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        Long(length) => {
            let head = format!("HTTP/1.1 500 X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&vec![b'x'; length]).await;
        }
        Status(status, code) => {
            let body = match code {
                "" => String::new(),
                code => format!(
                    "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>why</Message>\
                     <StringToSign>hush</StringToSign></Error>"
                ),
            };
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = socket.write_all((head + &body).as_bytes()).await;
        }
    }
}

fn store(endpoint: String) -> Arc<dyn Storage> {
    store_with(endpoint, Options::default())
}

fn store_with(endpoint: String, options: Options) -> Arc<dyn Storage> {
    let credentials = Credentials {
        access_key_id: "key".into(),
        secret_access_key: "secret-hush".into(),
        session_token: Some("token-hush".into()),
    };
    let options = Options {
        endpoint: Some(endpoint),
        credentials: Some(credentials),
        request_timeout: Duration::from_secs(2),
        ..options
    };
    open("s3://bucket/prefix", options).unwrap()
}

fn kind(error: &StorageError) -> &'static str {
    match error {
        StorageError::NotFound { .. } => "NotFound",
        StorageError::AlreadyExists { .. } => "AlreadyExists",
        StorageError::Unavailable { .. } => "Unavailable",
        StorageError::Unknown { .. } => "Unknown",
        StorageError::Denied { .. } => "Denied",
        StorageError::Invalid { .. } => "Invalid",
    }
}

async fn errors(storage: &dyn Storage) -> [StorageError; 4] {
    [
        storage.create("a", Bytes::from_static(b"x")).await.unwrap_err(),
        storage.get("a").await.unwrap_err(),
        storage.list("a/", None).try_next().await.unwrap_err(),
        storage.delete(&["a".to_owned()]).await.unwrap_err(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_says_what_is_certain() {
    let open = "Unknown";
    let retry = "Unavailable";
    // the answer; then what it means to a create, a get, a list, a delete
    let cases = [
        (Status(412, "PreconditionFailed"), ["AlreadyExists", retry, "Invalid", open]),
        (Status(409, "ConditionalRequestConflict"), ["AlreadyExists", retry, "Invalid", open]),
        (Status(404, "NoSuchBucket"), ["Invalid"; 4]),
        (Status(403, "AccessDenied"), ["Denied"; 4]),
        (Status(403, "SignatureDoesNotMatch"), ["Denied"; 4]),
        (Status(403, "RequestTimeTooSkewed"), ["Denied"; 4]),
        (Status(403, ""), ["Denied"; 4]),
        (Status(401, ""), ["Denied"; 4]),
        (Status(400, "ExpiredToken"), ["Denied"; 4]),
        (Status(400, "RequestTimeout"), [open, retry, retry, open]),
        (Status(400, "IncompleteBody"), [retry; 4]),
        (Status(400, "InvalidRequest"), ["Invalid"; 4]),
        (Status(400, "EntityTooLarge"), ["Invalid"; 4]),
        (Status(403, "InvalidObjectState"), ["Invalid"; 4]),
        (Status(301, "PermanentRedirect"), ["Invalid"; 4]),
        (Status(413, ""), ["Invalid"; 4]),
        (Status(501, "NotImplemented"), ["Invalid"; 4]),
        (Status(507, "InsufficientStorage"), ["Invalid"; 4]),
        (Status(507, ""), ["Invalid"; 4]),
        (Status(429, ""), [retry; 4]),
        (Status(500, "InternalError"), [open, retry, retry, open]),
        (Status(502, ""), [open, retry, retry, open]),
        (Status(503, "SlowDown"), [open, retry, retry, open]),
        (Closed, [open, retry, retry, open]),
        (Nothing, [open, retry, retry, open]),
    ];
    let check = |(answer, expected): (Answer, [&'static str; 4])| async move {
        let (endpoint, _) = server(answer).await;
        let errors = errors(&*store(endpoint)).await;
        for error in &errors {
            let text = format!("{error} {error:?} {}", error.source().unwrap());
            assert!(!text.contains("hush"), "{answer:?}: {text}");
            assert!(error.source().unwrap().source().is_none(), "the cause is printed once");
        }
        (answer, errors.each_ref().map(kind), expected)
    };
    let mut checked = stream::iter(cases.map(check)).buffer_unordered(4);
    while let Some((answer, seen, expected)) = checked.next().await {
        assert_eq!(seen, expected, "{answer:?}");
    }
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let seen = errors(&*store(endpoint)).await.each_ref().map(kind);
    assert_eq!(seen, ["Unavailable"; 4]);
}

#[tokio::test]
async fn creates_are_sent_once_and_reads_again() {
    for answer in [Status(500, "InternalError"), Status(503, "SlowDown"), Closed] {
        let (endpoint, requests) = server(answer).await;
        let storage = store(endpoint);
        let unknown = storage.create("a", Bytes::new()).await.unwrap_err();
        assert!(matches!(unknown, StorageError::Unknown { .. }), "{unknown:?}");
        assert_eq!(requests.swap(0, Ordering::SeqCst), 1, "{answer:?}");
        storage.get("a").await.unwrap_err();
        assert!(requests.load(Ordering::SeqCst) > 1, "{answer:?}");
    }
}

/// What somebody who sees only the error can do about it.
#[tokio::test]
async fn hints_say_what_is_wrong_and_what_to_do() {
    for (answer, hint) in [
        (Status(404, "NoSuchBucket"), "no such bucket: make it"),
        (Status(404, ""), "no such bucket: make it"),
        (
            Status(403, "RequestTimeTooSkewed"),
            "the clock of this machine is too far from the store's: set it",
        ),
        (Status(400, "ExpiredToken"), "expired: get new ones"),
        (Status(403, "InvalidAccessKeyId"), "not accepted: check the access key"),
        (Status(403, "SignatureDoesNotMatch"), "not accepted: check the access key"),
        (Status(403, "AccessDenied"), "do not allow to write"),
        (Status(403, ""), "do not allow to write"),
        (Status(401, ""), "do not allow to write"),
        (Status(400, "AuthorizationHeaderMalformed"), "check the region"),
        (Status(301, "PermanentRedirect"), "set the region"),
        (Status(307, ""), "set the region"),
        (Status(507, ""), "full: make room"),
        (Status(507, "XMinioStorageFull"), "full: make room"),
        (Status(503, "InsufficientCapacity"), "full: make room"),
        (Status(403, "QuotaExceeded"), "full: make room"),
        (Status(400, "XMinioAdminBucketQuotaExceeded"), "full: make room"),
        (Status(503, "SlowDown"), "too much to do"),
        (Status(413, ""), "too large"),
        (Status(403, "InvalidObjectState"), "archive"),
        (Status(501, ""), "does not support"),
    ] {
        let (endpoint, _) = server(answer).await;
        let error = store(endpoint).create("a", Bytes::new()).await.unwrap_err();
        let text = error.source().unwrap().to_string();
        assert!(text.contains(hint), "{answer:?}: {text}");
        let code = if let Status(_, code) = answer { code } else { "" };
        assert!(matches!(answer, Status(301, _)) || text.contains(code), "the store's own word: {text}");
    }
}

#[tokio::test]
async fn the_permission_that_is_missing_is_named() {
    let (endpoint, _) = server(Status(403, "AccessDenied")).await;
    let storage = store(endpoint);
    let refused = [
        (storage.get("a").await.unwrap_err(), "s3:GetObject"),
        (storage.list("a/", None).try_next().await.unwrap_err(), "list what begins so (s3:ListBucket)"),
        (storage.create("a", Bytes::new()).await.unwrap_err(), "s3:PutObject"),
        (storage.delete(&["a".to_owned()]).await.unwrap_err(), "s3:DeleteObject"),
    ];
    for (error, permission) in refused {
        assert_eq!(kind(&error), "Denied");
        let text = error.source().unwrap().to_string();
        assert!(text.contains(permission), "{permission}: {text}");
    }
}

#[tokio::test]
async fn where_no_bulk_delete_is_allowed_objects_go_one_by_one() {
    let (endpoint, requests) = server(NoBulk).await;
    let storage = store(endpoint);
    let paths = ["a", "b", "c"].map(str::to_owned);
    storage.delete(&paths).await.unwrap();
    // The bulk delete, one object that tells that each may go, and all of them.
    assert_eq!(requests.swap(0, Ordering::SeqCst), 1 + 1 + 3);
    storage.delete(&paths).await.unwrap();
    assert_eq!(requests.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn an_answer_that_stops_in_its_middle_ends_all_the_same() {
    let (endpoint, requests) = server(Stalls).await;
    let storage = store(endpoint);
    // Of a create the head says it all.
    storage.create("a", Bytes::new()).await.unwrap();
    let seen = [
        storage.get("a").await.unwrap_err(),
        storage.list("a/", None).try_next().await.unwrap_err(),
        storage.delete(&["a".to_owned()]).await.unwrap_err(),
    ];
    assert_eq!(seen.each_ref().map(kind), ["Unavailable", "Unavailable", "Unknown"], "{seen:?}");
    assert!(requests.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn a_long_error_is_cut() {
    let (endpoint, _) = server(Long(50 << 20)).await;
    for error in errors(&*store(endpoint)).await {
        let shown = format!("{error} {error:?} {}", error.source().unwrap());
        assert!(shown.len() < 4_000, "{} bytes", shown.len());
        assert!(shown.contains("500"), "{shown}");
    }
}

/// A server that counts who comes to it, and one that sends everybody there.
#[tokio::test]
async fn nobody_is_sent_to_another_host_with_a_token() {
    let (elsewhere, requests) = server(Status(200, "")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.read(&mut [0; 16_384]).await;
            let head = format!(
                "HTTP/1.1 307 X\r\nLocation: {elsewhere}/bucket/a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let _ = socket.write_all(head.as_bytes()).await;
        }
    });
    for error in errors(&*store(endpoint)).await {
        assert_eq!(kind(&error), "Invalid", "{error:?}");
        assert!(error.source().unwrap().to_string().contains("set the region"), "{error:?}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0, "somebody came, with the token");
}

#[tokio::test]
async fn why_a_connection_failed_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for (endpoint, why) in [
        (format!("http://{address}"), "onnection refused"),
        ("http://no-such-host.localhost.invalid".to_owned(), "lookup"),
    ] {
        let allow_http = true;
        let storage = store_with(endpoint, Options { allow_http, ..Options::default() });
        let error = storage.get("a").await.unwrap_err();
        let text = error.source().unwrap().to_string();
        assert!(text.contains(why), "{text}");
    }
}
