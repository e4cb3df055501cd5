//! As much of S3 as `aft` needs, in memory, and with troubles.

#![allow(dead_code, reason = "each test file uses its troubles")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aft_core::{Clock, SystemClock};

/// What is wrong with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Nothing,
    /// Lists take this long.
    SlowLists(Duration),
    /// Reads of values take this long.
    SlowParts(Duration),
    /// Every request is answered with this status and code.
    Refuses(u16, &'static str),
    /// Its clock is behind by this.
    Behind(Duration),
    /// Every request for a decision is lost and answered with an error that tells nothing.
    Decisions,
    /// Every request is answered with an error that tells nothing.
    Everything,
}

/// Whether an object is a decision: those in the feed have a mark in their running number.
fn is_decision(target: &str) -> bool {
    target.contains("/commits/") || target.contains("/feed/") && target.contains("-8000")
}

/// A bucket. It lives until the test ends.
#[derive(Debug, Clone)]
pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
    asked: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct State {
    trouble: Trouble,
    /// With when they were made.
    objects: BTreeMap<String, (Vec<u8>, SystemTime)>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { trouble: Trouble::Nothing, objects: BTreeMap::new() }));
        let server = Self { endpoint, state, asked: Arc::default() };
        let serving = server.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let server = serving.clone();
                std::thread::spawn(move || server.serve(&socket.unwrap()));
            }
        });
        server
    }

    /// How many requests came since this was asked.
    pub fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }

    pub fn suffer(&self, trouble: Trouble) {
        self.state.lock().unwrap().trouble = trouble;
    }

    /// One request; a client that goes away is no error.
    fn serve(&self, socket: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(socket);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let (method, rest) = line.split_once(' ')?;
        let target = rest.split(' ').next()?.replace("%2F", "/").replace("%3D", "=");
        let (mut length, mut range) = (0, None);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok()?;
            }
            if name.eq_ignore_ascii_case("range") {
                let (start, end) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                range = Some(start.parse::<usize>().ok()?..end.parse::<usize>().ok()? + 1);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let (status, answer, made) = self.answer(method, &target, body);
        let (mut status, mut answer, mut part) = (status, answer, String::new());
        if let (200, Some(range)) = (status, range.filter(|range| range.start < answer.len())) {
            let (whole, end) = (answer.len(), range.end.min(answer.len()));
            part = format!("Content-Range: bytes {}-{}/{whole}\r\n", range.start, end - 1);
            (status, answer) = (206, answer[range.start..end].to_vec());
        }
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nLast-Modified: {}\r\nETag: \"x\"\r\n{part}Connection: close\r\n\r\n",
            answer.len(),
            httpdate::fmt_http_date(made)
        );
        let mut writer = socket;
        writer.write_all(&[head.as_bytes(), &answer].concat()).ok()
    }

    fn answer(&self, method: &str, target: &str, body: Vec<u8>) -> (u16, Vec<u8>, SystemTime) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut now = SystemClock::new().now();
        let trouble = self.state.lock().unwrap().trouble;
        match trouble {
            Trouble::Refuses(status, code) => {
                return (status, format!("<Error><Code>{code}</Code></Error>").into_bytes(), now);
            }
            Trouble::Behind(by) => now -= by,
            _ => {}
        }
        if let (Trouble::SlowLists(wait), true) = (trouble, target.contains("list-type")) {
            std::thread::sleep(wait);
        }
        if let (Trouble::SlowParts(wait), "GET") = (trouble, method)
            && !target.contains("list-type")
            && self
                .state
                .lock()
                .unwrap()
                .objects
                .get(target.trim_start_matches("/bucket/"))
                .is_some_and(|(object, _)| object.len() > 1_000_000)
        {
            std::thread::sleep(wait);
        }
        if trouble == Trouble::Everything || trouble == Trouble::Decisions && is_decision(target) {
            return (500, Vec::new(), now);
        }
        let objects = &mut self.state.lock().unwrap().objects;
        let path = target.trim_start_matches("/bucket/").to_owned();
        if let Some((_, query)) = target.split_once('?') {
            return (200, list(objects, query), now);
        }
        match (method, objects.get(&path)) {
            ("PUT", Some(_)) => (412, b"<Error><Code>PreconditionFailed</Code></Error>".to_vec(), now),
            ("PUT", None) => {
                objects.insert(path, (body, now));
                (200, Vec::new(), now)
            }
            (_, Some((object, made))) => (200, object.clone(), *made),
            (_, None) => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec(), now),
        }
    }
}

fn list(objects: &BTreeMap<String, (Vec<u8>, SystemTime)>, query: &str) -> Vec<u8> {
    let prefix = query.split('&').find_map(|pair| pair.strip_prefix("prefix=")).unwrap_or_default();
    let found = objects.iter().filter(|(path, _)| path.starts_with(prefix));
    let entries = found.map(|(path, (object, made))| {
        let made = humantime::format_rfc3339_millis(*made);
        format!(
            "<Contents><Key>{path}</Key><LastModified>{made}</LastModified><ETag>\"x\"</ETag>\
             <Size>{}</Size></Contents>",
            object.len()
        )
    });
    let entries: String = entries.collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>").into_bytes()
}
