//! A small S3 server within the process, over [`MemoryStorage`]: what aft's client asks of one, and no more. It shows what the
//! client makes of answers; what a server makes of requests is for real ones to show, so it checks no signature.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::net::SocketAddr;

use aft_core::{Storage, StorageError};
use aft_memory::MemoryStorage;
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED, RANGE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// Objects of a page of a list.
const PAGE: usize = 1000;

/// What a server does otherwise than S3.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// It sends whole objects, whatever range was asked for.
    pub ignores_ranges: bool,
    /// It cannot delete many objects with one request.
    pub deletes_singly: bool,
    /// It keeps versions: answers name them, and a delete only hides. What was there before it was switched on has the version `null`.
    pub keeps_versions: bool,
    /// It sends objects without saying how long they are.
    pub sends_no_length: bool,
}

/// A running server. Dropped, it dies with all its connections; what it stored stays in the [`MemoryStorage`].
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Origin {
    /// A server for `storage` on a free port of this machine. Any bucket name leads to it.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start(storage: MemoryStorage) -> std::io::Result<Self> {
        Self::start_with(storage, Habits::default()).await
    }

    /// The same with habits.
    ///
    /// # Errors
    /// Where no port can be had.
    pub async fn start_with(storage: MemoryStorage, habits: Habits) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let listening = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let _ = socket.set_nodelay(true);
                let storage = storage.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| serve(&storage, habits, request));
                    // An error is a client that went away.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Ok(Self { address, listening })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Answer = Response<Body>;

/// The version of every object, and of every marker, where versions are kept.
const VERSION: &str = "v1";

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed_unsync()
}

async fn serve(
    storage: &MemoryStorage,
    habits: Habits,
    request: Request<Incoming>,
) -> Result<Answer, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let path = head.uri.path().trim_start_matches('/');
    let object = path.split_once('/').map_or("", |(_, object)| object);
    let query: HashMap<String, String> = form(head.uri.query().unwrap_or_default()).collect();
    let range = head.headers.get(RANGE).filter(|_| !habits.ignores_ranges);
    let range = range.and_then(|range| range.to_str().ok());
    let answered = match head.method {
        Method::GET if object.is_empty() => list(storage, &query).await,
        Method::GET | Method::HEAD => get(storage, habits, object, range).await,
        Method::PUT if head.headers.contains_key(IF_NONE_MATCH) => {
            let created = storage.create(object, body).await;
            created.map(|()| versioned(answer(StatusCode::OK, ""), habits).map(full))
        }
        Method::POST if query.contains_key("delete") && !habits.deletes_singly => {
            delete(storage, habits, &body).await
        }
        Method::DELETE => {
            let deleted = storage.delete(&[object.to_owned()]).await;
            deleted.map(|()| versioned(answer(StatusCode::NO_CONTENT, ""), habits).map(full))
        }
        _ => Err(StorageError::invalid(object)),
    };
    Ok(answered.unwrap_or_else(|error| {
        let (status, code) = match error {
            StorageError::NotFound { .. } => (StatusCode::NOT_FOUND, "NoSuchKey"),
            StorageError::AlreadyExists { .. } => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
            _ => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
        };
        answer(status, &format!("<Error><Code>{code}</Code></Error>")).map(full)
    }))
}

/// An answer that names the version which was made, where versions are kept.
fn versioned(mut answer: Response<Bytes>, habits: Habits) -> Response<Bytes> {
    if habits.keeps_versions {
        answer.headers_mut().insert("x-amz-version-id", HeaderValue::from_static(VERSION));
    }
    answer
}

