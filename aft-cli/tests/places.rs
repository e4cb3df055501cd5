//! How stores and settings are named on the command line, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Place, Ran, ran};
use server::Server;

const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];

/// `aft` on a bucket of `server`, with these variables.
fn on_bucket(place: &Place, server: &Server, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let mut command = place.command(arguments);
    command.env("AFT_STORE", "s3://bucket/store").env("AWS_ENDPOINT_URL", &server.endpoint);
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    ran(command.output().unwrap())
}

#[test]
fn secrets_of_a_url_are_printed_nowhere() {
    let place = Place::new();
    for url in [
        "s3://AKIA:hush@bucket/p",
        "s3://AKIA:hu/hush@bucket",
        "s3:AKIA:hush@bucket",
        "AKIA:hush@bucket/p",
        "s3://b/p?x=hush",
    ] {
        for arguments in [
            vec!["--store", url, "ls"],
            vec!["--json", "--store", url, "ls"],
            vec!["probe", url],
            vec!["-vvv", "--store", url, "put", "k", "v"],
            vec!["demo", "--store", url],
        ] {
            let ran = place.aft(&arguments);
            let all = format!("{}{}", ran.text(), ran.stderr);
            assert!(ran.code != 0 && !all.contains("hush"), "{arguments:?}: {all}");
        }
        let ran = ran(place.command(&["ls"]).env("AFT_STORE", url).output().unwrap());
        assert!(ran.code != 0 && !ran.stderr.contains("hush"), "{url}: {}", ran.stderr);
    }
}

#[test]
fn what_does_not_look_like_a_place_makes_no_folder() {
    let place = Place::new();
    for (store, meant) in [
        ("s3:bucket", "s3://bucket"),
        ("s3:/bucket/p", "s3://bucket/p"),
        ("my-bucket/prefix", "s3://my-bucket/prefix"),
        ("file:x", "file:///x"),
        ("file:/x", "file:///x"),
        ("memory:", "memory"),
    ] {
        place.aft(&["--store", store, "put", "k", "v"]).fails(2, &[meant]);
    }
    place.aft(&["--store", "memory://", "put", "k", "v"]).fails(2, &["gone when the command ends"]);
    place.aft(&["--store", "memory://x", "ls"]).fails(2, &["gone when the command ends"]);
    for root in ["/", "file:///", "file:/", "/tmp/.."] {
        let ran = place.aft(&["--store", root, "ls"]);
        assert!(ran.code == 2 || ran.code == 7, "{root}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("root of the file system") || ran.stderr.contains("file:///"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 0, "something was made");
    place.aft(&["--store", "./my-bucket/prefix", "put", "k", "v"]).ok();
    assert_eq!(place.aft(&["--store", "my-bucket/prefix", "get", "k"]).ok().text(), "v");
}

#[test]
fn settings_are_taken_as_editors_save_them() {
    let (place, server) = (Place::new(), Server::start());
    // An empty variable is none; a line break at the end of a value is none of it.
    let variables = [
        ("AWS_ENDPOINT_URL_S3", ""),
        ("AWS_ACCESS_KEY_ID", "key\n"),
        ("AWS_SECRET_ACCESS_KEY", "secret\r\n"),
        ("AWS_SESSION_TOKEN", "token\n"),
    ];
    on_bucket(&place, &server, &variables, &["put", "k", "v"]).ok();
    let credentials = place.path("credentials");
    fs::write(
        &credentials,
        "\u{feff}[default]\r\naws_access_key_id = key\r\naws_secret_access_key = secret\r\n",
    )
    .unwrap();
    let file = [("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap())];
    assert_eq!(on_bucket(&place, &server, &file, &["get", "k"]).ok().text(), "v");
}

/// object_store panics on each of these.
#[test]
fn settings_that_no_request_can_hold_are_refused_by_name() {
    let (place, server) = (Place::new(), Server::start());
    let token = place.path("token");
    fs::write(&token, "to ken\n").unwrap();
    let token = token.to_str().unwrap();
    for (name, value) in [
        ("AWS_ACCESS_KEY_ID", "hush\nhush"),
        ("AWS_SESSION_TOKEN", "hush\nhush"),
        ("AWS_SESSION_TOKEN", "hush\u{e9}\u{1}"),
        ("AWS_REGION", "eu\ncentral"),
        ("AWS_ENDPOINT_URL_S3", "http://local host"),
        ("AWS_ENDPOINT_URL_S3", "localhost:9000"),
        ("AWS_CA_BUNDLE", token),
        ("AWS_CA_BUNDLE", "/no/such/file"),
    ] {
        let variables = [KEYS[0], KEYS[1], (name, value)];
        on_bucket(&place, &server, &variables, &["ls"]).fails(7, &[name]);
    }
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token),
    ];
    on_bucket(&place, &server, &container, &["ls"]).fails(7, &[container[1].0, "a space"]);
    let far = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/")];
    on_bucket(&place, &server, &far, &["ls"]).fails(7, &[far[0].0]);
    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", token), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")];
    on_bucket(&place, &server, &web, &["ls"]).fails(7, &[web[0].0]);
}

/// A container's service: gives a key to whoever brings the token, and notes what was brought.
fn container_service() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/creds", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let socket = socket.unwrap();
            let lines: Vec<String> = BufReader::new(&socket)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            let token = lines.iter().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("authorization: ").map(str::to_owned)
            });
            notes.lock().unwrap().push(token.unwrap_or_default());
            let body = r#"{"AccessKeyId":"key","SecretAccessKey":"secret","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = (&socket).write_all((head + body).as_bytes());
        }
    });
    (url, seen)
}

#[test]
fn a_container_gets_its_credentials_with_its_token() {
    let (place, server) = (Place::new(), Server::start());
    let (url, seen) = container_service();
    let file = place.path("token");
    fs::write(&file, "from-file\n").unwrap();
    let file = file.to_str().unwrap();
    for (name, value, token) in [
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "from-variable\n", "from-variable"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file, "from-file"),
        ("AWS_PAGER", "", ""),
    ] {
        let variables = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()), (name, value)];
        on_bucket(&place, &server, &variables, &["put", "k", "v"]).ok();
        assert_eq!(std::mem::take(&mut *seen.lock().unwrap()), [token], "{name}");
    }
}

#[test]
fn a_missing_input_is_bad_input_everywhere() {
    let place = Place::new();
    for arguments in [
        vec!["put", "k", "--file", "missing"],
        vec!["import", "missing", "--prefix", "p"],
        vec!["load", "missing"],
    ] {
        place.aft(&arguments).fails(2, &["missing"]);
        assert!(!place.store().exists());
    }
    place.aft(&["load", "missing", "--batch", "5"]).fails(2, &["missing"]);
}

#[test]
fn an_export_that_is_stopped_leaves_nothing_behind() {
    let (place, server) = (Place::new(), Server::start());
    fs::write(place.path("large"), "x".repeat(2_000_000)).unwrap();
    on_bucket(&place, &server, &KEYS, &["put", "p/k", "--file", "large"]).ok();
    server.suffer(server::Trouble::SlowParts(Duration::from_secs(20)));
    let mut command = place.command(&["export", "out", "--prefix", "p"]);
    command.env("AFT_STORE", "s3://bucket/store").env("AWS_ENDPOINT_URL", &server.endpoint).envs(KEYS);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let staged = || {
        fs::read_dir(place.dir.path())
            .unwrap()
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with(".aft-export-"))
    };
    for _ in 0..200 {
        if staged() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(staged(), "it was not slow");
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(!staged() && !place.path("out").exists(), "{}", ended.stderr);
}
