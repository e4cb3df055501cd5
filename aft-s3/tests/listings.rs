//! Answers to a list that are none: each is an error that says so, never an empty or a shortened listing, and every listing ends.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_core::{ObjectInfo, Storage, StorageError};
use aft_s3::{Credentials, Options, open};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DATE: &str = "2026-11-29T12:00:00.000Z";

/// The body that answers a request: by its query, and by how many there were before.
type Answers = Arc<dyn Fn(&str, usize) -> String + Send + Sync>;

struct Server {
    storage: Arc<dyn Storage>,
    requests: Arc<AtomicUsize>,
}

/// A server that answers everything with 200, and a client of it.
async fn server(answers: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    let (answers, requests): (Answers, _) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(serve(socket, Arc::clone(&answers), Arc::clone(&count)));
        }
    });
    let credentials =
        Credentials { access_key_id: "key".into(), secret_access_key: "s".into(), session_token: None };
    let request_timeout = Duration::from_secs(5);
    let options = Options { endpoint, credentials: Some(credentials), request_timeout, ..Options::default() };
    Server { storage: open("s3://bucket/prefix", options).unwrap(), requests }
}

async fn serve(mut socket: TcpStream, answers: Answers, count: Arc<AtomicUsize>) {
    let mut request = vec![0; 16_384];
    while let Ok(read) = socket.read(&mut request).await {
        if read == 0 {
            return;
        }
        let head = String::from_utf8_lossy(&request[..read]).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let body = answers(query, count.fetch_add(1, Ordering::SeqCst));
        let answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nETag: \"e\"\r\n\r\n{body}", body.len());
        if socket.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn entry(key: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>{DATE}</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
    )
}

/// A listing with these keys; `rest` is what else it says.
fn listing(rest: &str, keys: &[&str]) -> String {
    let entries: String = keys.iter().map(|key| entry(key)).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
         <Name>bucket</Name>{rest}{entries}</ListBucketResult>"
    )
}

fn token(token: &str) -> String {
    format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
}

const LAST: &str = "<IsTruncated>false</IsTruncated>";

async fn list(server: &Server) -> Result<Vec<ObjectInfo>, StorageError> {
    let listed = server.storage.list("a/", Some("a/0")).try_collect();
    tokio::time::timeout(Duration::from_secs(60), listed).await.unwrap()
}

fn text(error: &StorageError) -> String {
    format!("{error}: {}", error.source().unwrap())
}

const HTML: &str = "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8><title>Welcome</title></head>\
                    <body><p>Please log in<br></body></html>";

/// Each answer, and the words that say what is wrong with it.
fn no_listings() -> Vec<(&'static str, String, &'static str)> {
    let error = |code: &str| {
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>by a gateway</Message></Error>")
    };
    let whole = listing(LAST, &["prefix/a/1", "prefix/a/2"]);
    let undated = whole.replacen(&format!("<LastModified>{DATE}</LastModified>"), "", 1);
    vec![
        ("a page of a portal", HTML.into(), "its root is \"html\""),
        (
            "one that is XML",
            HTML.replace("=en", "='en'").replace("<meta charset=utf-8>", "").replace("<br>", "</p>"),
            "\"html\"",
        ),
        ("a page without a doctype", "<html></html>".into(), "its root is \"html\""),
        ("text", "Hello".into(), "no XML"),
        ("JSON", "{\"Contents\": []}".into(), "no XML"),
        ("bytes", "\0\u{1}<\u{7f}".into(), "no XML"),
        ("an error", error("InternalError"), "an error (code: InternalError): by a gateway"),
        (
            "another list",
            "<ListAllMyBucketsResult></ListAllMyBucketsResult>".into(),
            "\"ListAllMyBucketsResult\"",
        ),
        ("nothing", String::new(), "it is empty"),
        ("a prologue", "<?xml version=\"1.0\"?>\n".into(), "it is empty"),
        ("half of one", whole[..whole.len() / 2].into(), "it is cut short or damaged"),
        ("one without its end", whole.replace("</ListBucketResult>", ""), "it is cut short or damaged"),
        ("one that is not said to be whole", listing("", &["prefix/a/1"]), "IsTruncated"),
        ("one that may be whole", listing("<IsTruncated>maybe</IsTruncated>", &[]), "IsTruncated"),
        ("a part without a token", listing("<IsTruncated>true</IsTruncated>", &["prefix/a/1"]), "no token"),
        ("a part with an empty token", listing(&token(""), &["prefix/a/1"]), "no token"),
        (
            "a count that is more",
            listing(&format!("{LAST}<KeyCount>2</KeyCount>"), &["prefix/a/1"]),
            "2 entries and has 1",
        ),
        (
            "a count of another list",
            listing(&format!("{LAST}<KeyCount>0</KeyCount>"), &["prefix/a/1"]),
            "0 entries and has 1",
        ),
        (
            "another prefix",
            listing(&format!("{LAST}<Prefix>prefix/b/</Prefix>"), &[]),
            "the prefix \"prefix/b/\"",
        ),
        ("keys of another prefix", listing(LAST, &["prefix/a/1", "prefix/b/1"]), "\"prefix/b/1\""),
        (
            "another start",
            listing(&format!("{LAST}<StartAfter>prefix/a/5</StartAfter>"), &[]),
            "\"prefix/a/5\"",
        ),
        ("an entry without a date", undated, "\"prefix/a/1\" has no LastModified"),
        (
            "too much",
            listing(LAST, &[]).replace("<Name>", &format!("<Name>{}", "x".repeat(17 << 20))),
            "longer than",
        ),
    ]
}