/// An answer with an `ETag`, which clients want of every put and get.
fn answer(status: StatusCode, body: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::copy_from_slice(body.as_bytes()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(ETAG, HeaderValue::from_static("\"e\""));
    answer
}

async fn get(
    storage: &MemoryStorage,
    habits: Habits,
    path: &str,
    range: Option<&str>,
) -> Result<Answer, StorageError> {
    let object = storage.get(path).await?;
    let len = object.bytes.len();
    let wanted = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let wanted = wanted.and_then(|(from, to)| Some((from.parse().ok()?, to.parse::<usize>().ok()?)));
    let (status, from, to) = match wanted {
        None => (StatusCode::OK, 0, len),
        Some((from, _)) if from >= len => {
            return Ok(answer(StatusCode::RANGE_NOT_SATISFIABLE, "<Error><Code>InvalidRange</Code></Error>")
                .map(full));
        }
        Some((from, last)) => (StatusCode::PARTIAL_CONTENT, from, len.min(last.saturating_add(1))),
    };
    let mut answer = answer(status, "");
    if habits.keeps_versions {
        // It was there before.
        answer.headers_mut().insert("x-amz-version-id", HeaderValue::from_static("null"));
    }
    if !habits.sends_no_length {
        // hyper says it of a body that it sends; but not of an empty one to a HEAD.
        answer.headers_mut().insert(CONTENT_LENGTH, (to - from).into());
    }
    let headers = [
        (LAST_MODIFIED, httpdate::fmt_http_date(object.last_modified)),
        (CONTENT_RANGE, format!("bytes {from}-{}/{len}", to.saturating_sub(1))),
    ];
    let needed = if status == StatusCode::PARTIAL_CONTENT { 2 } else { 1 };
    for (name, value) in headers.into_iter().take(needed) {
        let value = value.parse().map_err(|error| StorageError::invalid(path).with_source(error))?;
        answer.headers_mut().insert(name, value);
    }
    let bytes = object.bytes.slice(from..to);
    Ok(answer.map(|_| match habits.sends_no_length {
        true => StreamBody::new(stream::iter([Ok(Frame::data(bytes))])).boxed_unsync(),
        false => full(bytes),
    }))
}

async fn list(storage: &MemoryStorage, query: &HashMap<String, String>) -> Result<Answer, StorageError> {
    let of = |name: &str| query.get(name).map(String::as_str);
    let after = of("continuation-token").or_else(|| of("start-after"));
    let mut objects: Vec<_> = storage.list(of("prefix").unwrap_or_default(), after).try_collect().await?;
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    let more = objects.len() > PAGE;
    objects.truncate(PAGE);
    let mut body = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>");
    for object in &objects {
        let (path, size, date) =
            (&object.path, object.size, humantime::format_rfc3339_seconds(object.last_modified));
        // Paths of aft hold nothing that XML would have to escape.
        let _ = write!(
            body,
            "<Contents><Key>{path}</Key><LastModified>{date}</LastModified><ETag>e</ETag><Size>{size}</Size></Contents>"
        );
    }
    if let Some(last) = objects.last().filter(|_| more) {
        let _ = write!(body, "<NextContinuationToken>{}</NextContinuationToken>", last.path);
    }
    Ok(answer(StatusCode::OK, &(body + "</ListBucketResult>")).map(full))
}

async fn delete(storage: &MemoryStorage, habits: Habits, body: &[u8]) -> Result<Answer, StorageError> {
    let body = String::from_utf8_lossy(body);
    let keys = body.split("<Key>").skip(1).filter_map(|rest| rest.split('<').next());
    let keys: Vec<_> = keys.map(str::to_owned).collect();
    storage.delete(&keys).await?;
    let marker = match habits.keeps_versions {
        true => format!(
            "<DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>{VERSION}</DeleteMarkerVersionId>"
        ),
        false => String::new(),
    };
    let deleted: String =
        keys.iter().map(|key| format!("<Deleted><Key>{key}</Key>{marker}</Deleted>")).collect();
    Ok(answer(StatusCode::OK, &format!("<DeleteResult>{deleted}</DeleteResult>")).map(full))
}

/// The parts of a query.
fn form(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (name.to_owned(), unescaped(value))
    })
}

fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at(part.len().min(2));
        bytes.extend(u8::from_str_radix(hex, 16));
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
