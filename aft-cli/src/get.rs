//! `aft get`: one value byte for byte, values as JSON, the value of an older version.

use aft_core::{Aft, Error, ErrorKind, ValueStream, VersionInfo};
use futures::TryStreamExt;
use serde_json::{Value, json};

use crate::args::Get;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::key::Key;
use crate::output::{Output, put_bytes, size};
use crate::point::Point;
use crate::store::Store;
use crate::versions;

/// How many keys are read at once: their values of up to 1 MiB are held together.
const PAGE_KEYS: usize = 32;
/// How many known versions are named at most where one is not.
const SHOWN: usize = 20;

pub(crate) async fn run(args: Get, store: &Store, output: &Output) -> Result<(), Failure> {
    if let [key] = &args.keys[..] {
        let aft = store.open_to_read().await?;
        return match &args.version {
            Some(point) => at(&aft, key, point, output).await,
            None => one(&aft, key, output).await,
        };
    }
    if args.version.is_some() {
        return Err(Failure::usage("--version takes one key: a version is one of a key"));
    }
    if !output.is_json() {
        let failure = Failure::usage("the values of several keys have no bounds between them");
        return Err(failure.advice("add --json, or get one key at a time"));
    }
    let aft = store.open_to_read().await?;
    many(&aft, &args.keys, output).await
}

async fn one(aft: &Aft, key: &Key, output: &Output) -> Result<(), Failure> {
    let tx = aft.begin().await?;
    let absent = || Failure::new(Exit::KeyNotFound, format!("there is no key {key}"));
    if !output.is_json() {
        return copy(tx.get_stream(key).await?.ok_or_else(absent)?, output).await;
    }
    let value = tx.get(key).await?.ok_or_else(absent)?;
    output.json(&document(key, &value))
}

async fn copy(mut parts: ValueStream, output: &Output) -> Result<(), Failure> {
    while let Some(part) = parts.try_next().await? {
        output.bytes(&part)?;
    }
    Ok(())
}

fn document(key: &Key, value: &[u8]) -> Value {
    let mut document = json!({ "key": key, "size": value.len() });
    put_bytes(&mut document, "value", value);
    document
}

/// Prints the keys as they come, in the order of the arguments, as one document.
async fn many(aft: &Aft, keys: &[Key], output: &Output) -> Result<(), Failure> {
    let tx = aft.begin().await?;
    let mut begun = false;
    output.bytes(b"{\n  \"keys\": [")?;
    for page in keys.chunks(PAGE_KEYS) {
        for (key, stream) in page.iter().zip(tx.get_streams(page).await?) {
            let mut found = match stream {
                None => json!({ "key": key }),
                Some(stream) => document(key, &whole(aft, key, stream).await?),
            };
            found["found"] = found.get("size").is_some().into();
            let comma = if std::mem::replace(&mut begun, true) { "," } else { "" };
            output.bytes(format!("{comma}\n    {found}").as_bytes())?;
        }
    }
    output.bytes(b"\n  ]\n}\n")
}

/// A value in one piece, which is held in memory.
async fn whole(aft: &Aft, key: &Key, mut parts: ValueStream) -> Result<Vec<u8>, Failure> {
    let most = aft.config().max_value_bytes;
    if parts.len() > most {
        let message = format!("the value of {key} has {} bytes, and JSON takes at most {most}", parts.len());
        return Err(Failure::usage(message).advice("get it alone and without --json"));
    }
    let mut value = Vec::new();
    while let Some(part) = parts.try_next().await? {
        value.extend_from_slice(&part);
    }
    Ok(value)
}

/// Prints the value of one version.
async fn at(aft: &Aft, key: &Key, point: &Point, output: &Output) -> Result<(), Failure> {
    let known = aft.versions(key).await?;
    let Some(version) = point.among(&known) else {
        let message = format!("no version {point} of the key {key} is known");
        return Err(not_there(message, &known));
    };
    if version.deleted {
        let message = format!("the version {} deleted the key {key}", version.version);
        return Err(not_there(message, &known));
    }
    let gone = || format!("the value of the key {key} at the version {} is gone", version.version);
    let lost = |error: Error| match error.kind() {
        ErrorKind::VersionUnavailable => not_there(gone(), &known).because(error),
        _ => error.into(),
    };
    let stream = aft.value_at(key, version.version).await.map_err(lost)?;
    let stream = stream.ok_or_else(|| not_there(gone(), &known))?;
    if !output.is_json() {
        return copy(stream, output).await;
    }
    let mut document = document(key, &whole(aft, key, stream).await?);
    document["version"] = version.version.to_string().into();
    document["txn_id"] = version.version.txn_id().to_string().into();
    document["decided"] = versions::decided(version).into();
    output.json(&document)
}

/// The failure of a version that cannot be had, with those that are known.
fn not_there(message: String, known: &[VersionInfo]) -> Failure {
    let lines = known.iter().take(SHOWN).map(|it| {
        let what = if it.deleted { "deleted".to_owned() } else { size(it.bytes) };
        format!("known: {}, {}, {what}", it.version, versions::decided(it))
    });
    let failure = Failure::new(Exit::KeyNotFound, message).items(lines);
    if known.is_empty() { failure } else { failure.advice("take one of these; `aft versions` says more") }
}
