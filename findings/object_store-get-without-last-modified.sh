#!/usr/bin/env bash
# object_store 0.14.2 (crates.io), AmazonS3 client: an object whose answer has no `Last-Modified` header is told as modified at
# 1970-01-01T00:00:00Z, by `get` and by `head`, without an error. HTTP lets a server leave the header out (RFC 9110, section 8.8.2: SHOULD), and
# whoever compares dates takes the object for the oldest there is.
#
# Expected by a good engineer: an error, or no date. Seen: the epoch. Runs a small server of its own on the loopback interface.
# Needs bash, cargo and a package registry. Fails if the behaviour changes.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat >"$dir/Cargo.toml" <<'TOML'
[package]
name = "find"
version = "0.0.0"
edition = "2024"
[dependencies]
object_store = { version = "=0.14.2", default-features = false, features = ["aws"] }
tokio = { version = "1", features = ["rt", "macros"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::io::{Read, Write};
use std::net::TcpListener;

use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let read = connection.read(&mut request).unwrap();
            let head = request[..read].starts_with(b"HEAD");
            let body = if head { "" } else { "hello" };
            let answer = format!("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 5\r\nConnection: close\r\n\r\n{body}");
            connection.write_all(answer.as_bytes()).unwrap();
        }
    });
    let store = AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{port}"))
        .with_allow_http(true)
        .with_bucket_name("bucket")
        .with_region("us-east-1")
        .with_access_key_id("key")
        .with_secret_access_key("secret")
        .build()
        .unwrap();
    let path = Path::from("object");
    let head = store.head(&path).await.unwrap().last_modified;
    let get = store.get(&path).await.unwrap().meta.last_modified;
    println!("head: {head}, get: {get}");
    assert_eq!((head.timestamp(), get.timestamp()), (0, 0), "the behaviour changed");
}
RUST
cd "$dir"
cargo run --quiet
printf 'object_store 0.14.2: an answer without Last-Modified is dated 1970, without an error\n'
