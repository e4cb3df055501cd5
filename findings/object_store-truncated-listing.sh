#!/usr/bin/env bash
# object_store 0.14.2 (crates.io), AmazonS3 client: `IsTruncated` of a ListObjectsV2 answer is not read. A page that says it is not the last, and
# leaves `NextContinuationToken` out (as gateways did that page by `StartAfter`), is told as the end of the listing: the caller
# sees some of the objects and no error.
#
# Expected by a good engineer: an error, or another page from the last key on. Seen: one object, end of the listing.
# Runs a small server of its own on the loopback interface. Needs bash, cargo and a package registry. Fails if the behaviour changes.
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
futures = "0.3"
object_store = { version = "=0.14.2", default-features = false, features = ["aws"] }
tokio = { version = "1", features = ["rt", "macros"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::io::{Read, Write};
use std::net::TcpListener;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

const PAGE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bucket</Name><Prefix></Prefix><KeyCount>1</KeyCount>\
<MaxKeys>1</MaxKeys><IsTruncated>true</IsTruncated><Contents><Key>a</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
<ETag>\"1\"</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let mut request = [0; 4096];
            let _ = connection.read(&mut request).unwrap();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{PAGE}",
                PAGE.len()
            );
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
    let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
    let keys: Vec<_> = listed.iter().map(|object| object.location.to_string()).collect();
    println!("a page that says IsTruncated=true is told as all there is: {keys:?}");
    assert_eq!(keys, ["a"], "the behaviour changed");
}
RUST
cd "$dir"
cargo run --quiet
printf 'object_store 0.14.2: IsTruncated is not read\n'
