//! What a real server says to whoever may not come in: the kind of the error, words that help, and no secret.

use aft_core::{Aft, Config, Error, ErrorKind};
use aft_s3::{Credentials, Options};
use aft_tests::proxy::nothing;
use libtest_mimic::Trial;

use crate::server::{Kind, Server};
use crate::trial;

const SECRET: &str = "hush-hush-hush-hush";

/// The server within the process lets everybody in.
pub fn trials(kind: Kind) -> Vec<Trial> {
    if kind == Kind::Origin {
        return Vec::new();
    }
    vec![
        trial(kind, "a wrong secret", move || refused(kind, environment("AWS_ACCESS_KEY_ID"))),
        trial(kind, "an unknown access key", move || refused(kind, "nobody".to_owned())),
        trial(kind, "a bucket that is not there", move || no_bucket(kind)),
    ]
}

fn environment(variable: &str) -> String {
    std::env::var(variable).unwrap_or_default()
}

async fn open(url: &str, options: Options) -> (Error, String) {
    let error = Aft::open(aft_s3::open(url, options).unwrap(), Config::default()).await.unwrap_err();
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    (error, text)
}

async fn refused(kind: Kind, access_key_id: String) {
    let server = Server::start(kind, nothing()).await;
    let (bucket, prefix) = server.place();
    let credentials = Credentials { access_key_id, secret_access_key: SECRET.into(), session_token: None };
    let options =
        Options { endpoint: Some(server.proxy.url()), credentials: Some(credentials), ..Options::default() };
    let (error, text) = open(&format!("s3://{bucket}/{prefix}"), options).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{text}");
    assert!(text.contains("not accepted: check the access key") && !text.contains(SECRET), "{text}");
}

async fn no_bucket(kind: Kind) {
    let server = Server::start(kind, nothing()).await;
    let options = Options { endpoint: Some(server.proxy.url()), ..Options::default() };
    let (error, text) = open("s3://aft-tests-no-such-bucket/prefix", options).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{text}");
    assert!(text.contains("no such bucket: make it"), "{text}");
}
