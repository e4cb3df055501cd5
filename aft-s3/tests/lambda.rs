//! The example of a Lambda function, as a process of its own, before a host that refuses its answers and kills it. Without the test harness,
//! since it starts itself again: as the function.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../examples/lambda.rs"]
mod lambda;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use aft_core::{Aft, Config};
use serde_json::{Value, json};

/// The most that anything is waited for, in steps.
const STEPS: u32 = 6_000;
const STEP: Duration = Duration::from_millis(10);

/// Where the host speaks with the function.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// What the function sent for an event.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    Response(Value),
    Error(Value),
}

/// A host with one process of the function: the runtime API, as far as it is used. It serves one request at a time; the function's next one waits.
struct Host {
    listener: TcpListener,
    process: Child,
    /// What the process wrote to its standard error.
    log: PathBuf,
    calls: u32,
}

impl Host {
    /// Starts the function; `name` is that of its log.
    fn start(folder: &Path, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let log = folder.join(name);
        let process = Command::new(env::current_exe().unwrap())
            .env(RUNTIME_API, listener.local_addr().unwrap().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "charge")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AFT_URL", url(folder))
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { listener, process, log, calls: 0 }
    }

    /// Delivers an event, and answers what the function sends for it with this status; with none it never answers.
    fn deliver(&mut self, event: &Value, status: Option<&str>) -> Sent {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        let (mut stream, request, _) = self.accept();
        assert_eq!(
            request, "GET /2018-06-01/runtime/invocation/next",
            "it asks for the next event, and sends nothing else"
        );
        let head = format!(
            "lambda-runtime-aws-request-id: {id}\r\nlambda-runtime-deadline-ms: 4102444800000\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:x:1:function:charge\r\n"
        );
        answer(&mut stream, "200 OK", &head, &event.to_string());
        let (mut stream, request, body) = self.accept();
        let body = serde_json::from_slice(&body).unwrap();
        if let Some(status) = status {
            answer(&mut stream, status, "", "{}");
        }
        match request.strip_prefix(&format!("POST /2018-06-01/runtime/invocation/{id}/")) {
            Some("response") => Sent::Response(body),
            Some("error") => Sent::Error(body),
            _ => panic!("{request}"),
        }
    }

    /// The function's next request: its line without the version, and its body.
    fn accept(&mut self) -> (TcpStream, String, Vec<u8>) {
        for _ in 0..STEPS {
            match self.listener.accept() {
                Ok((stream, _)) => return received(stream),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the function ended: {status}; {}", self.log());
            }
            sleep(STEP);
        }
        panic!("the function sends nothing; {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// As a host does it: without notice. What it had asked for and was not told goes with it.
    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn received(stream: TcpStream) -> (TcpStream, String, Vec<u8>) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(STEP * STEPS)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "a whole request: {head:?}");
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).unwrap();
    (reader.into_inner(), head[0].replace(" HTTP/1.1", ""), body)
}

/// Each connection is for one request.
fn answer(stream: &mut TcpStream, status: &str, head: &str, body: &str) {
    let length = body.len();
    let text =
        format!("HTTP/1.1 {status}\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(text.as_bytes()).unwrap();
}

fn url(folder: &Path) -> String {
    format!("file://{}", folder.join("store").display())
}

fn event(n: u32) -> Value {
    json!({ "id": format!("evt_{n}"), "cents": 100 * n })
}

fn response(sent: Sent) -> Value {
    match sent {
        Sent::Response(body) => body,
        Sent::Error(body) => panic!("{body}"),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if env::var_os(RUNTIME_API).is_some() {
        return lambda::main();
    }
    let folder = tempfile::tempdir()?;
    let mut charges = BTreeSet::new();
    let mut host = Host::start(folder.path(), "first");

    // Delivered three times: one charge, three times the same answer.
    let first = response(host.deliver(&event(1), Some("202 Accepted")));
    for _ in 0..2 {
        assert_eq!(response(host.deliver(&event(1), Some("202 Accepted"))), first);
    }
    charges.insert(first["charge"].clone().to_string());

    // A response that the host refuses: the process goes on, writes a line, and tells the host of no error (`deliver` would see it). Only the next
    // delivery can tell the sender what became of its event.
    for (n, status) in [(2, "413 Payload Too Large"), (3, "500 Internal Server Error")] {
        let refused = response(host.deliver(&event(n), Some(status)));
        let again = response(host.deliver(&event(n), Some("202 Accepted")));
        assert_eq!(again, refused, "the commit stood; {status}");
        charges.insert(again["charge"].clone().to_string());
        let line = format!("Lambda Runtime API returned non-200 response: status={status}");
        assert!(host.log().contains(&line), "{}", host.log());
    }

    // What is no event, and another event under an id that is taken, are errors of this call alone.
    for wrong in [json!({ "cents": 1 }), json!({ "id": "evt_1", "cents": 1 })] {
        let sent = host.deliver(&wrong, Some("202 Accepted"));
        assert!(matches!(sent, Sent::Error(_)), "{sent:?}");
    }

    // Killed right after its response was taken, and another one before.
    for (n, (name, status)) in (4..).zip([("second", Some("202 Accepted")), ("third", None)]) {
        let answered = response(host.deliver(&event(n), status));
        host.kill();
        host = Host::start(folder.path(), name);
        for (n, expected) in [(n, &answered), (1, &first)] {
            assert_eq!(&response(host.deliver(&event(n), Some("202 Accepted"))), expected);
        }
        charges.insert(answered["charge"].clone().to_string());
    }
    host.kill();
    audit(folder.path(), &charges)
}

/// Each event charged once, and everything was published before it was answered: nobody has to find anything.
#[tokio::main]
async fn audit(
    folder: &Path,
    charges: &BTreeSet<String>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let config = Config { background: false, ..Config::default() };
    let aft = Aft::open(aft_s3::open(&url(folder), aft_s3::Options::default())?, config).await?;
    assert_eq!(aft.config().transaction_lifetime, Duration::from_secs(40), "the function made the store");
    let tx = aft.begin().await?;
    let rows = tx.scan_prefix("charge/").await?;
    let rows: BTreeSet<_> =
        rows.iter().map(|(key, _)| json!(String::from_utf8_lossy(key)).to_string()).collect();
    assert_eq!((&rows, rows.len()), (charges, 5));
    assert_eq!(aft.sweep().await?.published, 0);
    assert!(aft.check().await?.is_clean());
    Ok(aft.close().await?)
}
