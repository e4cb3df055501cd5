//! `aft why`, `aft gc --explain` and `aft export-log` on real stores of files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::time::{Duration, SystemTime};

use aft_core::{Aft, Config};
use common::{Place, read_tree};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::Value;

fn config() -> Config {
    Config { background: false, ..Config::default() }
}

/// The store of the place, opened beside the binary.
async fn library(place: &Place, config: Config) -> Aft {
    let url = format!("file://{}", place.store().display());
    Aft::open(aft_s3::open(&url, aft_s3::Options::default()).unwrap(), config).await.unwrap()
}

/// Commits these writes and tells everybody; without a value a deletion.
async fn commit(aft: &Aft, writes: &[(&str, Option<&str>)]) -> String {
    let mut tx = aft.begin().await.unwrap();
    for (key, value) in writes {
        match value {
            Some(value) => tx.put(key, *value).unwrap(),
            None => tx.delete(key).unwrap(),
        }
    }
    let version = tx.commit().await.unwrap().receipt.version();
    aft.publish().await.unwrap();
    version.to_string()
}

fn verdicts(why: &Value) -> Vec<(&str, &str)> {
    let candidates = why["candidates"].as_array().unwrap();
    candidates.iter().map(|it| (it["version"].as_str().unwrap(), it["verdict"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_explained_with_every_version_and_with_what_was_read_before() {
    let place = Place::new();
    let aft = library(&place, config()).await;
    let first = commit(&aft, &[("stock", Some("9"))]).await;
    let both = commit(&aft, &[("stock", Some("8")), ("order", Some("paid"))]).await;
    let last = commit(&aft, &[("stock", Some("seven"))]).await;
    let before = read_tree(&place.store());

    let why = place.json(&["why", "stock"]);
    assert_eq!(verdicts(&why), [(&*last, "read"), (&*both, "superseded"), (&*first, "superseded")]);
    assert_eq!((&why["read"]["version"], &why["read"]["size"]), (&last.clone().into(), &5.into()));
    assert_eq!(
        (&why["present"], &why["checkpoint"], &why["horizon"]),
        (&true.into(), &0.into(), &Value::Null)
    );
    assert_eq!((&why["recent_commits"], &why["feed_objects"]), (&3.into(), &3.into()));
    assert!(why["feed_listed"].is_string() && why["with"] == serde_json::json!([]), "{why:#}");

    // Whoever read the order must not read the stock as it was before.
    let why = place.json(&["why", "stock", "--with", "order", "nothing"]);
    assert_eq!(verdicts(&why), [(&*last, "read"), (&*both, "superseded"), (&*first, "too_old")]);
    let with = why["with"].as_array().unwrap();
    assert_eq!((&with[0]["key"], &with[0]["floor"]), (&"order".into(), &both.clone().into()));
    assert_eq!((&with[1]["version"], &with[1]["floor"]), (&Value::Null, &Value::Null));
    let text = place.aft(&["why", "stock", "--with", "order"]).ok();
    for words in [
        "stock is there: 5 B",
        "order was read before",
        "that commit wrote stock too",
        "too old",
        "no checkpoint",
    ] {
        assert!(text.text().contains(words), "{words} in {}", text.text());
    }
    assert_eq!(read_tree(&place.store()), before, "explaining writes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_key_was_deleted_or_never_written() {
    let place = Place::new();
    let aft = library(&place, config()).await;
    let written = commit(&aft, &[("k", Some("v"))]).await;
    let deleted = commit(&aft, &[("k", None)]).await;
    let why = place.json(&["why", "k"]);
    assert_eq!(verdicts(&why), [(&*deleted, "read"), (&*written, "superseded")]);
    assert_eq!((&why["present"], &why["read"]["deleted"]), (&false.into(), &true.into()));
    assert!(why["candidates"][0]["why"].as_str().unwrap().contains("deleted the key"), "{why:#}");
    let text = place.aft(&["why", "k"]).ok();
    assert!(text.text().starts_with("k is absent: the version that is read deleted it"), "{}", text.text());

    let why = place.json(&["why", "other"]);
    assert_eq!((verdicts(&why), &why["read"], &why["present"]), (vec![], &Value::Null, &false.into()));
    assert_eq!(why["deletions_forgotten_until"], Value::Null);
    let text = place.aft(&["why", "other"]).ok();
    assert!(text.text().starts_with("other is absent: it was never written"), "{}", text.text());
    assert_eq!(place.aft(&["why", ""]).code, 2);
}

/// What opening the store takes and what the key takes, and nothing for each commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explaining_takes_a_handful_of_requests_however_many_commits_there_are() {
    let place = Place::new();
    let aft = library(&place, config()).await;
    let mut requests = Vec::new();
    for commits in [3, 300] {
        for n in 0..commits {
            commit(&aft, &[("k", Some("v")), (&format!("{n}"), Some("w"))]).await;
        }
        place.aft(&["checkpoint"]).ok();
        let why = place.json(&["why", "k", "--with", "0"]);
        assert!(why["candidates"].as_array().unwrap().len() >= commits);
        requests.push(why["requests"].as_u64().unwrap());
    }
    assert_eq!(requests[0], requests[1]);
    assert!(requests[0] <= 10, "{requests:?}");
}

/// The text of a column.
fn text(field: &Field) -> String {
    match field {
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => format!("{:?}", bytes.data()),
        Field::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_is_a_parquet_table_of_writes() {
    let place = Place::new();
    let aft = library(&place, Config { direct_commits: false, ..config() }).await;
    let first = commit(&aft, &[("a\\", Some("one")), ("b", Some("two!"))]).await;
    let mut tx = aft.begin().await.unwrap();
    tx.delete("b").unwrap();
    tx.put([0xff, b'x'], vec![7; 100_000]).unwrap();
    let second = tx.commit().await.unwrap().receipt;
    aft.publish().await.unwrap();
    let before = read_tree(&place.store());

    let path = place.path("log.parquet");
    std::fs::write(&path, "what was there before").unwrap();
    let told = place.json(&["export-log", path.to_str().unwrap()]);
    assert_eq!((&told["rows"], &told["commits"]), (&4.into(), &2.into()));
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let rows: Vec<Row> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let column = |name: &str| -> Vec<String> {
        let of = |row: &Row| {
            row.get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| text(field))
        };
        rows.iter().map(|row| of(row).unwrap()).collect()
    };
    assert_eq!(
        column("version"),
        [&*first, &*first, &*second.version().to_string(), &*second.version().to_string()]
    );
    assert_eq!(column("key_text"), ["a\\\\", "b", "b", "\\xffx"]);
    assert_eq!(column("key"), ["[97, 92]", "[98]", "[98]", "[255, 120]"]);
    assert_eq!(column("deleted"), ["false", "false", "true", "false"]);
    assert_eq!(column("bytes"), ["3", "4", "0", "100000"]);
    assert_eq!(column("transaction")[3], second.txn_id().to_string());
    assert_eq!(column("decided_by"), column("transaction"));
    let objects: Vec<_> =
        column("object").iter().map(|path| path.split('/').next().unwrap().to_owned()).collect();
    assert_eq!(objects, ["feed", "feed", "commits", "values"]);
    assert_eq!(column("clock")[0], clock_of(&first).to_string());
    assert!(column("published_at").iter().all(|at| at != "null"), "{rows:?}");
    assert!(column("committed_at")[0].starts_with("20"), "a moment: {rows:?}");
    assert_eq!((&*column("node")[0] == "null", &*column("node")[2]), (false, "null"));

    let text = place.aft(&["export-log", path.to_str().unwrap()]).ok();
    assert!(text.text().starts_with("wrote 4 rows of 2 commits to "), "{}", text.text());
    assert_eq!(read_tree(&place.store()), before, "exporting writes nothing to the store");
    let inside = place.store().join("log.parquet");
    place.aft(&["export-log", inside.to_str().unwrap()]).fails(2, &["lies in the store itself"]);
    assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 2, "nothing is left beside the file");
}

/// The clock of a version, as its first 16 digits say.
fn clock_of(version: &str) -> u64 {
    u64::from_str_radix(&version[..16], 16).unwrap()
}

/// Longer than the windows of the store below: what was published before is folded then.
const OLD: Duration = Duration::from_secs(23);

/// Settings under which everything is soon old.
fn short() -> Config {
    let secs = Duration::from_secs;
    Config {
        max_staleness: secs(0),
        transaction_lifetime: secs(4),
        commit_deadline: secs(4),
        max_clock_skew: secs(2),
        publish_deadline: secs(2),
        visibility_delay: secs(2),
        ..config()
    }
}

fn objects(place: &Place) -> BTreeSet<String> {
    let files = read_tree(&place.store()).into_keys().map(|path| String::from_utf8(path).unwrap());
    files.filter(|path| !path.ends_with('/')).collect()
}

/// What `aft gc --explain` says of an object; it writes nothing.
fn explain(place: &Place, object: &str) -> Value {
    let before = read_tree(&place.store());
    let explained = place.json(&["gc", "--explain", object]);
    assert_eq!(read_tree(&place.store()), before, "explaining writes nothing");
    assert_eq!(explained["object"], object);
    explained
}

/// That it stays, and why.
fn stays(place: &Place, object: &str, why: &str) -> Value {
    let explained = explain(place, object);
    assert_eq!((&explained["fate"], &explained["class"]), (&"stays".into(), &Value::Null), "{explained:#}");
    assert!(explained["why"].as_str().unwrap().contains(why), "{why}: {explained:#}");
    explained
}

fn moment(text: &Value) -> SystemTime {
    humantime::parse_rfc3339(text.as_str().unwrap_or_else(|| panic!("{text}"))).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_stays_as_long_as_it_is_said_and_then_goes() {
    let place = Place::new();
    library(&place, short()).await.close().await.unwrap();
    let large = place.path("large");
    std::fs::write(&large, vec![7; 100_000]).unwrap();
    let put = || place.aft(&["put", "k", "--file", large.to_str().unwrap()]).ok();
    let object =
        |n: usize| place.json(&["versions", "k"])["versions"][n]["object"].as_str().unwrap().to_owned();
    put();
    put();
    let (new, old) = (object(0), object(1));
    assert!(new.starts_with("values/") && old.starts_with("values/"), "{new} {old}");
    let decision = place.json(&["log"])["commits"][1]["decided_by"].as_str().unwrap().to_owned();
    let shown = |path: &String| {
        explain(&place, path)["what"].as_str().unwrap().contains(&format!("decision {decision}"))
    };
    let decision = objects(&place).into_iter().find(shown).unwrap();

    assert_eq!(stays(&place, &new, "the newest version of the key")["key"], "k");
    assert_eq!(stays(&place, &old, "a newer version of the key is committed")["key"], "k");
    let folds = stays(&place, &decision, "its commit is not folded into the index yet");
    assert!(moment(&folds["until"]) > moment(&folds["now"]), "{folds:#}");
    stays(&place, "aft.json", "a store");
    std::fs::write(place.store().join("stranger"), "x").unwrap();
    stays(&place, "stranger", "none of aft's");
    std::fs::remove_file(place.store().join("stranger")).unwrap();
    let nothing = explain(&place, "values/0/nowhere");
    assert_eq!((&nothing["fate"], &nothing["size"]), (&"not_there".into(), &Value::Null));

    std::thread::sleep(OLD);
    place.aft(&["put", "clock", "tick"]).ok();
    place.aft(&["checkpoint"]).ok();
    let folded = stays(&place, &decision, "checkpoint 1 folded its commit");
    let lost = stays(&place, &old, "checkpoint 1 found it superseded");
    stays(&place, &new, "a row of the index names it");
    let manifest = "checkpoints/000000000001.json";
    stays(&place, manifest, "there is no newer checkpoint");
    for folder in ["recent/", "index/"] {
        let file = objects(&place).into_iter().find(|path| path.starts_with(folder)).unwrap();
        stays(&place, &file, "checkpoint 1 needs it");
    }

    std::thread::sleep(OLD);
    place.aft(&["put", "clock", "tock"]).ok();
    place.aft(&["checkpoint"]).ok();
    let next = stays(&place, manifest, "a newer checkpoint is there");
    let before = objects(&place);
    let explained: Vec<_> = before.iter().map(|path| explain(&place, path)).collect();
    let class = |path: &str| {
        let it = explained.iter().find(|it| it["object"] == path).unwrap();
        assert_eq!(it["fate"], "goes", "{it:#}");
        (it["class"].as_str().unwrap().to_owned(), moment(&it["now"]))
    };
    // As it was foretold, and not before: both were the garbage of checkpoint 1.
    for (path, kind, foretold) in [(&decision, "folded_decisions", folded), (&old, "superseded_values", lost)]
    {
        let (class, now) = class(path);
        assert_eq!(class, kind);
        assert!(
            moment(&foretold["until"]) <= now && moment(&foretold["until"]) > moment(&foretold["now"]),
            "{foretold:#}"
        );
    }
    // The very same objects go.
    place.aft(&["gc"]).ok();
    let gone: BTreeSet<_> = before.difference(&objects(&place)).cloned().collect();
    let goes = explained
        .iter()
        .filter(|it| it["fate"] == "goes")
        .map(|it| it["object"].as_str().unwrap().to_owned());
    assert_eq!(gone, goes.collect());
    assert!(moment(&next["until"]) > moment(&next["now"]), "{next:#}");
    let text = place.aft(&["gc", "--explain", &new]).ok();
    for words in ["a value of transaction", "a collection now", "stays", "a row of the index names it"] {
        assert!(text.text().contains(words), "{words} in {}", text.text());
    }
}
