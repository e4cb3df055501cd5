//! Servers whose certificate nobody knows.

#![cfg(feature = "aws")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aft_core::{Aft, Clock, Config, Storage, StorageError, SystemClock};
use aft_s3::{Credentials, Options, open};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
/// Of this test alone.
const KEY: &[u8] = include_bytes!("tls/server.key");

/// A server that shakes hands and counts how often it is tried.
async fn server() -> (String, Arc<AtomicUsize>) {
    let certificates = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tried = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tried);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(acceptor.accept(socket));
        }
    });
    (endpoint, tried)
}

fn store(endpoint: String) -> Arc<dyn Storage> {
    let credentials =
        Credentials { access_key_id: "key".into(), secret_access_key: "secret".into(), session_token: None };
    let options = Options { endpoint: Some(endpoint), credentials: Some(credentials), ..Options::default() };
    open("s3://bucket/prefix", options).unwrap()
}

#[tokio::test]
async fn an_unknown_authority_is_named_and_not_tried_again() {
    let (endpoint, tried) = server().await;
    let storage = store(endpoint);
    let error = storage.get("a").await.unwrap_err();
    let text = error.source().unwrap().to_string();
    assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
    assert!(text.contains("certificate") && text.contains("UnknownIssuer"), "{text}");
    assert!(text.contains("AWS_CA_BUNDLE"), "{text}");
    assert_eq!(tried.load(Ordering::SeqCst), 1);
    // Nor by a node that opens a store there.
    let clock = SystemClock::new();
    Aft::open(storage, Config::default()).await.unwrap_err();
    assert!(clock.monotonic() < Duration::from_secs(4), "it was tried again");
}

#[tokio::test]
async fn tls_to_a_server_without_it_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        while let Ok((mut socket, _)) = listener.accept().await {
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = store(endpoint).get("a").await.unwrap_err();
    assert!(matches!(error, StorageError::Invalid { .. }), "{error:?}");
    assert!(error.source().unwrap().to_string().contains("does not speak TLS"), "{error:?}");
}