#[tokio::test]
async fn what_is_no_listing_is_an_error() {
    for (what, body, words) in no_listings() {
        let server = server(move |_, _| body.clone()).await;
        let listed = list(&server).await;
        let error = listed.map(|objects| format!("{what}: {} objects", objects.len())).unwrap_err();
        let said = text(&error);
        assert!(said.contains(words) && said.contains("proxy"), "{what}: {said}");
        assert!(said.len() < 1_000, "{what}: {said}");
        let lasting = words.contains("LastModified");
        assert_eq!(matches!(error, StorageError::Invalid { .. }), lasting, "{what}: {error:?}");
        assert_eq!(error.is_transient(), !lasting, "{what}: {error:?}");
        assert_eq!(server.requests.load(Ordering::SeqCst), 1, "{what}: whoever lists repeats it");
    }
}

/// An error is what it says, whatever the status.
#[tokio::test]
async fn an_error_in_place_of_a_listing_is_that_error() {
    for (code, denied) in [("AccessDenied", true), ("ExpiredToken", true), ("NoSuchBucket", false)] {
        let server =
            server(move |_, _| format!("<Error><Code>{code}</Code><Message>m</Message></Error>")).await;
        let error = list(&server).await.unwrap_err();
        assert_eq!(matches!(error, StorageError::Denied { .. }), denied, "{error:?}");
        assert_eq!(matches!(error, StorageError::Invalid { .. }), !denied, "{error:?}");
    }
}

#[tokio::test]
async fn what_differs_in_form_alone_is_a_listing() {
    let plain = listing(LAST, &["prefix/a/1"]);
    for body in [
        plain.clone(),
        plain.replace("xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"", ""),
        plain.replace("ListBucketResult", "s3:ListBucketResult").replace("xmlns=", "xmlns:s3="),
        plain.replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", "\u{feff}<!-- a gateway -->"),
        listing("<IsTruncated> False </IsTruncated><KeyCount>1</KeyCount>", &["prefix/a/1"]),
        listing(
            &format!("{LAST}<Prefix>prefix/a/</Prefix><StartAfter>prefix/a/0</StartAfter>"),
            &["prefix/a/1"],
        ),
        listing(&format!("{LAST}<Prefix/><StartAfter/><NextContinuationToken/>"), &["prefix/a/1"]),
        // What is before the start is left out here, for servers that do not.
        listing(LAST, &["prefix/a/0", "prefix/a/1"]),
    ] {
        let server = server(move |_, _| body.clone()).await;
        let paths: Vec<_> = list(&server).await.unwrap().into_iter().map(|object| object.path).collect();
        assert_eq!(paths, ["a/1"]);
    }
}

fn after(query: &str) -> Option<&str> {
    query.split('&').find_map(|part| part.strip_prefix("continuation-token="))
}

#[tokio::test]
async fn a_listing_of_many_pages_is_whole_whatever_its_order() {
    let server = server(|query, _| match after(query) {
        None => listing(&token("t1"), &["prefix/a/b/1", "prefix/a/b/2"]),
        Some("t1") => listing(&token("t2"), &[]),
        Some("t2") => listing(&token("t3"), &["prefix/a/b-1"]),
        _ => listing(LAST, &["prefix/a/1"]),
    })
    .await;
    let paths: Vec<_> = list(&server).await.unwrap().into_iter().map(|object| object.path).collect();
    assert_eq!(paths, ["a/b/1", "a/b/2", "a/b-1", "a/1"]);
    assert_eq!(server.requests.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_listing_that_goes_in_circles_ends() {
    type Case = (&'static str, fn(&str, usize) -> String, usize);
    let cases: [Case; 5] = [
        ("a token again, empty pages", |_, _| listing(&token("t"), &[]), 2),
        (
            "a token again, with objects",
            |_, n| {
                let key = format!("prefix/a/{}", n + 1);
                listing(&token("t"), &[&key])
            },
            2,
        ),
        (
            "two tokens in turn",
            |query, n| {
                let key = format!("prefix/a/{}", n + 1);
                listing(&token(if after(query) == Some("t1") { "t2" } else { "t1" }), &[&key])
            },
            3,
        ),
        ("the same page under new tokens", |_, n| listing(&token(&format!("t{n}")), &["prefix/a/1"]), 2),
        ("empty pages for ever", |_, n| listing(&token(&format!("t{n}")), &[]), 1_000),
    ];
    for (what, answers, most) in cases {
        let server = server(answers).await;
        let error = list(&server).await.unwrap_err();
        assert!(error.is_transient() && text(&error).contains("proxy"), "{what}: {}", text(&error));
        let requests = server.requests.load(Ordering::SeqCst);
        assert!(requests <= most, "{what}: {requests} requests");
    }
}

#[tokio::test]
async fn an_object_without_a_date_is_an_error_that_says_so() {
    let server = server(|_, _| "value".into()).await;
    let error = server.storage.get("a").await.unwrap_err();
    assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
    assert!(text(&error).contains("Last-Modified"), "{}", text(&error));
    let dated = listing(LAST, &["prefix/a/1"]).replace(DATE, "1970-01-01T00:00:00Z");
    let server = self::server(move |_, _| dated.clone()).await;
    let error = list(&server).await.unwrap_err();
    assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
    assert!(text(&error).contains("1970"), "{}", text(&error));
}
