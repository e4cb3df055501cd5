//! Commands on servers that do otherwise than S3: that send whole objects for ranges, cannot delete many at once, keep versions, or do not
//! say how long an object is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[allow(dead_code, unreachable_pub, reason = "the server of the tests across crates")]
#[path = "../../tests/src/origin.rs"]
mod origin;

use std::process::{Output, Stdio};
use std::time::{Duration, SystemTime};

use aft_core::Storage;
use aft_memory::MemoryStorage;
use common::{Place, Ran, bare, ran};
use origin::{Habits, Origin};
use serde_json::Value;

const PLACE: &str = "s3://bucket/p";

/// `aft` with these arguments, against a server with these habits.
async fn aft(memory: &MemoryStorage, habits: Habits, arguments: &[&str]) -> Ran {
    let server = Origin::start_with(memory.clone(), habits).await.unwrap();
    let (place, endpoint) = (Place::new(), format!("http://{}", server.address()));
    let mut command = bare(place.dir.path());
    command.env("AWS_ACCESS_KEY_ID", "k").env("AWS_SECRET_ACCESS_KEY", "s").env("AWS_REGION", "us-east-1");
    command.env("AWS_ENDPOINT_URL_S3", endpoint).args(arguments).stdin(Stdio::null());
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    ran(output)
}

async fn probe(habits: Habits) -> (Ran, MemoryStorage) {
    let memory = MemoryStorage::new();
    let few = ["--rounds=3", "--objects=50", "--racers=4", "--connections=2"];
    let ran = aft(&memory, habits, &[&["probe", PLACE, "--json", "-v"], &few[..]].concat()).await;
    (ran, memory)
}

fn document(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|error| panic!("{error}: {} {}", ran.text(), ran.stderr))
}

/// Each of these servers can hold a store, and the probe comes to that verdict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_finds_servers_with_harmless_habits_safe() {
    let plain = Habits::default();
    for habits in [
        Habits { ignores_ranges: true, ..plain },
        Habits { deletes_singly: true, ..plain },
        Habits { keeps_versions: true, ..plain },
    ] {
        let (ran, memory) = probe(habits).await;
        let ran = ran.ok();
        let json = document(&ran);
        assert_eq!(
            (&json["verdict"], &json["complete"]),
            (&"safe".into(), &true.into()),
            "{habits:?}: {json}"
        );
        assert_eq!(json["latencies"].as_array().unwrap().len(), 5, "{json}");
        let checks = json["checks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["outcome"] == "held"), "{habits:?}: {json}");
        assert_eq!(json["keeps_versions"], habits.keeps_versions, "{habits:?}");
        let said = ran.stderr.contains("the server ignores ranges");
        assert_eq!(said, habits.ignores_ranges, "{habits:?}: {}", ran.stderr);
        assert!(memory.is_empty(), "{habits:?}: {:?}", memory.paths());
    }
}

/// What no client of S3 can read is an error with its reason, and soon: no verdict.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_of_a_server_that_does_not_say_how_long_an_object_is_says_so() {
    let (ran, memory) = probe(Habits { sends_no_length: true, ..Habits::default() }).await;
    assert_eq!((ran.code, ran.text()), (7, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("Content-Length") && ran.stderr.contains("no verdict"), "{}", ran.stderr);
    assert!(memory.is_empty(), "{:?}", memory.paths());
}

/// A collection on a bucket that keeps versions does not pretend that it made room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gc_says_that_the_bucket_keeps_versions_and_what_to_do() {
    let memory = MemoryStorage::new();
    let keeps = Habits { keeps_versions: true, ..Habits::default() };
    aft(&memory, Habits::default(), &["--store", PLACE, "put", "k", "v"]).await.ok();
    let plain = aft(&memory, Habits::default(), &["--store", PLACE, "gc"]).await.ok();
    assert!(!plain.stderr.contains("version"), "{}", plain.stderr);
    // An object that no store has any use for any longer, so that something is deleted.
    let old = "p/epochs/sweep/000000000001";
    let longer_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let make_old = async || {
        memory.create(old, "".into()).await.unwrap();
        assert!(memory.redate(old, longer_ago));
    };
    make_old().await;
    let dry = aft(&memory, keeps, &["--store", PLACE, "gc", "--dry-run"]).await.ok();
    assert!(!dry.stderr.contains("lifecycle"), "nothing told it yet: {}", dry.stderr);
    let said = aft(&memory, keeps, &["--store", PLACE, "gc"]).await.ok();
    assert!(said.text().contains("kept by the bucket as noncurrent versions"), "{}", said.text());
    for word in ["lifecycle", "NoncurrentVersionExpiration", "ExpiredObjectDeleteMarker"] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert!(memory.get(old).await.is_err(), "it was deleted");
    make_old().await;
    let json = document(&aft(&memory, keeps, &["--store", PLACE, "--json", "gc"]).await.ok());
    assert_eq!((&json["keeps_versions"], &json["objects"]), (&true.into(), &1.into()), "{json}");
}
