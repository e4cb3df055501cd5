//! Each fault of the proxy does what it says: to the client, and to the server behind it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's own helpers")]

use std::net::SocketAddr;
use std::time::Duration;

use aft_core::Storage;
use aft_memory::MemoryStorage;
use aft_tests::origin::Origin;
use aft_tests::proxy::{Fault, LONGEST, PORTAL, Proxy, nothing, once};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What a client without a library sees.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// An answer: the status, the length it announces, and the body that came.
    Answer(u16, usize, String),
    /// The connection ended without one.
    Ended,
    /// The connection was reset.
    Reset,
}

async fn exchange(to: SocketAddr, head: &str, body: &str) -> Seen {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let request = format!("{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    match timeout(LONGEST, socket.read_to_end(&mut bytes)).await.unwrap() {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Seen::Reset,
        Err(error) => panic!("{error}"),
        Ok(_) if bytes.is_empty() => return Seen::Ended,
        Ok(_) => {}
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let (_, len) = lines.rfind(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
    Seen::Answer(status, len.parse().unwrap(), body.to_owned())
}

struct Setup {
    storage: MemoryStorage,
    proxy: Proxy,
    /// Lives as long as the test.
    _origin: Origin,
}

async fn setup(fault: Fault) -> Setup {
    let storage = MemoryStorage::new();
    storage.create("old", Bytes::from_static(b"0123456789")).await.unwrap();
    let origin = Origin::start(storage.clone()).await.unwrap();
    let proxy = Proxy::start(origin.address(), once(fault, |_| true)).await.unwrap();
    Setup { storage, proxy, _origin: origin }
}

impl Setup {
    async fn create(&self) -> Seen {
        exchange(self.proxy.address(), "PUT /b/new HTTP/1.1\r\nHost: h\r\nIf-None-Match: *", "value").await
    }

    async fn get(&self) -> Seen {
        exchange(self.proxy.address(), "GET /b/old HTTP/1.1\r\nHost: h", "").await
    }

    async fn created(&self) -> bool {
        self.storage.get("new").await.is_ok()
    }
}

fn refused(seen: &Seen, status: u16, code: &str) -> bool {
    matches!(seen, Seen::Answer(told, len, body)
        if *told == status && body.contains(&format!("<Code>{code}</Code>")) && *len == body.len())
}

#[tokio::test]
async fn a_create_and_what_became_of_it() {
    for applied in [false, true] {
        for (fault, status, code) in [
            (Fault::Error { applied }, 500, "InternalError"),
            (Fault::SlowDown { applied }, 503, "SlowDown"),
            (Fault::Conflict { applied }, 409, "ConditionalRequestConflict"),
        ] {
            let setup = setup(fault).await;
            let seen = setup.create().await;
            assert!(refused(&seen, status, code), "{fault:?}: {seen:?}");
            assert_eq!((setup.created().await, setup.proxy.counts().of(fault)), (applied, 1), "{fault:?}");
        }
        for (fault, end) in [(Fault::Cut { applied }, Seen::Ended), (Fault::Reset { applied }, Seen::Reset)] {
            let setup = setup(fault).await;
            assert_eq!(setup.create().await, end, "{fault:?}");
            assert_eq!((setup.created().await, setup.proxy.counts().of(fault)), (applied, 1), "{fault:?}");
        }
    }
}

#[tokio::test]
async fn what_is_over_leaves_the_next_request_alone() {
    let setup = setup(Fault::Error { applied: false }).await;
    setup.create().await;
    assert!(matches!(setup.create().await, Seen::Answer(200, ..)));
    assert_eq!(setup.get().await, Seen::Answer(200, 10, "0123456789".into()));
    let counts = setup.proxy.counts();
    assert_eq!((counts.requests, counts.total(), counts.unanswered), (3, 1, 0));
}

#[tokio::test]
async fn late_lands_after_the_connection_ended() {
    let setup = setup(Fault::Late(Duration::from_millis(300))).await;
    assert_eq!(setup.create().await, Seen::Ended);
    assert!(!setup.created().await, "it has not landed yet");
    setup.proxy.settled().await;
    assert!(setup.created().await);
}

#[tokio::test]
async fn delayed_is_answered_as_ever() {
    let setup = setup(Fault::Delay(Duration::from_millis(50))).await;
    assert_eq!(setup.get().await, Seen::Answer(200, 10, "0123456789".into()));
    assert_eq!(setup.proxy.counts().of(Fault::Delay(Duration::ZERO)), 1);
}

#[tokio::test]
async fn sent_twice_exists_already() {
    let setup = setup(Fault::Twice).await;
    assert!(refused(&setup.create().await, 412, "PreconditionFailed"));
    assert!(setup.created().await);
}

#[tokio::test]
async fn truncated_announces_more_than_comes() {
    let setup = setup(Fault::Truncate).await;
    assert_eq!(setup.get().await, Seen::Answer(200, 10, "01234".into()));
    assert_eq!(setup.proxy.counts().of(Fault::Truncate), 1);
}

#[tokio::test]
async fn faults_happen_only_where_they_fit() {
    for fault in [Fault::Conflict { applied: true }, Fault::Twice] {
        let setup = setup(fault).await;
        assert_eq!(setup.get().await, Seen::Answer(200, 10, "0123456789".into()), "{fault:?}");
        assert_eq!(setup.proxy.counts().total(), 0);
    }
    let setup = setup(Fault::Truncate).await;
    assert!(matches!(setup.create().await, Seen::Answer(200, ..)));
    assert_eq!(setup.proxy.counts().total(), 0);
    let setup = self::setup(Fault::Instead(PORTAL)).await;
    assert_eq!(setup.get().await, Seen::Answer(200, 10, "0123456789".into()));
    assert_eq!(setup.proxy.counts().total(), 0);
}

#[tokio::test]
async fn in_place_of_a_listing_comes_what_was_said() {
    let setup = setup(Fault::Instead(PORTAL)).await;
    let list = "GET /b?list-type=2&prefix= HTTP/1.1\r\nHost: h";
    let seen = exchange(setup.proxy.address(), list, "").await;
    assert_eq!(seen, Seen::Answer(200, PORTAL.len(), PORTAL.into()));
    assert_eq!(setup.proxy.counts().of(Fault::Instead("")), 1);
}

#[tokio::test]
async fn a_server_that_is_gone_is_no_answer_until_another_comes() {
    let storage = MemoryStorage::new();
    let origin = Origin::start(storage.clone()).await.unwrap();
    let proxy = Proxy::start(origin.address(), nothing()).await.unwrap();
    let list = async || exchange(proxy.address(), "GET /b?list-type=2&prefix= HTTP/1.1\r\nHost: h", "").await;
    assert!(matches!(list().await, Seen::Answer(200, ..)));
    drop(origin);
    tokio::task::yield_now().await;
    assert_eq!(list().await, Seen::Ended);
    assert!(proxy.counts().unanswered > 0);
    let other = Origin::start(storage).await.unwrap();
    proxy.set_upstream(other.address());
    assert!(matches!(list().await, Seen::Answer(200, ..)));
}

/// The signature of a client covers its `Host`, which names the proxy.
#[tokio::test]
async fn the_host_and_the_path_reach_the_server_as_they_were() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap(), nothing()).await.unwrap();
    let answer = async {
        let (mut socket, _) = server.accept().await.unwrap();
        let mut request = [0; 4096];
        let n = socket.read(&mut request).await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        String::from_utf8_lossy(&request[..n]).to_lowercase()
    };
    let head = "GET /b/a%2Fb?x=%20y HTTP/1.1\r\nHost: bucket.example:9000";
    let (seen, request) = tokio::join!(exchange(proxy.address(), head, ""), answer);
    assert!(matches!(seen, Seen::Answer(200, ..)));
    assert!(request.starts_with("get /b/a%2fb?x=%20y http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: bucket.example:9000\r\n"), "{request}");
}

#[tokio::test]
async fn dropped_it_listens_no_more() {
    let setup = setup(Fault::Twice).await;
    let address = setup.proxy.address();
    drop(setup);
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(address).await.is_err());
}
