#!/usr/bin/env bash
# lambda_runtime 1.5.0 (crates.io): where the runtime API refuses a function's answer (`POST .../response` answered with 413 or 500), the loop goes on with the
# next event: `run` returns no error, nothing is posted to `.../error`, and the handler, which has returned, is told nothing. One line goes to standard error.
#
# Expected by a good engineer: the refusal reaches somebody (an error of `run`, a report to the API). Seen: two refused answers, a third event handled, no report.
# So a handler that wrote something before it answered must be safe to run again for the same event. Runs a small server of its own on the loopback interface.
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
lambda_runtime = { version = "=1.5.0", default-features = false }
serde_json = "1"
tokio = { version = "1", features = ["rt", "macros"] }
TOML
cat >"$dir/src/main.rs" <<'RUST'
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

fn read(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let n = connection.read(&mut part).unwrap();
        request.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let lower = text.to_lowercase();
        let long = lower.split("content-length: ").nth(1).and_then(|it| it.split("\r\n").next()?.parse::<usize>().ok());
        let whole = match long {
            Some(long) => request.len() >= end + 4 + long,
            None => !lower.contains("transfer-encoding: chunked") || text.ends_with("0\r\n\r\n"),
        };
        if n == 0 || whole {
            return text;
        }
    }
}

/// Hands out three events; refuses the first answer with 413 and the second with 500.
fn host(listener: TcpListener) {
    let (mut handed_out, mut answers, mut reports) = (0, 0, 0);
    for connection in listener.incoming() {
        let mut connection = connection.unwrap();
        let request = read(&mut connection);
        let path = request.split(' ').nth(1).unwrap_or("").to_owned();
        let (status, body) = if path.ends_with("/next") {
            handed_out += 1;
            if handed_out > 3 {
                println!("answers: {answers}, reports of an error: {reports}");
                let as_told = answers == 3 && reports == 0;
                std::process::exit(if as_told { 0 } else { 1 });
            }
            ("200 OK", "{}")
        } else if path.ends_with("/response") {
            answers += 1;
            (["413 Payload Too Large", "500 Internal Server Error", "202 Accepted"][answers - 1], "{}")
        } else {
            reports += 1;
            ("202 Accepted", "{}")
        };
        let id = format!("Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3f0{handed_out}\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n");
        let arn = "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:find\r\n";
        let answer = format!("HTTP/1.1 {status}\r\n{id}{arn}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let listener = TcpListener::bind(std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap()).unwrap();
    std::thread::spawn(move || host(listener));
    let handle = async |_: LambdaEvent<Value>| Ok::<_, Error>(json!("done"));
    let ended = lambda_runtime::run(service_fn(handle)).await;
    println!("run ended: {ended:?}");
    std::process::exit(2);
}
RUST
cd "$dir"
port=$((20000 + RANDOM % 20000))
export AWS_LAMBDA_RUNTIME_API=127.0.0.1:$port AWS_LAMBDA_FUNCTION_NAME=find AWS_LAMBDA_FUNCTION_VERSION=1 AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128
export AWS_LAMBDA_LOG_STREAM_NAME=stream AWS_LAMBDA_LOG_GROUP_NAME=group AWS_REGION=us-east-1
timeout 900 cargo run --quiet
